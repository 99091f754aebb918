"""Which axis of each input is the batch, and whether a model exported for one batch size may take any.

The batch axis of an input is, in this order: the one the caller names; the axis whose dimension is called batch,
batch_size, N or B; axis 1 where the input is the sequence, or an initial state, of a time-major recurrent node, Scan or
Loop; else axis 0. Where inputs disagree: an open batch is open in all inputs that have one; beside a batch of 1, what is
open is a length; of fixed sizes the batch is the one that all inputs share.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import onnx

from snnir.errors import ModelError, UnsupportedError
from snnir.frontends.onnx.element_types import FLOAT4E2M1, FLOAT8E8M0
from snnir.frontends.onnx.model import FEW_BITS, Source, load_model
from snnir.frontends.onnx.stored import stored_input
from snnir.frontends.onnx.subgraph_names import captured_names
from snnir.ir import BATCH, Dimension, TensorType
from snnir.ir.dims import dim
from snnir.ir.types import dtype_of

__all__ = ["REAL", "InputPlan", "batch_names", "plan_inputs", "second_axes", "states_of_one"]

_BATCH_NAMES = {"batch", "batch_size", "n", "b", "batchsize", "unk__batch"}
REAL: dict[int, str] = {
    onnx.TensorProto.FLOAT: "f32",
    onnx.TensorProto.DOUBLE: "f64",
    onnx.TensorProto.FLOAT16: "f32",
    onnx.TensorProto.BFLOAT16: "f32",
    onnx.TensorProto.FLOAT8E4M3FN: "f32",
    onnx.TensorProto.FLOAT8E4M3FNUZ: "f32",
    onnx.TensorProto.FLOAT8E5M2: "f32",
    onnx.TensorProto.FLOAT8E5M2FNUZ: "f32",
    FLOAT8E8M0: "f32",
    FLOAT4E2M1: "f32",
}
"""Element types of real numbers, and what they are computed in."""


@dataclass(frozen=True)
class InputPlan:
    """Types of the inputs, and the batch size that the model was exported with, where that was fixed."""

    types: Mapping[str, TensorType]
    fixed: int | None
    axes: Mapping[str, int | None] = field(default_factory=dict)
    """The batch axis of each input; None where it has none."""
    guessed: bool = False
    """Whether neither names nor the caller tell the axes."""
    whole: frozenset[str] = frozenset()
    """Inputs that hold whole numbers and are read as real ones."""
    flags: frozenset[str] = frozenset()
    """Inputs that hold truth."""
    stored: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Inputs of a quantized model that are integers already, with the range of their type."""

    @property
    def without_batch(self) -> bool:
        """Whether the caller says that no input has a batch."""
        return bool(self.axes) and not self.guessed and not any(BATCH in map(str, type_.shape) for type_ in self.types.values())

    def guesses(self, whole: InputPlan) -> Iterator[tuple[str, TensorType, int | None]]:
        """Each input, its type in a plan without a batch, and its batch axis in this one."""
        return ((name, type_, self.axes.get(name)) for name, type_ in whole.types.items())

    def frozen(self) -> InputPlan:
        """The same with the batch as exported."""
        size: Dimension = self.fixed if self.fixed is not None else dim(BATCH)
        return replace(self, types={name: type_.substitute({BATCH: size}) for name, type_ in self.types.items()}, fixed=None)


