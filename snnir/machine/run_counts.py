"""What every way to run a program counts."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

__all__ = ["RunCounts"]


@dataclass
class RunCounts:
    """`spikes` counts the events of populations, `synops` and `charges` the synaptic operations of every synapse and those that
    multiply: int64 [N]. `steps` int64 [N, windows] says how many steps each of `windows` took. `unsettled` and `undelivered`
    count what the cap on steps cut off.
    """

    spikes: dict[str, np.ndarray] = field(default_factory=dict)
    synops: dict[str, np.ndarray] = field(default_factory=dict)
    charges: dict[str, np.ndarray] = field(default_factory=dict)
    windows: list[str] = field(default_factory=list)
    steps: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    unsettled: int = 0
    undelivered: int = 0
