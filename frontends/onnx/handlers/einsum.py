"""Einsum: transpositions, sums and matrix products of one or two operands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.compose import real, reshaped, sum_over, transposed
from snnir.frontends.onnx.registry import RefusalError, Result, handler
from snnir.ir import Value
from snnir.ir.dims import product
from snnir.ir.ops import MatMul

__all__: list[str] = []


@dataclass(frozen=True)
class _Term:
    """A value and one letter for each of its axes."""

    value: Value
    letters: str


@handler("Einsum", "matmul", "transpose", "linear", "reshape")
def einsum(call: Call) -> list[Result]:
    """One or two operands, without diagonals."""
    equation = call.word("equation", "").replace(" ", "")
    inputs, arrow, output = equation.partition("->")
    words = _spelled(call, inputs.split(","))
    if not arrow:
        letters = "".join(words)
        output = "".join(sorted(letter for letter in set(letters) if letters.count(letter) == 1 or letter.isdigit()))
    hidden = max((word for word in words), key=lambda word: sum(letter.isdigit() for letter in word))
    output = output.replace("...", "".join(letter for letter in hidden if letter.isdigit()))
    if len(words) > 2 or any(len(set(word)) < len(word) for word in words):
        raise RefusalError(f"equation {equation!r}; only one or two operands without diagonals are supported")
    terms = [_Term(real(call, index), word) for index, word in enumerate(words)]
    terms = [_summed(call, term, output + "".join(words[:index] + words[index + 1 :])) for index, term in enumerate(terms)]
    found = terms[0] if len(terms) == 1 else _multiplied(call, terms[0], terms[1], output)
    return [transposed(call, found.value, [found.letters.index(letter) for letter in output])]


def _spelled(call: Call, words: Sequence[str]) -> list[str]:
    """The words with `...` written as digits, counted from the right."""
    found = []
    for index, word in enumerate(words):
        count = call.type(index).rank - (len(word) - 3 if "..." in word else len(word))
        if (count and "..." not in word) or count > 9 or count < 0:
            raise RefusalError(f"term {word!r} does not describe {call.type(index)}")
        found.append(word.replace("...", "".join(str(count - place - 1) for place in range(count))))
    return found


def _summed(call: Call, term: _Term, kept: str) -> _Term:
    """The term without the letters that nothing else mentions."""
    axes = tuple(axis for axis, letter in enumerate(term.letters) if letter not in kept)
    if not axes:
        return term
    letters = "".join(letter for letter in term.letters if letter in kept)
    return _Term(sum_over(call, term.value, axes, False, f"sum.{term.letters}"), letters)


def _multiplied(call: Call, a: _Term, b: _Term, output: str) -> _Term:
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


def _arranged(call: Call, term: _Term, letters: Sequence[str], label: str) -> Value:
    return transposed(call, term.value, [term.letters.index(letter) for letter in letters], label)
