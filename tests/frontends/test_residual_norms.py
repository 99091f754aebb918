"""A residual sum around a normalisation, anywhere: check and compile agree, and the host keeps only what is at the ends."""

from __future__ import annotations

from itertools import product

import numpy as np
import onnx
import pytest
import torch
from torch import nn

import snnir
from tests.frontends.torch_modules import onnx_of

torch.set_num_threads(1)


class Residual(nn.Module):
    """A block `x + f(norm(x))` or `norm(x + f(x))` before, between or behind two layers."""

    def __init__(self, place: str, first: bool) -> None:
        super().__init__()
        self.norm, self.inner = nn.LayerNorm(6), nn.Linear(6, 6)
        self.before, self.behind = nn.Linear(6, 6), nn.Linear(6, 6)
        self.place, self.first = place, first

    def block(self, x: torch.Tensor) -> torch.Tensor:
        if self.first:
            return torch.as_tensor(x + torch.relu(self.inner(self.norm(x))))
        return torch.as_tensor(self.norm(x + torch.relu(self.inner(x))))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.place == "start":
            return torch.as_tensor(self.behind(torch.relu(self.before(self.block(x)))))
        h = torch.relu(self.before(x))
        if self.place == "end":
            return self.block(torch.relu(self.behind(h)))
        return torch.as_tensor(self.behind(torch.relu(self.block(h))))


def named(nodes: object) -> set[str]:
    assert isinstance(nodes, list)
    return {str(node).rsplit(" (", 1)[0] for node in nodes}


@pytest.mark.parametrize(("place", "first"), list(product(("start", "middle", "end"), (True, False))))
def test_check_and_compile_agree_on_a_residual_around_a_norm(place: str, first: bool) -> None:
    torch.manual_seed(0)
    x = torch.randn(32, 6)
    module = Residual(place, first).eval()
    model = onnx.load_from_string(onnx_of(module, x, {0: "N"}))
    with torch.no_grad():
        expected = module(x).numpy()
    found = []
    for allow_host in (False, True):
        checked = snnir.check(model, allow_host=allow_host)
        assert checked.ok, checked.refusals
        program = snnir.compile(model, calibration=x.numpy(), bits=8, allow_host=allow_host)
        host = named(program.facts["host_nodes"])
        said = {f"{node.operator} {node.name}" for node in checked.nodes if node.fate == "host"}
        # a norm that closes the model is read out before its root; check counts a node as spiking of which part spikes
        split = {"LayerNormalization /norm/LayerNormalization"} if (place, first) == ("end", False) else set()
        assert said <= host and host - said == split
        assert program.verify(x.numpy()[:8]).ok
        (output,) = program.run(x.numpy()).outputs.values()
        assert np.corrcoef(output.reshape(-1), expected.reshape(-1))[0, 1] >= 0.999
        found.append((host, program.facts["spiking_mac_share"]))
    assert found[0] == found[1]  # nothing needs the permission, so it changes nothing
    layers = {f"Gemm /{name}/Gemm" for name in ("before", "behind", "inner")}
    assert not layers & found[0][0]
    assert not found[0][0] or (place, first) == ("end", False)
