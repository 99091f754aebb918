"""What the plain simulator returns."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from snnir.machine.run_counts import RunCounts

__all__ = ["PlainResult"]


@dataclass
class PlainResult(RunCounts):
    """As `SimulationResult`, with dense trains: int64 [steps, N, ...], [windows, steps, N, ...] inside a body.

    `arrivals` are the synaptic operations at each neuron, int64 [N, n], of emitters that receive any.
    """

    outputs: dict[str, np.ndarray] = field(default_factory=dict)
    trains: dict[str, np.ndarray] = field(default_factory=dict)
    counts: dict[str, np.ndarray] = field(default_factory=dict)
    sums: dict[str, np.ndarray] = field(default_factory=dict)
    """The sums of readouts, by their names: int64 [N, ...]."""
    membranes: dict[str, np.ndarray] = field(default_factory=dict)
    arrivals: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def settled(self) -> bool:
        """Whether nothing was left to fire or to be delivered."""
        return not self.unsettled and not self.undelivered
