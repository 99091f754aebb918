"""Routes: events moved to other addresses, and trains joined."""

from __future__ import annotations

from dataclasses import dataclass

from snnir.machine.addresses import IndexMap
from snnir.machine.trains import Train

__all__ = ["Route"]


@dataclass(frozen=True, eq=False)
class Route:
    """Addresses: y[i] is event map[i] of the sources, one after another; -1 is silent."""

    train: Train
    sources: tuple[str, ...]
    map: IndexMap
