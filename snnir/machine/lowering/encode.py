"""Encoders become inputs."""

from __future__ import annotations

from snnir.errors import UnsupportedError
from snnir.ir.graph import Node
from snnir.ir.ops import Encode
from snnir.machine.lowering.context import Lowering, lowers
from snnir.machine.program import Input


@lowers(Encode)
def encode(work: Lowering, node: Node) -> None:
    """The host gives its levels."""
    (real,) = node.operands
    if real in work.late:
        raise UnsupportedError(
            f"{node.describe()}: encodes {real.name}, which the host knows only after the network; "
            "a machine program holds one spiking part, so compile the parts before and after it as models of their own"
        )
    train = work.root(node.output, work.sample(node.output))
    work.encoded.add(node.output)
    work.add(Input(train, work.prefix + real.name))
