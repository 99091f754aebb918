"""Where the batch is in every value, and graphs for one sample as graphs for many: the same numbers, sample by sample."""

from __future__ import annotations

import numpy as np
import pytest

from snnir.ir import Graph, Op, TensorType, Value
from snnir.ir.batch import Place, batch_places
from snnir.ir.dims import dim
from snnir.ir.execute import execute
from snnir.ir.lifting import for_any_batch
from snnir.ir.ops import (
    Add,
    Concat,
    Conv,
    Expand,
    Gather,
    Linear,
    Lstm,
    MatMul,
    MaxPool,
    Mul,
    ReduceMean,
    Relu,
    Reshape,
    Slice,
    Softmax,
    Tanh,
    Transpose,
)
from snnir.ir.verify import verify
from snnir.passes import Context
from snnir.passes.lower_recurrent import LowerRecurrent
from snnir.passes.unfold_batch import UnfoldBatch

N, T = dim("N"), dim("T")


def folding(rng: np.random.Generator) -> Graph:
    """A graph on x[N, T, 2, 6] that folds the batch into other axes, computes there, and unfolds it again or does not."""
    graph = Graph("folding")
    x = graph.input("x", TensorType((N, T, 2, 6), "f32"))

    def known(*shape: int) -> Value:
        return graph.constant("c", rng.normal(size=shape).astype(np.float32))

    def images(value: Value) -> Value:  # [*, 2, 6] -> [*, 2, 6]
        match int(rng.integers(5)):
            case 0:
                return graph.add1(Conv((1,), (1, 1), (1,)), value, known(2, 2, 3))
            case 1:
                return graph.add1(MaxPool((3,), (1,), (1, 1)), value)
            case 2:
                return graph.add1(Linear(), value, known(6, 6), known(6))
            case 3:
                return graph.add1(Add(), value, known(2, 1))
            case _:
                return graph.add1(Tanh(), value)

    def frames(value: Value) -> Value:  # rows of what stands before are samples: [*, 12] -> [*, 12]
        match int(rng.integers(5)):
            case 0:
                return graph.add1(Linear(), value, known(12, 12))
            case 1:
                return graph.add1(Mul(), value, known(12))
            case 2:
                return graph.add1(Softmax(len(value.type.shape) - 1), value)
            case 3:
                return graph.add1(Gather(len(value.type.shape) - 1, tuple(map(int, rng.permutation(12))), (12,)), value)
            case _:
                return graph.add1(Relu(), value)

    outside = bool(rng.random() < 0.5)
    if outside:
        x = graph.add1(Transpose((1, 0, 2, 3)), x)
    x = graph.add1(Reshape((N * T, 2, 6)), x)
    for _ in range(int(rng.integers(1, 4))):
        x = images(x)
    x = graph.add1(Reshape((N * T, 12)), x)
    for _ in range(int(rng.integers(1, 4))):
        x = frames(x)
    if rng.random() < 0.3:
        graph.output("folded", x)
    x = graph.add1(Reshape((T, N, 12) if outside else (N, T, 12)), x)
    if outside:
        x = graph.add1(Transpose((1, 0, 2)), x)
    graph.output("y", frames(x))
    return graph


