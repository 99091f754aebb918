"""Symbolic dimensions behave as the integers that they stand for."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snnir.errors import GraphError, TextError
from snnir.ir.dims import Dim, Dimension, dim, parse_dim, product, solve, substitute

NAMES = ("N", "T", "width")


@st.composite
def dimensions(draw: st.DrawFn, depth: int = 3) -> Dimension:
    if depth == 0 or draw(st.booleans()):
        return draw(st.one_of(st.integers(-5, 5), st.sampled_from(NAMES).map(dim)))
    left = draw(dimensions(depth - 1))
    kind = draw(st.sampled_from("+-*/"))
    if kind == "/":
        return left // draw(st.integers(1, 5))
    right = draw(dimensions(depth - 1))
    return left + right if kind == "+" else left - right if kind == "-" else left * right


SIZES = st.fixed_dictionaries({name: st.integers(0, 9) for name in NAMES})


@settings(max_examples=300, deadline=None)
@given(dimensions(), dimensions(), st.integers(1, 7), SIZES)
def test_arithmetic_is_that_of_integers(a: Dimension, b: Dimension, divisor: int, sizes: dict[str, int]) -> None:
    x, y = substitute(a, sizes), substitute(b, sizes)
    assert isinstance(x, int) and isinstance(y, int)
    assert substitute(a + b, sizes) == x + y
    assert substitute(a - b, sizes) == x - y
    assert substitute(a * b, sizes) == x * y
    assert substitute(a // divisor, sizes) == x // divisor
    assert substitute(product((a, b, 2)), sizes) == 2 * x * y


@settings(max_examples=300, deadline=None)
@given(dimensions())
def test_text_reads_back(a: Dimension) -> None:
    assert parse_dim(str(a)) == a


@settings(max_examples=200, deadline=None)
@given(dimensions(), dimensions(), dimensions())
def test_equal_sums_have_one_form(a: Dimension, b: Dimension, c: Dimension) -> None:
    assert a + b == b + a
    assert (a + b) + c == a + (b + c)
    assert a * (b + c) == a * b + a * c
    assert a - a == 0
    assert str(a * b) == str(b * a)


@settings(max_examples=200, deadline=None)
@given(dimensions(), st.integers(1, 9))
def test_a_multiple_divides_exactly(a: Dimension, factor: int) -> None:
    assert (a * factor) // factor == a
    if isinstance(a, Dim):
        assert (a * dim("N")) // dim("N") == a


@given(dimensions(), SIZES)
def test_substitution_in_steps(a: Dimension, sizes: dict[str, int]) -> None:
    partly = substitute(a, {"N": sizes["N"]})
    assert substitute(partly, sizes) == substitute(a, sizes)


def test_examples_of_the_text() -> None:
    n, t = dim("N"), dim("T")
    assert str(n * 4 + 3) == "4*N+3"
    assert str(n - t * 2) == "N-2*T"
    assert str((t - 1) // 2 + 1) == "((T-1)//2)+1" or str((t - 1) // 2 + 1) == "((T+1)//2)"
    assert (t + t) // 2 == t
    assert (n * t * 6) // (n * 3) == t * 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        "N+",
        "N/2",
        "N**2",
        "f(N)",
        "1.5",
        "'N'",
        "N//0",
        "N T",
        "True",
        "(N+1)//0",
        "-" * 5000 + "N",
        "(" * 500 + "N",
    ],
)
def test_bad_texts(text: str) -> None:
    with pytest.raises(TextError):
        parse_dim(text)


def test_a_division_by_zero_is_refused() -> None:
    n, t = dim("N"), dim("T")
    for size in (n, n + t, (n + 1) // 2):
        with pytest.raises(GraphError, match="cannot divide"):
            size // 0


@settings(max_examples=300, deadline=None)
@given(dimensions(), dimensions(), st.fixed_dictionaries({name: st.integers(1, 9) for name in NAMES}))
def test_a_division_by_a_dimension_is_that_of_integers(a: Dimension, b: Dimension, sizes: dict[str, int]) -> None:
    dividend, divisor = substitute(a, sizes), substitute(b, sizes)
    if divisor != 0:
        assert substitute(a // b, sizes) == dividend // divisor


@settings(max_examples=200, deadline=None)
@given(dimensions(), dimensions())
def test_a_product_divides_exactly(a: Dimension, b: Dimension) -> None:
    if isinstance(b, Dim):
        assert (a * b) // b == a


def test_normal_forms() -> None:
    n, t = dim("N"), dim("T")
    assert (n * t * 512 - n * 3072) // (n * t - n * 6) == 512
    assert str((t * 5 + 7) // 4) == "((T+3)//4)+T+1"
    assert (t * 2 + 3) // 4 == (t + 1) // 2
    assert ((t + 1) // 2 + 1) // 2 == (t + 3) // 4
    assert str(n // t) == "((N)//(T))"
    assert (n * t * 6) // (t * t * 4) == (n * 3) // (t * 2)


@pytest.mark.parametrize(
    ("a", "b", "found"),
    [
        ("T", "180", {"T": 180}),
        ("180", "T", {"T": 180}),
        ("4*T+2", "30", {"T": 7}),
        ("N*T*8", "40*N", {"T": 5}),
        ("T*width", "5*T", {"width": 5}),
        ("T", "width", {"width": dim("T")}),
        ("T", "N", {"T": dim("N")}),
        ("2*T", "width+4", {"width": dim("T") * 2 - 4}),
        ("4*T", "30", {}),  # no whole number
        ("T+8", "3", {}),  # a negative one
        ("T*width", "40", {}),  # many
        ("T//2", "8", {}),  # two
        ("N", "7", {}),  # the batch is what a run brings along
        ("T", "T", {}),
    ],
)
def test_equations_are_solved(a: str, b: str, found: dict[str, Dimension]) -> None:
    assert solve(parse_dim(a), parse_dim(b)) == found


@settings(max_examples=200, deadline=None)
@given(dimensions(), dimensions())
def test_a_solution_makes_both_sides_equal(a: Dimension, b: Dimension) -> None:
    found = solve(a, b)
    if found:
        assert substitute(a, found) == substitute(b, found)
