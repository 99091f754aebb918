"""Choices: the larger of two, by a mask or a comparison, the largest along axes, and elements by their rank."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from snnir.frontends.torch.call import Call, to_array
from snnir.frontends.torch.handlers.arithmetic import operand
from snnir.frontends.torch.registry import Entry, RefusalError, Spread, handler
from snnir.ir import Value
from snnir.ir.lowering.choose import above, bounded, chosen, exclusive, extreme, extreme_over, opposite, selected
from snnir.ir.lowering.compose import minus
from snnir.ir.lowering.masks import masked
from snnir.ir.ops import Abs, ArgMax, Gather, Mul, Sign, Sub, TopK

__all__: list[str] = []

_EXTREME = ("max_pool", "clip", "relu", "add", "mul")


def _either(call: Call, name: str) -> Value | np.ndarray:
    """An operand, as an array where it is known."""
    entry = call.given(name)
    if isinstance(entry, torch.Tensor):
        return to_array(entry.to(torch.get_default_dtype()) if not entry.is_floating_point() else entry, name)
    if isinstance(entry, int | float):
        return np.array(float(entry), np.float32)
    return operand(call, name)


def _of_two(operator: str, sign: int) -> None:
    @handler(f"aten.{operator}", *_EXTREME)
    def of_two(call: Call) -> Value:
        return extreme(call, [_either(call, "self"), _either(call, "other")], sign)


for _name in ("maximum", "fmax", "max.other"):
    _of_two(_name, 1)
for _name in ("minimum", "fmin", "min.other"):
    _of_two(_name, -1)


@handler("aten.clamp_min.Tensor", *_EXTREME)
@handler("aten.clamp_max.Tensor", *_EXTREME)
@handler("aten.clip.Tensor", *_EXTREME)
@handler("aten.clamp.Tensor", *_EXTREME)
def clamp(call: Call) -> Value:
    """Bounds as tensors, known or not; either may be missing. The upper one wins."""
    found = operand(call, "self")
    names = [(name, sign) for name, sign in (("min", 1), ("max", -1)) if call.has(name)]
    for name, sign in names:
        bound = _either(call, name)
        label = "" if name == names[-1][0] else name
        if isinstance(bound, np.ndarray):
            found = bounded(call, found, bound, sign, label)
        elif label:
            raise RefusalError("both its bounds change with the input; write it as maximum and minimum")
        else:
            found = extreme(call, [found, bound], sign)
    return found


def _over(operator: str, sign: int) -> None:
    @handler(f"aten.a{operator}", "max_pool", "mul")
    def over_axes(call: Call) -> Value:
        return extreme_over(call, call.value("self"), call.axes("dim"), call.flag("keepdim"), sign)

    @handler(f"aten.{operator}.default", "max_pool", "mul")
    def over_all(call: Call) -> Value:
        return extreme_over(call, call.value("self"), call.axes("dim"), False, sign)

    @handler(f"aten.{operator}.dim", "max_pool", "mul", "argmax")
    def along(call: Call) -> list[Entry]:
        x, keep = call.value("self"), call.flag("keepdim")
        axis = call.axis(call.integer("dim"), x.type.rank)
        largest = extreme_over(call, x, (axis,), keep, sign, "values") if call.wants(0) else None
        if not call.wants(1):
            return [largest, None]
        signed = x if sign > 0 else minus(call, x, "indices.negated")
        return [largest, call.emit(ArgMax(axis, keep), signed, label="indices")]


_over("max", 1)
_over("min", -1)


@handler("aten.aminmax", "max_pool", "mul")
def aminmax(call: Call) -> list[Entry]:
    """Both extremes."""
    x, axes, keep = call.value("self"), call.axes("dim"), call.flag("keepdim")
    return [extreme_over(call, x, axes, keep, sign, label) for sign, label in ((-1, "min"), (1, "max"))]


def _index(operator: str, sign: int) -> None:
    @handler(f"aten.{operator}", "argmax", *(() if sign > 0 else ("mul",)))
    def index(call: Call) -> Value:
        """Along one axis; of equal elements the first."""
        x = call.value("self")
        if not call.has("dim"):
            raise RefusalError("it goes over all elements; give it an axis")
        op = ArgMax(call.axis(call.integer("dim"), x.type.rank), call.flag("keepdim"))
        return call.emit(op, x if sign > 0 else minus(call, x, "negated"))


_index("argmax", 1)
_index("argmin", -1)


@handler("aten.topk", "top_k")
def topk(call: Call) -> list[Entry]:
    """A known number of elements, in order, and their places; on the host."""
    x = call.value("self")
    axis = call.axis(call.integer("dim", -1), x.type.rank)
    return _ordered(call, axis, call.integer("k"), call.flag("largest"))


@handler("aten.sort", "top_k")
def sort(call: Call) -> list[Entry]:
    """An axis of known length, and the places; on the host."""
    x = call.value("self")
    axis = call.axis(call.integer("dim", -1), x.type.rank)
    (size,) = call.static((x.type.shape[axis],), "sorting")
    return _ordered(call, axis, size, call.flag("descending"))


@handler("aten.argsort", "top_k")
def argsort(call: Call) -> Entry:
    """The places alone."""
    return sort(call)[1]


def _ranked(call: Call, axis: int, rank: int) -> list[Entry]:
    """The element that `rank` others precede, and its place: the last of so many least ones."""
    x, keep = call.value("self"), call.flag("keepdim")
    names = (call.name("least"), call.name("places"))
    least = call.emit_all(TopK(axis, rank + 1, False), x, names=names)
    op = Gather(axis, (rank,), (1,) if keep else ())
    return [call.emit(op, found, label=label) for found, label in zip(least, ("values", "indices"), strict=True)]


@handler("aten.kthvalue", "top_k", "gather")
def kthvalue(call: Call) -> list[Entry]:
    """A known rank; on the host."""
    x = call.value("self")
    return _ranked(call, call.axis(call.integer("dim", -1), x.type.rank), call.integer("k") - 1)


@handler("aten.median.dim", "top_k", "gather")
def median(call: Call) -> list[Entry]:
    """Along an axis of known length, of two middle elements the lower; on the host."""
    x = call.value("self")
    axis = call.axis(call.integer("dim"), x.type.rank)
    (size,) = call.static((x.type.shape[axis],), "a median")
    return _ranked(call, axis, (size - 1) // 2)


def _ordered(call: Call, axis: int, count: int, largest: bool) -> list[Entry]:
    names = (call.name("values"), call.name("indices"))
    return list(call.emit_all(TopK(axis, count, largest), call.value("self"), names=names))


_MASKS = ("step", "sign", "abs", "sub", "mul", "add")


def _compared(operator: str, make: Callable[[Call, Value, Value | np.ndarray], Value]) -> None:
    @handler(f"aten.{operator}", *_MASKS)
    def compared(call: Call) -> Value:
        """1 where it is true, else 0."""
        return make(call, operand(call, "self"), _either(call, "other"))


def _value(call: Call, bound: Value | np.ndarray) -> Value:
    return bound if isinstance(bound, Value) else call.array("other", bound)


_compared("gt", lambda call, x, y: above(call, x, y))
_compared("le", lambda call, x, y: opposite(call, above(call, x, y, "above")))
_compared("lt", lambda call, x, y: above(call, _value(call, y), x))
_compared("ge", lambda call, x, y: opposite(call, above(call, _value(call, y), x, "above")))


def _differs(call: Call, x: Value, y: Value | np.ndarray, label: str = "") -> Value:
    way = call.emit(Sub(), x, _value(call, y), label="way")
    return call.emit(Abs(), call.emit(Sign(), way, label="sign"), label=label)


_compared("ne", _differs)
_compared("eq", lambda call, x, y: opposite(call, _differs(call, x, y, "differs")))


@handler("aten.logical_not", "mul", "add")
@handler("aten.bitwise_not", "mul", "add")
def logical_not(call: Call) -> Value:
    """Of a mask."""
    return opposite(call, _mask(call, "self"))


@handler("aten.__and__", "mul")
@handler("aten.logical_and", "mul")
@handler("aten.bitwise_and", "mul")
def logical_and(call: Call) -> Value:
    """Of two masks: their product."""
    return call.emit(Mul(), _mask(call, "self"), _mask(call, "other"))


@handler("aten.__or__", "max_pool", "clip", "relu", "add")
@handler("aten.logical_or", "max_pool", "clip", "relu", "add")
@handler("aten.bitwise_or", "max_pool", "clip", "relu", "add")
def logical_or(call: Call) -> Value:
    """Of two masks: their maximum."""
    return extreme(call, [_mask(call, "self"), _mask(call, "other")], 1)


@handler("aten.__xor__", "add", "step", "sub")
@handler("aten.logical_xor", "add", "step", "sub")
@handler("aten.bitwise_xor", "add", "step", "sub")
def logical_xor(call: Call) -> Value:
    """Of two masks: at least one, and not both."""
    return exclusive(call, _mask(call, "self"), _mask(call, "other"))


def _quantified(operator: str, sign: int) -> None:
    @handler(f"aten.{operator}", "max_pool", "mul")
    def quantified(call: Call) -> Value:
        """Of a mask, over axes of known length: its largest or least element."""
        return extreme_over(call, _mask(call, "self"), call.axes("dim"), call.flag("keepdim"), sign)


_quantified("any", 1)
_quantified("all", -1)


def _mask(call: Call, name: str) -> Value:
    """A mask that holds 0 and 1."""
    entry = call.given(name)
    if isinstance(entry, torch.Tensor) and entry.dtype == torch.bool:
        return call.array(name, entry.to(torch.get_default_dtype()).cpu().numpy())
    if isinstance(entry, Spread) and entry.array.dtype == torch.bool:
        return call.as_value(Spread(entry.array.to(torch.get_default_dtype()), entry.shape), name)
    source = call.node.args[0 if name == "self" else 1]
    if not isinstance(source, torch.fx.Node) or source.meta["val"].dtype != torch.bool:
        raise RefusalError(f"its {name} is no mask of true and false")
    return call.value(name)


@handler("aten.where", "mul", "add", "masked")
def where(call: Call) -> Value:
    """By a known condition, or by a comparison, which becomes a mask."""
    if not call.has("self"):
        raise RefusalError("it gives places whose number depends on the input")
    return _selected(call, call.given("condition"), "self", "other")


@handler("aten.masked_fill", "mul", "add", "masked")
def masked_fill(call: Call) -> Value:
    """A number where the mask is true."""
    return _selected(call, call.given("mask"), "value", "self")


def _selected(call: Call, condition: Entry, yes: str, no: str) -> Value:
    sides = [_either(call, name) for name in (yes, no)]
    for place, side in enumerate(sides):
        if isinstance(side, np.ndarray) and (side == -np.inf).all():
            return _hidden(call, condition, sides[1 - place], place == 0)
    values = [side if isinstance(side, Value) else None for side in sides]
    like = next((value for value in values if value is not None), None)
    if isinstance(condition, Spread):
        choice = values[0 if condition.array.any() else 1]
        if condition.array.any() == condition.array.all() and choice is not None and choice.type.shape == condition.shape:
            return choice
        condition = Spread(condition.array.to(torch.get_default_dtype()), condition.shape)
    if isinstance(condition, torch.Tensor):
        if like is None:
            raise RefusalError("all that it chooses from is known, and so is its condition; let PyTorch compute it")
        return chosen(call, condition.to(torch.bool).cpu().numpy(), sides, like)
    mask = call.as_value(condition, "condition")
    if any(isinstance(side, np.ndarray) and not np.isfinite(side).all() for side in sides):
        raise RefusalError("it chooses between a value and an infinite number by a mask that changes with the input")
    named = zip(sides, (yes, no), strict=True)
    return selected(call, mask, *(side if isinstance(side, Value) else call.array(name, side) for side, name in named))


def _hidden(call: Call, condition: Entry, side: Value | np.ndarray, hides: bool) -> Value:
    """A side where the condition lets it through, else minus infinity, a mask of attention; `hides`: where it holds."""
    x = side if isinstance(side, Value) else call.array("other", side)
    if isinstance(condition, torch.Tensor):
        return masked(call, x, condition.to(torch.bool).cpu().numpy() != hides)
    keep = call.as_value(condition, "condition")
    return masked(call, x, opposite(call, keep, "kept") if hides else keep)
