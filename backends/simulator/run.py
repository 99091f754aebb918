"""The driver: chunks of the batch, each run through the whole network by one thread."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from snnir.backends.simulator import kernels
from snnir.backends.simulator.blocks import Emission, EncodePlan, Plan, PopulationPlan, ScanPlan, TracerPlan
from snnir.backends.simulator.borders import ElementsIn, Memory, Sending, StateIn, ValueOut
from snnir.backends.simulator.encodings import spread_charge
from snnir.backends.simulator.host import Host, window_order
from snnir.backends.simulator.record import Recorder, Window, emitters
from snnir.backends.simulator.result import SimulationResult
from snnir.backends.simulator.synapses import Segments
from snnir.backends.simulator.trains import Train, charge, join, settled, silent
from snnir.ir.graph import Graph, Value
from snnir.ir.ops import Scan

__all__ = ["simulate"]

_CHUNK = 128
"""The most samples in a chunk: bounds the memory that their trains take, and how long nothing is heard of a run."""

_FOREVER = np.iinfo(np.int64).max // 2
_NO_SUMS = np.zeros((0, 0), np.int64)
_NO_LEVELS = np.zeros((0, 0), np.int32)

Trains = dict[Value, Train]


def simulate(
    graph: Graph,
    plan: Plan,
    host: Host,
    recorder: Recorder,
    batch: int,
    *,
    steps: int | None,
    delivery: str,
    carry: bool,
    spread: bool,
    threads: int,
    progress: Callable[[int, int], None] | None,
) -> SimulationResult:
    """Run a plan over the whole batch. The arguments are checked already."""
    size = max(1, min(_CHUNK, -(-batch // threads)))
    chunks = [(first, min(first + size, batch)) for first in range(0, batch, size)]
    unsettled = undelivered = 0

    def run(chunk: tuple[int, int]) -> _Chunk:
        work = _Chunk(recorder, Sending(delivery, carry, _FOREVER if steps is None else steps), spread)
        work.outermost(plan, host, Window(*chunk))
        return work

    alone = threads == 1 or len(chunks) == 1
    finished = map(run, chunks) if alone else _pool(threads).map(run, chunks)
    for (_, last), work in zip(chunks, finished, strict=True):
        unsettled += work.unsettled
        undelivered += work.sending.undelivered
        if progress is not None:
            progress(last, batch)
    reals = host.finish(recorder.sums)
    outputs = {
        name: recorder.settles[name] if name in recorder.settles else reals[value] for name, value in graph.outputs.items()
    }
    length = max(1, int(recorder.steps.max(initial=0)))
    length = max([length, *(part.shape[1] for parts in recorder.histories.values() for _, part in parts)])
    return SimulationResult(
        outputs=outputs,
        spikes=recorder.spikes,
        synops=recorder.synops,
        charges=recorder.charges,
        windows=recorder.windows,
        steps=recorder.steps,
        settled=not unsettled and not undelivered,
        unsettled=unsettled,
        undelivered=undelivered,
        counts=recorder.counts,
        trace=_trace(graph, plan, host, recorder, length) if recorder.trace else {},
        rasters={name: recorder.raster(name) for name in recorder.record},
        membranes=_membranes(plan, recorder, length),
    )


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """Threads that stay for the next run: starting them takes as long as simulating a few samples."""
    return ThreadPoolExecutor(threads, "snnir")


os.register_at_fork(after_in_child=_pool.cache_clear)


def _trace(graph: Graph, plan: Plan, host: Host, recorder: Recorder, length: int) -> dict[str, np.ndarray]:
    """Outputs after each step, as the host computes them from the readouts' sums so far."""
    histories = {
        step.value: np.moveaxis(recorder.history(step, length, windows), 1 if windows is None else 2, 0)
        for step, windows in emitters(plan)
        if isinstance(step, PopulationPlan) and step.readout
    }
    wanted = {name: value for name, value in graph.outputs.items() if value.type.dtype != "spike" and value not in host.reals}
    rows: dict[str, list[np.ndarray]] = {name: [] for name in wanted}
    for t in range(length):
        reals = host.finish({value: history[t] for value, history in histories.items()})
        for name, value in wanted.items():
            rows[name].append(reals[value])
    return {name: np.stack(arrays) for name, arrays in rows.items()}


def _membranes(plan: Plan, recorder: Recorder, length: int) -> dict[str, np.ndarray]:
    return {
        step.name: recorder.history(step, length, windows)
        for step, windows in emitters(plan)
        if isinstance(step, PopulationPlan) and not step.readout and step.name in recorder.record
    }


