"""What a run of the torch backend returns, and how it is written down."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from snnir.errors import UsageError
from snnir.machine.program import Emitter
from snnir.machine.results import SimulationResult

__all__ = ["Recorder", "TorchResult", "integers"]


class TorchResult(SimulationResult):
    """As `SimulationResult`, without what this backend does not count.

    `synops` and `charges` are empty, and their totals raise `UsageError`; `trace` and `membranes` are empty as well.
    """

    counts_synops = False

    @property
    def total_synops(self) -> np.ndarray:
        """Raises `UsageError`: synaptic operations are not counted here."""
        raise UsageError("the torch backend counts no synaptic operations; the simulator does (backend='simulator')")

    @property
    def total_charges(self) -> np.ndarray:
        """Raises `UsageError`: synaptic operations are not counted here."""
        return self.total_synops


@dataclass
class Recorder:
    """Steps, spikes, counts and rasters of one run of N samples.

    `known` are the emitters that results name, with the numbers of windows of those in a scan's body.
    """

    batch: int
    windows: list[str]
    known: Mapping[str, tuple[Emitter, int | None]]
    record: Iterable[str]
    wants_counts: bool
    device: torch.device
    used: dict[str, list[Tensor]] = field(default_factory=dict)
    spikes: dict[str, Tensor] = field(default_factory=dict)
    trains: dict[str, list[np.ndarray]] = field(default_factory=dict)
    settled: dict[str, list[Tensor]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.used = {name: [] for name in self.windows}
        firing = [name for name, (op, _) in self.known.items() if op.fires]
        self.spikes = {name: torch.zeros(self.batch, dtype=torch.float64, device=self.device) for name in firing}
        self.trains = {name: [] for name in self.record}
        self.settled = {name: [] for name in self.known} if self.wants_counts else {}
        self.unsettled = torch.zeros((), dtype=torch.int64, device=self.device)

    def emitted(self, name: str, window: str, segment: int, train: Tensor) -> None:
        """Enter the train [steps, N, n] of an emitter in one window; a segment lasts as long as anything happens in it."""
        if not len(train):
            return
        there = train != 0
        if name in self.spikes:
            self.spikes[name] += there.sum(dim=(0, 2))
        at = torch.arange(1, len(train) + 1, device=train.device)[:, None]
        self.take(window, segment, (there.any(dim=2) * at).amax(dim=0))

    def entered(self, name: str, train: Tensor, count: Callable[[], Tensor]) -> None:
        """Enter what an emitter that results name emitted in one window, and its settled tracer or sum [N, n]."""
        if name in self.trains:
            self.trains[name].append(train.to(torch.int64).cpu().numpy())
        if self.wants_counts:
            self.settled[name].append(count())

    def take(self, window: str, segment: int, steps: Tensor) -> None:
        """A segment of a window takes at least these steps [N]."""
        used = self.used[window]
        used += [torch.zeros(self.batch, dtype=torch.int64, device=self.device) for _ in range(segment + 1 - len(used))]
        used[segment] = torch.maximum(used[segment], steps)

    def result(self, outputs: dict[str, np.ndarray], undelivered: list[Tensor]) -> TorchResult:
        """Everything, as arrays."""
        unsettled, left = int(self.unsettled), sum(int(count) for count in undelivered)
        nothing = torch.zeros(self.batch, dtype=torch.int64, device=self.device)
        return TorchResult(
            outputs=outputs,
            spikes={name: integers(count) for name, count in self.spikes.items()},
            synops={},
            charges={},
            windows=self.windows,
            steps=integers(torch.stack([sum(self.used[name], start=nothing) for name in self.windows], dim=1)),
            settled=not unsettled and not left,
            unsettled=unsettled,
            undelivered=left,
            counts={name: self._count(name, parts) for name, parts in self.settled.items()},
            rasters={name: _raster(trains) for name, trains in self.trains.items()},
        )

    def _count(self, name: str, parts: list[Tensor]) -> np.ndarray:
        op, windows = self.known[name]
        if windows is None:
            return integers(parts[0]).reshape(self.batch, *op.train.shape)
        rows = [integers(part) for part in parts] or [np.zeros((self.batch, 0), np.int64)]
        return np.stack(rows, axis=1).reshape(self.batch, windows, *op.train.shape)


def _raster(trains: list[np.ndarray]) -> np.ndarray:
    """Events of windows of trains [steps, N, n], in the columns of `RASTER_COLUMNS`, sorted."""
    parts = [np.zeros((0, 5), np.int64)]
    for window, train in enumerate(trains):
        step, sample, address = np.nonzero(train)
        events = [sample, np.full_like(sample, window), step, address, train[step, sample, address]]
        parts.append(np.stack(events, axis=1))
    rows = np.concatenate(parts)
    return rows[np.lexsort(rows.T[::-1])]


def integers(tensor: Tensor) -> np.ndarray:
    """Integers that a float64 tensor holds, as an int64 array on the host."""
    array: np.ndarray = tensor.detach().to(torch.int64).cpu().numpy()
    return array