@pytest.mark.parametrize("seed", range(24))
def test_folded_batches_are_unfolded_and_mean_the_same(seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph = folding(rng)
    unfolded = UnfoldBatch().run(graph, Context()).graph
    verify(unfolded)
    weighted = [node for node in unfolded.nodes if isinstance(node.op, Conv | Linear | MaxPool)]
    assert all(node.output.type.batch_axis == 0 for node in weighted)
    x = rng.normal(size=(3, 4, 2, 6)).astype(np.float32)
    before, after = execute(graph, {"x": x}), execute(unfolded, {"x": x})
    for name, array in before.items():
        np.testing.assert_allclose(after[name], array, rtol=1e-5, atol=1e-6)


def test_a_row_of_recurrent_layers_over_folded_rows() -> None:
    """Rows of an image, each a sequence of its own: [N*H, W, C], as layout analysis does it."""
    rng = np.random.default_rng(1)
    graph = Graph("rows")
    x = graph.input("x", TensorType((N, 3, 5, 4), "f32"))
    rows = graph.add1(Reshape((N * 3, 5, 4)), x)
    weights = [graph.constant(name, rng.normal(size=shape).astype(np.float32)) for name, shape in _lstm(4, 6).items()]
    y, *_ = graph.add(Lstm(), rows, *weights, names=("y", "h", "c"))
    graph.output("out", graph.add1(Reshape((N, 3, 5, 6)), y))
    low = LowerRecurrent().run(graph, Context()).graph
    unfolded = UnfoldBatch().run(low, Context()).graph
    verify(unfolded)
    data = {"x": rng.normal(size=(2, 3, 5, 4)).astype(np.float32)}
    np.testing.assert_allclose(execute(unfolded, data)["out"], execute(graph, data)["out"], atol=1e-5)


def _lstm(inputs: int, hidden: int) -> dict[str, tuple[int, ...]]:
    return {"w": (4 * hidden, inputs), "r": (4 * hidden, hidden), "b": (4 * hidden,), "h": (1, hidden), "c": (1, hidden)}


MIXING: list[tuple[Op, tuple[tuple[int, ...], ...]]] = [
    (Softmax(0), ()),
    (ReduceMean((0,), True), ()),
    (Slice(0, 1, None), ()),
    (Gather(0, (0,), (1,)), ()),
    (Reshape((2, N * 3)), ()),
    (Reshape((N * 6,)), ()),
    (Add(), ((1, 6),)),
]


@pytest.mark.parametrize(("op", "others"), MIXING, ids=lambda item: getattr(item, "name", ""))
def test_what_mixes_samples_is_told(op: Op, others: tuple[tuple[int, ...], ...]) -> None:
    graph = Graph("mixing")
    x = graph.input("x", TensorType((N, 6), "f32"))
    known = [graph.constant("c", np.ones(shape, np.float32)) for shape in others]
    graph.output("y", graph.add1(op, x, *known))
    mixing = batch_places(graph)[1]
    apart = isinstance(op, Add) or op == Reshape((N * 6,))
    assert bool(mixing) != apart
    assert all(item.node is graph.nodes[0] for item in mixing)


def test_places_in_folded_axes() -> None:
    graph = Graph("places")
    x = graph.input("x", TensorType((T, N, 8), "f32"))
    rows = graph.add1(Reshape((T * N, 8)), x)
    heads = graph.add1(Reshape((T, N * 2, 4)), rows)
    front = graph.add1(Transpose((1, 0, 2)), heads)
    both = graph.add1(Concat(0), front, front)
    pairs = graph.add1(MatMul(), front, graph.add1(Transpose((0, 2, 1)), front))
    graph.output("y", both)
    graph.output("z", pairs)
    places, mixing = batch_places(graph)
    assert not mixing
    assert places[rows] == Place(0, T, 1)
    assert places[heads] == Place(1, 1, 2)
    assert places[front] == places[pairs] == Place(0, 1, 2)
    assert places[both] == Place(0, 2, 2)


def single(rng: np.random.Generator) -> tuple[Graph, dict[str, int | None]]:
    """A graph for one sample: x[1, 3, 4] whose batch of 1 the nodes lose sight of, or x[3, 4] without one."""
    graph = Graph("single")
    batched = bool(rng.random() < 0.5)
    x = graph.input("x", TensorType((1, 3, 4) if batched else (3, 4), "f32"))

    def known(*shape: int) -> Value:
        return graph.constant("c", rng.normal(size=shape).astype(np.float32))

    x = graph.add1(Reshape((3, 4)), x)
    for _ in range(int(rng.integers(2, 6))):
        match int(rng.integers(9)):
            case 0:
                x = graph.add1(Add(), x, known(3, 1))
            case 1:
                x = graph.add1(MatMul(), known(3, 3), x)
            case 2:
                x = graph.add1(Linear(), x, known(4, 4))
            case 3:
                x = graph.add1(Reshape((3, 4)), graph.add1(Transpose((1, 0)), x))
            case 4:
                wide = graph.add1(Conv((1,), (1, 1), (1,)), graph.add1(Reshape((1, 3, 4)), x), known(3, 3, 3))
                x = graph.add1(Reshape((3, 4)), wide)
            case 5:
                x = graph.add1(Softmax(0), x)
            case 6:
                x = graph.add1(Slice(0, 1, 4), graph.add1(Concat(0), known(2, 4), x))
                x = graph.add1(Concat(0), x, known(3 - int(str(x.type.shape[0])), 4)) if x.type.shape[0] != 3 else x
            case 7:
                weights = [known(*shape) for shape in _lstm(4, 4).values()]
                y, *_ = graph.add(Lstm(), graph.add1(Reshape((1, 3, 4)), x), *weights, names=("y", "h", "c"))
                x = graph.add1(Reshape((3, 4)), y)
            case _:
                x = graph.add1(Mul(), x, graph.add1(Expand((3, 4)), known(1, 4)))
    graph.output("y", graph.add1(Reshape((1, 12)), x) if batched else x)
    return graph, {"x": 0 if batched else None}


@pytest.mark.parametrize("seed", range(24))
def test_a_graph_for_one_sample_is_one_for_any_number(seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph, axes = single(rng)
    many = for_any_batch(graph, axes)
    assert many is not None
    verify(many)
    assert not batch_places(many)[1]
    x = rng.normal(size=(5, 3, 4)).astype(np.float32)
    found = execute(many, {"x": x})["y"]
    for n in range(5):
        alone = execute(graph, {"x": x[n : n + 1] if axes["x"] == 0 else x[n]})["y"]
        np.testing.assert_allclose(found[n].reshape(alone.shape), alone, rtol=1e-4, atol=1e-5)
