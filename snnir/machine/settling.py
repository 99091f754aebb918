"""Certified numbers of inner steps: after how many a train is silent, in every window. Sizes of buffers follow from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from snnir.machine.boundaries import Protocol
from snnir.machine.program import Emitter, IntegerProgram, Op, Route, Scan, trains_of, walk
from snnir.machine.segments import segments, steps_of_segments
from snnir.machine.spans import Bounds

__all__ = ["Settling", "settling"]


@dataclass
class Settling:
    """`steps`: the most steps of each train in any window; `windows`: those of each scan's windows, by its name; `outer`:
    those of all that is outside scans. For few-spike neurons these are not bounds but the steps of every run."""

    steps: dict[str, int] = field(default_factory=dict)
    windows: dict[str, list[int]] = field(default_factory=dict)
    outer: int = 0


def settling(program: IntegerProgram, bounds: Bounds | None = None) -> Settling:
    """The steps of every train, given the ranges of tracers (`certify`); without them tracers may be anywhere in their levels,
    which takes no analysis of weights, and may give more steps."""
    work = _Steps(program, _any_levels(program) if bounds is None else bounds)
    here: dict[str, int] = {}
    work.ops(program.ops, here, False)
    if program.few:  # what is only moved takes no step
        names = [name for op in program.ops if isinstance(op, Emitter) for name in (op.train.name, *op.sources)]
    else:
        names = [op.train.name for op in program.ops if not isinstance(op, Scan)]
    work.found.outer = steps_of_segments({name: here[name] for name in names}, segments(program.ops))
    return work.found


def _any_levels(program: IntegerProgram) -> Bounds:
    """The ranges of tracers of which only the levels are known."""
    found = Bounds()
    for op, _ in walk(program.ops):
        for train in trains_of(op):
            found.see(train.name, {"tracer": (train.lo, train.hi)}, found.trains)
            found.see(train.name, {"tracer": (train.lo, train.hi)}, found.registers)
    return found


class _Steps:
    def __init__(self, program: IntegerProgram, bounds: Bounds) -> None:
        self.protocol, self.bounds = Protocol(program.delivery, program.carry, program.few), bounds
        self.found = Settling()

    def ops(self, ops: Sequence[Op], steps: dict[str, int], resumed: bool) -> None:
        for op in ops:
            if isinstance(op, Scan):
                self._scan(op, steps)
            elif isinstance(op, Route):
                self._enter(steps, op.train.name, max(steps[name] for name in op.sources))
            else:
                self._enter(steps, op.train.name, op.last_step(steps, self.bounds, resumed))

    def _enter(self, steps: dict[str, int], name: str, last: int) -> None:
        steps[name] = last
        self.found.steps[name] = max(self.found.steps.get(name, 0), last)

    def _scan(self, op: Scan, steps: dict[str, int]) -> None:
        protocol, of = self.protocol, segments(op.ops)
        tracers = {name: ranges["tracer"] for name, ranges in self.bounds.trains.items()}
        states = {state.input.name: steps[state.initial] for state in op.states}
        longest: dict[str, int] = {}
        windows = []
        for k in range(max(protocol.different(op.windows), 1)):
            inside = {shared.input.name: protocol.shared_steps(steps[shared.source] - shared.first, k) for shared in op.shared}
            for element in op.elements:
                name = element.input.name
                inside[name] = protocol.element_steps(element, steps[element.source] - element.first, tracers[name], k)
            bits = {state.input.name: state.input.bits for state in op.states}
            inside.update({name: protocol.state_steps(last, tracers[name], k, bits[name]) for name, last in states.items()})
            for name, last in list(inside.items()):
                self._enter(inside, name, last)
            self.ops(op.ops, inside, protocol.resumed(k))
            windows.append(steps_of_segments(inside, of))
            leaving = [(state.following, state.first) for state in op.states]
            for source, first in (*leaving, *((result.source, result.first) for result in op.results)):
                longest[source] = max(longest.get(source, 0), protocol.result_steps(inside[source] - first, k))
            states = {state.input.name: inside[state.following] for state in op.states}
        self.found.windows[op.name] = (windows + windows[-1:] * (op.windows - len(windows)))[: op.windows]
        for state in op.states:  # without elements a state leaves as it came
            self._enter(steps, state.final.name, longest[state.following] if op.windows else steps[state.initial])
        for result in op.results:
            self._enter(steps, result.train.name, longest[result.source])
