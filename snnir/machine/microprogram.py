"""Microcode laid out flat: the registers of functions one behind the other, and the steps on them as rows of numbers.

What runs programs without Python (compiled kernels, the replay in C, sequencers of hardware) reads it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from snnir.machine.microcode import Step

__all__ = ["FLAT_KINDS", "Microprogram"]

FLAT_KINDS = (
    "add",
    "sub",
    "mul",
    "floor_div",
    "least",
    "most",
    "shift_left",
    "shift_right",
    "and",
    "join",
    "table",
    "sqrt",
    "bit_length",
    "sum",
    "max",
)
"""Kinds of steps by number; up to `and` those with two operands. Constants are no steps: registers hold them at first."""


class Microprogram:
    """The registers of all functions of a program, one behind the other, and the steps on them.

    A constant is what its register holds at first; maps of operands name entries of the registers themselves.
    """

    def __init__(self) -> None:
        self.size = 0
        self.constants: list[tuple[int, np.ndarray]] = []
        self.maps: list[np.ndarray] = []
        self.map_size = 0
        self.rows: list[tuple[int, ...]] = []
        """Kind, size, width, where the result begins, and for each of two operands where it begins and its map (-1: none)."""

    def room(self, size: int) -> int:
        """Where a register of that many entries begins."""
        first = self.size
        self.size += size
        return first

    def write(self, code: Sequence[Step], sources: Sequence[tuple[int, int]]) -> int:
        """Append the steps of one function, whose sources stand at (register, size). Returns where the last register begins."""
        registers = list(sources)
        for step in code:
            at = self.room(step.size)
            registers.append((at, step.size))
            if step.kind == "constant":
                self.constants.append((at, step.held))
                continue
            given = [registers[index] for index in step.operands]
            if step.kind == "join":
                x, y = (0, self._map(self._joined(step, given))), (0, -1)
            elif step.kind == "table":
                entries = self.room(step.held.size)
                self.constants.append((entries, step.held))
                x, y = self._operand(step, given, 0), (entries, -1)
            else:
                x = self._operand(step, given, 0)
                y = self._operand(step, given, 1) if len(given) > 1 else (0, -1)
            width = step.data.size if step.data is not None else step.width
            self.rows.append((FLAT_KINDS.index(step.kind), step.size, width, at, *x, *y))
        return registers[-1][0]

    def _joined(self, step: Step, given: Sequence[tuple[int, int]]) -> np.ndarray:
        places = np.concatenate([np.arange(first, first + size) for first, size in given])
        map_ = step.maps[0]
        index = np.arange(step.size) if map_ is None else map_.array()
        return np.where(index >= 0, places[np.maximum(index, 0)], -1)

    def _operand(self, step: Step, given: Sequence[tuple[int, int]], place: int) -> tuple[int, int]:
        first, _ = given[place]
        map_ = step.maps[place]
        return first, -1 if map_ is None else self._map(first + map_.array())

    def _map(self, index: np.ndarray) -> int:
        at = self.map_size
        self.maps.append(index.astype(np.int64))
        self.map_size += index.size
        return at

    def register_maps(self) -> np.ndarray:
        """The maps of operands, int64."""
        return np.concatenate([np.zeros(0, np.int64), *self.maps])

    def registers(self) -> np.ndarray:
        """What the registers hold at first, int64."""
        found = np.zeros(self.size, np.int64)
        for first, data in self.constants:
            found[first : first + data.size] = data
        return found
