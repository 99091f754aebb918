"""What a simulation returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from snnir.errors import UsageError
from snnir.html import bar, columns, section, table
from snnir.machine.clipping import MOST_CLIPPED, clipped_shares

if TYPE_CHECKING:
    import pandas

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
    """The part of `synops` that multiplies: events that an encoder emitted and events of more than one level."""
    windows: list[str]
    """The graph's own window, then one for each sequence element of each scan, `<first result of the scan>[element]`."""
    steps: np.ndarray
    """Steps that each window used, int64 [N, windows]: 1 + the last step with an event, or 0."""
    settled: bool
    """Whether nothing was left to fire or to be delivered anywhere: only then is the result exact, by construction."""
    unsettled: int
    """Neurons that could still fire when the cap on steps stopped them, over all samples and windows; on a clock, counts that are
    not known to be the level of the sum that was received."""
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

    clipped_counts: dict[str, tuple[int, int]] = field(default_factory=dict)
    """For each input that is encoded: how many of its numbers lay beyond the levels that calibration found, of how many."""

    @property
    def clipped(self) -> dict[str, float]:
        """`clipped_counts` as shares: more than about 1 % says that the calibration data were not like these inputs."""
        return clipped_shares(self.clipped_counts)

    def __repr__(self) -> str:
        outputs = ", ".join(f"{name} {list(array.shape)}" for name, array in self.outputs.items())
        state = "settled" if self.settled else f"not settled ({self.unsettled} neurons could still fire)"
        state += "".join(f", {share:.1%} of {name} clipped" for name, share in self.clipped.items() if share > MOST_CLIPPED)
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

    def _repr_html_(self) -> str:
        """Spikes and operations of every layer, and the steps of windows, for notebooks."""
        count = max(len(self.steps), 1)
        spikes = {name: float(array.sum()) / count for name, array in self.spikes.items()}
        synops = {name: float(array.sum()) / count for name, array in self.synops.items()}
        most, busiest = max(spikes.values(), default=0.0), max(synops.values(), default=0.0)
        rows: list[list[object]] = [[name, "population", f"{value:,.1f}", bar(value, most)] for name, value in spikes.items()]
        rows += [[name, "synapse", f"{value:,.1f}", bar(value, busiest, "#2b9479")] for name, value in synops.items()]
        steps = np.bincount(self.steps.reshape(-1)).tolist() if self.steps.size else []
        said = "settled: the integers of the quantized network" if self.settled else f"{self.unsettled} neurons could still fire"
        mean = f"inner steps of {self.steps.size:,} windows: {float(self.steps.mean()) if self.steps.size else 0:.1f} mean"
        head = ("value", "kind", "spikes or operations a sample", "")
        return section(
            f"run of {len(self.steps)} samples", said, table(head, rows, numbers=(2,)), mean, columns(steps, label=mean)
        )

    def to_dataframe(self, what: str = "layers") -> pandas.DataFrame:
        """A table for pandas, a row each of: `layers` (sample and population or synapse: spikes, synops, charges), `windows`
        (sample and window: steps), `rasters` (event of a recorded value: `RASTER_COLUMNS` and its name).

        Raises `UsageError` without pandas, or for another `what`.
        """
        try:
            import pandas
        except ImportError:
            raise UsageError("to_dataframe needs pandas: pip install pandas") from None
        samples = np.arange(len(self.steps))
        if what == "layers":
            parts = [
                pandas.DataFrame({"sample": samples, "name": name, "kind": "population", "spikes": array})
                for name, array in self.spikes.items()
            ]
            for name, array in self.synops.items():
                charged = self.charges.get(name, np.zeros_like(array))
                kind = {"sample": samples, "name": name, "kind": "synapse", "synops": array, "charges": charged}
                parts.append(pandas.DataFrame(kind))
            return pandas.concat(parts, ignore_index=True).convert_dtypes() if parts else pandas.DataFrame()
        if what == "windows":
            names = np.tile(np.array(self.windows, dtype=object), len(samples))
            rows = {"sample": samples.repeat(len(self.windows)), "window": names, "steps": self.steps.reshape(-1)}
            return pandas.DataFrame(rows)
        if what == "rasters":
            frames = [
                pandas.DataFrame(events, columns=list(RASTER_COLUMNS)).assign(name=name) for name, events in self.rasters.items()
            ]
            return pandas.concat(frames, ignore_index=True) if frames else pandas.DataFrame(columns=[*RASTER_COLUMNS, "name"])
        raise UsageError(f"to_dataframe of {what!r}: choose layers, windows or rasters")


def _total(parts: dict[str, np.ndarray], batch: int) -> np.ndarray:
    total = np.zeros(batch, np.int64)
    for part in parts.values():
        total += part
    return total
