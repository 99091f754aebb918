"""Arithmetic with a loop's counter while importing: what a loop reads and writes where, and how often it runs.

The counter is a named size, so an index such as `T - 1 - k` is a polynomial like any other dimension. Comparisons with
it become plain truth values where the counter's range decides them, and conditions where it does not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from snnir.errors import GraphError
from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.fold import RULES
from snnir.frontends.onnx.registry import Known, RefusalError
from snnir.ir import Dim, Dimension
from snnir.ir.dims import dim, substitute

__all__ = [
    "COMPARISONS",
    "COUNTER",
    "STATE",
    "Condition",
    "Counter",
    "at_least_zero",
    "equal",
    "fold_index",
    "linear",
    "mentions",
]

COUNTER = "iteration_"
"""Names of counters start with this; they count from 0, while named sizes are at least 1."""
STATE = "state"
"""Stands for a state that may count, while that is found out; nothing is known of it."""


@dataclass(frozen=True)
class Condition:
    """True where every one of `parts` is at least 0."""

    parts: tuple[Dimension, ...]


@dataclass(frozen=True)
class Counter:
    """The counter of a loop: its name, and the last number it reaches (None: not known yet)."""

    name: str
    last: Dimension | None

    def array(self) -> Known:
        """The counter as a known tensor without axes."""
        return _object(dim(self.name))

    def least(self, size: Dimension) -> Dimension | None:
        """The smallest `size` gets; None where that is not known."""
        return self._end(size, -1)

    def most(self, size: Dimension) -> Dimension | None:
        """The largest `size` gets; None where that is not known."""
        return self._end(size, 1)

    def _end(self, size: Dimension, side: int) -> Dimension | None:
        parts = linear(size, self.name)
        if parts is None:
            return None
        slope, start = parts
        if slope * side <= 0:
            return start
        return None if self.last is None else start + slope * self.last

    def decide(self, size: Dimension) -> bool | None:
        """Whether `size` is at least 0 for every number of the counter; None where that differs or is not known."""
        least, most = self.least(size), self.most(size)
        if least is not None and at_least_zero(least):
            return True
        if most is not None and at_least_zero(most * -1 - 1):
            return False
        return None


def linear(size: Dimension, name: str) -> tuple[int, Dimension] | None:
    """`(a, b)` with `size = a * name + b`; None where it is not of that form."""
    if isinstance(size, int):
        return 0, size
    start = substitute(size, {name: 0})
    slope = substitute(size, {name: 1}) - start
    if isinstance(slope, int) and size == dim(name) * slope + start:
        return slope, start
    return None


def at_least_zero(size: Dimension) -> bool:
    """Whether `size` cannot be negative, named sizes being at least 1."""
    if isinstance(size, int):
        return size >= 0
    names = {atom for monomial, _ in size.terms for atom in monomial if isinstance(atom, str) and not atom.startswith(COUNTER)}
    if STATE in names:
        return False
    shifted = substitute(size, {name: dim(name) + 1 for name in names})
    return shifted >= 0 if isinstance(shifted, int) else all(coefficient >= 0 for _, coefficient in shifted.terms)


def mentions(entry: object, name: str) -> bool:
    """Whether a known tensor holds the counter called `name`, or a condition."""
    if not isinstance(entry, np.ndarray) or entry.dtype != object:
        return False
    return any(
        isinstance(item, Condition) or (isinstance(item, Dim) and item != substitute(item, {name: 0}))
        for item in entry.reshape(-1).tolist()
    )


def fold_index(call: Call, counter: Counter) -> Known:
    """The only result of a node that computes with the counter. Raises `RefusalError`."""
    operands = [_whole(operand) for operand in call.operands if isinstance(operand, np.ndarray)]
    operator = call.node.op_type
    try:
        if operator in _INDEX_RULES:
            return _settled(_INDEX_RULES[operator](counter, operands))
        if operator in _SHAPE_RULES:
            return _settled(_SHAPE_RULES[operator](call, operands))
        if operator in RULES:
            return _settled(RULES[operator](call, operands))
    except (GraphError, TypeError, ValueError, IndexError) as error:
        raise RefusalError(f"it computes with the loop's counter ({error})") from error
    raise RefusalError("it computes with the loop's counter, and is not one of " + ", ".join(sorted({*_INDEX_RULES, *RULES})))


def _object(item: object) -> Known:
    array = np.empty((), object)
    array[()] = item
    return array


def _settled(array: Known) -> Known:
    """Plain integers or truth values where no symbol is left."""
    items = array.reshape(-1).tolist()
    if array.dtype != object or any(isinstance(item, Dim | Condition) for item in items):
        return array
    if all(isinstance(item, bool | np.bool_) for item in items):
        return array.astype(np.bool_)
    return array.astype(np.int64)


def _each(function: Callable[..., object]) -> Callable[[Counter, Sequence[Known]], Known]:
    """An element-wise rule: `function` takes the counter and one item of each operand."""

    def rule(counter: Counter, operands: Sequence[Known]) -> Known:
        spread = np.broadcast_arrays(*(_items(operand) for operand in operands))
        result = np.empty(spread[0].shape, object)
        for place in np.ndindex(result.shape):
            result[place] = function(counter, *(array[place] for array in spread))
        return result

    return rule


def _whole(array: Known) -> Known:
    """Real numbers that are whole as integers: TensorFlow's counters are compared as real numbers."""
    if array.dtype.kind == "f" and np.isfinite(array).all() and (array == np.round(array)).all():
        return array.astype(np.int64)
    return array


