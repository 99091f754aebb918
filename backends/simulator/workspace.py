"""The memory of a run's workers, and structures in memory as the compiled part reads them.

Made once for a program and each of its workers, and kept with the program: a run of one sample makes no arrays but its results.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from snnir.backends.simulator.kernels.constants import (
    ALL,
    CLOCK,
    COLLECTED,
    COMBINE,
    COMPUTE,
    CSR,
    DENSE,
    ENCODE,
    GATHER,
    HISTORY,
    NO_ROOM,
    POPULATE,
    RECORDS,
    ROWS,
    SCAN,
    SCATTERED,
    SPARE,
    STOPPED,
    TICK,
)
from snnir.backends.simulator.kernels.quads import QUADS
from snnir.backends.simulator.kernels.types import PROGRAM, RUN, WORKER
from snnir.backends.simulator.library import address, function, prepare
from snnir.backends.simulator.tables import Layout, Tables

if TYPE_CHECKING:
    from snnir.backends.simulator.kernels.numba_compat import Struct

__all__ = ["Code", "RunMemory", "Worker", "address_of", "pack"]


def address_of(array: np.ndarray) -> int:
    """Where the entries of an array begin."""
    return int(array.__array_interface__["data"][0])


def pack(struct: Struct, values: Mapping[str, Any]) -> np.ndarray:
    """The words of a structure: numbers, arrays and packed structures by name. Their memory must stay while it is used."""
    return np.array([word for name, kind in struct.fields.items() for word in _words(name, kind, values[name])], np.int64)


def _words(name: str, kind: Any, value: Any) -> tuple[int, ...]:
    if not isinstance(value, np.ndarray):
        return (int(value),)
    if not hasattr(kind, "ndim"):
        return (address_of(value),)
    assert value.ndim == kind.ndim and value.flags.c_contiguous, f"{name}: {value.ndim} axes"
    assert value.dtype.itemsize == _size(kind.dtype), f"{name}: {value.dtype} where the kernel reads {kind.dtype}"
    return (address_of(value), *value.shape)


def _size(dtype: Any) -> int:
    return int(dtype.size if hasattr(dtype, "size") else dtype.bitwidth // 8)


ROOM = 1 << 20
"""So many events stand in a worker's store before trains that nothing reads any more make room: 8 MiB."""

_INSTRUCTIONS = {
    ENCODE: "encode_levels",
    GATHER: "gather_trains",
    COMBINE: "combine_tracers",
    SCAN: "scan_windows",
    COMPUTE: "compute_function",
    CLOCK: "clock_train",
}
_POPULATIONS = {0: "populate_32", 1: "populate_32", 2: "populate_64"}
_RUNNING = {0: "run_sums_32", 1: "run_sums_32", 2: "run_sums_64"}
_FEW_SPIKES = {0: "few_spikes_32", 1: "few_spikes_32", 2: "few_spikes_64"}
_INTEGRATE_FIRE = {0: "integrate_fire_32", 1: "integrate_fire_32", 2: "integrate_fire_64"}
_DELIVERIES = {DENSE: "dense", SCATTERED: "convolution", COLLECTED: "convolution", CSR: "sparse"}
_WIDTHS = {0: 8, 1: 16, 2: 64}


