"""Integer ops and casts mean what Python's unbounded integers say, cut to the width of the type: all widths and extremes."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest

from snnir.errors import GraphError, InputError
from snnir.ir import OPS, Graph, Op, TensorType
from snnir.ir.execute import execute
from snnir.ir.ops import (
    BitCast,
    Cast,
    IntBitLength,
    IntCumulate,
    IntDiv,
    IntMod,
    IntPow,
    IntReduce,
    IntRemainder,
    IntSqrt,
    IntTable,
    IntWhere,
    Narrow,
    Range,
)
from snnir.ir.types import DTYPES, dtype_of

WIDTHS = ("i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64")
DRAWS = 200


def drawn(kind: str, rng: np.random.Generator, size: int = DRAWS) -> np.ndarray:
    """Integers of all magnitudes, and the extremes of the type."""
    ends = np.iinfo(DTYPES[kind])
    whole = rng.integers(ends.min, ends.max, size, DTYPES[kind], endpoint=True)
    small = rng.integers(max(ends.min, -4), 9, size).astype(DTYPES[kind])
    extremes = np.array([ends.min, ends.max, 0, 1, ends.max - 1, ends.min + 1], DTYPES[kind])
    mixed = np.where(rng.random(size) < 0.4, small, whole)
    return np.where(rng.random(size) < 0.2, rng.choice(extremes, size), mixed)


def cut(number: int, kind: str) -> int:
    """The lowest bits of `number`, as the type reads them."""
    ends = np.iinfo(DTYPES[kind])
    return (number - int(ends.min)) % (1 << ends.bits) + int(ends.min)


def toward_zero(x: int, y: int) -> int:
    return abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1)


def shifted(x: int, y: int, bits: int, left: bool) -> int:
    beyond = not 0 <= y < bits
    if left:
        return 0 if beyond else x << y
    return (-1 if x < 0 else 0) if beyond else x >> y


BINARY: dict[str, Callable[[int, int], int]] = {
    "int_add": lambda x, y: x + y,
    "int_sub": lambda x, y: x - y,
    "int_mul": lambda x, y: x * y,
    "int_div": toward_zero,
    "int_mod": lambda x, y: x % y,
    "int_floor_div": lambda x, y: x // (y or 1),
    "int_remainder": lambda x, y: x - y * toward_zero(x, y),
    "int_least": min,
    "int_most": max,
    "int_equal": lambda x, y: int(x == y),
    "int_greater": lambda x, y: int(x > y),
    "int_and": lambda x, y: x & y,
    "int_or": lambda x, y: x | y,
    "int_xor": lambda x, y: x ^ y,
}
UNARY: dict[str, Callable[[int], int]] = {
    "int_neg": lambda x: -x,
    "int_abs": abs,
    "int_sign": lambda x: (x > 0) - (x < 0),
    "int_not": lambda x: ~x,
}


def test_every_integer_op_is_tested_here() -> None:
    others = {"int_shift_left", "int_shift_right", "int_pow", "int_where", "int_reduce", "int_cumulate"}
    others |= {"int_sqrt", "int_bit_length", "int_table"}
    assert {name for name in OPS if name.startswith("int_")} == {*BINARY, *UNARY, *others}


@pytest.mark.parametrize("kind", WIDTHS)
@pytest.mark.parametrize("name", BINARY)
def test_binary_ops(name: str, kind: str) -> None:
    rng = np.random.default_rng(len(name))
    x, y = drawn(kind, rng), drawn(kind, rng)
    if name in ("int_div", "int_mod", "int_remainder"):
        y = np.where(y == 0, y.dtype.type(3), y)
    (found,) = OPS[name]().evaluate(x, y)
    truth = name in ("int_equal", "int_greater")
    wanted = [BINARY[name](a, b) if truth else cut(BINARY[name](a, b), kind) for a, b in zip(x.tolist(), y.tolist(), strict=True)]
    assert found.dtype == (np.bool_ if truth else x.dtype)
    assert found.tolist() == wanted


@pytest.mark.parametrize("kind", WIDTHS)
def test_unary_ops_shifts_and_powers(kind: str) -> None:
    rng = np.random.default_rng(1)
    x = drawn(kind, rng)
    for name, meaning in UNARY.items():
        (found,) = OPS[name]().evaluate(x)
        assert found.dtype == x.dtype and found.tolist() == [cut(meaning(a), kind) for a in x.tolist()], name
    bits = 8 * x.dtype.itemsize
    y = rng.integers(0 if kind[0] == "u" else -3, bits + 4, DRAWS).astype(x.dtype)
    for name in ("int_shift_left", "int_shift_right"):
        (found,) = OPS[name]().evaluate(x, y)
        wanted = [cut(shifted(a, b, bits, "left" in name), kind) for a, b in zip(x.tolist(), y.tolist(), strict=True)]
        assert found.dtype == x.dtype and found.tolist() == wanted, name
    exponents = rng.integers(-3 if kind[0] == "i" else 0, 12, DRAWS).astype(x.dtype)
    bases = np.where((x == 0) & (exponents < 0), x.dtype.type(1), x)
    (found,) = IntPow().evaluate(bases, exponents)
    powers = [math.trunc(Fraction(a) ** b) for a, b in zip(bases.tolist(), exponents.tolist(), strict=True)]
    assert found.tolist() == [cut(power, kind) for power in powers]


@pytest.mark.parametrize("op", [IntDiv(), IntMod(), IntRemainder()])
def test_a_division_by_zero_is_an_error(op: Op) -> None:
    with pytest.raises(InputError, match="an integer is divided by 0"):
        op.evaluate(np.array([4, 5]), np.array([2, 0]))
    with pytest.raises(InputError, match="divided by 0"):
        IntPow().evaluate(np.array([0]), np.array([-1]))


@pytest.mark.parametrize("kind", WIDTHS)
def test_reductions_and_running_ones(kind: str) -> None:
    x = drawn(kind, np.random.default_rng(2), 24).reshape(2, 3, 4)
    rows = [[int(item) for item in row] for row in x.reshape(6, 4)]
    meanings: dict[str, Callable[[list[int]], int]] = {"sum": sum, "prod": math.prod, "max": max, "min": min}
    for function, meaning in meanings.items():
        (found,) = IntReduce(function, (2,), False).evaluate(x)
        assert found.dtype == x.dtype
        assert found.reshape(-1).tolist() == [cut(meaning(row), kind) for row in rows], function
    for function in ("sum", "prod"):
        for reverse in (False, True):
            for exclusive in (False, True):
                (found,) = IntCumulate(function, 2, reverse, exclusive).evaluate(x)
                for row, got in zip(rows, found.reshape(6, 4).tolist(), strict=True):
                    line = row[::-1] if reverse else row
                    wanted = [cut(meanings[function](line[: k if exclusive else k + 1]), kind) for k in range(4)]
                    assert got == (wanted[::-1] if reverse else wanted), (function, reverse, exclusive)


def test_roots_bit_lengths_and_tables() -> None:
    rng = np.random.default_rng(7)
    roots = rng.integers(0, 3037000500, DRAWS)
    x = np.concatenate([drawn("i64", rng), roots * roots, roots * roots - 1, rng.integers(0, 1 << rng.integers(1, 63, DRAWS))])
    assert IntSqrt().evaluate(x)[0].tolist() == [math.isqrt(max(item, 0)) for item in x.tolist()]
    assert IntBitLength().evaluate(x)[0].tolist() == [max(item, 0).bit_length() for item in x.tolist()]
    table = drawn("i64", rng, 17)
    near = np.concatenate([x, np.arange(-3, 20)])
    assert IntTable().evaluate(near, table)[0].tolist() == [table.tolist()[min(max(item, 0), 16)] for item in near.tolist()]


@pytest.mark.parametrize("source", WIDTHS)
@pytest.mark.parametrize("target", WIDTHS)
def test_casts_between_integers_keep_the_lowest_bits(source: str, target: str) -> None:
    x = drawn(source, np.random.default_rng(3))
    assert Cast(target).evaluate(x)[0].tolist() == [cut(item, target) for item in x.tolist()]
    few = Cast(target, 4).evaluate(x)[0].tolist()
    assert few == [(item + 8) % 16 - 8 if target[0] == "i" else item % 16 for item in x.tolist()]
    back = Cast("f64").evaluate(x)[0]
    assert back.tolist() == [float(item) for item in x.tolist()]
    assert Cast("bool").evaluate(x)[0].tolist() == [item != 0 for item in x.tolist()]


@pytest.mark.parametrize("target", WIDTHS)
def test_casts_of_real_numbers_truncate_towards_zero(target: str) -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(size=DRAWS) * 10.0 ** rng.integers(-2, 22, DRAWS)
    x = np.concatenate([x, [-0.5, 0.5, 127.9, -128.9, 2.0**63, -(2.0**63), 2.0**64 - 2048, 1e30]])
    for real in (x, x.astype(np.float32)):
        found = Cast(target).evaluate(real)[0]
        assert found.tolist() == [cut(math.trunc(item), target) for item in real.tolist()]


FORMATS = {
    "float8_e4m3fn": Narrow(3, 7, 448.0),
    "float8_e4m3fnuz": Narrow(3, 8, 240.0),
    "float8_e5m2": Narrow(2, 15, 57344.0, infinite=True),
    "float8_e5m2fnuz": Narrow(2, 16, 57344.0),
    "float4_e2m1fn": Narrow(1, 1, 6.0),
}


@pytest.mark.parametrize("name", FORMATS)
def test_narrow_is_what_ml_dtypes_rounds_to(name: str) -> None:
    rng = np.random.default_rng(5)
    op, dtype = FORMATS[name], np.dtype(getattr(ml_dtypes, name))
    every = np.arange(256, dtype=np.uint8).view(dtype).astype(np.float32) if dtype.itemsize == 1 else np.zeros(0)
    every = every[np.isfinite(every)]
    halves = (np.sort(every)[1:] + np.sort(every)[:-1]) / 2
    x = np.concatenate([rng.normal(size=500) * 10.0 ** rng.integers(-6, 3, 500), every, halves]).astype(np.float32)
    inside = x[np.abs(x) <= op.largest]
    np.testing.assert_array_equal(op.evaluate(inside)[0], inside.astype(dtype).astype(np.float32))
    np.testing.assert_array_equal(op.evaluate(np.array([1e6, -1e6], np.float32))[0], np.array([op.largest, -op.largest]))


def test_the_same_bits() -> None:
    x = np.random.default_rng(6).normal(size=50).astype(np.float32)
    there = BitCast("u32").evaluate(x)[0]
    np.testing.assert_array_equal(there, x.view(np.uint32))
    np.testing.assert_array_equal(BitCast("f32").evaluate(there)[0], x)
    with pytest.raises(GraphError, match="different numbers of bits"):
        BitCast("i64").infer(TensorType((3,), "f32"))


def test_choices_and_ranges() -> None:
    big = np.array([2**63 - 1, -(2**63)])
    np.testing.assert_array_equal(IntWhere().evaluate(np.array([True, False]), big, big[::-1])[0], [2**63 - 1, 2**63 - 1])
    for start, limit, delta in ((0, 10, 3), (10, 0, -3), (5, 5, 1), (5, 9, -1), (-7, 8, 5)):
        arrays = [np.array(number, np.int16) for number in (start, limit, delta)]
        assert Range().evaluate(*arrays)[0].tolist() == list(range(start, limit, delta))
    with pytest.raises(InputError, match="its delta is 0"):
        Range().evaluate(*(np.array(number) for number in (0, 5, 0)))


@pytest.mark.parametrize("types", [("i32", "i64"), ("i32", "f32"), ("bool", "i8")])
def test_operands_have_one_type(types: tuple[str, str]) -> None:
    for name in BINARY:
        with pytest.raises(GraphError, match=f"{name} takes integers"):
            OPS[name]().infer(*(TensorType((2,), kind) for kind in types))


def test_single_numbers_wrap_without_a_warning() -> None:
    graph = Graph("single")
    values = [graph.input(name, TensorType((), "i8")) for name in "xy"]
    graph.output("z", graph.add1(OPS["int_mul"](), *values))
    found = execute(graph, {"x": np.array(100, np.int8), "y": np.array(3, np.int8)})["z"]
    assert dtype_of(found) == "i8" and found == cut(300, "i8")
