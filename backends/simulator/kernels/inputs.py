"""The inputs of a population: the trains that its segments deliver, step by step."""

from __future__ import annotations

from snnir.backends.simulator.kernels.memory import deliver_by, events_of
from snnir.backends.simulator.kernels.numba_compat import part

__all__ = ["deliver_all", "deliver_step", "last_step"]


@part
def last_step(run, worker, row):
    """The number of steps until the last input event of a population's window."""
    offsets, _, _ = events_of(worker.trains)
    last = 0
    for s in range(row.first, row.last):
        slot = run.program.inputs[s]
        first, steps = worker.first[slot], min(worker.steps[slot], run.cap)
        while steps > last and offsets[first + steps - 1] == offsets[first + steps]:
            steps -= 1
        last = max(last, steps)
    return last


@part
def deliver_step(run, worker, number, row, t):
    """Deliver what the inputs of a population emitted at step t; whether that was anything."""
    offsets, _, _ = events_of(worker.trains)
    delivered = False
    for s in range(row.first, row.last):
        slot = run.program.inputs[s]
        if t < worker.steps[slot]:
            begin, end = offsets[worker.first[slot] + t], offsets[worker.first[slot] + t + 1]
            if begin < end:
                deliver_by(run.deliveries[s], run, worker, number, s, begin, end)
                delivered = True
    return delivered


@part
def deliver_all(run, worker, number, row, last):
    """Deliver what the inputs of a population emitted before step `last`, all at once."""
    offsets, _, _ = events_of(worker.trains)
    for s in range(row.first, row.last):
        slot = run.program.inputs[s]
        begin, end = offsets[worker.first[slot]], offsets[worker.first[slot] + min(worker.steps[slot], last)]
        if begin < end:
            deliver_by(run.deliveries[s], run, worker, number, s, begin, end)
