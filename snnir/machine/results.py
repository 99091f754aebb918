"""What a simulation returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

__all__ = ["RASTER_COLUMNS", "SimulationResult"]

RASTER_COLUMNS = ("sample", "window", "step", "address", "value")
"""The columns of a raster: `address` counts through one flattened sample, `value` is the signed size of the event."""


@dataclass(frozen=True)
class SimulationResult:
    """Outputs, settled tracers and costs of N samples.

    Values are named as in the graph; a value of a scan's body is called `<first result of the scan>/<value>`, and its
    arrays have an axis 1 over the scan's windows, in order of processing (a reversed scan starts with the last
    element).
    """

    counts_synops: ClassVar[bool] = True
    """Whether synaptic operations are counted; where not, `synops` and `charges` are empty and their totals refused."""

    outputs: dict[str, np.ndarray]
    """By the graph's output names, after host ops; spiking outputs as their settled levels, int64."""
    spikes: dict[str, np.ndarray]
    """Spikes that each population emitted: int64 [N]."""
    synops: dict[str, np.ndarray]
    """Synaptic operations of each synapse, by the name of its current: int64 [N], events times their real fan-out."""
    charges: dict[str, np.ndarray]
    """The part of `synops` that multiplies: events that an encoder emitted and events worth more than one level."""
    windows: list[str]
    """The graph's own window, then one for each sequence element of each scan, `<first result of the scan>[element]`."""
    steps: np.ndarray
    """Steps that each window used, int64 [N, windows]: 1 + the last step with an event, or 0."""
    settled: bool
    """Whether nothing was left to fire or to be delivered anywhere: only then is the result exact, by construction."""
    unsettled: int
    """Neurons that could still fire when the cap on steps stopped them, over all samples and windows."""
    undelivered: int
    """Spikes of recurrent states that the cap on steps cut off, over all samples and windows."""
    counts: dict[str, np.ndarray] = field(default_factory=dict)
    """On request: settled tracers of every encoder of inputs, population and max, and sums of readouts: int64 [N, ...]."""
    trace: dict[str, np.ndarray] = field(default_factory=dict)
    """On request: outputs that follow from readouts, after each step of their windows: [steps, N, ...]."""
    rasters: dict[str, np.ndarray] = field(default_factory=dict)
    """On request: events of recorded values, int64 [events, 5] with `RASTER_COLUMNS`, sorted."""
    membranes: dict[str, np.ndarray] = field(default_factory=dict)
    """On request: the sum A of recorded populations after each step, int64 [N, steps, ...] or [N, windows, steps, ...].

    The potential V of a uniform population is A + theta//2 - theta * S."""
    phases: dict[str, float] = field(default_factory=dict)
    """On request: shares of the processor cycles of the compiled part: `delivering` currents of spikes that come step by step,
    `firing` (comparing neurons with thresholds, writing spikes) between them, `settling` after the last input, `the rest`."""

    def __repr__(self) -> str:
        outputs = ", ".join(f"{name} {list(array.shape)}" for name, array in self.outputs.items())
        state = "settled" if self.settled else f"not settled ({self.unsettled} neurons could still fire)"
        return f"<{len(self.steps)} samples: {outputs}; {int(self.total_spikes.sum()):,} spikes, {state}>"

    @property
    def total_spikes(self) -> np.ndarray:
        """Spikes of all populations: int64 [N]."""
        return _total(self.spikes, len(self.steps))

    @property
    def total_synops(self) -> np.ndarray:
        """Synaptic operations of all synapses: int64 [N]."""
        return _total(self.synops, len(self.steps))

    @property
    def total_charges(self) -> np.ndarray:
        """Synaptic operations that multiply, of all synapses: int64 [N]."""
        return _total(self.charges, len(self.steps))


def _total(parts: dict[str, np.ndarray], batch: int) -> np.ndarray:
    total = np.zeros(batch, np.int64)
    for part in parts.values():
        total += part
    return total
