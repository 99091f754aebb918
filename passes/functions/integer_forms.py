"""The integer form of each op that may stand in a function: fixed-point arithmetic of its real meaning.

One entry an op; `INTEGER_FORMS` says which ops a function may hold. Each takes the node and its operands as `Fixed` and gives the
result as one. Softmax follows I-BERT (Kim et al., arXiv:2101.01321): the difference to the maximum, exponentials of it, and
their quotient; here exponentials come from a table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from snnir.errors import UnsupportedError
from snnir.ir import Dim, Node, Op
from snnir.ir.ops import (
    Abs,
    Add,
    Clip,
    Concat,
    Cos,
    Div,
    Elementwise,
    Gated,
    IntLeast,
    IntMost,
    IntMul,
    Log,
    LogSoftmax,
    Lookup,
    Masked,
    Movement,
    Mul,
    Pad,
    Pow,
    Ranking,
    Reciprocal,
    ReduceMean,
    Relu,
    Saturate,
    Sin,
    Softmax,
    Sqrt,
    Sub,
    TakeAlong,
    Tan,
)
from snnir.passes.functions.fixed import Arithmetic, Fixed

__all__ = ["INTEGER_FORMS", "IntegerForm", "has_integer_form", "integer_form", "integer_form_of"]

_Rule = Callable[[Arithmetic, Node, Sequence[Fixed]], Fixed]


@dataclass(frozen=True)
class IntegerForm:
    """The integer form of an op, and what it says of ranges."""

    rule: _Rule
    ranged: bool
    """Whether it needs operands in a measured range: curves, quotients and roots are tables, or divide."""
    bounded: bool
    """Whether the range of its result is no wider than that of its operands makes it: sums, means, what only selects."""
    scales: bool
    """Whether that holds where the second operand is a constant."""

    def bounds(self, node: Node) -> bool:
        """Whether the result of a node needs no measured range of its own."""
        return self.bounded or (self.scales and node.operands[1].is_constant)


INTEGER_FORMS: dict[type[Op], IntegerForm] = {}
"""The integer form of ops, by class; subclasses without an entry of their own take that of their base."""

_LEAST_EXPONENT = -18.0
"""Below this, an exponential is less than 2^-25 and counts as 0."""


def integer_form(*ops: type[Op], ranged: bool = False, bounded: bool = False, scales: bool = False) -> Callable[[_Rule], _Rule]:
    """Decorator: the integer form of `ops` (see `IntegerForm`)."""

    def register(rule: _Rule) -> _Rule:
        INTEGER_FORMS.update(dict.fromkeys(ops, IntegerForm(rule, ranged, bounded, scales)))
        return rule

    return register


def has_integer_form(kind: type[Op]) -> bool:
    """Whether ops of a class have an integer form."""
    return any(base in INTEGER_FORMS for base in kind.__mro__)


def integer_form_of(node: Node) -> IntegerForm | None:
    """The integer form of a node; None where it has none, as powers with exponents that change with the input."""
    if isinstance(node.op, Pow) and len(_exponents(node)) != 1:
        return None
    if isinstance(node.op, Ranking | TakeAlong) and isinstance(node.operands[0].type.shape[node.op.axis], Dim):
        return None  # how many places there are changes with the input
    if isinstance(node.op, Lookup) and (not node.operands[0].is_constant or not node.operands[0].type.is_real):
        return None
    for kind in type(node.op).__mro__:
        if kind in INTEGER_FORMS:
            return INTEGER_FORMS[kind]
    return None


@integer_form(Add, bounded=True)
def _add(arithmetic: Arithmetic, node: Node, operands: Sequence[Fixed]) -> Fixed:
    x, y = operands
    return arithmetic.sum(x, y)


@integer_form(Sub, bounded=True)
def _sub(arithmetic: Arithmetic, node: Node, operands: Sequence[Fixed]) -> Fixed:
    x, y = operands
    return arithmetic.sum(x, y, sign=-1)


@integer_form(Mul, scales=True)
def _mul(arithmetic: Arithmetic, node: Node, operands: Sequence[Fixed]) -> Fixed:
    x, y = operands
    return arithmetic.product(x, y)


@integer_form(Div, ranged=True, scales=True)
def _div(arithmetic: Arithmetic, node: Node, operands: Sequence[Fixed]) -> Fixed:
    x, y = operands
    if node.operands[1].is_constant:
        return arithmetic.product(x, arithmetic.constant(1.0 / node.operands[1].array.astype(np.float64)))
    return arithmetic.quotient(x, y)


@integer_form(Reciprocal, ranged=True)
def _reciprocal(arithmetic: Arithmetic, node: Node, operands: Sequence[Fixed]) -> Fixed:
    return arithmetic.quotient(arithmetic.constant(np.array(1.0)), operands[0])


@integer_form(Sqrt, ranged=True)
def _sqrt(arithmetic: Arithmetic, node: Node, operands: Sequence[Fixed]) -> Fixed:
    return arithmetic.root(operands[0])


@integer_form(Log, ranged=True)
def _log(arithmetic: Arithmetic, node: Node, operands: Sequence[Fixed]) -> Fixed:
    return arithmetic.logarithm(operands[0])


@integer_form(Abs)
def _abs(arithmetic: Arithmetic, node: Node, operands: Sequence[Fixed]) -> Fixed:
    (x,) = operands
    zero = Fixed(arithmetic.integers(0), x.scale, 0, 0)
    negative = arithmetic.sum(zero, x, sign=-1)
    ends = abs(x.lo), abs(x.hi)
    value = arithmetic.emit(IntMost(), x.value, negative.value)
    return Fixed(value, x.scale, 0 if x.lo <= 0 <= x.hi else min(ends), max(ends))


def _exponents(node: Node) -> np.ndarray:
    """The exponents of a power that the graph knows, each once; none where they change with the input."""
    exponent = node.operands[1]
    return np.unique(exponent.array) if exponent.is_constant else np.zeros(0)


@integer_form(Pow, ranged=True)
def _pow(arithmetic: Arithmetic, node: Node, operands: Sequence[Fixed]) -> Fixed:
    x, _ = operands
    exponent = float(_exponents(node)[0])
    if exponent == 0.5:
        return arithmetic.root(x)
    if exponent == -0.5:
        return arithmetic.quotient(arithmetic.constant(np.array(1.0)), arithmetic.root(x))
    if exponent in (1.0, 2.0, 3.0, 4.0):
        result = x
        for _ in range(int(exponent) - 1):
            result = arithmetic.product(result, x)
        return result
    if exponent == -1.0:
        return arithmetic.quotient(arithmetic.constant(np.array(1.0)), x)
    if exponent != math.floor(exponent):
        x = arithmetic.clamped(x, 1 if exponent < 0 else 0, None)
    return arithmetic.curve(x, lambda numbers: np.power(numbers, exponent))


@integer_form(Sin, Cos, Tan, Gated, ranged=True)
def _periodic(arithmetic: Arithmetic, node: Node, operands: Sequence[Fixed]) -> Fixed:
    return arithmetic.curve(operands[0], lambda numbers: np.asarray(node.op.evaluate(numbers)[0]))


@integer_form(Elementwise, ranged=True)
def _elementwise(arithmetic: Arithmetic, node: Node, operands: Sequence[Fixed]) -> Fixed:
    return arithmetic.curve(operands[0], lambda numbers: np.asarray(node.op.evaluate(numbers)[0]))


@integer_form(Clip, ranged=True, bounded=True)
def _clip(arithmetic: Arithmetic, node: Node, operands: Sequence[Fixed]) -> Fixed:
    op = node.expect(Clip)
    return arithmetic.saturated(operands[0], op.low, op.high)


@integer_form(Relu, ranged=True, bounded=True)
def _relu(arithmetic: Arithmetic, node: Node, operands: Sequence[Fixed]) -> Fixed:
    return arithmetic.clamped(operands[0], 0, None)


@integer_form(Saturate)
def _saturate(arithmetic: Arithmetic, node: Node, operands: Sequence[Fixed]) -> Fixed:
    op = node.expect(Saturate)
    return arithmetic.saturated(operands[0], op.low, op.high)


@integer_form(ReduceMean, bounded=True)
def _mean(arithmetic: Arithmetic, node: Node, operands: Sequence[Fixed]) -> Fixed:
    op = node.expect(ReduceMean)
    axes = [axis % node.operands[0].type.rank for axis in op.axes]
    count = arithmetic.count(operands[0], axes)
    total = arithmetic.total(operands[0], axes, op.keep)
    return replace(total, scale=total.scale / count)


def _exponentials(arithmetic: Arithmetic, x: Fixed, axis: int) -> tuple[Fixed, Fixed]:
    """`x - max(x)` along an axis, and its exponential: 0 for masked elements."""
    lowest = math.floor(_LEAST_EXPONENT / x.scale)
    keep, held = x.keep, x
    if keep is not None:  # masked elements are no maximum: they stand for the least sum
        zero = Fixed(arithmetic.integers(x.lo), x.scale, x.lo, x.lo)
        above = arithmetic.sum(replace(x, keep=None), zero, sign=-1)
        kept = replace(above, value=arithmetic.emit(IntMul(), above.value, keep, part="kept"), lo=0)
        held = arithmetic.sum(kept, zero)
    difference = arithmetic.sum(replace(held, keep=None), arithmetic.largest(held, (axis,)), sign=-1)
    difference = replace(difference, hi=0)  # nothing exceeds the maximum
    near = arithmetic.clamped(difference, lowest, None)

    def exponential_of(numbers: np.ndarray) -> np.ndarray:
        """Nothing is above 0, where a table may have an entry more."""
        return np.where(numbers <= lowest * x.scale, 0.0, np.exp(np.minimum(numbers, 1)))

    exponential = arithmetic.curve(near, exponential_of)
    exponential = replace(exponential, lo=0)
    if keep is not None:
        exponential = replace(exponential, value=arithmetic.emit(IntMul(), exponential.value, keep, part="kept"))
    return difference, exponential


@integer_form(Softmax, bounded=True)
def _softmax(arithmetic: Arithmetic, node: Node, operands: Sequence[Fixed]) -> Fixed:
    op = node.expect(Softmax)
    axis = op.axis % node.operands[0].type.rank
    _, exponential = _exponentials(arithmetic, operands[0], axis)
    quotient = arithmetic.quotient(exponential, arithmetic.total(exponential, (axis,), True))
    one = math.ceil(1 / quotient.scale)
    return replace(quotient, value=arithmetic.emit(IntLeast(), quotient.value, arithmetic.integers(one, "one")), lo=0, hi=one)


@integer_form(LogSoftmax)
def _log_softmax(arithmetic: Arithmetic, node: Node, operands: Sequence[Fixed]) -> Fixed:
    op = node.expect(LogSoftmax)
    axis = op.axis % node.operands[0].type.rank
    difference, exponential = _exponentials(arithmetic, operands[0], axis)
    return arithmetic.sum(difference, arithmetic.logarithm(arithmetic.total(exponential, (axis,), True)), sign=-1)


@integer_form(Masked, bounded=True)
def _masked(arithmetic: Arithmetic, node: Node, operands: Sequence[Fixed]) -> Fixed:
    x, keep = operands
    # truth that came as levels, or was taken from 1, is 0 or 1 but for the rounding of its scale
    seen = arithmetic.clamped(arithmetic.rescaled(_abs(arithmetic, node, [keep]), 1.0), None, 1).value
    kept = arithmetic.spread(seen, x.value)
    if x.keep is not None:
        kept = arithmetic.emit(IntMul(), kept, x.keep, part="both")
    return replace(x, value=arithmetic.spread(x.value, seen), keep=kept)


@integer_form(Movement, bounded=True)
def _movement(arithmetic: Arithmetic, node: Node, operands: Sequence[Fixed]) -> Fixed:
    if isinstance(node.op, Concat):
        if any(part.keep is not None for part in operands):
            raise UnsupportedError(f"{node.describe()}: masked values are joined; mask what they become instead")
        parts = arithmetic.aligned(*operands)
        value = arithmetic.emit(node.op, *(part.value for part in parts))
        return Fixed(value, parts[0].scale, min(part.lo for part in parts), max(part.hi for part in parts))
    result = arithmetic.moved(operands[0], node.op)
    return replace(result, lo=min(result.lo, 0), hi=max(result.hi, 0)) if isinstance(node.op, Pad) else result
