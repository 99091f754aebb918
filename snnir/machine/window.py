"""A window while it runs: what an emitter reads of it, and what an emitter gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from snnir.machine.registers import Registers
from snnir.machine.trains import DenseTrain

__all__ = ["Emission", "Memory", "Window"]

Memory = tuple[np.ndarray, ...]
"""What an emitter keeps from one window of a carried scan to the next; each array is int64 [samples, ...]."""


@dataclass(frozen=True)
class Emission:
    """What an emitter does in one window.

    `events` int64 [samples, steps, n]; `kept` is its memory; `count` its settled tracer, or the sum of a readout, int64
    [samples, n]; `unsettled` counts the neurons that could still fire when the cap on steps stopped them; `sums`, where they
    are wanted, is the sum A after each step, int64 [samples, steps, n].
    """

    events: np.ndarray
    kept: Memory
    count: np.ndarray
    unsettled: int = 0
    sums: np.ndarray | None = None


@dataclass
class Window:
    """One window of a scan's body, or all that is outside scans.

    `index` counts the windows of a scan in order of processing. `memory` is what the emitters kept of the window before (None:
    they start afresh). `levels(name)` gives the levels [samples, n] of an input; `spread` charges them in portions, one a step,
    over `cap` steps. `sums(name)`: whether the sums of a population after each step are wanted.
    """

    index: int
    batch: int
    trains: dict[str, DenseTrain]
    memory: dict[str, Memory] | None
    registers: Registers
    levels: Callable[[str], np.ndarray]
    cap: int | None = None
    spread: bool = False
    sums: Callable[[str], bool] = lambda name: False
    kept: dict[str, Memory] = field(default_factory=dict)

    def before(self, name: str) -> Memory | None:
        """What the emitter `name` kept of the window before."""
        return None if self.memory is None else self.memory[name]
