"""Operators that are imported as compositions: the import is what ONNX Runtime computes, and the spikes are exact."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

import snnir
from snnir.frontends.onnx import run_onnxruntime
from snnir.ir.execute import execute
from tests.models import data, model_of

Weights = dict[str, np.ndarray]
Nodes = tuple[list[onnx.NodeProto], Weights]
Draw = Callable[[np.random.Generator, tuple[int, ...]], Nodes]


def weights(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return (rng.normal(size=shape) * 0.6).astype(np.float32)


def integers(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def node(operator: str, *more: str, **attributes: Any) -> onnx.NodeProto:
    """From h (and what else it takes) to g."""
    return helper.make_node(operator, ["h", *more], ["g"], operator.lower(), **attributes)


def _simple(operator: str, **attributes: Any) -> Draw:
    return lambda rng, shape: ([node(operator, **attributes)], {})


def _axes(operator: str) -> Draw:
    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> Nodes:
        axes = sorted(rng.choice(np.arange(1, len(shape)), rng.integers(1, len(shape)), replace=False).tolist())
        return [node(operator, "axes", keepdims=int(rng.integers(2)))], {"axes": integers(*axes)}

    return draw


def _two(operator: str) -> Draw:
    """Of h, of a part of it turned around, and of a known tensor."""

    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> Nodes:
        other = helper.make_node("LeakyRelu", ["h"], ["o"], "other", alpha=0.3)
        known = {"c": weights(rng, *shape[1:])} if rng.integers(2) else {}
        return [other, node(operator, "o", *known)], dict(known)

    return draw


def _known(operator: str) -> Draw:
    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> Nodes:
        return [node(operator, "c")], {"c": weights(rng, *(shape[1:] if rng.integers(2) else ()))}

    return draw


def prelu(rng: np.random.Generator, shape: tuple[int, ...]) -> Nodes:
    return [node("PRelu", "slope")], {"slope": weights(rng, shape[1], *([1] * (len(shape) - 2)))}


def where(rng: np.random.Generator, shape: tuple[int, ...]) -> Nodes:
    nodes = [helper.make_node("Sigmoid", ["h"], ["o"]), helper.make_node("Where", ["c", "h", "o"], ["g"], "where")]
    return nodes, {"c": rng.integers(0, 2, shape[1:]).astype(bool)}


def tile(rng: np.random.Generator, shape: tuple[int, ...]) -> Nodes:
    return [node("Tile", "counts")], {"counts": integers(1, *rng.integers(1, 3, len(shape) - 1).tolist())}


def cumsum(rng: np.random.Generator, shape: tuple[int, ...]) -> Nodes:
    flags = {"exclusive": int(rng.integers(2)), "reverse": int(rng.integers(2))}
    return [node("CumSum", "axis", **flags)], {"axis": np.array(int(rng.integers(1, len(shape))))}


def conv_transpose(rng: np.random.Generator, shape: tuple[int, ...]) -> Nodes:
    groups = int(rng.choice([1, 2]))
    spatial = len(shape) - 2
    stride = rng.integers(1, 4, spatial).tolist()
    attributes = {
        "strides": stride,
        "dilations": rng.integers(1, 3, spatial).tolist(),
        "pads": rng.integers(0, 2, 2 * spatial).tolist(),
        "output_padding": [int(rng.integers(step)) for step in stride],
        "group": groups,
    }
    kernel = rng.integers(2, 4, spatial).tolist()
    return [node("ConvTranspose", "w", "b", **attributes)], {
        "w": weights(rng, shape[1], 2, *kernel),
        "b": weights(rng, 2 * groups),
    }


def resize(rng: np.random.Generator, shape: tuple[int, ...]) -> Nodes:
    spatial = len(shape) - 2
    mode = str(rng.choice(["nearest", "linear"]))
    way = str(rng.choice(["half_pixel", "asymmetric", "align_corners"]))
    scales = np.array([1, 1, *rng.choice([1.5, 2.0, 3.0], spatial).tolist()], np.float32)
    return [node("Resize", "", "scales", mode=mode, coordinate_transformation_mode=way)], {"scales": scales}


def depth(rng: np.random.Generator, shape: tuple[int, ...]) -> Nodes:
    mode = str(rng.choice(["DCR", "CRD"]))
    return [node("DepthToSpace", blocksize=2, mode=mode)], {}


def trilu(rng: np.random.Generator, shape: tuple[int, ...]) -> Nodes:
    return [node("Trilu", "k", upper=int(rng.integers(2)))], {"k": np.array(int(rng.integers(-1, 2)))}


def compress(rng: np.random.Generator, shape: tuple[int, ...]) -> Nodes:
    axis = int(rng.integers(1, len(shape)))
    chosen = rng.integers(0, 2, shape[axis]).astype(bool)
    chosen[0] = True
    return [node("Compress", "c", axis=axis)], {"c": chosen}


FORMS: dict[str, tuple[Draw, int]] = {
    "max": (_two("Max"), 3),
    "min": (_two("Min"), 3),
    "max of known": (_known("Max"), 3),
    "min of known": (_known("Min"), 3),
    "sum": (_two("Sum"), 3),
    "mean": (_two("Mean"), 3),
    "neg": (_simple("Neg"), 3),
    "abs": (_simple("Abs"), 3),
    "prelu": (prelu, 3),
    "where": (where, 3),
    "tile": (tile, 3),
    "cumsum": (cumsum, 3),
    "trilu": (trilu, 3),
    "compress": (compress, 3),
    "transposed convolution": (conv_transpose, 3),
    "transposed convolution of images": (conv_transpose, 4),
    "resize": (resize, 3),
    "resize of images": (resize, 4),
    "depth to space": (depth, 4),
    "space to depth": (_simple("SpaceToDepth", blocksize=2), 4),
    "global max": (_simple("GlobalMaxPool"), 4),
    **{word: (_axes(word), 3) for word in ("ReduceSum", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceSumSquare", "ReduceMean")},
}


def network(form: str, rng: np.random.Generator) -> tuple[onnx.ModelProto, tuple[int, ...]]:
    """A convolution to h, the nodes from h to g, a dense layer; and the shape of the input x."""
    draw, rank = FORMS[form]
    shape = (2, 4, *[2 * int(size) for size in rng.integers(2, 4, rank - 2)])
    nodes, known = draw(rng, shape)
    ones = [1] * (rank - 2)
    before = helper.make_node("Conv", ["x", "first"], ["h"], "first", pads=[*ones, *ones])
    known["first"] = weights(rng, 4, 3, *([3] * (rank - 2)))
    inner = model_of([before, *nodes], ["N", 3, *shape[2:]], known, output="g")
    probe = run_onnxruntime(inner, {"x": np.zeros((2, 3, *shape[2:]), np.float32)})["g"]
    known["second"] = weights(rng, int(np.prod(probe.shape[1:])), 3)
    after = [helper.make_node("Flatten", ["g"], ["f"], "flat"), helper.make_node("MatMul", ["f", "second"], ["y"], "second")]
    return model_of([before, *nodes, *after], ["N", 3, *shape[2:]], known), (3, *shape[2:])


@pytest.mark.parametrize("form", FORMS)
def test_compositions_compute_what_onnx_runtime_does_and_spike_exactly(form: str) -> None:
    for seed in range(3):
        rng = np.random.default_rng(seed)
        model, shape = network(form, rng)
        x = data(rng, 6, *shape)
        program = snnir.compile(model, calibration=x, bits=3, weight_bits=6)
        error = program.facts["import_error"]
        assert isinstance(error, float) and error < 1e-5, f"seed {seed}"
        report = program.verify(x)
        assert report.ok and report.compared > 0, f"seed {seed}: {report}"
        assert not program.facts["host_nodes"], f"seed {seed}: {program.facts['host_nodes']}"
        graph = program.graph("float")
        found = execute(graph, {"x": x})["y"]
        np.testing.assert_allclose(found, run_onnxruntime(model, {"x": x})["y"], atol=1e-4)


def _compared(model: onnx.ModelProto, x: np.ndarray, **options: Any) -> snnir.Program:
    """The model compiled and verified on x; its import is compared with ONNX Runtime."""
    program = snnir.compile(model, calibration=x, bits=3, weight_bits=6, **options)
    error = program.facts["import_error"]
    assert isinstance(error, float) and error < 1e-5
    report = program.verify(x)
    assert report.ok and report.compared > 0
    return program


@pytest.mark.parametrize("equation", ["nij->nji", "nij->ni", "nij,jk->nik", "kj,nij->nik", "nij,nkj->nik", "...ij,jk->...ik"])
def test_einsum(equation: str) -> None:
    rng = np.random.default_rng(0)
    words = equation.split("->")[0].split(",")
    sizes = {"i": 4, "j": 5, "k": 3, "...": 0}
    nodes = [helper.make_node("MatMul", ["x", "first"], ["h"], "first"), helper.make_node("Relu", ["h"], ["r"], "relu")]
    known = {"first": weights(rng, 6, 5)}
    names = []
    for word in words:
        if word.replace("...", "n") == "nij":
            names.append("r")
        elif "n" in word:
            nodes.append(helper.make_node("MatMul", ["turn", "h"], ["o"], "other"))
            known["turn"] = weights(rng, 3, 4)
            names.append("o")
        else:
            known["c"] = weights(rng, *(sizes[letter] for letter in word))
            names.append("c")
    nodes.append(helper.make_node("Einsum", names, ["g"], "einsum", equation=equation))
    nodes.append(helper.make_node("Relu", ["g"], ["y"], "last"))
    _compared(model_of(nodes, ["N", 4, 6], known), data(rng, 8, 4, 6))


def text_model(rng: np.random.Generator, opset: int = 20) -> onnx.ModelProto:
    """Tokens, their embeddings, an LSTM, the last state, 3 logits."""
    nodes = [
        helper.make_node("Cast", ["x"], ["t"], "whole", to=onnx.TensorProto.INT32),
        helper.make_node("Gather", ["table", "t"], ["e"], "embedding"),
        helper.make_node("Transpose", ["e"], ["s"], "time_first", perm=[1, 0, 2]),
        helper.make_node("LSTM", ["s", "W", "R"], ["", "H"], "lstm", hidden_size=5),
        helper.make_node("Squeeze", ["H", "zero"], ["h"], "squeeze"),
        helper.make_node("Gemm", ["h", "v"], ["y"], "head", transB=1),
    ]
    known = {"table": (30, 4), "W": (1, 20, 4), "R": (1, 20, 5), "v": (3, 5)}
    arrays = {name: weights(rng, *shape) for name, shape in known.items()}
    return model_of(nodes, ["N", "T"], {**arrays, "zero": integers(0)}, opset=opset, element=onnx.TensorProto.INT64)


def test_tokens_choose_rows_on_the_host_that_are_charged_at_step_0() -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 30, (8, 6))
    program = _compared(text_model(rng), x)
    kinds = [node.op.name for _, node in program.graph("spiking").walk()]
    assert kinds.count("lookup") == 1
    assert program.facts["host_nodes"] == ["Cast whole (cast)", "Gather embedding (lookup)"]
    with pytest.raises(snnir.SnnirError, match="into a table of 30 rows"):
        program.run(np.full((1, 6), 30))
    found = {node.name: node.fate for node in snnir.check(text_model(rng)).nodes}
    assert (found["embedding"], found["lstm"], found["head"]) == ("host", "spiking", "spiking")


@pytest.mark.parametrize("operator", ["Softmax", "Hardmax", "TopK"])
def test_what_closes_a_model_is_the_hosts(operator: str) -> None:
    rng = np.random.default_rng(0)
    more = ["k"] if operator == "TopK" else []
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], "dense"),
        helper.make_node("Relu", ["h"], ["r"], "relu"),
        helper.make_node("MatMul", ["r", "v"], ["l"], "logits"),
        helper.make_node(operator, ["l", *more], ["y", "places"] if more else ["y"], "last"),
    ]
    known = {"w": weights(rng, 6, 5), "v": weights(rng, 5, 4), **({"k": integers(2)} if more else {})}
    program = _compared(model_of(nodes, ["N", 6], known), data(rng, 8, 6))
    assert all("last" in line for line in program.facts["host_nodes"])  # type: ignore[attr-defined]


def test_overlapping_detections_are_dropped_by_the_host() -> None:
    """Boxes and scores come from one spiking network; which are kept, and how many, depends on the input."""
    rng = np.random.default_rng(3)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], "dense"),
        helper.make_node("Relu", ["h"], ["r"], "relu"),
        helper.make_node("MatMul", ["r", "v"], ["b"], "flat_boxes"),
        helper.make_node("Reshape", ["b", "as_boxes"], ["boxes"], "boxes"),
        helper.make_node("MatMul", ["r", "u"], ["s"], "flat_scores"),
        helper.make_node("Reshape", ["s", "as_scores"], ["scores"], "scores"),
        helper.make_node("NonMaxSuppression", ["boxes", "scores", "count", "overlap", "least"], ["y"], "detections"),
    ]
    known = {
        "w": weights(rng, 6, 16),
        "v": weights(rng, 16, 40),
        "u": weights(rng, 16, 20),
        "as_boxes": integers(-1, 10, 4),
        "as_scores": integers(-1, 2, 10),
        "count": integers(4),
        "overlap": np.array([0.3], np.float32),
        "least": np.array([-0.5], np.float32),
    }
    x = data(rng, 12, 6)
    program = snnir.compile(model_of(nodes, ["N", 6], known), calibration=x, bits=6)
    assert program.facts["host_nodes"] == ["NonMaxSuppression detections (non_max_suppression)"]
    kept, expected = program.run(x).outputs["y"], program.reference(x)["y"]
    assert kept.shape[1] == 3 and 12 < len(kept) < 12 * 2 * 4
    np.testing.assert_array_equal(kept, expected)
    assert program.verify(x).ok


def test_one_hot_tokens() -> None:
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("OneHot", ["x", "depth", "ends"], ["o"], "one_hot", axis=1),
        helper.make_node("Conv", ["o", "w"], ["c"], "conv"),
        helper.make_node("Relu", ["c"], ["y"], "relu"),
    ]
    known = {"depth": integers(7), "ends": np.array([0, 1], np.float32), "w": weights(rng, 4, 7, 3)}
    model = model_of(nodes, ["N", 6], known, element=onnx.TensorProto.INT64)
    _compared(model, rng.integers(0, 7, (8, 6)))


def test_channel_last_models() -> None:
    """As TensorFlow's exporter writes them: transpositions around every convolution."""
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], "in", perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["t", "w"], ["c"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("Transpose", ["c"], ["b"], "back", perm=[0, 2, 3, 1]),
        helper.make_node("Add", ["b", "bias"], ["a"], "bias"),
        helper.make_node("Relu", ["a"], ["r"], "relu"),
        helper.make_node("Transpose", ["r"], ["p"], "to_pool", perm=[0, 3, 1, 2]),
        helper.make_node("MaxPool", ["p"], ["m"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Transpose", ["m"], ["q"], "from_pool", perm=[0, 2, 3, 1]),
        helper.make_node("Flatten", ["q"], ["f"], "flatten"),
        helper.make_node("MatMul", ["f", "v"], ["y"], "head"),
    ]
    known = {"w": weights(rng, 4, 3, 3, 3), "bias": weights(rng, 4), "v": weights(rng, 36, 3)}
    program = _compared(model_of(nodes, ["N", 6, 6, 3], known), data(rng, 8, 6, 6, 3))
    assert not program.facts["host_nodes"]


@pytest.mark.parametrize("operator", ["LayerNormalization", "RMSNormalization", "InstanceNormalization"])
def test_normalisations_are_the_hosts_or_functions_inside(operator: str) -> None:
    rng = np.random.default_rng(0)
    shape = (4,) if operator == "InstanceNormalization" else (6,)
    known = {"s": weights(rng, *shape), "b": weights(rng, *shape), "w": weights(rng, 6, 5)}
    extra = ["s"] if operator == "RMSNormalization" else ["s", "b"]
    first = helper.make_node(operator, ["x", *extra], ["n"], "norm")
    nodes = [first, helper.make_node("MatMul", ["n", "w"], ["h"], "dense"), helper.make_node("Relu", ["h"], ["y"], "relu")]
    x = data(rng, 8, 4, 6)
    _compared(model_of(nodes, ["N", 4, 6], known, opset=23), x)
    inside = [helper.make_node("Tanh", ["x"], ["t"], "tanh"), *nodes]
    inside[1].input[0] = "t"
    program = _compared(model_of(inside, ["N", 4, 6], known, opset=23), x)
    assert not program.facts["host_nodes"]
    assert any(node.op.name == "function" for node in program.graph("spiking").nodes)
