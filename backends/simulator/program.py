"""A plan as flat tables, which one compiled call runs: instructions, and the arrays that they take.

Every root value has a slot, where the kernel notes the train that the value emitted last. What is moved on the way
from values to synapses, or joined of several, is a train of its own, made by a `GATHER`; where nothing moves, the
root's slot is read. A scan's instruction names the instructions of its body, which run once for each window.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from snnir.backends.simulator.blocks import EncodePlan, Plan, PopulationPlan, ScanPlan, TracerPlan
from snnir.backends.simulator.kernels.constants import COMBINE, ENCODE, GATHER, POPULATE, SCAN
from snnir.backends.simulator.pool import Pool, flat
from snnir.backends.simulator.pool import storage as storage_of
from snnir.backends.simulator.segment import SEGMENT
from snnir.backends.simulator.tables import (
    COMBINATION,
    ELEMENT,
    EMITTER,
    ENCODER,
    GATHERED,
    INSTRUCTION,
    PART,
    POPULATION,
    ROUNDING,
    SETTLED,
    SHARED,
    STACKED,
    STATE,
    WINDOWS,
    Layout,
    Program,
)
from snnir.backends.simulator.wiring import AddressMap, Source
from snnir.errors import UnsupportedError
from snnir.ir.graph import Value
from snnir.ir.ops import Scan
from snnir.machine.host import window_order

__all__ = ["assemble"]


def assemble(plan: Plan, pool: Pool, name: str) -> tuple[Program, Layout]:
    """The program of a plan, and where its results stand; `name` is that of the outermost window.

    Raises `UnsupportedError` where two values that are told apart by name have the same one.
    """
    return _Assembler(plan, pool, name).finish(plan)


class _Assembler:
    def __init__(self, plan: Plan, pool: Pool, name: str) -> None:
        self.pool = pool
        self.windows = [name]
        self.slots: dict[Value, int] = {}
        self.slot_count = 0
        self.rows: dict[np.dtype, list[tuple[int, ...]]] = {}
        self.maps: list[np.ndarray] = []
        self.map_at: dict[int, int] = {}
        self.map_size = 0
        self.gathered: dict[tuple[int, ...], int] = {}
        self.emitters: list[tuple[EncodePlan | PopulationPlan | TracerPlan, int | None]] = []
        self.encoders: list[tuple[EncodePlan, ScanPlan | None, int]] = []
        self.roundings: list[tuple[int, int, float, int, int]] = []
        self.readouts: list[tuple[PopulationPlan, int, int | None]] = []
        self.populations: list[PopulationPlan] = []
        self.segment_rows: list[np.ndarray] = []
        self.segment_names: list[str] = []
        self.inputs: list[int] = []
        self.members: list[np.ndarray] = []
        self.thresholds: list[np.ndarray] = []
        self.sizes = dict.fromkeys(
            ("counts", "sums", "levels", "members", "thresholds", "index", "neurons", "narrow", "wide", "w0", "w1", "w2"), 0
        )
        self.kept = dict.fromkeys(("encoders", "combinations", "states", "borders"), 0)
        self.columns = 1
        self.top: list[tuple[int, int]] = []
        self.bodies: list[list[tuple[int, int]]] = []
        self._run(plan, self.top, None)

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

    def slot(self, value: Value) -> int:
        """The slot of a root."""
        if value not in self.slots:
            self.slots[value] = self.new_slot()
        return self.slots[value]

    def read(self, sources: Sequence[Source], code: list[tuple[int, int]]) -> int:
        """The slot of what comes from `sources`; gathered by an instruction where it is no root."""
        if len(sources) == 1 and sources[0].map is None:
            return self.slot(sources[0].root)
        key = (id(code), *(number for source in sources for number in (self.slot(source.root), id(source.map))))
        if key not in self.gathered:
            first = self.count(PART)
            for source in sources:
                self.add(PART, self.slot(source.root), -1 if source.map is None else self._map(source.map))
            self.gathered[key] = self.new_slot()
            code.append((GATHER, self.add(GATHERED, self.gathered[key], first, self.count(PART))))
        return self.gathered[key]

    def _map(self, map_: AddressMap) -> int:
        """Where a map stands: pointers into the flat array itself, then targets."""
        if id(map_) not in self.map_at:
            first = self.map_size
            pointers = map_.offsets.astype(np.int64) + first + map_.offsets.size
            self.maps += [pointers, map_.targets.astype(np.int64)]
            self.map_size += map_.offsets.size + map_.targets.size
            self.map_at[id(map_)] = first
        return self.map_at[id(map_)]

    def _run(self, plan: Plan, code: list[tuple[int, int]], scan: ScanPlan | None) -> None:
        for step in plan.steps:
            if isinstance(step, EncodePlan):
                self._encode(step, code, scan)
            elif isinstance(step, PopulationPlan):
                self._populate(step, code, scan)
            elif isinstance(step, TracerPlan):
                self._combine(step, code, scan)
            else:
                self._scan(step, code)

    def _emitter(self, step: EncodePlan | PopulationPlan | TracerPlan, scan: ScanPlan | None) -> int:
        size = int(np.prod(step.shape))
        windows = None if scan is None else scan.length
        told = not (isinstance(step, EncodePlan) and step.fixed) and not (isinstance(step, PopulationPlan) and step.readout)
        counts = self.take("counts", size * (1 if windows is None else windows)) if told else -1
        self.emitters.append((step, windows))
        return self.add(EMITTER, self.slot(step.value), size, counts, isinstance(step, PopulationPlan), windows or 1)

    def _encode(self, step: EncodePlan, code: list[tuple[int, int]], scan: ScanPlan | None) -> None:
        size = int(np.prod(step.shape))
        moving = scan is not None and not step.fixed
        levels = self.take("levels", size * (scan.length if scan is not None and moving else 1))
        self.encoders.append((step, scan, levels))
        if step.given is not None:
            grid = step.value.type.quantization
            assert grid is not None
            for k in range(scan.length if scan is not None else 1):
                self.roundings.append((size, levels + k * size, grid.scale, grid.lo, grid.hi))
        kept, stride = self.keep("encoders", size), size if moving else 0
        row = (self._emitter(step, scan), self.slot(step.value), size, step.fixed, levels, stride, kept)
        code.append((ENCODE, self.add(ENCODER, *row)))

    def _populate(self, step: PopulationPlan, code: list[tuple[int, int]], scan: ScanPlan | None) -> None:
        segments = step.segments
        storage, size, first = storage_of(segments), segments.bias.size, len(self.inputs)
        self.inputs += [self.read(sources, code) for sources in step.inputs]
        self.segment_names += segments.names
        sums = -1
        if step.readout:
            sums = self.take("sums", size * (1 if scan is None else scan.length))
            self.readouts.append((step, sums, None if scan is None else scan.length))
        lo, hi, staircase = step.levels
        weights, index = self.take(f"w{storage}", segments.weights.size), self.take("index", segments.index.size)
        rows = segments.table.copy()
        rows["weights"] += weights
        self.segment_rows.append(rows)
        row = (
            self._emitter(step, scan),
            self.slot(step.value),
            storage,
            size,
            self.take("neurons", size),
            self.take("wide" if storage == 2 else "narrow", size),
            lo,
            hi,
            staircase,
            step.bits,
            step.omitted,
            self.take("thresholds", step.table.size),
            step.table.shape[1],
            first,
            len(self.inputs),
            index,
            index + segments.index.size,
            sums,
        )
        self.thresholds.append(step.table.reshape(-1))
        self.populations.append(step)
        code.append((POPULATE, self.add(POPULATION, *row)))

    def _combine(self, step: TracerPlan, code: list[tuple[int, int]], scan: ScanPlan | None) -> None:
        source, inputs, count = self.read(step.inputs, code), step.rows.offsets.size - 1, len(step.members)
        members, pointers = self.take("members", step.members.size), self._map(step.rows)
        kept = self.keep("combinations", inputs + count)
        self.members.append(step.members.reshape(-1))
        width = step.members.shape[1]
        row = (source, count, inputs, members, members + step.members.size, width, pointers, step.product, kept)
        code.append((COMBINE, self.add(COMBINATION, self._emitter(step, scan), self.slot(step.value), *row)))

    def _scan(self, step: ScanPlan, code: list[tuple[int, int]]) -> None:
        op = step.node.op
        assert isinstance(op, Scan)
        body: list[tuple[int, int]] = []
        self.windows += [f"{step.node.outputs[0].name}[{element}]" for element in window_order(op, step.length)]
        row = [step.length, op.reverse, self.columns, len(self.bodies), 0]
        self.columns += step.length
        elements = [
            (value, self.read(emission.sources, code), emission.size // max(step.length, 1), emission.encoded)
            for value, emission in step.elements
        ]
        initial = [self.read(state.initial.sources, code) for state in step.states]
        shared = [(value, self.read(emission.sources, code)) for value, emission in step.shared]
        for table in (ELEMENT, STATE, SHARED, STACKED):
            row += [self.count(table)] * 2
        for value, outer, size, encoded in elements:
            self.add(ELEMENT, self.slot(value), outer, size, encoded, self.keep("borders", size))
        for value, outer in shared:
            self.add(SHARED, self.slot(value), outer)
        self._run(step.body, body, step)
        for state, outer in zip(step.states, initial, strict=True):
            following, size = self.read(state.following.sources, body), state.initial.size
            quantization = state.input.type.quantization
            assert quantization is not None
            places = self.slot(state.input), outer, following, self.slot(state.final)
            self.add(STATE, *places, size, self.keep("states", 3 * size), quantization.magnitude_bits)
        for value, emission in step.stacked:
            size = emission.size
            self.add(STACKED, self.read(emission.sources, body), self.slot(value), size, self.keep("borders", size))
        for place, table in enumerate((ELEMENT, STATE, SHARED, STACKED)):
            row[6 + 2 * place] = self.count(table)
        self.bodies.append(body)
        code.append((SCAN, self.add(WINDOWS, *row)))

    def finish(self, plan: Plan) -> tuple[Program, Layout]:
        """All tables."""
        names = [step.name for step, _ in self.emitters if not (isinstance(step, EncodePlan) and step.fixed)]
        for name, count in Counter(names).items():
            if count > 1:
                raise UnsupportedError(f"two values are called {name} (a scan's name stands before its body's); rename one")
        outputs, settles = [], 0
        for name, emission in plan.outputs:
            self.add(SETTLED, self.read(emission.sources, self.top), emission.size, settles)
            outputs.append((name, emission.shape, settles))
            settles += emission.size
        code = list(self.top)
        windows = self.table(WINDOWS)
        for row in windows:
            body = self.bodies[row["body"]]
            row["body"], row["body_end"] = len(code), len(code) + len(body)
            code += body
        segments = [step.segments for step in self.populations]
        weights8, weights16, weights64, index, bias32, bias64 = self.pool.of(segments)
        layout = Layout(
            tuple(self.emitters),
            tuple(self.segment_names),
            tuple(self.readouts),
            tuple(outputs),
            tuple(self.encoders),
            self.windows,
            self.columns,
            self.sizes["counts"],
            self.sizes["sums"],
            settles,
            self.sizes["levels"],
        )
        program = Program(
            len(self.top),
            self.slot_count,
            plan.few,
            np.array(code, np.int64).reshape(-1, 2).copy().view(INSTRUCTION).reshape(-1),
            self.table(GATHERED),
            self.table(PART),
            flat(self.maps, np.int64),
            self.table(EMITTER),
            self.table(ENCODER),
            np.array(self.roundings, ROUNDING),
            self.table(POPULATION),
            np.concatenate([np.zeros(0, SEGMENT), *self.segment_rows]),
            np.array(self.inputs, np.int64),
            weights8,
            weights16,
            weights64,
            index,
            bias32,
            bias64,
            flat([step.parameter for step in self.populations], np.int32),
            flat([step.segments.layout for step in self.populations], np.int32),
            flat(self.thresholds, np.int64),
            self.table(COMBINATION),
            flat(self.members, np.int32),
            windows,
            self.table(ELEMENT),
            self.table(STATE),
            self.table(SHARED),
            self.table(STACKED),
            self.table(SETTLED),
            np.array(layout.results[:-1], np.int64),
            np.array(list(self.kept.values()), np.int64),
        )
        return program, layout

    def table(self, kind: np.dtype) -> np.ndarray:
        """The rows of a table as records."""
        return np.array(self.rows.get(kind, []), kind)
