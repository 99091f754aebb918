"""Values that are combined of tracers: the largest of a window, and the product of two."""

from __future__ import annotations

import numpy as np

from snnir.backends.simulator.kernels.constants import EVENTS, KEEPS, OFFSETS, RESUMES, TICK
from snnir.backends.simulator.kernels.memory import clear, copy, events_of, grow
from snnir.backends.simulator.kernels.numba_compat import part

__all__ = ["combine"]


@part
def _all(touched, size):
    for window in range(size):
        touched[window] = window
    return size


@part
def combine(run, worker, number):
    """The change of the largest tracer of each window, or of the product of two tracers, step by step.

    Member 0.. of a window are its addresses (-1: none); the map at `pointers` says which windows hold an address.
    """
    row, window_state, cursors, trains = run.program.combinations[number], worker.window, worker.cursors, worker.trains
    tracers, current = worker.inputs[: row.inputs], worker.values[: row.size]
    kept_tracers = worker.kept_tracers[row.kept : row.kept + row.inputs]
    kept_values = worker.kept_tracers[row.kept + row.inputs : row.kept + row.inputs + row.size]
    if window_state[RESUMES]:
        copy(tracers, kept_tracers)
        copy(current, kept_values)
    else:
        clear(tracers)
        clear(current)
    stamps, touched, width = worker.stamps, worker.touched, row.width
    members, maps = run.program.members[row.members : row.members_end], run.program.maps
    begin, inputs = worker.first[row.input], worker.steps[row.input]
    base, cursor, used = cursors[OFFSETS], cursors[EVENTS], 0
    grow(trains, base + inputs + 1, cursor)
    offsets, address, event = events_of(trains)
    offsets[base] = cursor
    few, last = run.program.few != 0, max(inputs - 1, 0)
    for t in range(inputs):
        found = 0
        cursors[TICK] += 1
        for e in range(offsets[begin + t], offsets[begin + t + 1]):
            a = address[e]
            tracers[a] += event[e] >> 1
            for k in range(maps[row.pointers + a], maps[row.pointers + a + 1]):
                window = maps[k]
                if stamps[window] != cursors[TICK]:
                    stamps[window] = cursors[TICK]
                    touched[found] = window
                    found += 1
        if few and row.product:  # one event, of complete factors
            found = _all(touched, row.size) if t == last else 0
        if grow(trains, 0, cursor + found):
            offsets, address, event = events_of(trains)
        for k in range(found):
            window = np.int64(touched[k])
            value, any_member = 0, False
            if row.product:
                value = tracers[members[window * width]] * tracers[members[window * width + 1]]
            else:
                for member in members[window * width : (window + 1) * width]:
                    if member >= 0 and (not any_member or tracers[member] > value):
                        value, any_member = tracers[member], True
            change = value - current[window]
            if change:
                current[window] = value
                size = abs(change)
                charged = (size & (size - 1)) != 0 if few and not row.product else size > 1
                address[cursor], event[cursor] = window, 2 * change + charged
                cursor += 1
                used = t + 1
        offsets[base + t + 1] = cursor
    if window_state[KEEPS]:
        copy(kept_tracers, tracers)
        copy(kept_values, current)
    if few:  # its train is as long as its schedule
        used = inputs
        worker.lead[row.slot] = last if row.product else worker.lead[row.input]
    worker.first[row.slot], worker.steps[row.slot] = base, used
    cursors[OFFSETS], cursors[EVENTS] = base + used + 1, cursor
