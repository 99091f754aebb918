"""Operators beyond layers and activations: normalisations, resizing, choices, comparisons, tokens; and the whole registry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

import snnir
from snnir.errors import UnsupportedError
from snnir.frontends.onnx import onnx_operators
from snnir.frontends.torch import torch_operators
from tests.frontends.torch_modules import Function, check, randomised, same

MASK = torch.tensor([True, False, True, False])
W = torch.randn(4, 3, generator=torch.Generator().manual_seed(3))


class Bilinear(nn.Bilinear):
    """Without a bias too."""

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> Any:
        return super().forward(x, y), F.bilinear(x, y, self.weight)


Case = tuple[nn.Module | Callable[..., Any], list[tuple[int, ...]]]

CASES: dict[str, Case] = {
    "layer_norm": (nn.LayerNorm(4), [(2, 3, 4)]),
    "layer_norm_plain": (nn.LayerNorm((3, 4), elementwise_affine=False), [(2, 3, 4)]),
    "rms_norm": (nn.RMSNorm(4), [(2, 3, 4)]),
    "group_norm": (nn.GroupNorm(2, 4), [(2, 4, 5)]),
    "instance_norm": (nn.InstanceNorm1d(3), [(2, 3, 5)]),
    "instance_norm_affine": (nn.InstanceNorm2d(3, affine=True), [(2, 3, 5, 4)]),
    "local_response_norm": (nn.LocalResponseNorm(3), [(2, 5, 6)]),
    "normalize": (lambda x: F.normalize(x, dim=1), [(2, 4, 5)]),
    "norms": (lambda x: [x.norm(p=p, dim=1) for p in (1, 2, 3, float("inf"))], [(2, 4)]),
    "var_std": (lambda x: (x.var(1), x.std(1, keepdim=True), x.var(1, unbiased=False), torch.var_mean(x, 1)), [(2, 4)]),
    "logsumexp": (lambda x: x.logsumexp(1), [(2, 4)]),
    "conv_transpose1d": (nn.ConvTranspose1d(3, 4, 3, 2, 1, 1), [(2, 3, 6)]),
    "conv_transpose1d_groups": (nn.ConvTranspose1d(4, 6, 3, dilation=2, groups=2, bias=False), [(2, 4, 6)]),
    "conv_transpose2d": (nn.ConvTranspose2d(3, 4, (3, 2), (2, 1)), [(2, 3, 4, 5)]),
    "conv_transpose3d": (nn.ConvTranspose3d(2, 3, 2, 2), [(2, 2, 3, 3, 3)]),
    "upsample_nearest": (nn.Upsample(size=(7, 5)), [(2, 3, 3, 4)]),
    "upsample_nearest3d": (nn.Upsample(scale_factor=2), [(2, 2, 3, 3, 2)]),
    "upsample_exact": (lambda x: F.interpolate(x, scale_factor=1.7, mode="nearest-exact"), [(2, 3, 7)]),
    "upsample_linear": (lambda x: F.interpolate(x, size=4, mode="linear"), [(2, 3, 7)]),
    "upsample_bilinear": (nn.Upsample(scale_factor=1.5, mode="bilinear"), [(2, 3, 4, 6)]),
    "upsample_corners": (nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True), [(2, 3, 4, 6)]),
    "upsample_antialiased": (lambda x: F.interpolate(x, size=(3, 3), mode="bilinear", antialias=True), [(2, 3, 7, 6)]),
    "upsample_bicubic": (nn.Upsample(scale_factor=2, mode="bicubic"), [(2, 2, 4, 5)]),
    "upsample_trilinear": (nn.Upsample(scale_factor=2, mode="trilinear"), [(2, 2, 3, 3, 2)]),
    "interpolate_area": (lambda x: F.interpolate(x, size=3, mode="area"), [(2, 3, 7)]),
    "adaptive_unequal": (nn.AdaptiveAvgPool2d((3, 2)), [(2, 3, 4, 5)]),
    "adaptive_max_unequal": (nn.AdaptiveMaxPool2d((3, 2)), [(2, 3, 4, 5)]),
    "adaptive_max3d": (nn.AdaptiveMaxPool3d(2), [(2, 3, 4, 4, 4)]),
    "lp_pool": (nn.LPPool1d(2, 3, 2), [(2, 3, 9)]),
    "pixel_unshuffle": (nn.PixelUnshuffle(2), [(2, 3, 4, 4)]),
    "max_dim": (lambda x: x.max(1), [(2, 4, 3)]),
    "min_dim": (lambda x: x.min(-1), [(2, 4, 3)]),
    "amax_amin": (lambda x: (x.amax((1, 2)), x.amin(1, keepdim=True)), [(2, 4, 3)]),
    "aminmax": (lambda x: tuple(torch.aminmax(x, dim=1)), [(2, 4)]),
    "argmin": (lambda x: x.argmin(1, keepdim=True), [(2, 4)]),
    "topk": (lambda x: tuple(x.topk(2, 1)), [(2, 5)]),
    "sort": (lambda x: (*x.sort(1), x.argsort(1, descending=True)), [(2, 5)]),
    "maximum": (lambda x, y: torch.maximum(x, y) - torch.min(x, y), [(2, 5), (2, 5)]),
    "maximum_known": (lambda x: torch.maximum(x, W[:, 0]), [(2, 4)]),
    "clamp_tensors": (lambda x: torch.clamp(x, min=W[:, 0] - 1, max=W[:, 0] + 1), [(2, 4)]),
    "where_known": (lambda x, y: torch.where(MASK, x, y) + torch.where(MASK, x, 0.0), [(2, 4), (2, 4)]),
    "where_compared": (lambda x, y: torch.where(x > y, x, 0.1 * y), [(2, 4), (2, 4)]),
    "masked_fill": (lambda x: x.masked_fill(MASK, -1.0) + x.masked_fill(x < 0, 0.5), [(2, 4)]),
    "comparisons": (lambda x, y: x * (x > 0.5) + y * (x <= 0) + (x >= y).float() + (x < y), [(2, 4), (2, 4)]),
    "equality": (lambda x: (x.round() == 1).float() + 2 * (x.round() != 0), [(2, 4)]),
    "masks": (lambda x: ((x > 0) & (x < 1) | ~(x > -1)).float() + (MASK & (x > 0)).float(), [(2, 4)]),
    "threshold_any": (lambda x: F.threshold(x, -0.3, 0.7) + F.threshold(x, 0.5, 0.5), [(2, 4)]),
    "leaky_relu_negative": (nn.LeakyReLU(-0.1), [(2, 4)]),
    "prelu_channels": (nn.PReLU(3), [(2, 3, 4)]),
    "curves": (lambda x: (x.sinh(), x.cosh(), x.asinh(), x.tan(), x.expm1(), x.exp2(), torch.erfc(x)), [(2, 4)]),
    "arcs": (
        lambda x: (torch.asin(x.sin()), torch.acos(x.sin()), torch.atanh(0.9 * x.sin()), torch.acosh(2 + x.sin())),
        [(2, 4)],
    ),
    "rounding": (lambda x: (x.trunc(), x // 0.5, torch.div(x, 0.5, rounding_mode="floor")), [(2, 4)]),
    "einsum": (lambda x, y: torch.einsum("nti,nsi->nts", x, y), [(2, 3, 4), (2, 5, 4)]),
    "einsum_known": (lambda x: torch.einsum("...i,io->...o", x, W), [(2, 5, 4)]),
    "baddbmm": (lambda a, x, y: torch.baddbmm(a, x, y, beta=0.5, alpha=2), [(2, 3, 5), (2, 3, 4), (2, 4, 5)]),
    "bilinear": (Bilinear(4, 5, 3), [(2, 3, 4), (2, 3, 5)]),
    "attention": (lambda q: F.scaled_dot_product_attention(q, q, q), [(2, 2, 5, 4)]),
    "attention_causal": (lambda q: F.scaled_dot_product_attention(q, q, q, is_causal=True), [(2, 2, 5, 4)]),
    "cumsum": (lambda x: x.cumsum(1), [(2, 4)]),
    "triangles": (lambda x: x.tril() + x.triu(1), [(2, 4, 4)]),
    "roll": (lambda x: x.roll((1, -2), (1, 2)), [(2, 4, 3)]),
    "unfold": (lambda x: x.unfold(1, 3, 2), [(2, 7, 3)]),
    "gather": (lambda x: x.gather(1, torch.tensor([[0, 1]]).expand(x.shape[0], 2)), [(2, 4)]),
    "reflection_pad2d": (nn.ReflectionPad2d(1), [(2, 3, 4, 4)]),
    "replication_pad3d": (nn.ReplicationPad3d(1), [(2, 3, 3, 3, 3)]),
}


@pytest.mark.parametrize("name", CASES)
def test_operators(name: str) -> None:
    made, shapes = CASES[name]
    check(made if isinstance(made, nn.Module) else Function(made), *shapes)


def test_writing_in_place() -> None:
    def written(x: torch.Tensor) -> torch.Tensor:
        y = x.clone()
        y[:, 0] = 0.0
        y[:, 2:] = x[:, :1]
        return y

    check(Function(written), (2, 4))


class Tokens(nn.Module):
    """Tokens choose rows of a table, which a recurrent layer reads."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.rnn = nn.Embedding(5, 3), nn.GRU(3, 4, batch_first=True)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        last: torch.Tensor = self.rnn(self.table(tokens))[1][0]
        return last


