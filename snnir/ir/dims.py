"""Symbolic dimensions: polynomials over named sizes (`N`, `T`) and floor divisions of them.

A `Dimension` is a plain `int` where it is known and a `Dim` where it is not. Arithmetic keeps a normal form,
so two dimensions are equal exactly when their text is. Of a floor division by an integer d > 0:

1. whole multiples leave it: `(5*T+7)//4` is `T+1+((T+3)//4)`;
2. common factors are cancelled: `(2*T+3)//4` is `(T+1)//2`;
3. one of another is one: `((T+1)//2+1)//2` is `(T+3)//4`.

A division by a polynomial is carried out where it leaves no rest; otherwise common factors are cancelled. Sizes are positive,
so that cancelling a name divides by no zero.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from snnir.errors import GraphError, TextError

__all__ = [
    "BATCH",
    "Dim",
    "Dimension",
    "Shape",
    "at_most",
    "concrete",
    "dim",
    "names_of",
    "parse_dim",
    "product",
    "solve",
    "substitute",
    "total",
]

BATCH = "N"
"""The name of the batch dimension in every graph."""


@dataclass(frozen=True)
class _FloorDiv:
    numerator: Dimension
    denominator: Dimension

    def __str__(self) -> str:
        below = self.denominator if isinstance(self.denominator, int) else f"({self.denominator})"
        return f"(({self.numerator})//{below})"


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
        if not isinstance(other, int | Dim):
            return NotImplemented
        return _quotient(self, other)

    def __rfloordiv__(self, other: int) -> Dimension:
        return _quotient(other, self)


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


def total(sizes: Iterable[Dimension]) -> Dimension:
    """The sum of sizes."""
    found: Dimension = 0
    for size in sizes:
        found = found + size
    return found


def substitute(size: Dimension, sizes: Mapping[str, Dimension]) -> Dimension:
    """`size` with names replaced; names that `sizes` lacks stay symbolic."""
    if isinstance(size, int):
        return size
    found: Dimension = 0
    for monomial, coefficient in size.terms:
        value: Dimension = coefficient
        for atom in monomial:
            if isinstance(atom, str):
                value = value * sizes.get(atom, dim(atom))
            else:
                value = value * _quotient(substitute(atom.numerator, sizes), substitute(atom.denominator, sizes))
        found = found + value
    return found


def names_of(size: Dimension) -> frozenset[str]:
    """The names that `size` depends on."""
    if isinstance(size, int):
        return frozenset()
    found: set[str] = set()
    for monomial, _ in size.terms:
        for atom in monomial:
            found |= {atom} if isinstance(atom, str) else names_of(atom.numerator) | names_of(atom.denominator)
    return frozenset(found)


def solve(a: Dimension, b: Dimension) -> dict[str, Dimension]:
    """What one name must be for `a` and `b` to be equal; empty where the equation holds, or determines none.

    A name is determined where the equation is linear in it, and its value a whole number above 0 or again a polynomial. The
    batch is never determined: it is what a run brings along.
    """
    difference = a - b
    if isinstance(difference, int):
        return {}
    common = _common(difference)
    equation = difference if common == 1 else _quotient(difference, common)
    if isinstance(equation, int):
        return {}
    candidates = []
    for monomial, coefficient in equation.terms:
        if len(monomial) != 1 or not isinstance(monomial[0], str) or monomial[0] == BATCH:
            continue
        rest = equation - dim(monomial[0]) * coefficient
        value = _exact(rest * -1, coefficient)
        if value is None or monomial[0] in names_of(rest) or (isinstance(value, int) and value < 1):
            continue
        candidates.append((not isinstance(value, int), monomial[0], value))
    if not candidates:
        return {}
    _, name, value = min(candidates, key=lambda item: (item[0], [-ord(letter) for letter in item[1]]))
    return {name: value}


def at_most(size: Dimension, limits: Mapping[str, int]) -> int | None:
    """The largest number that `size` can be where names are at most `limits`; None where that does not follow term by term."""
    if isinstance(size, int):
        return size
    largest = substitute(size, limits) if _is_monotone(size) else None
    return largest if isinstance(largest, int) else None


def _is_monotone(size: Dimension) -> bool:
    """Whether no name makes `size` smaller by growing."""
    if isinstance(size, int):
        return True
    for monomial, coefficient in size.terms:
        divisions = [atom for atom in monomial if isinstance(atom, _FloorDiv)]
        if monomial and coefficient < 0:
            return False
        if not all(isinstance(atom.denominator, int) and _is_monotone(atom.numerator) for atom in divisions):
            return False
    return True


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
    order = sorted(kept.items(), key=lambda item: _order(item[0]))
    return Dim(tuple(order))


def _leading(terms: Mapping[_Monomial, int]) -> _Monomial:
    """The first monomial of the graded lexicographic order."""
    return min(terms, key=_order)


def _order(monomial: _Monomial) -> tuple[int, list[str]]:
    return -len(monomial), [str(atom) for atom in monomial]


def _less(monomial: _Monomial, factors: _Monomial) -> _Monomial | None:
    """`monomial / factors`; None where that is no monomial."""
    remaining = list(monomial)
    for factor in factors:
        if factor not in remaining:
            return None
        remaining.remove(factor)
    return tuple(remaining)


def _exact(a: Dimension, b: Dimension) -> Dimension | None:
    """`a / b` where that is a polynomial with whole coefficients, by long division; None where it is not."""
    divisor, rest = _terms(b), _terms(a)
    rest = {monomial: coefficient for monomial, coefficient in rest.items() if coefficient}
    lead = _leading(divisor)
    quotient: dict[_Monomial, int] = {}
    while rest:
        top = _leading(rest)
        factors = _less(top, lead)
        if factors is None or rest[top] % divisor[lead]:
            return None
        count = quotient[factors] = rest[top] // divisor[lead]
        for monomial, coefficient in divisor.items():
            place = tuple(sorted(factors + monomial, key=str))
            rest[place] = rest.get(place, 0) - count * coefficient
            if not rest[place]:
                del rest[place]
    return _make(quotient)


def _common(size: Dimension) -> Dimension:
    """The largest monomial, with the largest positive coefficient, that divides every term of `size`."""
    terms = _terms(size)
    monomials = list(terms)
    factors = monomials[0]
    for monomial in monomials[1:]:
        left = list(monomial)
        kept = []
        for atom in factors:
            if atom in left:
                left.remove(atom)
                kept.append(atom)
        factors = tuple(kept)
    return _make({factors: math.gcd(*terms.values())})


def _quotient(a: Dimension, b: Dimension) -> Dimension:
    """`a // b` in normal form. Raises `GraphError` for a division by zero."""
    if b == 0:
        raise GraphError(f"cannot divide the dimension {a} by zero")
    if isinstance(a, int) and isinstance(b, int):
        return a // b
    whole = _exact(a, b)
    if whole is not None:
        return whole
    if isinstance(b, int):
        return _by_integer(*((a, b) if b > 0 else (a * -1, -b)))
    shared = _common_of(_common(a), _common(b)) if a != 0 else 1
    if shared != 1:
        above, below = _exact(a, shared), _exact(b, shared)
        assert above is not None and below is not None
        return _quotient(above, below)
    return Dim((((_FloorDiv(a, b),), 1),))


def _common_of(a: Dimension, b: Dimension) -> Dimension:
    """The largest monomial that divides both, with the greatest common divisor of the coefficients."""
    (one,), (other,) = _terms(a).items(), _terms(b).items()
    left, kept = list(other[0]), []
    for atom in one[0]:
        if atom in left:
            left.remove(atom)
            kept.append(atom)
    return _make({tuple(kept): math.gcd(one[1], other[1])})


def _by_integer(a: Dimension, divisor: int) -> Dimension:
    """`a // divisor` of an integer divisor above 0 (rules 1 to 3 of this file)."""
    whole: dict[_Monomial, int] = {}
    rest: dict[_Monomial, int] = {}
    for monomial, coefficient in _terms(a).items():
        whole[monomial], rest[monomial] = divmod(coefficient, divisor)
    remainder = rest.pop((), 0)
    rest = {monomial: coefficient for monomial, coefficient in rest.items() if coefficient}
    if not rest:  # a constant remainder in 0..divisor-1 vanishes under the floor
        return _make(whole)
    shared = math.gcd(divisor, *rest.values())
    divisor, remainder = divisor // shared, remainder // shared
    rest = {monomial: coefficient // shared for monomial, coefficient in rest.items()}
    for monomial, coefficient in sorted(rest.items(), key=lambda item: str(item[0])):
        inner = monomial[0]
        if len(monomial) == 1 and coefficient == 1 and isinstance(inner, _FloorDiv) and isinstance(inner.denominator, int):
            others = _make({**rest, (): remainder}) - Dim(((monomial, 1),))
            return _make(whole) + _quotient(inner.numerator + others * inner.denominator, inner.denominator * divisor)
    return _make(whole) + Dim((((_FloorDiv(_make({**rest, (): remainder}), divisor),), 1),))
