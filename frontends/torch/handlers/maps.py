"""Linear maps and data movement along axes of known length: running sums, triangles, windows, parts written over."""

from __future__ import annotations

import math

import numpy as np
import torch

from snnir.frontends.torch.call import Call
from snnir.frontends.torch.handlers.arithmetic import operand
from snnir.frontends.torch.handlers.places import put
from snnir.frontends.torch.registry import RefusalError, Spread, handler
from snnir.ir import Dim, Dimension, Value
from snnir.ir.dims import concrete
from snnir.ir.lowering.compose import reshaped, times, transposed
from snnir.ir.lowering.einsum import einsum as lowered
from snnir.ir.lowering.functions import running_sum, triangle
from snnir.ir.lowering.masks import masked, masked_sum
from snnir.ir.lowering.products import product_over, running_product
from snnir.ir.ops import Add, Concat, Expand, Gather, MatMul, Slice, Softmax, Transpose
from snnir.ir.types import DTYPES

__all__: list[str] = []

_FAR = 1 << 62


@handler("aten.einsum.default", "matmul", "transpose", "linear", "reshape")
def einsum(call: Call) -> Value:
    """One or two operands; a letter that stands twice takes a diagonal."""
    return lowered(call, str(call.given("equation")), call.values("tensors"))


@handler("aten.cumsum", "linear", "transpose")
def cumsum(call: Call) -> Value:
    """Along an axis of known length."""
    x = call.value("self")
    return running_sum(call, x, call.axis(call.integer("dim"), x.type.rank))


@handler("aten.prod", "mul", "slice", "reshape")
def prod(call: Call) -> Value:
    """Over axes of known length, pair by pair."""
    return product_over(call, call.value("self"), call.axes("dim"), call.flag("keepdim"))


@handler("aten.cumprod", "mul", "slice", "concat")
def cumprod(call: Call) -> Value:
    """Along an axis of known length, factor by factor."""
    x = call.value("self")
    return running_product(call, x, call.axis(call.integer("dim"), x.type.rank))


def _triangle(operator: str, upper: bool) -> None:
    @handler(f"aten.{operator}", "mul")
    def half(call: Call) -> Value:
        return triangle(call, call.value("self"), call.integer("diagonal"), upper)


_triangle("tril", False)
_triangle("triu", True)


@handler("aten.roll", "gather")
def roll(call: Call) -> Value:
    """Axes of known length, around."""
    x = call.value("self")
    axes, shifts = call.integers("dims"), call.integers("shifts")
    if not axes:
        raise RefusalError("it moves the flattened tensor around; name its axes")
    for place, (given, shift) in enumerate(zip(axes, shifts, strict=True)):
        axis = call.axis(given, x.type.rank)
        (size,) = call.static((x.type.shape[axis],), "moving an axis around")
        indices = tuple((index - shift) % size for index in range(size))
        x = call.emit(Gather(axis, indices, (size,)), x, label="" if place == len(axes) - 1 else f"axis{axis}")
    return x


@handler("aten.unfold", "gather", "transpose")
def unfold(call: Call) -> Value:
    """All windows of `size` elements along an axis of known length, as a new last axis."""
    x = call.value("self")
    axis = call.axis(call.integer("dimension"), x.type.rank)
    (length,) = call.static((x.type.shape[axis],), "cutting into windows")
    size, step = call.integer("size"), call.integer("step")
    count = (length - size) // step + 1
    indices = tuple(start * step + place for start in range(count) for place in range(size))
    last = axis == x.type.rank - 1
    windows = call.emit(Gather(axis, indices, (count, size)), x, label="" if last else "windows")
    rank = windows.type.rank
    return transposed(call, windows, [place for place in range(rank) if place != axis + 1] + [axis + 1])


