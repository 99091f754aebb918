"""Clocks, and populations of integrate-and-fire neurons, over the steps of a clock of one sample."""

from __future__ import annotations

import numpy as np

from snnir.backends.simulator.kernels.constants import (
    CLOCK_BERNOULLI,
    CLOCK_CONSTANT,
    CLOCK_RATE,
    CLOCK_WINDOW,
    DELIVERING,
    EVENTS,
    FIRING,
    HISTORY,
    KEEPS_HISTORY,
    OFFSETS,
    SAMPLE,
    UNSETTLED,
    WINDOW,
)
from snnir.backends.simulator.kernels.inputs import deliver_step
from snnir.backends.simulator.kernels.memory import copy, cycles, enlarge, events_of, grow, longs, stop_where_asked
from snnir.backends.simulator.kernels.numba_compat import part
from snnir.ir.generator import GOLDEN, MIX_A, MIX_B

__all__ = ["clock", "integrate_fire"]

_GOLDEN, _A, _B = np.uint64(GOLDEN), np.uint64(MIX_A), np.uint64(MIX_B)
_30, _27, _31, _32, _ONE = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(32), np.uint64(1)


@part
def _drawn(key, counter, steps):
    """A number of 0..steps-1 from the upper half of a number of the generator (`snnir/ir/generator.py`)."""
    z = key + (counter + _ONE) * _GOLDEN
    z = (z ^ (z >> _30)) * _A
    z = (z ^ (z >> _27)) * _B
    z ^= z >> _31
    return np.int64((z >> _32) * steps >> _32)


