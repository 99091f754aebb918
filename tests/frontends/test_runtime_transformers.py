"""Operators of ONNX Runtime's optimiser for transformers, and files in its blocked memory layout."""

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
from torch.nn import functional

import snnir
from snnir.frontends.onnx import requantized, run_onnxruntime
from snnir.ir.execute import execute
from tests.frontends.torch_modules import onnx_of

RNG = np.random.default_rng(0)
MICROSOFT = "com.microsoft"
SAMPLES, STEPS, SIZE, HEADS = 6, 5, 8, 2


def real(*shape: int) -> np.ndarray:
    return np.asarray(RNG.normal(size=shape) / np.sqrt(shape[0]), np.float32)


def model_of(
    nodes: list[onnx.NodeProto], inputs: dict[str, tuple[int, list[Any]]], arrays: dict[str, np.ndarray], outputs: int = 1
) -> onnx.ModelProto:
    constants = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    given = [helper.make_tensor_value_info(name, *kind) for name, kind in inputs.items()]
    results = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * 3)]
    results += [helper.make_tensor_value_info("lengths", TensorProto.INT32, [None])] * (outputs - 1)
    graph = helper.make_graph(nodes, "transformer", given, results, constants)
    sets = [helper.make_opsetid("", 17), helper.make_opsetid(MICROSOFT, 1)]
    return helper.make_model(graph, opset_imports=sets, ir_version=8)


def same(model: onnx.ModelProto, data: dict[str, np.ndarray]) -> None:
    """The import gives what ONNX Runtime gives."""
    expected = run_onnxruntime(model, data)
    found = execute(snnir.import_model(model), data)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-4, atol=1e-5)


MASKS = {
    "none": None,
    "of tokens": ([SAMPLES, STEPS], np.arange(STEPS)[None] < RNG.integers(2, STEPS + 1, (SAMPLES, 1))),
    "by lengths": ([SAMPLES], RNG.integers(2, STEPS + 1, SAMPLES)),
    "of pairs": ([SAMPLES, STEPS, STEPS], np.tril(np.ones((SAMPLES, STEPS, STEPS)))),
}


@pytest.mark.parametrize("more", [{}, {"unidirectional": 1}, {"scale": 0.7}])
@pytest.mark.parametrize("mask", MASKS)
def test_attention(mask: str, more: dict[str, Any]) -> None:
    inputs: dict[str, tuple[int, list[Any]]] = {"x": (TensorProto.FLOAT, ["N", STEPS, SIZE])}
    data = {"x": RNG.normal(size=(SAMPLES, STEPS, SIZE)).astype(np.float32)}
    given = MASKS[mask]
    if given is not None:
        inputs["mask"] = (TensorProto.INT32, ["N", *given[0][1:]])
        data["mask"] = np.asarray(given[1]).astype(np.int32)
    names = ["x", "w", "b", "mask" if given is not None else "", "", "s"]
    nodes = [helper.make_node("Attention", names, ["y"], "attention", domain=MICROSOFT, num_heads=HEADS, **more)]
    arrays = {"w": real(SIZE, 3 * SIZE), "b": real(3 * SIZE), "s": real(1, HEADS, STEPS, STEPS)}
    same(model_of(nodes, inputs, arrays), data)


