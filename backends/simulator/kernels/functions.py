"""Functions of complete levels: their microcode, on registers of 64 bits, and the levels that they charge."""

from __future__ import annotations

import numpy as np

from snnir.backends.simulator.kernels.constants import (
    ADD,
    AND,
    BIT_LENGTH,
    EVENTS,
    FLOOR_DIV,
    JOIN,
    LEAST,
    MOST,
    MUL,
    OFFSETS,
    REDUCE_MAX,
    REDUCE_SUM,
    RESUMES,
    SHIFT_LEFT,
    SHIFT_RIGHT,
    SQRT,
    SUB,
    TABLE,
)
from snnir.backends.simulator.kernels.memory import clear, events_of, grow
from snnir.backends.simulator.kernels.numba_compat import part
from snnir.backends.simulator.kernels.trains import accumulate

__all__ = ["compute", "tell_changes"]

_LARGEST_ROOT = 3037000499  # the root of the largest int64


@part
def _place(maps, map_, first, i):
    """The register's entry that operand entry i is: contiguous from `first`, or by a map of entries (-1: zero)."""
    return first + i if map_ < 0 else maps[map_ + i]


@part
def _floor_sqrt(x):
    """The largest integer whose square is at most x; 0 of negative numbers."""
    if x <= 0:
        return np.int64(0)
    root = min(np.int64(np.sqrt(np.float64(x))), np.int64(_LARGEST_ROOT))
    while root * root > x:
        root -= 1
    while root < _LARGEST_ROOT and (root + 1) * (root + 1) <= x:
        root += 1
    return root


@part
def _bit_length(x):
    """The number of binary digits of x; 0 of negative numbers."""
    length = np.int64(0)
    while x > 0:
        x >>= 1
        length += 1
    return length


@part
def _combined(kind, x, y):
    """One integer of a step with two operands."""
    if kind == ADD:
        return x + y
    if kind == SUB:
        return x - y
    if kind == MUL:
        return x * y
    if kind == FLOOR_DIV:
        return x // (y if y != 0 else np.int64(1))
    if kind == LEAST:
        return min(x, y)
    if kind == MOST:
        return max(x, y)
    if kind == SHIFT_LEFT:
        return x << y
    if kind == SHIFT_RIGHT:
        return x >> y
    return x & y


@part
def _step(program, registers, row):
    """One step of microcode: entries `result` to `result + size` of the registers."""
    maps, kind, to = program.register_maps, row.kind, row.result
    if kind <= AND:
        for i in range(row.size):
            x = registers[_place(maps, row.x_map, row.x, i)]
            registers[to + i] = _combined(kind, x, registers[_place(maps, row.y_map, row.y, i)])
    elif kind == JOIN:
        for i in range(row.size):
            place = maps[row.x_map + i]
            registers[to + i] = registers[place] if place >= 0 else 0
    elif kind == TABLE:
        for i in range(row.size):
            x = registers[_place(maps, row.x_map, row.x, i)]
            registers[to + i] = registers[row.y + min(max(x, 0), row.width - 1)]
    elif kind == SQRT:
        for i in range(row.size):
            registers[to + i] = _floor_sqrt(registers[_place(maps, row.x_map, row.x, i)])
    elif kind == BIT_LENGTH:
        for i in range(row.size):
            registers[to + i] = _bit_length(registers[_place(maps, row.x_map, row.x, i)])
    elif kind == REDUCE_SUM:
        for i in range(row.size):
            total = np.int64(0)
            for j in range(row.width):
                total += registers[_place(maps, row.x_map, row.x, i * row.width + j)]
            registers[to + i] = total
    elif kind == REDUCE_MAX:
        for i in range(row.size):
            most = registers[_place(maps, row.x_map, row.x, i * row.width)]
            for j in range(1, row.width):
                most = max(most, registers[_place(maps, row.x_map, row.x, i * row.width + j)])
            registers[to + i] = most


@part
def compute(run, worker, number):
    """The levels of a function, charged at step 0 of a segment, or among few-spike neurons in the step after the last of what it
    takes; where the window goes on, their change."""
    program, window, cursors, trains = run.program, worker.window, worker.cursors, worker.trains
    row, registers, start = program.functions[number], worker.registers, np.int64(0)
    for s in range(row.first_source, row.last_source):
        source = program.function_sources[s]
        if program.few:
            start = max(start, worker.steps[source.slot])
        if source.sum:  # an accumulator has left it there
            continue
        tracer = registers[source.register : source.register + source.size]
        if not window[RESUMES]:
            clear(tracer)
        accumulate(tracer, worker.first[source.slot], worker.steps[source.slot], trains)
    for s in range(row.first_step, row.last_step):
        _step(program, registers, program.microcode[s])
    base, cursor = cursors[OFFSETS], cursors[EVENTS]
    grow(trains, base + start + 2, cursor + row.size)
    offsets, address, event = events_of(trains)
    for t in range(start + 1):
        offsets[base + t] = cursor
    if start < run.cap:
        for i in range(row.size):
            level = min(max(registers[row.result + i], row.lo), row.hi)
            change = level - (registers[row.kept + i] if window[RESUMES] else 0)
            registers[row.kept + i] = level
            if change:
                address[cursor], event[cursor] = i, 2 * change + 1
                cursor += 1
    used = start + 1 if cursor > cursors[EVENTS] or program.few else 0  # few-spike trains are as long as their schedule
    offsets[base + used] = cursor
    worker.first[row.slot], worker.steps[row.slot], worker.lead[row.slot] = base, used, start
    cursors[OFFSETS], cursors[EVENTS] = base + used + 1, cursor


@part
def tell_changes(run, worker, number):
    """The change of the levels of a function at every step in which what it takes changes."""
    program, cursors, trains = run.program, worker.cursors, worker.trains
    row, registers, resumes = program.functions[number], worker.registers, worker.window[RESUMES]
    kept, last = registers[row.kept : row.kept + row.size], np.int64(0)
    for s in range(row.first_source, row.last_source):
        source = program.function_sources[s]
        last = max(last, min(worker.steps[source.slot], run.cap))
        if not resumes:
            clear(registers[source.register : source.register + source.size])
    if not resumes:
        clear(kept)
        last = max(last, np.int64(1))
    base, cursor, used = cursors[OFFSETS], cursors[EVENTS], 0
    grow(trains, base + last + 1, cursor)
    offsets, address, event = events_of(trains)
    offsets[base] = cursor
    for t in range(last):
        changes = t == 0 and not resumes
        for s in range(row.first_source, row.last_source):
            source = program.function_sources[s]
            if t < worker.steps[source.slot]:
                begin = worker.first[source.slot] + t
                for e in range(offsets[begin], offsets[begin + 1]):
                    registers[source.register + address[e]] += event[e] >> 1
                    changes = True
        if changes:
            for s in range(row.first_step, row.last_step):
                _step(program, registers, program.microcode[s])
            if grow(trains, 0, cursor + row.size):
                offsets, address, event = events_of(trains)
            for i in range(row.size):
                level = min(max(registers[row.result + i], row.lo), row.hi)
                change = level - kept[i]
                if change:
                    kept[i] = level
                    address[cursor], event[cursor] = i, 2 * change + 1
                    cursor += 1
                    used = t + 1
        offsets[base + t + 1] = cursor
    worker.first[row.slot], worker.steps[row.slot], worker.lead[row.slot] = base, used, 0
    cursors[OFFSETS], cursors[EVENTS] = base + used + 1, cursor