@part
def clock(run, worker, number):
    """The train of a clock: what the complete levels of its source send in each step, or the later steps of its source."""
    row, cursors, trains = run.program.clocks[number], worker.cursors, worker.trains
    n, steps, kind = row.size, row.steps, row.kind
    levels = worker.tracers[:n]
    for i in range(n):
        levels[i] = 0
    first, last = worker.first[row.input], worker.steps[row.input]
    base, cursor = cursors[OFFSETS], cursors[EVENTS]
    grow(trains, base + steps + 1, cursor)
    offsets, address, event = events_of(trains)
    if kind != CLOCK_WINDOW:
        for e in range(offsets[first], offsets[first + last]):
            levels[address[e]] += event[e] >> 1
    levels_left = worker.signs[:n]
    copy(levels_left, levels)
    key, place = np.uint64(row.seed), np.uint64(worker.window[SAMPLE]) * np.uint64(n)
    offsets[base] = cursor
    for t in range(steps):
        stop_where_asked(run)
        begin = end = np.int64(0)
        if kind == CLOCK_WINDOW and row.start <= t < last:
            begin, end = offsets[first + t], offsets[first + t + 1]
        if grow(trains, 0, cursor + n + end - begin):
            offsets, address, event = events_of(trains)
        for e in range(begin, end):
            address[cursor], event[cursor] = address[e], event[e]
            cursor += 1
        if kind != CLOCK_WINDOW:
            for i in range(n):
                level = np.int64(levels[i])
                size, sign, sent = abs(level), np.int64(1 if level > 0 else -1), np.int64(0)
                if kind == CLOCK_CONSTANT:
                    sent = level
                elif kind == CLOCK_RATE:
                    sent = sign * (size * (t + 1) // steps - size * t // steps)
                elif kind == CLOCK_BERNOULLI and size > 0:
                    counter = (place + np.uint64(i)) * np.uint64(steps) + np.uint64(t)
                    sent = sign if _drawn(key, counter, np.uint64(steps)) < size else np.int64(0)
                if sent != 0:
                    if kind == CLOCK_BERNOULLI:
                        levels_left[i] -= np.int32(sent)
                    address[cursor], event[cursor] = i, 2 * sent + (abs(sent) > 1)
                    cursor += 1
        offsets[base + t + 1] = cursor
    if kind == CLOCK_WINDOW:
        cursors[UNSETTLED] += n
    elif kind == CLOCK_BERNOULLI:
        for i in range(n):
            cursors[UNSETTLED] += levels_left[i] != 0
    while steps and offsets[base + steps] == offsets[base + steps - 1]:
        steps -= 1
    worker.first[row.slot], worker.steps[row.slot], worker.lead[row.slot] = base, steps, 0
    cursors[OFFSETS], cursors[EVENTS] = base + steps + 1, cursor


@part
def _keep_potentials(worker, population, potentials, layout):
    """Append the potentials after a step, in order of addresses, behind population, sample and window."""
    entry, n = worker.cursors[HISTORY], potentials.size
    enlarge(worker.history, entry + n + 3, 8)
    history = longs(worker.history)
    history[entry], history[entry + 1], history[entry + 2] = population, worker.window[SAMPLE], worker.window[WINDOW]
    for i in range(n):
        history[entry + 3 + layout[i]] = potentials[i]
    worker.cursors[HISTORY] = entry + 3 + n


@part
def integrate_fire(run, worker, number, start, theta, sums, each, rest):
    """Run one population of integrate-and-fire neurons for the steps of its clock (op `if`).

    `start` holds what arrives beside spikes in all steps together, D; in a step it is floor(D / T), `each`, and one more whenever
    the remainders that have added up reach T.
    """
    program, timed, cursors, trains = run.program, run.timed != 0, worker.cursors, worker.trains
    row = program.populations[number]
    keeps_history = run.flags[row.emitter] & KEEPS_HISTORY != 0
    n, steps, leak, hard, delayed = row.size, row.clock, row.leak, row.hard != 0, row.delayed != 0
    layout = program.layout[row.neurons : row.neurons + n]
    theta, drive = theta[row.own : row.own + n], start[row.own : row.own + n]
    v, each, rest, added, sent, fired = sums[:n], each[:n], rest[:n], worker.rests[:n], worker.signs[:n], worker.fired
    total = worker.tracers[:n]
    copy(v, program.potentials[row.neurons : row.neurons + n])
    for i in range(n):
        each[i] = drive[i] // steps
        rest[i] = drive[i] - each[i] * steps
        added[i], sent[i], total[i] = 0, 0, 0
    base, cursor, used = cursors[OFFSETS], cursors[EVENTS], 0
    grow(trains, base + steps + 1, cursor)
    offsets, address, event = events_of(trains)
    offsets[base] = cursor
    since = cycles() if timed else 0
    for t in range(steps):
        stop_where_asked(run)
        if leak:
            for i in range(n):
                v[i] -= v[i] >> leak
        deliver_step(run, worker, number, row, t)
        if timed:
            now = cycles()
            cursors[DELIVERING] += now - since
            since = now
        for i in range(n):
            ahead = np.int32(added[i] + rest[i])
            more = np.int32(ahead >= steps)
            added[i] = ahead - more * np.int32(steps)
            v[i] += each[i] + more
        if delayed:
            for i in range(n):
                if sent[i]:
                    v[i] = 0 if hard else v[i] - theta[i]
        count = 0
        for i in range(n):
            sent[i] = v[i] >= theta[i]
            fired[count] = i
            count += sent[i]
            total[i] += sent[i]
        if not delayed:
            for k in range(count):
                at = np.uint32(fired[k])
                v[at] = 0 if hard else v[at] - theta[at]
        if keeps_history:
            _keep_potentials(worker, number, v, layout)
        if count:
            if grow(trains, 0, cursor + count):
                offsets, address, event = events_of(trains)
            addresses, events = address[cursor : cursor + count], event[cursor : cursor + count]
            for k in range(count):
                addresses[k], events[k] = layout[np.uint32(fired[k])], 2
            cursor += count
            used = t + 1
        offsets[base + t + 1] = cursor
        if timed:
            now = cycles()
            cursors[FIRING] += now - since
            since = now
    if row.telling:
        wrong = 0
        for i in range(n):
            left = v[i] - theta[i] if delayed and sent[i] else v[i]
            wrong += (left < 0 and total[i] > 0) or (left >= theta[i] and total[i] < steps)
        cursors[UNSETTLED] += wrong
    else:
        cursors[UNSETTLED] += n
    worker.first[row.slot], worker.steps[row.slot], worker.lead[row.slot] = base, used, 0
    cursors[OFFSETS], cursors[EVENTS] = base + used + 1, cursor
