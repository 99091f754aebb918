"""The unpacked form of a bundle, `.snnu`: words and lists of integers that a program in C reads front to back.

docs/bundle.md, "The unpacked form", specifies it; `c/snnir_replay.c` reads it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

from snnir.backends.bundle.bundle import Bundle
from snnir.backends.bundle.golden import Golden
from snnir.errors import UnsupportedError, UsageError
from snnir.ir.ops.clocked import BERNOULLI, CONSTANT, RATE, WINDOW
from snnir.ir.protocols import Delivery
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
    Summing,
    Synapse,
    Train,
    trains_of,
    walk,
)

__all__ = ["checksum", "unpacked"]

_MAGIC = b"snnu\0\0\0\2"
_DELIVERIES = (Delivery.RELAY, Delivery.REPLAY, Delivery.GRADED)
"""In the order of `snnir_replay.c`."""
_KINDS = ("dense", "conv", "one", "list", "csr")
_OPS = (
    *(Input, Constant, Route, Population, Readout, Max, Product, FewSpikes, Accumulator, Function, Settled, Scan),
    *(Difference, RunningSum, Clock, IntegrateFire),
)
_CLOCKS = (CONSTANT, RATE, BERNOULLI, WINDOW)
_CELLS = (np.int8, np.int16, np.int32, np.int64)
_MOST_VALUE, _MOST_EVENT, _MOST_WEIGHT, _MOST_FACTOR = 1 << 47, 1 << 38, 1 << 24, 1 << 30
"""Largest magnitudes of registers, of events and tracers, of weights, and of what is multiplied with one another: with these
no 64-bit sum or product can overflow."""
_MOST_CLOCK = 1 << 14
"""The most steps of a clock."""
_MOST_CELL = 1 << 62
"""The largest magnitude in the registers of functions."""
_PRIME = 1099511628211
_BASIS = 14695981039346656037


def unpacked(bundle: Bundle) -> bytes:
    """The `.snnu` file of a bundle. Raises `UsageError` where it has no golden vectors, which are the file's inputs, and
    `UnsupportedError` naming what has more bits than C's 64-bit integers can sum up safely."""
    if bundle.golden is None:
        raise UsageError("the bundle has no golden vectors to replay; make it with samples (`snnir bundle --samples x.npy`)")
    body = _Writer(bundle, bundle.golden).whole()
    return _MAGIC + body + struct.pack("<Q", checksum(body))


def checksum(content: bytes) -> int:
    """FNV-1a over words of 8 bytes."""
    found = _BASIS
    for word in np.frombuffer(content, "<u8").tolist():
        found = (found ^ word) * _PRIME % (1 << 64)
    return found


