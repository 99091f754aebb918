"""What parts share. A part is one op of a machine program, for samples of one size on one device."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from snnir.backends.torch_spiking.parameters import Parameters
from snnir.backends.torch_spiking.window import Memory, Window
from snnir.errors import UnsupportedError
from snnir.ir.graph import Node
from snnir.machine.emitters import Emitter
from snnir.machine.program import Op, Scan
from snnir.machine.segments import segments
from snnir.machine.text import kind_of

__all__ = ["Body", "Building", "Emission", "EmitterPart", "Part", "runs"]

AnyOp = TypeVar("AnyOp", bound=Op)
AnyEmitter = TypeVar("AnyEmitter", bound=Emitter)


@dataclass(frozen=True)
class Building:
    """What parts are made of: the parameters, the graph's `nodes` behind the ops by the names of these, the device, and whether
    neurons are few-spike neurons."""

    parameters: Parameters
    nodes: Mapping[str, Node]
    device: torch.device
    few: bool


class Part(ABC, Generic[AnyOp]):
    """One op; `segment` is that of its train in a window."""

    def __init__(self, op: AnyOp, building: Building, segment: int) -> None:
        self.op, self.building, self.segment = op, building, segment

    @abstractmethod
    def __call__(self, window: Window) -> None:
        """Enter its trains into a window that holds those of its sources."""


@dataclass(frozen=True)
class Emission:
    """What an emitter does in one window: its `train` [steps, N, n], its memory, and `count`, which gives its settled tracer or
    its sum [N, n] where it is asked for."""

    train: Tensor
    kept: Memory
    count: Callable[[], Tensor]


class EmitterPart(Part[AnyEmitter]):
    """One emitter."""

    @abstractmethod
    def emit(self, window: Window) -> Emission:
        """What it emits in a window."""

    def __call__(self, window: Window) -> None:
        """Enter its train and its memory, and write down what it did."""
        emission, name, recorder = self.emit(window), self.op.train.name, window.run.recorder
        window.trains[name], window.kept[name] = emission.train, emission.kept
        if recorder is None:
            return
        recorder.emitted(name, window.name, self.segment, emission.train)
        if self.op.counted:
            recorder.entered(name, emission.train, emission.count)
        if self.building.few:  # a window takes the steps of its schedule, whatever is silent
            longest = max(len(window.trains[each]) for each in (name, *self.op.sources))
            recorder.take(window.name, self.segment, torch.tensor(longest, device=self.building.device))


AnyPart = TypeVar("AnyPart", bound="Callable[..., Part[Any]]")
_PARTS: dict[type[Op], Callable[..., Part[Any]]] = {}


def runs(op: type[Op]) -> Callable[[AnyPart], AnyPart]:
    """Enter the part of an op."""

    def enter(part: AnyPart) -> AnyPart:
        _PARTS[op] = part
        return part

    return enter


class Body:
    """The ops of a program or of a scan's body, one after another; trains in `leaving` stay, others go when nothing more reads
    them. Raises `UnsupportedError` for an op without a part."""

    def __init__(self, ops: Sequence[Op], building: Building, leaving: Collection[str]) -> None:
        of, last = segments(ops), dict[str, int]()
        self.parts: list[tuple[Part[Any], list[str]]] = []
        for place, op in enumerate(ops):
            name = op.name if isinstance(op, Scan) else op.train.name
            if type(op) not in _PARTS:
                raise UnsupportedError(f"{kind_of(type(op))} {name}: the torch backend runs no {kind_of(type(op))}")
            self.parts.append((_PARTS[type(op)](op, building, of.get(name, 0)), []))
            last.update(dict.fromkeys(op.sources, place))
        for name, place in last.items():
            if name not in leaving:
                self.parts[place][1].append(name)

    def __call__(self, window: Window) -> None:
        """Run every op."""
        for part, done in self.parts:
            part(window)
            for name in done:
                window.trains.pop(name, None)
