"""The fate of every node of a user's model: whether spikes compute it, the host does, or nothing has to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from snnir.compiler.model_check import NodeFate
from snnir.errors import Refusal
from snnir.ir.ops import Movement, Observe
from snnir.passes import Placed

if TYPE_CHECKING:
    from snnir.ir.lowering.survey import Survey

__all__ = ["computed", "fates"]

_MOVED = "that change their places"


def computed(placed: Placed) -> tuple[set[str], dict[str, str]]:
    """Origins of nodes that spikes compute, and of those of the host with where they stand."""
    spiking: set[str] = set()
    hosts: dict[str, str] = {}
    for _, node in placed.graph.walk():
        if isinstance(node.op, Observe):  # it carries the origin of what it observes
            continue
        if node not in placed.host:
            spiking.update(node.origin)
            continue
        place = "before the network" if placed.raw.issuperset(node.outputs) else "after the network"
        what = f"only the host computes {node.op.name}" if node.op.host else "it goes with what only the host computes"
        type_ = node.outputs[0].type
        kind = "words" if type_.dtype == "str" else "integers" if type_.is_exact else "real numbers"
        what = f"{kind} {_MOVED}" if isinstance(node.op, Movement) else what
        hosts.update((origin, f"{place}: {what}") for origin in node.origin)
    return spiking, hosts


def fates(
    known: Survey, refused: Sequence[Refusal], imported: set[str], spiking: set[str], hosts: Mapping[str, str]
) -> Iterator[NodeFate]:
    """What becomes of every node that `known` lists.

    `imported` are the origins of all nodes of the imported graph, `spiking` those that spikes compute, `hosts` those of the host
    with where they stand (`computed`).
    """
    reasons: dict[str, list[str]] = {}
    for refusal in refused:
        for origin in refusal.origins:
            reasons.setdefault(origin, []).append(refusal.reason)
    constant = known.constant()
    blocked = known.behind({origin for origin in reasons if origin not in imported})
    for node in known.nodes:
        if node.origin in reasons:
            fate, reason = "refused", "; ".join(dict.fromkeys(reasons[node.origin]))
        elif node.origin in blocked and node.origin not in imported:
            fate, reason = "blocked", "it takes what a refused node gives"
        elif node.origin in spiking:
            part = hosts.get(node.origin, "")
            fate, reason = "spiking", f"but for a part {part}" if part and not part.endswith(_MOVED) else ""
        elif node.origin in hosts:
            fate, reason = "host", hosts[node.origin]
        elif node.origin in imported:
            fate, reason = "folded", "merged into its neighbours"
        elif node.origin in constant:
            fate, reason = "folded", "known while compiling"
        else:
            fate, reason = "folded", "nothing is left to compute"
        yield NodeFate(node.operator, node.name, fate, reason, node.inside)
