"""Slots of trains, and what gathers trains that routes move.

Every train that an emitter or a scan writes has a slot, where the kernel notes what was emitted last. What a route moves on the
way to a receiver is a train of its own, made by a `GATHER` where it is first read.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from snnir.backends.simulator.addresses import AddressMap, parts_of
from snnir.backends.simulator.kernels.constants import GATHER
from snnir.backends.simulator.rows import Rows
from snnir.backends.simulator.tables import GATHERED, PART
from snnir.machine.program import Route, Train

__all__ = ["Block", "Slots"]

Block = list[tuple[int, int]]
"""Instructions in order: a kind, and a row of the table of that kind."""


class Slots:
    """The trains of a program by name, the slots of those that are written or gathered, and the maps of the gathers."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.routes: dict[str, Route] = {}
        self.trains: dict[str, Train] = {}
        self.slots: dict[str, int] = {}
        self.slot_count = 0
        self.maps: list[np.ndarray] = []
        self.map_size = 0
        self.gathered: dict[tuple[int, tuple[str, ...]], int] = {}

    def _new_slot(self) -> int:
        self.slot_count += 1
        return self.slot_count - 1

    def slot(self, name: str) -> int:
        """The slot of a train."""
        if name not in self.slots:
            self.slots[name] = self._new_slot()
        return self.slots[name]

    def read(self, names: Sequence[str], code: Block) -> int:
        """The slot of trains side by side; gathered by an instruction where it is not one that is written as it is."""
        if len(names) == 1 and names[0] not in self.routes:
            return self.slot(names[0])
        key = id(code), tuple(names)
        if key not in self.gathered:
            sources, index = self.joined(names)
            sizes = [self.trains[source].size for source in sources]
            if len(sources) == 1 and np.array_equal(index, np.arange(sizes[0])):
                self.gathered[key] = self.slot(sources[0])
                return self.gathered[key]
            slots = [self.read([source], code) for source in sources]
            first = self.rows.count(PART)
            for slot, map_ in zip(slots, parts_of(index, sizes), strict=True):
                if map_ is not None:
                    self.rows.add(PART, slot, self.map(map_))
            self.gathered[key] = self._new_slot()
            code.append((GATHER, self.rows.add(GATHERED, self.gathered[key], first, self.rows.count(PART))))
        return self.gathered[key]

    def joined(self, names: Sequence[str]) -> tuple[list[str], np.ndarray]:
        """What trains side by side read: the sources, and which of their addresses each address is (-1: silent)."""
        sources: list[str] = []
        parts, first = [], 0
        for name in names:
            route = self.routes.get(name)
            own = [name] if route is None else list(route.sources)
            index = np.arange(self.trains[name].size) if route is None else route.map.array()
            parts.append(np.where(index >= 0, index + first, -1) if first else index)
            sources += own
            first += sum(self.trains[source].size for source in own)
        return sources, np.concatenate(parts)

    def map(self, map_: AddressMap) -> int:
        """Where a map stands: pointers into the flat array itself, then targets."""
        first = self.map_size
        pointers = map_.offsets.astype(np.int64) + first + map_.offsets.size
        self.maps += [pointers, map_.targets.astype(np.int64)]
        self.map_size += map_.offsets.size + map_.targets.size
        return first
