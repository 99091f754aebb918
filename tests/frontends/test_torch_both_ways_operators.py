"""Operators in a small network, through torch.export and through ONNX: the same integers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from onnx import TensorProto, helper, numpy_helper
from torch import nn

import snnir
from tests.frontends.test_torch_both_ways import constants
from tests.frontends.torch_modules import data, onnx_of, randomised

PICK, OTHER, MASK = torch.tensor([0, 1]), torch.tensor([2, 0]), torch.tensor([True, False, True])
GRID = torch.rand(1, 3, 2, 2, generator=torch.Generator().manual_seed(3)) * 2.4 - 1.2
GAIN = torch.tensor([1.0, 0.5, 0.25, 0.0, 2.0])


class Around(nn.Module):
    """A function between two linear layers."""

    def __init__(self, function: Callable[..., Any], width: int) -> None:
        super().__init__()
        self.first, self.function, self.head = nn.Linear(width, width), function, nn.LazyLinear(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.function(torch.relu(self.first(x))).flatten(1))
        return logits


def chosen(x: torch.Tensor) -> torch.Tensor:
    return torch.cat([x[:, PICK, OTHER], x[:, MASK].flatten(1)], 1)


LEGACY: dict[str, tuple[Callable[..., Any], tuple[int, ...]]] = {
    "products": (lambda x: x.prod(1), (24, 3, 4)),
    "remainders": (lambda x: torch.fmod(x, 0.7) + torch.remainder(x, 0.3), (24, 5)),
    "chosen": (chosen, (24, 3, 4)),
    "exclusive": (lambda x: torch.logical_xor(x > 0.2, x < 0.6) * 1.0, (24, 5)),
    "unfold": (lambda x: F.unfold(x, 2, padding=1), (24, 2, 3, 4)),
    "fold": (lambda x: F.fold(x, (3, 4), 2), (24, 8, 6)),
    "sampled": (lambda x: F.grid_sample(x, GRID.expand(x.shape[0], 3, 2, 2), align_corners=False), (24, 2, 3, 4)),
    "stft": (lambda x: torch.stft(x, 4, 2, window=torch.hann_window(4), center=False, return_complex=False), (24, 12)),
}


def agree(module: nn.Module, model: bytes, x: torch.Tensor, test: np.ndarray | None = None) -> None:
    """The same levels of every value that is read out, the same weights and thresholds; and the spikes give them."""
    direct = snnir.compile(module, calibration=x.numpy(), bits=4)
    around = snnir.compile(model, calibration=x.numpy(), bits=4)
    exact = test is not None
    test = data(tuple(x.shape), seed=5)[0].numpy() if test is None else test
    assert np.array_equal(direct.reference(test)["output"], around.reference(test)["output"])
    # numbers beside integers are of the type that an exporter chose
    found = [[v for v in constants(p.graph("quantized")) if v.type.rank or not exact] for p in (direct, around)]
    integers = [sorted((v.type.shape, v.digest) for v in each) for each in found]
    assert integers[0] == integers[1]
    assert direct.verify(test[:4]).ok


def network(function: Callable[..., Any], shape: tuple[int, ...]) -> tuple[Around, torch.Tensor]:
    module, (x,) = Around(function, shape[-1]), data(shape)
    module(x)  # the size of the last layer
    randomised(module)
    return module, x


@pytest.mark.filterwarnings("ignore:stft with return_complex")
@pytest.mark.parametrize("name", LEGACY)
def test_operators_have_the_same_integers_both_ways(name: str) -> None:
    function, shape = LEGACY[name]
    module, x = network(function, shape)
    agree(module, onnx_of(module, x, {0: "N"}, opset=18), x)


Nodes = list[tuple[str, list[str], dict[str, Any]]]
"""ONNX operator, operands after the value so far, attributes."""

WRITTEN: dict[str, tuple[Callable[..., Any], int, Nodes]] = {
    "cumprod": (lambda x: x.cumprod(1), 5, [("CumProd", ["one"], {})]),
    "rfft": (
        lambda x: torch.view_as_real(torch.fft.rfft(x, norm="backward")),
        6,
        [("Unsqueeze", ["minus"], {}), ("DFT", ["", "one"], {"onesided": 1})],
    ),
    "filter": (
        lambda x: torch.fft.irfft(torch.fft.rfft(x) * GAIN),
        8,
        [
            ("Unsqueeze", ["minus"], {}),
            ("DFT", ["", "one"], {"onesided": 1}),
            ("Mul", ["gain"], {}),
            ("DFT", ["eight", "one"], {"onesided": 1, "inverse": 1}),
        ],
    ),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_what_pytorch_cannot_export_to_onnx_has_the_integers_of_its_onnx_operators(name: str) -> None:
    function, width, nodes = WRITTEN[name]
    module, x = network(function, (24, width))
    agree(module, written(module, width, nodes), x)


def written(module: Around, width: int, nodes: Nodes) -> bytes:
    """The network as an ONNX model with `nodes` for its function."""
    layers = {"first": module.first, "head": module.head}
    tensors = {f"{name}.weight": layer.weight for name, layer in layers.items()}
    tensors |= {f"{name}.bias": layer.bias for name, layer in layers.items()}
    arrays = {name: tensor.detach().numpy() for name, tensor in tensors.items()}
    arrays |= {"minus": np.array([-1]), "one": np.array(1), "eight": np.array(8), "gain": GAIN.numpy()[:, None]}
    made = [helper.make_node("Gemm", ["x", "first.weight", "first.bias"], ["linear"], transB=1)]
    made.append(helper.make_node("Relu", ["linear"], ["value0"]))
    for place, (operator, operands, attributes) in enumerate(nodes):
        names = [f"value{place}", *operands]
        made.append(helper.make_node(operator, names, [f"value{place + 1}"], **attributes))
    made.append(helper.make_node("Flatten", [f"value{len(nodes)}"], ["flat"]))
    made.append(helper.make_node("Gemm", ["flat", "head.weight", "head.bias"], ["output"], transB=1))
    graph = helper.make_graph(
        made,
        "written",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", width])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["N", 2])],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    model: bytes = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 26)], ir_version=11).SerializeToString()
    assert onnx.load_from_string(model).graph.node
    return model
