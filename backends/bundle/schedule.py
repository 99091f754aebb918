"""Certified numbers of inner steps: after how many a train is silent, in every window. Sizes of buffers follow from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from snnir.backends.bundle.program import Constant, Input, IntegerProgram, Op, Population, Readout, Route, Scan
from snnir.backends.bundle.ranges import Bounds, Interval

__all__ = ["Schedule", "schedule"]


@dataclass
class Schedule:
    """`steps`: the most steps of each train in any window; `windows`: those of each scan's windows, by its name; `outer`:
    those of all that is outside scans."""

    steps: dict[str, int] = field(default_factory=dict)
    windows: dict[str, list[int]] = field(default_factory=dict)
    outer: int = 0


def schedule(program: IntegerProgram, bounds: Bounds) -> Schedule:
    """The steps of every train, given the ranges of tracers."""
    work = _Steps(program, bounds)
    here: dict[str, int] = {}
    work.ops(program.ops, here, False)
    emitting = [op.train.name for op in program.ops if not isinstance(op, Scan)]
    work.found.outer = max((here[name] for name in emitting), default=0)
    return work.found


class _Steps:
    def __init__(self, program: IntegerProgram, bounds: Bounds) -> None:
        self.program, self.bounds = program, bounds
        self.found = Schedule()

    def ops(self, ops: Sequence[Op], steps: dict[str, int], resumed: bool) -> None:
        for op in ops:
            if isinstance(op, Scan):
                self._scan(op, steps)
                continue
            if isinstance(op, Input):
                last = 1
            elif isinstance(op, Constant):
                last = 0 if resumed else 1
            elif isinstance(op, Population | Readout):
                last = max((steps[synapse.source] for synapse in op.synapses), default=0)
                last = self._settles(op, last, resumed) if isinstance(op, Population) else 0
            elif isinstance(op, Route):
                last = max(steps[name] for name in op.sources)
            else:
                names = (op.source,) if not hasattr(op, "sources") else op.sources
                last = max(steps[name] for name in names)
            self._enter(steps, op.train.name, last)

    def _enter(self, steps: dict[str, int], name: str, last: int) -> None:
        steps[name] = last
        self.found.steps[name] = max(self.found.steps.get(name, 0), last)

    def _settles(self, op: Population, last: int, resumed: bool) -> int:
        """A population fires at most once for each level between its tracer and where it has to be, once input has ended."""
        low, high = self.bounds.registers[op.train.name]["tracer"]
        if resumed:
            return last - 1 + high - low if last else 0
        return max(high, -low) if last <= 1 else last - 1 + high - low

    def _scan(self, op: Scan, steps: dict[str, int]) -> None:
        delivery, carry = self.program.delivery, self.program.carry
        different = op.windows if delivery == "replay" else min(op.windows, 2) if carry else 1
        delivered = {state.input.name: self._delivered(state.input.name, steps[state.initial]) for state in op.states}
        longest: dict[str, int] = {}
        windows = []
        for k in range(different):
            resumed = carry and k > 0
            inside = {shared.input.name: 0 if resumed else steps[shared.source] for shared in op.shared}
            for element in op.elements:
                name = element.input.name
                inside[name] = (1 if element.at_once else self._swing(name)) if resumed else steps[element.source]
            inside.update(delivered)
            for name, last in list(inside.items()):
                self._enter(inside, name, last)
            self.ops(op.ops, inside, resumed)
            windows.append(max(inside.values(), default=0))
            for source in (*(state.following for state in op.states), *(result.source for result in op.results)):
                longest[source] = max(longest.get(source, 0), inside[source], int(resumed))
            for state in op.states:
                name = state.input.name
                if not carry:
                    delivered[name] = self._delivered(name, inside[state.following])
                elif delivery == "replay":
                    delivered[name] = max(inside[state.following], 1)
                else:
                    delivered[name] = 1 if delivery == "graded" else self._swing(name)
        self.found.windows[op.name] = windows + windows[-1:] * (op.windows - len(windows))
        for state in op.states:
            self._enter(steps, state.final.name, longest[state.following])
        for result in op.results:
            self._enter(steps, result.train.name, longest[result.source])

    def _delivered(self, name: str, train: int) -> int:
        """How many steps the delivery of a state takes, whose train in the window before took `train`."""
        if self.program.delivery == "replay":
            return train
        low, high = _tracer(self.bounds.trains, name)
        return 1 if self.program.delivery == "graded" else max(high, -low)

    def _swing(self, name: str) -> int:
        low, high = _tracer(self.bounds.trains, name)
        return high - low


def _tracer(trains: Mapping[str, Mapping[str, Interval]], name: str) -> Interval:
    return trains[name]["tracer"]
