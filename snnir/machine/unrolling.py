"""Scans of a program written out: one copy of the body for each window, all on one clock.

Sound, because a state delivered by `replay` is a connection: window k receives the train of window k-1 step by step, and so
does copy k that of copy k-1, when all copies share one clock. Copies of ST-BIF neurons therefore send the spikes of a run with
`delivery="replay", execution="reset"`, at the same steps. Few-spike neurons wait on that clock until their input is complete;
they send the bits of the same levels, later ones at later steps.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from snnir.errors import UnsupportedError
from snnir.machine.addresses import IndexMap
from snnir.machine.emitters import Combining, Constant, Emitter, FewSpikes, Function, Input, Settled, Summing
from snnir.machine.program import IntegerProgram, Op, Output
from snnir.machine.route import Route
from snnir.machine.scans import Scan
from snnir.machine.trains import Train

__all__ = ["WrittenOut", "written_out"]


@dataclass(frozen=True)
class WrittenOut:
    """A program without scans, and of each copy the op in the body and the element of the sequence that it is for, by name."""

    program: IntegerProgram
    copies: Mapping[str, tuple[str, int]]


def written_out(program: IntegerProgram) -> WrittenOut:
    """The program without scans. A train of a body is called `<its name>[<element>]`, and so is a readout.

    Functions, products and maxima keep their places; of segments nothing is said any more (`cutting.py` cuts such a program).
    What the model gives out of readouts inside scans is the host's then. Raises `UnsupportedError` for scans without elements,
    and for emitters that read trains other than through synapses.
    """
    work = _Writer()
    for op in program.ops:
        if isinstance(op, Scan):
            work.scan(op)
        else:
            work.add(op, {}, "")
    inside = {op.train.name for scan in program.ops if isinstance(scan, Scan) for op in scan.ops if not isinstance(op, Scan)}
    outputs = tuple(Output(item.name, "host", "") if item.source in inside else item for item in program.outputs)
    flat = dataclasses.replace(program, delivery="replay", execution="reset", ops=tuple(work.ops), outputs=outputs)
    return WrittenOut(flat, work.copies)


class _Writer:
    def __init__(self) -> None:
        self.ops: list[Op] = []
        self.ends: dict[str, int] = {}
        """The step before which each train is complete."""
        self.copies: dict[str, tuple[str, int]] = {}

    def add(self, op: Emitter | Route, names: Mapping[str, str], suffix: str) -> None:
        """Append an op that reads the trains `names` instead of its own sources, under a name with `suffix`."""
        made: Emitter | Route = dataclasses.replace(op, train=dataclasses.replace(op.train, name=f"{op.train.name}{suffix}"))
        sources = [names.get(source, source) for source in op.sources]
        if isinstance(made, Route):
            made = dataclasses.replace(made, sources=tuple(sources))
        elif isinstance(made, Summing):
            synapses = [
                dataclasses.replace(synapse, name=f"{synapse.name}{suffix}", source=source)
                for synapse, source in zip(made.synapses, sources, strict=True)
            ]
            made = dataclasses.replace(made, synapses=tuple(synapses))
        elif isinstance(made, Function):
            made = dataclasses.replace(made, names=tuple(sources))
        elif isinstance(made, Settled):
            made = dataclasses.replace(made, source=sources[0])
        elif isinstance(made, Combining):
            made = made.reading(tuple(sources))
        elif not isinstance(made, Input | Constant):
            raise UnsupportedError(f"{op.train.name}: a {type(op).__name__.lower()} is not written out window by window")
        end = max((self.ends[source] for source in sources), default=1)
        if isinstance(made, FewSpikes):
            made = dataclasses.replace(made, start_step=end)
            end += len(made.bits)
        self.ends[made.train.name] = end
        self.ops.append(made)

    def route(self, train: Train, name: str, sources: tuple[str, ...], index: np.ndarray) -> None:
        """Append events at other addresses."""
        self.add(Route(dataclasses.replace(train, name=name), sources, IndexMap.of(index)), {}, "")

    def scan(self, scan: Scan) -> None:
        """One copy of the body for each element."""
        if not scan.windows:
            raise UnsupportedError(f"{scan.name}: its sequence has no element, so nothing is left to write")
        states = {state.input.name: state.initial for state in scan.states}
        rows: dict[str, list[str]] = {result.train.name: [""] * scan.windows for result in scan.results}
        for window in range(scan.windows):
            element = scan.windows - 1 - window if scan.reverse else window
            suffix = f"[{element}]"
            names = {**states, **{shared.input.name: shared.source for shared in scan.shared}}
            for entering in scan.elements:
                names[entering.input.name] = own = f"{entering.input.name}{suffix}"
                size = entering.input.size
                self.route(entering.input, own, (entering.source,), np.arange(element * size, (element + 1) * size))
            for op in scan.ops:
                if isinstance(op, Scan):
                    raise UnsupportedError(f"{op.name}: a scan inside a scan is not written out")
                self.add(op, names, suffix)
                self.copies[f"{op.train.name}{suffix}"] = op.train.name, element
                names[op.train.name] = f"{op.train.name}{suffix}"
            states = {state.input.name: names[state.following] for state in scan.states}
            for result in scan.results:
                rows[result.train.name][element] = names[result.source]
        for state in scan.states:
            self.route(state.final, state.final.name, (states[state.input.name],), np.arange(state.final.size))
        for result in scan.results:
            self.route(result.train, result.train.name, tuple(rows[result.train.name]), np.arange(result.train.size))
