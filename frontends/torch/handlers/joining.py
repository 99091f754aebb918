"""Tensors joined, taken apart, repeated and padded."""

from __future__ import annotations

import numpy as np

from snnir.frontends.torch.call import Call
from snnir.frontends.torch.handlers.movement import reshaped
from snnir.frontends.torch.registry import Entry, RefusalError, handler
from snnir.ir import Value
from snnir.ir.lowering.padding import padded
from snnir.ir.ops import Concat, Gather, Slice

__all__: list[str] = []


@handler("aten.concat", "concat")
@handler("aten.cat", "concat")
def cat(call: Call) -> Value:
    """Side by side along an axis."""
    values = call.values("tensors")
    return call.emit(Concat(call.axis(call.integer("dim"), values[0].type.rank)), *values)


@handler("aten.stack", "concat", "reshape")
def stack(call: Call) -> Value:
    """Side by side along a new axis."""
    values = call.values("tensors")
    shape = values[0].type.shape
    axis = call.axis(call.integer("dim"), len(shape) + 1)
    rows = [
        reshaped(call, value, (*value.type.shape[:axis], 1, *value.type.shape[axis:]), f"row{place}")
        for place, value in enumerate(values)
    ]
    return call.emit(Concat(axis), *rows)


@handler("aten.unbind", "gather")
def unbind(call: Call) -> list[Entry]:
    """Each element of an axis."""
    x = call.value("self")
    axis = call.axis(call.integer("dim"), x.type.rank)
    (size,) = call.static((x.type.shape[axis],), "an axis that is taken apart")
    return [call.emit(Gather(axis, (place,), ()), x, label=str(place)) for place in range(size)]


@handler("aten.split_with_sizes", "slice")
@handler("aten.split", "slice")
def split(call: Call) -> list[Entry]:
    """Into parts of one size, or of the sizes given."""
    x = call.value("self")
    axis = call.axis(call.integer("dim"), x.type.rank)
    sizes = call.integers("split_size" if "split_size" in call.arguments else "split_sizes")
    if "split_size" in call.arguments and not isinstance(call.given("split_size"), list | tuple):
        (total,) = call.static((x.type.shape[axis],), "an axis that is split into parts")
        sizes = tuple(min(sizes[0], total - start) for start in range(0, total, sizes[0]))
    return _parts(call, x, axis, sizes)


@handler("aten.chunk", "slice")
def chunk(call: Call) -> list[Entry]:
    """Into so many parts of one size, the last of which may be smaller."""
    x = call.value("self")
    axis = call.axis(call.integer("dim"), x.type.rank)
    (total,) = call.static((x.type.shape[axis],), "an axis that is split into parts")
    each = -(-total // call.integer("chunks"))
    return _parts(call, x, axis, tuple(min(each, total - start) for start in range(0, total, each)))


def _parts(call: Call, x: Value, axis: int, sizes: tuple[int, ...]) -> list[Entry]:
    results: list[Entry] = []
    start = 0
    for place, size in enumerate(sizes):
        results.append(call.emit(Slice(axis, start, start + size), x, label=str(place)))
        start += size
    return results


@handler("aten.repeat", "concat", "reshape")
def repeat(call: Call) -> Value:
    """The tensor again and again along axes, a known number of times."""
    x, times = call.value("self"), call.integers("repeats")
    x = reshaped(call, x, (*((1,) * (len(times) - x.type.rank)), *x.type.shape), "axes")
    for axis, count in enumerate(times):
        if count != 1:
            x = call.emit(Concat(axis), *([x] * count), label=f"axis{axis}")
    return x


@handler("aten.constant_pad_nd", "pad", "add", "mul", "expand", "masked")
@handler("aten.pad", "pad", "gather", "add", "mul", "expand", "masked")
def pad(call: Call) -> Value:
    """Constant mode with any value (minus infinity is a mask), reflect, replicate and circular."""
    x = call.value("self")
    rank = x.type.rank
    given = call.integers("pad")
    amounts = [0] * (2 * rank)
    for place in range(len(given) // 2):
        amounts[rank - 1 - place], amounts[2 * rank - 1 - place] = given[2 * place], given[2 * place + 1]
    mode = call.arguments.get("mode", "constant")
    if not any(amounts):
        return x
    if mode != "constant":
        return _gathered(call, x, amounts, {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}[str(mode)])
    return padded(call, x, amounts, call.number("value", 0.0))


def _gathered(call: Call, x: Value, amounts: list[int], mode: str) -> Value:
    rank = x.type.rank
    places = [axis for axis in range(rank) if amounts[axis] or amounts[axis + rank]]
    for axis in places:
        (size,) = call.static((x.type.shape[axis],), f"padding in {mode} mode")
        before, after = amounts[axis], amounts[axis + rank]
        if min(before, after) < 0:
            raise RefusalError(f"it crops in {mode} mode")
        indices = np.pad(np.arange(size), (before, after), mode=mode)  # type: ignore[call-overload]
        op = Gather(axis, tuple(int(index) for index in indices), (len(indices),))
        x = call.emit(op, x, label="" if axis == places[-1] else f"axis{axis}")
    return x