class _Writer:
    def __init__(self, bundle: Bundle, golden: Golden) -> None:
        self.program, self.bounds, self.steps = bundle.program, bundle.bounds, bundle.settling.steps
        self.golden = golden
        self.parts: list[bytes] = []
        self.numbers: dict[str, int] = {}
        self.sizes: dict[str, int] = {}

    def whole(self) -> bytes:
        self.words(_DELIVERIES.index(self.program.delivery), self.program.carry, self.program.few, self.golden.samples)
        trains = list(_trains(self.program.ops))
        self.words(len(trains))
        self.sizes = {train.name: train.size for train in trains}
        for train in trains:
            self.numbers[train.name] = len(self.numbers)
            self.train(train)
        ops = list(walk(self.program.ops))
        self.words(len(ops))
        for op, windows in ops:
            self.op(op, windows)
        return b"".join(self.parts)

    def words(self, *numbers: int) -> None:
        self.parts.append(struct.pack(f"<{len(numbers)}q", *numbers))

    def range(self, what: str, interval: tuple[int, int], most: int) -> None:
        """An inclusive range, refused where it goes beyond `most`."""
        if max(-interval[0], interval[1]) > most:
            raise UnsupportedError(f"{what}: {interval[0]}..{interval[1]}, the replay in C takes +-{most}; use fewer bits")
        self.words(*interval)

    def list(self, values: np.ndarray, what: str = "", most: int = _MOST_VALUE) -> None:
        """Cells of the fewest bytes that hold the values."""
        flat = np.asarray(values, np.int64).reshape(-1)
        low, high = int(flat.min(initial=0)), int(flat.max(initial=0))
        if max(-low, high) > most:
            raise UnsupportedError(f"{what}: integers {low}..{high}, the replay in C takes +-{most}; use fewer bits")
        cell = next(kind for kind in _CELLS if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max)
        content = flat.astype(np.dtype(cell).newbyteorder("<")).tobytes()
        self.words(flat.size, np.dtype(cell).itemsize)
        self.parts.append(content + bytes(-len(content) % 8))

    def train(self, train: Train) -> None:
        self.list(np.frombuffer(train.name.encode(), np.int8))
        ranges = self.bounds.trains.get(train.name, {"tracer": (0, 0), "events": (0, 0)})
        self.words(train.size, self.steps.get(train.name, 0))
        self.range(f"tracer of {train.name}", ranges["tracer"], _MOST_EVENT)
        self.range(f"events of {train.name}", ranges["events"], _MOST_EVENT)

    def names(self, *names: str) -> None:
        self.words(*(self.numbers[name] for name in names))

    def op(self, op: Op, windows: int | None) -> None:
        if not isinstance(op, _OPS):
            raise UnsupportedError(f"{op.train.name}: the replay in C knows no {type(op).__name__.lower()}")
        self.words(_OPS.index(type(op)))
        if isinstance(op, Scan):
            self.scan(op)
            return
        name = op.train.name
        self.names(name)
        if isinstance(op, Clock | IntegrateFire) and op.steps > _MOST_CLOCK:
            raise UnsupportedError(f"{name}: a clock of {op.steps} steps, the replay in C takes {_MOST_CLOCK}; use fewer steps")
        if isinstance(op, Input):
            self.list(self.golden.inputs[name])
        elif isinstance(op, Constant):
            self.list(op.levels)
        elif isinstance(op, Route):
            self.words(len(op.sources))
            self.names(*op.sources)
            self.list(op.map.array())
        elif isinstance(op, Max):
            self.names(op.source)
            self.words(op.width)
        elif isinstance(op, Clock):
            self.names(op.source)
            self.words(op.steps, _CLOCKS.index(op.kind), op.seed, op.first)
        elif isinstance(op, Product):
            for source in op.sources:
                reach = max(abs(end) for pair in self.bounds.trains[source].values() for end in pair)
                if reach > _MOST_FACTOR:
                    raise UnsupportedError(f"product {name}: {source} goes to {reach}, the replay in C takes {_MOST_FACTOR}")
            self.names(*op.sources)
            self.words(-1 if op.step is None else op.step)
        elif isinstance(op, Summing):
            self.summing(op)
        elif isinstance(op, Function | Settled | Difference):
            self.function(op)
        if not isinstance(op, Constant | Route | Accumulator | Settled | RunningSum):
            self.expected(op, windows or 1)

    def function(self, op: Function | Settled | Difference) -> None:
        """What a function reads, its microcode on registers of its own, and the step and levels that it charges."""
        flat = Microprogram()
        given = [(flat.room(self.sizes[name]), self.sizes[name]) for name in op.sources]
        self.words(len(given))
        for name, (register, _), is_sum in zip(op.sources, given, self._sums(op), strict=True):
            self.names(name)
            self.words(register, is_sum)
        result = flat.write(() if isinstance(op, Settled) else op.code, given)
        self.words(0 if isinstance(op, Difference) else op.start, op.train.lo, op.train.hi, result)
        self.list(flat.registers(), f"constants of {op.train.name}", _MOST_CELL)
        self.list(np.array(flat.rows, np.int64))
        self.list(flat.register_maps())

    @staticmethod
    def _sums(op: Function | Settled | Difference) -> tuple[bool, ...]:
        return op.accumulators if isinstance(op, Function) else (False,) * len(op.sources)

    def summing(self, op: Summing) -> None:
        registers = self.bounds.registers[op.train.name]
        self.words(len(op.synapses))
        for synapse in op.synapses:
            self.synapse(synapse)
        name = op.train.name
        self.list(op.initial[op.initial_map.array()], f"starting sums of {name}")
        for register in ("membrane", "current", *(("tracer",) if op.fires else ())):
            self.range(f"{register} of {name}", registers[register], _MOST_VALUE)
        if isinstance(op, Population | FewSpikes):
            self.words(op.train.lo, op.train.hi, op.staircase)
            if isinstance(op, FewSpikes):
                self.words(op.start_step, op.train.bits, op.omitted)
            self.list(op.theta, f"thresholds of {name}")
            self.list(op.theta_map.array())
        elif isinstance(op, IntegrateFire):
            self.words(op.steps, op.reset == "hard", op.leak, op.delayed, op.start_potential, op.shift)
            self.list(op.theta, f"thresholds of {name}")
            self.list(op.theta_map.array())

    def synapse(self, synapse: Synapse) -> None:
        self.names(synapse.source)
        self.words(_KINDS.index(synapse.kind))
        weights = synapse.weights
        if synapse.kind == "dense":
            self.words(synapse.groups, weights.shape[1], weights.shape[0])
        elif synapse.kind == "conv":
            rank = weights.ndim - 2
            self.words(synapse.groups, weights.shape[1], weights.shape[0] // synapse.groups, rank)
            for axis in range(rank):
                self.words(synapse.inputs[1 + axis], synapse.outputs[1 + axis])
                self.words(synapse.stride[axis], synapse.padding[axis], synapse.dilation[axis], weights.shape[2 + axis])
        self.list(weights, f"weights of {synapse.name}", _MOST_WEIGHT)
        self.list(np.zeros(0, np.int64) if synapse.gain is None else synapse.gain)
        if np.abs(synapse.expanded()).max(initial=0) > _MOST_WEIGHT:
            raise UnsupportedError(f"weights of {synapse.name} times their gain have more than {_MOST_WEIGHT.bit_length()} bits")
        if synapse.weight_map is not None:
            self.list(synapse.weight_map.array())
        if synapse.rows is not None and synapse.columns is not None:
            self.list(synapse.rows)
            self.list(synapse.columns)
        self.words(synapse.spread is not None)
        if synapse.spread is not None:
            held = synapse.spread.array()
            self.list(np.argsort(held, kind="stable"))
            currents = int(np.prod(synapse.outputs, dtype=np.int64))
            self.list(np.concatenate([[0], np.cumsum(np.bincount(held, minlength=currents))]))

    def scan(self, op: Scan) -> None:
        self.words(op.windows, op.reverse, len(op.ops), len(op.states))
        for state in op.states:
            self.names(state.input.name, state.initial, state.following, state.final.name)
            self.words(state.first, state.input.bits)
        self.words(len(op.elements) + len(op.shared))
        for element in op.elements:
            self.names(element.input.name, element.source)
            self.words(element.input.size, element.at_once(self.program.delivery), element.first)
        for shared in op.shared:
            self.names(shared.input.name, shared.source)
            self.words(0, 0, shared.first)
        self.words(len(op.results))
        for result in op.results:
            self.names(result.train.name, result.source)
            self.words(result.first)

    def expected(self, op: Emitter, windows: int) -> None:
        name = op.train.name
        if name not in self.golden.counts or (name not in self.golden.events and not isinstance(op, Readout)):
            raise UsageError(f"the golden vectors have no counts or no events of {name}; make the bundle again with samples")
        if not isinstance(op, Input):
            self.list(self.golden.counts[name])
        if isinstance(op, Readout):
            return
        events = self.golden.events[name]
        cells = (events.rows[:, 0] * windows + events.rows[:, 1]) * events.steps + events.rows[:, 2]
        self.words(events.steps)
        self.list(np.bincount(cells, minlength=self.golden.samples * windows * events.steps))
        self.list(events.rows[:, 3])
        self.list(events.rows[:, 4])


def _trains(ops: Sequence[Op]) -> list[Train]:
    """All trains of a program, each once."""
    return list({train.name: train for op, _ in walk(ops) for train in trains_of(op)}.values())
