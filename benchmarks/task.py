"""What a side is asked to do: one workload of a folder, at one batch size. Imports only NumPy, for any environment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

__all__ = ["CannotError", "Side", "Task"]


class CannotError(Exception):
    """This side cannot run this workload; the message says why."""


@dataclass(frozen=True)
class Task:
    """The files of a workload (see `benchmarks.prepare`), how many samples of it, and on how many threads."""

    folder: Path
    batch: int
    threads: int
    steps: int

    def array(self, name: str) -> np.ndarray:
        """The first `batch` samples of an array in the folder."""
        return np.asarray(np.load(self.folder / f"{name}.npy")[: self.batch])


@dataclass(frozen=True)
class Side:
    """One way of computing a workload: `run` is timed and gives its outputs [N, classes], None where it has none."""

    run: Callable[[], np.ndarray | None]
    integers: bool = False
    """Whether the outputs are sums of integer weights over spikes, before the scale of the readout."""
    exact: bool = False
    """Whether the outputs are meant to equal those of the integer reference, bit for bit."""
    expected: str = "expected"
    """The array of the folder that holds the outputs of the integer reference: another one for other bits."""

    def agreement(self, task: Task) -> dict[str, float]:
        """Shares of outputs equal to the integer reference and of samples with its largest output; runs once."""
        found = self.run()
        if found is None:
            return {}
        expected = task.array(self.expected)
        real = found
        shares = {"equal": float((found == expected).mean())} if self.exact else {}
        if self.integers:
            shares["equal"] = float((np.rint(found) == task.array("expected_integers")).mean())
            real = found * np.load(task.folder / "scale.npy")
        return {**shares, "argmax": float((real.argmax(-1) == expected.argmax(-1)).mean())}
