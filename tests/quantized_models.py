"""Models quantized by ONNX Runtime's static quantizer, for tests."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from tests.models import model_of

__all__ = ["conv_net", "mixed", "static"]


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, name: str, data: np.ndarray) -> None:
        self.samples = iter([{name: sample[np.newaxis]} for sample in data])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.samples, None)


def static(
    model: onnx.ModelProto,
    data: np.ndarray,
    folder: Path,
    activations: str,
    weights: str,
    operators: bool = False,
    per_channel: bool = True,
    options: Mapping[str, object] | None = None,
    exclude: Sequence[str] = (),
) -> onnx.ModelProto:
    """The model as `quantize_static` writes it: QDQ, or with `operators` QLinearConv and its kin. Types as in `QInt8`; the nodes
    of `exclude` stay float.
    """
    before, after = folder / "float.onnx", folder / "quantized.onnx"
    onnx.save(model, before)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantize_static(
            before,
            after,
            _Reader(model.graph.input[0].name, data),
            quant_format=QuantFormat.QOperator if operators else QuantFormat.QDQ,
            activation_type=QuantType[activations],
            weight_type=QuantType[weights],
            per_channel=per_channel,
            nodes_to_exclude=list(exclude),
            extra_options=dict(options or {}),
        )
    return onnx.load(after)


def _weights(rng: np.random.Generator, **shapes: tuple[int, ...]) -> dict[str, np.ndarray]:
    return {
        name: (rng.normal(size=shape) / np.sqrt(max(math.prod(shape[1:]), 9))).astype(np.float32)
        for name, shape in shapes.items()
    }


def conv_net(rng: np.random.Generator) -> onnx.ModelProto:
    """Convolutions, max pooling, a residual sum of two scales, a concatenation, a global mean, 4 logits; x[N, 2, 8, 8]."""
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], name="c1", pads=[1] * 4),
        helper.make_node("Relu", ["c1"], ["r1"], name="r1"),
        helper.make_node("MaxPool", ["r1"], ["p"], name="p", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["p", "w2", "b2"], ["c2"], name="c2", pads=[1] * 4),
        helper.make_node("Add", ["c2", "p"], ["a"], name="a"),
        helper.make_node("Relu", ["a"], ["r2"], name="r2"),
        helper.make_node("Concat", ["r2", "p"], ["both"], name="both", axis=1),
        helper.make_node("GlobalAveragePool", ["both"], ["g"], name="g"),
        helper.make_node("Flatten", ["g"], ["f"], name="f"),
        helper.make_node("Gemm", ["f", "w3", "b3"], ["y"], name="gemm", transB=1),
    ]
    weights = _weights(rng, w1=(6, 2, 3, 3), b1=(6,), w2=(6, 6, 3, 3), b2=(6,), w3=(4, 12), b3=(4,))
    return model_of(nodes, ["N", 2, 8, 8], weights)


def mixed(rng: np.random.Generator, recurrent: str) -> onnx.ModelProto:
    """A convolution, a recurrent layer (which the static quantizer leaves as it is), a linear layer; x[N, 4, 6]."""
    gates = {"RNN": 1, "GRU": 3, "LSTM": 4}[recurrent]
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], name="conv", pads=[1, 1]),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("Transpose", ["r"], ["t"], name="to_time", perm=[2, 0, 1]),
        helper.make_node(recurrent, ["t", "W", "R", "B"], ["Y", "H"], name="cell", hidden_size=5),
        helper.make_node("Squeeze", ["H", "zero"], ["h"], name="squeeze"),
        helper.make_node("Gemm", ["h", "v", "bv"], ["y"], name="head", transB=1),
    ]
    shapes: dict[str, tuple[int, ...]] = {"w": (5, 4, 3), "b": (5,), "v": (3, 5), "bv": (3,)}
    shapes |= {"W": (1, 5 * gates, 5), "R": (1, 5 * gates, 5), "B": (1, 10 * gates)}
    return model_of(nodes, ["N", 4, 6], {**_weights(rng, **shapes), "zero": np.array([0])})
