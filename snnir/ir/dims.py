"""Symbolic dimensions: polynomials over named sizes (`N`, `T`) and floor divisions of them.

A `Dimension` is a plain `int` where it is known and a `Dim` where it is not. Arithmetic keeps a canonical form,
so two dimensions are equal exactly when their text is.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass

from snnir.errors import GraphError, TextError

__all__ = ["BATCH", "Dim", "Dimension", "Shape", "concrete", "dim", "parse_dim", "product", "substitute"]

BATCH = "N"
"""The name of the batch dimension in every graph."""


@dataclass(frozen=True)
class _FloorDiv:
    numerator: Dim
    denominator: int

    def __str__(self) -> str:
        return f"(({self.numerator})//{self.denominator})"


_Atom = str | _FloorDiv
_Monomial = tuple[_Atom, ...]


@dataclass(frozen=True)
class Dim:
    """A sum of integer multiples of products of symbols; `terms` is sorted and holds no zero coefficient."""

    terms: tuple[tuple[_Monomial, int], ...]

    def __str__(self) -> str:
        text = ""
        for monomial, coefficient in self.terms:
            factors = [str(atom) for atom in monomial]
            if abs(coefficient) != 1 or not factors:
                factors.insert(0, str(abs(coefficient)))
            sign = "-" if coefficient < 0 else "+" if text else ""
            text += sign + "*".join(factors)
        return text

    __repr__ = __str__

    def __add__(self, other: Dimension) -> Dimension:
        if not isinstance(other, int | Dim):
            return NotImplemented
        terms = dict(self.terms)
        for monomial, coefficient in _terms(other).items():
            terms[monomial] = terms.get(monomial, 0) + coefficient
        return _make(terms)

    __radd__ = __add__

    def __neg__(self) -> Dimension:
        return self * -1

    def __sub__(self, other: Dimension) -> Dimension:
        return self + (other * -1)

    def __rsub__(self, other: Dimension) -> Dimension:
        return (self * -1) + other

    def __mul__(self, other: Dimension) -> Dimension:
        if not isinstance(other, int | Dim):
            return NotImplemented
        terms: dict[_Monomial, int] = {}
        for left, a in self.terms:
            for right, b in _terms(other).items():
                monomial = tuple(sorted(left + right, key=str))
                terms[monomial] = terms.get(monomial, 0) + a * b
        return _make(terms)

    __rmul__ = __mul__

    def __floordiv__(self, other: Dimension) -> Dimension:
        divisor = _terms(other)
        if len(divisor) != 1:
            raise GraphError(f"cannot divide the dimension {self} by {other}: only by an integer or a product of names")
        ((factors, scale),) = divisor.items()
        if not scale:
            raise GraphError(f"cannot divide the dimension {self} by zero")
        if factors:
            return self._divide_exactly(other, factors, scale)
        whole: dict[_Monomial, int] = {}
        rest: dict[_Monomial, int] = {}
        for monomial, coefficient in self.terms:
            if monomial and coefficient % scale:
                rest[monomial] = coefficient
            else:
                whole[monomial] = coefficient // scale
                if coefficient % scale:
                    rest[monomial] = coefficient % scale
        if not set(rest) - {()}:  # a constant remainder in 0..scale-1 vanishes under the floor
            return _make(whole)
        numerator = _make(rest)
        assert isinstance(numerator, Dim)
        return _make(whole) + Dim((((_FloorDiv(numerator, scale),), 1),))

    def _divide_exactly(self, other: Dimension, factors: _Monomial, scale: int) -> Dimension:
        quotient: dict[_Monomial, int] = {}
        for monomial, coefficient in self.terms:
            remaining = list(monomial)
            for factor in factors:
                if factor not in remaining:
                    raise GraphError(f"cannot divide the dimension {self} by {other}")
                remaining.remove(factor)
            if coefficient % scale:
                raise GraphError(f"cannot divide the dimension {self} by {other}")
            quotient[tuple(remaining)] = coefficient // scale
        return _make(quotient)

    def __rfloordiv__(self, other: int) -> Dimension:
        raise GraphError(f"cannot divide {other} by the dimension {self}")


Dimension = int | Dim
Shape = tuple[Dimension, ...]


def concrete(size: Dimension) -> int:
    """A size that is known. Raises `GraphError` naming one that is open."""
    if isinstance(size, Dim):
        raise GraphError(f"the size {size} is open where a number is needed")
    return int(size)


def dim(name: str) -> Dim:
    """The dimension called `name`."""
    return Dim((((name,), 1),))


def product(shape: Shape) -> Dimension:
    """The number of elements of `shape`."""
    result: Dimension = 1
    for size in shape:
        result = result * size
    return result


def substitute(size: Dimension, sizes: Mapping[str, Dimension]) -> Dimension:
    """`size` with names replaced; names that `sizes` lacks stay symbolic."""
    if isinstance(size, int):
        return size
    total: Dimension = 0
    for monomial, coefficient in size.terms:
        value: Dimension = coefficient
        for atom in monomial:
            if isinstance(atom, str):
                value = value * sizes.get(atom, dim(atom))
            else:
                value = value * (substitute(atom.numerator, sizes) // atom.denominator)
        total = total + value
    return total


def parse_dim(text: str) -> Dimension:
    """Read what `str` of a dimension wrote. Raises `TextError`."""
    try:
        return _from_ast(ast.parse(text, mode="eval").body)
    except (SyntaxError, ValueError, ZeroDivisionError, GraphError, RecursionError, MemoryError) as error:
        raise TextError(f"{text!r} is not a dimension: {error}") from None


def _from_ast(node: ast.expr) -> Dimension:
    match node:
        case ast.Constant(value=int(number)) if not isinstance(number, bool):
            return number
        case ast.Name(id=name):
            return dim(name)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return _from_ast(operand) * -1
        case ast.BinOp(left=left, op=operator, right=right):
            a, b = _from_ast(left), _from_ast(right)
            match operator:
                case ast.Add():
                    return a + b
                case ast.Sub():
                    return a - b
                case ast.Mult():
                    return a * b
                case ast.FloorDiv():
                    return a // b
    raise ValueError("expected names, integers and + - * //")


def _terms(size: Dimension) -> dict[_Monomial, int]:
    return dict(size.terms) if isinstance(size, Dim) else {(): int(size)}


def _make(terms: dict[_Monomial, int]) -> Dimension:
    kept = {monomial: coefficient for monomial, coefficient in terms.items() if coefficient}
    if not kept:
        return 0
    if set(kept) == {()}:
        return kept[()]
    order = sorted(kept.items(), key=lambda item: (-len(item[0]), [str(atom) for atom in item[0]]))
    return Dim(tuple(order))
