"""The tables of a program: what their rows hold, and where its results stand.

Rows are records, so that the kernel and `instructions.py` call their fields by the same names.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np

from snnir.backends.simulator.rounding import Rounded
from snnir.ir.graph import Node, Value
from snnir.machine.program import Constant, Emitter, Input, Readout

__all__ = [
    "CLOCKED",
    "COMBINATION",
    "ELEMENT",
    "EMITTER",
    "ENCODER",
    "FUNCTION",
    "FUNCTION_SOURCE",
    "GATHERED",
    "INSTRUCTION",
    "MICROCODE",
    "PART",
    "POPULATION",
    "ROUNDING",
    "SETTLED",
    "SHARED",
    "STACKED",
    "STATE",
    "WINDOWS",
    "Charged",
    "Layout",
    "Sized",
    "Tables",
]


def _record(*fields: str) -> np.dtype:
    return np.dtype([(name, np.int64) for name in fields])


INSTRUCTION = _record("kind", "row")
PART = _record("slot", "map")  # map: where in `maps` the pointers of the addresses stand, or -1: addresses stay
GATHERED = _record("slot", "first", "last")  # parts
EMITTER = _record("slot", "size", "counts", "spikes", "windows", "segment")
ENCODER = _record("emitter", "slot", "size", "fixed", "levels", "stride", "kept")
POPULATION = _record(
    "emitter",
    "slot",
    "storage",  # 0: int8 weights and int32 sums, 1: int16 and int32, 2: int64 both
    "size",
    "neurons",  # where its neurons stand in arrays over all neurons
    "own",  # where they stand in those of its storage
    "lo",
    "hi",
    "staircase",
    "bits",  # few-spike neurons: of the largest level, and how many of them are omitted
    "omitted",
    "thresholds",
    "steps",  # thresholds of a row
    "first",  # segments
    "last",
    "index",
    "index_end",
    "sums",  # where a readout's sums stand in the result, or -1
    "register",  # where an accumulator leaves its sums for functions, or -1
    "running",  # whether it emits the changes of its sums
    "clock",  # integrate-and-fire neurons: the steps of their clock (else 0)
    "hard",
    "leak",
    "delayed",
    "telling",  # whether potentials tell if neurons have settled
)
CLOCKED = _record("emitter", "slot", "input", "size", "steps", "kind", "seed", "start")
FUNCTION = _record(
    "emitter",
    "slot",
    "size",
    "lo",
    "hi",
    "first_source",
    "last_source",
    "first_step",
    "last_step",
    "result",  # where its last step leaves the levels among the registers
    "kept",  # where it keeps the levels of this window
    "difference",  # whether it emits every change of its levels
)
FUNCTION_SOURCE = _record("slot", "register", "size", "sum")  # sum: an accumulator has left its sums in the register
MICROCODE = _record("kind", "size", "width", "result", "x", "x_map", "y", "y_map")  # maps: where in `register_maps`, or -1
COMBINATION = _record(
    "emitter", "slot", "input", "size", "inputs", "members", "members_end", "width", "pointers", "product", "kept"
)
ELEMENT = _record("slot", "outer", "size", "encoded", "kept", "cut")
"""cut: `outer` is a train of windows one behind the other, as `cut` ones are stacked, each of as many steps and an empty one."""
STATE = _record("slot", "outer", "following", "final", "size", "level", "bits", "resent")
"""resent: whether the next window receives the train that was emitted, which is the bits of the levels."""
SHARED = _record("slot", "outer")
STACKED = _record("slot", "outer", "size", "level", "cut")
WINDOWS = _record(
    "length",
    "reverse",
    "column",
    "segments",  # how many columns of steps a window has
    "body",
    "body_end",
    "elements",
    "elements_end",
    "states",
    "states_end",
    "shared",
    "shared_end",
    "stacked",
    "stacked_end",
)
SETTLED = _record("slot", "size", "to")
ROUNDING = np.dtype(
    [(name, np.int64) for name in ("size", "column", "factors")] + [(name, np.float64) for name in ("scale", "lo", "hi")]
)
"""What the kernel rounds, float32[batch, size], to levels from `column` on; it multiplies by what stands from `factors` on in
`Tables.factors` before, or for -1 by nothing."""


class Tables(NamedTuple):
    """The tables. Rows are records of the types above; `top` is the number of instructions outside of bodies."""

    top: int
    slots: int
    few: int
    """Whether neurons are few-spike neurons."""
    instructions: np.ndarray
    gathers: np.ndarray
    parts: np.ndarray
    maps: np.ndarray
    emitters: np.ndarray
    encoders: np.ndarray
    roundings: np.ndarray
    factors: np.ndarray
    """float32: factors of inputs."""
    populations: np.ndarray
    segments: np.ndarray
    inputs: np.ndarray
    weights8: np.ndarray
    weights16: np.ndarray
    weights64: np.ndarray
    indices: np.ndarray
    bias32: np.ndarray
    bias64: np.ndarray
    parameter: np.ndarray
    layout: np.ndarray
    thresholds: np.ndarray
    potentials: np.ndarray
    """int64: what integrate-and-fire neurons start with, of all neurons."""
    clocks: np.ndarray
    combinations: np.ndarray
    members: np.ndarray
    windows: np.ndarray
    elements: np.ndarray
    states: np.ndarray
    shared: np.ndarray
    stacked: np.ndarray
    settled: np.ndarray
    functions: np.ndarray
    function_sources: np.ndarray
    microcode: np.ndarray
    register_maps: np.ndarray
    registers: np.ndarray
    """int64: what the registers of functions hold at first, which is their constants."""
    results: np.ndarray
    """int64[7]: where in what a run writes of a sample begin steps by window, spikes by emitter, synaptic operations and those
    that multiply by segment, the sums of readouts, what spiking outputs settle to, and all tracers."""
    kept: np.ndarray
    """int64[4]: how many levels encoders keep, tracers combinations, levels states, and levels elements and stacked values."""


@dataclass(frozen=True)
class Charged:
    """What an encoder charges, from `column` of the levels on: those of a constant, or of the graph's `value`, for each of
    `windows` windows of a `scan`. `given`: what the kernel rounds; None where the host finds the levels."""

    op: Input | Constant
    value: Value | None
    given: Rounded | None
    scan: Node | None
    windows: int
    column: int


@dataclass(frozen=True)
class Layout:
    """Where in the flat results of a program everything stands.

    `emitters` are the ops by row of the emitters, with the number of their windows (None: outermost); `segments` the
    names of synapses by column, `windows` those of windows by column of the steps, `values` the graph's readouts by the names of
    theirs; the others are sizes of one sample.
    """

    emitters: tuple[tuple[Emitter, int | None], ...]
    segments: tuple[str, ...]
    readouts: tuple[tuple[Readout, int, int | None], ...]
    outputs: tuple[tuple[str, tuple[int, ...], int], ...]
    encoders: tuple[Charged, ...]
    windows: list[str]
    columns_of: list[int]
    """How many columns of steps each window has: one for each of its segments."""
    columns: int
    counts: int
    sums: int
    settles: int
    levels: int
    values: dict[str, Value]

    @cached_property
    def prepared(self) -> list[Any]:
        """What the driver makes of the program once, and keeps."""
        return []

    @cached_property
    def results(self) -> tuple[int, ...]:
        """Where the parts of a result begin, and the size of all."""
        synapses = len(self.segments)
        sizes = (self.columns, len(self.emitters), synapses, synapses, self.sums, self.settles, self.counts)
        return (0, *accumulate(sizes))

    def bytes_of(self, counts: bool) -> int:
        """What levels and results of one sample take; `counts`: with all tracers."""
        return 4 * self.levels + 8 * self.results[-1 if counts else -2]

    @cached_property
    def spiking(self) -> list[tuple[str, int]]:
        """The populations that spike, and their rows of the emitters."""
        rows = enumerate(op for op, _ in self.emitters)
        return [(op.train.name, row) for row, op in rows if op.fires]

    @cached_property
    def shared(self) -> dict[str, list[int]]:
        """The names that several segments have, and their columns."""
        columns: dict[str, list[int]] = {}
        for column, name in enumerate(self.segments):
            columns.setdefault(name, []).append(column)
        return {name: places for name, places in columns.items() if len(places) > 1}

    @cached_property
    def recordable(self) -> list[str]:
        """The names of values whose events can be recorded."""
        return [op.train.name for op, _ in self.emitters if op.counted and op.emits]


@dataclass
class Sized:
    """What follows from the sizes of inputs: `tables` and `layout` for all batches, and what the host knows of this one."""

    sizes: dict[str, int]
    tables: Tables
    layout: Layout
    batch: int
    fixed: dict[Value, np.ndarray] = field(default_factory=dict)
    """Values that follow from the graph and the sizes alone, once they are computed."""
    levels: np.ndarray | None = None
    """What is charged, int32[1, ...], where that is the same for all samples of all inputs."""
