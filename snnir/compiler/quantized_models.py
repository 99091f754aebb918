"""Models that are quantized already: are their integers kept?

Two links are counted, not assumed. The import: levels of the float-level graph against the integers of ONNX Runtime, which
computes in float32 or in kernels of its own, so that a value next to a threshold may fall on either side. The grids: levels
of the quantized graph against those of the float-level one, equal unless `rounding="half-up"` or scales without a common
grid make them differ.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from snnir.errors import ImportMismatchError
from snnir.ir import Graph, Value
from snnir.ir.execute import execute
from snnir.ir.ops import FakeQuantize, Quantize
from snnir.ir.rounding_modes import reached_from

if TYPE_CHECKING:
    import onnx

    from snnir.passes import Stage

__all__ = ["FARTHEST", "IMPORT_TOLERANCE", "LevelCount", "check_levels", "compare_with_runtime", "integers_kept", "is_quantized"]

IMPORT_TOLERANCE = 1e-4
"""How far the imported graph may be from the model itself, relative to the output's largest magnitude (float32 rounding)."""

_MOST = 0.01
"""The share of integers that may differ from ONNX Runtime's before the import is called wrong."""
_NEAR = 1e-6
"""How close to a tie, relative to the range of levels, a sum is for which float32 may decide."""
FARTHEST = 0.05
"""How far outputs may be from ONNX Runtime's, relative to their span, where a few integers differ."""


@dataclass(frozen=True)
class LevelCount:
    """How many integers of one value were compared, how many differ, and by how much at most; `near` of those that differ are
    next to a tie, where float32 decides by its own rounding (counted where the real values are known, else 0). `alone` differ,
    not next to a tie, also where all integers before are those of ONNX Runtime.
    """

    name: str
    compared: int
    differ: int
    most: int
    near: int = 0
    alone: int = 0


def is_quantized(graph: Graph) -> bool:
    """Whether the model brought quantizers with it, or a trained graph levels."""
    return any(isinstance(node.op, FakeQuantize) for _, node in graph.walk())


def compare_with_runtime(
    model: str | Path | bytes | onnx.ModelProto, graph: Graph, inputs: Mapping[str, np.ndarray]
) -> tuple[list[LevelCount], float]:
    """Integers of every quantizer against ONNX Runtime's, and how far outputs are from its own, relative to their span.

    `graph` is the imported model or the quantized graph of a program of it. Quantizers in the bodies of scans have no
    tensor of their own in ONNX Runtime and are left out. Raises `ModelError`.
    """
    counts, worst, _ = _compared(model, graph, inputs)
    return counts, worst


def _compared(
    model: str | Path | bytes | onnx.ModelProto, graph: Graph, inputs: Mapping[str, np.ndarray]
) -> tuple[list[LevelCount], float, float]:
    """The same, and how far outputs are where all integers are those of ONNX Runtime."""
    from snnir.frontends.onnx import import_onnx, run_levels

    own = graph if is_quantized(graph) else import_onnx(model)
    zeros = {node.output.name: node.op.zero for node in own.nodes if isinstance(node.op, FakeQuantize)}
    seen: dict[str, np.ndarray] = {}
    ties: dict[str, np.ndarray] = {}

    def observe(value: Value, array: np.ndarray) -> None:
        for node in value.users:
            if isinstance(node.op, FakeQuantize):
                ties[node.output.name] = _next_to_ties(node.op, array)
        if value.name not in zeros or value.name in seen:
            return
        made = value.producer.op if value.producer is not None else None
        if isinstance(made, FakeQuantize):
            seen[value.name] = np.rint(array / made.quantization.scale).astype(np.int64)
        elif value.type.is_levels:
            seen[value.name] = array

    outputs = execute(graph, inputs, observe)
    names = [name.removesuffix(_SUFFIX) for name in seen if name.endswith(_SUFFIX)]
    values = {**{value.name: value for value in graph.inputs}, **graph.outputs}
    axes = {name: value.type.batch_axis for name, value in values.items() if value.type.batch_axis is not None}
    theirs, integers = run_levels(model, names, inputs, axes, {name: value.type.rank for name, value in graph.outputs.items()})
    counts, levels = [], {}
    for name, array in integers.items():
        label = name + _SUFFIX
        found = seen[label] + zeros[label]
        if found.ndim == array.ndim + 1 and found.size == array.size:  # of a model for one sample: joined along its own axis 0
            array = array.reshape(found.shape)
        if found.shape != array.shape:
            raise ImportMismatchError(f"{name}: the import gives shape {found.shape}, ONNX Runtime {array.shape}")
        levels[label] = array.astype(np.int64) - zeros[label]
        off = np.abs(seen[label] - levels[label])
        near = int((off[ties[label]] == 1).sum()) if label in ties else 0
        counts.append(LevelCount(name, off.size, int((off > 0).sum()), int(off.max(initial=0)), near))
    worst = _farthest(graph, outputs, theirs)
    if graph is not own or not any(item.differ for item in counts):
        return counts, worst, worst
    alone, outputs = _apart_alone(graph, inputs, levels)
    counts = [replace(item, alone=alone.get(item.name + _SUFFIX, 0)) for item in counts]
    return counts, worst, _farthest(graph, outputs, theirs)


