"""A machine program as flat tables, which one compiled call runs: instructions, and the arrays that they take.

Every train that an emitter or a border of a scan writes has a slot, where the kernel notes what was emitted last. What a route
moves on the way to a receiver is a train of its own, made by a `GATHER` where it is first read. A scan's instruction names the
instructions of its body, which run once for each window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from snnir.backends.simulator.addresses import AddressMap, invert, parts_of
from snnir.backends.simulator.kernels.constants import (
    CLOCK,
    CLOCK_BERNOULLI,
    CLOCK_CONSTANT,
    CLOCK_RATE,
    CLOCK_WINDOW,
    COMBINE,
    COMPUTE,
    ENCODE,
    GATHER,
    POPULATE,
    SCAN,
    SPARE,
)
from snnir.backends.simulator.pool import Pool, flat
from snnir.backends.simulator.pool import storage as storage_of
from snnir.backends.simulator.rounding import rounded
from snnir.backends.simulator.segment import SEGMENT
from snnir.backends.simulator.segments import Segments, build
from snnir.backends.simulator.tables import (
    CLOCKED,
    COMBINATION,
    ELEMENT,
    EMITTER,
    ENCODER,
    FUNCTION,
    FUNCTION_SOURCE,
    GATHERED,
    INSTRUCTION,
    MICROCODE,
    PART,
    POPULATION,
    ROUNDING,
    SETTLED,
    SHARED,
    STACKED,
    STATE,
    WINDOWS,
    Charged,
    Layout,
    Program,
)
from snnir.backends.simulator.windowed import keep_cut
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
    Train,
    trains_of,
    walk,
)
from snnir.machine.segments import segments

__all__ = ["Cache", "assemble"]

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


def assemble(lowered: Lowered, cache: Cache) -> tuple[Program, Layout]:
    """The tables of a machine program, and where its results stand.

    Raises `UnsupportedError` naming the node whose events are too large, or an emitter that the kernels lack.
    """
    return _Assembler(lowered, cache).finish()


def _emits_bits(state: State, ops: Sequence[Op]) -> bool:
    """Whether few-spike neurons emit a state, and that all bits of its levels."""
    emitters = [op for op in ops if isinstance(op, FewSpikes) and op.train.name == state.following]
    return any(not op.omitted and op.train.bits == state.input.bits for op in emitters)


class _Assembler:
    def __init__(self, lowered: Lowered, cache: Cache) -> None:
        self.lowered, self.cache = lowered, cache
        self.windows = [lowered.program.name]
        self.routes: dict[str, Route] = {}
        self.trains: dict[str, Train] = {}
        self.slots: dict[str, int] = {}
        self.slot_count = 0
        self.rows: dict[np.dtype, list[tuple[int, ...]]] = {}
        self.maps: list[np.ndarray] = []
        self.map_size = 0
        self.gathered: dict[tuple[int, tuple[str, ...]], int] = {}
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
        arrays = ("counts", "sums", "levels", "factors", "members", "thresholds", "index", "neurons", "narrow", "wide")
        self.sizes = dict.fromkeys((*arrays, "w0", "w1", "w2"), 0)
        self.kept = dict.fromkeys(("encoders", "combinations", "states", "borders"), 0)
        self.microprogram = Microprogram()
        self.accumulated: dict[str, int] = {}
        self.segments = segments(lowered.program.ops)
        self.columns_of = [1 + max(self.segments.values(), default=0)]
        self.columns = self.columns_of[0]
        self.top: list[tuple[int, int]] = []
        self.bodies: list[list[tuple[int, int]]] = []
        for op, _ in walk(lowered.program.ops):
            self._enter(op)
        self._run(lowered.program.ops, self.top, None)

    def _enter(self, op: Op) -> None:
        """Note the trains of an op, and refuse those whose events are too large."""
        if isinstance(op, Route):
            self.routes[op.train.name] = op
        for train in trains_of(op):
            self.trains[train.name] = train
            if train.hi - train.lo > _LARGEST_EVENT:
                node = self.lowered.nodes.get(op.name if isinstance(op, Scan) else train.name)
                raise UnsupportedError(
                    f"{train.name if node is None else node.describe()}: {train.name} changes by up to {train.hi - train.lo} "
                    f"levels at once; an event of the simulator carries at most {_LARGEST_EVENT}. Give what it comes from "
                    "fewer bits"
                )

    def add(self, table: np.dtype, *row: int) -> int:
        """Append a row to a table; its number."""
        rows = self.rows.setdefault(table, [])
        rows.append(tuple(int(number) for number in row))
        return len(rows) - 1

    def take(self, what: str, size: int) -> int:
        """Where `size` further entries of a flat array begin."""
        first = self.sizes[what]
        self.sizes[what] += int(size)
        return first

    def keep(self, what: str, size: int) -> int:
        """Where `size` further entries begin that a body keeps from window to window."""
        first = self.kept[what]
        self.kept[what] += int(size)
        return first

    def count(self, table: np.dtype) -> int:
        """How many rows a table has."""
        return len(self.rows.get(table, []))

    def new_slot(self) -> int:
        self.slot_count += 1
        return self.slot_count - 1

    def slot(self, name: str) -> int:
        """The slot of a train."""
        if name not in self.slots:
            self.slots[name] = self.new_slot()
        return self.slots[name]

    def read(self, names: Sequence[str], code: list[tuple[int, int]]) -> int:
        """The slot of trains side by side; gathered by an instruction where it is not one that is written as it is."""
        if len(names) == 1 and names[0] not in self.routes:
            return self.slot(names[0])
        key = id(code), tuple(names)
        if key not in self.gathered:
            sources, index = self._joined(names)
            sizes = [self.trains[source].size for source in sources]
            if len(sources) == 1 and np.array_equal(index, np.arange(sizes[0])):
                self.gathered[key] = self.slot(sources[0])
                return self.gathered[key]
            slots = [self.read([source], code) for source in sources]
            first = self.count(PART)
            for slot, map_ in zip(slots, parts_of(index, sizes), strict=True):
                if map_ is not None:
                    self.add(PART, slot, self._map(map_))
            self.gathered[key] = self.new_slot()
            code.append((GATHER, self.add(GATHERED, self.gathered[key], first, self.count(PART))))
        return self.gathered[key]

    def _joined(self, names: Sequence[str]) -> tuple[list[str], np.ndarray]:
        """What trains side by side read: the sources, and which of their addresses each address is (-1: silent)."""
        sources: list[str] = []
        parts, first = [], 0
        for name in names:
            route = self.routes.get(name)
            own = [name] if route is None else list(route.sources)
            index = np.arange(self.trains[name].size) if route is None else route.map.array()
            parts.append(np.where(index >= 0, index + first, -1) if first else index)
            sources += own
            first += sum(self.trains[source].size for source in own)
        return sources, np.concatenate(parts)

    def _map(self, map_: AddressMap) -> int:
        """Where a map stands: pointers into the flat array itself, then targets."""
        first = self.map_size
        pointers = map_.offsets.astype(np.int64) + first + map_.offsets.size
        self.maps += [pointers, map_.targets.astype(np.int64)]
        self.map_size += map_.offsets.size + map_.targets.size
        return first

    def _run(self, ops: Sequence[Op], code: list[tuple[int, int]], scan: Scan | None) -> None:
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
        counts = self.take("counts", size * (1 if windows is None else windows)) if op.counted and op.emits else -1
        self.emitters.append((op, windows))
        segment = self.segments[op.train.name]
        return self.add(EMITTER, self.slot(op.train.name), size, counts, op.fires, windows or 1, segment)

    def _encode(self, op: Input | Constant, code: list[tuple[int, int]], scan: Scan | None) -> None:
        name, size, fixed = op.train.name, op.train.size, isinstance(op, Constant)
        moving = scan is not None and not fixed
        windows = scan.windows if scan is not None and moving else 1
        levels = self.take("levels", size * windows)
        node = None if fixed else self.lowered.nodes[name]
        given = None if node is None else rounded(node)
        outer = None if scan is None else self.lowered.nodes[scan.name]
        self.encoders.append(Charged(op, None if node is None else node.output, given, outer, windows, levels))
        if given is not None:
            factors = -1
            if given.factors is not None:
                factors = self.take("factors", size)
                self.factors.append(np.broadcast_to(given.factors, op.train.shape).reshape(size))
            for k in range(windows):
                self.roundings.append((size, levels + k * size, factors, op.train.scale, op.train.lo, op.train.hi))
        kept, stride = self.keep("encoders", size), size if moving else 0
        row = (self._emitter(op, scan), self.slot(name), size, fixed, levels, stride, kept)
        code.append((ENCODE, self.add(ENCODER, *row)))

    def _segments(self, op: Summing) -> Segments:
        key = op.train.name, tuple(synapse.inputs for synapse in op.synapses)
        if key not in self.cache.segments:
            self.cache.segments[key] = build(op, self.trains)
        return self.cache.segments[key]

    def _populate(self, op: _Summing, code: list[tuple[int, int]], scan: Scan | None) -> None:
        segments = self._segments(op)
        storage, size, first = storage_of(segments), op.train.size, len(self.inputs)
        self.inputs += [self.read([source], code) for source in op.sources]
        self.segment_names += segments.names
        sums, register, lo, hi, staircase = -1, -1, op.train.lo, op.train.hi, False
        bits, omitted = (op.train.bits, op.omitted) if isinstance(op, FewSpikes) else (0, 0)
        thresholds = np.ones((1, 1), np.int64)
        if isinstance(op, Readout):
            sums = self.take("sums", size * (1 if scan is None else scan.windows))
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
        weights, index = self.take(f"w{storage}", segments.weights.size), self.take("index", segments.index.size)
        rows = segments.table.copy()
        rows["weights"] += weights
        self.segment_rows.append(rows)
        row = (
            self._emitter(op, scan),
            self.slot(op.train.name),
            storage,
            size,
            self.take("neurons", size),
            self.take("wide" if storage == 2 else "narrow", size),
            lo,
            hi,
            staircase,
            bits,
            omitted,
            self.take("thresholds", thresholds.size),
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
        code.append((POPULATE, self.add(POPULATION, *row)))

    def _clock(self, op: Clock, code: list[tuple[int, int]], scan: Scan | None) -> None:
        emitter, source = self._emitter(op, scan), self.read([op.source], code)
        row = (emitter, self.slot(op.train.name), source, op.train.size, op.steps, _CLOCKS[op.kind], op.seed, op.first)
        code.append((CLOCK, self.add(CLOCKED, *row)))

    def _compute(self, op: Function | Settled | Difference, code: list[tuple[int, int]], scan: Scan | None) -> None:
        first, size, given = self.count(FUNCTION_SOURCE), op.train.size, []
        for name in op.sources:
            extent = self.trains[name].size
            if name in self.accumulated:
                slot, register = self.slot(name), self.accumulated[name]
            else:
                slot, register = self.read([name], code), self.microprogram.room(extent)
            self.add(FUNCTION_SOURCE, slot, register, extent, name in self.accumulated)
            given.append((register, extent))
        step = len(self.microprogram.rows)
        result = self.microprogram.write(() if isinstance(op, Settled) else op.code, given)
        row = (
            self._emitter(op, scan),
            self.slot(op.train.name),
            size,
            op.train.lo,
            op.train.hi,
            first,
            self.count(FUNCTION_SOURCE),
            step,
            len(self.microprogram.rows),
            result,
            self.microprogram.room(size),
            isinstance(op, Difference),
        )
        code.append((COMPUTE, self.add(FUNCTION, *row)))

    def _combine(self, op: Max | Product, code: list[tuple[int, int]], scan: Scan | None) -> None:
        count, product = op.train.size, isinstance(op, Product)
        sources, members = self._members(op)
        source, inputs = self.read(sources, code), sum(self.trains[name].size for name in sources)
        held = invert(members, inputs)
        rows = AddressMap(held.offsets, held.targets // max(members.shape[1], 1))
        at, pointers = self.take("members", members.size), self._map(rows)
        kept = self.keep("combinations", inputs + count)
        self.members.append(members.astype(np.int32).reshape(-1))
        row = (source, count, inputs, at, at + members.size, members.shape[1], pointers, product, kept)
        code.append((COMBINE, self.add(COMBINATION, self._emitter(op, scan), self.slot(op.train.name), *row)))

    def _members(self, op: Max | Product) -> tuple[list[str], np.ndarray]:
        """The trains that a combination reads side by side, and for each of its addresses which of theirs it combines.

        A member that stands twice in a row is there once and -1 otherwise. A maximum reads what a route moves from where the
        route reads it, unless that is silent somewhere: silence is level 0, and no member.
        """
        count = op.train.size
        if isinstance(op, Product):
            return list(op.sources), np.arange(2 * count).reshape(2, count).T
        sources, index = self._joined([op.source])
        if (index < 0).any():
            sources, index = [op.source], np.arange(index.size)
        members = index.reshape(count, op.width)
        order = np.argsort(members, axis=1, kind="stable")
        ordered = np.take_along_axis(members, order, axis=1)
        again = np.zeros(members.shape, bool)
        np.put_along_axis(again, order[:, 1:], ordered[:, 1:] == ordered[:, :-1], axis=1)
        return sources, np.where(again, -1, members)

    def _scan(self, op: Scan, code: list[tuple[int, int]]) -> None:
        body: list[tuple[int, int]] = []
        order = range(op.windows - 1, -1, -1) if op.reverse else range(op.windows)
        self.windows += [f"{op.name}[{element}]" for element in order]
        here = segments(op.ops)
        self.segments |= here
        columns = 1 + max(here.values(), default=0)
        row = [op.windows, op.reverse, self.columns, columns, len(self.bodies), 0]
        self.columns += op.windows * columns
        self.columns_of += [columns] * op.windows
        elements = [(element, self.read([element.source], code)) for element in op.elements]
        initial = [self.read([state.initial], code) for state in op.states]
        shared = [(link.input.name, self.read([link.source], code)) for link in op.shared]
        for table in (ELEMENT, STATE, SHARED, STACKED):
            row += [self.count(table)] * 2
        for element, outer in elements:
            size = element.input.size
            self.add(ELEMENT, self.slot(element.input.name), outer, size, element.encoded, self.keep("borders", size), 0)
        for name, outer in shared:
            self.add(SHARED, self.slot(name), outer)
        self._run(op.ops, body, op)
        for state, outer in zip(op.states, initial, strict=True):
            following, size = self.read([state.following], body), state.input.size
            slots = self.slot(state.input.name), outer, following, self.slot(state.final.name)
            self.add(STATE, *slots, size, self.keep("states", 3 * size), state.input.bits, _emits_bits(state, op.ops))
        for result in op.results:
            size = result.train.size // max(op.windows, 1)
            stacked = self.read([result.source], body), self.slot(result.train.name)
            self.add(STACKED, *stacked, size, self.keep("borders", size), 0)
        for place, table in enumerate((ELEMENT, STATE, SHARED, STACKED)):
            row[7 + 2 * place] = self.count(table)
        self.bodies.append(body)
        code.append((SCAN, self.add(WINDOWS, *row)))

    def finish(self) -> tuple[Program, Layout]:
        """All tables."""
        outputs, settles = [], 0
        for output in self.lowered.program.outputs:
            if output.kind == "levels":
                train = self.trains[output.source]
                self.add(SETTLED, self.read([output.source], self.top), train.size, settles)
                outputs.append((output.name, train.shape, settles))
                settles += train.size
        code = list(self.top)
        windows = self.table(WINDOWS)
        for row in windows:
            body = self.bodies[row["body"]]
            row["body"], row["body_end"] = len(code), len(code) + len(body)
            code += body
        populations = [own for _, own in self.populations]
        weights8, weights16, weights64, index, bias32, bias64 = self.cache.pool.of(populations)
        layout = Layout(
            tuple(self.emitters),
            tuple(self.segment_names),
            tuple(self.readouts),
            tuple(outputs),
            tuple(self.encoders),
            self.windows,
            self.columns_of,
            self.columns,
            self.sizes["counts"],
            self.sizes["sums"],
            settles,
            self.sizes["levels"],
            {op.train.name: self.lowered.nodes[op.train.name].output for op, _, _ in self.readouts},
        )
        program = Program(
            len(self.top),
            self.slot_count,
            self.lowered.program.few,
            np.array(code, np.int64).reshape(-1, 2).copy().view(INSTRUCTION).reshape(-1),
            self.table(GATHERED),
            self.table(PART),
            flat(self.maps, np.int64),
            self.table(EMITTER),
            self.table(ENCODER),
            np.array(self.roundings, ROUNDING),
            np.concatenate([np.zeros(0, np.float32), *self.factors]),
            self.table(POPULATION),
            np.concatenate([np.zeros(0, SEGMENT), *self.segment_rows]),
            np.array(self.inputs, np.int64),
            weights8,
            weights16,
            weights64,
            index,
            bias32,
            bias64,
            flat([*(_parameters(op, own) for op, own in self.populations), np.zeros(SPARE, np.int32)], np.int32),
            flat([own.layout for own in populations], np.int32),
            flat(self.thresholds, np.int64),
            flat(self.potentials, np.int64),
            self.table(CLOCKED),
            self.table(COMBINATION),
            flat(self.members, np.int32),
            windows,
            self.table(ELEMENT),
            self.table(STATE),
            self.table(SHARED),
            self.table(STACKED),
            self.table(SETTLED),
            self.table(FUNCTION),
            self.table(FUNCTION_SOURCE),
            np.array(self.microprogram.rows, MICROCODE),
            self.microprogram.register_maps(),
            self.microprogram.registers(),
            np.array(layout.results[:-1], np.int64),
            np.array(list(self.kept.values()), np.int64),
        )
        keep_cut(program)
        return program, layout

    def table(self, kind: np.dtype) -> np.ndarray:
        """The rows of a table as records."""
        return np.array(self.rows.get(kind, []), kind)


def _parameters(op: Summing, segments: Segments) -> np.ndarray:
    """The row of thresholds of each neuron, in their order of storage (int32)."""
    if not isinstance(op, Population | FewSpikes | IntegrateFire):
        return np.zeros(op.train.size, np.int32)
    rows: np.ndarray = op.theta_map.array().astype(np.int32)[segments.layout]
    return rows
