"""Data movement: views, transposes, slices, broadcasts; and what only copies."""

from __future__ import annotations

import torch

from snnir.frontends.torch.call import Call
from snnir.frontends.torch.complex_value import Complex
from snnir.frontends.torch.promotion import cast
from snnir.frontends.torch.registry import Entry, RefusalError, Spread, handler
from snnir.ir import Dim, Dimension, Shape, Value
from snnir.ir.dims import product
from snnir.ir.lowering.taking import taken_rows
from snnir.ir.ops import Expand, Gather, Reshape, Slice, Transpose

__all__ = ["reshaped"]

_FAR = 1 << 62


_CASTS = ("to", "_to_copy", "type_as")


def _copy(operator: str) -> None:
    @handler(f"aten.{operator}", *(("cast", "step", "mul", "add") if operator in _CASTS else ()))
    def copy(call: Call) -> Entry:
        """Casts to integers and from them are exact, on the host; between real numbers it is nothing."""
        name = "self" if "self" in call.arguments else "input"
        value = call.given(name)
        if isinstance(value, Value) and call.node.meta["val"].dtype.is_complex:
            zeros = Spread(torch.zeros([1] * value.type.rank, dtype=call.node.meta["val"].real.dtype), value.type.shape)
            return Complex(call.name(), (value, call.as_value(zeros, "imag")))
        return cast(call, value, name) if isinstance(value, Value) else value


for _name in ("clone", "contiguous", "detach", "alias", "to", "_to_copy", "type_as", "lift_fresh_copy", "detach_", "lift_fresh"):
    _copy(_name)


def _dropout(operator: str) -> None:
    @handler(f"aten.{operator}")
    def dropout(call: Call) -> Entry:
        if call.flag("train") and call.number("p") > 0:
            raise RefusalError("it is in training mode; call eval() on the module")
        return call.given("input")


for _name in ("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout"):
    _dropout(_name)


def reshaped(call: Call, x: Value, shape: Shape, label: str = "") -> Value:
    """`x` under another shape."""
    return x if shape == x.type.shape else call.emit(Reshape(shape), x, label=label)


@handler("aten._unsafe_view", "reshape")
@handler("aten.reshape", "reshape")
@handler("aten.view.default", "reshape")
def view(call: Call) -> Value:
    """-1 takes the rest."""
    x = call.value("self")
    target = call.sizes("size" if "size" in call.arguments else "shape")
    return reshaped(call, x, _completed(target, x.type.shape))


def _completed(target: list[Dimension], shape: Shape) -> Shape:
    if -1 in target:
        place = target.index(-1)
        rest = product(tuple(size for index, size in enumerate(target) if index != place))
        target[place] = product(shape) // rest
    return tuple(target)


@handler("aten.flatten", "reshape")
def flatten(call: Call) -> Value:
    """From start_dim to end_dim."""
    x = call.value("self")
    shape = x.type.shape
    start, end = (call.axis(call.integer(name), len(shape)) for name in ("start_dim", "end_dim"))
    return reshaped(call, x, (*shape[:start], product(shape[start : end + 1]), *shape[end + 1 :]))


@handler("aten.unflatten", "reshape")
def unflatten(call: Call) -> Value:
    """One axis as several."""
    x = call.value("self")
    shape = x.type.shape
    axis = call.axis(call.integer("dim"), len(shape))
    return reshaped(call, x, (*shape[:axis], *_completed(call.sizes("sizes"), (shape[axis],)), *shape[axis + 1 :]))


def _transposed(call: Call, perm: tuple[int, ...]) -> Value:
    x = call.value("self")
    return x if perm == tuple(range(len(perm))) else call.emit(Transpose(perm), x)


@handler("aten.permute", "transpose")
def permute(call: Call) -> Value:
    """Axes in any order."""
    rank = call.type("self").rank
    return _transposed(call, tuple(call.axis(axis, rank) for axis in call.integers("dims")))


@handler("aten.swapdims", "transpose")
@handler("aten.swapaxes", "transpose")
@handler("aten.transpose", "transpose")
def transpose(call: Call) -> Value:
    """Two axes change places."""
    rank = call.type("self").rank
    names = [name for name in call.arguments if name != "self"]
    a, b = (call.axis(call.integer(name), rank) for name in names[:2])
    perm = list(range(rank))
    perm[a], perm[b] = b, a
    return _transposed(call, tuple(perm))


@handler("aten.numpy_T", "transpose")
@handler("aten.t", "transpose")
def t(call: Call) -> Value:
    """Axes reversed."""
    return _transposed(call, tuple(reversed(range(call.type("self").rank))))


@handler("aten.moveaxis", "transpose")
@handler("aten.movedim", "transpose")
def movedim(call: Call) -> Value:
    """Some axes move, the others keep their order."""
    rank = call.type("self").rank
    sources, targets = ([call.axis(axis, rank) for axis in call.integers(name)] for name in ("source", "destination"))
    rest = iter(axis for axis in range(rank) if axis not in sources)
    moved = dict(zip(targets, sources, strict=True))
    return _transposed(call, tuple(moved[place] if place in moved else next(rest) for place in range(rank)))


