"""Models without a batch: a batch of 1 in front of all axes changes nothing, and gives networks that settle exactly."""

from __future__ import annotations

import numpy as np
import pytest

import snnir
from snnir.ir import Graph, TensorType, Value
from snnir.ir.dims import dim
from snnir.ir.execute import execute
from snnir.ir.ops import (
    Add,
    Concat,
    Conv,
    Expand,
    Gather,
    Linear,
    MatMul,
    MaxPool,
    Mul,
    NonMaxSuppression,
    Pad,
    ReduceMean,
    Relu,
    Reshape,
    Scan,
    Slice,
    Softmax,
    Sub,
    Tanh,
    Transpose,
)
from snnir.ir.verify import verify
from snnir.passes import Context
from snnir.passes.one_sample import OneSample


def fixed(*shape: int) -> tuple[Graph, Value]:
    graph = Graph("fixed")
    return graph, graph.input("x", TensorType(shape, "f32"))


def grown(rng: np.random.Generator) -> Graph:
    """A graph on one input of three axes, of nodes drawn at random, that ends with a node along axis 0."""
    graph, x = fixed(3, 2, 4)

    def known(*shape: int) -> Value:
        return graph.constant("c", rng.normal(size=shape).astype(np.float32))

    for _ in range(int(rng.integers(2, 6))):
        shape = [int(str(size)) for size in x.type.shape]
        match int(rng.integers(11)):
            case 0:
                x = graph.add1(Add(), x, known(*shape))
            case 1:
                x = graph.add1(Mul(), x, known(*shape[1:]))
            case 2:
                x = graph.add1(Sub(), known(shape[0], 1, 1), x)
            case 3:
                x = graph.add1(Relu() if rng.random() < 0.5 else Tanh(), x)
            case 4:
                x = graph.add1(Transpose(tuple(int(axis) for axis in rng.permutation(3))), x)
            case 5:
                x = graph.add1(MatMul(), x, known(shape[0], shape[2], 3))
            case 6:
                x = graph.add1(MatMul(), known(2, shape[1]), x)
            case 7:
                x = graph.add1(Linear(), x, known(3, shape[2]))
            case 8:
                x = graph.add1(Concat(0), x, known(1, *shape[1:]))
            case 9:
                x = graph.add1(Pad((1, 0, 0, 0, 1, 0)), x)
            case _:
                x = graph.add1(Gather(0, (shape[0] - 1, 0), (2,)), x)
    match int(rng.integers(4)):
        case 0:
            x = graph.add1(ReduceMean((0,), bool(rng.random() < 0.5)), x)
        case 1:
            x = graph.add1(Slice(0, 0, 2), x)
        case 2:
            x = graph.add1(Softmax(0), x)
        case _:
            x = graph.add1(Reshape((int(np.prod([int(str(size)) for size in x.type.shape])),)), x)
    graph.output("y", x)
    return graph


@pytest.mark.parametrize("seed", range(30))
def test_the_meaning_is_kept_and_what_it_becomes_is_exact(seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph = grown(rng)
    data = {"x": rng.normal(size=(3, 2, 4)).astype(np.float32)}
    result = OneSample().run(graph, Context())
    verify(result.graph)
    np.testing.assert_allclose(execute(result.graph, data)["y"], execute(graph, data)["y"], rtol=1e-5, atol=1e-6)
    if seed % 5 == 0:
        program = snnir.compile(graph, calibration=data, bits=3)
        assert program.verify(data).ok
        assert program.run(data).outputs["y"].shape == execute(graph, data)["y"].shape


def test_ops_with_channels_keep_what_was_the_batch_apart() -> None:
    graph, x = fixed(2, 3, 5, 5)
    rng = np.random.default_rng(0)
    weight = graph.constant("w", rng.normal(size=(4, 3, 2, 2)).astype(np.float32))
    conv = graph.add1(Conv((1, 2), (0, 1, 1, 0), (1, 1)), x, weight)
    pooled = graph.add1(MaxPool((2, 2), (1, 1), (0, 0, 0, 0), (1, 1)), graph.add1(Relu(), conv))
    graph.output("y", graph.add1(ReduceMean((0, 2), False), pooled))
    data = {"x": rng.normal(size=(2, 3, 5, 5)).astype(np.float32)}
    result = OneSample().run(graph, Context())
    assert result.changed
    np.testing.assert_allclose(execute(result.graph, data)["y"], execute(graph, data)["y"], rtol=1e-5, atol=1e-6)
    assert snnir.compile(graph, calibration=data).verify(data).ok


def test_a_scan_that_knows_no_batch_gets_one() -> None:
    body = Graph("body")
    state, element = body.input("s", TensorType((3,), "f32")), body.input("e", TensorType((3,), "f32"))
    total = body.add1(Relu(), body.add1(Add(), state, element))
    body.output("next", total)
    body.output("y", total)
    graph, x = fixed(5, 3)
    start = graph.constant("start", np.zeros(3, np.float32))
    last, every = graph.add(Scan(1, 1, 0, False), start, x, names=["last", "every"], body=body)
    graph.output("last", last)
    graph.output("every", every)
    data = {"x": np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)}
    program = snnir.compile(graph, calibration=data)
    assert program.verify(data).ok
    assert program.run(data).outputs["every"].shape == (5, 3)


def test_models_with_a_batch_and_models_that_keep_axis_0_stay_as_they_are() -> None:
    graph = Graph("batched")
    x = graph.input("x", TensorType((dim("N"), 4), "f32"))
    graph.output("y", graph.add1(Slice(1, 0, 2), x))
    assert not OneSample().run(graph, Context()).changed
    graph, x = fixed(3, 4)
    weight = graph.constant("w", np.ones((2, 4), np.float32))
    bias = graph.constant("b", np.ones((1, 2), np.float32))
    graph.output("y", graph.add1(Relu(), graph.add1(Add(), graph.add1(Linear(), x, weight), bias)))
    assert not OneSample().run(graph, Context()).changed


def test_an_op_without_a_rule_leaves_the_graph_as_it_is() -> None:
    graph, x = fixed(1, 6, 4)
    scores = graph.constant("scores", np.ones((1, 1, 6), np.float32))
    boxes = graph.add1(Expand((1, 6, 4)), graph.add1(Slice(0, 0, 1), x))
    graph.output("y", graph.add1(NonMaxSuppression(2, 0.5, 0.0, False), boxes, scores))
    assert not OneSample().run(graph, Context()).changed
