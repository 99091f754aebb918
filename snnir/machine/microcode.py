"""Microcode: the integer steps of a function, on registers of 64 bits.

A register holds integers of one sample; register i < number of sources holds what source i settled to, and every step writes
the next one. Steps read their operands through index maps, so that broadcasting and data movement need no step of their own
kind. Arithmetic keeps the lowest 64 bits; compilation proves that none are lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from snnir.errors import GraphError
from snnir.ir.ops.fixed_point import IntBitLength, IntFloorDiv, floor_sqrt
from snnir.machine.addresses import IndexMap

__all__ = ["KINDS", "Step", "compute"]


@dataclass(frozen=True, eq=False)
class Step:
    """One step: `kind` (one of `KINDS`) of registers `operands`, into a new register of `size` integers.

    Operand i is read at `maps[i]` (None: as it stands). `constant` gives `data`; `join` reads its one map over all operands one
    behind the other, -1 is 0; `sum` and `max` reduce each `width` neighbours of what the map reads; `table` reads `data` at
    its operand, held in its range.
    """

    kind: str
    operands: tuple[int, ...]
    maps: tuple[IndexMap | None, ...]
    size: int
    width: int = 1
    data: np.ndarray | None = None

    @property
    def held(self) -> np.ndarray:
        """The data of a `constant` or `table`. Raises `GraphError` for another kind, or where a file left it out."""
        if self.data is None:
            raise GraphError(f"a step of kind {self.kind} holds no data")
        return self.data


_BINARY: Mapping[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "floor_div": lambda x, y: IntFloorDiv().evaluate(x, y)[0],
    "least": np.minimum,
    "most": np.maximum,
    "shift_left": np.left_shift,
    "shift_right": np.right_shift,
    "and": np.bitwise_and,
}
_UNARY: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "sqrt": floor_sqrt,
    "bit_length": lambda x: IntBitLength().evaluate(x)[0],
}
KINDS = ("constant", "join", *_BINARY, *_UNARY, "table", "sum", "max")
"""Every kind of step."""


def compute(code: Sequence[Step], sources: Sequence[np.ndarray]) -> np.ndarray:
    """The last register, int64 [samples, size], for sources int64 [samples, n]."""
    registers = list(sources)
    samples = len(registers[0])
    for step in code:
        registers.append(_step(step, [registers[index] for index in step.operands], samples))
    return registers[-1]


def _step(step: Step, operands: list[np.ndarray], samples: int) -> np.ndarray:
    if step.kind == "constant":
        return np.broadcast_to(step.held, (samples, step.size))
    if step.kind == "join":
        whole = np.concatenate(operands, axis=1)
        index = np.arange(step.size) if step.maps[0] is None else step.maps[0].array()
        return np.where(index >= 0, whole[:, np.maximum(index, 0)], 0)
    read = [x if map_ is None else x[:, map_.array()] for x, map_ in zip(operands, step.maps, strict=True)]
    if step.kind in _BINARY:
        return np.asarray(_BINARY[step.kind](*read))
    if step.kind in _UNARY:
        return np.asarray(_UNARY[step.kind](*read))
    if step.kind == "table":
        return np.asarray(step.held[np.clip(read[0], 0, len(step.held) - 1)])
    grouped = read[0].reshape(samples, step.size, step.width)
    return np.asarray(grouped.sum(axis=2) if step.kind == "sum" else grouped.max(axis=2))
