"""Run a pipeline: verify after every pass, hold each pass to its promise, write dumps and reproducers."""

from __future__ import annotations

import shlex
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from snnir.errors import GraphError, PassError, SnnirError, UsageError
from snnir.ir import FLOAT, Dim, Graph, Value
from snnir.ir.execute import check_inputs, drawn, execute
from snnir.ir.storage import write_graph
from snnir.ir.verify import verify
from snnir.passes.host_part import work
from snnir.passes.infra import ANY_LEVEL, Context, Pass, Result, format_pipeline

__all__ = ["Stage", "check_samples", "run_pipeline"]

TOLERANCE = 1e-4
"""How far an exact pass on the float level may move an output, relative to the output's largest magnitude: float32
sums in another order, through many layers."""
_SAMPLES = 4
_MUCH = 3e8
"""Multiply-accumulates of a sample from which on one sample is enough: the checks stay below half of the time of a compile."""

_Values = dict[tuple[str, bool], np.ndarray]


@dataclass(frozen=True)
class Stage:
    """The graph after one pass."""

    number: int
    pass_: Pass
    graph: Graph
    changed: bool
    seconds: float
    remarks: tuple[str, ...]
    rewrites: Mapping[str, int]
    """How many nodes each rule replaced, by the rule's name."""


def run_pipeline(
    graph: Graph,
    passes: Sequence[Pass],
    context: Context,
    *,
    check: bool = True,
    dump: Path | None = None,
    on_stage: Callable[[Stage], None] | None = None,
) -> list[Stage]:
    """Apply `passes` in order and return the stages.

    What a pass requires must hold before it, what it ensures after it (`properties.py`). After each pass the verifier runs,
    and with `check` the graphs before and after are executed on a few samples: an exact pass must keep float outputs within
    `TOLERANCE` and integers equal; what others change is remarked. Exact passes of the float level that follow one another are
    held together, and one by one only where they fail. `dump` is a folder for `NN_pass.ir` files. A pass that fails leaves a
    reproducer, and its error the command that runs it.
    """
    if dump is not None:
        _write(graph, dump, 0, "import")
    checks = _Checks(check_samples(graph, context.calibration)) if check else None
    held = _Run(passes, context, dump)
    stages: list[Stage] = []
    for number, pass_ in enumerate(passes, 1):
        if context.progress is not None:
            context.progress(pass_.name, number - 1, len(passes))
        if pass_.takes not in (graph.level, ANY_LEVEL):
            raise UsageError(
                f"pass {pass_.name} takes a graph of the {pass_.takes} level, but gets one of the {graph.level} level"
            )
        if pass_.error and context.exact is None:
            context = replace(context, exact=graph)
        for needed in pass_.requires:
            if found := needed.missing(graph):
                raise UsageError(f"pass {pass_.name} needs {needed.name}, but there is {found}; run {needed.by} before it")
        started = time.perf_counter()
        if checks is not None and not _is_deferred(pass_):
            held.settle(checks)
        try:
            stage = _apply(graph, pass_, context, checks, number, started)
        except SnnirError as error:
            raise held.failure(error, graph, number) from error
        graph = stage.graph
        stages.append(stage)
        if dump is not None and stage.changed:
            _write(graph, dump, number, pass_.name)
        if on_stage is not None:
            on_stage(stage)
    if checks is not None:
        held.settle(checks)
    if context.progress is not None:
        context.progress("compiled", len(passes), len(passes))
    return stages


def _is_deferred(pass_: Pass) -> bool:
    """Whether a pass may be held to its promise together with its neighbours: it is exact and stays on the float level."""
    return not pass_.error and pass_.takes == pass_.gives == FLOAT


class _Checks:
    """Samples, and what the last graph that was executed on them made of them: graphs are executed once, not before and after."""

    def __init__(self, samples: Mapping[str, np.ndarray]) -> None:
        self.samples = samples
        self.values: _Values | None = None
        self.pending: list[tuple[int, Pass, Graph, Result]] = []
        """Passes that changed the graph and are not held yet: place in the pipeline, pass, graph before, result."""


class _Run:
    """What a failure says: the pass, and a reproducer of it."""

    def __init__(self, passes: Sequence[Pass], context: Context, dump: Path | None) -> None:
        self.passes, self.context, self.dump = passes, context, dump

    def failure(self, error: SnnirError, before: Graph, number: int, count: int = 1) -> SnnirError:
        """The error to raise for one of pass `number`, which took the graph `before`, or of `count` passes together."""
        if not isinstance(error, (PassError, GraphError)) or isinstance(error, UsageError):
            return error
        failing = self.passes[number - 1 : number - 1 + count]
        command = _reproducer(before, failing, self.passes[number - 1 :], self.context, self.dump)
        what = f"pass {failing[0].name}" if count == 1 else f"passes {failing[0].name} to {failing[-1].name} together"
        return type(error)(f"{what}: {error}\nReproduce it with: {command}")

    def settle(self, checks: _Checks) -> None:
        """Hold the passes that wait for it. Raises `PassError` naming the first that broke its promise."""
        waiting, checks.pending = checks.pending, []
        if not waiting:
            return
        known = checks.values
        try:
            _hold(waiting[-1][1], waiting[0][2], waiting[-1][3], checks)
            return
        except SnnirError as whole:
            checks.values = known
            for number, pass_, before, result in waiting:
                try:
                    _hold(pass_, before, result, checks)
                except SnnirError as error:
                    raise self.failure(error, before, number) from error
            first, last = waiting[0], waiting[-1]
            raise self.failure(whole, first[2], first[0], last[0] - first[0] + 1) from whole