def test_tokens_choose_rows() -> None:
    module = randomised(Tokens())
    example = torch.tensor([[1, 2, 0], [4, 3, 3]])
    graph = snnir.import_model(module, example_inputs=example)
    assert str(graph.inputs[0].type) == "NxT:f32"
    generator = torch.Generator().manual_seed(0)
    same(module, graph, torch.randint(0, 5, (4, 6), generator=generator), example=example)
    data = torch.randint(0, 5, (32, 6), generator=generator).numpy()
    program = snnir.compile(module, example_inputs=example, calibration=data, bits=4)
    assert program.verify(data).ok
    hot = Function(lambda x: F.one_hot(x, 5) * 1.0).eval()
    same(hot, snnir.import_model(hot, example_inputs=example), example, example=example)


def test_a_module_of_every_kind_becomes_exact_spikes() -> None:
    """Ops that spike, in one network, to the end."""
    module = nn.Sequential(
        nn.Conv1d(3, 6, 3, padding=1),
        nn.PReLU(6),
        nn.ConvTranspose1d(6, 4, 2, 2),
        Function(lambda x: torch.maximum(x, 0.3 * x.roll(1, 2)).cumsum(1) * 0.5),
        nn.Hardswish(),
        nn.Upsample(scale_factor=0.5, mode="linear"),
        Function(lambda x: torch.where(x > 0.2, x, -x)),
        nn.AdaptiveAvgPool1d(3),
        nn.Flatten(),
        nn.Linear(12, 2),
    )
    x = torch.randn(24, 3, 8, generator=torch.Generator().manual_seed(0)).numpy()
    program = snnir.compile(randomised(module), calibration=x, bits=4)
    assert program.verify(x[:6]).ok


