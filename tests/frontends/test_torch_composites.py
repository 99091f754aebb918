"""Keeping fewer composite operators whole gives the same programs."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import nn
from torch.export import exported_program

from snnir.frontends.torch.composites import few_composites
from snnir.frontends.torch.export import functional
from snnir.frontends.torch.layers import KeepLayers

exported: Any = exported_program


class Many(nn.Module):
    """Composite operators, some in place, inside a branch of reshapes and an attention."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.linear = nn.Conv1d(3, 4, 3, padding="same"), nn.BatchNorm1d(4), nn.Linear(8, 6)
        self.gru, self.attention = nn.GRU(6, 6, batch_first=True), nn.MultiheadAttention(6, 2, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = nn.functional.relu_(self.norm(self.conv(x)))
        y = nn.functional.silu(self.linear(y.flatten(1).view(-1, 4, 8)))
        y = torch.selu(self.gru(nn.functional.layer_norm(y, (6,)))[0])
        result: torch.Tensor = torch.einsum("ntc,nuc->ntu", y, self.attention(y, y, y)[0]).chunk(2, 1)[0].square_()
        return result


def test_the_programs_are_those_of_pytorch_that_keeps_all() -> None:
    torch.manual_seed(0)
    collect = exported._collect_all_valid_cia_ops
    with warnings.catch_warnings(), torch.no_grad(), KeepLayers():
        warnings.simplefilter("ignore")
        program = torch.export.export(Many().eval(), (torch.randn(2, 3, 8),))
        expected = program.run_decompositions({})
    found = functional(program)
    assert str(found.graph) == str(expected.graph)
    assert exported._collect_all_valid_cia_ops is collect
    with few_composites(program):
        kept = exported._collect_all_valid_cia_ops()
    assert torch.ops.aten.linear.default in kept and len(kept) < len(collect()) / 2