def _apply(before: Graph, pass_: Pass, context: Context, checks: _Checks | None, number: int, started: float) -> Stage:
    result = pass_.run(before, context)
    result.graph.after = pass_.name
    verify(result.graph)
    for promised in pass_.ensures:
        if found := promised.missing(result.graph):
            raise PassError(f"promises {promised.name}, but leaves {found}")
    remarks = result.remarks
    if checks is not None and result.changed:
        if _is_deferred(pass_):
            checks.pending.append((number, pass_, before, result))
        else:
            remarks += _hold(pass_, before, result, checks)
    return Stage(number, pass_, result.graph, result.changed, time.perf_counter() - started, remarks, result.rewrites)


def check_samples(graph: Graph, data: Mapping[str, np.ndarray] | None) -> dict[str, np.ndarray]:
    """A few samples to execute graphs on: the first of the data, or drawn ones where there is none."""
    if data is not None:
        batched = all(value.type.batch_axis is not None for value in graph.inputs)
        count = _SAMPLES if work(graph.nodes) < _MUCH else 1
        arrays = {
            value.name: data[value.name].take(range(min(count, data[value.name].shape[axis])), axis=axis)
            if batched and (axis := value.type.batch_axis) is not None
            else data[value.name]
            for value in graph.inputs
        }
        return check_inputs(graph, arrays)
    generator = np.random.default_rng(0)
    sizes = {"N": 2}
    arrays = {}
    for value in graph.inputs:
        named = {str(size): sizes.setdefault(str(size), 6) for size in value.type.shape if isinstance(size, Dim)}
        shape = value.type.substitute(dict(named)).static_shape(f"input {value.name}")
        arrays[value.name] = drawn(value.type, shape, generator)
    return check_inputs(graph, arrays)


def _hold(pass_: Pass, before: Graph, result: Result, checks: _Checks) -> tuple[str, ...]:
    """Compare outputs, and integers that both graphs name, before and after a pass."""
    old = checks.values if checks.values is not None else _values(before, checks.samples)
    new = checks.values = _values(result.graph, checks.samples)
    exact_integers = not pass_.error and before.level != FLOAT
    if exact_integers:
        for (label, levels), arrays in old.items():
            other = new.get((label, levels))
            if levels and other is not None and arrays.shape == other.shape and not np.array_equal(arrays, other):
                count = int((arrays != other).sum())
                raise PassError(f"changed {count} of {arrays.size} integers of {label}, which is not exact")
    worst = 0.0
    for name, value in before.outputs.items():
        a, b = old[f"output {name}", False], new[f"output {name}", False]
        if a.shape != b.shape:
            raise PassError(f"changed the shape of output {name} from {a.shape} to {b.shape}")
        if value.type.is_exact:  # the place of the largest of two that are nearly the same, and what is made of it
            continue
        both = np.isfinite(a) & np.isfinite(b)
        span = float(np.abs(a[both]).max(initial=0)) or 1.0
        difference = float(np.abs(a[both] - b[both]).max(initial=0))
        worst = max(worst, difference / span)
        if exact_integers and not np.array_equal(a, b, equal_nan=True):
            raise PassError(f"changed output {name} by up to {difference:.3g}, which is not exact")
    if pass_.error:
        return (
            f"outputs of {len(next(iter(checks.samples.values())))} samples move by up to {100 * worst:.3g} % ({pass_.error})",
        )
    if worst > TOLERANCE:
        first = _first_difference(old, new)
        raise PassError(
            f"moved an output by {worst:.3g} of its span (allowed: {TOLERANCE:g}); the first value that differs is {first}"
        )
    return ()


def _values(graph: Graph, samples: Mapping[str, np.ndarray]) -> _Values:
    """Every value by (name, whether it is levels), elements of a scan stacked; outputs as `output NAME` in real numbers."""
    seen: dict[tuple[str, bool], list[np.ndarray]] = {}

    def observe(value: Value, array: np.ndarray) -> None:
        seen.setdefault((value.name, value.type.is_levels), []).append(array)

    outputs = execute(graph, samples, observe)
    values = {
        key: arrays[0][np.newaxis] if len(arrays) == 1 else np.stack(arrays)
        for key, arrays in seen.items()
        if len({array.shape for array in arrays}) == 1
    }
    for name, value in graph.outputs.items():
        quantization = value.type.quantization
        values[f"output {name}", False] = outputs[name] * quantization.scale if quantization is not None else outputs[name]
    return values


def _first_difference(old: _Values, new: _Values) -> str:
    for key, array in new.items():
        if key in old and old[key].shape == array.shape and array.dtype.kind == "f":
            span = float(np.abs(old[key]).max(initial=0)) or 1.0
            if np.abs(old[key] - array).max(initial=0) > TOLERANCE * span:
                return key[0]
    return "an output"


def _write(graph: Graph, folder: Path, number: int, name: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write graphs into {folder}: {error.strerror}") from error
    write_graph(graph, folder / f"{number:02d}_{name}.ir")


def _reproducer(graph: Graph, failing: Sequence[Pass], rest: Sequence[Pass], context: Context, dump: Path | None) -> str:
    """Write the graph before failing passes, its data and the rest of the pipeline; returns the command that fails again."""
    folder = Path(tempfile.mkdtemp(prefix="snnir-reproducer-")) if dump is None else dump / "reproducer"
    folder.mkdir(parents=True, exist_ok=True)
    write_graph(graph, folder / "graph.ir")
    (folder / "pipeline.txt").write_text(format_pipeline(rest) + "\n", encoding="utf-8")
    words = ["snnir", "opt", str(folder / "graph.ir"), "--pipeline", format_pipeline(failing)]
    if context.calibration is not None:
        np.savez(folder / "calibration.npz", **dict(context.calibration))  # type: ignore[arg-type]
        words += ["--calibration", str(folder / "calibration.npz")]
    return shlex.join(words)
