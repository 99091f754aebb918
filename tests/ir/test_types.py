"""Types are written and read back, and refuse what cannot be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snnir.errors import GraphError, TextError
from snnir.ir import Quantization, TensorType
from snnir.ir.dims import dim
from snnir.ir.types import DTYPES, dtype_of, parse_type

PLAIN = [name for name in DTYPES if name not in ("int", "spike")]
SIZE = st.one_of(
    st.integers(0, 99),
    st.sampled_from([dim("N"), dim("T"), dim("x"), dim("axis"), dim("T") * 2 - 1, (dim("T") + 1) // 2, dim("N") * dim("T")]),
)
SHAPE = st.lists(SIZE, max_size=4).map(tuple)
SCALE = st.floats(1e-30, 1e30, allow_nan=False, allow_infinity=False)
QUANTIZATION = st.one_of(
    st.builds(Quantization, SCALE, st.integers(-(2**40), 0), st.integers(0, 2**40)),
    st.builds(lambda scale, bits: Quantization(scale, 0, 2**bits - 1), SCALE, st.integers(1, 40)),
    st.builds(lambda scale, bits: Quantization(scale, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1), SCALE, st.integers(1, 40)),
)
TYPES = st.one_of(
    st.builds(TensorType, SHAPE, st.sampled_from(PLAIN)),
    st.builds(TensorType, SHAPE, st.sampled_from(["int", "spike"]), QUANTIZATION),
)


@settings(max_examples=500, deadline=None)
@given(TYPES)
def test_text_reads_back(type_: TensorType) -> None:
    assert parse_type(str(type_)) == type_
    assert " " not in str(type_)


@pytest.mark.parametrize(
    ("type_", "text"),
    [
        (TensorType((dim("N"), 32), "f32"), "Nx32:f32"),
        (TensorType((dim("N"), 32), "int", Quantization(0.118, 0, 15)), "Nx32:u4*0.118"),
        (TensorType((dim("N"), 32), "int", Quantization(0.118, -8, 7)), "Nx32:s4*0.118"),
        (TensorType((dim("N"), 32), "int", Quantization(0.5, 0, 9)), "Nx32:int[0..9]*0.5"),
        (TensorType((dim("N"), 32), "spike", Quantization(0.118, 0, 15)), "Nx32:spike[0..15]*0.118"),
        (TensorType((), "f64"), "():f64"),
        (TensorType((dim("axis"), 2), "acc"), "(axis)x2:acc"),
    ],
)
def test_the_text_of(type_: TensorType, text: str) -> None:
    assert str(type_) == text
    assert parse_type(text) == type_


@pytest.mark.parametrize(
    "text",
    [
        "",
        "f32",
        "Nx32",
        "Nx32:",
        "Nx32:f33",
        "Nx:f32",
        "xN:f32",
        "Nx32:f32 ",
        "Nx32:u4",
        "Nx32:u4*",
        "Nx32:u0*1.0",
        "Nx32:u63*1.0",
        "Nx32:f32*1.0",
        "Nx32:u4*-1.0",
        "Nx32:u4*0.0",
        "Nx32:u4*1.0e",
        "Nx32:u4*1e999",
        "Nx32:int[3..9]*0.5",
        "Nx32:int[0..9]",
        "Nx32:spike*0.5",
        "Nx(32:f32",
        "N x32:f32",
        "Nx32:f32[0..3]",
        "Nx32:u4[0..3]*1.0",
        "N//0x3:f32",
    ],
)
def test_bad_texts(text: str) -> None:
    with pytest.raises(TextError, match="is not a type"):
        parse_type(text)


def test_impossible_types() -> None:
    with pytest.raises(GraphError, match="needs a quantization"):
        TensorType((2,), "int")
    with pytest.raises(GraphError, match="has no quantization"):
        TensorType((2,), "f32", Quantization(1.0, 0, 1))
    with pytest.raises(GraphError, match="known: f32"):
        TensorType((2,), "f16")
    for scale in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(GraphError, match="positive and finite"):
            Quantization(scale, 0, 1)
    for lo, hi in ((1, 3), (-3, -1), (2, 0)):
        with pytest.raises(GraphError, match="do not hold 0"):
            Quantization(1.0, lo, hi)


@settings(deadline=None)
@given(st.floats(-1e6, 1e6), st.integers(0, 8), st.integers(0, 8), st.floats(1e-3, 1e3))
def test_rounding_is_half_up_and_saturates(x: float, below: int, above: int, scale: float) -> None:
    quantization = Quantization(scale, -below, above)
    (level,) = quantization.round(np.array([x]))
    assert -below <= level <= above
    if -below < level < above:
        assert level - 0.5 <= x / scale < level + 0.5


def test_ties_round_up() -> None:
    ties = np.array([-1.5, -0.5, 0.5, 1.5, 2.5])
    np.testing.assert_array_equal(Quantization(1.0, -4, 4).round(ties), [-1, 0, 1, 2, 3])


def test_levels_join_only_where_they_are_worth_the_same() -> None:
    assert Quantization(0.5, 0, 9).join(Quantization(0.5, -3, 1)) == Quantization(0.5, -3, 9)
    with pytest.raises(GraphError, match="different scales"):
        Quantization(0.5, 0, 9).join(Quantization(0.25, 0, 9))


def test_arrays_without_a_place_are_refused() -> None:
    assert dtype_of(np.zeros(1, np.int16)) == "i16"
    with pytest.raises(GraphError, match="float16"):
        dtype_of(np.zeros(1, np.float16))
