"""Integers and truth that change with the input: what PyTorch computes, at every width; and the same spikes both ways."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import snnir
from snnir.ir.execute import execute
from tests.frontends.test_torch_both_ways_operators import agree
from tests.frontends.torch_modules import TOLERANCE, Function, onnx_of, randomised

KINDS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
TABLE = torch.tensor([5, 1, 9, 7, 3, 3, 2])
CASES: dict[str, Callable[[torch.Tensor, torch.Tensor], Any]] = {
    "sums": lambda a, b: (a + b, a - b, a * b, a + 2, 3 - a, torch.add(a, b, alpha=2), a * TABLE, a + (b > 3)),
    "quotients": lambda a, b: (a // b, a // 3, torch.div(a, b, rounding_mode="trunc"), torch.div(a, 5, rounding_mode="floor")),
    "remainders": lambda a, b: (a % b, torch.fmod(a, b), a % 5, torch.fmod(a, 7)),
    "bits": lambda a, b: (a & b, a | b, a ^ b, ~a, a & 7, a << (b & 7), a >> (b & 7), a << 2, a >> 1),
    "relations": lambda a, b: (a < b, a <= b, a > b, a >= b, a == b, a != b, a > 3, (a > 3) == (b > 5), (a > 3) >= (b > 5)),
    "truth": lambda a, b: ((a > 3) & (b < 5) | ~(a > 3), (a > 3) ^ (b > 1), torch.logical_and(a, b), torch.logical_not(a)),
    "logic": lambda a, b: (torch.logical_or(a > 2, b > 3), torch.logical_xor(a, b), (a > 1) + (b > 1), (a > 1) * (b > 1)),
    "choices": lambda a, b: (torch.where(a > b, a, b), torch.where(a > 3, a, 0), a.masked_fill(a > 3, 1), torch.maximum(a, b)),
    "bounds": lambda a, b: (torch.minimum(a, b), a.clamp(1, 50), a.clamp_min(2), a.clamp(max=b), torch.relu(a)),
    "signs": lambda a, b: (
        -a,
        a.sign(),
        a.square(),
        (a & 3) ** 2,
        torch.pow(a & 3, b & 1),
        (a >> 1).abs() if a.is_signed() else a,
    ),
    "axes": lambda a, b: (a.sum(1), a.sum((0, 1)), (a % 4).prod(1), a.cumsum(1), (a % 3).cumprod(1), a.amax(1), a.amin((0, 1))),
    "extremes": lambda a, b: (*a.max(1), a.min(1, keepdim=True)[0], a.max(), a.argmax(1), a.argmin(1), a.any(1), (a > 3).all(1)),
    "casts": lambda a, b: (
        a.to(torch.int16),
        a.to(torch.uint8),
        a.bool(),
        (a > 3).long(),
        a.float(),
        a.double(),
        (a > 3).float(),
    ),
    "promoted": lambda a, b: (a / b, a * 0.5, (a > 0.5).int(), a.float().mean(1), a.sum(1, dtype=torch.float32), a.long() + b),
    "mixed": lambda a, b: (a.int() * b.to(torch.uint8), torch.where(a > b, a.float(), 0.5), (a.sin() > 0).long() + a),
    "moved": lambda a, b: (torch.cat([a, b], 1), a[:, 1:3], a.reshape(-1), a.flip(1), a.t(), torch.stack([a, b])),
}


def drawn(kind: torch.dtype, seed: int) -> torch.Tensor:
    """All bits of a type, but no divisor that PyTorch refuses, or that has no quotient (the least integer by -1)."""
    bounds, generator = torch.iinfo(kind), torch.Generator().manual_seed(seed)
    x = torch.randint(max(bounds.min, -(2**62)), min(bounds.max, 2**62), (6, 7), dtype=kind, generator=generator)
    return torch.where((x == 0) | (x == -1), torch.tensor(3, dtype=kind), x)


def equal(function: Callable[..., Any], *inputs: torch.Tensor) -> None:
    """The graph gives what PyTorch gives: integers exactly, and of their type."""
    module = Function(lambda *x: list(function(*x))).eval()
    graph = snnir.import_model(module, example_inputs=inputs)
    arrays = {value.name: x.numpy() for value, x in zip(graph.inputs, inputs, strict=True)}
    found, expected = list(execute(graph, arrays).values()), [tensor.numpy() for tensor in module(*inputs)]
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.shape == theirs.shape
        if theirs.dtype.kind in "iu":
            assert ours.dtype == theirs.dtype
        if theirs.dtype.kind == "f":
            assert np.abs(ours - theirs).max() <= TOLERANCE * max(float(np.abs(theirs).max()), 1e-3)
        else:
            assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("name", CASES)
def test_integers_are_what_pytorch_computes(name: str) -> None:
    for kind in KINDS if name not in ("moved", "axes", "logic") else (torch.uint8, torch.int64):
        equal(CASES[name], drawn(kind, 1), drawn(kind, 2))


def test_integers_of_real_numbers() -> None:
    """Truncation, truth, and places of the largest; truth as an input."""
    x, mask = torch.randn(6, 7, generator=torch.Generator().manual_seed(0)), drawn(torch.uint8, 1) > 99
    equal(lambda x: ((3 * x).long(), (x > 0).long(), x.bool(), (x > 0).to(torch.uint8) + 1, x.argmax(1) * 2 + 1), x)
    equal(lambda x, mask: (x * mask, torch.where(mask, x, 0.0), mask & (x > 0), (~mask).long() + 1), x, mask)


class Packed(nn.Module):
    """Two numbers in each integer, as sensors pack them, which a network reads."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(10, 8), nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = torch.cat([x // 16, x % 16], 1)
        larger = torch.where(parts > 7, parts - 7, parts * 2)
        logits: torch.Tensor = self.head(torch.relu(self.first(larger.float() * 0.1)))
        return logits


@pytest.mark.parametrize("kind", [torch.uint8, torch.int64])
def test_integers_have_the_same_spikes_both_ways(kind: torch.dtype) -> None:
    x = torch.randint(0, 256, (24, 5), dtype=kind, generator=torch.Generator().manual_seed(0))
    module = randomised(Packed())
    agree(module, onnx_of(module, x, {0: "N"}, opset=18), x, x.flip(0, 1).numpy())
