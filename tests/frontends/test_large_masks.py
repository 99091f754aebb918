"""Masks of the least finite number, -1e9 and -10000, and masks that are fed, hide from a softmax as minus infinity does."""

from __future__ import annotations

import math

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

import snnir
from snnir.errors import InputError
from tests.frontends.torch_modules import onnx_of

torch.set_num_threads(1)
LEAST = torch.finfo(torch.float32).min


class Attention(nn.Module):
    """Self-attention that hides some elements."""

    def __init__(self, kind: str, far: float) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 4)
        self.kind, self.far = kind, far

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        query, key, value = torch.tanh(self.query(x)), torch.tanh(self.key(x)), self.value(x)
        scores = query @ key.transpose(-1, -2) / math.sqrt(6)
        row = mask[:, None, :]
        if self.kind == "sum":
            scores = scores + (1.0 - row.float()) * self.far
        elif self.kind == "choice":
            scores = torch.where(row > 0, scores, self.far)
        elif self.kind == "filled":
            scores = scores.masked_fill(row == 0, self.far)
        elif self.kind == "product":
            hidden = torch.zeros_like(scores).masked_fill(row == 0, self.far)
            return torch.as_tensor(self.out(F.scaled_dot_product_attention(query, key, value, attn_mask=hidden)))
        elif self.kind == "both":
            seen = torch.tril(torch.ones(4, 4, dtype=torch.bool))
            scores = torch.where(seen, scores, self.far) + (1.0 - row.float()) * self.far
        elif self.kind == "known":
            scores = scores + torch.triu(torch.full((4, 4), self.far), 1)
        elif self.kind == "fed":
            scores = scores + row
        return torch.as_tensor(self.out(torch.softmax(scores, -1) @ value))


def drawn(kind: str, far: float) -> dict[str, np.ndarray]:
    """Sequences of 2 to 4 elements, and what of them is there; or what is added to their scores."""
    generator = np.random.default_rng(1)
    there = np.arange(4)[None] < generator.integers(2, 5, (32, 1))
    mask = (
        np.where(there, generator.normal(size=(32, 4)) / 2, far).astype(np.float32) if kind == "fed" else there.astype(np.int64)
    )
    return {"x": generator.normal(size=(32, 4, 6)).astype(np.float32), "mask": mask}


CASES = [
    *((kind, LEAST) for kind in ("sum", "choice", "filled", "product", "both", "known", "fed")),
    ("sum", -1e4),
    ("filled", -1e9),
    ("filled", -math.inf),
    ("fed", -math.inf),
]


@pytest.mark.parametrize(("kind", "far"), CASES)
def test_large_negative_numbers_hide(kind: str, far: float) -> None:
    torch.manual_seed(0)
    module, data = Attention(kind, far).eval(), drawn(kind, far)
    program = snnir.compile(module, calibration=data, bits=8)
    assert program.verify({name: array[:8] for name, array in data.items()}).ok
    (found,) = program.run(data).outputs.values()
    with torch.no_grad():
        expected = module(*map(torch.from_numpy, data.values())).numpy()
    assert np.corrcoef(found.reshape(-1), expected.reshape(-1))[0, 1] >= 0.999


def test_a_fed_mask_may_hold_minus_infinity_and_nothing_else_that_is_not_finite() -> None:
    torch.manual_seed(0)
    data = drawn("fed", -math.inf)
    program = snnir.compile(Attention("fed", -math.inf).eval(), calibration=data, bits=6)
    for wrong in (math.inf, math.nan):
        mask = data["mask"].copy()
        mask[0, 0] = wrong
        with pytest.raises(InputError, match="mask"):
            program.run({**data, "mask": mask})


def test_a_file_hides_as_its_module_does() -> None:
    class Known(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Attention("known", LEAST)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.as_tensor(self.inner(x, torch.ones(1, 4, dtype=torch.int64)))

    torch.manual_seed(0)
    x = drawn("known", LEAST)["x"]
    model = onnx.load_from_string(onnx_of(Known().eval(), torch.from_numpy(x), {0: "N"}))
    program = snnir.compile(model, calibration=x, bits=8)
    assert program.verify(x[:8]).ok and program.facts["host_nodes"] == []
