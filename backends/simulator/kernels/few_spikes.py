"""A population of few-spike neurons (or a readout: levels 0..0) over one window of one sample."""

from __future__ import annotations

import numpy as np

from snnir.backends.simulator.kernels.constants import (
    COLUMN,
    DELIVERING,
    EVENTS,
    FIRING,
    KEEPS_HISTORY,
    OFFSETS,
    SAMPLE,
    STEPS,
    SUMS,
    WINDOW,
)
from snnir.backends.simulator.kernels.memory import clear, copy, cycles, deliver_by, events_of, grow, stop_where_asked
from snnir.backends.simulator.kernels.numba_compat import part
from snnir.backends.simulator.kernels.planes import bits_of_any, emit_plane, level_bits, level_bits_staircase
from snnir.backends.simulator.kernels.populations import keep_history

__all__ = ["few_spikes"]


@part
def _deliver(run, worker, number, row, begin, end):
    """Deliver what the sources emit in the steps begin..end-1: as levels where the segment takes them, else each step by itself,
    whose spikes have one value."""
    offsets, _, _ = events_of(worker.trains)
    for s in range(row.first, row.last):
        slot = run.program.inputs[s]
        first, since, until = worker.first[slot], max(begin, worker.lead[slot]), min(end, worker.steps[slot])
        if since < until and run.program.segments[s].levels:
            if offsets[first + since] < offsets[first + until]:
                stop_where_asked(run)
                deliver_by(run.deliveries[s], run, worker, number, s, offsets[first + since], offsets[first + until])
            continue
        for t in range(since, until):
            events, behind = offsets[first + t], offsets[first + t + 1]
            if events < behind:
                stop_where_asked(run)
                deliver_by(run.deliveries[s], run, worker, number, s, events, behind)


@part
def few_spikes(run, worker, number, start, theta, sums):
    """Run one population: sum up all input, and tell the levels bit by bit from the step on in which it is complete.

    `start` and `theta` are arrays over all neurons, `sums` has room for the largest population. Every train is as long as its
    schedule, so that the longest of its sources says when the input is complete.
    """
    program, timed, window, cursors, trains = run.program, run.timed != 0, worker.window, worker.cursors, worker.trains
    row = program.populations[number]
    keeps_history = run.flags[row.emitter] & KEEPS_HISTORY != 0
    n, steps = row.size, max(row.bits - row.omitted, 0)
    parameter = program.parameter[row.neurons : row.neurons + n]
    layout = program.layout[row.neurons : row.neurons + n]
    table, theta = program.thresholds[row.thresholds :], theta[row.own : row.own + n]
    a, tracers = sums[:n], worker.tracers[:n]
    copy(a, start[row.own : row.own + n])
    clear(tracers)
    since = cycles() if timed else 0
    complete = 0
    for s in range(row.first, row.last):
        complete = max(complete, worker.steps[program.inputs[s]])
    if keeps_history:  # with tracers at 0, what is kept is the sum
        for t in range(complete):
            _deliver(run, worker, number, row, t, t + 1)
            keep_history(worker, number, a, tracers, theta, layout)
        for _ in range(steps):
            keep_history(worker, number, a, tracers, theta, layout)
    else:
        _deliver(run, worker, number, row, 0, complete)
    if timed:
        now = cycles()
        cursors[DELIVERING] += now - since
        since = now
    base, cursor = cursors[OFFSETS], cursors[EVENTS]
    high, low = row.bits - 1, row.omitted
    spikes = np.int64(0)
    if steps:
        if row.staircase:
            spikes = level_bits_staircase(a, tracers, table, row.steps, parameter, row.lo, row.hi, high, low)
        else:
            spikes = level_bits(a, theta, tracers, row.lo, row.hi, high, low)
    grow(trains, base + complete + steps + 1, cursor + spikes + 8)
    offsets, address, event = events_of(trains)
    for t in range(complete + 1):
        offsets[base + t] = cursor
    there = bits_of_any(tracers)
    for t in range(steps):
        if there >> (high - t) & 1:
            cursor = emit_plane(tracers, high - t, row.lo < 0, layout, address, event, cursor)
        offsets[base + complete + t + 1] = cursor
    if timed:
        cursors[FIRING] += cycles() - since
    if row.sums >= 0:
        result = run.results[window[SAMPLE]]
        column = program.results[STEPS] + window[COLUMN]
        result[column] = max(result[column], complete)
        settled = result[program.results[SUMS] + row.sums + window[WINDOW] * n :]
        for i in range(n):
            settled[layout[i]] = a[i]
    if row.register >= 0:
        for i in range(n):
            worker.registers[row.register + layout[i]] = a[i]
    worker.first[row.slot], worker.steps[row.slot], worker.lead[row.slot] = base, complete + steps, complete
    cursors[OFFSETS], cursors[EVENTS] = base + complete + steps + 1, cursor
