"""The driver: what is charged, one job of the compiled kernels for all threads, and the results of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from snnir.backends.simulator.budget import Budget, size_text
from snnir.backends.simulator.kernels.constants import (
    DELIVERING,
    FAILED,
    GRADED,
    HISTORY,
    RECORDS,
    RELAY,
    REPLAY,
    STOPPED,
    UNDELIVERED,
    UNSETTLED,
    WRONG,
)
from snnir.backends.simulator.record import RecordedResult, Recorder
from snnir.backends.simulator.tables import Layout, Sized
from snnir.backends.simulator.thread_pool import ThreadPool, acquire_pool, release_pool
from snnir.backends.simulator.workspace import Code, RunMemory, Worker, address_of
from snnir.errors import InputError, RunMemoryError
from snnir.ir.graph import Graph, Value
from snnir.ir.types import not_a_level
from snnir.machine.host import Host
from snnir.machine.program import Constant
from snnir.machine.results import SimulationResult

__all__ = ["Recorder", "acquire_pool", "release_pool", "simulate"]

_FIRST_CALL = 64
"""Samples of a thread in the first compiled call of a run, one where progress is reported; further calls take as many as fill
`_CALL_SECONDS`, and four times those of the call before at most."""

_CALL_SECONDS = 0.5
"""Seconds of a compiled call: how long nothing is heard of a run."""

_SHORT = 1 << 20
"""Neurons, counted for each sample and window, of a compiled call that the calling thread makes itself: less than a second."""

PHASES = ("delivering", "firing", "settling", "the rest")
"""What cycles are counted of: see `SimulationResult.phases`."""

_FOREVER = np.iinfo(np.int64).max // 4
_DELIVERIES = {"relay": RELAY, "replay": REPLAY, "graded": GRADED}

_NOTHING = np.zeros(0, np.int64)

_NO_MEMORY = "not enough memory for the events of this run; allow more, run fewer samples at once, or record less"


def simulate(
    graph: Graph,
    sized: Sized,
    host: Host,
    recorder: Recorder,
    *,
    pool: ThreadPool,
    steps: int | None,
    delivery: str,
    carry: bool,
    spread: bool,
    phases: bool,
    budget: Budget,
    unseen: Callable[[], object],
    progress: Callable[[int, int], None] | None,
) -> SimulationResult:
    """Run a program over the whole batch. The arguments are checked already, but for NaN and infinities in what the kernel
    rounds: where it meets any, `unseen` is called, which raises for those of inputs. Raises `MemoryError` where the events of one
    sample exceed the budget.
    """
    levels, rounded = _charge(sized, host)
    code = _code(sized)
    memory = code.take(pool.helpers + 1)
    addresses = np.array([address_of(reals) for reals in rounded], np.int64)  # the kernel reads it during the run
    memory.set(
        real_inputs=addresses,
        input_levels=levels,
        flags=recorder.flags,
        results=recorder.results,
        cap=_FOREVER if steps is None else steps,
        delivery=_DELIVERIES[delivery],
        carry=carry,
        spread=spread,
        timed=phases,
    )
    try:
        _run(code, memory, recorder, pool, budget, progress)
        counted, events, histories = _found(memory.workers)
    finally:
        code.give_back(memory)
    if counted[WRONG]:
        unseen()
        _refuse(sized.layout, rounded)
    recorder.enter(events, histories)
    reals = host.finish(recorder.sums)
    settles = recorder.settles
    outputs = {name: settles[name] if name in settles else reals[value] for name, value in graph.outputs.items()}
    return RecordedResult(
        recorder,
        outputs,
        int(counted[UNSETTLED]),
        int(counted[UNDELIVERED]),
        _trace(graph, host, recorder) if recorder.trace else {},
        _phases(counted[DELIVERING:]) if phases else {},
    )


def _code(sized: Sized) -> Code:
    """The program as the compiled part reads it: made once, and kept with its layout."""
    kept = sized.layout.prepared
    if not kept:
        kept.append(Code(sized.tables, sized.layout))
    code: Code = kept[0]
    return code


def _run(
    code: Code,
    memory: RunMemory,
    recorder: Recorder,
    pool: ThreadPool,
    budget: Budget,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Run all samples, in calls of a moment each. A signal ends a run within a moment, the handler of which raises.

    Where the events of as many samples at once as there are threads exceed the budget, fewer threads go on.
    """
    counters, batch, records = memory.counters, recorder.batch, bool(recorder.flags.any())
    threads = len(memory.workers)
    _allow(memory.workers, budget.share(threads), records)
    first, size, own = 0, threads * (_FIRST_CALL if progress is None else 1), pool
    try:
        while first < batch:
            last, since = min(first + size, batch), time.perf_counter()
            before = [worker.cursors.copy() for worker in memory.workers] if first else []
            counters[:] = first, last, 0, 0, 0
            if (last - first) * code.neurons < _SHORT:
                own.run(code.work, memory.address)
            else:
                _run_watched(code.work, memory, own)
            if counters[FAILED]:
                if threads == 1 or not any(worker.lacked_room for worker in memory.workers):
                    raise _failure(memory.workers, budget)
                threads //= 2
                _begin_again(memory.workers, before, recorder.results[first:last])
                _allow(memory.workers, budget.share(threads), records)
                if own is not pool:
                    release_pool(own)
                own, size = acquire_pool(threads), threads
                continue
            if progress is not None:
                progress(last, batch)
            speed = (last - first) / max(time.perf_counter() - since, 1e-6)
            first, size = last, min(max(int(speed * _CALL_SECONDS), threads), 4 * size)
    finally:
        if own is not pool:
            release_pool(own)


