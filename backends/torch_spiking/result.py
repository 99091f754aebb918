"""What a run of the torch backend returns, and how it is written down."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

from snnir.errors import UsageError
from snnir.machine.results import SimulationResult

__all__ = ["Recorder", "TorchResult"]


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


class Recorder:
    """Steps, spikes, counts and rasters of one run of N samples.

    `known` are the names that emit, with the shape of their samples and whether they are in a scan's body.
    """

    def __init__(
        self,
        batch: int,
        windows: list[str],
        populations: Iterable[str],
        known: Mapping[str, tuple[bool, tuple[int, ...]]],
        record: Iterable[str],
        counts: bool,
        carry: bool,
        device: torch.device,
    ) -> None:
        self.batch, self.windows, self.known, self.wants_counts = batch, windows, known, counts
        self.carry = carry
        self.used = {name: torch.zeros(batch, dtype=torch.int64, device=device) for name in windows}
        self.spikes = {name: torch.zeros(batch, dtype=torch.float64, device=device) for name in populations}
        self.trains: dict[str, list[np.ndarray]] = {name: [] for name in record}
        self.settled: dict[str, list[Tensor]] = {name: [] for name in known} if counts else {}
        self.unsettled = torch.zeros((), dtype=torch.int64, device=device)
        self.undelivered = torch.zeros((), dtype=torch.int64, device=device)

    def emitted(self, name: str, window: str, train: Tensor) -> None:
        """Enter the train [T, N, ...] of a value in one window."""
        self.use(window, train)
        if name in self.spikes:
            self.spikes[name] += (train != 0).sum(dim=(0, *range(2, train.ndim)))
        if name in self.trains:
            self.trains[name].append(train.to(torch.int64).cpu().numpy())
        if self.wants_counts:
            parts, total = self.settled[name], train.sum(dim=0)
            parts.append(total + parts[-1] if self.carry and parts else total)

    def summed(self, name: str, total: Tensor) -> None:
        """Enter the sum [N, ...] of a readout in one window, where counts are wanted."""
        if self.wants_counts:
            self.settled[name].append(total)

    def use(self, window: str, train: Tensor) -> None:
        """A window lasts as long as anything happens in it, sample by sample."""
        if len(train):
            steps, batch = train.shape[:2]
            active = (train.reshape(steps, batch, int(np.prod(train.shape[2:]))) != 0).any(dim=2)
            at = torch.arange(1, steps + 1, device=train.device)[:, None]
            self.used[window] = torch.maximum(self.used[window], (active * at).amax(dim=0))

    def result(self, outputs: dict[str, np.ndarray]) -> TorchResult:
        """Everything, as arrays."""
        unsettled, undelivered = int(self.unsettled), int(self.undelivered)
        return TorchResult(
            outputs=outputs,
            spikes={name: integers(count) for name, count in self.spikes.items()},
            synops={},
            charges={},
            windows=self.windows,
            steps=integers(torch.stack([self.used[name] for name in self.windows], dim=1)),
            settled=not unsettled and not undelivered,
            unsettled=unsettled,
            undelivered=undelivered,
            counts={name: self._count(name, parts) for name, parts in self.settled.items()},
            rasters={name: self._raster(trains) for name, trains in self.trains.items()},
        )

    def _count(self, name: str, parts: list[Tensor]) -> np.ndarray:
        inside, shape = self.known[name]
        if not parts:
            return np.zeros((self.batch, 0, *shape), np.int64)
        return integers(torch.stack(parts, dim=1) if inside else parts[0])

    def _raster(self, trains: list[np.ndarray]) -> np.ndarray:
        """Events of windows of trains [T, N, ...], in the columns of `RASTER_COLUMNS`, sorted."""
        parts = [np.zeros((0, 5), np.int64)]
        for window, train in enumerate(trains):
            flat = train.reshape(*train.shape[:2], int(np.prod(train.shape[2:])))
            step, sample, address = np.nonzero(flat)
            parts.append(np.stack([sample, np.full_like(sample, window), step, address, flat[step, sample, address]], axis=1))
        rows = np.concatenate(parts)
        return rows[np.lexsort(rows.T[::-1])]


def integers(tensor: Tensor) -> np.ndarray:
    """Whole numbers as an int64 array on the host."""
    array: np.ndarray = tensor.detach().to(torch.int64).cpu().numpy()
    return array
