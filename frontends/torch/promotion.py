"""Integers that change with the input: which type PyTorch computes a node in, and operands of that type.

A value whose element type is an integer one, or truth that integers were compared for, never enters the network: the host
computes with it, exactly. Truth that real numbers were compared for is real here, 0 or 1.
"""

from __future__ import annotations

import numpy as np
import torch

from snnir.frontends.torch.call import Call
from snnir.frontends.torch.registry import Entry, RefusalError, Spread, find, find_integers
from snnir.ir import Dim, Value
from snnir.ir.lowering.choose import nonzero
from snnir.ir.ops import Cast, Expand
from snnir.ir.types import DTYPES

__all__ = ["KINDS", "cast", "computed_in", "holds_integers", "of_integers", "whole"]

KINDS = {
    torch.uint8: "u8",
    torch.int8: "i8",
    torch.int16: "i16",
    torch.int32: "i32",
    torch.int64: "i64",
    torch.bool: "bool",
}
"""Element types of PyTorch that are exact, and what they are called in a graph."""

_FAMILIAR = (
    "_to_copy", "_unsafe_view", "alias", "argsort", "cat", "chunk", "clone", "concat", "contiguous", "copy", "detach",
    "detach_", "diagonal", "dropout", "embedding", "embedding_bag", "empty_like", "expand", "expand_as", "fill", "flatten",
    "flip", "full_like", "gather", "index", "index_select", "kthvalue", "lift_fresh", "lift_fresh_copy", "median",
    "moveaxis", "movedim", "narrow", "new_empty", "new_full", "new_ones", "new_zeros", "numpy_T", "one_hot", "ones_like",
    "permute", "repeat", "reshape", "roll", "scaled_dot_product_attention", "scatter", "scatter_add",
    "select", "slice", "sort", "split",
    "split_with_sizes", "squeeze", "stack", "swapaxes", "swapdims", "sym_numel", "sym_size", "t", "to", "topk", "transpose",
    "type_as", "unbind", "unflatten", "unfold", "unsqueeze", "view", "zeros_like",
)  # fmt: skip
"""Operators whose handlers take integers as they take real numbers."""
_PROMOTING = (
    "_log_softmax", "_softmax", "cumprod", "cumsum", "log_softmax", "masked_fill", "mean", "prod", "softmax", "sum", "where",
)  # fmt: skip
"""Operators beside the element-wise ones whose integers are cast to real numbers where the result is real."""
_COMPARISONS = frozenset(("eq", "ne", "gt", "ge", "lt", "le"))


def holds_integers(entry: Entry) -> bool:
    """Whether an entry is a value of integers, or of truth that integers were compared for."""
    return isinstance(entry, Value) and entry.type.is_exact


def _seen(argument: object) -> object:
    """An argument of an fx node as PyTorch promotes types by it."""
    return argument.meta["val"] if isinstance(argument, torch.fx.Node) else argument


def computed_in(call: Call) -> torch.dtype | None:
    """The element type that PyTorch promotes the operands to; None where the node gives no single tensor."""
    if call.target.split(".")[1] in _COMPARISONS:
        found: torch.dtype = torch.result_type(*(_seen(argument) for argument in call.node.args[:2]))  # type: ignore[call-overload]
        return found
    return getattr(call.node.meta.get("val"), "dtype", None)


def of_integers(call: Call) -> Entry:
    """What a node with an operand of integers becomes. Raises `RefusalError` where only real numbers are imported."""
    target, name = call.node.target, call.target.split(".")[1]
    function = find(call.target)
    if function is not None and name in _FAMILIAR:
        return function(call)
    dtype, own = computed_in(call), find_integers(call.target)
    if dtype is not None and dtype.is_floating_point:
        pointwise = isinstance(target, torch._ops.OpOverload) and torch.Tag.pointwise in target.tags
        if function is not None and (pointwise or name in _PROMOTING):
            kind = "f64" if dtype == torch.float64 else "f32"
            call.arguments = {
                key: call.emit(Cast(kind), entry, label=f"{key}.real") if holds_integers(entry) else entry
                for key, entry in call.arguments.items()
            }
            return function(call)
    if own is None:
        kinds = sorted({entry.type.dtype for entry in call.arguments.values() if holds_integers(entry)})
        raise RefusalError(f"it computes with {', '.join(kinds) or 'integers'}; of this operator only real numbers are imported")
    return own(call)


def cast(call: Call, x: Value, name: str) -> Value:
    """`x`, the argument `name`, as the element type of the node's result."""
    target = call.node.meta["val"].dtype
    source = getattr(_seen(call.node.args[0]), "dtype", target)
    if target not in KINDS:
        if not target.is_floating_point:
            raise RefusalError(f"it casts to {target}; real numbers, integers and truth are imported")
        return call.emit(Cast("f64" if target == torch.float64 else "f32"), x) if x.type.is_exact else x
    if source == target:
        return x
    if target == torch.bool and x.type.is_real:
        return nonzero(call, x)
    return call.emit(Cast(KINDS[target]), x)


def whole(call: Call, name: str, kind: str) -> Value:
    """An operand as integers (or truth) of type `kind`, as PyTorch converts it. Raises `RefusalError` for sizes that are open."""
    entry = call.given(name)
    if isinstance(entry, Dim):
        raise RefusalError(f"it computes with the size {entry}, which is known only at run time")
    if isinstance(entry, Value):
        return entry if entry.type.dtype == kind else call.emit(Cast(kind), entry, label=f"{name}.cast")
    if isinstance(entry, Spread):
        return call.emit(Expand(entry.shape), _known(call, name, entry.array, kind), label=name)
    return _known(call, name, entry, kind)


def _known(call: Call, name: str, entry: Entry, kind: str) -> Value:
    array = entry.detach().cpu().numpy() if isinstance(entry, torch.Tensor) else np.asarray(entry)
    if array.dtype.kind not in "iub":
        raise RefusalError(f"its {name} is {array.dtype}, and it computes with {kind}")
    return call.array(name, array.astype(DTYPES[kind]))
