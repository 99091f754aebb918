"""Scans: a body that runs once for each window, and what crosses the border of its windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from snnir.machine.trains import Train

if TYPE_CHECKING:
    from snnir.machine.program import Op

__all__ = ["Element", "Result", "Scan", "Shared", "State"]


@dataclass(frozen=True, eq=False)
class State:
    """A state: the body's train `input` starts as the outer train `initial` and goes on as the body's `following`; outside
    it is known as `final`."""

    input: Train
    initial: str
    following: str
    final: Train
    first: int = 0
    """The step from which on `following` leaves the body, before which it is silent."""


@dataclass(frozen=True, eq=False)
class Element:
    """A sequence [windows, n] outside, one row of which is the body's `input`. `encoded`: nothing but inputs and constants
    emit it, so that a carried window receives its change at step 0."""

    input: Train
    source: str
    encoded: bool
    first: int = 0
    """The step from which on `source` enters, before which it is silent."""

    def at_once(self, delivery: str) -> bool:
        """Whether its change is sent at step 0."""
        return self.encoded or delivery == "graded"


@dataclass(frozen=True, eq=False)
class Shared:
    """A train that every window takes, from its step `first` on."""

    input: Train
    source: str
    first: int = 0


@dataclass(frozen=True, eq=False)
class Result:
    """A body's train `source` from its step `first` on, all windows side by side: `train` [windows, n]."""

    train: Train
    source: str
    first: int = 0


@dataclass(frozen=True, eq=False)
class Scan:
    """A body that runs once for each window; window k takes element k, or windows - 1 - k where it is `reverse`."""

    name: str
    windows: int
    reverse: bool
    states: tuple[State, ...]
    elements: tuple[Element, ...]
    shared: tuple[Shared, ...]
    results: tuple[Result, ...]
    ops: tuple[Op, ...]

    @property
    def sources(self) -> tuple[str, ...]:
        """The trains outside that it reads."""
        states = (state.initial for state in self.states)
        return (*states, *(element.source for element in self.elements), *(shared.source for shared in self.shared))