class Code:
    """A program as the compiled part reads it, and the compiled functions that it needs; with memory of runs that are over."""

    def __init__(self, tables: Tables, layout: Layout) -> None:
        self.tables = tables
        self.program = pack(PROGRAM, tables._asdict())
        populations, neurons = tables.populations, _FEW_SPIKES if tables.few else _POPULATIONS
        routines = [self._routine(int(kind), int(row), neurons) for kind, row in tables.instructions.tolist()]
        deliveries = [""] * len(tables.segments)
        for row in populations:
            for segment in range(row["first"], row["last"]):
                kind = int(tables.segments["kind"][segment])
                levels = tables.few and QUADS and row["storage"] == 0 and kind in (DENSE, COLLECTED)
                tables.segments["levels"][segment] = levels
                deliveries[segment] = f"{_DELIVERIES[kind]}{'_levels' if levels else ''}_{_WIDTHS[int(row['storage'])]}"
        self.names = list(dict.fromkeys(["work", "release", *routines, *deliveries]))
        prepare(self.names)
        self.work = address("work")
        self.routines = np.array([address(name) for name in routines], np.int64)
        self.deliveries = np.array([address(name) for name in deliveries], np.int64)
        self.emitter = np.array([self._emitter(int(kind), int(row)) for kind, row in tables.instructions.tolist()], np.int64)
        self.made, self.read = _lives(tables)
        self.neurons = int(tables.populations["size"].sum()) * layout.columns
        """Neurons of a sample, those of scans once for each window at most: how long a sample takes, roughly."""
        self.shared = {**_starts(tables), "levels": layout.levels}
        self._idle: dict[int, list[RunMemory]] = {}

    def _routine(self, kind: int, row: int, neurons: Mapping[int, str]) -> str:
        """The name of the compiled function of an instruction."""
        if kind == POPULATE:
            population = self.tables.populations[row]
            kinds = _RUNNING if population["running"] else _INTEGRATE_FIRE if population["clock"] else neurons
            return kinds[int(population["storage"])]
        if kind == COMPUTE and self.tables.functions["difference"][row]:
            return "tell_changes_of_function"
        return _INSTRUCTIONS[kind]

    def _emitter(self, kind: int, row: int) -> int:
        """The emitter whose train an instruction makes; -1 for those of several, or of none, and for readouts."""
        if kind == POPULATE:
            population = self.tables.populations[row]
            return -1 if population["sums"] >= 0 or population["register"] >= 0 else int(population["emitter"])
        rows = {ENCODE: self.tables.encoders, COMBINE: self.tables.combinations, COMPUTE: self.tables.functions}
        rows[CLOCK] = self.tables.clocks
        table = rows.get(kind)
        return -1 if table is None else int(table["emitter"][row])

    def take(self, threads: int) -> RunMemory:
        """Memory for a run by that many threads, that nobody else uses."""
        idle = self._idle.setdefault(threads, [])
        return idle.pop() if idle else RunMemory(self, threads)

    def give_back(self, memory: RunMemory) -> None:
        """Keep memory for another run."""
        for worker in memory.workers:
            worker.reset()
        self._idle[len(memory.workers)].append(memory)


class RunMemory:
    """The structure of a run, its workers, and the counters that they share."""

    def __init__(self, code: Code, threads: int) -> None:
        self.workers = [Worker(code.tables, code.shared) for _ in range(threads)]
        self.counters = np.zeros(STOPPED + 1, np.int64)
        self._arrays = {
            "program": code.program,
            "routines": code.routines,
            "deliveries": code.deliveries,
            "emitter": code.emitter,
            "made": code.made,
            "read": code.read,
            "counters": self.counters,
            "workers": np.array([worker.address for worker in self.workers], np.int64),
        }
        self._words = np.zeros(RUN.words, np.int64)
        self.address = address_of(self._words)
        self.set(**self._arrays, room=ROOM)

    def set(self, **values: Any) -> None:
        """Enter numbers and arrays by the names of `types.RUN`. The arrays must stay during the run."""
        for name, value in values.items():
            words = _words(name, RUN.fields[name], value)
            place = RUN.places[name]
            self._words[place : place + len(words)] = words


_LEAST = 1 << 16
"""Bytes that a store of trains may always take."""

_KEPT_ENTRIES = 1 << 16
"""Entries of growing memory that a worker keeps from run to run: half a MiB at most."""


