"""Layers and functions of tensors compute what they compute in PyTorch."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

import snnir
import snnir.compiler.importing
from tests.frontends.torch_modules import Function, check

LAYERS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "linear": (nn.Linear(4, 3), (2, 4)),
    "linear_sequence": (nn.Linear(4, 3, bias=False), (2, 5, 4)),
    "conv1d": (nn.Conv1d(3, 4, 3, 2, 1), (2, 3, 9)),
    "conv1d_groups": (nn.Conv1d(4, 6, 3, dilation=2, groups=2, bias=False), (2, 4, 9)),
    "conv1d_same": (nn.Conv1d(3, 4, 4, padding="same"), (2, 3, 9)),
    "conv1d_valid": (nn.Conv1d(3, 4, 4, padding="valid"), (2, 3, 9)),
    "conv1d_circular": (nn.Conv1d(3, 4, 3, padding=1, padding_mode="circular"), (2, 3, 9)),
    "conv2d": (nn.Conv2d(2, 3, (3, 2), (2, 1), (1, 0)), (2, 2, 6, 5)),
    "conv2d_reflect": (nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"), (2, 2, 6, 5)),
    "conv3d": (nn.Conv3d(2, 3, 2), (2, 2, 4, 4, 4)),
    "batch_norm": (nn.BatchNorm1d(3), (2, 3)),
    "batch_norm_1d": (nn.BatchNorm1d(3, affine=False), (2, 3, 5)),
    "batch_norm_2d": (nn.BatchNorm2d(3, 1e-3), (2, 3, 4, 4)),
    "max_pool1d": (nn.MaxPool1d(3, 2, 1), (2, 3, 9)),
    "max_pool1d_dilated": (nn.MaxPool1d(2, 3, dilation=2), (2, 3, 9)),
    "max_pool2d": (nn.MaxPool2d((2, 3)), (2, 3, 6, 6)),
    "max_pool2d_ceil": (nn.MaxPool2d(3, 2, ceil_mode=True), (2, 3, 6, 6)),
    "avg_pool1d": (nn.AvgPool1d(3, 2, 1), (2, 3, 9)),
    "avg_pool2d": (nn.AvgPool2d(2, count_include_pad=False, padding=1), (2, 3, 6, 6)),
    "avg_pool2d_divisor": (nn.AvgPool2d(2, divisor_override=3), (2, 3, 6, 6)),
    "avg_pool3d": (nn.AvgPool3d(2), (2, 3, 4, 4, 4)),
    "adaptive_avg_pool1d": (nn.AdaptiveAvgPool1d(1), (2, 3, 8)),
    "adaptive_avg_pool2d": (nn.AdaptiveAvgPool2d(1), (2, 3, 4, 4)),
    "adaptive_avg_pool2d_many": (nn.AdaptiveAvgPool2d((2, 4)), (2, 3, 4, 4)),
    "adaptive_max_pool1d": (nn.AdaptiveMaxPool1d(2), (2, 3, 8)),
    "flatten": (nn.Flatten(), (2, 3, 4, 5)),
    "unflatten": (nn.Unflatten(1, (2, 3)), (2, 6)),
    "zero_pad": (nn.ZeroPad2d((1, 2, 0, 1)), (2, 3, 4, 4)),
    "constant_pad": (nn.ConstantPad1d(1, 0.5), (2, 3, 4)),
    "reflection_pad": (nn.ReflectionPad1d(2), (2, 3, 6)),
    "replication_pad": (nn.ReplicationPad1d((1, 2)), (2, 3, 6)),
    "circular_pad": (nn.CircularPad1d(1), (2, 3, 6)),
    "sequential": (nn.Sequential(nn.Conv1d(3, 4, 3), nn.BatchNorm1d(4), nn.ReLU(), nn.Flatten(), nn.Linear(28, 2)), (2, 3, 9)),
    "channel_shuffle": (nn.ChannelShuffle(2), (2, 4, 3, 3)),
    "pixel_shuffle": (nn.PixelShuffle(2), (2, 8, 3, 3)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name: str) -> None:
    module, shape = LAYERS[name]
    check(module, shape)


W = torch.randn(4, 3, generator=torch.Generator().manual_seed(3))


FUNCTIONS: dict[str, tuple[Callable[..., Any], list[tuple[int, ...]]]] = {
    "add": (lambda x, y: x + y, [(2, 3), (2, 3)]),
    "add_alpha": (lambda x, y: torch.add(x, y, alpha=0.5), [(2, 3), (2, 3)]),
    "add_scalar": (lambda x: x + 1, [(2, 3)]),
    "sub": (lambda x, y: x - 2 * y, [(2, 3), (2, 3)]),
    "rsub": (lambda x: 1 - x, [(2, 3)]),
    "rsub_alpha": (lambda x, y: torch.rsub(x, y, alpha=3), [(2, 3), (2, 3)]),
    "mul": (lambda x, y: x * y * 0.5, [(2, 3), (2, 3)]),
    "div": (lambda x: x / 3, [(2, 3)]),
    "neg": (lambda x: -x, [(2, 3)]),
    "square": (lambda x: x**2 + torch.square(x), [(2, 3)]),
    "addcmul": (lambda x, y: torch.addcmul(x, x, y, value=0.3), [(2, 3), (2, 3)]),
    "lerp": (lambda x, y: torch.lerp(x, y, 0.3), [(2, 3), (2, 3)]),
    "matmul": (lambda x: x @ W, [(2, 5, 4)]),
    "mm": (lambda x: torch.mm(x, W), [(2, 4)]),
    "bmm": (lambda x, y: torch.bmm(x, y), [(2, 3, 4), (2, 4, 5)]),
    "mv": (lambda x: torch.mv(x, W[:, 0]), [(2, 4)]),
    "addmm": (lambda x: torch.addmm(W[0], x, W), [(2, 4)]),
    "addmm_scaled": (lambda x: torch.addmm(W[0], x, W, beta=0.5, alpha=2.0), [(2, 4)]),
    "einsum": (lambda x: torch.einsum("nti,io->nto", x, W), [(2, 5, 4)]),
    "mean": (lambda x: x.mean(1), [(2, 5, 4)]),
    "mean_keep": (lambda x: x.mean((1, 2), keepdim=True), [(2, 5, 4)]),
    "sum": (lambda x: x.sum(-1), [(2, 5, 4)]),
    "argmax": (lambda x: x.argmax(1), [(2, 5)]),
    "view": (lambda x: x.view(x.shape[0], -1), [(2, 3, 4)]),
    "view_size": (lambda x: x.view(x.size(0), x.size(1) * x.size(2)), [(2, 3, 4)]),
    "reshape": (lambda x: x.reshape(-1, 2, 6), [(2, 3, 4)]),
    "permute": (lambda x: x.permute(0, 2, 1), [(2, 3, 4)]),
    "transpose": (lambda x: x.transpose(-1, 1), [(2, 3, 4)]),
    "swapaxes": (lambda x: x.swapaxes(1, 2), [(2, 3, 4)]),
    "movedim": (lambda x: x.movedim(1, -1), [(2, 3, 4, 2)]),
    "unsqueeze": (lambda x: x.unsqueeze(1), [(2, 3, 4)]),
    "squeeze": (lambda x: x.unsqueeze(1).squeeze(1), [(2, 3, 4)]),
    "slice": (lambda x: x[:, 1:3, ::2], [(2, 4, 6)]),
    "slice_end": (lambda x: x[:, -2:, :-1], [(2, 4, 6)]),
    "select": (lambda x: x[:, 1] + x[:, -1], [(2, 4, 6)]),
    "narrow": (lambda x: x.narrow(1, 1, 2), [(2, 4, 6)]),
    "index_select": (lambda x: x.index_select(1, torch.tensor([3, 0])), [(2, 4)]),
    "index": (lambda x: x[:, [3, 0, 1]], [(2, 4)]),
    "flip": (lambda x: x.flip(1), [(2, 4, 3)]),
    "cat": (lambda x, y: torch.cat([x, y, x], 1), [(2, 3), (2, 4)]),
    "stack": (lambda x, y: torch.stack([x, y], 1), [(2, 3), (2, 3)]),
    "split": (lambda x: x.split(2, 1), [(2, 5)]),
    "split_sizes": (lambda x: torch.split(x, [2, 3], 1)[1], [(2, 5)]),
    "chunk": (lambda x: x.chunk(2, 1)[0] * x.chunk(2, 1)[1], [(2, 4)]),
    "unbind": (lambda x: x.unbind(1)[0] + x.unbind(1)[1], [(2, 2, 3)]),
    "expand": (lambda x: x.unsqueeze(1).expand(-1, 3, -1), [(2, 4)]),
    "expand_as": (lambda x, y: x.unsqueeze(1).expand_as(y), [(2, 4), (2, 3, 4)]),
    "repeat": (lambda x: x.repeat(1, 2), [(2, 4)]),
    "pad": (lambda x: F.pad(x, (1, 2)), [(2, 4)]),
    "pad_value": (lambda x: F.pad(x, (1, 2), value=-1.0), [(2, 4)]),
    "zeros": (lambda x: x + torch.zeros(x.shape[0], 4) + torch.ones_like(x), [(2, 4)]),
    "new_full": (lambda x: torch.cat([x, x.new_full((x.shape[0], 1), 0.5)], 1), [(2, 4)]),
    "tuple": (lambda x: (x + 1, [x * 2]), [(2, 4)]),
    "dict": (lambda x: {"a": x + 1, "b": {"c": x}}, [(2, 4)]),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name: str) -> None:
    function, shapes = FUNCTIONS[name]
    check(Function(function), *shapes)


def test_origins_are_module_paths() -> None:
    module = nn.Sequential(OrderedDict(features=nn.Sequential(nn.Conv1d(3, 4, 3), nn.ReLU()), head=Function(torch.tanh)))
    graph = snnir.import_model(module.eval(), example_inputs=torch.randn(2, 3, 8))
    assert [node.origin for node in graph.nodes] == [("Conv1d /features.0",), ("ReLU /features.1",), ("tanh /head",)]
