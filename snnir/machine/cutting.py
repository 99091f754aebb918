"""A program without scans cut at its functions: parts of neurons, one after another, and what is computed between them.

Products and maxima of complete levels are functions like others here.

A part reads levels and sums of earlier parts as inputs, and reads out what functions and later parts need of it. Movement of
addresses, constants and the model's inputs stand in every part that reads them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from snnir.errors import UnsupportedError
from snnir.machine.addresses import IndexMap
from snnir.machine.emitters import Accumulator, Combining, Constant, Emitter, Function, Input, Readout, Settled, Summing
from snnir.machine.program import IntegerProgram, Op
from snnir.machine.route import Route
from snnir.machine.scans import Scan
from snnir.machine.synapses import Synapse
from snnir.machine.trains import Train

__all__ = ["Cut", "Part", "cut"]


@dataclass(frozen=True)
class Part:
    """A program without functions. `given` says of every input what gives it: `model`, `function` (the result of one) or
    `levels` (of a population of an earlier part); `asked` which train or sum each readout stands for that functions and later
    parts ask for."""

    program: IntegerProgram
    given: Mapping[str, str]
    asked: Mapping[str, str]


@dataclass(frozen=True)
class Cut:
    """The parts in order, the functions, each with the part that follows on it, and the constants that these read."""

    parts: tuple[Part, ...]
    functions: tuple[tuple[Function, int], ...]
    constants: tuple[Constant, ...]


def cut(program: IntegerProgram) -> Cut:
    """The parts of a program without scans. Raises `UnsupportedError` for scans."""
    work = _Cutter(program)
    count = 1 + max(work.part.values(), default=0)
    functions = [(op, work.part[name]) for name, op in work.ops.items() if isinstance(op, Function)]
    read = dict.fromkeys(source for op, _ in functions for source in op.sources)
    constants = [op for op in (work.ops[name] for name in read) if isinstance(op, Constant)]
    return Cut(tuple(work.build(number) for number in range(count)), tuple(functions), tuple(constants))


class _Cutter:
    def __init__(self, program: IntegerProgram) -> None:
        self.program = program
        self.alias: dict[str, str] = {}
        self.ops: dict[str, Emitter | Route] = {}
        self.part: dict[str, int] = {}
        self.asked: dict[str, None] = {}
        """What functions and later parts ask for, in order."""
        for op in program.ops:
            self._enter(op)
        for name, op in self.ops.items():
            for source in self._sources(op):
                held = self.ops[source]
                if isinstance(held, Route):
                    if isinstance(op, Function):
                        self.asked[source] = None
                    self._moved(held, self.part[source if isinstance(op, Function) else name])
                elif isinstance(held, Input | Constant | Function) or isinstance(op, Route):
                    continue
                elif isinstance(op, Function) or self.part[source] < self.part[name]:
                    self.asked[source] = None

    def _enter(self, op: Op) -> None:
        if isinstance(op, Settled):
            self.alias[op.train.name] = self.alias.get(op.source, op.source)
            return
        if isinstance(op, Combining):  # what it comes to when its sources are complete
            op = Function(op.train, 0, 0, op.sources, (False,) * len(op.sources), op.of_complete())
        if isinstance(op, Scan) or not isinstance(op, Input | Constant | Function | Route | Summing):
            name = op.name if isinstance(op, Scan) else op.train.name
            raise UnsupportedError(f"{name}: a program is cut at functions where it has no {type(op).__name__.lower()}")
        if isinstance(op, Function):
            op = dataclasses.replace(op, names=tuple(self._sources(op)))
        self.ops[op.train.name] = op
        last = max((self.part[source] for source in self._sources(op)), default=0)
        self.part[op.train.name] = last + isinstance(op, Function)

    def _sources(self, op: Emitter | Route) -> list[str]:
        return [self.alias.get(source, source) for source in op.sources]

    def _moved(self, route: Route, reader: int) -> None:
        """Ask for what a part reads of earlier ones through movement."""
        for source in self._sources(route):
            held = self.ops[source]
            if isinstance(held, Route):
                self._moved(held, reader)
            elif not isinstance(held, Input | Constant | Function) and self.part[source] < reader:
                self.asked[source] = None

    def build(self, number: int) -> Part:
        """The program of one part."""
        ops: dict[str, Op] = {}
        given: dict[str, str] = {}
        asked: dict[str, str] = {}

        def need(name: str) -> str:
            name = self.alias.get(name, name)
            op = self.ops[name]
            if name in ops:
                return name
            if isinstance(op, Route):
                ops[name] = dataclasses.replace(op, sources=tuple(need(source) for source in op.sources))
            elif isinstance(op, Input | Constant):
                ops[name] = op
                if isinstance(op, Input):
                    given[name] = "model"
            else:
                ops[name] = Input(dataclasses.replace(op.train, scale=1.0), name)
                given[name] = "function" if isinstance(op, Function) else "levels"
            return name

        for name, op in self.ops.items():
            if self.part[name] != number or not isinstance(op, Summing):
                continue
            synapses = tuple(dataclasses.replace(synapse, source=need(synapse.source)) for synapse in op.synapses)
            made = dataclasses.replace(op, synapses=synapses)
            if isinstance(op, Accumulator):
                made = Readout(op.train, synapses, op.initial, op.initial_map, np.ones(1), _same(op.train.size))
                asked[name] = name
            ops[name] = made
        for name in self.asked:
            if self.part[name] == number and name not in asked:
                readout = _read_out(self.ops[need(name)].train, name)
                ops[readout.train.name] = readout
                asked[readout.train.name] = name
        program = dataclasses.replace(self.program, name=f"{self.program.name}.{number}", ops=tuple(ops.values()), outputs=())
        return Part(program, given, asked)


def _same(size: int) -> IndexMap:
    """Address 0 for all."""
    return IndexMap(((size, 0),))


def _read_out(train: Train, name: str) -> Readout:
    """A readout of the levels of a train."""
    own = Train(f"{name}.asked", train.shape, 0, 0, 1.0)
    one = Synapse(
        f"{name}.asked.synapse", name, "one", np.ones(1, np.int64), train.shape, train.shape, weight_map=_same(train.size)
    )
    return Readout(own, (one,), np.zeros(1, np.int64), _same(train.size), np.ones(1), _same(train.size))
