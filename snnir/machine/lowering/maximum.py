"""Max pooling of a spiking value."""

from __future__ import annotations

import numpy as np

from snnir.errors import UnsupportedError
from snnir.ir.graph import Node
from snnir.ir.ops import MaxPool
from snnir.machine.emitters import Max
from snnir.machine.lowering.context import Lowering, lowers
from snnir.machine.movement import Wiring


@lowers(MaxPool)
def max_pool(work: Lowering, node: Node) -> None:
    """The members of each window are routed side by side."""
    op, (value,) = node.expect(MaxPool), node.operands
    wiring = work.wiring(value)
    windows = op.windows(np.arange(wiring.index.size).reshape(1, *wiring.index.shape), -1)[0]
    shape = windows.shape[: windows.ndim - len(op.kernel)]
    members = windows.reshape(int(np.prod(shape)), -1)
    if (members < 0).all(axis=1).any():
        raise UnsupportedError(f"{node.describe()}: a window of max_pool lies in the padding only; it has no largest element")
    if (members < 0).any():  # padding never wins: another member of the window stands in for it
        first = members[np.arange(len(members)), (members >= 0).argmax(axis=1)]
        windows = np.where(members < 0, first[:, np.newaxis], members)
    held = wiring.index.reshape(-1)[windows]
    source = work.source(value, wiring=Wiring(wiring.roots, wiring.sizes, held))
    work.add(Max(work.root(node.output, shape), source.name, members.shape[1]))
