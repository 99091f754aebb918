"""Scans: a body for each window, and what crosses its boundaries."""

from __future__ import annotations

from snnir.backends.torch_spiking.boundaries import ElementIn, ResultOut, StateIn
from snnir.backends.torch_spiking.parts.base import Body, Building, Part, runs
from snnir.backends.torch_spiking.window import Memory, Window
from snnir.machine.scans import Scan

__all__: list[str] = []


@runs(Scan)
class ScanPart(Part[Scan]):
    """A body that runs once for each window."""

    def __init__(self, op: Scan, building: Building, segment: int) -> None:
        super().__init__(op, building, segment)
        leaving = [*(state.following for state in op.states), *(result.source for result in op.results)]
        self.body = Body(op.ops, building, leaving)

    def __call__(self, window: Window) -> None:
        """Run the windows one after another, in order of processing."""
        op, run, trains = self.op, window.run, window.trains
        protocol = run.protocol
        states = [StateIn(trains[state.initial], protocol, state.input.bits) for state in op.states]
        elements = [
            ElementIn(trains[element.source][element.first :], op.windows, element.encoded, protocol) for element in op.elements
        ]
        results = [ResultOut(protocol) for _ in op.results]
        shared = {each.input.name: trains[each.source][each.first :] for each in op.shared}
        memory: dict[str, Memory] | None = None
        for k in range(op.windows):
            at = op.windows - 1 - k if op.reverse else k
            # receivers that go on still hold what is shared: it does not change
            inside = {name: train if memory is None else train[:0] for name, train in shared.items()}
            inside.update((plan.input.name, element.window(at)) for plan, element in zip(op.elements, elements, strict=True))
            inside.update((plan.input.name, state.window()) for plan, state in zip(op.states, states, strict=True))
            body = Window(run, f"{op.name}[{at}]", k, inside, memory)
            self.body(body)
            for plan, state in zip(op.states, states, strict=True):
                state.follow(inside[plan.following][plan.first :])
            for result, leaving in zip(op.results, results, strict=True):
                leaving.window(inside[result.source][result.first :])
            memory = body.kept if protocol.carry else None
        for plan, state in zip(op.states, states, strict=True):
            trains[plan.final.name] = state.final()
        for result, leaving in zip(op.results, results, strict=True):
            trains[result.train.name] = leaving.stacked(op.reverse) if leaving.rows else run.silent(result.train.size)
