"""A population (or a readout: levels 0..0) over one window of one sample."""

from __future__ import annotations

import numpy as np

from snnir.backends.simulator.kernels.constants import (
    DELIVERING,
    EVENTS,
    FIRING,
    HISTORY,
    KEEPS,
    KEEPS_HISTORY,
    OFFSETS,
    RESUMES,
    SAMPLE,
    SETTLING,
    SUMS,
    UNSETTLED,
    WINDOW,
)
from snnir.backends.simulator.kernels.inputs import deliver_all, deliver_step, last_step
from snnir.backends.simulator.kernels.memory import (
    clear,
    copy,
    cycles,
    enlarge,
    events_of,
    grow,
    longs,
    stop_where_asked,
)
from snnir.backends.simulator.kernels.neurons import able, emit, fire, fire_again, fire_staircase, neighbours
from snnir.backends.simulator.kernels.numba_compat import part

__all__ = ["keep_history", "populate"]


@part
def keep_history(worker, population, sums, tracers, theta, layout):
    """Append the sums after a step, in order of addresses, behind population, sample and window."""
    entry, n = worker.cursors[HISTORY], sums.size
    enlarge(worker.history, entry + n + 3, 8)
    history = longs(worker.history)
    history[entry], history[entry + 1], history[entry + 2] = population, worker.window[SAMPLE], worker.window[WINDOW]
    for i in range(n):
        history[entry + 3 + layout[i]] = sums[i] + np.int64(tracers[i]) * theta[i] - theta[i] // 2
    worker.cursors[HISTORY] = entry + 3 + n


@part
def _begin(program, worker, row, start, kept, a, up, down):
    """Sums and tracers as a window begins, and the thresholds beside every level of a staircase."""
    tracers = worker.tracers[: row.size]
    if worker.window[RESUMES]:
        copy(a, kept[row.own : row.own + row.size])
        copy(tracers, worker.kept_levels[row.neurons : row.neurons + row.size])
    else:
        copy(a, start[row.own : row.own + row.size])
        clear(tracers)
    if row.staircase:
        most = np.iinfo(a.dtype).max
        for i in range(row.size):
            parameter = program.parameter[row.neurons + i]
            first = row.thresholds + parameter * row.steps
            up[i], down[i] = neighbours(program.thresholds[first : first + row.steps], row.lo, row.hi, tracers[i], most)


@part
def _end(run, worker, row, kept, a):
    """Write down what a readout or a function wants of the sums, and what the next window resumes."""
    n, window, layout = row.size, worker.window, run.program.layout[row.neurons : row.neurons + row.size]
    if row.sums >= 0:
        settled = run.results[window[SAMPLE]][run.program.results[SUMS] + row.sums + window[WINDOW] * n :]
        for i in range(n):
            settled[layout[i]] = a[i]
    if row.register >= 0:
        for i in range(n):
            worker.registers[row.register + layout[i]] = a[i]
    if window[KEEPS]:
        copy(kept[row.own : row.own + n], a)
        copy(worker.kept_levels[row.neurons : row.neurons + n], worker.tracers[:n])


@part
def populate(run, worker, number, start, theta, kept, sums, up, down):
    """Run one population until it is silent.

    `start`, `theta` and `kept` are arrays over all neurons, `sums`, `up` and `down` have room for the largest population. Once
    no input is left every neuron changes by one level a step until it has reached its own.
    """
    program, cap, timed = run.program, run.cap, run.timed != 0
    row, cursors, trains = program.populations[number], worker.cursors, worker.trains
    keeps_history = run.flags[row.emitter] & KEEPS_HISTORY != 0
    n, lo, hi, staircase = row.size, row.lo, row.hi, row.staircase
    parameter = program.parameter[row.neurons : row.neurons + n]
    layout = program.layout[row.neurons : row.neurons + n]
    table = program.thresholds[row.thresholds :]
    theta = theta[row.own : row.own + n]
    a, up, down, tracers = sums[:n], up[:n], down[:n], worker.tracers[:n]
    most = np.iinfo(a.dtype).max
    _begin(program, worker, row, start, kept, a, up, down)
    last = last_step(run, worker, row)
    base, cursor = cursors[OFFSETS], cursors[EVENTS]
    grow(trains, base + min(last + hi - lo, cap) + 1, cursor)
    offsets, address, event = events_of(trains)
    offsets[base] = cursor
    used = 0
    if hi == lo and not keeps_history:
        deliver_all(run, worker, number, row, last)
        last = 0
    fired, signs, active = worker.fired, worker.signs, hi > lo
    since = cycles() if timed else 0
    for t in range(last):
        stop_where_asked(run)
        if deliver_step(run, worker, number, row, t):
            active = hi > lo
        if keeps_history:
            keep_history(worker, number, a, tracers, theta, layout)
        if timed:
            now = cycles()
            cursors[DELIVERING] += now - since
            since = now
        if t == last - 1:
            break
        if active:
            if staircase:
                count = fire_staircase(a, up, down, tracers, fired, signs, table, row.steps, parameter, lo, hi, most)
            else:
                count = fire(a, tracers, theta, lo, hi, fired, signs)
            active = count > 0
            if active:
                if grow(trains, 0, cursor + count):
                    offsets, address, event = events_of(trains)
                emit(fired, count, signs, layout, address, event, cursor)
                cursor += count
                used = t + 1
        offsets[base + t + 1] = cursor
        if timed:
            now = cycles()
            cursors[FIRING] += now - since
            since = now
    # All input is there: from its last step on every neuron changes by one level a step, until it has reached its own.
    if keeps_history and last == 0:
        keep_history(worker, number, a, tracers, theta, layout)
    t = max(last - 1, 0)
    count = np.int64(0)
    if hi > lo and t < cap:
        if staircase:
            count = fire_staircase(a, up, down, tracers, fired, signs, table, row.steps, parameter, lo, hi, most)
        else:
            count = fire(a, tracers, theta, lo, hi, fired, signs)
    while count:
        stop_where_asked(run)
        if grow(trains, 0, cursor + count):
            offsets, address, event = events_of(trains)
        emit(fired, count, signs, layout, address, event, cursor)
        cursor += count
        t += 1
        used = t
        offsets[base + t] = cursor
        if t >= cap:
            break
        count = fire_again(a, up, down, theta, tracers, fired, count, signs, table, row.steps, parameter, staircase, lo, hi, most)
    if timed:
        cursors[SETTLING] += cycles() - since
    if t >= cap and hi > lo:  # the steps were too few
        cursors[UNSETTLED] += able(a, up, down, theta, tracers, staircase, lo, hi)
    _end(run, worker, row, kept, a)
    worker.first[row.slot], worker.steps[row.slot] = base, used
    cursors[OFFSETS], cursors[EVENTS] = base + used + 1, cursor