def _items(array: Known) -> Known:
    """An array of Python numbers and symbols."""
    return array if array.dtype == object else array.astype(object)


def _at_least_zero(counter: Counter, size: Dimension) -> bool | Condition:
    decided = counter.decide(size)
    return Condition((size,)) if decided is None else decided


def equal(counter: Counter, a: Dimension, b: Dimension) -> bool | Condition:
    """Whether a is b."""
    return _both(counter, _at_least_zero(counter, a - b), _at_least_zero(counter, b - a))


def _both(counter: Counter, a: bool | Condition, b: bool | Condition) -> bool | Condition:
    if isinstance(a, Condition) and isinstance(b, Condition):
        return Condition((*a.parts, *b.parts))
    if isinstance(a, Condition):
        return a if b else False
    return b if a else False


def _either(counter: Counter, a: bool | Condition, b: bool | Condition) -> bool | Condition:
    if isinstance(a, Condition) and isinstance(b, Condition):
        raise ValueError("one of two conditions that both change while it runs")
    if isinstance(a, Condition):
        return True if b else a
    return True if a else b


def _negated(counter: Counter, a: bool | Condition) -> bool | Condition:
    if not isinstance(a, Condition):
        return not a
    if len(a.parts) != 1:
        raise ValueError("the opposite of several conditions")
    return Condition((a.parts[0] * -1 - 1,))


def _where(counter: Counter, choice: bool | Condition, a: Dimension, b: Dimension) -> Dimension:
    if isinstance(choice, Condition):
        if a == b:
            return a
        raise ValueError("a choice that changes while it runs")
    return a if choice else b


def _smaller(counter: Counter, a: Dimension, b: Dimension) -> Dimension:
    """The smaller of two where that is always the same one."""
    decided = counter.decide(b - a)
    if decided is None:
        decided = False if counter.decide(a - b) else None
    if decided is None:
        raise ValueError(f"the smaller of {a} and {b} changes while it runs")
    return a if decided else b


def _larger(counter: Counter, a: Dimension, b: Dimension) -> Dimension:
    return _smaller(counter, a * -1, b * -1) * -1


def _modulo(counter: Counter, a: Dimension, b: Dimension) -> Dimension:
    if counter.decide(a) and counter.decide(b - a - 1):
        return a
    raise ValueError(f"{a} modulo {b}")


def _fold_many(function: Callable[[Counter, Dimension, Dimension], Dimension]) -> Callable[[Counter, Sequence[Known]], Known]:
    def rule(counter: Counter, operands: Sequence[Known]) -> Known:
        total = operands[0]
        for operand in operands[1:]:
            total = _each(function)(counter, (total, operand))
        return total

    return rule


def _clip(counter: Counter, operands: Sequence[Known]) -> Known:
    x, low, high = operands
    return _each(_smaller)(counter, (_each(_larger)(counter, (x, low)), high))


def _range(counter: Counter, operands: Sequence[Known]) -> Known:
    start, limit, step = (_items(operand).reshape(-1)[0] for operand in operands)
    count = (limit - start) // step
    if not isinstance(count, int):
        raise TypeError(f"a range of {count} numbers")
    return np.array([start + step * index for index in range(max(count, 0))], object)


_INDEX_RULES: dict[str, Callable[[Counter, Sequence[Known]], Known]] = {
    "Less": _each(lambda counter, a, b: _at_least_zero(counter, b - a - 1)),
    "LessOrEqual": _each(lambda counter, a, b: _at_least_zero(counter, b - a)),
    "Greater": _each(lambda counter, a, b: _at_least_zero(counter, a - b - 1)),
    "GreaterOrEqual": _each(lambda counter, a, b: _at_least_zero(counter, a - b)),
    "Equal": _each(equal),
    "And": _each(_both),
    "Or": _each(_either),
    "Not": _each(_negated),
    "Where": _each(_where),
    "Min": _fold_many(_smaller),
    "Max": _fold_many(_larger),
    "Clip": _clip,
    "Mod": _each(_modulo),
    "Neg": _each(lambda counter, a: a * -1),
    "Range": _range,
}

COMPARISONS = (*_INDEX_RULES, "Shape")
"""Operators that loops compute with named sizes too, although nothing outside them does."""

_SHAPE_RULES: dict[str, Callable[[Call, Sequence[Known]], Known]] = {
    "Shape": lambda call, operands: np.array(operands[0].shape, np.int64),
    "Expand": lambda call, operands: np.broadcast_to(
        operands[0], np.broadcast_shapes(operands[0].shape, tuple(int(size) for size in operands[1]))
    ),
    "Transpose": lambda call, operands: operands[0].transpose(call.integers("perm", tuple(reversed(range(operands[0].ndim))))),
}
