"""Integers beside the rest: masks, lists and models without a batch, one-hot vectors, and questions for NaN."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.helper import make_node as node

import snnir
from snnir.errors import UnsupportedError
from snnir.frontends.onnx import import_onnx, run_onnxruntime
from snnir.ir.execute import execute

RNG = np.random.default_rng(0)
FAR, ZERO = np.array(-np.inf, np.float32), np.zeros((), np.float32)
W = RNG.normal(size=(4, 4)).astype(np.float32)
SCORES = [node("MatMul", ["x", "w"], ["s"]), node("Relu", ["s"], ["r"])]
SOFTMAX = node("Softmax", ["m"], ["y"], "/softmax", axis=-1)


def model_of(
    nodes: list[NodeProto], constants: Mapping[str, object], inputs: Mapping[str, tuple[int, Sequence[int | str]]]
) -> ModelProto:
    """A model whose output `y` holds float32; inputs as element type and shape."""
    graph = helper.make_graph(
        nodes,
        "together",
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model, data_prop=True)


def same_and_exact(model: ModelProto, data: dict[str, np.ndarray]) -> list[str]:
    """Check the model against ONNX Runtime and its spikes against its integers; the ops of the spiking graph."""
    found = execute(import_onnx(model), data)["y"]
    np.testing.assert_allclose(found, run_onnxruntime(model, data)["y"], rtol=1e-6, atol=1e-6)
    program = snnir.compile(model, calibration=data)
    assert program.verify(data).ok
    return [inner.op.name for _, inner in program.graph("spiking").walk()]


@pytest.mark.parametrize(
    ("nodes", "masks"),
    [
        ([node("Equal", ["ids", "pad"], ["k"]), node("Where", ["k", "far", "r"], ["m"])], 1),
        ([node("Cast", ["ids"], ["k"], to=TensorProto.BOOL), node("Where", ["k", "r", "far"], ["m"])], 1),
        ([node("Greater", ["ids", "pad"], ["k"]), node("Where", ["k", "z", "far"], ["a"]), node("Add", ["r", "a"], ["m"])], 1),
        (
            [
                node("Cast", ["ids"], ["k"], to=TensorProto.BOOL),
                node("Where", ["k", "r", "far"], ["a"]),
                node("Where", ["causal", "a", "far"], ["m"]),
            ],
            2,
        ),
    ],
    ids=["compared", "cast", "added", "two masks"],
)
def test_tokens_are_masks_of_attention(nodes: list[NodeProto], masks: int) -> None:
    constants = {"w": W, "far": FAR, "z": ZERO, "pad": np.array(0), "causal": np.tril(np.ones((4, 4), np.bool_))}
    used = {name for made in [*SCORES, *nodes] for name in made.input}
    inputs: dict[str, tuple[int, Sequence[int | str]]] = {
        "x": (TensorProto.FLOAT, ["N", 4, 4]),
        "ids": (TensorProto.INT64, ["N", 1, 4]),
    }
    model = model_of([*SCORES, *nodes, SOFTMAX], {name: array for name, array in constants.items() if name in used}, inputs)
    ids = RNG.integers(0, 3, (6, 1, 4))
    ids[:, :, 0] = 1
    assert same_and_exact(model, {"x": RNG.normal(size=(6, 4, 4)).astype(np.float32), "ids": ids}).count("masked") == masks
    fates = {(fate.operator, fate.name): fate.fate for fate in snnir.check(model).nodes}
    assert fates["Softmax", "/softmax"] == "host"


def test_lists_hold_integers() -> None:
    nodes = [
        node("SplitToSequence", ["x", "sizes"], ["l"], axis=1),
        node("SequenceAt", ["l", "first"], ["a"]),
        node("SequenceAt", ["l", "last"], ["b"]),
        node("Mul", ["a", "b"], ["p"]),
        node("SequenceConstruct", ["p", "a", "c"], ["joined"]),
        node("ConcatFromSequence", ["joined"], ["q"], axis=1),
        node("Cast", ["q"], ["f"], to=TensorProto.FLOAT),
        node("Relu", ["f"], ["y"]),
    ]
    constants = {
        "sizes": np.array([1, 2, 3]),
        "first": np.array(0),
        "last": np.array(-1),
        "c": np.full((5, 1), 7, np.int32),
    }
    model = model_of(nodes, constants, {"x": (TensorProto.INT32, [5, 6])})
    assert "int_mul" in same_and_exact(model, {"x": RNG.integers(-9, 9, (5, 6)).astype(np.int32)})


@pytest.mark.parametrize("running", [False, True])
def test_integers_of_a_model_without_a_batch(running: bool) -> None:
    total = node("CumSum", ["x", "axis"], ["t"]) if running else node("ReduceSum", ["x", "axis"], ["t"], keepdims=1)
    nodes = [
        total,
        node("Sub", ["x", "t"], ["d"]),
        node("Cast", ["d"], ["f"], to=TensorProto.FLOAT),
        node("MatMul", ["f", "w"], ["g"]),
        node("Relu", ["g"], ["h"]),
        node("ReduceMean", ["h"], ["y"], axes=[0], keepdims=0),
    ]
    model = model_of(nodes, {"axis": np.array(0 if running else [0]), "w": W}, {"x": (TensorProto.INT32, [3, 4])})
    assert "bif" in same_and_exact(model, {"x": RNG.integers(0, 9, (3, 4)).astype(np.int32)})


@pytest.mark.parametrize(("kind", "depth"), [("INT8", 5), ("INT8", 127), ("UINT8", 5), ("INT64", 5), ("INT64", 1)])
@pytest.mark.parametrize("values", [np.float32, np.int64])
def test_tokens_beyond_the_depth_are_off(kind: str, depth: int, values: type) -> None:
    nodes = [
        node("OneHot", ["x", "depth", "values"], ["o"]),
        node("Cast", ["o"], ["f"], to=TensorProto.FLOAT),
        node("Relu", ["f"], ["y"]),
    ]
    element = getattr(TensorProto, kind)
    constants = {"depth": np.array(depth), "values": np.array([0, 3], values)}
    model = model_of(nodes, constants, {"x": (element, ["N", 3])})
    least = 0 if kind == "UINT8" else -min(depth + 3, 128)
    x = np.stack([np.array([least, *RNG.integers(least, min(depth + 3, 128), 2)]) for _ in range(8)])
    x = x.astype(helper.tensor_dtype_to_np_dtype(element))
    wide = x.astype(np.int64)
    wide = np.where(wide < 0, wide + depth, wide)
    expected = 3 * (wide[..., None] == np.arange(depth))
    np.testing.assert_array_equal(execute(import_onnx(model), {"x": x})["y"], expected)
    compared = kind == "INT64"  # ONNX Runtime takes no other integers
    assert snnir.compile(model, calibration={"x": x}, check=compared).verify({"x": x}).ok


RNN = node("RNN", ["t", "k", "k", "", "l"], ["r"], hidden_size=4)


@pytest.mark.parametrize("layer", [[], [RNN]], ids=["alone", "before an RNN"])
@pytest.mark.parametrize("kind", ["INT64", "INT32"])
def test_parts_turned_around_by_lengths_of_the_input(kind: str, layer: list[NodeProto]) -> None:
    """On the host, before the network; ONNX Runtime takes int64 here, and int32 in the layer."""
    asked = [node("Cast", ["n"], ["long"], to=TensorProto.INT64), node("Cast", ["n"], ["l"], to=TensorProto.INT32)]
    turned = node("ReverseSequence", ["x", "long"], ["t"], time_axis=0, batch_axis=1)
    last = [node("MatMul", ["r" if layer else "t", "w"], ["s"]), node("Relu", ["s"], ["y"])]
    inputs: dict[str, tuple[int, Sequence[int | str]]] = {
        "x": (TensorProto.FLOAT, [5, "N", 4]),
        "n": (getattr(TensorProto, kind), ["N"]),
    }
    constants = {"w": W} | ({"k": W[None]} if layer else {})
    model = model_of([*(asked if layer else asked[:1]), turned, *layer, *last], constants, inputs)
    lengths = np.array([5, 0, 3, 1, 2, 5]) if not layer else np.array([5, 1, 3, 1, 2, 5])
    data = {"x": RNG.normal(size=(5, 6, 4)).astype(np.float32), "n": lengths.astype(f"{kind.lower()}")}
    assert "reverse_parts" in same_and_exact(model, data)


@pytest.mark.parametrize("operator", ["IsNaN", "IsInf"])
def test_guards_against_nan_vanish_where_nothing_gives_it(operator: str) -> None:
    nodes = [
        *SCORES,
        node("Where", ["keep", "r", "far"], ["m"]),
        node("Softmax", ["m"], ["p"], axis=-1),
        node(operator, ["p"], ["bad"]),
        node("Where", ["bad", "z", "p"], ["y"]),
    ]
    keep = np.tril(np.ones((4, 4), np.bool_))
    model = model_of(nodes, {"w": W, "far": FAR, "z": ZERO, "keep": keep}, {"x": (TensorProto.FLOAT, ["N", 4, 4])})
    kinds = same_and_exact(model, {"x": RNG.normal(size=(6, 4, 4)).astype(np.float32)})
    assert kinds[-2:] == ["masked", "softmax"]


def test_guards_are_refused_where_something_gives_nan() -> None:
    nodes = [node("Log", ["x"], ["l"], "/log"), node("IsNaN", ["l"], ["b"]), node("Where", ["b", "z", "l"], ["y"])]
    with pytest.raises(UnsupportedError, match=r"IsNaN.: Log /log .op log. may give infinities or NaN"):
        import_onnx(model_of(nodes, {"z": ZERO}, {"x": (TensorProto.FLOAT, ["N", 4])}))


def test_integers_before_a_quantized_model_stay_integers() -> None:
    nodes = [
        node("Add", ["x", "one"], ["shifted"]),
        node("DequantizeLinear", ["shifted", "scale", "zero"], ["a"]),
        node("MatMul", ["a", "w"], ["b"]),
        node("QuantizeLinear", ["b", "scale", "zero"], ["q"]),
        node("DequantizeLinear", ["q", "scale", "zero"], ["d"]),
        node("Relu", ["d"], ["y"]),
    ]
    constants = {"one": np.array(1, np.uint8), "scale": np.array(0.05, np.float32), "zero": np.array(3, np.uint8), "w": W}
    model = model_of(nodes, constants, {"x": (TensorProto.UINT8, ["N", 4])})
    assert "int_add" in same_and_exact(model, {"x": RNG.integers(0, 256, (6, 4)).astype(np.uint8)})


def test_integers_reach_what_the_host_computes_behind_the_network_as_they_are() -> None:
    """An exponent that became levels would be no integer, and a power of a negative base no number."""
    nodes = [node("MatMul", ["x", "w"], ["a"]), node("Pow", ["a", "i"], ["p"]), node("MatMul", ["p", "w"], ["y"])]
    model = model_of(nodes, {"w": W}, {"x": (TensorProto.FLOAT, ["N", 4]), "i": (TensorProto.INT64, ["N", 4])})
    data: dict[str, np.ndarray] = {"x": RNG.normal(size=(6, 4)).astype(np.float32), "i": RNG.integers(1, 4, (6, 4))}
    kinds = same_and_exact(model, data)
    assert kinds.index("readout") < kinds.index("pow") and kinds.count("encode") == 1
    first = [node("MatMul", ["x", "w"], ["b"]), node("Relu", ["b"], ["r"]), node("MatMul", ["r", "w"], ["a"])]
    model = model_of([*first, *nodes[1:]], {"w": W}, {"x": (TensorProto.FLOAT, ["N", 4]), "i": (TensorProto.INT64, ["N", 4])})
    assert same_and_exact(model, data)[-3:] == ["readout", "pow", "linear"]
