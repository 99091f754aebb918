"""Places that a network chooses itself, in the middle of it: the module, and its file, become functions with 0 mismatches."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

import snnir
from snnir.errors import UnsupportedError
from tests.frontends.torch_modules import onnx_of

torch.set_num_threads(1)


class Experts(nn.Module):
    """A mixture of experts: each sample goes to the two of four that its gate ranks first."""

    def __init__(self, written: bool) -> None:
        super().__init__()
        self.inner, self.gate, self.out = nn.Linear(6, 6), nn.Linear(6, 4), nn.Linear(6, 3)
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 6)) for _ in range(4))
        self.written = written

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.inner(x))
        best, chosen = torch.topk(self.gate(x), 2, dim=-1)
        share = torch.softmax(best, -1)
        results = torch.stack([expert(x) for expert in self.experts], 1)
        if self.written:
            weights = torch.zeros_like(self.gate(x)).scatter(-1, chosen, share)
            return torch.as_tensor(self.out((weights[:, :, None] * results).sum(1)))
        taken = torch.gather(results, 1, chosen[:, :, None].expand(-1, -1, results.shape[-1]))
        return torch.as_tensor(self.out((share[:, :, None] * taken).sum(1)))


class Chosen(nn.Module):
    """Winners that stay, a code of a codebook, branches by a place, the element of a sequence that scores best."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.inner, self.score, self.codes = nn.Linear(6, 8), nn.Linear(8, 1), nn.Embedding(5, 8)
        self.out, self.other = nn.Linear(8, 3), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.relu(self.inner(x))
        if self.kind == "winners":
            h = h * torch.zeros_like(h).scatter(-1, torch.topk(h, 3, dim=-1)[1], 1.0)
        elif self.kind == "winners by their least":
            h = h * (h >= torch.topk(h, 3, dim=-1)[0][:, -1:]).float()
        elif self.kind == "code":
            h = torch.tanh(self.codes((2 * h @ self.codes.weight.t() - self.codes.weight.square().sum(1)).argmax(-1)))
        elif self.kind == "hot":
            h = F.one_hot(h.argmax(-1), 8).float()
        elif self.kind == "branch":
            place = h.argmax(-1, keepdim=True)
            return torch.as_tensor(torch.where(place == 2, self.out(h), self.other(h)) + self.out(h * (place > 3)))
        elif self.kind == "sorted":
            h = torch.sort(h, -1, descending=True)[0]
        elif self.kind == "element":
            h = h[torch.arange(h.shape[0]), self.score(h)[:, :, 0].argmax(-1)]
        return torch.as_tensor(self.out(h))


KINDS = ("winners", "winners by their least", "code", "hot", "branch", "sorted", "element")


def check(module: nn.Module, x: torch.Tensor, file: bool) -> None:
    data = x.numpy()
    program = snnir.compile(onnx.load_from_string(onnx_of(module, x, {0: "N"})) if file else module, calibration=data, bits=8)
    # the host may divide each input by a factor of its own, and does nothing else
    assert program.facts["host_nodes"] in ([], ["mul node 'x.even' (mul)"])
    assert program.verify(data[:8]).ok
    (found,) = program.run(data).outputs.values()
    with torch.no_grad():
        expected = module(x).numpy()
    assert np.corrcoef(found.reshape(-1), expected.reshape(-1))[0, 1] >= 0.98


@pytest.mark.parametrize("kind", ["experts taken", "experts written", *KINDS])
@pytest.mark.parametrize("file", [False, True], ids=["module", "file"])
def test_what_the_network_chooses_is_a_function(kind: str, file: bool) -> None:
    if kind == "element" and file:
        pytest.skip("the file counts its samples, and is refused by name")
    torch.manual_seed(0)
    module = (Experts(kind == "experts written") if kind.startswith("experts") else Chosen(kind)).eval()
    check(module, torch.randn(32, 4, 6) if kind == "element" else torch.randn(32, 6), file)


class Across(nn.Module):
    """Rows that a sample would take from another one."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.out = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.relu(self.inner(x))
        return torch.as_tensor(self.out(h[h.argmax(-1)]))


def test_rows_of_other_samples_are_refused_by_name() -> None:
    with pytest.raises(UnsupportedError, match="samples"):
        snnir.compile(Across().eval(), calibration=np.zeros((4, 6), np.float32))
