"""A machine program: what a machine that can only add, compare and multiply integers has to do.

A program is a list of ops in order of evaluation. An op reads the trains of ops before it and writes one of its own (a
readout writes none). A train has one event, an integer, for every address and inner step. docs/machine.md says what each
op does; `interpreter.py` does it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from snnir.machine.addresses import IndexMap
from snnir.machine.emitters import (
    Accumulator,
    Clock,
    Constant,
    Difference,
    Emitter,
    FewSpikes,
    Function,
    Input,
    IntegrateFire,
    Population,
    Product,
    Readout,
    RunningSum,
    Settled,
    Summing,
)
from snnir.machine.equality import same
from snnir.machine.route import Route
from snnir.machine.scans import Element, Result, Scan, Shared, State
from snnir.machine.synapses import Synapse
from snnir.machine.trains import Train

__all__ = [
    "Accumulator",
    "Clock",
    "Constant",
    "Difference",
    "Element",
    "Emitter",
    "FewSpikes",
    "Function",
    "IndexMap",
    "Input",
    "IntegerProgram",
    "IntegrateFire",
    "Op",
    "Output",
    "Population",
    "Product",
    "Readout",
    "Result",
    "Route",
    "RunningSum",
    "Scan",
    "Settled",
    "Shared",
    "State",
    "Summing",
    "Synapse",
    "Train",
    "emitting",
    "outside",
    "trains_of",
    "walk",
]

Op = Emitter | Route | Scan


@dataclass(frozen=True, eq=False)
class Output:
    """What the model gives out as `name`: settled tracers of a train (`levels`), a readout (`real`), or what the host
    computes from these (`host`, without a source)."""

    name: str
    kind: str
    source: str


@dataclass(frozen=True, eq=False)
class IntegerProgram:
    """A spiking network for samples of one size; `host` lists the operators of the model that the program does not hold.

    `delivery` and `execution` say how the state of a window reaches the next (`boundaries.py`); no op depends on them, so that
    the same ops run under any.
    """

    name: str
    delivery: str
    execution: str
    ops: tuple[Op, ...]
    outputs: tuple[Output, ...]
    host: tuple[str, ...] = ()
    provenance: dict[str, object] = field(default_factory=dict)
    neuron: str = "bif"
    """The family of neurons: `bif`, `few-spikes` or `if`. Windows of few-spike neurons take the steps of their schedule."""

    def __eq__(self, other: object) -> bool:
        return same(self, other)

    __hash__ = object.__hash__

    @property
    def few(self) -> bool:
        """Whether neurons are few-spike neurons."""
        return self.neuron == "few-spikes"

    @property
    def carry(self) -> bool:
        """Whether the bodies of scans go on from window to window."""
        return self.execution == "carry"


def walk(ops: Sequence[Op], windows: int | None = None) -> Iterator[tuple[Op, int | None]]:
    """Every op in order, scans before what is in them, with the number of windows it runs in (None: outside scans)."""
    for op in ops:
        yield op, windows
        if isinstance(op, Scan):
            yield from walk(op.ops, op.windows)


def trains_of(op: Op) -> list[Train]:
    """The trains that an op writes; of a scan also those that enter its body."""
    if not isinstance(op, Scan):
        return [op.train]
    entering = [*(state.input for state in op.states), *(element.input for element in op.elements)]
    entering += [shared.input for shared in op.shared]
    return [*entering, *(state.final for state in op.states), *(result.train for result in op.results)]


def outside(ops: Sequence[Op]) -> Iterator[Train]:
    """Every train outside scans, results of scans included."""
    for op in ops:
        if isinstance(op, Scan):
            yield from (state.final for state in op.states)
            yield from (result.train for result in op.results)
        else:
            yield op.train


def emitting(program: IntegerProgram) -> dict[str, tuple[Emitter, int | None]]:
    """The emitters whose settled tracers results name, by name, with their numbers of windows (None: outside scans)."""
    return {op.train.name: (op, windows) for op, windows in walk(program.ops) if isinstance(op, Emitter) and op.counted}