class Worker:
    """The memory of one worker, by the names of `types.WORKER`."""

    def __init__(self, tables: Tables, shared: Mapping[str, Any]) -> None:
        self.stores = np.zeros((11, 3), np.int64)
        """Growing memory, each an address, how many entries fit, and how many may: three of each of three stores of trains, and
        two logs."""
        self._scans, self._share = tables.windows.size > 0, (0, False)
        self.cursors = np.zeros(ALL + 1, np.int64)
        arrays = {**_room(tables), **shared, "cursors": self.cursors, "window": np.zeros(5, np.int64)}
        arrays["levels"] = np.zeros(shared["levels"] + SPARE, np.int32)
        for place, name in enumerate(("trains", "state_trains", "stacked_trains")):
            arrays[name] = self.stores[3 * place : 3 * place + 3].reshape(-1)
        arrays["records"], arrays["history"] = self.stores[9], self.stores[10]
        self._arrays = arrays
        self._words = pack(WORKER, arrays)
        self.address = address_of(self._words)
        weakref.finalize(self, _release, self.stores)

    def log(self, name: str, size: int) -> np.ndarray:
        """A copy of the first entries of `records` or `history`."""
        start = int(self._arrays[name][0])
        return np.ctypeslib.as_array((ctypes.c_int64 * size).from_address(start)).copy() if size else np.zeros(0, np.int64)

    def allow(self, share: int, records: bool) -> None:
        """Let growing memory take so many bytes; `records`: events and sums are recorded, which take half of it."""
        if self._share == (share, records):
            return
        self._share = share, records
        trains = share // 2 if records else share
        # the trains of windows stand beside those of the whole, and those of states for a moment
        for place, part in enumerate((0.5, 0.125, 0.375) if self._scans else (1.0, 0.0, 0.0)):
            most = max(int(part * trains), _LEAST)
            self.stores[3 * place : 3 * place + 3, 2] = most // 64, most * 7 // 64, most * 7 // 64  # of 8, 4 and 4 bytes
        self.stores[9:, 2] = share // 32

    @property
    def lacked_room(self) -> bool:
        """Whether growing memory could not grow."""
        return bool((self.stores[:, 1] == NO_ROOM).any())

    def reset(self) -> None:
        """Begin to count anew, and give growing memory back, where it is much."""
        self.cursors[:TICK] = 0
        self.cursors[TICK + 1 :] = 0
        if self.lacked_room or int(self.stores[:, 1].sum()) > _KEPT_ENTRIES:  # an array of a store that lacked room is smaller
            self.release()

    def release(self) -> None:
        """Give all growing memory back."""
        _release(self.stores)

    def release_trains(self) -> None:
        """Give growing memory back, but for what is recorded."""
        _release(self.stores[:9])
        logs = self.stores[9:]
        logs[logs[:, 1] == NO_ROOM, 1] = self.cursors[[RECORDS, HISTORY]][logs[:, 1] == NO_ROOM]  # so many are there at least


def _release(stores: np.ndarray) -> None:
    free = function("release")
    for place in stores[:, 0].tolist():
        if place:
            free(place)
    stores[:, :2] = 0


def _lives(tables: Tables) -> tuple[np.ndarray, np.ndarray]:
    """Of each slot the instructions outside scans that make its train and read it last, int64[slots]; -1 for those inside.

    Trains that the model gives out are read behind the last instruction.
    """
    made, read = np.full(tables.slots, -1, np.int64), np.full(tables.slots, -1, np.int64)
    for i, (kind, number) in enumerate(tables.instructions[: tables.top].tolist()):
        reads: list[int] = []
        if kind == ENCODE:
            makes = [int(tables.encoders["slot"][number])]
        elif kind == GATHER:
            row = tables.gathers[number]
            makes, reads = [int(row["slot"])], tables.parts["slot"][row["first"] : row["last"]].tolist()
        elif kind == POPULATE:
            row = tables.populations[number]
            makes, reads = [int(row["slot"])], tables.inputs[row["first"] : row["last"]].tolist()
        elif kind == COMBINE:
            makes, reads = [int(tables.combinations["slot"][number])], [int(tables.combinations["input"][number])]
        elif kind == CLOCK:
            makes, reads = [int(tables.clocks["slot"][number])], [int(tables.clocks["input"][number])]
        elif kind == COMPUTE:
            row = tables.functions[number]
            sources = tables.function_sources["slot"][row["first_source"] : row["last_source"]]
            makes, reads = [int(row["slot"])], sources.tolist()
        else:
            row = tables.windows[number]
            elements = tables.elements[row["elements"] : row["elements_end"]]
            states = tables.states[row["states"] : row["states_end"]]
            shared, stacked = (
                tables.shared[row["shared"] : row["shared_end"]],
                tables.stacked[row["stacked"] : row["stacked_end"]],
            )
            makes = [*states["final"].tolist(), *stacked["outer"].tolist()]
            reads = [*elements["outer"].tolist(), *states["outer"].tolist(), *shared["outer"].tolist()]
        made[makes], read[reads] = i, i
    read[tables.settled["slot"]] = tables.top
    return made, read


