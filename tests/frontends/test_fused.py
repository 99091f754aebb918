"""What ONNX Runtime writes and runs: fused operators, fused quantized kernels, half precision, and kernels that it lacks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

import snnir
from snnir.frontends.onnx import run_onnxruntime
from snnir.ir.execute import execute

RNG = np.random.default_rng(0)
MICROSOFT = "com.microsoft"


def real(*shape: int) -> np.ndarray:
    return np.asarray(RNG.normal(size=shape) / np.sqrt(shape[-1]), np.float32)


def model_of(
    nodes: list[onnx.NodeProto], shape: list[Any], rank: int, arrays: dict[str, np.ndarray], kind: int = TensorProto.FLOAT
) -> onnx.ModelProto:
    constants = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    x = helper.make_tensor_value_info("x", kind, shape)
    y = helper.make_tensor_value_info("y", kind, [None] * rank)
    graph = helper.make_graph(nodes, "fused", [x], [y], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid(MICROSOFT, 1)], ir_version=8)


def agrees(model: onnx.ModelProto, x: np.ndarray, least: float = 0.98) -> None:
    program = snnir.compile(model, calibration=x, bits=8)  # which compares the import with ONNX Runtime
    expected = run_onnxruntime(model, {"x": x})["y"]
    assert np.corrcoef(program.run(x).outputs["y"].ravel(), expected.ravel())[0, 1] > least
    assert program.verify(x).ok


@pytest.mark.parametrize("activation", ["", "Relu", "LeakyRelu", "Clip", "Sigmoid", "HardSigmoid"])
@pytest.mark.parametrize("summed", [False, True])
def test_fused_convolutions(activation: str, summed: bool) -> None:
    parameters = {"LeakyRelu": [0.1], "Clip": [0.0, 0.8], "HardSigmoid": [0.2, 0.5]}.get(activation, [])
    attributes: dict[str, Any] = {"activation": activation} if activation else {}
    attributes |= {"activation_params": parameters} if parameters else {}
    nodes = [helper.make_node("Conv", ["x", "k"], ["z"], pads=[1, 1, 1, 1])]
    given = ["x", "k2", "b", *(["z"] if summed else [])]
    nodes.append(helper.make_node("FusedConv", given, ["y"], domain=MICROSOFT, pads=[1, 1, 1, 1], **attributes))
    arrays = {"k": real(4, 2, 3, 3), "k2": real(4, 2, 3, 3), "b": real(4)}
    agrees(model_of(nodes, ["N", 2, 6, 6], 4, arrays), RNG.normal(size=(24, 2, 6, 6)).astype(np.float32))


@pytest.mark.parametrize(
    ("operator", "inputs", "attributes"),
    [
        ("FusedGemm", ["r", "w", "b"], {"activation": "LeakyRelu", "activation_alpha": 0.2}),
        ("FusedMatMul", ["r", "w"], {"alpha": 0.5}),
        ("FusedMatMul", ["r", "v"], {"transB": 1}),
        ("Gelu", ["r"], {}),
        ("FastGelu", ["r", "g"], {}),
        ("BiasGelu", ["r", "g"], {}),
        ("QuickGelu", ["r"], {}),
    ],
)
def test_fused_layers(operator: str, inputs: list[str], attributes: dict[str, Any]) -> None:
    arrays = {"u": real(6, 8), "w": real(8, 5), "v": real(5, 8), "b": real(5), "g": real(8)}
    nodes = [
        helper.make_node("MatMul", ["x", "u"], ["r"]),
        helper.make_node(operator, inputs, ["y"], operator.lower(), domain=MICROSOFT, **attributes),
    ]
    agrees(model_of(nodes, ["N", 6], 2, arrays), RNG.normal(size=(64, 6)).astype(np.float32))


@pytest.mark.parametrize("operator", ["SkipLayerNormalization", "SkipSimplifiedLayerNormalization"])
def test_normalisations_of_sums(operator: str) -> None:
    arrays = {"u": real(6, 6), "scale": np.ones(6, np.float32), "shift": real(6), "bias": real(6)}
    given = ["x", "r", "scale", *(["shift", "bias"] if operator == "SkipLayerNormalization" else ["bias"])]
    nodes = [
        helper.make_node("MatMul", ["x", "u"], ["r"]),
        helper.make_node(operator, given, ["y"], "norm", domain=MICROSOFT, epsilon=1e-5),
    ]
    x = RNG.normal(size=(32, 4, 6)).astype(np.float32)
    graph = snnir.import_model(model_of(nodes, ["N", 4, 6], 3, arrays))
    expected = run_onnxruntime(model_of(nodes, ["N", 4, 6], 3, arrays), {"x": x})["y"]
    np.testing.assert_allclose(execute(graph, {"x": x})["y"], expected, rtol=1e-4, atol=1e-5)


def test_a_file_that_onnx_runtime_saved(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "k", "b"], ["c"], "conv"),
        helper.make_node("Relu", ["c"], ["r"], "relu"),
        helper.make_node("Flatten", ["r"], ["f"], "flatten"),
        helper.make_node("Gemm", ["f", "w"], ["y"], "head"),
    ]
    model = model_of(nodes, ["N", 2, 5, 5], 2, {"k": real(4, 2, 3, 3), "b": real(4), "w": real(36, 3)})
    x = RNG.normal(size=(24, 2, 5, 5)).astype(np.float32)
    for level, path in (("ORT_ENABLE_EXTENDED", tmp_path / "extended.onnx"), ("ORT_ENABLE_ALL", tmp_path / "all.onnx")):
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
        options.optimized_model_filepath = str(path)
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        agrees(onnx.load(path), x)


@pytest.mark.parametrize("zero", [TensorProto.UINT8, TensorProto.INT8])
def test_a_quantized_softmax_is_compared_node_by_node(zero: int) -> None:
    """ONNX Runtime fuses dequantizing, softmax and quantizing, and rounds in other places than the nodes say."""
    dtype = helper.tensor_dtype_to_np_dtype(zero)
    arrays = {"s": np.array(0.03, np.float32), "z": np.array(0, dtype), "t": np.array(1 / 256, np.float32), "w": real(8, 6) * 4}
    arrays["p"] = np.array(0 if zero == TensorProto.UINT8 else -128, dtype)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], "layer"),
        helper.make_node("QuantizeLinear", ["a", "s", "z"], ["aq"]),
        helper.make_node("DequantizeLinear", ["aq", "s", "z"], ["ad"]),
        helper.make_node("Softmax", ["ad"], ["b"], "softmax"),
        helper.make_node("QuantizeLinear", ["b", "t", "p"], ["bq"]),
        helper.make_node("DequantizeLinear", ["bq", "t", "p"], ["y"]),
    ]
    model = model_of(nodes, ["N", 8], 2, arrays)
    x = RNG.normal(size=(64, 8)).astype(np.float32)
    program = snnir.compile(model, calibration=x)
    assert program.verify(x).ok


@pytest.mark.parametrize(("name", "kind"), [("float16", TensorProto.FLOAT16), ("bfloat16", TensorProto.BFLOAT16)])
def test_half_precision(name: str, kind: int) -> None:
    """ONNX Runtime has no product in bfloat16: ONNX's reference evaluator stands in."""
    half = helper.tensor_dtype_to_np_dtype(kind)
    arrays = {"u": real(6, 16).astype(half), "b": real(16).astype(half), "w": real(16, 3).astype(half)}
    nodes = [
        helper.make_node("MatMul", ["x", "u"], ["a"]),
        helper.make_node("Add", ["a", "b"], ["c"]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("MatMul", ["r", "w"], ["y"]),
    ]
    x = RNG.normal(size=(64, 6)).astype(half)
    program = snnir.compile(model_of(nodes, ["N", 6], 2, arrays, kind), calibration=x, bits=8)
    error = program.facts["import_error"]
    assert isinstance(error, float)
    assert error < 4e-2
    assert program.verify(x).ok


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_modules_in_half_precision_take_float32(kind: torch.dtype) -> None:
    torch.manual_seed(0)
    module, x = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3)).to(kind).eval(), real(32, 6)
    program = snnir.compile(module, calibration=x, bits=8)
    with torch.no_grad():
        expected = module.float()(torch.from_numpy(x)).numpy()
    found = next(iter(program.run(x).outputs.values()))
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.98