@pytest.mark.parametrize("split", [False, True])
def test_attention_of_parts(split: bool) -> None:
    node = helper.make_node
    nodes = [node("MatMul", ["x", f"w{part}"], [part]) for part in "qkv"]
    if split:
        for part in "kv":
            nodes.append(node("Reshape", [part, "apart"], [f"{part}a"]))
            nodes.append(node("Transpose", [f"{part}a"], [f"{part}h"], perm=[0, 2, 1, 3]))
    names = ["q", "kh", "vh"] if split else ["q", "k", "v", "b"]
    nodes.append(node("MultiHeadAttention", names, ["y"], "attention", domain=MICROSOFT, num_heads=HEADS))
    arrays = {f"w{part}": real(SIZE, SIZE) for part in "qkv"}
    arrays |= {"b": real(3 * SIZE), "apart": np.array([0, 0, HEADS, SIZE // HEADS])}
    model = model_of(nodes, {"x": (TensorProto.FLOAT, ["N", STEPS, SIZE])}, arrays)
    same(model, {"x": RNG.normal(size=(SAMPLES, STEPS, SIZE)).astype(np.float32)})


def _quantized_attention(dynamic: bool) -> onnx.ModelProto:
    node = helper.make_node
    weight = real(SIZE, 3 * SIZE)
    scale = np.abs(weight).max() / 127
    arrays = {
        "w": np.rint(weight / scale).astype(np.int8),
        "ws": np.array(scale, np.float32),
        "wz": np.array(0, np.int8),
        "b": real(3 * SIZE),
        "h": real(SIZE, SIZE),
    }
    if dynamic:
        nodes = [node("DynamicQuantizeLinear", ["x"], ["xq", "xs", "xz"], "quantize")]
    else:
        arrays |= {"xs": np.array(0.03, np.float32), "xz": np.array(120, np.uint8)}
        nodes = [node("QuantizeLinear", ["x", "xs", "xz"], ["xq"], "quantize")]
    names = ["xq", "w", "b", "xs", "ws", "", "xz", "wz"]
    nodes.append(node("QAttention", names, ["a"], "attention", domain=MICROSOFT, num_heads=HEADS))
    nodes.append(node("MatMul", ["a", "h"], ["y"], "head"))
    return model_of(nodes, {"x": (TensorProto.FLOAT, ["N", STEPS, SIZE])}, arrays)


@pytest.mark.parametrize("dynamic", [False, True])
def test_attention_of_integers(dynamic: bool) -> None:
    model, x = _quantized_attention(dynamic), RNG.normal(size=(24, STEPS, SIZE)).astype(np.float32)
    program = snnir.compile(model, calibration=x, bits=8, requantize=dynamic)
    expected = run_onnxruntime(requantized(model)[0] if dynamic else model, {"x": x})["y"]
    assert np.corrcoef(program.run(x).outputs["y"].ravel(), expected.ravel())[0, 1] > 0.98
    assert program.verify(x[:6]).ok


@pytest.mark.parametrize("kinds", [False, True])
def test_embeddings(kinds: bool) -> None:
    words, mask = RNG.integers(0, 20, (SAMPLES, STEPS)), np.asarray(MASKS["of tokens"][1])  # type: ignore[index]
    inputs: dict[str, tuple[int, list[Any]]] = {name: (TensorProto.INT32, ["N", STEPS]) for name in ("ids", "mask")}
    data = {"ids": words.astype(np.int32), "mask": mask.astype(np.int32)}
    if kinds:
        inputs["kind"], data["kind"] = (TensorProto.INT32, ["N", STEPS]), (words % 2).astype(np.int32)
    names = ["ids", "kind" if kinds else "", "words", "places", "kinds" if kinds else "", "scale", "shift", "mask"]
    nodes = [helper.make_node("EmbedLayerNormalization", names, ["y", "lengths"], "embed", domain=MICROSOFT, epsilon=1e-5)]
    arrays = {"words": real(20, SIZE), "places": real(9, SIZE), "kinds": real(2, SIZE), "scale": real(SIZE), "shift": real(SIZE)}
    same(model_of(nodes, inputs, arrays, 2), data)


class Blocks(nn.Module):
    """Every convolution that ONNX Runtime reorders: of the input, of blocks, of groups, of each channel, with sums and pools."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.again = nn.Conv2d(3, 20, 3, padding=1), nn.Conv2d(20, 20, 3, padding=1)
        self.each, self.point = nn.Conv2d(20, 20, 3, padding=1, groups=20), nn.Conv2d(20, 32, 1)
        self.groups, self.norm, self.last = nn.Conv2d(32, 32, 3, groups=2, padding=1), nn.BatchNorm2d(32), nn.Conv2d(52, 9, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = torch.relu(self.first(x))
        b = torch.relu(self.again(a) + a)
        d = torch.sigmoid(self.point(functional.max_pool2d(functional.hardtanh(self.each(b), 0, 6), 2)))
        e = self.norm(functional.leaky_relu(self.groups(d), 0.1))
        joined = functional.interpolate(torch.cat([e, functional.avg_pool2d(b, 2)], 1), scale_factor=2)
        result: torch.Tensor = self.last(joined).mean((2, 3))
        return result


def test_files_in_a_blocked_memory_layout(tmp_path: Path) -> None:
    torch.manual_seed(0)
    x = RNG.normal(size=(24, 3, 8, 8)).astype(np.float32)
    model = onnx_of(Blocks().eval(), torch.from_numpy(x[:2]), {0: "N"})
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    path = tmp_path / "blocked.onnx"
    options.optimized_model_filepath = str(path)
    onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    if "com.microsoft.nchwc" not in {node.domain for node in onnx.load(path).graph.node}:
        pytest.skip("ONNX Runtime has no blocked layout for this processor")
    program = snnir.compile(path, calibration=x, bits=8)  # which compares the import with ONNX Runtime
    expected = next(iter(run_onnxruntime(path, {"x": x}).values()))
    assert np.corrcoef(next(iter(program.run(x).outputs.values())).ravel(), expected.ravel())[0, 1] > 0.98
    assert program.verify(x[:4]).ok
