"""From a trained module back to a spiking graph, which any backend runs."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from snnir.backends.torch_spiking.parameters import Bias, Parameters, Weights, whole
from snnir.ir.graph import Graph, Node, Value
from snnir.ir.ops import Accumulate, Population, Readout
from snnir.ir.rewrite import Rewriter, rebuild

__all__ = ["with_parameters"]


@torch.no_grad()
def with_parameters(graph: Graph, parameters: Parameters) -> Graph:
    """`graph` with the integers that `parameters` stand for; what was certified of it is taken back."""

    def rule(rewriter: Rewriter, node: Node, operands: tuple[Value, ...]) -> tuple[Value, ...] | None:
        part, new, op = parameters.of(node), list(operands), node.op

        def set_(index: int, real: Tensor, unit: Tensor) -> None:
            new[index] = rewriter.constant(node.operands[index].name, _smallest(whole(real, unit)))

        if isinstance(part, Weights):
            set_(1, part.weight, part.unit)
            if part.bias is not None:
                set_(2, part.bias, part.bias_unit)
            return rewriter.copy(node, new)
        if isinstance(part, Bias):
            assert isinstance(op, Population | Readout | Accumulate)
            set_(op.bias_at, part.bias, part.unit)
            return rewriter.copy(node, new)
        return None

    return rebuild(graph, rule)[0]


def _smallest(integers: Tensor) -> np.ndarray:
    """Integers in the smallest type that holds them."""
    array = integers.cpu().numpy()
    largest = np.abs(array).max(initial=0)
    return array.astype(next(dtype for dtype in (np.int8, np.int16, np.int32, np.int64) if largest <= np.iinfo(dtype).max))
