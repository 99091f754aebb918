"""ONNX's own backend tests: every one whose operators are supported is imported and compared with its expected outputs."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

import snnir
from snnir.errors import GraphError, InputError, ModelError, SnnirError, UnsupportedError
from snnir.frontends.onnx import import_onnx, with_constants
from snnir.frontends.onnx.fold import folded_operators
from snnir.frontends.onnx.inlined import FUNCTIONS
from snnir.frontends.onnx.refused import REFUSED, reason_of, undecided
from snnir.frontends.onnx.registry import HANDLERS
from snnir.ir.execute import execute

KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator")
LISTED = {*HANDLERS, *folded_operators(), *FUNCTIONS}
"""Operators of docs/operators.md, and what folds where it is known."""

# Refusals that are right, by a part of their message; a test that is refused for any other reason fails.
REASONS = {
    "goes into 2 axes at once": "places that an input chooses along several axes",
    "only none and add can be": "places that an input chooses, and what is there takes part in more than a sum",
    "both change with the input": "places that an input chooses in another",
    "of this operator only real numbers are imported": "integers where only real numbers have a meaning",
    "is not a tensor of known rank": "an operand that must be known is an input",
    "lists of different lengths": "an operand that must be known is an input",
    "drops at random": "random numbers, whose generator ONNX leaves open",
    "takes no infinite": "infinities among weights",
    "holds NaN or infinite values, which": "infinities among constants",
    "answered a question for such numbers with no": "infinities among inputs of the network",
    "NaN or infinite values of": "infinities among weights",
    "the model uses ONNX opset": "operator sets that ONNX's converter cannot raise",
    "changes with the input; it must be constant": "an operand that must be known is an input",
    "without input": "windows that hold padding only",
    "operator of domain": "operators of other domains",
    "batch_norm needs": "statistics of an input without channels",
    "transforms complex numbers": "Fourier transforms of complex numbers",
    "into a table of": "indices out of range",
}


RECURRENT = {"RNN", "GRU", "LSTM", "Scan", "Loop"}

HALF = {"float16": 2e-3, "bfloat16": 8e-3}
"""Tolerances of what ONNX rounds to fewer bits than float32, in which snnir computes it."""

FOUR_DIGITS = {
    "test_averagepool_2d_ceil_last_window_starts_on_pad",
    "test_roialign_aligned_false",
    "test_roialign_aligned_true",
}
"""Tests whose expected outputs are written with four digits."""


def _node_operators(model: onnx.ModelProto) -> set[str]:
    return {node.op_type for node in model.graph.node}


def _label(model: onnx.ModelProto) -> str:
    operators = sorted(_node_operators(model))
    return operators[0] if len(operators) == 1 else "models of several"


def _cases() -> Iterator[tuple[str, str, onnx.ModelProto, list[tuple[list[object], list[object]]]]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.loader import load_model_tests

        for kind in KINDS:
            for case in load_model_tests(kind=kind):
                if case.model is None:
                    if case.model_dir is None:
                        continue
                    folder = Path(case.model_dir)
                    if not (folder / "model.onnx").exists():
                        continue
                    model = onnx.load(folder / "model.onnx")
                    sets = [_data_set(path) for path in sorted(folder.glob("test_data_set_*"))]
                else:
                    model, sets = case.model, [(list(given), list(wanted)) for given, wanted in case.data_sets or []]
                yield kind, case.name, model, sets


def _data_set(folder: Path) -> tuple[list[object], list[object]]:
    sides = []
    for side in ("input", "output"):
        arrays: list[object] = []
        for index in range(len(list(folder.glob(f"{side}_*.pb")))):
            tensor = onnx.TensorProto()
            tensor.ParseFromString((folder / f"{side}_{index}.pb").read_bytes())
            arrays.append(numpy_helper.to_array(tensor))
        sides.append(arrays)
    return sides[0], sides[1]


def _arrays(data: list[object]) -> list[Any]:
    """Tensors as arrays; a list as one of arrays, an optional value that is not there as None."""
    return [_array(item) for item in data]


def _array(item: object) -> Any:
    if item is None or isinstance(item, list):
        return None if item is None else [_array(each) for each in item]
    return numpy_helper.to_array(item) if isinstance(item, onnx.TensorProto) else np.asarray(item)


def _choices(model: onnx.ModelProto, arrays: list[Any]) -> list[list[int]]:
    """Which inputs stay inputs: the first, all, and those that are real numbers where a loop's trip count is an input.

    Lists and optional values are given while importing in any case.
    """
    tensors = [index for index, array in enumerate(arrays) if isinstance(array, np.ndarray)]
    choices = [tensors[:1], tensors] if len(arrays) > 1 else [tensors]
    if "Loop" in _node_operators(model):
        choices.append([index for index in tensors if arrays[index].dtype.kind == "f"])
    return choices


def _with_weights(model: onnx.ModelProto, arrays: list[Any], keep: list[int]) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """The model with all inputs but those at `keep` given while importing, and the arrays of those that stay."""
    known = {tensor.name for tensor in model.graph.initializer}
    names = [entry.name for entry in model.graph.input if entry.name not in known]
    given = dict(zip(names, arrays, strict=False))
    data = {name: given.pop(name) for index, name in enumerate(names) if index in keep}
    return (with_constants(model, given) if given else model), data


def _compare(name: str, model: onnx.ModelProto, arrays: list[Any], expected: list[Any], keep: list[int]) -> None:
    frozen, data = _with_weights(model, arrays, keep)
    graph = import_onnx(frozen, batch=False)
    found = execute(graph, data)
    wanted: dict[str, np.ndarray] = {}
    for entry, target in zip(model.graph.output, expected, strict=True):
        listed = isinstance(target, list)
        wanted.update({f"{entry.name}.{index}": item for index, item in enumerate(target)} if listed else {entry.name: target})
    assert sorted(found) == sorted(wanted), f"outputs {sorted(found)}, expected {sorted(wanted)}"
    for label, target in wanted.items():
        result = found[label]
        assert result.shape == target.shape, f"{label}: shape {result.shape}, expected {target.shape}"
        if target.dtype.kind in "iu":
            np.testing.assert_array_equal(result, target)
            continue
        if target.dtype.kind in "OU":
            np.testing.assert_array_equal(result, target.astype(np.str_))
            continue
        target = target.astype(np.float64)
        span = max(1.0, float(np.abs(target[np.isfinite(target)]).max(initial=0)))
        tolerance = HALF.get(next(iter(wanted.values())).dtype.name, 1e-4 if name in FOUR_DIGITS else 1e-5)
        np.testing.assert_allclose(result, target, rtol=0, atol=tolerance * span)


def _reason(message: str) -> str | None:
    return next((reason for part, reason in REASONS.items() if part in message), None)


def test_every_operator_is_decided() -> None:
    """Each operator that ONNX declares is imported or refused for a reason, and none is both."""
    assert not undecided(), "write a handler, or a line in frontends/onnx/refused.py"
    both = set(REFUSED) & set(HANDLERS)
    assert not both, f"a handler was written for {sorted(both)}: take the lines out of frontends/onnx/refused.py"


KNOWN = {"ConstantOfShape", "If", "Loop"}
"""Operators that decide, by all that they take, which shapes or nodes a model has; `Range` is written out as a Loop."""
NEEDS = "refused: an operand that must be known is an input"


def _outcome(name: str, model: onnx.ModelProto, arrays: list[Any], expected: list[Any], keep: list[int]) -> str:
    """Whether the model passes with the inputs at `keep`, and the others given while importing; else why not."""
    try:
        with np.errstate(all="ignore"):
            _compare(name, model, arrays, expected, keep)
    except (UnsupportedError, InputError, ModelError) as error:
        reason = _reason(str(error))
        return f"refused: {reason}" if reason else f"unexplained: {error}"
    except (AssertionError, GraphError) as error:
        return f"unexplained: {str(error).strip()[:300]}"
    return "passed"


@dataclass
class Tally:
    """What came of the tests, with refusals by operator and reason."""

    counts: Counter[str] = field(default_factory=Counter)
    refused: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def refuse(self, model: onnx.ModelProto, reason: str) -> None:
        """Count a refusal under the model's operators."""
        self.refused[_label(model), reason] += 1

    def refusals(self) -> str:
        """One line for each operator."""
        lines: dict[str, list[str]] = {}
        for (operator, reason), count in sorted(self.refused.items()):
            lines.setdefault(operator, []).append(f"{reason} ({count})")
        return "\n".join(f"  {operator}: {'; '.join(reasons)}" for operator, reasons in lines.items())


