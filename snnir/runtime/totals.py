"""Sums over the samples of a run, which add up over its chunks to exactly those of the whole run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from snnir.errors import InputError
from snnir.machine.clipping import clipped_shares

if TYPE_CHECKING:
    from snnir.backends.simulator import SimulationResult

__all__ = ["RunTotals", "right_answers"]


@dataclass(frozen=True)
class RunTotals:
    """Whole numbers only, so the order of summation cannot change them."""

    samples: int
    windows: int
    """Windows of all samples."""
    steps: int
    """Inner time-steps of all windows."""
    steps_max: int
    spikes: int
    counts_synops: bool
    synops: int
    charges: int
    unsettled: int
    undelivered: int
    spikes_of: dict[str, int] = field(default_factory=dict)
    """Spikes of each population."""
    synops_of: dict[str, int] = field(default_factory=dict)
    """Synaptic operations of each synapse."""
    charges_of: dict[str, int] = field(default_factory=dict)
    """Those of them that multiply."""
    clipped: dict[str, int] = field(default_factory=dict)
    """Numbers of each input that saturated."""
    encoded: dict[str, int] = field(default_factory=dict)
    """Numbers of each input."""

    @property
    def settled(self) -> bool:
        """Whether nothing was left to fire or to be delivered anywhere."""
        return not self.unsettled and not self.undelivered

    def per_sample(self, total: int) -> float:
        """A mean over samples; NaN where there are none."""
        return total / self.samples if self.samples else float("nan")

    @classmethod
    def of(cls, result: SimulationResult) -> RunTotals:
        """The totals of one result."""
        return cls(
            samples=len(result.steps),
            windows=result.steps.size,
            steps=int(result.steps.sum()),
            steps_max=int(result.steps.max(initial=0)),
            spikes=int(result.total_spikes.sum()),
            counts_synops=result.counts_synops,
            synops=int(result.total_synops.sum()) if result.counts_synops else 0,
            charges=int(result.total_charges.sum()) if result.counts_synops else 0,
            unsettled=result.unsettled,
            undelivered=result.undelivered,
            spikes_of=_sums(result.spikes),
            synops_of=_sums(result.synops) if result.counts_synops else {},
            charges_of=_sums(result.charges) if result.counts_synops else {},
            clipped={name: beyond for name, (beyond, _) in result.clipped_counts.items()},
            encoded={name: total for name, (_, total) in result.clipped_counts.items()},
        )

    @classmethod
    def merged(cls, parts: Iterable[RunTotals]) -> RunTotals:
        """The totals of chunks (at least one) as one run."""
        known = list(parts)
        sums: dict[str, Any] = {each.name: _added([getattr(part, each.name) for part in known]) for each in fields(cls)}
        sums["steps_max"] = max(part.steps_max for part in known)
        return cls(**sums | {"counts_synops": all(part.counts_synops for part in known)})

    @property
    def clipped_counts(self) -> dict[str, tuple[int, int]]:
        """How many numbers of each input saturated, of how many."""
        return {name: (beyond, self.encoded[name]) for name, beyond in self.clipped.items()}

    @property
    def clipped_shares(self) -> dict[str, float]:
        """The share of each input that saturated."""
        return clipped_shares(self.clipped_counts)


def _sums(parts: Mapping[str, np.ndarray]) -> dict[str, int]:
    return {name: int(array.sum()) for name, array in parts.items()}


def _added(parts: Sequence[Any]) -> Any:
    """The sum of numbers, or of tables of numbers, entry by entry."""
    if not isinstance(parts[0], dict):
        return sum(parts)
    return {name: sum(part.get(name, 0) for part in parts) for name in dict.fromkeys(name for part in parts for name in part)}


def right_answers(outputs: Mapping[str, np.ndarray], labels: np.ndarray) -> int:
    """How many samples have the largest element (or, for integers and words, the value) of their first output at the label.

    Raises `InputError` for labels that are no class of the output.
    """
    if not len(labels):
        return 0
    name, first = next(iter(outputs.items()))
    if labels.dtype.kind == "U" or first.dtype.kind == "U":
        if labels.dtype.kind != first.dtype.kind or first.size != len(labels):
            kinds = ["words" if array.dtype.kind == "U" else "numbers" for array in (labels, first)]
            raise InputError(
                f"labels are {len(labels)} {kinds[0]}, and output {name} gives {kinds[1]} {list(first.shape)}; "
                "give labels of its kind"
            )
        return int((first.reshape(-1) == labels).sum())
    classes = first.reshape(len(labels), -1) if first.dtype.kind in "iu" else None
    count = first.reshape(len(labels), -1).shape[1]
    if count > 1 and not (labels.min() >= 0 and labels.max() < count):
        raise InputError(f"labels {labels.min()}..{labels.max()}, and output {name} has {count} classes, 0..{count - 1}")
    found = classes[:, 0] if classes is not None and classes.shape[1] == 1 else first.reshape(len(labels), -1).argmax(axis=1)
    return int((found == labels).sum())
