"""Modules that torch.ao quantized to integers keep their own levels; what it quantizes in every call is refused with a remedy."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.ao.quantization as quantization
from torch import nn
from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

import snnir
from snnir.errors import UnsupportedError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(48, 2, 6, 6)).astype(np.float32)


class Eager(nn.Module):
    """Stubs around a fused convolution, a sum, a pool, layers and an activation with levels of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.quant, self.dequant = quantization.QuantStub(), quantization.DeQuantStub()
        self.first, self.relu = nn.Conv2d(2, 4, 3, padding=1), nn.ReLU()
        self.second, self.pool = nn.Conv2d(4, 4, 3, padding=1), nn.MaxPool2d(2)
        self.third, self.swish, self.last = nn.Linear(36, 5), nn.Hardswish(), nn.Linear(5, 3)
        self.sum = torch.ao.nn.quantized.FloatFunctional()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.relu(self.first(self.quant(x)))
        h = self.pool(self.sum.add(h, self.second(h))).flatten(1)
        result: torch.Tensor = self.dequant(self.last(self.swish(self.third(h))))
        return result


class Plain(nn.Module):
    """What FX graph mode quantizes by itself: functions between layers too."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1), nn.Linear(288, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = torch.relu(self.first(x))
        result: torch.Tensor = self.last(torch.cat([self.second(a) + a, a], 1).flatten(1))
        return result


def _eager() -> nn.Module:
    module: Any = Eager().eval()
    quantization.fuse_modules(module, [["first", "relu"]], inplace=True)  # type: ignore[no-untyped-call]
    module.qconfig = quantization.get_default_qconfig("x86")  # type: ignore[no-untyped-call]
    quantization.prepare(module, inplace=True)  # type: ignore[no-untyped-call]
    module(torch.from_numpy(X))
    quantization.convert(module, inplace=True)  # type: ignore[no-untyped-call]
    return module  # type: ignore[no-any-return]


def _graph_mode() -> nn.Module:
    mapping = quantization.get_default_qconfig_mapping("x86")
    module = prepare_fx(Plain().eval(), mapping, (torch.from_numpy(X),))
    module(torch.from_numpy(X))
    return convert_fx(module)


@pytest.mark.skipif("x86" not in torch.backends.quantized.supported_engines, reason="PyTorch has no quantized kernels here")
@pytest.mark.parametrize("make", [_eager, _graph_mode])
def test_the_levels_of_a_quantized_module_are_kept(make: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = make()
        expected = module(torch.from_numpy(X)).numpy()
    before = {name: str(child) for name, child in module.named_modules()}
    program = snnir.compile(module, calibration=X, bits=8)
    assert {name: str(child) for name, child in module.named_modules()} == before  # the user's module is left alone
    found = next(iter(program.run(X).outputs.values()))
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.99
    assert program.verify(X[:8]).ok


def test_layers_quantized_in_every_call_are_refused_with_a_remedy() -> None:
    torch.manual_seed(0)
    x = RNG.normal(size=(32, 6)).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        float_module = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
        module: Any = quantization.quantize_dynamic(float_module, {nn.Linear}, dtype=torch.qint8)  # type: ignore[no-untyped-call]
    with pytest.raises(UnsupportedError, match=r"Linear /0.*requantize=True") as caught:
        snnir.compile(module, calibration=x)
    assert [refusal.node for refusal in caught.value.refusals] == ["Linear /0", "Linear /2"]
    program = snnir.compile(module, calibration=x, bits=8, requantize=True)
    found = next(iter(program.run(x).outputs.values()))
    assert np.corrcoef(found.ravel(), module(torch.from_numpy(x)).numpy().ravel())[0, 1] > 0.98


def test_fake_quantizers_of_a_module_are_its_levels() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(6, 8), nn.Linear(8, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = torch.fake_quantize_per_tensor_affine(x, 0.02, 128, 0, 255)
            h = torch.fake_quantize_per_tensor_affine(torch.relu(self.first(h)), 0.01, 0, 0, 255)
            result: torch.Tensor = self.last(h)
            return result

    torch.manual_seed(0)
    x = RNG.normal(size=(32, 6)).astype(np.float32)
    program = snnir.compile(Net().eval(), calibration=x, bits=4)
    assert program.verify(x).ok
    levels = {value.type.quantization for value in program.graph("quantized").values.values() if value.type.is_levels}
    assert {item.scale for item in levels if item is not None} >= {0.02, 0.01}
