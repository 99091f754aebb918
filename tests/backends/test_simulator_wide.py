"""More at once than vectors, registers and lists of the kernels hold: wide layers in which nearly everything fires.

Random graphs are too small for that. Each network is compared with the plain simulator, spike for spike, and with the
integer meaning.
"""

from __future__ import annotations

from collections.abc import Callable

import numba
import numpy as np
import pytest

from snnir.backends.simulator import Simulator
from snnir.backends.simulator.kernels.memory import pointer
from snnir.backends.simulator.kernels.vectors import add_rows, add_scaled_rows
from snnir.ir import Graph, Quantization, TensorType, Value
from snnir.ir.dims import dim
from snnir.ir.execute import execute
from snnir.ir.ops import Bif, Conv, Dense, Encode, Readout, Reshape
from snnir.machine.plain import simulate_plain
from tests.backends.test_simulator_properties import assert_alike, recordable

SIGNED = Quantization(0.5, -3, 4)


@numba.njit
def added(sums, first, weights, base, rows, begin, plus, minus, end, stride, size, shift, index, gains):  # type: ignore[no-untyped-def]
    into, table, listed = pointer(sums), pointer(weights), pointer(rows)
    add_rows(into, first, table, base, listed, begin, plus, minus, end, stride, size, shift, pointer(index), gains)


@numba.njit
def scaled(sums, first, weights, base, rows, values, count, stride, size, shift, index, gains):  # type: ignore[no-untyped-def]
    into, table, listed, by = pointer(sums), pointer(weights), pointer(rows), pointer(values)
    add_scaled_rows(into, first, table, base, listed, by, count, stride, size, shift, pointer(index), gains)


