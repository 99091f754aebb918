"""Sums that functions read while they change: their events are the changes of the sums."""

from __future__ import annotations

from snnir.backends.simulator.kernels.constants import EVENTS, KEEPS, OFFSETS, RESUMES
from snnir.backends.simulator.kernels.inputs import deliver_step, last_step
from snnir.backends.simulator.kernels.memory import clear, copy, events_of, grow, stop_where_asked
from snnir.backends.simulator.kernels.numba_compat import part

__all__ = ["run_sums"]


@part
def run_sums(run, worker, number, start, kept, sums, emitted):
    """Add up what arrives, step by step, and emit what changed; the first step of a fresh window emits the start as well.

    `start` and `kept` are arrays over all neurons, `sums` and `emitted` have room for the largest population.
    """
    program = run.program
    row, window, cursors, trains = program.populations[number], worker.window, worker.cursors, worker.trains
    n, a, emitted = row.size, sums[: row.size], emitted[: row.size]
    layout = program.layout[row.neurons : row.neurons + n]
    last = last_step(run, worker, row)
    if window[RESUMES]:
        copy(a, kept[row.own : row.own + n])
        copy(emitted, a)
    else:
        copy(a, start[row.own : row.own + n])
        clear(emitted)
        last = max(last, 1)
    base, cursor, used = cursors[OFFSETS], cursors[EVENTS], 0
    grow(trains, base + last + 1, cursor)
    offsets, address, event = events_of(trains)
    offsets[base] = cursor
    for t in range(last):
        stop_where_asked(run)
        deliver_step(run, worker, number, row, t)
        if grow(trains, 0, cursor + n):
            offsets, address, event = events_of(trains)
        for i in range(n):
            change = a[i] - emitted[i]
            if change:
                emitted[i] = a[i]
                address[cursor], event[cursor] = layout[i], 2 * change + 1
                cursor += 1
                used = t + 1
        offsets[base + t + 1] = cursor
    if window[KEEPS]:
        copy(kept[row.own : row.own + n], a)
    worker.first[row.slot], worker.steps[row.slot] = base, used
    cursors[OFFSETS], cursors[EVENTS] = base + used + 1, cursor