def test_onnx_backend_tests(record_property: Callable[[str, object], None]) -> None:
    """All cases in one test: loading them takes longer than running them. An operator's expanded form counts as a test too."""
    tally, unlisted, counts, known = Tally(), Tally(), Counter[str](), Counter[str]()
    for kind, name, model, sets in _cases():
        counts[kind] += 1
        missing = sorted(_node_operators(model) - LISTED)
        if missing:
            unlisted.refused[missing[0], reason_of(missing[0]).removeprefix("operator not supported: ")] += 1
            counts[f"unlisted {kind}"] += 1
            continue
        for raw, wanted in sets:
            arrays, expected = _arrays(raw), _arrays(wanted)
            # weights come as inputs in node tests: with the first input free, and with all of them free
            outcomes = []
            for keep in _choices(model, arrays):
                outcomes.append(_outcome(name, model, arrays, expected, keep))
            if set(outcomes) == {NEEDS} and KNOWN & _node_operators(model):
                outcomes.append(_outcome(name, model, arrays, expected, []))
                if outcomes[-1] == "passed":
                    known[_label(model)] += 1
            best = "passed" if "passed" in outcomes else outcomes[0]
            wrong = [outcome for outcome in outcomes if outcome.startswith("unexplained")]
            if wrong:
                tally.failures.append(f"{kind} {name}: {wrong[0]}")
            elif best == "passed":
                counts["passed"] += 1
                counts[f"passed {kind}"] += 1
                counts.update(f"with {operator}" for operator in RECURRENT & _node_operators(model))
            else:
                tally.refuse(model, best.removeprefix("refused: "))
    recurrent = ", ".join(f"{operator} {counts[f'with {operator}']}" for operator in sorted(RECURRENT))
    told = ", ".join(f"{label} {count}" for label, count in sorted(known.items()))
    kinds = ", ".join(f"{kind} {counts[f'passed {kind}']} of {counts[kind]}" for kind in KINDS)
    record_property(
        "summary",
        f"ONNX backend tests: {sum(counts[kind] for kind in KINDS)} run; {counts['passed']} data sets passed ({kinds}; "
        f"{recurrent}), {sum(tally.refused.values())} of supported operators refused, {len(tally.failures)} failed, "
        f"{sum(unlisted.refused.values())} of operators that are not supported. {sum(known.values())} of those that passed take "
        f"only inputs that must be known, which are given while importing: {told}. Refused of supported operators:\n"
        f"{tally.refusals()}\nOperators that are not supported:\n{unlisted.refusals()}",
    )
    assert not tally.failures, "\n".join(tally.failures)
    assert counts["node"] >= 1800
    assert counts["passed"] >= 1802


