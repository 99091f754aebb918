"""Activations as modules and as functions compute what they compute in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from tests.frontends.torch_modules import Function, check

ACTIVATIONS: dict[str, tuple[nn.Module | None, Callable[..., Any]]] = {
    "relu": (nn.ReLU(), F.relu),
    "relu_in_place": (nn.ReLU(inplace=True), torch.relu),
    "relu6": (nn.ReLU6(), F.relu6),
    "sigmoid": (nn.Sigmoid(), torch.sigmoid),
    "tanh": (nn.Tanh(), torch.tanh),
    "hardtanh": (nn.Hardtanh(-0.5, 1.5), lambda x: F.hardtanh(x, -0.5, 1.5)),
    "hardsigmoid": (nn.Hardsigmoid(), F.hardsigmoid),
    "hardswish": (nn.Hardswish(), F.hardswish),
    "silu": (nn.SiLU(), F.silu),
    "gelu": (nn.GELU(), F.gelu),
    "gelu_tanh": (nn.GELU("tanh"), lambda x: F.gelu(x, approximate="tanh")),
    "mish": (nn.Mish(), F.mish),
    "elu": (nn.ELU(0.7), lambda x: F.elu(x, 0.7)),
    "selu": (nn.SELU(), F.selu),
    "celu": (nn.CELU(1.3), lambda x: F.celu(x, 1.3)),
    "softplus": (nn.Softplus(), F.softplus),
    "softplus_beta": (nn.Softplus(2.0), lambda x: F.softplus(x, 2.0)),
    "softsign": (nn.Softsign(), F.softsign),
    "leaky_relu": (nn.LeakyReLU(0.2), lambda x: F.leaky_relu(x, 0.2)),
    "prelu": (nn.PReLU(), None),  # type: ignore[dict-item]
    "prelu_channels": (nn.PReLU(3), None),  # type: ignore[dict-item]
    "rrelu": (nn.RReLU(), F.rrelu),
    "threshold": (nn.Threshold(0.3, 0.0), lambda x: F.threshold(x, 0.3, 0.0)),
    "logsigmoid": (nn.LogSigmoid(), F.logsigmoid),
    "softshrink": (nn.Softshrink(0.4), lambda x: F.softshrink(x, 0.4)),
    "hardshrink": (nn.Hardshrink(0.4), lambda x: F.hardshrink(x, 0.4)),
    "tanhshrink": (nn.Tanhshrink(), F.tanhshrink),
    "glu": (nn.GLU(), F.glu),
    "dropout": (nn.Dropout(0.5), lambda x: F.dropout(x, 0.5, False)),
    "identity": (nn.Identity(), lambda x: x.clone().contiguous()),
    "softmax": (nn.Softmax(1), lambda x: F.softmax(x, dim=1)),
    "log_softmax": (nn.LogSoftmax(-1), lambda x: F.log_softmax(x, -1)),
    "clamp": (None, lambda x: x.clamp(-0.5, 0.5)),
    "clamp_min": (None, lambda x: x.clamp_min(-0.5)),
    "clamp_max": (None, lambda x: torch.clamp(x, max=0.5)),
    "exp": (None, torch.exp),
    "erf": (None, torch.erf),
    "atan": (None, torch.atan),
    "sign": (None, torch.sign),
    "floor": (None, torch.floor),
    "ceil": (None, torch.ceil),
    "round": (None, torch.round),
    "abs": (None, torch.abs),
    "sin": (None, torch.sin),
    "cos": (None, torch.cos),
}


@pytest.mark.parametrize("form", ["module", "function"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name: str, form: str) -> None:
    module, function = ACTIVATIONS[name]
    chosen = module if form == "module" else function
    if chosen is None:
        pytest.skip("it has no such form")
    check(chosen if isinstance(chosen, nn.Module) else Function(chosen), (2, 3, 4))


POSITIVE: dict[str, Callable[..., Any]] = {
    "sqrt": torch.sqrt,
    "rsqrt": torch.rsqrt,
    "log": torch.log,
    "log1p": torch.log1p,
    "log2": torch.log2,
    "log10": torch.log10,
    "reciprocal": torch.reciprocal,
    "pow": lambda x: x**1.5,
    "root": lambda x: x**0.5,
    "exponent": lambda x: 2.0**x,
    "div": lambda x: 1.0 / x,
}


@pytest.mark.parametrize("name", POSITIVE)
def test_functions_of_positive_numbers(name: str) -> None:
    check(Function(POSITIVE[name]), (2, 3, 4), positive=True)
