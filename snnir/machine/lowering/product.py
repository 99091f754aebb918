"""Products of two spiking values, spread over one another."""

from __future__ import annotations

import numpy as np

from snnir.ir import ops
from snnir.ir.graph import Node
from snnir.machine.lowering.context import Lowering, lowers
from snnir.machine.program import Product


@lowers(ops.Product)
def product(work: Lowering, node: Node) -> None:
    """Both factors are routed to the addresses of the result."""
    shape = np.broadcast_shapes(*(work.wiring(value).index.shape for value in node.operands))
    left, right = work.in_one_segment([work.source(value, shape) for value in node.operands])
    step = None if work.phases is None else work.phases.of[node.output].first
    work.add(Product(work.root(node.output, shape), (left.name, right.name), step))
