"""From a trained module back to a spiking graph, which any backend runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from snnir.backends.torch_spiking.neurons import Summing
from snnir.backends.torch_spiking.synapses import Synapse, whole
from snnir.ir.graph import Graph, Node, Value
from snnir.ir.ops import Population, Readout
from snnir.ir.rewrite import Rewriter, rebuild

__all__ = ["with_parameters"]


@torch.no_grad()
def with_parameters(graph: Graph, parts: Mapping[Node, nn.Module]) -> Graph:
    """`graph` with the whole numbers that the parameters of `parts` stand for; what was certified of it is taken back."""

    def rule(rewriter: Rewriter, node: Node, operands: tuple[Value, ...]) -> tuple[Value, ...] | None:
        part, new = parts.get(node), list(operands)

        def set_(index: int, real: Tensor, unit: Tensor) -> None:
            new[index] = rewriter.constant(node.operands[index].name, _smallest(whole(real, unit)))

        if isinstance(part, Synapse):
            set_(1, part.weight, part.unit)
            if part.bias is not None:
                set_(2, part.bias, part.bias_unit)
            return rewriter.copy(node, new)
        if isinstance(part, Summing):
            set_(1, part.bias, part.unit)
            op = node.op
            if isinstance(op, Population):
                return rewriter.copy(node, new, replace(op, accumulator=(), membrane=(), settle=-1))
            assert isinstance(op, Readout)
            return rewriter.copy(node, new, replace(op, accumulator=()))
        return None

    return rebuild(graph, rule)[0]


def _smallest(integers: Tensor) -> np.ndarray:
    """Whole numbers in the smallest integer type that holds them."""
    array = integers.cpu().numpy()
    largest = np.abs(array).max(initial=0)
    return array.astype(next(dtype for dtype in (np.int8, np.int16, np.int32, np.int64) if largest <= np.iinfo(dtype).max))
