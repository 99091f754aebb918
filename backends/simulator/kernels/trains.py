"""Trains: made of levels, joined of several, copied and cut."""

from __future__ import annotations

from typing import Any

import numpy as np

from snnir.backends.simulator.kernels.constants import EVENTS, OFFSETS, UNDELIVERED
from snnir.backends.simulator.kernels.memory import clear, events_of, grow
from snnir.backends.simulator.kernels.numba_compat import part
from snnir.backends.simulator.kernels.planes import bits_of_any, emit_plane, where

__all__ = ["accumulate", "charge", "compact", "copy_events", "copy_train", "gather", "send", "split", "spread_levels"]


@part
def charge(levels, encoded, trains, cursors):
    """A train that gives `levels` at step 0; events of an encoder are all marked as charged. Its number of steps is 1."""
    base, cursor = cursors[OFFSETS], cursors[EVENTS]
    grow(trains, base + 2, cursor + levels.size + 8)
    offsets, address, event = events_of(trains)
    offsets[base] = cursor
    count = where(levels, -1, address, cursor)
    addresses, events = address[cursor : cursor + count], event[cursor : cursor + count]
    for k in range(count):
        level = levels[np.uint32(addresses[k])]
        events[k] = 2 * level + (encoded | (abs(level) > 1))
    offsets[base + 1] = cursor + count
    cursors[OFFSETS], cursors[EVENTS] = base + 2, cursor + count


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
    base, cursor = cursors[OFFSETS], cursors[EVENTS]
    grow(trains, base + bits + 1, cursor)
    offsets, address, event = events_of(trains)
    offsets[base] = cursor
    there = bits_of_any(levels)
    for t in range(bits):
        if there >> (bits - 1 - t) & 1:
            if grow(trains, 0, cursor + levels.size + 8):
                offsets, address, event = events_of(trains)
            cursor = emit_plane(levels, bits - 1 - t, True, None, address, event, cursor)
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
    addresses, events = address[offsets[first] : offsets[first + steps]], event[offsets[first] : offsets[first + steps]]
    for k in range(addresses.size):
        levels[np.uint32(addresses[k])] += events[k] >> 1


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
    if rest < steps:
        start = offsets[first + rest]
        moved = cursor - start
        for t in range(rest, steps):
            out_offsets[base + t + 1] = offsets[first + t + 1] + moved
        copy_events(address, event, start, end, out_address, out_event, cursor, np.int32(0))
        cursor += end - start
    return copied, cursor


@part
def copy_events(address, event, begin, end, out_address, out_event, cursor, shift):
    """Copy the events begin..end-1 to `cursor` and on, with `shift` added to their addresses."""
    addresses, events = address[begin:end], event[begin:end]
    to_addresses, to_events = out_address[cursor : cursor + end - begin], out_event[cursor : cursor + end - begin]
    for k in range(addresses.size):
        to_addresses[k] = addresses[k] + shift
    for k in range(events.size):
        to_events[k] = events[k]


@part
def _run_of(address, e, end, start, size):
    """The first event behind e whose address is not one of the `size` from `start` on; `end` where there is none."""
    following, last = address[e:end], start + size
    for k in range(following.size):
        if not start <= following[k] < last:
            return e + k
    return end


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
        e, end = offsets[begin + t], offsets[begin + t + 1]
        while e < end:  # events of an element stand mostly side by side
            element = np.int64(address[e]) // size
            following = _run_of(address, e, end, element * size, size)
            parts[element * (steps + 1) + t + 1] += following - e
            e = following
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
        e, end = offsets[begin + t], offsets[begin + t + 1]
        while e < end:
            element = np.int64(address[e]) // size
            following = _run_of(address, e, end, element * size, size)
            to = parts[element * (steps + 1) + t]
            copy_events(address, event, e, following, address, event, to, -np.int32(element * size))
            parts[element * (steps + 1) + t] = to + following - e
            e = following
    start = cursors[EVENTS]
    for i in range(windows):
        for t in range(steps, 0, -1):
            parts[i * (steps + 1) + t] = parts[i * (steps + 1) + t - 1]
        parts[i * (steps + 1)] = start
        start = parts[i * (steps + 1) + steps]
    cursors[OFFSETS], cursors[EVENTS] = base + windows * (steps + 1) + 1, cursor
    return base, steps


@part
def _next_train(run, worker, i, above):
    """The slot whose train begins first among those that begin behind `above` and are read after instruction i; or -1."""
    found: Any = np.int64(-1)
    for slot in range(worker.first.size):
        alive = 0 <= run.made[slot] <= i < run.read[slot] and worker.first[slot] > above
        if alive and (found < 0 or worker.first[slot] < worker.first[found]):
            found = slot
    return found


@part
def compact(run, worker, i):
    """Forget the trains that nothing reads after instruction i, one outside scans: the others move together."""
    offsets, address, event = events_of(worker.trains)
    base, cursor, above = np.int64(0), np.int64(0), np.int64(-1)
    while True:
        found = _next_train(run, worker, i, above)
        if found < 0:
            break
        above = worker.first[found]
        first, steps = above, np.int64(0)
        for slot in range(worker.first.size):  # several slots may have one train
            if 0 <= run.made[slot] <= i < run.read[slot] and worker.first[slot] == first:
                steps = max(steps, worker.steps[slot])
                if slot != found:
                    worker.first[slot] = base
        worker.first[found] = base
        begin, end = offsets[first], offsets[first + steps]
        moved = begin - cursor
        for t in range(steps + 1):
            offsets[base + t] = offsets[first + t] - moved
        for e in range(begin, end):
            address[e - moved], event[e - moved] = address[e], event[e]
        base, cursor = base + steps + 1, cursor + end - begin
    worker.cursors[OFFSETS], worker.cursors[EVENTS] = base, cursor
