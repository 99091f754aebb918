"""Dynamic quantization read as real numbers: the weights that the integers stand for, and calibrated activations."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

import snnir
from snnir.errors import UnsupportedError
from snnir.frontends.onnx import requantized, run_onnxruntime

RNG = np.random.default_rng(0)


def real(*shape: int) -> np.ndarray:
    return np.asarray(RNG.normal(size=shape) / np.sqrt(shape[-1]), np.float32)


def convolutions() -> tuple[onnx.ModelProto, np.ndarray]:
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "k", "kb"], ["c"], "conv", pads=[1, 1, 1, 1], strides=[2, 2]),
        node("Relu", ["c"], ["r"]),
        node("Flatten", ["r"], ["f"]),
        node("Gemm", ["f", "w", "b"], ["y"], "head", transB=1),
    ]
    arrays = {"k": real(4, 2, 3, 3), "kb": real(4), "w": real(3, 64), "b": real(3)}
    return _model(nodes, [2, 8, 8], 2, arrays), RNG.normal(size=(48, 2, 8, 8)).astype(np.float32)


def recurrent() -> tuple[onnx.ModelProto, np.ndarray]:
    node = helper.make_node
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        node("LSTM", ["t", "W", "R", "B"], ["", "h"], "lstm", hidden_size=8, direction="bidirectional"),
        node("Transpose", ["h"], ["s"], perm=[1, 0, 2]),
        node("Flatten", ["s"], ["f"]),
        node("MatMul", ["f", "w"], ["y"], "head"),
    ]
    arrays = {"W": real(2, 32, 6), "R": real(2, 32, 8), "B": real(2, 64), "w": real(16, 3)}
    return _model(nodes, [7, 6], 2, arrays), RNG.normal(size=(48, 7, 6)).astype(np.float32)


def _model(nodes: list[onnx.NodeProto], sample: list[int], rank: int, arrays: dict[str, np.ndarray]) -> onnx.ModelProto:
    constants = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *sample])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * rank)
    return helper.make_model(
        helper.make_graph(nodes, "dynamic", [x], [y], constants), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )


def dynamic(model: onnx.ModelProto, folder: Path, per_channel: bool) -> Path:
    """By ONNX Runtime's own dynamic quantizer."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    source, target = folder / "float.onnx", folder / "dynamic.onnx"
    onnx.save(model, source)
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # its signed integers saturate in ConvInteger on some processors
            quantize_dynamic(source, target, per_channel=per_channel, weight_type=QuantType.QUInt8)
    finally:
        logging.disable(logging.NOTSET)
    return target


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("make", [convolutions, recurrent])
def test_dynamic_models_of_onnx_runtime(
    make: Callable[[], tuple[onnx.ModelProto, np.ndarray]], per_channel: bool, tmp_path: Path
) -> None:
    model, x = make()
    path = dynamic(model, tmp_path, per_channel)
    operators = {node.op_type for node in onnx.load(path).graph.node}
    assert operators & {"DynamicQuantizeLSTM", "MatMulInteger", "ConvInteger"}
    with pytest.raises(UnsupportedError, match=r"--requantize; requantize=True"):
        snnir.compile(path, calibration=x)
    assert not snnir.check(path).ok
    found = snnir.check(path, requantize=True)
    assert found.ok
    assert any("dynamically quantized nodes are read as real ones" in note for note in found.notes)
    program = snnir.compile(path, calibration=x, bits=8, requantize=True)
    assert any("span from that reading" in note for note in program.graph("float").notes)
    expected = run_onnxruntime(model, {"x": x})["y"]
    assert np.corrcoef(program.run(x).outputs["y"].ravel(), expected.ravel())[0, 1] > 0.99
    assert program.verify(x).ok


@pytest.mark.parametrize(
    ("operator", "order"),
    [("DynamicQuantizeMatMul", ["x", "W", "s", "z", "b"]), ("MatMulIntegerToFloat", ["q", "W", "qs", "s", "qz", "z", "b"])],
)
def test_fused_products_of_onnx_runtime(operator: str, order: list[str]) -> None:
    arrays: dict[str, np.ndarray] = {
        "W": RNG.integers(0, 255, size=(6, 4)).astype(np.uint8),
        "s": np.array([0.01, 0.02, 0.015, 0.01], np.float32),
        "z": np.array([128, 120, 130, 128], np.uint8),
        "b": real(4),
    }
    nodes = [helper.make_node(operator, order, ["y"], "product", domain="com.microsoft")]
    if operator == "MatMulIntegerToFloat":
        nodes.insert(0, helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "qs", "qz"], "quantize"))
    model = _model(nodes, [6], 2, arrays)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    read, count = requantized(model)
    assert count == len(nodes)
    x = RNG.normal(size=(5, 6)).astype(np.float32)
    weight = (arrays["W"].astype(np.float32) - arrays["z"]) * arrays["s"]
    np.testing.assert_allclose(run_onnxruntime(read, {"x": x})["y"], x @ weight + arrays["b"], rtol=1e-5, atol=1e-6)


def test_a_model_that_quantizes_nothing_stays_as_it_is() -> None:
    model, _ = convolutions()
    assert requantized(model)[1] == 0
    assert any("requantize changes nothing" in note for note in snnir.check(model, requantize=True).notes)


class Net(nn.Module):
    """A GRU, an LSTM and linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.lstm = nn.GRU(5, 8, batch_first=True), nn.LSTM(8, 6, batch_first=True, bidirectional=True)
        self.head = nn.Sequential(nn.Linear(12, 10), nn.ReLU(), nn.Linear(10, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.head(self.lstm(self.gru(x)[0])[0][:, -1])
        return y


def test_dynamic_layers_of_pytorch() -> None:
    torch.manual_seed(0)
    net, x = Net().eval(), RNG.normal(size=(32, 7, 5)).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantize: Any = torch.ao.quantization.quantize_dynamic
        quantized = quantize(net, {nn.Linear, nn.LSTM, nn.GRU}, torch.qint8)
    program = snnir.compile(quantized, calibration=x, bits=8, requantize=True)
    assert any("4 dynamically quantized layers are read as real ones" in note for note in program.graph("float").notes)
    with torch.no_grad():
        expected = net(torch.from_numpy(x)).numpy()
    found = next(iter(program.run(x).outputs.values()))
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.98
    assert program.verify(x).ok
