"""The reference executor: what it refuses, and that it computes what its ops say."""

from __future__ import annotations

import numpy as np
import pytest

from snnir.errors import InputError
from snnir.ir import Graph, Quantization, TensorType, Value
from snnir.ir.dims import dim
from snnir.ir.execute import bind_sizes, check_inputs, execute
from snnir.ir.ops import Add, Find, Linear, Mul, Quantize, Relu, Reshape, Scan
from tests.random_graphs import random_graph

N, T = dim("N"), dim("T")


def two_inputs() -> Graph:
    graph = Graph("pair")
    a, b = graph.input("a", TensorType((N, T, 2), "f32")), graph.input("b", TensorType((N, T, 2), "f32"))
    graph.output("sum", graph.add1(Add(), a, b))
    return graph


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, r"model pair takes inputs a, b; given were none"),
        ({"a": ones(1, 3, 2)}, "takes inputs a, b; given were a"),
        ({"a": ones(1, 3, 2), "b": ones(1, 3, 2), "c": ones(1)}, "given were a, b, c"),
        ({"a": ones(1, 3), "b": ones(1, 3, 2)}, r"input a: expected shape \[N, T, 2\], found \[1, 3\]"),
        ({"a": ones(1, 3, 4), "b": ones(1, 3, 2)}, r"input a: expected shape \[N, T, 2\], found \[1, 3, 4\]"),
        ({"a": ones(1, 3, 2, 1), "b": ones(1, 3, 2)}, "input a: expected shape"),
        ({"a": ones(1, 3, 2), "b": ones(2, 3, 2)}, r"input b: expected shape .*found \[2, 3, 2\]"),
        ({"a": ones(1, 3, 2), "b": ones(1, 4, 2)}, r"input b: expected shape .*found \[1, 4, 2\]"),
        ({"a": ones(1, 3, 2), "b": np.full((1, 3, 2), "x")}, r"input b: expected numbers .*found dtype <U1"),
        ({"a": ones(1, 3, 2), "b": ones(1, 3, 2).astype(complex)}, "found dtype complex128"),
        ({"a": ones(1, 3, 2), "b": np.array([None])}, "found dtype object"),
        ({"a": ones(1, 3, 2), "b": ones(1, 3, 2) * np.nan}, "input b holds 6 NaN or infinite values"),
        ({"a": ones(1, 3, 2) * np.inf, "b": ones(1, 3, 2)}, "input a holds 6 NaN or infinite values"),
    ],
)
def test_bad_inputs_are_named(inputs: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(InputError, match=message):
        execute(two_inputs(), inputs)


def test_inputs_take_the_declared_type() -> None:
    graph = two_inputs()
    given = {"a": np.ones((1, 3, 2), np.int64), "b": np.ones((1, 3, 2), np.float64)}
    assert {array.dtype for array in check_inputs(graph, given).values()} == {np.dtype(np.float32)}
    assert bind_sizes(graph, given) == {"N": 1, "T": 3}
    assert execute(graph, given)["sum"].dtype == np.float32


@pytest.mark.parametrize("seed", range(0, 80, 2))
def test_samples_do_not_depend_on_one_another(seed: int) -> None:
    graph, data = random_graph(seed)
    whole = execute(graph, data)
    for index in range(len(data["x"])):
        alone = execute(graph, {"x": data["x"][index : index + 1]})
        for name, array in alone.items():
            np.testing.assert_allclose(array[0], whole[name][index], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("seed", range(0, 40, 4))
def test_observers_see_every_value_and_only_picks_values(seed: int) -> None:
    graph, data = random_graph(seed)
    seen: dict[Value, int] = {}

    def observe(value: Value, array: np.ndarray) -> None:
        seen[value] = seen.get(value, 0) + 1
        assert array.ndim == value.type.rank

    outputs = execute(graph, data, observe)
    computed = {value for node in graph.nodes for value in node.outputs} | set(graph.inputs)
    assert computed <= set(seen) and all(seen[value] == 1 for value in computed)
    picked = [node.outputs[0] for node in graph.nodes]
    arrays = execute(graph, data, only=picked)
    assert set(arrays) == {value.name for value in picked}
    for name, value in graph.outputs.items():
        if value in picked:
            np.testing.assert_array_equal(arrays[value.name], outputs[name])


def counter(reverse: bool) -> Graph:
    """`s = s/2 + x_k`, giving every s."""
    graph, body = Graph("counter"), Graph("body")
    x, start = graph.input("x", TensorType((N, T, 1), "f32")), graph.constant("start", ones(1) * 8)
    half = graph.constant("half", ones(1) / 2)
    state, element = body.input("s", TensorType((N, 1), "f32")), body.input("e", TensorType((N, 1), "f32"))
    factor = body.input("factor", TensorType((1,), "f32"))
    total = body.add1(Add(), body.add1(Mul(), state, factor), element)
    body.output("s", total)
    body.output("every", total)
    last, every = graph.add(Scan(1, 1, 1, reverse), start, x, half, names=("last", "every"), body=body)
    graph.output("last", last)
    graph.output("every", every)
    return graph


def test_words_are_inputs_of_strings() -> None:
    graph = Graph("words")
    x = graph.input("x", TensorType((N,), "str"))
    graph.output("place", graph.add1(Find(), x, graph.constant("keys", np.array(["b", "a", "b"]))))
    for given in (np.array(["a", "b", "c", ""]), np.array(["a", "b", "c", ""], object)):
        np.testing.assert_array_equal(execute(graph, {"x": given})["place"], [1, 2, 3, 3])
    for wrong in (np.array([1.0]), np.array([b"a"]), np.array(["a", None], object), np.array(["a\0"], object)):
        with pytest.raises(InputError, match=r"input x: expected words \(N:str\)"):
            execute(graph, {"x": wrong})


def test_scans_in_both_directions() -> None:
    x = np.array([[[1], [2], [3]], [[0], [0], [0]]], np.float32)
    forward, backward = execute(counter(False), {"x": x}), execute(counter(True), {"x": x})
    np.testing.assert_array_equal(forward["every"][..., 0], [[5, 4.5, 5.25], [4, 2, 1]])
    np.testing.assert_array_equal(forward["last"], [[5.25], [1]])
    np.testing.assert_array_equal(backward["every"][..., 0], [[3.75, 5.5, 7], [1, 2, 4]])
    np.testing.assert_array_equal(backward["last"], backward["every"][:, 0])


def test_a_scan_over_nothing_gives_the_initial_state() -> None:
    results = execute(counter(False), {"x": np.zeros((2, 0, 1), np.float32)})
    np.testing.assert_array_equal(results["last"], [[8], [8]])
    assert results["every"].shape == (2, 0, 1)


def test_levels_are_real_numbers_to_real_ops_and_integers_outside() -> None:
    graph = Graph("levels")
    x = graph.input("x", TensorType((N, 2), "f32"))
    q = graph.add1(Quantize(Quantization(0.5, -2, 3)), x, name="q")
    graph.output("q", q)
    graph.output("y", graph.add1(Linear(), q, graph.constant("w", ones(1, 2))))
    graph.output("r", graph.add1(Relu(), q))
    out = execute(graph, {"x": np.array([[0.25, -9]])})
    assert out["q"].dtype == np.int64
    np.testing.assert_array_equal(out["q"], [[1, -2]])
    np.testing.assert_array_equal(out["y"], [[-0.5]])
    np.testing.assert_array_equal(out["r"], [[0.5, 0]])


def test_named_sizes_in_attributes_are_bound() -> None:
    graph = Graph("named")
    x = graph.input("x", TensorType((N, T, 2), "f32"))
    graph.output("y", graph.add1(Reshape((N, T * 2)), x))
    assert execute(graph, {"x": ones(2, 5, 2)})["y"].shape == (2, 10)


def test_an_output_may_be_an_input_or_a_constant() -> None:
    graph = Graph("direct")
    x = graph.input("x", TensorType((N, 2), "f32"))
    graph.output("x too", x)
    graph.output("c", graph.constant("c", ones(2)))
    graph.add(Relu(), x)
    out = execute(graph, {"x": ones(3, 2)})
    assert out["x too"].shape == (3, 2) and out["c"].shape == (2,)
