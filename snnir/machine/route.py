"""Routes: events moved to other addresses, and trains joined."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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

    def problems(self, trains: Mapping[str, Train]) -> Iterator[str]:
        """What is not well-formed, given the trains of its sources."""
        total = sum(trains[source].size for source in self.sources)
        if not self.sources:
            yield "it has no source"
        elif not self.map.reaches(self.train.size, -1, total):
            yield f"its map has other than {self.train.size} integers in -1..{total - 1}"
