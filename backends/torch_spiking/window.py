"""One run of a batch, and its windows: what the parts of a machine program read and write."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor

from snnir.backends.torch_spiking.boundaries import Protocol
from snnir.backends.torch_spiking.result import Recorder
from snnir.backends.torch_spiking.surrogates import Surrogate

__all__ = ["Memory", "Run", "Window"]

T = TypeVar("T")
Memory = tuple[Tensor, ...]
"""What an emitter keeps from one window of a carried scan to the next."""


@dataclass
class Run:
    """One run: its options, and what all of its windows share.

    `levels` are those of inputs, [N, n] or, inside a scan, [N, windows, n]; `sums` collects those of readouts, window by window.
    With a `surrogate` in `protocol`, every window takes `cap` steps and gradients are kept.
    """

    batch: int
    device: torch.device
    protocol: Protocol
    levels: Mapping[str, Tensor]
    recorder: Recorder | None = None
    sums: dict[str, list[Tensor]] = field(default_factory=dict)
    _made: dict[object, object] = field(default_factory=dict)

    @property
    def cap(self) -> int | None:
        """The most steps of a window."""
        return self.protocol.cap

    @property
    def surrogate(self) -> Surrogate | None:
        """What stands for the gradient of a spike."""
        return self.protocol.surrogate

    def once(self, key: object, make: Callable[[], T]) -> T:
        """What all windows of a run share, made when it is first asked for: parameters are rounded once in a run."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]  # type: ignore[return-value]

    def silent(self, size: int, steps: int = 0) -> Tensor:
        """A train of that many addresses without events."""
        return torch.zeros((steps, self.batch, size), dtype=torch.float64, device=self.device)


@dataclass
class Window:
    """One window of a scan's body, or all that is outside scans.

    `name` is that of results; `index` counts the windows of a scan in order of processing (None: outside scans). `memory` is what
    the emitters kept of the window before (None: they start afresh), `kept` what they keep.
    """

    run: Run
    name: str
    index: int | None
    trains: dict[str, Tensor]
    memory: dict[str, Memory] | None = None
    kept: dict[str, Memory] = field(default_factory=dict)

    def before(self, name: str) -> Memory | None:
        """What the emitter `name` kept of the window before."""
        return None if self.memory is None else self.memory[name]