def _farthest(graph: Graph, outputs: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray]) -> float:
    """The largest difference between outputs and those of ONNX Runtime, relative to their span."""
    worst = 0.0
    for name, expected in theirs.items():
        if expected.dtype.kind != "f":
            continue
        ours = outputs[name]
        quantization = graph.outputs[name].type.quantization
        ours = ours * quantization.scale if quantization is not None else ours
        if ours.shape != expected.shape:
            raise ImportMismatchError(f"output {name}: the import gives shape {ours.shape}, ONNX Runtime {expected.shape}")
        span = max(float(np.abs(expected).max(initial=0)), 1e-6)
        worst = max(worst, float(np.abs(ours - expected).max(initial=0)) / span)
    return worst


_SUFFIX = ".levels"


def _apart_alone(
    graph: Graph, inputs: Mapping[str, np.ndarray], levels: Mapping[str, np.ndarray]
) -> tuple[dict[str, int], dict[str, np.ndarray]]:
    """How many levels of each quantizer differ from `levels`, not next to a tie, if all before it are those of `levels`; and the
    outputs then.
    """
    made = {name: value.producer.op for name in levels if (value := graph.values[name]).producer is not None}
    known = {
        graph.values[name]: levels[name] * op.quantization.scale for name, op in made.items() if isinstance(op, FakeQuantize)
    }
    counts: dict[str, int] = {}

    def observe(value: Value, array: np.ndarray) -> None:
        for node in value.users:
            if isinstance(node.op, FakeQuantize) and node.output in known:
                apart = node.op.levels_of(array) != levels[node.output.name]
                counts[node.output.name] = int((apart & ~_next_to_ties(node.op, array)).sum())

    outputs = execute(graph, inputs, observe, known=known)
    return counts, outputs


def _next_to_ties(op: FakeQuantize, x: np.ndarray) -> np.ndarray:
    levels = op.quantization
    ratio = x.astype(np.float64) / levels.scale
    tie = (reached_from(op.rounding, 1)[0] % 2) / 2  # halves, or whole numbers where what follows the point is cut off
    return np.asarray(np.abs(ratio - tie - np.rint(ratio - tie)) <= _NEAR * (levels.hi - levels.lo))


def check_levels(
    model: str | Path | bytes | onnx.ModelProto, graph: Graph, inputs: Mapping[str, np.ndarray]
) -> dict[str, object]:
    """The import against ONNX Runtime, for the report. Raises `ModelError` where too many integers differ.

    Those next to a tie do not count against the import, nor what follows from them: in float32 either integer is right. A model
    with operators that ONNX Runtime does not know (QONNX) is not compared; the report says so.
    """
    from snnir.frontends.onnx import foreign_domains

    foreign = foreign_domains(model)
    if foreign:
        return {"import_levels": {"compared": 0, "unknown_domains": sorted(foreign)}}
    counts, worst, farthest = _compared(model, graph, inputs)
    compared, differ = sum(item.compared for item in counts), sum(item.differ for item in counts)
    near, most = sum(item.near for item in counts), max((item.most for item in counts), default=0)
    if sum(item.alone for item in counts) > _MOST * compared or farthest > (FARTHEST if differ else IMPORT_TOLERANCE):
        first = next((item.name for item in counts if item.differ), "an output")
        raise ImportMismatchError(
            f"{differ} of {compared} integers differ from ONNX Runtime's, first in {first}, and outputs by {worst:.3g} of their "
            "span: more than rounding explains; please report this model"
        )
    return {
        "import_error": worst,
        "import_levels": {"compared": compared, "differing": differ, "largest_difference": most, "next_to_a_tie": near},
    }


def integers_kept(imported: Graph, stages: Sequence[Stage], data: Mapping[str, np.ndarray]) -> dict[str, object]:
    """How many levels of the model's own quantizers the quantized graph changes on `data`.

    They are compared with those of the imported graph, in float64; where some values were calibrated, with those of the graph
    in which they have levels already.
    """
    before = next((stage.graph for stage in stages if stage.pass_.name == "quantize-activations"), None)
    after = next((stage.graph for stage in reversed(stages) if stage.graph.level == "quantized"), None)
    if before is None or after is None:
        return {}
    own = {node.output.name for _, node in before.walk() if isinstance(node.op, Quantize) and node.op.given}
    calibrated = any(isinstance(node.op, Quantize) and not node.op.given for _, node in before.walk())
    old, new = _levels(before if calibrated else imported, data, own), _levels(after, data, own)
    compared = differ = 0
    for name, arrays in old.items():
        for first, second in zip(arrays, new.get(name, ()), strict=False):
            compared += first.size
            differ += int((first != second).sum())
    return {"given_levels": {"compared": compared, "differing": differ}}


def _levels(graph: Graph, data: Mapping[str, np.ndarray], names: Collection[str]) -> dict[str, list[np.ndarray]]:
    seen: dict[str, list[np.ndarray]] = {}

    def observe(value: Value, array: np.ndarray) -> None:
        made = value.producer.op if value.producer is not None else None
        if value.name in names and value.type.is_levels:
            seen.setdefault(value.name, []).append(array)
        elif value.name in names and isinstance(made, FakeQuantize):
            seen.setdefault(value.name, []).append(np.rint(array / made.quantization.scale).astype(np.int64))

    execute(graph, data, observe)
    return seen
