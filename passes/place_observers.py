"""Where levels are needed: the observers that calibration fills and quantization turns into quantizers."""

from __future__ import annotations

from dataclasses import dataclass

from snnir.errors import Refusal, UnsupportedError
from snnir.ir import Graph, Node, Value
from snnir.ir.ops import (
    FakeQuantize,
)
from snnir.passes.functions.whole import whole_numbers
from snnir.passes.placement import Placer
from snnir.passes.scale_groups import scale_groups

__all__ = ["Placed", "place_observers", "try_observers"]


def place_observers(graph: Graph, allow_host: bool = False) -> Placed:
    """`graph` with an `observe` on every value that neurons will stand for.

    `allow_host` permits host ops inside the network (see `host_part.py`). Raises one `UnsupportedError` that lists every
    node without a spiking form.
    """
    placed = try_observers(graph, allow_host)
    if placed.refused:
        lines = "\n".join(f"  {refusal}" for refusal in placed.refused)
        raise UnsupportedError(f"these nodes have no exact spiking form:\n{lines}", placed.refused)
    return placed


@dataclass(frozen=True)
class Placed:
    """A graph with observers, and what was found on the way there."""

    graph: Graph
    refused: tuple[Refusal, ...]
    raw: frozenset[Value]
    """Values, of bodies too, that are known as real numbers before the network runs."""
    host: frozenset[Node]
    """Nodes, of bodies too, that compute with real numbers, before and after the network."""


def try_observers(graph: Graph, allow_host: bool = False) -> Placed:
    """The same for any graph, with all that is refused instead of an error."""
    placer = Placer(allow_host, whole_numbers(graph))
    placed = placer.place(graph, None)
    placer.refused += _disagreements(placed)
    return Placed(placed, tuple(dict.fromkeys(placer.refused)), frozenset(placer.raw), frozenset(placer.host))


def _disagreements(graph: Graph) -> list[Refusal]:
    """Quantizers of the model whose levels meet in data movement, and have different scales."""
    found = []
    for nodes in scale_groups(graph, FakeQuantize):
        by_scale = {node.op.quantization.scale: node for node in nodes if isinstance(node.op, FakeQuantize)}
        if len(by_scale) > 1:
            first, *others = by_scale.items()
            where = "; ".join(f"{node.describe()} ({scale:g})" for scale, node in others)
            reason = f"its levels have the scale {first[0]:g} and meet others, of {where}: quantize what they become by one scale"
            found.append(Refusal(f"{first[1].describe()} (op fake_quantize)", reason, first[1].origin))
    return found