def neurons(graph: Graph, rng: np.random.Generator, current: Value, theta: int) -> Value:
    maps = (int(str(current.type.shape[1])), *[1] * (current.type.rank - 2))
    thetas = graph.constant("theta", rng.integers(theta // 2, theta, maps).astype(np.int32))
    bias = graph.constant("bias", rng.integers(-theta, theta, maps).astype(np.int32))
    return graph.add1(Bif(SIGNED), thetas, bias, current, name="bif")


def conv(graph: Graph, rng: np.random.Generator, value: Value, maps: int, kernel: int, groups: int = 1, lo: int = -127) -> Value:
    channels = int(str(value.type.shape[1])) // groups
    array = rng.integers(lo, 128, (maps, channels, kernel, kernel)).astype(np.int16 if lo < -128 else np.int8)
    array[0, 0, 0, 0] = lo
    op = Conv((1, 2), (kernel // 2,) * 4, (1, 1), groups)
    current = graph.add1(op, value, graph.constant("w", array), name="conv")
    return neurons(graph, rng, current, 60 * int(np.sqrt(channels) * kernel))


def dense(graph: Graph, rng: np.random.Generator, value: Value, outputs: int) -> Value:
    size = int(str(value.type.shape[-1]))
    weight = graph.constant("w", rng.integers(-127, 128, (outputs, size)).astype(np.int8))
    return graph.add1(Dense(), value, weight, name="dense")


def many_maps(graph: Graph, rng: np.random.Generator, value: Value) -> Value:
    return conv(graph, rng, conv(graph, rng, value, 21, 3), 37, 3)


def many_channels(graph: Graph, rng: np.random.Generator, value: Value) -> Value:
    """More than 255 rows reach one output."""
    return conv(graph, rng, conv(graph, rng, value, 150, 3), 9, 3)


def wide_weights(graph: Graph, rng: np.random.Generator, value: Value) -> Value:
    """Weights of 16 bits; and int8 ones of -128, which have no negative of 8 bits."""
    return conv(graph, rng, conv(graph, rng, value, 12, 3, lo=-3000), 10, 3, lo=-128)


def grouped(graph: Graph, rng: np.random.Generator, value: Value) -> Value:
    """Each channel by itself."""
    wide = conv(graph, rng, value, 18, 3)
    return conv(graph, rng, wide, 36, 3, groups=18)


def many_rows(graph: Graph, rng: np.random.Generator, value: Value) -> Value:
    """A matrix of which more than 255 rows are added in a step."""
    wide = conv(graph, rng, value, 40, 3)
    flat = graph.add1(Reshape((dim("N"), 40 * 7 * 2)), conv(graph, rng, wide, 40, 1))
    return neurons(graph, rng, dense(graph, rng, flat, 83), 1500)


def positions_apart(graph: Graph, rng: np.random.Generator, value: Value) -> Value:
    """One matrix for each row of the input."""
    wide = conv(graph, rng, value, 6, 3)
    return neurons(graph, rng, dense(graph, rng, wide, 70), 300)


@pytest.mark.parametrize("network", [many_maps, many_channels, wide_weights, grouped, many_rows, positions_apart])
def test_wide_layers_spike_like_the_plain_simulator(network: Callable[[Graph, np.random.Generator, Value], Value]) -> None:
    rng = np.random.default_rng(5)
    graph = Graph("wide", level="spiking")
    encoded = graph.add1(Encode(SIGNED), graph.input("x", TensorType((dim("N"), 2, 7, 8), "f32")), name="encoded")
    value = network(graph, rng, encoded)
    size = int(np.prod([int(str(extent)) for extent in value.type.shape[1:]]))
    current = dense(graph, rng, graph.add1(Reshape((dim("N"), size)), value), 10)
    scale, bias = graph.constant("s", np.ones(10)), graph.constant("b", np.zeros(10, np.int32))
    graph.output("y", graph.add1(Readout(), scale, bias, current))
    inputs = {"x": rng.normal(0, 2, (3, 2, 7, 8)).astype(np.float32)}
    record = recordable(graph)
    for steps in (None, 3):
        fast = Simulator(graph).run(inputs, steps=steps, record=record, counts=True)
        assert_alike(fast, simulate_plain(graph, inputs, steps=steps, record=record), f"{network.__name__}, steps {steps}")
    settled = Simulator(graph).run(inputs).outputs["y"]
    np.testing.assert_array_equal(settled, execute(graph, inputs)["y"])


@pytest.mark.parametrize("each", [False, True])
def test_gains_shift_what_narrow_weights_add(each: bool) -> None:
    rng = np.random.default_rng(3)

    def gain(count: int) -> tuple[int, ...]:
        return tuple(rng.integers(0, 4, count).tolist()) if each else (3,)

    graph = Graph("gains", level="spiking")
    encoded = graph.add1(Encode(SIGNED), graph.input("x", TensorType((dim("N"), 2, 7, 8), "f32")), name="encoded")
    array = rng.integers(-127, 128, (6, 2, 3, 3)).astype(np.int8)
    current = graph.add1(Conv((1, 2), (1,) * 4, (1, 1), 1, gain=gain(6)), encoded, graph.constant("w", array), name="conv")
    value = neurons(graph, rng, current, 2000)
    array = rng.integers(-127, 128, (5, 4)).astype(np.int8)
    value = neurons(graph, rng, graph.add1(Dense(gain=gain(5)), value, graph.constant("w", array), name="dense"), 900)
    current = dense(graph, rng, graph.add1(Reshape((dim("N"), 210)), value), 10)
    scale, bias = graph.constant("s", np.ones(10)), graph.constant("b", np.zeros(10, np.int32))
    graph.output("y", graph.add1(Readout(), scale, bias, current))
    inputs = {"x": rng.normal(0, 2, (3, 2, 7, 8)).astype(np.float32)}
    simulator, record = Simulator(graph), recordable(graph)
    assert_alike(simulator.run(inputs, record=record, counts=True), simulate_plain(graph, inputs, record=record), "gains")
    np.testing.assert_array_equal(simulator.run(inputs).outputs["y"], execute(graph, inputs)["y"])
    ((program, _),) = simulator._plans.values()
    assert not program.populations["storage"].any()  # weights are int8 all the same
    assert program.segments["shift"].any() or each
    assert program.segments["gains"].any() == each


@pytest.mark.parametrize("size", [1, 7, 8, 15, 16, 17, 31, 64, 65, 100, 200])
@pytest.mark.parametrize("kind", [np.int8, np.int16, np.int64])
def test_rows_are_added_and_nothing_beside_them(size: int, kind: type[np.signedinteger]) -> None:
    rng = np.random.default_rng(size)
    spare, first = 16, 3
    weights = rng.integers(-127, 128, (300, size)).astype(kind)
    flat = np.concatenate([np.full(5, 9, kind), weights.reshape(-1), rng.integers(-9, 9, spare).astype(kind)])
    total: np.dtype = np.dtype(np.int64 if kind is np.int64 else np.int32)
    rows = rng.permutation(300).astype(np.int32)
    before, gains = rng.integers(-1000, 1000, first + size + spare), rng.integers(0, 4, 7 + first + size + spare).astype(np.int32)
    for shift, at in ((0, -1), (3, -1), (0, 7), (2, 7)):
        factor = 1 << (shift + (gains[at + first : at + first + size].astype(np.int64) if at >= 0 else 0))
        for plus, minus, end in ((0, 0, 0), (1, 1, 1), (0, 3, 7), (130, 140, 265), (255, 255, 255), (2, 45, 298)):
            sums: np.ndarray = before.astype(total)
            added(sums, first, flat, 5, rows, 0, plus, minus, end, size, size, shift, gains, at)
            expected = weights[rows[:plus]].sum(0, dtype=np.int64) - weights[rows[minus:end]].sum(0, dtype=np.int64)
            np.testing.assert_array_equal(sums[first : first + size] - before[first : first + size], expected * factor)
            np.testing.assert_array_equal(np.delete(sums - before, slice(first, first + size)), 0)
        for count, most in ((0, 99), (1, 99), (5, 1 << 15), (8, 1 << 15), (5, 1 << 16), (299, 99), (300, 99)):
            values = rng.integers(-most, most, 301).astype(total)
            values[:2] = -most, most - 1
            sums, listed = before.astype(total), np.append(rows, 0).astype(np.int32)
            expected = (weights[rows[:count]].astype(np.int64) * values[:count, None]).sum(0)
            scaled(sums, first, flat, 5, listed, values, count, size, size, shift, gains, at)
            np.testing.assert_array_equal(sums[first : first + size] - before[first : first + size], expected * factor)
            np.testing.assert_array_equal(np.delete(sums - before, slice(first, first + size)), 0)
