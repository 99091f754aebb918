"""Einsum: transpositions, sums and matrix products of one or two operands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from snnir.ir.dims import product
from snnir.ir.graph import Value
from snnir.ir.lowering.builder import Builder, RefusalError
from snnir.ir.lowering.compose import reshaped, static, sum_over, transposed
from snnir.ir.ops import Gather, MatMul

__all__ = ["einsum"]


@dataclass(frozen=True)
class _Term:
    """A value and one letter for each of its axes."""

    value: Value
    letters: str


def einsum(call: Builder, equation: str, values: Sequence[Value]) -> Value:
    """NumPy's `einsum` of one or two values. Raises `RefusalError` for other equations."""
    equation = equation.replace(" ", "")
    inputs, arrow, output = equation.partition("->")
    words = _spelled(values, inputs.split(","))
    if not arrow:
        letters = "".join(words)
        output = "".join(sorted(letter for letter in set(letters) if letters.count(letter) == 1 or letter.isdigit()))
    hidden = max((word for word in words), key=lambda word: sum(letter.isdigit() for letter in word))
    output = output.replace("...", "".join(letter for letter in hidden if letter.isdigit()))
    if len(words) > 2:
        raise RefusalError(f"equation {equation!r}; only one or two operands are supported")
    terms = [_diagonal(call, _Term(value, word)) for value, word in zip(values, words, strict=True)]
    words = [term.letters for term in terms]
    terms = [_summed(call, term, output + "".join(words[:index] + words[index + 1 :])) for index, term in enumerate(terms)]
    found = terms[0] if len(terms) == 1 else _multiplied(call, terms[0], terms[1], output)
    return transposed(call, found.value, [found.letters.index(letter) for letter in output])


def _diagonal(call: Builder, term: _Term) -> _Term:
    """The term with each letter once: a letter that stands twice takes the diagonal of its two axes."""
    letters = term.letters
    double = next((letter for letter in letters if letters.count(letter) > 1), None)
    if double is None:
        return term
    first, second = [axis for axis, letter in enumerate(letters) if letter == double][:2]
    (size,) = static((term.value.type.shape[first],), "a diagonal")
    rest = [axis for axis in range(len(letters)) if axis not in (first, second)]
    label = f"diagonal.{letters}"
    turned = transposed(call, term.value, [*rest, first, second], f"{label}.last")
    lead = tuple(term.value.type.shape[axis] for axis in rest)
    flat = reshaped(call, turned, (*lead, size * size), f"{label}.flat")
    places = tuple(range(0, size * size, size + 1))
    taken = call.emit(Gather(len(rest), places, (size,)), flat, label=label)
    return _diagonal(call, _Term(taken, "".join(letters[axis] for axis in rest) + double))


def _spelled(values: Sequence[Value], words: Sequence[str]) -> list[str]:
    """The words with `...` written as digits, counted from the right."""
    found = []
    for index, word in enumerate(words):
        count = values[index].type.rank - (len(word) - 3 if "..." in word else len(word))
        if (count and "..." not in word) or count > 9 or count < 0:
            raise RefusalError(f"term {word!r} does not describe {values[index].type}")
        found.append(word.replace("...", "".join(str(count - place - 1) for place in range(count))))
    return found


def _summed(call: Builder, term: _Term, kept: str) -> _Term:
    """The term without the letters that nothing else mentions."""
    axes = tuple(axis for axis, letter in enumerate(term.letters) if letter not in kept)
    if not axes:
        return term
    letters = "".join(letter for letter in term.letters if letter in kept)
    return _Term(sum_over(call, term.value, axes, False, f"sum.{term.letters}"), letters)


def _multiplied(call: Builder, a: _Term, b: _Term, output: str) -> _Term:
    """A matrix product. The operand that holds the batch, or that changes, stands on the left."""
    if a.value.is_constant or (a.value.type.batch_axis is None and b.value.type.batch_axis is not None):
        a, b = b, a
    both = [letter for letter in a.letters if letter in b.letters]
    shared, inner = [letter for letter in both if letter in output], [letter for letter in both if letter not in output]
    left = [letter for letter in a.letters if letter not in both]
    right = [letter for letter in b.letters if letter not in both]
    sizes = dict(zip(b.letters, b.value.type.shape, strict=True)) | dict(zip(a.letters, a.value.type.shape, strict=True))
    rows = _arranged(call, a, [*shared, *left, *inner], "left")
    columns = _arranged(call, b, [*shared, *inner, *right], "right")
    head = tuple(sizes[letter] for letter in shared)
    length, width = product(tuple(sizes[item] for item in inner)), product(tuple(sizes[item] for item in right))
    # without shared axes those of the left operand may stay apart, so that the batch stays an axis
    lead = (*head, product(tuple(sizes[item] for item in left))) if shared else tuple(sizes[item] for item in left) or (1,)
    rows = reshaped(call, rows, (*lead, length), "rows")
    columns = reshaped(call, columns, (*head, length, width), "columns")
    result = call.emit(MatMul(), rows, columns, label="product")
    letters = [*shared, *left, *right]
    return _Term(reshaped(call, result, tuple(sizes[letter] for letter in letters), "apart"), "".join(letters))


def _arranged(call: Builder, term: _Term, letters: Sequence[str], label: str) -> Value:
    return transposed(call, term.value, [term.letters.index(letter) for letter in letters], label)
