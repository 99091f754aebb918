"""Convolutions whose kernels come with the sample, as trackers compare a template with a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.helper import make_node as node
from torch import nn

import snnir
from snnir.frontends.onnx import run_onnxruntime

RNG = np.random.default_rng(0)


def model_of(kernel: Sequence[int], groups: int, outputs: int, bias: bool, **attributes: Any) -> onnx.ModelProto:
    """`conv(relu(x), relu(k))` for one sample, with x[1, 4, 7, 6] and kernels of any shape that take as many numbers."""
    count = int(np.prod(kernel))
    nodes = [
        node("Relu", ["x"], ["a"]),
        node("Relu", ["k"], ["b"]),
        node("Reshape", ["b", "shape"], ["w"]),
        node("Conv", ["a", "w", *(["c"] if bias else [])], ["y"], group=groups, **attributes),
    ]
    arrays = {"shape": np.array(kernel), "c": RNG.normal(size=outputs).astype(np.float32)}
    shapes = {"x": [1, 4, 7, 6], "k": [1, count]}
    given = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    results = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * 4)]
    graph = helper.make_graph(nodes, "template", given, results, [numpy_helper.from_array(a, n) for n, a in arrays.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


@pytest.mark.parametrize(
    ("kernel", "groups", "bias", "attributes"),
    [
        ((4, 1, 3, 3), 4, False, {}),
        ((3, 4, 3, 2), 1, True, {"pads": [1, 0, 2, 1], "strides": [2, 1]}),
        ((6, 2, 2, 2), 2, True, {"dilations": [2, 1], "pads": [2, 0, 2, 1]}),
    ],
)
def test_kernels_that_come_with_the_sample(kernel: Sequence[int], groups: int, bias: bool, attributes: dict[str, Any]) -> None:
    model = model_of(kernel, groups, kernel[0], bias, **attributes)
    data = {"x": RNG.normal(size=(12, 4, 7, 6)), "k": RNG.normal(size=(12, int(np.prod(kernel))))}
    data = {name: array.astype(np.float32) for name, array in data.items()}
    program = snnir.compile(model, calibration=data, bits=8)
    expected = run_onnxruntime(model, data)["y"]
    assert program.verify(data).ok
    assert np.corrcoef(program.run(data).outputs["y"].ravel(), expected.ravel())[0, 1] > 0.999


class Standardised(nn.Module):
    """A convolution whose weights are computed of constants: it stays one."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = self.conv.weight
        return torch.relu(nn.functional.conv2d(x, weight / weight.abs().sum(), self.conv.bias))


def test_weights_that_constants_give_stay_weights() -> None:
    module, x = Standardised().eval(), RNG.normal(size=(8, 2, 5, 5)).astype(np.float32)
    program = snnir.compile(module, calibration=x)
    assert "conv" in {node.op.name for node in program.graph("float").nodes}
    assert program.verify(x).ok