# Why node tests are not compiled, by a part of the message; one that is refused for any other reason fails.
SPIKING_REASONS = {
    "both change with the input": "places that an input chooses in another",
    "of this operator only real numbers are imported": "integers where only real numbers have a meaning",
    "differs from sample to sample": "constants that differ from sample to sample",
    "mixes samples": "means over the batch",
    "both sides change": "quotients inside the network",
    "neurons need": "no axis could be the batch",
    "along the batch axis": "movement from sample to sample",
    "the machine level supports axis 1": "scans without a batch",
    "only the host computes it": "host ops inside the network",
    "makes it a synapse": "products of vectors",
    "is not supported": "products of vectors",
}
SPIKING_BITS = 3
LARGEST = 3_000
"""Inputs with more elements would take most of the test's time."""


def _convert(model: onnx.ModelProto, arrays: list[Any]) -> int:
    """Compile a node with its first input free and verify it: the number of integers compared. Raises `SnnirError`."""
    frozen, data = _with_weights(model, arrays, [0])
    program = snnir.compile(frozen, calibration=data, bits=SPIKING_BITS, weight_bits=6, input_bits=4, check=False)
    report = program.verify(data)
    assert report.ok, f"{report.mismatches} mismatches out of {report.compared}"
    return report.compared


def _is_real(model: onnx.ModelProto, arrays: list[Any], expected: list[Any]) -> bool:
    """Whether the node takes and gives real numbers, and its first input has an axis that could be the batch."""
    if not arrays or any(getattr(side, "dtype", None) != np.float32 for side in (arrays[0], expected[0])):
        return False
    return bool(0 < arrays[0].size <= LARGEST and arrays[0].ndim > 0)


def _spiking_reason(message: str) -> str:
    known = _reason(message) or next((reason for part, reason in SPIKING_REASONS.items() if part in message), None)
    assert known is not None, message
    return known


def test_node_tests_that_convert_are_exact(record_property: Callable[[str, object], None]) -> None:
    """Every node test of a listed operator on real numbers goes through the compiler and the simulator, or is refused."""
    counts, tally = Counter[str](), Tally()
    for kind, name, model, sets in _cases():
        if kind != "node" or name.endswith("_expanded") or not _node_operators(model) <= LISTED:
            continue
        for raw, wanted in sets[:1]:
            arrays, expected = _arrays(raw), _arrays(wanted)
            if not _is_real(model, arrays, expected):
                continue
            counts["found"] += 1
            try:
                with np.errstate(all="ignore"):
                    counts["integers"] += _convert(model, arrays)
                counts["exact"] += 1
            except SnnirError as error:
                try:
                    tally.refuse(model, _spiking_reason(str(error)))
                except AssertionError:
                    tally.failures.append(f"{name}: unexplained: {error}")
            except AssertionError as error:
                tally.failures.append(f"{name}: {error}")
    record_property(
        "summary",
        f"ONNX node tests on real numbers as spiking networks: {counts['found']} found, {counts['exact']} exact "
        f"({counts['integers']} integers, 0 mismatches), {sum(tally.refused.values())} refused, {len(tally.failures)} failed. "
        f"Refused:\n{tally.refusals()}",
    )
    assert not tally.failures, "\n".join(tally.failures)
    assert counts["exact"] >= 743
