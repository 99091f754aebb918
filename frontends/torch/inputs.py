"""Types of an exported program's inputs: which axis is the batch, and what the open sizes are called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind

from snnir.errors import ModelError, UnsupportedError, UsageError
from snnir.frontends.torch.layers import LAYERS
from snnir.frontends.torch.promotion import KINDS
from snnir.ir import BATCH, Dim, Dimension, TensorType
from snnir.ir.dims import dim
from snnir.ir.lowering.sizes import split_dims

__all__ = ["exported_batch_axes", "input_types", "upper_ends", "user_inputs"]


def user_inputs(program: ExportedProgram) -> dict[str, torch.fx.Node]:
    """The placeholders of the tensors that a caller gives, by name, in order."""
    nodes = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    specs = [spec for spec in program.graph_signature.input_specs if spec.kind == InputKind.USER_INPUT]
    return {
        spec.arg.name: nodes[spec.arg.name] for spec in specs if isinstance(nodes[spec.arg.name].meta.get("val"), torch.Tensor)
    }


def input_types(
    program: ExportedProgram, batch_axes: Mapping[str, int], dims: Mapping[str, int | str] | None = None
) -> tuple[dict[str, TensorType], list[str]]:
    """The type of each input, and notes on it. `dims` gives numbers for open sizes, by their names here or `input:axis`.

    The batch of an input is, in this order: the axis that `batch_axes` names; the open size that is the batch of a
    recurrent layer; axis 0. Raises `ModelError` for unknown names, `UnsupportedError` for inputs that are not real.
    """
    nodes = user_inputs(program)
    unknown = set(batch_axes) - set(nodes)
    if unknown:
        raise ModelError(f"batch_axes names {', '.join(sorted(unknown))}; the inputs are {', '.join(nodes)}")
    shapes = {name: [_expression(size) for size in node.meta["val"].shape] for name, node in nodes.items()}
    batches = _batches(program, shapes, batch_axes)
    notes = []
    if not any(str(size) in batches for shape in shapes.values() for size in shape):
        notes.append("the batch stays fixed as exported; leave it open with dynamic_shapes, or name batch_axes")
    names = dict.fromkeys(batches, BATCH)
    types = {}
    for name, shape in shapes.items():
        for size in shape:
            if not isinstance(size, int) and size.is_Symbol and str(size) not in names:
                names[str(size)] = _length(names)
        types[name] = TensorType(tuple(_dimension(size, names) for size in shape), _element(nodes[name]))
    numbers = _named(types, split_dims(dims)[0])
    return {name: type_.substitute(dict(numbers)) for name, type_ in types.items()}, notes


def upper_ends(types: Mapping[str, TensorType], dims: Mapping[str, int | str] | None) -> dict[str, int]:
    """The upper ends of open sizes among `dims`, by the names of the sizes. Raises `UsageError` for others."""
    return _named(types, split_dims(dims)[1], fixed_below=True)


def _named(types: Mapping[str, TensorType], dims: Mapping[str, int], fixed_below: bool = False) -> dict[str, int]:
    """`dims` by the names of sizes; those that are fixed at that number (or below it) are left out. Raises `UsageError`."""
    found: dict[str, int] = {}
    places = {f"{name}:{axis}": size for name, type_ in types.items() for axis, size in enumerate(type_.shape)}
    named = {str(size): size for size in places.values() if isinstance(size, Dim) and str(size).isidentifier()}
    for name, number in dims.items():
        size = named.get(name, places.get(name))
        if size == number or (fixed_below and isinstance(size, int) and size <= number):
            continue
        if not isinstance(size, Dim) or str(size) not in named or size == dim(BATCH):
            known = ", ".join(key for key in named if key != BATCH) or "none"
            raise UsageError(f"size {name}: the open sizes of the model's inputs are {known}")
        found[str(size)] = number
    return found


def exported_batch_axes(program: ExportedProgram, batch_axes: Mapping[str, int]) -> dict[str, int]:
    """The batch axis of each input that has one, of a program whose sizes are all fixed: the one that is named; axis 1 of three
    where a recurrent layer wants time first; else axis 0.
    """
    time_first = any(
        str(node.target).startswith((f"aten.{name}.input", f"snnir.{name}.")) and not node.args[8]
        for node in program.graph.nodes
        for name in LAYERS
    )
    axes = {}
    for name, node in user_inputs(program).items():
        rank = node.meta["val"].dim()
        if rank:
            axes[name] = batch_axes[name] % rank if name in batch_axes else 1 if time_first and rank == 3 else 0
    return axes


def _length(names: Mapping[str, str]) -> str:
    """`T` for the first open size that is not the batch, then `T2`, `T3`, ..."""
    count = sum(name != BATCH for name in names.values())
    return f"T{count + 1}" if count else "T"


def _expression(size: Any) -> Any:
    """A size as a number, or as PyTorch writes the open ones."""
    expression = size.node.expr if isinstance(size, torch.SymInt) else int(size)
    return int(expression) if isinstance(expression, int) or expression.is_Integer else expression


def _batches(program: ExportedProgram, shapes: Mapping[str, list[Any]], batch_axes: Mapping[str, int]) -> set[str]:
    symbols = {str(size) for shape in shapes.values() for size in shape if not isinstance(size, int)}
    found = {str(shapes[name][axis]) for name, axis in batch_axes.items()}
    for node in program.graph.nodes:
        if any(str(node.target).startswith((f"aten.{name}.input", f"snnir.{name}.")) for name in LAYERS):
            sequence = node.args[0].meta["val"]
            batch_first = bool(node.args[8])
            if sequence.dim() == 3:
                found.add(str(_expression(sequence.shape[0 if batch_first else 1])))
    found &= symbols
    for name, shape in shapes.items():
        if name not in batch_axes and shape and not any(str(size) in found for size in shape):
            found |= {str(shape[0])} & symbols
    return found


def _dimension(size: Any, names: Mapping[str, str]) -> Dimension:
    """A size as snnir writes it. Raises `UnsupportedError` for what its sizes cannot say."""
    if isinstance(size, int) or size.is_Integer:
        return int(size)
    if size.is_Symbol:
        return dim(names.get(str(size), str(size)))
    parts = [_dimension(part, names) for part in size.args]
    result = parts[0]
    for part in parts[1:]:
        if size.is_Add:
            result = result + part
        elif size.is_Mul:
            result = result * part
        elif type(size).__name__ == "FloorDiv":
            result = result // part
        else:
            raise UnsupportedError(f"an input has the size {size}, which snnir cannot write")
    return result


def _element(node: torch.fx.Node) -> str:
    """Real numbers, truth as 0 and 1, and integers that are cast to real numbers at once, or only choose, are real; others are
    integers of their width, which the host computes with.
    """
    dtype = node.meta["val"].dtype
    if dtype == torch.float64:
        return "f64"
    if dtype in (torch.float32, torch.float16, torch.bfloat16, torch.bool):
        return "f32"
    if dtype not in KINDS:
        raise UnsupportedError(f"input {node.name} holds {dtype}; real numbers, integers and truth are supported")
    users = [user for user in node.users if _operator(user) not in ("sym_size", "_assert_tensor_metadata")]
    cast = [_operator(user) in ("to", "_to_copy", "type_as") and user.meta["val"].is_floating_point() for user in users]
    real = (users and all(cast)) or (dtype in (torch.int64, torch.int32) and _are_tokens(node))
    return "f32" if real else KINDS[dtype]


def _operator(node: torch.fx.Node) -> str:
    """An operator without its namespace and overload."""
    words = str(node.target).split(".")
    return words[1] if len(words) > 1 else words[0]


_MOVES = ("view", "reshape", "permute", "transpose", "slice", "select", "squeeze", "unsqueeze", "flatten", "clone", "contiguous")


def _are_tokens(node: torch.fx.Node) -> bool:
    """Whether whole numbers only choose: rows of tables, or places of ones."""
    chooses = False
    for user in node.users:
        name = _operator(user)
        if name == "one_hot" or (name in ("embedding", "embedding_bag") and user.args[0] is not node):
            chooses = True
        elif name in _MOVES:
            if not _are_tokens(user):
                return False
            chooses = True
        elif not name.startswith("sym_") and "assert" not in name:
            return False
    return chooses