def test_pytorch_reaches_every_op_that_onnx_reaches() -> None:
    """An op that is written for one frontend is not forgotten in the other."""
    declared = {"extend"}  # borders other than zeros and constants are gathers where the size is known, as PyTorch needs it
    missing = set(onnx_operators()) - set(torch_operators()) - declared
    declared |= {"fake_quantize"}  # PyTorch's quantized models come as ONNX
    declared |= {"non_max_suppression"}  # torchvision's, not PyTorch's
    declared |= {"shrink", "hardmax"}  # PyTorch's hardshrink and softshrink become differences; it has no hardmax
    declared |= {"bit_cast", "narrow", "range"}  # bits read as another type, real numbers of few bits, and lengths that data tell
    declared |= {"store", "dynamic_store"}  # as fake_quantize
    declared |= {"find", "max_pool_places", "reverse_parts"}  # words, places in a flat tensor, lengths that data tell
    assert missing <= declared, missing


def test_what_no_op_computes_is_refused() -> None:
    for function in (torch.mode, torch.cummax):
        with pytest.raises(UnsupportedError, match=rf"aten.{function.__name__}.* in Function / \(.*py, line"):
            snnir.import_model(Function(lambda x, f=function: f(x, 1)[0]).eval(), example_inputs=torch.randn(2, 3))
    with pytest.raises(UnsupportedError, match=r"aten.index.Tensor in Function / .*changes with the input"):
        snnir.import_model(Function(lambda x: x[x > 0]).eval(), example_inputs=torch.randn(2, 3))