@handler("aten.squeeze", "reshape")
def squeeze(call: Call) -> Value:
    """The axes given, or all, where they have size 1."""
    x = call.value("self")
    axes = call.integers("dim") if "dim" in call.arguments else tuple(range(x.type.rank))
    gone = {call.axis(axis, x.type.rank) for axis in axes}
    return reshaped(call, x, tuple(size for axis, size in enumerate(x.type.shape) if axis not in gone or size != 1))


@handler("aten.unsqueeze", "reshape")
def unsqueeze(call: Call) -> Value:
    """A new axis of size 1."""
    x = call.value("self")
    axis = call.axis(call.integer("dim"), x.type.rank + 1)
    return reshaped(call, x, (*x.type.shape[:axis], 1, *x.type.shape[axis:]))


@handler("aten.narrow", "slice")
def narrow(call: Call) -> Value:
    """`length` elements from `start` on."""
    x, start = call.value("self"), call.integer("start")
    axis = call.axis(call.integer("dim"), x.type.rank)
    (length,) = call.sizes("length")
    return _sliced(call, x, axis, start, length + start if start >= 0 else _FAR, 1)


@handler("aten.slice", "slice")
def slice_(call: Call) -> Value:
    """Constant bounds, or the end of the axis."""
    x = call.value("self")
    axis = call.axis(call.integer("dim"), x.type.rank)
    start, end = (call.arguments.get(name) for name in ("start", "end"))
    return _sliced(call, x, axis, 0 if start is None else start, _FAR if end is None else end, call.integer("step", 1))


def _sliced(call: Call, x: Value, axis: int, start: Dimension, end: Dimension, step: int) -> Value:
    size = x.type.shape[axis]
    whole = end == size or (isinstance(end, int) and (end >= _FAR or (isinstance(size, int) and end >= size)))
    stop = None if whole else _from_end(end, size)
    begin = None if start == 0 else _from_end(start, size)
    if isinstance(stop, Dim) or isinstance(begin, Dim):
        raise RefusalError(f"its bounds {start}:{end} depend on sizes that are known only at run time")
    if (begin, stop, step) == (None, None, 1):
        return x
    return call.emit(Slice(axis, begin, stop, step), x)


def _from_end(bound: Dimension, size: Dimension) -> Dimension:
    """A bound such as T - 1 of an axis of size T as -1."""
    if isinstance(bound, Dim) and isinstance(size, Dim):
        difference = bound - size
        return difference if isinstance(difference, int) and difference < 0 else bound
    return bound


@handler("aten.select", "gather")
def select(call: Call) -> Value:
    """One element of an axis."""
    x = call.value("self")
    axis = call.axis(call.integer("dim"), x.type.rank)
    (place,) = call.sizes("index")
    index = _from_end(place, x.type.shape[axis])
    if isinstance(index, Dim):
        raise RefusalError(f"its index {index} is known only at run time")
    return call.emit(Gather(axis, (index,), ()), x)


@handler("aten.index_select", "gather", "take_along")
def index_select(call: Call) -> Value:
    """Constant indices; or, in a model of one sample, an index that changes with the input."""
    x, index = call.value("self"), call.given("index")
    if isinstance(index, Value):
        return taken_rows(call, x, index, call.axis(call.integer("dim"), x.type.rank))
    indices = call.known("index", "the index").reshape(-1).tolist()
    return call.emit(Gather(call.axis(call.integer("dim"), x.type.rank), tuple(indices), (len(indices),)), x)


@handler("aten.flip", "slice")
def flip(call: Call) -> Value:
    """Axes backwards."""
    x = call.value("self")
    axes = [call.axis(axis, x.type.rank) for axis in call.integers("dims")]
    for place, axis in enumerate(axes):
        x = call.emit(Slice(axis, None, None, -1), x, label="" if place == len(axes) - 1 else f"axis{axis}")
    return x


@handler("aten.expand_as", "expand")
@handler("aten.expand", "expand")
def expand(call: Call) -> Entry:
    """Broadcast; -1 keeps a size."""
    given = call.given("self")
    target = call.sizes("size") if "size" in call.arguments else list(call.type("other").shape)
    old: Shape = (
        given.shape if isinstance(given, Spread) else tuple(given.shape) if not isinstance(given, Value) else given.type.shape
    )
    sizes: list[Dimension] = [*([1] * (len(target) - len(old))), *old]
    shape = tuple(size if wanted == -1 else wanted for size, wanted in zip(sizes, target, strict=True))
    if not isinstance(given, Value):
        known = given.array if isinstance(given, Spread) else given
        return Spread(known.reshape((1,) * (len(target) - known.dim()) + tuple(known.shape)), shape)
    x = call.value("self")
    return x if shape == x.type.shape else call.emit(Expand(shape), x)


@handler("aten.copy", "expand")
def copy_(call: Call) -> Entry:
    """Another tensor written over all of this one."""
    source, shape = call.value("src"), call.type("self").shape
    return source if source.type.shape == shape else call.emit(Expand(shape), source)
