"""Instructions: every op of a machine program as a row of the table of its kind, and its arrays.

A scan's instruction names the instructions of its body, which run once for each window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from snnir.backends.simulator.addresses import AddressMap, invert
from snnir.backends.simulator.kernels.constants import (
    CLOCK,
    CLOCK_BERNOULLI,
    CLOCK_CONSTANT,
    CLOCK_RATE,
    CLOCK_WINDOW,
    COMBINE,
    COMPUTE,
    ENCODE,
    POPULATE,
    SCAN,
)
from snnir.backends.simulator.pool import Pool
from snnir.backends.simulator.pool import storage as storage_of
from snnir.backends.simulator.rounding import rounded
from snnir.backends.simulator.rows import Rows
from snnir.backends.simulator.segments import Segments, build
from snnir.backends.simulator.slots import Block, Slots
from snnir.backends.simulator.tables import (
    CLOCKED,
    COMBINATION,
    ELEMENT,
    EMITTER,
    ENCODER,
    FUNCTION,
    FUNCTION_SOURCE,
    POPULATION,
    SHARED,
    STACKED,
    STATE,
    WINDOWS,
    Charged,
)
from snnir.errors import UnsupportedError
from snnir.machine import Lowered
from snnir.machine.emitters import Max
from snnir.machine.microprogram import Microprogram
from snnir.machine.program import (
    Accumulator,
    Clock,
    Constant,
    Difference,
    Emitter,
    FewSpikes,
    Function,
    Input,
    IntegrateFire,
    Op,
    Population,
    Product,
    Readout,
    Route,
    RunningSum,
    Scan,
    Settled,
    State,
    Summing,
    trains_of,
    walk,
)
from snnir.machine.segments import segments

__all__ = ["Cache", "Instructions"]

_Summing = Population | FewSpikes | IntegrateFire | Readout | Accumulator | RunningSum

_CLOCKS = {"constant": CLOCK_CONSTANT, "rate": CLOCK_RATE, "bernoulli": CLOCK_BERNOULLI, "window": CLOCK_WINDOW}

_LARGEST_EVENT = (1 << 30) - 1
"""An event is a number of 32 bits: twice its value, and a mark."""


@dataclass
class Cache:
    """Segments by population and input shapes, and all of them in flat arrays, shared by the programs of different sequence
    lengths."""

    segments: dict[tuple[str, tuple[tuple[int, ...], ...]], Segments] = field(default_factory=dict)
    pool: Pool = field(default_factory=Pool)


def _emits_bits(state: State, ops: Sequence[Op]) -> bool:
    """Whether few-spike neurons emit a state, and that all bits of its levels."""
    emitters = [op for op in ops if isinstance(op, FewSpikes) and op.train.name == state.following]
    return any(not op.omitted and op.train.bits == state.input.bits for op in emitters)


class Instructions:
    """The instructions of a program (`top` outside scans, `bodies` those of scans) and the rows and arrays that they take.

    Raises `UnsupportedError` naming the node whose events are too large, or an emitter that the kernels lack.
    """

    def __init__(self, lowered: Lowered, cache: Cache) -> None:
        self.lowered, self.cache = lowered, cache
        self.rows = Rows()
        self.slots = Slots(self.rows)
        self.windows = [lowered.program.name]
        self.emitters: list[tuple[Emitter, int | None]] = []
        self.encoders: list[Charged] = []
        self.roundings: list[tuple[int, int, int, float, int, int]] = []
        self.factors: list[np.ndarray] = []
        self.readouts: list[tuple[Readout, int, int | None]] = []
        self.populations: list[tuple[Summing, Segments]] = []
        self.segment_rows: list[np.ndarray] = []
        self.segment_names: list[str] = []
        self.inputs: list[int] = []
        self.members: list[np.ndarray] = []
        self.thresholds: list[np.ndarray] = []
        self.potentials: list[np.ndarray] = []
        self.microprogram = Microprogram()
        self.accumulated: dict[str, int] = {}
        self.segments = segments(lowered.program.ops)
        self.columns_of = [1 + max(self.segments.values(), default=0)]
        self.columns = self.columns_of[0]
        self.top: Block = []
        self.bodies: list[Block] = []
        for op, _ in walk(lowered.program.ops):
            self._enter(op)
        self._run(lowered.program.ops, self.top, None)

    def _enter(self, op: Op) -> None:
        """Note the trains of an op, and refuse those whose events are too large."""
        if isinstance(op, Route):
            self.slots.routes[op.train.name] = op
        for train in trains_of(op):
            self.slots.trains[train.name] = train
            if train.hi - train.lo > _LARGEST_EVENT:
                node = self.lowered.nodes.get(op.name if isinstance(op, Scan) else train.name)
                raise UnsupportedError(
                    f"{train.name if node is None else node.describe()}: {train.name} changes by up to {train.hi - train.lo} "
                    f"levels at once; an event of the simulator carries at most {_LARGEST_EVENT}. Give what it comes from "
                    "fewer bits"
                )

    def _run(self, ops: Sequence[Op], code: Block, scan: Scan | None) -> None:
        for op in ops:
            if isinstance(op, Input | Constant):
                self._encode(op, code, scan)
            elif isinstance(op, Function | Settled | Difference):
                self._compute(op, code, scan)
            elif isinstance(op, Clock):
                self._clock(op, code, scan)
            elif isinstance(op, Population | FewSpikes | IntegrateFire | Readout | Accumulator | RunningSum):
                self._populate(op, code, scan)
            elif isinstance(op, Max | Product):
                self._combine(op, code, scan)
            elif isinstance(op, Scan):
                self._scan(op, code)
            elif isinstance(op, Emitter):
                raise UnsupportedError(f"{op.train.name}: the simulator has no kernel for a {type(op).__name__.lower()}")

    def _emitter(self, op: Emitter, scan: Scan | None) -> int:
        windows = None if scan is None else scan.windows
        size = op.train.size
        counts = self.rows.take("counts", size * (1 if windows is None else windows)) if op.counted and op.emits else -1
        self.emitters.append((op, windows))
        segment = self.segments[op.train.name]
        return self.rows.add(EMITTER, self.slots.slot(op.train.name), size, counts, op.fires, windows or 1, segment)

    def _encode(self, op: Input | Constant, code: Block, scan: Scan | None) -> None:
        name, size, fixed = op.train.name, op.train.size, isinstance(op, Constant)
        moving = scan is not None and not fixed
        windows = scan.windows if scan is not None and moving else 1
        levels = self.rows.take("levels", size * windows)
        node = None if fixed else self.lowered.nodes[name]
        given = None if node is None else rounded(node)
        outer = None if scan is None else self.lowered.nodes[scan.name]
        self.encoders.append(Charged(op, None if node is None else node.output, given, outer, windows, levels))
        if given is not None:
            factors = -1
            if given.factors is not None:
                factors = self.rows.take("factors", size)
                self.factors.append(np.broadcast_to(given.factors, op.train.shape).reshape(size))
            for k in range(windows):
                self.roundings.append((size, levels + k * size, factors, op.train.scale, op.train.lo, op.train.hi))
        kept, stride = self.rows.keep("encoders", size), size if moving else 0
        row = (self._emitter(op, scan), self.slots.slot(name), size, fixed, levels, stride, kept)
        code.append((ENCODE, self.rows.add(ENCODER, *row)))

    def _segments(self, op: Summing) -> Segments:
        key = op.train.name, tuple(synapse.inputs for synapse in op.synapses)
        if key not in self.cache.segments:
            self.cache.segments[key] = build(op, self.slots.trains)
        return self.cache.segments[key]

    def _populate(self, op: _Summing, code: Block, scan: Scan | None) -> None:
        segments = self._segments(op)
        storage, size, first = storage_of(segments), op.train.size, len(self.inputs)
        self.inputs += [self.slots.read([source], code) for source in op.sources]
        self.segment_names += segments.names
        sums, register, lo, hi, staircase = -1, -1, op.train.lo, op.train.hi, False
        bits, omitted = (op.train.bits, op.omitted) if isinstance(op, FewSpikes) else (0, 0)
        thresholds = np.ones((1, 1), np.int64)
        if isinstance(op, Readout):
            sums = self.rows.take("sums", size * (1 if scan is None else scan.windows))
            self.readouts.append((op, sums, None if scan is None else scan.windows))
        elif isinstance(op, Accumulator):
            self.accumulated[op.train.name] = register = self.microprogram.room(size)
        elif isinstance(op, RunningSum):
            lo = hi = 0
        else:
            staircase = not isinstance(op, IntegrateFire) and op.staircase
            thresholds = op.theta.reshape(len(op.theta), -1)
        clocked = (0, False, 0, False, False)
        if isinstance(op, IntegrateFire):
            clocked = op.steps, op.reset == "hard", op.leak, op.delayed, op.telling
        own = op.potentials() if isinstance(op, IntegrateFire) else np.zeros(size, np.int64)
        self.potentials.append(own[segments.layout])
        weights, index = self.rows.take(f"w{storage}", segments.weights.size), self.rows.take("index", segments.index.size)
        rows = segments.table.copy()
        rows["weights"] += weights
        self.segment_rows.append(rows)
        row = (
            self._emitter(op, scan),
            self.slots.slot(op.train.name),
            storage,
            size,
            self.rows.take("neurons", size),
            self.rows.take("wide" if storage == 2 else "narrow", size),
            lo,
            hi,
            staircase,
            bits,
            omitted,
            self.rows.take("thresholds", thresholds.size),
            thresholds.shape[1],
            first,
            len(self.inputs),
            index,
            index + segments.index.size,
            sums,
            register,
            isinstance(op, RunningSum),
            *clocked,
        )
        self.thresholds.append(thresholds.reshape(-1))
        self.populations.append((op, segments))
        code.append((POPULATE, self.rows.add(POPULATION, *row)))

    def _clock(self, op: Clock, code: Block, scan: Scan | None) -> None:
        emitter, source = self._emitter(op, scan), self.slots.read([op.source], code)
        row = (emitter, self.slots.slot(op.train.name), source, op.train.size, op.steps, _CLOCKS[op.kind], op.seed, op.first)
        code.append((CLOCK, self.rows.add(CLOCKED, *row)))

    def _compute(self, op: Function | Settled | Difference, code: Block, scan: Scan | None) -> None:
        first, size, given = self.rows.count(FUNCTION_SOURCE), op.train.size, []
        for name in op.sources:
            extent = self.slots.trains[name].size
            if name in self.accumulated:
                slot, register = self.slots.slot(name), self.accumulated[name]
            else:
                slot, register = self.slots.read([name], code), self.microprogram.room(extent)
            self.rows.add(FUNCTION_SOURCE, slot, register, extent, name in self.accumulated)
            given.append((register, extent))
        step = len(self.microprogram.rows)
        result = self.microprogram.write(() if isinstance(op, Settled) else op.code, given)
        row = (
            self._emitter(op, scan),
            self.slots.slot(op.train.name),
            size,
            op.train.lo,
            op.train.hi,
            first,
            self.rows.count(FUNCTION_SOURCE),
            step,
            len(self.microprogram.rows),
            result,
            self.microprogram.room(size),
            isinstance(op, Difference),
        )
        code.append((COMPUTE, self.rows.add(FUNCTION, *row)))

    def _combine(self, op: Max | Product, code: Block, scan: Scan | None) -> None:
        count, product = op.train.size, isinstance(op, Product)
        sources, members = self._members(op)
        source, inputs = self.slots.read(sources, code), sum(self.slots.trains[name].size for name in sources)
        held = invert(members, inputs)
        rows = AddressMap(held.offsets, held.targets // max(members.shape[1], 1))
        at, pointers = self.rows.take("members", members.size), self.slots.map(rows)
        kept = self.rows.keep("combinations", inputs + count)
        self.members.append(members.astype(np.int32).reshape(-1))
        row = (source, count, inputs, at, at + members.size, members.shape[1], pointers, product, kept)
        code.append((COMBINE, self.rows.add(COMBINATION, self._emitter(op, scan), self.slots.slot(op.train.name), *row)))

    def _members(self, op: Max | Product) -> tuple[list[str], np.ndarray]:
        """The trains that a combination reads side by side, and for each of its addresses which of theirs it combines.

        A member that stands twice in a row is there once and -1 otherwise. A maximum reads what a route moves from where the
        route reads it, unless that is silent somewhere: silence is level 0, and no member.
        """
        count = op.train.size
        if isinstance(op, Product):
            return list(op.sources), np.arange(2 * count).reshape(2, count).T
        sources, index = self.slots.joined([op.source])
        if (index < 0).any():
            sources, index = [op.source], np.arange(index.size)
        members = index.reshape(count, op.width)
        order = np.argsort(members, axis=1, kind="stable")
        ordered = np.take_along_axis(members, order, axis=1)
        again = np.zeros(members.shape, bool)
        np.put_along_axis(again, order[:, 1:], ordered[:, 1:] == ordered[:, :-1], axis=1)
        return sources, np.where(again, -1, members)

    def _scan(self, op: Scan, code: Block) -> None:
        body: Block = []
        order = range(op.windows - 1, -1, -1) if op.reverse else range(op.windows)
        self.windows += [f"{op.name}[{element}]" for element in order]
        here = segments(op.ops)
        self.segments |= here
        columns = 1 + max(here.values(), default=0)
        row = [op.windows, op.reverse, self.columns, columns, len(self.bodies), 0]
        self.columns += op.windows * columns
        self.columns_of += [columns] * op.windows
        elements = [(element, self.slots.read([element.source], code)) for element in op.elements]
        initial = [self.slots.read([state.initial], code) for state in op.states]
        shared = [(link.input.name, self.slots.read([link.source], code)) for link in op.shared]
        for table in (ELEMENT, STATE, SHARED, STACKED):
            row += [self.rows.count(table)] * 2
        for element, outer in elements:
            size = element.input.size
            kept = self.rows.keep("crossing", size)
            self.rows.add(ELEMENT, self.slots.slot(element.input.name), outer, size, element.encoded, kept, 0)
        for name, outer in shared:
            self.rows.add(SHARED, self.slots.slot(name), outer)
        self._run(op.ops, body, op)
        for state, outer in zip(op.states, initial, strict=True):
            following, size = self.slots.read([state.following], body), state.input.size
            slots = self.slots.slot(state.input.name), outer, following, self.slots.slot(state.final.name)
            self.rows.add(STATE, *slots, size, self.rows.keep("states", 3 * size), state.input.bits, _emits_bits(state, op.ops))
        for result in op.results:
            size = result.train.size // max(op.windows, 1)
            stacked = self.slots.read([result.source], body), self.slots.slot(result.train.name)
            self.rows.add(STACKED, *stacked, size, self.rows.keep("crossing", size), 0)
        for place, table in enumerate((ELEMENT, STATE, SHARED, STACKED)):
            row[7 + 2 * place] = self.rows.count(table)
        self.bodies.append(body)
        code.append((SCAN, self.rows.add(WINDOWS, *row)))
