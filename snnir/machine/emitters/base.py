"""What every emitter declares."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from snnir.machine.spans import Bounds, Spans
from snnir.machine.trains import Train
from snnir.machine.window import Emission, Window

__all__ = ["Emitter"]


@dataclass(frozen=True, eq=False)
class Emitter(ABC):
    """An op that emits a train. Analyses call it once for a window that starts afresh and once more, `resumed`, for a window
    of a carried scan that goes on from the one before."""

    counted: ClassVar[bool] = True
    """Whether results name its settled tracer."""
    emits: ClassVar[bool] = True
    """Whether it emits events; a readout only sums."""
    fires: ClassVar[bool] = False
    """Whether its events are spikes of neurons."""
    charges: ClassVar[bool] = False
    """Whether all its events are charged, as the host's levels are: synapses multiply by them."""

    shifted: ClassVar[bool] = False
    """Whether, among few-spike neurons, its events of powers of two are bits, which synapses shift by, and do not multiply."""

    train: Train

    @property
    @abstractmethod
    def sources(self) -> tuple[str, ...]:
        """The names of the trains that it reads."""

    def problems(self, trains: Mapping[str, Train]) -> Iterator[str]:
        """What is not well-formed, given the trains of its sources: texts for errors."""
        yield from ()

    @abstractmethod
    def emit(self, window: Window) -> Emission:
        """What it emits in a window whose `trains` hold those of its sources."""

    @abstractmethod
    def span(self, spans: Spans, bounds: Bounds, resumed: bool) -> np.ndarray:
        """The span [3, 2, n] of its train, given those of its sources; the ranges of its registers go to `bounds`."""

    @abstractmethod
    def last_step(self, steps: Mapping[str, int], bounds: Bounds, resumed: bool) -> int:
        """The number of steps after which its train is silent, given those of its sources."""