def _allow(workers: Sequence[Worker], share: int, records: bool) -> None:
    for worker in workers:
        worker.allow(share, records)


def _begin_again(workers: Sequence[Worker], cursors: Sequence[np.ndarray], results: np.ndarray) -> None:
    """Forget a call that failed: what it counted (`cursors`: as it was before; none: nothing) and wrote."""
    results[:] = 0
    for place, worker in enumerate(workers):
        if cursors:
            worker.cursors[:] = cursors[place]
            worker.release_trains()
        else:
            worker.reset()
            worker.release()


def _failure(workers: Sequence[Worker], budget: Budget) -> Exception:
    """Why compiled code failed: growing memory could not grow, or anything else, which is a fault of this package."""
    if any(worker.lacked_room for worker in workers):
        return RunMemoryError(f"{_NO_MEMORY}: one sample at a time needs more than {size_text(budget.share(1))} (--max-memory)")
    return RuntimeError("compiled code of the simulator failed, and not for want of memory: a fault of snnir. Please report it")


def _run_watched(work: int, memory: RunMemory, pool: ThreadPool) -> None:
    """One call in another thread, so that this one hears signals meanwhile. What their handlers raise stops the call."""
    done = threading.Event()

    def call() -> None:
        pool.run(work, memory.address)
        done.set()

    threading.Thread(target=call, name="snnir call", daemon=True).start()
    try:
        while not done.wait(_CALL_SECONDS):  # a thread whose `join` is interrupted counts as ended
            pass
    except BaseException:
        memory.counters[STOPPED] = 1
        while not done.wait(_CALL_SECONDS):
            pass
        raise


def _found(workers: Sequence[Worker]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The counters of all workers, and copies of what they recorded. Raises `MemoryError`, where there is too little."""
    total = workers[0].cursors.copy()
    for worker in workers[1:]:
        total += worker.cursors
    if not total[RECORDS] and not total[HISTORY]:
        return total, _NOTHING, _NOTHING
    try:
        return total, _log(workers, "records", RECORDS), _log(workers, "history", HISTORY)
    except MemoryError:
        raise RunMemoryError(_NO_MEMORY) from None


def _log(workers: Sequence[Worker], name: str, cursor: int) -> np.ndarray:
    """What all workers wrote into a log, one behind the other."""
    logs = [worker.log(name, int(worker.cursors[cursor])) for worker in workers if worker.cursors[cursor]]
    return np.concatenate(logs) if logs else np.zeros(0, np.int64)


def _phases(cycles: np.ndarray) -> dict[str, float]:
    """Shares of the compiled calls' cycles."""
    shares = dict(zip(PHASES, (cycles[:3] / max(int(cycles[3]), 1)).tolist(), strict=False))
    return {**shares, PHASES[-1]: 1 - sum(shares.values())}


def _charge(sized: Sized, host: Host) -> tuple[np.ndarray, list[np.ndarray]]:
    """What is charged: levels int32[batch, ...], one encoder and within it one window behind the other, and what the kernel
    rounds itself: by row of `Tables.roundings` float32[batch, ...]. One row of levels where it is the same for all samples.
    """
    encoders, batch = sized.layout.encoders, sized.batch
    alike = all(isinstance(own.op, Constant) or own.given is not None for own in encoders)
    known, rounded = sized.levels, []
    levels = np.empty((1 if alike else batch, sized.layout.levels), np.int32) if known is None else known
    for own in encoders:
        train = own.op.train
        if isinstance(own.op, Constant):
            if known is None:
                levels[:, own.column : own.column + train.size] = own.op.levels
            continue
        for k, body in enumerate([host] if own.scan is None else host.windows.get(own.scan, [])):
            if own.given is not None:
                rounded.append(np.ascontiguousarray(body.reals[own.given.value], np.float32))
                assert rounded[-1].size == batch * train.size, f"{train.name}: {rounded[-1].shape} for {batch} of {train.shape}"
            elif known is None:
                assert own.value is not None
                first = own.column + k * train.size
                charged = np.broadcast_to(body.charged(own.value), (len(levels), *train.shape))
                levels[:, first : first + train.size] = charged.reshape(len(levels), train.size)
    if alike:
        sized.levels = levels
    return levels, rounded


def _refuse(layout: Layout, rounded: list[np.ndarray]) -> None:
    """Raise `InputError` of the first encoder that was given NaN. Infinities that the host computed are the outermost levels."""
    names = [own.op.train.name for own in layout.encoders if own.given for _ in range(own.windows)]
    for name, reals in zip(names, rounded, strict=True):
        wrong = int(np.isnan(reals).sum())
        if wrong:
            raise InputError(not_a_level(name, wrong))


def _trace(graph: Graph, host: Host, recorder: Recorder) -> dict[str, np.ndarray]:
    """Outputs after each step, as the host computes them from the readouts' sums so far."""
    histories = recorder.histories
    wanted = {name: value for name, value in graph.outputs.items() if value.type.dtype != "spike" and value not in host.reals}
    rows: dict[str, list[np.ndarray]] = {name: [] for name in wanted}
    for t in range(recorder.length):
        sums: Mapping[Value, np.ndarray] = {value: history[t] for value, history in histories.items()}
        reals = host.finish(sums)
        for name, value in wanted.items():
            rows[name].append(reals[value])
    return {name: np.stack(arrays) for name, arrays in rows.items()}
