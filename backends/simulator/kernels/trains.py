"""Trains: made of levels, joined of several, copied and cut."""

from __future__ import annotations

import numpy as np

from snnir.backends.simulator.kernels.constants import EVENTS, OFFSETS, UNDELIVERED
from snnir.backends.simulator.kernels.memory import clear, events_of, grow
from snnir.backends.simulator.kernels.numba_compat import part

__all__ = ["accumulate", "charge", "copy_train", "gather", "send", "split", "spread_levels"]


@part
def charge(levels, encoded, trains, cursors):
    """A train that gives `levels` at step 0; events of an encoder are all marked as charged. Its number of steps is 1."""
    base, cursor, n = cursors[OFFSETS], cursors[EVENTS], levels.size
    grow(trains, base + 2, cursor + n)
    offsets, address, event = events_of(trains)
    offsets[base] = cursor
    for i in range(n):
        level = levels[i]
        if level:
            address[cursor] = i
            event[cursor] = 2 * level + (encoded or abs(level) > 1)
            cursor += 1
    offsets[base + 1] = cursor
    cursors[OFFSETS], cursors[EVENTS] = base + 2, cursor


@part
def spread_levels(levels, steps, trains, cursors):
    """A train that gives `levels` in portions over `steps` steps, as `encodings.portions` says; all are charged."""
    base, cursor, n = cursors[OFFSETS], cursors[EVENTS], levels.size
    grow(trains, base + steps + 1, cursor)
    offsets, address, event = events_of(trains)
    offsets[base] = cursor
    for t in range(steps):
        if grow(trains, 0, cursor + n):
            offsets, address, event = events_of(trains)
        for i in range(n):
            size = abs(np.int64(levels[i]))
            portion = size * (t + 1) // steps - size * t // steps
            if portion:
                address[cursor], event[cursor] = i, (2 * portion if levels[i] > 0 else -2 * portion) + 1
                cursor += 1
        offsets[base + t + 1] = cursor
    cursors[OFFSETS], cursors[EVENTS] = base + steps + 1, cursor


@part
def _unary(levels, cap, trains, cursors):
    """A train that gives `levels` one level a step from step 0, for `cap` steps at most; what they cut off is counted.

    Returns its number of steps. The events of a step are those of the step before whose levels are not reached.
    """
    n, length, total = levels.size, np.int64(0), np.int64(0)
    for i in range(n):
        size = abs(levels[i])
        cursors[UNDELIVERED] += max(size - cap, 0)
        length = max(length, min(size, cap))
        total += min(size, cap)
    base, cursor = cursors[OFFSETS], cursors[EVENTS]
    grow(trains, base + length + 1, cursor + total + n)
    offsets, address, event = events_of(trains)
    offsets[base] = cursor
    if length:
        for i in range(n):
            address[cursor], event[cursor] = i, 2 if levels[i] > 0 else -2
            cursor += levels[i] != 0
        offsets[base + 1] = cursor
    for t in range(1, length):
        for e in range(offsets[base + t - 1], offsets[base + t]):
            address[cursor], event[cursor] = address[e], event[e]
            cursor += abs(levels[address[e]]) > t
        offsets[base + t + 1] = cursor
    cursors[OFFSETS], cursors[EVENTS] = base + length + 1, cursor
    return length


@part
def _bits(levels, bits, trains, cursors):
    """A train that gives the bits of `levels`, most significant first. Returns its number of steps."""
    base, cursor, n = cursors[OFFSETS], cursors[EVENTS], levels.size
    grow(trains, base + bits + 1, cursor)
    offsets, address, event = events_of(trains)
    offsets[base] = cursor
    for t in range(bits):
        if grow(trains, 0, cursor + n):
            offsets, address, event = events_of(trains)
        bit = np.int64(1) << (bits - 1 - t)
        for i in range(n):
            if abs(levels[i]) & bit:
                address[cursor], event[cursor] = i, 2 * bit if levels[i] > 0 else -2 * bit
                cursor += 1
        offsets[base + t + 1] = cursor
    cursors[OFFSETS], cursors[EVENTS] = base + bits + 1, cursor
    return np.int64(bits)


@part
def send(levels, encoded, graded, bits, cap, trains, cursors):
    """A train of what the border of a window sends: at step 0, as that many bits, or (-1) one level a step. Returns its number
    of steps."""
    if encoded or graded:
        charge(levels, encoded, trains, cursors)
        return np.int64(1)
    if bits >= 0:
        return _bits(levels, bits, trains, cursors)
    return _unary(levels, cap, trains, cursors)


