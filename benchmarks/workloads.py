"""The networks that are measured, as ONNX models with inputs: what every side is given.

Weights are random, because time and exactness do not depend on what a network was trained for (the digits CRNN is the
trained one of the demo). `small=True` gives the same shapes of network in sizes for tests.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import as_file, files

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["WORKLOADS", "Workload", "indrnn", "perceptron", "sparse"]

CALIBRATION = 128


@dataclass(frozen=True)
class Workload:
    """A source model, inputs x[N, ...] float32 to run and to calibrate with, and the inner time-steps T that peers run."""

    name: str
    model: onnx.ModelProto
    x: np.ndarray
    calibration: np.ndarray
    steps: int = 32


def sparse(rng: np.random.Generator, *shape: int, shift: float = 0.8) -> np.ndarray:
    """Inputs like images: most elements zero (79 % at the default shift), none negative; float32."""
    return np.asarray(np.maximum(rng.normal(size=shape) - shift, 0), np.float32)


def _model(name: str, nodes: list[onnx.NodeProto], shape: list[int | str], weights: dict[str, np.ndarray]) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", None])],
        [numpy_helper.from_array(array, key) for key, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def _he(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return np.asarray(rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:])), np.float32)


def _small_biases(rng: np.random.Generator, size: int) -> np.ndarray:
    return np.asarray(rng.normal(size=size) * 0.05, np.float32)


def perceptron(layers: list[int], rng: np.random.Generator) -> onnx.ModelProto:
    """Linear layers with ReLUs between them; x[N, layers[0]]."""
    nodes, weights, current = [], {}, "x"
    for index, (inputs, outputs) in enumerate(itertools.pairwise(layers)):
        last = index == len(layers) - 2
        weights[f"w{index}"], weights[f"b{index}"] = _he(rng, outputs, inputs), _small_biases(rng, outputs)
        gemm = [current, f"w{index}", f"b{index}"]
        nodes.append(helper.make_node("Gemm", gemm, ["y" if last else f"h{index}"], transB=1))
        if not last:
            nodes.append(helper.make_node("Relu", [f"h{index}"], [f"r{index}"]))
        current = f"r{index}"
    return _model("mlp", nodes, ["N", layers[0]], weights)


def _convolutions(name: str, size: int, convs: list[tuple[int, int, int, int]], linears: list[int], seed: int) -> onnx.ModelProto:
    """Convolutions as (channels, kernel, stride, padding) with ReLUs, then linear layers; x[N, 1, size, size]."""
    rng = np.random.default_rng(seed)
    nodes, weights, current, channels, shape = [], {}, "x", 1, [size, size]
    for index, (maps, kernel, stride, padding) in enumerate(convs):
        weights[f"k{index}"], weights[f"c{index}"] = _he(rng, maps, channels, kernel, kernel), _small_biases(rng, maps)
        given = [current, f"k{index}", f"c{index}"]
        nodes.append(helper.make_node("Conv", given, [f"v{index}"], strides=[stride] * 2, pads=[padding] * 4))
        nodes.append(helper.make_node("Relu", [f"v{index}"], [f"a{index}"]))
        current, channels, size = f"a{index}", maps, (size + 2 * padding - kernel) // stride + 1
    nodes.append(helper.make_node("Flatten", [current], ["flat"]))
    tail = perceptron([channels * size * size, *linears], rng)
    for node in tail.graph.node:
        nodes.append(helper.make_node(node.op_type, ["flat" if value == "x" else value for value in node.input], node.output))
        nodes[-1].attribute.extend(node.attribute)
    weights.update({tensor.name: numpy_helper.to_array(tensor) for tensor in tail.graph.initializer})
    return _model(name, nodes, ["N", 1, *shape], weights)


def indrnn(inputs: int, hidden: int, layers: int, rng: np.random.Generator) -> onnx.ModelProto:
    """IndRNN (arXiv:1803.04831) with ReLU: ONNX RNNs with a diagonal recurrence, the last state, 10 logits; x[N, T, inputs]."""
    nodes = [helper.make_node("Transpose", ["x"], ["s0"], perm=[1, 0, 2])]
    weights: dict[str, np.ndarray] = {"one": np.array([1]), "zero": np.array([0])}
    for layer in range(layers):
        weights[f"w{layer}"] = (_he(rng, hidden, inputs if layer == 0 else hidden) * np.float32(0.5))[None]
        weights[f"u{layer}"] = np.diag(rng.uniform(0, 0.9, hidden)).astype(np.float32)[None]
        nodes.append(
            helper.make_node(
                "RNN",
                [f"s{layer}", f"w{layer}", f"u{layer}"],
                [f"q{layer}", f"e{layer}"],
                hidden_size=hidden,
                activations=["Relu"],
            )
        )
        nodes.append(helper.make_node("Squeeze", [f"q{layer}", "one"], [f"s{layer + 1}"]))
    weights["out"] = _he(rng, 10, hidden)
    nodes.append(helper.make_node("Squeeze", [f"e{layers - 1}", "zero"], ["last"]))
    nodes.append(helper.make_node("Gemm", ["last", "out"], ["y"], transB=1))
    return _model("indrnn", nodes, ["N", "T", inputs], weights)


def _lstm(inputs: int, hidden: int, rng: np.random.Generator) -> onnx.ModelProto:
    """One LSTM, its last state, 10 logits; x[N, T, inputs]."""
    bound = 1 / np.sqrt(hidden)
    shapes = {"W": (1, 4 * hidden, inputs), "R": (1, 4 * hidden, hidden), "B": (1, 8 * hidden)}
    weights = {key: rng.uniform(-bound, bound, shape).astype(np.float32) for key, shape in shapes.items()}
    nodes = [
        helper.make_node("Transpose", ["x"], ["s"], perm=[1, 0, 2]),
        helper.make_node("LSTM", ["s", "W", "R", "B"], ["Y", "H"], hidden_size=hidden),
        helper.make_node("Squeeze", ["H", "zero"], ["last"]),
        helper.make_node("Gemm", ["last", "out"], ["y"], transB=1),
    ]
    return _model("lstm", nodes, ["N", "T", inputs], {**weights, "out": _he(rng, 10, hidden), "zero": np.array([0])})


def _drawn(name: str, model: onnx.ModelProto, shape: tuple[int, ...], batch: int, calibration: int = CALIBRATION) -> Workload:
    rng = np.random.default_rng(1)
    return Workload(name, model, sparse(rng, batch, *shape), sparse(rng, calibration, *shape))


def _mlp(batch: int, small: bool) -> Workload:
    layers = [20, 16, 16, 10] if small else [784, 512, 512, 10]
    return _drawn("mlp", perceptron(layers, np.random.default_rng(0)), (layers[0],), batch)


def _lenet(batch: int, small: bool) -> Workload:
    size = 12 if small else 28
    convs = [(2, 3, 2, 1), (3, 3, 2, 1)] if small else [(6, 6, 2, 2), (16, 6, 2, 2)]
    model = _convolutions("lenet", size, convs, [8, 10] if small else [120, 84, 10], 2)
    return _drawn("lenet", model, (1, size, size), batch)


def _conv_stack(batch: int, small: bool) -> Workload:
    size = 8 if small else 28
    convs = [(3, 3, 1, 1), (4, 3, 2, 1)] if small else [(32, 3, 1, 1), (32, 3, 2, 1), (64, 3, 1, 1), (64, 3, 2, 1)]
    return _drawn("conv_stack", _convolutions("conv_stack", size, convs, [10], 3), (1, size, size), batch, 32)


def _digits(batch: int, small: bool) -> Workload:
    with as_file(files("snnir") / "data") as folder:
        model = onnx.load(folder / "digits-crnn.onnx")
        with np.load(folder / "digits.npz", allow_pickle=False) as archive:
            calibration, test = archive["calibration"], archive["test"]
    return Workload("digits", model, np.resize(test, (batch, *test.shape[1:])), calibration[: 32 if small else None])


def _indrnn(batch: int, small: bool) -> Workload:
    hidden, layers, length = (6, 2, 5) if small else (128, 6, 784)
    return _drawn("indrnn", indrnn(1, hidden, layers, np.random.default_rng(4)), (length, 1), batch, 8)


def _lstm_of(batch: int, small: bool) -> Workload:
    inputs, hidden, length = (3, 4, 5) if small else (32, 128, 100)
    return _drawn("lstm", _lstm(inputs, hidden, np.random.default_rng(5)), (length, inputs), batch, 16)


WORKLOADS: dict[str, Callable[[int, bool], Workload]] = {
    "mlp": _mlp,
    "lenet": _lenet,
    "conv_stack": _conv_stack,
    "digits": _digits,
    "indrnn": _indrnn,
    "lstm": _lstm_of,
}
"""By name: `build(batch, small)`."""