def plan_inputs(
    model: onnx.ModelProto, constants: Mapping[str, np.ndarray], batch_axes: Mapping[str, int | None], batch: bool
) -> InputPlan:
    """The inputs' types, with the batch called `N`. Raises `UnsupportedError` for inputs that are not real tensors."""
    entries = [entry for entry in model.graph.input if entry.name not in constants]
    unknown = set(batch_axes) - {entry.name for entry in entries}
    if unknown:
        raise ModelError(f"batch_axes names {', '.join(sorted(unknown))}; the inputs are {', '.join(e.name for e in entries)}")
    shapes = {entry.name: _sizes(model, entry) for entry in entries}
    axes, guessed = _axes(model, entries, shapes, batch_axes) if batch else (dict.fromkeys(shapes), False)
    batch_names = {str(shapes[name][axis]) for name, axis in axes.items() if axis is not None} - {""}
    batch_names = {name for name in batch_names if not name.isdecimal()}
    renamed: dict[str, str] = {}
    types, fixed = {}, set()
    for entry in entries:
        shape: list[Dimension] = []
        for axis, size in enumerate(shapes[entry.name]):
            if axis == axes[entry.name] or size in batch_names:
                shape.append(dim(BATCH))
                if isinstance(size, int):
                    fixed.add(size)
            elif isinstance(size, int):
                shape.append(size)
            else:
                shape.append(dim(_identifier(size or f"{entry.name}_{axis}", renamed)))
        types[entry.name] = TensorType(tuple(shape), _element(model, entry))
    if len(fixed) > 1:
        raise UnsupportedError(
            f"the inputs are exported with different batch sizes {sorted(fixed)}; name their batch axes "
            "(--batch-axis INPUT=AXIS, or none; batch_axes={'INPUT': AXIS} in Python)"
        )
    kinds = {entry.name: entry.type.tensor_type.elem_type for entry in entries}
    flags = frozenset(name for name, kind in kinds.items() if kind == onnx.TensorProto.BOOL)
    whole = frozenset(name for name, kind in kinds.items() if kind not in REAL and types[name].is_real) - flags
    stored = {name: bounds for entry in entries if (name := entry.name) in whole and (bounds := stored_input(model, entry))}
    return InputPlan(types, fixed.pop() if fixed else None, axes, guessed, whole, flags, stored)


def _sizes(model: onnx.ModelProto, entry: onnx.ValueInfoProto) -> list[int | str]:
    """The sizes of an input: numbers, or the names of open ones (empty where they have none)."""
    _element(model, entry)  # raises where there is no shape
    sizes = entry.type.tensor_type.shape.dim
    return [int(size.dim_value) if size.HasField("dim_value") else size.dim_param for size in sizes]


_Axes = dict[str, int | None]


def _axes(
    model: onnx.ModelProto,
    entries: Sequence[onnx.ValueInfoProto],
    shapes: Mapping[str, Sequence[int | str]],
    given: Mapping[str, int | None],
) -> tuple[_Axes, bool]:
    """The batch axis of each input, and whether it follows from the order of axes alone."""
    axes: _Axes = {entry.name: _batch_axis(model, entry, given) for entry in entries}
    called = {name for name, axis in axes.items() if axis is not None and str(shapes[name][axis]).lower() in _BATCH_NAMES}
    sure = called | {name for name in given if given[name] is not None}
    free = [name for name in axes if name not in sure and name not in given and axes[name] is not None]
    ends = {name: shapes[name][axis] for name, axis in axes.items() if axis is not None}
    numbers = {size for name, size in ends.items() if isinstance(size, int)}
    opened = {name for name, size in ends.items() if isinstance(size, str)}
    if opened and numbers:
        # an open batch is open in all inputs; beside a batch of 1, what is open is a length
        shared = 1 in numbers and not opened & sure
        for name in free:
            if (ends[name] != 1) if shared else (name not in opened):
                axes[name] = None
    elif len(numbers) > 1:
        common = set.intersection(*({size for size in shapes[name] if isinstance(size, int)} for name in ends)) if ends else set()
        fixed = {ends[name] for name in ends if name not in free} or ({1} & common) or common
        if len(fixed) == 1:
            (size,) = fixed
            for name in free:
                axes[name] = list(shapes[name]).index(size) if size in shapes[name] else None
    return axes, not sure and not given


def second_axes(model: onnx.ModelProto, constants: Mapping[str, np.ndarray], ones: bool = True) -> dict[str, int]:
    """Inputs of three axes and more whose axis 1 was exported with the size 1 (without `ones`: with any), by name."""
    found = {}
    for entry in model.graph.input:
        sizes = entry.type.tensor_type.shape.dim
        if entry.name not in constants and len(sizes) >= 3 and (sizes[1].dim_value == 1 if ones else sizes[1].dim_value > 0):
            found[entry.name] = 1
    return found


def states_of_one(model: onnx.ModelProto, plan: InputPlan) -> list[str]:
    """Inputs without a batch in the plan that are initial states of recurrent nodes for a batch of 1, and for no other."""
    found = []
    for entry in model.graph.input:
        sizes = entry.type.tensor_type.shape.dim
        if plan.axes.get(entry.name, 0) is None and len(sizes) == 3 and _feeds_time_major(model, entry.name):
            found += [entry.name] if sizes[1].dim_value == 1 else []
    return found