def _room(tables: Tables) -> dict[str, np.ndarray]:
    """Arrays that are as large as the program's largest population, combination or border."""
    populations, segments, combinations = tables.populations, tables.segments, tables.combinations
    wide = populations["storage"] == 2
    neurons = int((populations["neurons"] + populations["size"]).max(initial=0))
    most = max(int(populations["size"].max(initial=8)), int(tables.clocks["size"].max(initial=0)))
    most_wide = int(populations["size"][wide].max(initial=0))
    collected = segments[segments["kind"] == COLLECTED]
    rows = max(
        2 * ROWS + 1, *(int(part.max(initial=0)) for part in (collected["longest"], collected["positions"], segments["inputs"]))
    )
    few = segments[segments["kind"] != CSR] if tables.few else segments[:0]
    channels = int((collected["positions"] * collected["width"]).max(initial=0))
    inputs, size = int(combinations["inputs"].max(initial=1)), int(combinations["size"].max(initial=1))
    encoded, tracers, states, crossing = tables.kept.tolist()
    pieces = int(((tables.windows["stacked_end"] - tables.windows["stacked"]) * tables.windows["length"]).max(initial=0))
    shapes = {
        np.int64: {
            "first": tables.slots,
            "steps": tables.slots,
            "lead": tables.slots,
            "kept64": tables.bias64.size,
            "sums64": most_wide + SPARE,
            "up64": most_wide,
            "down64": most_wide,
            "factors64": ROWS + 4,
            "inputs": inputs,
            "values": size,
            "kept_tracers": tracers,
            "kept_states": states + SPARE,
            "kept_crossing": crossing,
            "differences": max(states, crossing) + SPARE,
            "charged": max(states, crossing),
            "state_first": tables.states.size,
            "state_steps": tables.states.size,
            "stacked_first": pieces,
            "stacked_steps": pieces,
            "stacked_ends": 2,
            "element_first": tables.elements.size,
            "element_steps": tables.elements.size,
        },
        np.int32: {
            "kept32": tables.bias32.size,
            "kept_levels": neurons,
            "sums32": most + SPARE,
            "up32": most,
            "down32": most,
            "tracers": most + SPARE,
            "fired": most + SPARE,
            "signs": most + SPARE,
            "rests": int(populations["size"][populations["clock"] > 0].max(initial=0)),
            "rows": rows + SPARE,
            "scaled_rows": ROWS + 4,
            "factors32": ROWS + 4,
            "filled": int(collected["positions"].max(initial=0)),
            "channels": channels,
            "merged": int((few["end"] - few["begin"]).max(initial=0)) + SPARE,
            "touched": size,
            "kept_encoded": encoded,
            "changes": encoded + SPARE,
        },
        np.int8: {"packed": rows + SPARE, "held": channels + SPARE},
    }
    arrays = {name: np.zeros(extent, dtype) for dtype, named in shapes.items() for name, extent in named.items()}
    return {**arrays, "stamps": np.full(size, -1, np.int64), "registers": tables.registers.copy()}


def _starts(tables: Tables) -> dict[str, np.ndarray]:
    """What membranes start from, and thresholds, of all neurons of each width.

    The membrane of a neuron with uniform thresholds is its sum less what its level stands for, and half a theta more: so
    it fires at theta and below 0. Staircases and readouts have their sums as they are, and so have integrate-and-fire neurons,
    to which they come in portions.
    """
    found: dict[str, np.ndarray] = {}
    for name, bias, wide in (("32", tables.bias32, False), ("64", tables.bias64, True)):
        start, theta = bias.copy(), np.zeros(bias.size + SPARE, bias.dtype)
        for row in tables.populations:
            if row["staircase"] or row["lo"] == row["hi"] or (row["storage"] == 2) != wide:
                continue
            own = slice(row["own"], row["own"] + row["size"])
            parameter = tables.parameter[row["neurons"] : row["neurons"] + row["size"]]
            theta[own] = tables.thresholds[row["thresholds"] + parameter.astype(np.int64) * row["steps"]]
            if not row["clock"]:
                start[own] += theta[own] // 2
        found |= {f"start{name}": start, f"theta{name}": theta}
    return found
