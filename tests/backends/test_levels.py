"""Levels that are delivered whole: rows times levels four at a time, levels by a division, lists of sixteen, each against the
plain way; and networks in which both ways must send the same spikes."""

from __future__ import annotations

import numba
import numpy as np
import pytest

import snnir
from snnir.backends.simulator import Simulator, workspace
from snnir.backends.simulator.kernels.memory import pointer
from snnir.backends.simulator.kernels.planes import level_bits, where
from snnir.backends.simulator.kernels.quads import NEITHER, QUADS, SIGNED, UNSIGNED, add_products, as_bytes
from snnir.ir import Graph, Op, TensorType
from snnir.ir.dims import dim
from snnir.ir.ops import Conv, Linear, Relu, Reshape, Tanh


@numba.njit
def products(sums, first, weights, base, rows, factors, packed, count, stride, size, shift, index, gains):  # type: ignore[no-untyped-def]
    table, listed, by = pointer(weights), pointer(rows), pointer(factors)
    into, bytes_ = pointer(sums), pointer(packed)
    add_products(into, first, table, base, listed, by, bytes_, count, stride, size, shift, pointer(index), gains)


@numba.njit
def bits_of(sums, theta, levels, lo, hi, first, last):  # type: ignore[no-untyped-def]
    return level_bits(sums, theta, levels, lo, hi, first, last)


@numba.njit
def listed(levels, bit, numbers, at):  # type: ignore[no-untyped-def]
    return where(levels, bit, numbers, at)


@numba.njit
def kind_of(levels):  # type: ignore[no-untyped-def]
    return as_bytes(levels, levels.size)


@pytest.mark.parametrize("size", [1, 6, 16, 31, 64, 130, 333, 512])
@pytest.mark.parametrize(("lo", "hi"), [(0, 15), (0, 255), (-128, 127), (-7, 7), (-300, 300), (-40000, 40000)])
def test_rows_times_levels_are_their_products(size: int, lo: int, hi: int) -> None:
    rng = np.random.default_rng(size)
    for count in (1, 2, 3, 4, 5, 30, 250):
        weights = rng.integers(-128, 128, 5 + 300 * size + 16).astype(np.int8)
        rows, factors = np.zeros(300, np.int32), np.zeros(300, np.int32)
        rows[:count] = rng.permutation(300)[:count]
        factors[:count] = rng.integers(lo, hi + 1, count)
        sums, gains = rng.integers(-1000, 1000, size + 32).astype(np.int32), rng.integers(0, 3, size + 16).astype(np.int32)
        by_row = np.stack([weights[5 + row * size : 5 + (row + 1) * size] for row in rows[:count]]).astype(np.int64)
        for own, shift in ((0, 0), (-1, 2)):
            expected = sums.copy()
            total = (factors[:count, None] * by_row).sum(axis=0) << shift
            expected[9 : 9 + size] += (total << (gains[:size] if own == 0 else 0)).astype(np.int32)
            got, lists = sums.copy(), (rows.copy(), factors.copy(), np.zeros(300, np.int8))
            # gains of sum j stand at index[own + neuron]
            index = np.concatenate([np.zeros(9, np.int32), gains])
            products(got, 9, weights, 5, *lists, count, size, size, shift, index, own)
            np.testing.assert_array_equal(got, expected, f"{count} rows, gains {own}")


def test_what_levels_are_bytes() -> None:
    for levels, kind in (
        ([0, 255], UNSIGNED),
        ([0, 256], NEITHER),
        ([-1, 127], SIGNED),
        ([-128, 0], SIGNED),
        ([-129, 0], NEITHER),
        ([-1, 128], NEITHER),
        ([2**31 - 1, 0], NEITHER),
        ([-(2**31), 0], NEITHER),
    ):
        assert kind_of(np.array(levels, np.int32)) == kind, levels