class _Chunk:
    """Some samples on their way through the network."""

    def __init__(self, recorder: Recorder, sending: Sending, spread: bool) -> None:
        self.recorder = recorder
        self.sending = sending
        self.steps = sending.cap
        self.spread = spread
        self.unsettled = 0

    def outermost(self, plan: Plan, host: Host, window: Window) -> None:
        trains: Trains = {}
        self._run(plan, host, trains, window, None)
        for name, emission in plan.outputs:
            counts = settled(_gather(emission, trains, window.batch), emission.size)
            self.recorder.settles[name][window.rows] = counts.reshape(window.batch, *emission.shape)

    def _run(self, plan: Plan, host: Host | None, trains: Trains, window: Window, memory: Memory | None) -> None:
        for step, released in zip(plan.steps, plan.release, strict=True):
            if isinstance(step, EncodePlan):
                assert host is not None
                self._encode(step, host, trains, window, memory)
            elif isinstance(step, PopulationPlan):
                self._populate(step, trains, window, memory)
            elif isinstance(step, TracerPlan):
                self._combine(step, trains, window, memory)
            else:
                assert host is not None
                self._scan(step, host, trains, window)
            for value in released:
                trains.pop(value, None)

    def _encode(self, step: EncodePlan, host: Host, trains: Trains, window: Window, memory: Memory | None) -> None:
        levels = host.reals[step.value] if step.fixed else host.levels[step.value]
        whole = len(self.recorder.steps)
        levels = np.broadcast_to(levels, (whole, *step.shape))[window.first : window.last]
        levels = levels.reshape(window.batch, -1)
        if self.spread and not step.fixed:
            train = spread_charge(levels, self.steps)
        else:
            train = charge(levels if memory is None else memory.change(step, levels), True)
        trains[step.value] = train
        active = np.diff(train.offsets, axis=1) > 0
        self.recorder.emitted(step, train, (active * np.arange(1, train.steps + 1)).max(axis=1, initial=0), window)

    def _populate(self, step: PopulationPlan, trains: Trains, window: Window, memory: Memory | None) -> None:
        batch, segments = window.batch, step.segments
        inputs = join([(trains[source.root], source.map, shift) for source, shift in step.inputs], batch)
        lo, hi, _ = step.levels
        length = max(min(inputs.steps + hi - lo, self.steps), 1) if self.recorder.keeps_history(step) else 0
        sums = np.zeros((batch, segments.bias.size), np.int64) if step.readout else _NO_SUMS
        synops = np.zeros((batch, len(segments.table)), np.int64)
        charges = np.zeros_like(synops)
        kept_sums, kept_levels = (_no_sums(segments), _NO_LEVELS) if memory is None else memory.neurons(step)
        offsets, address, event, used, unsettled, history = kernels.populate(
            inputs.offsets,
            inputs.address,
            inputs.event,
            segments.table,
            segments.weights,
            segments.index,
            segments.bias,
            step.table,
            step.parameter,
            segments.layout,
            step.levels,
            self.steps,
            length,
            sums,
            synops,
            charges,
            memory is not None and memory.windows > 0,
            kept_sums,
            kept_levels,
        )
        self.unsettled += int(unsettled)
        self.recorder.worked(step, synops, charges, window)
        last = int(used.max(initial=0))
        if self.recorder.keeps_history(step):
            self.recorder.histories[step.value].append((window, history[:, : max(inputs.steps, last, 1)]))
        if step.readout:
            self.recorder.sums[step.value][window.rows] = sums.reshape(batch, *step.shape)
            return
        train = Train(np.ascontiguousarray(offsets[:, : last + 1]), address, event)
        trains[step.value] = train
        self.recorder.emitted(step, train, used, window)

    def _combine(self, step: TracerPlan, trains: Trains, window: Window, memory: Memory | None) -> None:
        inputs = join([(trains[source.root], source.map, 0) for source in step.inputs], window.batch)
        kept_states, kept_values = (_NO_SUMS, _NO_SUMS) if memory is None else memory.combined(step)
        offsets, address, event, used = kernels.combine(
            inputs.offsets,
            inputs.address,
            inputs.event,
            step.rows.offsets,
            step.rows.targets,
            step.members,
            step.product,
            kept_states,
            kept_values,
        )
        train = Train(np.ascontiguousarray(offsets[:, : int(used.max(initial=0)) + 1]), address, event)
        trains[step.value] = train
        self.recorder.emitted(step, train, used, window)

    def _scan(self, step: ScanPlan, host: Host, trains: Trains, window: Window) -> None:
        op = step.node.op
        assert isinstance(op, Scan)
        batch, bodies = window.batch, host.windows.get(step.node)
        sending = self.sending
        shared = {value: _gather(emission, trains, batch) for value, emission in step.shared}
        elements = {}
        for value, emission in step.elements:
            train, size = _gather(emission, trains, batch), emission.size // max(step.length, 1)
            elements[value] = ElementsIn(train, step.length, size, emission.encoded, sending)
        states = [
            StateIn(state.input, _gather(state.initial, trains, batch), state.initial.size, sending) for state in step.states
        ]
        stacked = {value: ValueOut(emission.size, sending) for value, emission in step.stacked}
        memory = Memory(batch) if sending.carry else None
        for k, element in enumerate(window_order(op, step.length)):
            given = dict(shared)
            given.update((value, sequence.window(element)) for value, sequence in elements.items())
            given.update((state.input, state.window()) for state in states)
            inside = Window(window.first, window.last, self.recorder.columns[step] + k, k, carried=memory is not None)
            self._run(step.body, bodies[k] if bodies is not None else None, given, inside, memory)
            for state, plan in zip(states, step.states, strict=True):
                state.follow(_gather(plan.following, given, batch))
            for value, emission in step.stacked:
                stacked[value].window(element, _gather(emission, given, batch))
            if memory is not None:  # receivers keep what they were told: shared values do not change
                memory.windows += 1
                shared = dict.fromkeys(shared, silent(batch))
        for state, plan in zip(states, step.states, strict=True):
            trains[plan.final] = state.final()
        for value, leaving in stacked.items():
            trains[value] = join(leaving.parts, batch)


def _gather(emission: Emission, trains: Mapping[Value, Train], batch: int) -> Train:
    return join([(trains[source.root], source.map, 0) for source in emission.sources], batch)


def _no_sums(segments: Segments) -> np.ndarray:
    return np.zeros((0, 0), segments.bias.dtype)