def _identifier(name: str, renamed: dict[str, str]) -> str:
    """A named size as an identifier that is not the batch's."""
    if name not in renamed:
        word = re.sub(r"\W", "_", name)
        word = word if word.isidentifier() and word != BATCH else f"d_{word}"
        while word in renamed.values():
            word += "_"
        renamed[name] = word
    return renamed[name]


def _element(model: onnx.ModelProto, entry: onnx.ValueInfoProto) -> str:
    if not entry.type.HasField("tensor_type") or not entry.type.tensor_type.HasField("shape"):
        raise UnsupportedError(
            f"input {entry.name} is not a tensor of known rank; give its value while importing (constants) if it is a list, "
            "an optional value, or always the same"
        )
    element = entry.type.tensor_type.elem_type
    if element == onnx.TensorProto.BOOL:
        return "f32"
    real = {int(kind): name for kind, name in REAL.items()}
    if element in real:
        return real[element]
    if stored_input(model, entry) is not None:
        return "f32"
    if element == onnx.TensorProto.STRING:
        return "str"
    if element not in onnx.TensorProto.DataType.values() or element == onnx.TensorProto.UNDEFINED:
        raise UnsupportedError(f"input {entry.name} is of element type {element}, which ONNX does not have")
    dtype = onnx.helper.tensor_dtype_to_np_dtype(element)
    if dtype.name in FEW_BITS:
        return "u8" if dtype.name[0] == "u" else "i8"
    if dtype.kind not in "iu":
        kind = onnx.TensorProto.DataType.Name(element)
        raise UnsupportedError(
            f"input {entry.name} holds {kind}; numbers, truth and words are supported, so encode it before the model"
        )
    return dtype_of(np.empty(0, dtype))


def batch_names(source: Source) -> dict[str, str]:
    """The inputs of a model whose file calls an axis a batch, and what it calls it."""
    model, _ = load_model(source)
    return {
        entry.name: size.dim_param
        for entry in model.graph.input
        for size in entry.type.tensor_type.shape.dim
        if size.dim_param.lower() in _BATCH_NAMES
    }


def _batch_axis(model: onnx.ModelProto, entry: onnx.ValueInfoProto, given: Mapping[str, int | None]) -> int | None:
    sizes = entry.type.tensor_type.shape.dim
    if not len(sizes):
        return None
    if entry.name in given:
        axis = given[entry.name]
        if axis is None:
            return None
        if not -len(sizes) <= axis < len(sizes):
            raise ModelError(f"batch axis {axis} of input {entry.name}, which has {len(sizes)} axes")
        return axis % len(sizes)
    for axis, size in enumerate(sizes):
        if size.dim_param.lower() in _BATCH_NAMES:
            return axis
    return 1 if len(sizes) == 3 and _feeds_time_major(model, entry.name) else 0


def _feeds_time_major(model: onnx.ModelProto, name: str) -> bool:
    """Whether the input goes, perhaps through Identity, Cast or Slice, into a recurrent node whose first axis is time (or,
    of an initial state, the direction)."""
    names = {name}
    for node in model.graph.node:
        if node.op_type in ("Identity", "Cast", "Slice", "Split") and node.input[0] in names:
            names.add(node.output[0])
        elif node.op_type in ("RNN", "GRU", "LSTM") and names & {*node.input[:1], *node.input[5:7]}:
            return not any(item.name == "layout" and item.i == 1 for item in node.attribute)
        elif node.op_type in ("Scan", "Loop") and names & {*node.input, *captured_names(node)}:
            return any(axis == 0 for axis in _cut_axes(node, names))
    return False


def _cut_axes(node: onnx.NodeProto, names: set[str]) -> list[int]:
    """Along which axes a Scan or a Loop cuts the tensors called `names`."""
    attributes = {item.name: item for item in node.attribute}
    body = attributes["body"].g
    if node.op_type == "Scan":
        count = attributes["num_scan_inputs"].i
        axes = list(attributes["scan_input_axes"].ints) if "scan_input_axes" in attributes else [0] * count
        return [axis for axis, operand in zip(axes, node.input[-count:], strict=True) if operand in names]
    inner = names | {entry.name for entry, operand in zip(body.input, node.input, strict=False) if operand in names}
    gathers = [item for item in body.node if item.op_type == "Gather" and item.input[0] in inner]
    return [next((item.i for item in gather.attribute if item.name == "axis"), 0) for gather in gathers]