@pytest.mark.parametrize("lo", [0, -1, -7, -128])
@pytest.mark.parametrize("hi", [1, 9, 15, 200, 255, 70000])
def test_a_division_gives_the_bits_of_the_rule(lo: int, hi: int) -> None:
    """Sums of 64 bits take the rule bit by bit, those of 32 the quotient."""
    rng = np.random.default_rng(hi - lo)
    theta = np.concatenate([rng.integers(1, 50, 500), rng.integers(1, 2**14 // (1 + hi // 1000), 500)])
    near = (rng.integers(lo - 3, hi + 4, 1000) * theta + rng.integers(-2, 3, 1000)).clip(-(2**29), 2**29)
    sums = np.where(rng.random(1000) < 0.7, near, rng.integers(-(2**29), 2**29, 1000))
    first = max(hi, -lo).bit_length() - 1
    for last in range(min(first, 2) + 1):
        found = []
        for kind in (np.int32, np.int64):
            levels = np.zeros(1016, np.int32)
            padded = (
                np.concatenate([sums, np.zeros(16, np.int64)]).astype(kind),
                np.concatenate([theta, np.ones(16)]).astype(kind),
            )
            count = bits_of(padded[0][:997], padded[1], levels, lo, hi, first, last)
            found.append((count, levels[:997].copy()))
        np.testing.assert_array_equal(found[0][1], found[1][1])
        assert found[0][0] == found[1][0] == sum(int(abs(level)).bit_count() for level in found[0][1])


def test_lists_of_sixteen_are_those_of_eight() -> None:
    rng = np.random.default_rng(0)
    for size in (1, 7, 16, 100, 515):
        levels = rng.integers(-5, 6, size + 16)
        for bit in (-1, 0, 1, 2):
            found = []
            for kind in (np.int32, np.int64):
                numbers = np.zeros(size + 40, np.int32)
                count = listed(levels.astype(kind)[:size], bit, numbers, 3)
                found.append(numbers[3 : 3 + count].tolist())
            chosen = levels[:size] != 0 if bit < 0 else np.abs(levels[:size]) >> bit & 1
            assert found[0] == found[1] == np.flatnonzero(chosen).tolist()


@pytest.mark.skipif(not QUADS, reason="needs a processor that adds the products of four bytes")
@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("activation", [Relu(), Tanh()], ids=["unsigned", "signed"])
def test_levels_delivered_whole_send_the_spikes_of_steps(activation: Op, bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(bits)
    graph = Graph("wide")
    value = graph.input("x", TensorType((dim("N"), 3, 9, 8), "f32"))
    for index, maps in enumerate((37, 21, 70)):
        weight = rng.normal(0, 0.1, (maps, int(str(value.type.shape[1])), 3, 3)).astype(np.float32)
        value = graph.add1(Conv((1, 2 if index == 1 else 1), (1, 1, 1, 1), (1, 1)), value, graph.constant(f"w{index}", weight))
        value = graph.add1(activation, value)
    size = int(np.prod([int(str(extent)) for extent in value.type.shape[1:]]))
    value = graph.add1(Reshape((dim("N"), size)), value)
    for index, size in enumerate((83, 10)):
        weight = rng.normal(0, 0.03, (size, int(str(value.type.shape[1])))).astype(np.float32)
        value = graph.add1(Linear(), value, graph.constant(f"v{index}", weight))
        value = graph.add1(activation, value) if index == 0 else value
    graph.output("y", value)
    x = rng.normal(size=(6, 3, 9, 8)).astype(np.float32)
    program = snnir.compile(graph, calibration={"x": x}, bits=bits, neuron="few-spikes")
    assert program.verify(x).ok
    spiking = program.graph("spiking")
    fast = Simulator(spiking).run({"x": x}, counts=True)
    monkeypatch.setattr(workspace, "QUADS", False)
    plain = Simulator(spiking).run({"x": x}, counts=True)
    for name, counts in plain.counts.items():
        np.testing.assert_array_equal(fast.counts[name], counts, name)
    for one, other in ((fast.spikes, plain.spikes), (fast.synops, plain.synops), (fast.outputs, plain.outputs)):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name], name)
    np.testing.assert_array_equal(fast.total_charges, plain.total_charges)
    np.testing.assert_array_equal(fast.steps, plain.steps)
