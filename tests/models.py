"""Small ONNX models made in memory, for tests of the front door."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["crnn", "data", "model_of", "perceptron"]


def model_of(
    nodes: list[onnx.NodeProto],
    shape: list[int | str],
    weights: dict[str, np.ndarray],
    output: str = "y",
    opset: int = 20,
    element: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    """A model with one input x and one output, whose shape ONNX infers."""
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", element, shape)],
        [helper.make_empty_tensor_value_info(output)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    inferred = onnx.shape_inference.infer_shapes(model)
    if not inferred.graph.output[0].type.HasField("tensor_type"):
        inferred.graph.output[0].CopyFrom(helper.make_tensor_value_info(output, TensorProto.FLOAT, None))
    return inferred


def perceptron(rng: np.random.Generator) -> onnx.ModelProto:
    """6 inputs, 5 hidden ReLUs, 3 logits."""
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h"], name="first", transB=1),
        helper.make_node("Relu", ["h"], ["r"], name="relu"),
        helper.make_node("Gemm", ["r", "w2", "b2"], ["y"], name="second", transB=1),
    ]
    weights = {"w1": (5, 6), "b1": (5,), "w2": (3, 5), "b2": (3,)}
    return model_of(nodes, ["N", 6], {name: rng.normal(size=shape).astype(np.float32) for name, shape in weights.items()})


def crnn(rng: np.random.Generator) -> onnx.ModelProto:
    """A convolution over time, a ReLU, an RNN with ReLU, its last state, 3 logits; x[N, 4, T=6]."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv", pads=[1, 1]),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("Transpose", ["r"], ["t"], name="to_time", perm=[2, 0, 1]),
        helper.make_node("RNN", ["t", "W", "R"], ["Y", "H"], name="rnn", hidden_size=5, activations=["Relu"]),
        helper.make_node("Squeeze", ["H", "zero"], ["h"], name="squeeze"),
        helper.make_node("Gemm", ["h", "v"], ["y"], name="head", transB=1),
    ]
    shapes = {"w": (5, 4, 3), "W": (1, 5, 5), "R": (1, 5, 5), "v": (3, 5)}
    weights = {name: (rng.normal(size=shape) * 0.5).astype(np.float32) for name, shape in shapes.items()}
    return model_of(nodes, ["N", 4, 6], {**weights, "zero": np.array([0])})


def data(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Standard normal float32."""
    return rng.normal(size=shape).astype(np.float32)