@part
def gather(run, worker, number):
    """One train of several, each after its map of addresses."""
    program, trains, cursors = run.program, worker.trains, worker.cursors
    row, maps, steps = program.gathers[number], program.maps, 0
    # where nothing is gathered (only padding is read), there is no part to look at
    lead = worker.lead[program.parts[row.first].slot] if row.first < row.last else np.int64(0)
    for p in range(row.first, row.last):
        slot = program.parts[p].slot
        steps, lead = max(steps, worker.steps[slot]), min(lead, worker.lead[slot])
    base, cursor = cursors[OFFSETS], cursors[EVENTS]
    grow(trains, base + steps + 1, cursor)
    offsets, address, event = events_of(trains)
    offsets[base] = cursor
    for t in range(steps):
        for p in range(row.first, row.last):
            slot, pointers = program.parts[p].slot, program.parts[p].map
            if t >= worker.steps[slot]:
                continue
            for e in range(offsets[worker.first[slot] + t], offsets[worker.first[slot] + t + 1]):
                if pointers < 0:
                    if grow(trains, 0, cursor + 1):
                        offsets, address, event = events_of(trains)
                    address[cursor], event[cursor] = address[e], event[e]
                    cursor += 1
                    continue
                first, last = maps[pointers + address[e]], maps[pointers + address[e] + 1]
                if grow(trains, 0, cursor + last - first):
                    offsets, address, event = events_of(trains)
                for j in range(first, last):
                    address[cursor], event[cursor] = maps[j], event[e]
                    cursor += 1
        offsets[base + t + 1] = cursor
    worker.first[row.slot], worker.steps[row.slot], worker.lead[row.slot] = base, steps, lead
    cursors[OFFSETS], cursors[EVENTS] = base + steps + 1, cursor


@part
def accumulate(levels, first, steps, trains):
    """Add the values of a train's events to `levels`."""
    offsets, address, event = events_of(trains)
    for e in range(offsets[first], offsets[first + steps]):
        levels[address[e]] += event[e] >> 1


@part
def copy_train(first, steps, trains, levels, sign, raised, worker, into, base, cursor):
    """Copy a train to another store, from `base` and `cursor` on; `raised`: with `levels` times `sign` added to its events
    of step 0.

    Returns the number of steps and the cursor behind the last event.
    """
    offsets, address, event = events_of(trains)
    begin, end = offsets[first], offsets[first + steps]
    copied = max(steps, 1) if raised else steps
    count = end - begin + (levels.size if raised else 0)
    grow(into, base + copied + 1, cursor + count)
    out_offsets, out_address, out_event = events_of(into)
    out_offsets[base] = cursor
    rest = 0
    if raised:
        sums, charged = worker.differences[: levels.size], worker.charged[: levels.size]
        clear(charged)
        for i in range(levels.size):
            sums[i] = sign * levels[i]
        if steps:
            for e in range(begin, offsets[first + 1]):
                sums[address[e]] += event[e] >> 1
                charged[address[e]] |= event[e] & 1
        for i in range(sums.size):
            if sums[i]:
                out_address[cursor] = i
                out_event[cursor] = 2 * sums[i] + (charged[i] or abs(sums[i]) > 1)
                cursor += 1
        out_offsets[base + 1] = cursor
        rest = 1
    for t in range(rest, steps):
        for e in range(offsets[first + t], offsets[first + t + 1]):
            out_address[cursor], out_event[cursor] = address[e], event[e]
            cursor += 1
        out_offsets[base + t + 1] = cursor
    return copied, cursor


@part
def split(row, windows, worker):
    """Cut the train of a whole sequence into those of its elements, each of as many steps. Returns where they begin, and that."""
    trains, cursors, size = worker.trains, worker.cursors, row.size
    base, cursor = cursors[OFFSETS], cursors[EVENTS]
    begin, steps = worker.first[row.outer], worker.steps[row.outer]
    grow(trains, base + windows * (steps + 1) + 1, cursor)
    offsets, address, event = events_of(trains)
    parts = offsets[base : base + windows * (steps + 1) + 1]
    clear(parts)
    for t in range(steps):
        for e in range(offsets[begin + t], offsets[begin + t + 1]):
            parts[np.int64(address[e]) // size * (steps + 1) + t + 1] += 1
    for i in range(windows):
        parts[i * (steps + 1)] = cursor
        for t in range(steps):
            cursor += parts[i * (steps + 1) + t + 1]
            parts[i * (steps + 1) + t + 1] = cursor
    count = cursor - cursors[EVENTS]
    if grow(trains, 0, cursors[EVENTS] + count):
        offsets, address, event = events_of(trains)
        parts = offsets[base : base + windows * (steps + 1) + 1]
    # An element's events are written from the start of their step on, which thereby becomes its end: shifted back below.
    for t in range(steps):
        for e in range(offsets[begin + t], offsets[begin + t + 1]):
            element = np.int64(address[e]) // size
            to = parts[element * (steps + 1) + t]
            address[to], event[to] = np.int64(address[e]) - element * size, event[e]
            parts[element * (steps + 1) + t] = to + 1
    start = cursors[EVENTS]
    for i in range(windows):
        for t in range(steps, 0, -1):
            parts[i * (steps + 1) + t] = parts[i * (steps + 1) + t - 1]
        parts[i * (steps + 1)] = start
        start = parts[i * (steps + 1) + steps]
    cursors[OFFSETS], cursors[EVENTS] = base + windows * (steps + 1) + 1, cursor
    return base, steps