def test_kernels_that_onnx_runtime_lacks() -> None:
    arrays = {"W": real(1, 12, 5), "R": real(1, 12, 4)}
    nodes = [
        helper.make_node("GRU", ["x", "W", "R"], ["", "h"], "gru", hidden_size=4, layout=1),
        helper.make_node("Flatten", ["h"], ["y"]),
    ]
    x = RNG.normal(size=(12, 6, 5)).astype(np.float32)
    program = snnir.compile(model_of(nodes, ["N", "T", 5], 2, arrays), calibration=x)
    assert isinstance(program.facts["import_error"], float)
    assert program.verify(x).ok


@pytest.mark.parametrize("bounds", [["lo", ""], ["", "hi"], ["lo", "hi"], ["lo", "one"]])
def test_clips_whose_bounds_change(bounds: list[str]) -> None:
    arrays = {"w": real(6, 5), "u": real(6, 5), "eight": np.array(0.4, np.float32), "one": np.array(0.5, np.float32)}
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("MatMul", ["x", "u"], ["b"]),
        helper.make_node("Sub", ["b", "eight"], ["lo"]),
        helper.make_node("Add", ["b", "eight"], ["hi"]),
        helper.make_node("Max", ["a", "lo"] if bounds[0] else ["a"], ["low"]),
        helper.make_node("Min", ["low", bounds[1]] if bounds[1] else ["low"], ["expected"]),
        helper.make_node("Clip", ["a", *bounds], ["y"], "clip"),
    ]
    model = model_of(nodes, ["N", 6], 2, arrays)
    model.graph.output.append(helper.make_tensor_value_info("expected", TensorProto.FLOAT, [None] * 2))
    x = RNG.normal(size=(32, 6)).astype(np.float32)
    found = execute(snnir.import_model(model), {"x": x})
    np.testing.assert_allclose(found["y"], found["expected"], atol=1e-6)
    program = snnir.compile(model, calibration=x, bits=5, check=False)
    assert program.verify(x).ok
