"""What the plain simulator returns."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

__all__ = ["PlainResult"]


@dataclass
class PlainResult:
    """As `SimulationResult`, with dense trains: int64 [steps, N, ...], [windows, steps, N, ...] inside a body."""

    outputs: dict[str, np.ndarray] = field(default_factory=dict)
    trains: dict[str, np.ndarray] = field(default_factory=dict)
    counts: dict[str, np.ndarray] = field(default_factory=dict)
    spikes: dict[str, np.ndarray] = field(default_factory=dict)
    synops: dict[str, np.ndarray] = field(default_factory=dict)
    charges: dict[str, np.ndarray] = field(default_factory=dict)
    windows: list[str] = field(default_factory=list)
    steps: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    unsettled: int = 0
    undelivered: int = 0
    membranes: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def settled(self) -> bool:
        """Whether nothing was left to fire or to be delivered."""
        return not self.unsettled and not self.undelivered