@handler("aten.slice_scatter", "concat", "slice", "expand", "gather", "reshape")
def slice_scatter(call: Call) -> Value:
    """A range of one axis written over, with any step."""
    x = call.value("self")
    axis = call.axis(call.integer("dim"), x.type.rank)
    whole = not call.integer("start") and not isinstance(call.given("end"), Dim) and call.integer("end", _FAR) >= _FAR
    if whole and call.integer("step", 1) == 1:
        return _written(call, x, operand(call, "src"), axis, 0, x.type.shape[axis], x.type.shape[axis])
    (size,) = call.static((x.type.shape[axis],), "writing over a part")
    start, stop, step = slice(call.integer("start"), call.integer("end", size), call.integer("step", 1)).indices(size)
    if step != 1:
        places: list[np.ndarray | slice] = [*([slice(None)] * axis), slice(start, stop, step)]
        return put(call, x, places, operand(call, "src"), "none")
    return _written(call, x, operand(call, "src"), axis, start, stop, size)


@handler("aten.select_scatter", "concat", "slice", "reshape", "expand")
def select_scatter(call: Call) -> Value:
    """One element of an axis written over."""
    x, source = call.value("self"), operand(call, "src")
    axis = call.axis(call.integer("dim"), x.type.rank)
    (size,) = call.static((x.type.shape[axis],), "writing over a part")
    start = call.integer("index") % size
    row = reshaped(call, source, (*source.type.shape[:axis], 1, *source.type.shape[axis:]), "row")
    return _written(call, x, row, axis, start, start + 1, size)


def _written(call: Call, x: Value, source: Value, axis: int, start: int, stop: Dimension, size: Dimension) -> Value:
    wanted = (*x.type.shape[:axis], stop - start, *x.type.shape[axis + 1 :])
    parts = [source if source.type.shape == wanted else call.emit(Expand(wanted), source, label="written")]
    if start:
        parts.insert(0, call.emit(Slice(axis, 0, start), x, label="before"))
    if stop != size:
        parts.append(call.emit(Slice(axis, concrete(stop), None), x, label="behind"))
    return parts[0] if len(parts) == 1 else call.emit(Concat(axis), *parts)


@handler("aten.scaled_dot_product_attention", "matmul", "softmax", "mul", "transpose", "add", "masked")
def attention(call: Call) -> Value:
    """`softmax(q k' / sqrt(width) + mask) v` with any mask, or the causal one."""
    query, key, value = (call.value(name) for name in ("query", "key", "value"))
    rank = query.type.rank
    if call.flag("enable_gqa"):
        heads, groups = call.static((query.type.shape[-3], key.type.shape[-3]), "attention with shared keys")
        op = Gather(rank - 3, tuple(head * groups // heads for head in range(heads)), (heads,))
        key, value = (call.emit(op, shared, label=f"{name}.heads") for shared, name in ((key, "key"), (value, "value")))
    (width,) = call.static((query.type.shape[-1],), "attention")
    perm = (*range(rank - 2), rank - 1, rank - 2)
    scaled = times(call, query, call.number("scale", 1 / math.sqrt(width)), "query.scaled")
    scores = call.emit(MatMul(), scaled, call.emit(Transpose(perm), key, label="key.turned"), label="scores")
    scores = _hidden(call, scores)
    return call.emit(MatMul(), call.emit(Softmax(rank - 1), scores, label="weights"), value)


def _hidden(call: Call, scores: Value) -> Value:
    """The scores with the mask added, or minus infinity where it is false."""
    given = call.given("attn_mask")
    if isinstance(given, Value):
        source = call.node.kwargs.get("attn_mask") or call.node.args[3]
        if isinstance(source, torch.fx.Node) and source.meta["val"].dtype == torch.bool:
            return masked(call, scores, given, "masked")
        known: Value | np.ndarray = given
    elif call.flag("is_causal"):
        known = np.tril(np.ones(call.static(scores.type.shape[-2:], "causal attention"), np.bool_))
    elif given is None:
        return scores
    else:
        known = (given.array if isinstance(given, Spread) else given).detach().cpu().numpy()
    if isinstance(known, np.ndarray) and known.dtype.kind == "b":
        return scores if known.all() else masked(call, scores, known, "masked")
    hidden = masked_sum(call, (known, scores), lambda place: scores, "masked")
    if hidden is not None:
        return hidden
    bias = known if isinstance(known, Value) else call.array("mask", known.astype(DTYPES[scores.type.dtype]))
    return call.emit(Add(), scores, bias, label="masked")
