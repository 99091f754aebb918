"""The compiled kernels: plain functions on arrays, all in this one file.

They stay together because Numba's file cache notices changes of the file that holds a kernel, not of the files that
it calls into. None of them holds the interpreter lock.

An event is an address and a number `2 * value + charged`: the lowest bit marks events that cost a multiplication
(graded values and everything an encoder charges), which synaptic operations are counted by. A train, what one value
emits in one window of one sample, is a slice of `offsets`: its events of step t are those from offsets[at + t] to
offsets[at + t + 1]. Trains stand one behind the other in growing arrays; `cursors` says where the next one begins, and
`at[slot]`, `length[slot]` where the last train of a value begins and how many steps it has.

`tables.py` says what the tables of a program hold, `program.py` how a plan becomes one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import llvmlite.ir
import numba
import numpy as np

__all__ = [
    "simulate",
]

DENSE, CONV, CSR = 0, 1, 2
"""Kinds of synapses: the first column of a segment."""

ENCODE, GATHER, POPULATE, COMBINE, SCAN = range(5)
"""Kinds of instructions."""

RELAY, REPLAY, GRADED = range(3)
"""How a state reaches the next window."""

RECORDED, KEEPS_HISTORY = 1, 2
"""Flags of an emitter: whether its events are recorded, and the sums after each step."""

OFFSETS, EVENTS, RECORDS, HISTORY, UNSETTLED, UNDELIVERED, TICK, DELIVERING, FIRING, SETTLING, ALL = range(11)
"""What `cursors` counts: entries of growing arrays, what a cap cut off, the steps of combinations, and processor cycles.

Cycles are counted where a run asks for them: delivering currents, comparing neurons and writing their spikes while input
comes, the same after the last input, and all of a call.
"""

_Kernel = Callable[..., Any]


def _compiled(kernel: _Kernel) -> _Kernel:
    try:
        return cast(_Kernel, numba.njit(nogil=True, cache=True)(kernel))
    except RuntimeError:  # no folder can be written: compile in memory
        return cast(_Kernel, numba.njit(nogil=True)(kernel))


@_compiled
def _add_row(sums, first, weights, start, size, value):  # type: ignore[no-untyped-def]
    into = sums[first : first + size]
    row = weights[start : start + size]
    if value == 1:  # no multiplication: twice as fast, and what the hardware does
        for j in range(size):
            into[j] += row[j]
    elif value == -1:
        for j in range(size):
            into[j] -= row[j]
    else:
        for j in range(size):
            into[j] += row[j] * value


@_compiled
def _add_rows(sums, first, weights, starts, count, shift, size, sign):  # type: ignore[no-untyped-def]
    """Add `count` <= 8 rows, or with sign -1 subtract them: sums are read and written once, not `count` times.

    Row k begins at starts[k] + shift. Behind the last weights stands a row of zeros that fills up to two, four or eight.
    """
    if count == 0:
        return
    into = sums[first : first + size]
    for k in range(count, 2 if count <= 2 else 4 if count <= 4 else 8):
        starts[k] = weights.size - size - shift
    a, b = starts[0] + shift, starts[1] + shift
    row_a, row_b = weights[a : a + size], weights[b : b + size]
    if count <= 2:
        if sign == 1:
            for j in range(size):
                into[j] += row_a[j] + row_b[j]
        else:
            for j in range(size):
                into[j] -= row_a[j] + row_b[j]
        return
    c, d = starts[2] + shift, starts[3] + shift
    row_c, row_d = weights[c : c + size], weights[d : d + size]
    if count <= 4:
        if sign == 1:
            for j in range(size):
                into[j] += (row_a[j] + row_b[j]) + (row_c[j] + row_d[j])
        else:
            for j in range(size):
                into[j] -= (row_a[j] + row_b[j]) + (row_c[j] + row_d[j])
        return
    e, f = starts[4] + shift, starts[5] + shift
    g, h = starts[6] + shift, starts[7] + shift
    row_e, row_f, row_g, row_h = weights[e : e + size], weights[f : f + size], weights[g : g + size], weights[h : h + size]
    if sign == 1:
        for j in range(size):
            into[j] += ((row_a[j] + row_b[j]) + (row_c[j] + row_d[j])) + ((row_e[j] + row_f[j]) + (row_g[j] + row_h[j]))
    else:
        for j in range(size):
            into[j] -= ((row_a[j] + row_b[j]) + (row_c[j] + row_d[j])) + ((row_e[j] + row_f[j]) + (row_g[j] + row_h[j]))


@_compiled
def _add_scaled(sums, weights, starts, values, size):  # type: ignore[no-untyped-def]
    """Add four rows times their values."""
    into = sums[:size]
    a, b = weights[starts[0] : starts[0] + size], weights[starts[1] : starts[1] + size]
    c, d = weights[starts[2] : starts[2] + size], weights[starts[3] : starts[3] + size]
    va, vb, vc, vd = values[0], values[1], values[2], values[3]
    for j in range(size):
        into[j] += (a[j] * va + b[j] * vb) + (c[j] * vc + d[j] * vd)


@_compiled
def _convolve(sums, segment, weights, index, position, first_map, starts, count, value):  # type: ignore[no-untyped-def]
    """Add the taps of `count` events of one value at one position, whose channels' weights begin at `starts`.

    Output positions that lie side by side take one run of weights. Returns the number of synapses of each event.
    """
    used, map_stride = np.int64(0), segment[6]
    for r in range(index[segment[5] + position], index[segment[5] + position + 1], 3):
        shift, target, size = np.int64(index[r]), first_map + index[r + 1], np.int64(index[r + 2])
        used += size
        if map_stride != 1:
            for k in range(count):
                for j in range(size):
                    sums[target + j * map_stride] += weights[starts[k] + shift + j] * value
        elif count == 1:
            _add_row(sums, target, weights, starts[0] + shift, size, value)
        else:
            _add_rows(sums, target, weights, starts, count, shift, size, value)
    return used


@_compiled
def _dense(sums, begin, end, address, event, segment, weights):  # type: ignore[no-untyped-def]
    """Add the rows of events begin..end-1 to the sums of one sample.

    Rows as long as the sums are gathered by sign until there are enough of them to be added together. Returns the
    number of synapses of an event, and how many events were charged.
    """
    n, base, inputs, used, costly = sums.size, segment[3], segment[4], segment[5], 0
    zero, plus, minus = np.int64(0), np.int64(1), np.int64(-1)
    if used != n:
        for e in range(begin, end):
            local = np.int64(address[e])
            group = local // inputs
            _add_row(sums, group * used, weights, base + (local - group * inputs) * used, used, event[e] >> 1)
            costly += event[e] & 1
        return used, costly
    more, less, scaled = zero, zero, zero
    up, down = np.empty(8, np.int64), np.empty(8, np.int64)
    by, values = np.empty(4, np.int64), np.empty(4, sums.dtype)
    for e in range(begin, end):
        start, value = base + np.int64(address[e]) * n, event[e] >> 1
        costly += event[e] & 1
        if value == 1:
            up[more] = start
            more += 1
            if more == 8:
                _add_rows(sums, zero, weights, up, up.size, zero, n, plus)
                more = zero
        elif value == -1:
            down[less] = start
            less += 1
            if less == 8:
                _add_rows(sums, zero, weights, down, down.size, zero, n, minus)
                less = zero
        else:
            by[scaled] = start
            values[scaled] = value
            scaled += 1
            if scaled == 4:
                _add_scaled(sums, weights, by, values, n)
                scaled = zero
    _add_rows(sums, zero, weights, up, more, zero, n, plus)
    _add_rows(sums, zero, weights, down, less, zero, n, minus)
    for k in range(scaled):
        _add_row(sums, zero, weights, by[k], n, values[k])
    return used, costly


@_compiled
def _conv(sums, begin, end, address, event, segment, weights, index):  # type: ignore[no-untyped-def]
    """Convolve events begin..end-1: those of different channels at one place together, as far as they come one by one.

    Returns the synapses used, and those of them by charged events.
    """
    zero = np.int64(0)  # a literal would have the functions that take it compiled once more
    channels = np.empty(8, np.int64)
    position, group, sign, count, costly, synops, charges = zero, zero, zero, zero, zero, zero, zero
    for e in range(begin, end):
        at, value = segment[4] + 3 * np.int64(address[e]), np.int64(event[e] >> 1)
        here, first = np.int64(index[at + 1]), np.int64(index[at + 2])
        if count and (count == 8 or here != position or first != group or value != sign or abs(value) != 1):
            used = _convolve(sums, segment, weights, index, position, group, channels, count, sign)
            synops += used * count
            charges += used * costly
            count = zero
        if count == 0:
            position, group, sign, costly = here, first, value, zero
        channels[count] = segment[3] + index[at]
        count += 1
        costly += event[e] & 1
    if count:
        used = _convolve(sums, segment, weights, index, position, group, channels, count, sign)
        synops += used * count
        charges += used * costly
    return synops, charges


@_compiled
def _sparse(sums, begin, end, address, event, segment, weights, index):  # type: ignore[no-untyped-def]
    """Deliver events begin..end-1 over synapses listed one by one; returns as `_conv`."""
    synops, charges = 0, 0
    for e in range(begin, end):
        local, value = np.int64(address[e]), event[e] >> 1
        first, last = index[segment[4] + local], index[segment[4] + local + 1]
        for j in range(first, last):
            sums[index[segment[5] + j]] += weights[segment[3] + j] * value
        synops += last - first
        charges += (last - first) * (event[e] & 1)
    return synops, charges


@_compiled
def _deliver(sums, begin, end, address, event, segment, weights, index, synops, charges, row):  # type: ignore[no-untyped-def]
    """Add the currents of events begin..end-1 through one segment to the sums, and count the synapses they used."""
    if segment[0] == DENSE:
        used, costly = _dense(sums, begin, end, address, event, segment, weights)
        synops[row] += used * (end - begin)
        charges[row] += used * costly
    elif segment[0] == CONV:
        used, costly = _conv(sums, begin, end, address, event, segment, weights, index)
        synops[row] += used
        charges[row] += costly
    else:
        used, costly = _sparse(sums, begin, end, address, event, segment, weights, index)
        synops[row] += used
        charges[row] += costly


@_compiled
def _settle(sums, begin, end, address, event, segment, weights, tally):  # type: ignore[no-untyped-def]
    """As `_dense` where only the last sums matter and rows are as long as them: each row is added once.

    `tally` is zero for every input, and is left so.
    """
    n, base, inputs, costly = sums.size, segment[3], segment[4], 0
    for e in range(begin, end):
        tally[address[e]] += event[e] >> 1
        costly += event[e] & 1
    by, values, count = np.empty(4, np.int64), np.empty(4, sums.dtype), 0
    for a in range(inputs):
        if tally[a]:
            by[count], values[count] = base + a * n, tally[a]
            tally[a] = 0
            count += 1
            if count == 4:
                _add_scaled(sums, weights, by, values, n)
                count = 0
    for k in range(count):
        _add_row(sums, np.int64(0), weights, by[k], n, values[k])
    return costly


@_compiled
def _between(steps, staircase, lo, hi, level, most):  # type: ignore[no-untyped-def]
    """The sum at which a neuron leaves `level` upwards, and the one below which it leaves it downwards.

    `steps` are its thresholds: one, or one between each two levels of a staircase.
    Staircases are kept inside what sums (at most `most` - 1 in magnitude) can be compared with.
    """
    if not staircase:
        theta = steps[0]
        up = (level + 1) * theta - theta // 2
        return up, up - theta
    up = steps[min(level, hi - 1) - lo]
    down = steps[max(level, lo + 1) - lo - 1]
    return min(max(up, -most), most), min(max(down, -most), most)


@_compiled
def _room(events, cursor, count):  # type: ignore[no-untyped-def]
    """The array `events`, or a larger copy, with room for `count` entries behind its first `cursor`."""
    if cursor + count <= events.size:
        return events
    grown = np.empty(2 * (cursor + count), events.dtype)
    for i in range(cursor):  # a slice would be compiled to many times the code, at every call
        grown[i] = events[i]
    return grown


@_compiled
def _clear(values):  # type: ignore[no-untyped-def]
    for i in range(values.size):
        values[i] = 0


@_compiled
def _start(values, given):  # type: ignore[no-untyped-def]
    for i in range(values.size):
        values[i] = given[i]


@_compiled
def _step(a, up, down, state, signs, theta, lo, hi):  # type: ignore[no-untyped-def]
    """One step of neurons with uniform thresholds, without a branch: `signs` receives their spikes.

    `lo` and `hi` are of the sums' type, so that nothing is widened.
    """
    for i in range(a.size):
        sign = np.int32(np.int32((a[i] >= up[i]) & (state[i] < hi)) - np.int32((a[i] < down[i]) & (state[i] > lo)))
        signs[i] = sign
        state[i] += sign
        up[i] += theta[i] * sign
        down[i] += theta[i] * sign


@_compiled
def _step_staircase(a, up, down, state, signs, table, width, parameter, lo, hi, most):  # type: ignore[no-untyped-def]
    """One step of staircase neurons; `signs` receives their spikes."""
    for i in range(a.size):
        signs[i] = np.int8((a[i] >= up[i]) & (state[i] < hi)) - np.int8((a[i] < down[i]) & (state[i] > lo))
    for i in range(a.size):
        if signs[i]:
            state[i] += signs[i]
            up[i], down[i] = _between(table[parameter[i] * width : (parameter[i] + 1) * width], True, lo, hi, state[i], most)


def _count_trailing_zeros(context, word):  # type: ignore[no-untyped-def]
    """The number of zero bits below the lowest set bit of a word that is not 0."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.cttz(arguments[0], numba.core.cgutils.false_bit)

    return word(word), generate


_trailing_zeros: Any = numba.extending.intrinsic(_count_trailing_zeros)


def _cycle_counter(context):  # type: ignore[no-untyped-def]
    """The cycles that the processor's counter has counted."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        counter = llvmlite.ir.FunctionType(llvmlite.ir.IntType(64), ())
        return builder.call(builder.module.declare_intrinsic("llvm.readcyclecounter", (), counter), ())

    return numba.types.int64(), generate


_cycles: Any = numba.extending.intrinsic(_cycle_counter)


@_compiled
def _emit(signs, words, layout, out_address, out_event, cursor, many):  # type: ignore[no-untyped-def]
    """Write the spikes of one step, for which there is room; `words` are `signs` by eights. Returns the cursor.

    Where many neurons fire every one is written, and overwritten if it has not fired: no branch can be guessed wrong.
    """
    if many:
        for i in range(layout.size):
            out_address[cursor] = layout[i]
            out_event[cursor] = 2 * signs[i]
            cursor += signs[i] & 1
        return cursor
    for w in range(words.size):
        word = words[w]
        while word != 0:
            byte = _trailing_zeros(word) >> 3
            word &= ~(np.uint64(255) << (byte << np.uint64(3)))
            neuron = 8 * w + np.int64(byte)
            out_address[cursor] = layout[neuron]
            out_event[cursor] = 2 * signs[neuron]
            cursor += 1
    return cursor


@_compiled
def _changes(change, a, down, state, theta, lo, hi):  # type: ignore[no-untyped-def]
    """How many levels neurons with uniform thresholds still go up or down once no input is left.

    The floor of the quotient is exact in double precision while sums are below 2^31, and so is the integer one beyond.
    """
    if a.itemsize == 4:
        for i in range(a.size):
            level = np.floor((np.float64(a[i]) - np.float64(down[i])) / np.float64(theta[i]))
            change[i] = np.int32(min(max(level, np.float64(lo - state[i])), np.float64(hi - state[i])))
    else:
        for i in range(a.size):
            change[i] = min(max((a[i] - down[i]) // theta[i], lo - state[i]), hi - state[i])


@_compiled
def _changes_staircase(change, a, state, table, width, parameter, lo, hi):  # type: ignore[no-untyped-def]
    """How many levels staircase neurons still go up or down once no input is left."""
    for i in range(a.size):
        level, row = state[i], table[parameter[i] * width : (parameter[i] + 1) * width]
        while level < hi and a[i] >= row[level - lo]:
            level += 1
        while level > lo and a[i] < row[level - lo - 1]:
            level -= 1
        change[i] = level - state[i]


@_compiled
def _starts(first_up, first_down, theta, row, thresholds, parameter):  # type: ignore[no-untyped-def]
    """What neurons are compared with at level 0, and their thresholds (staircases: 0)."""
    table, most = thresholds[row.thresholds :], np.iinfo(theta.dtype).max
    for i in range(row.size):
        at = parameter[row.neurons + i] * row.steps
        up, down = _between(table[at : at + row.steps], row.staircase, row.lo, row.hi, 0, most)
        first_up[row.own + i], first_down[row.own + i] = up, down
        theta[row.own + i] = 0 if row.staircase else table[at]


class _Neurons(NamedTuple):
    """Arrays over all neurons of one storage: their starts, and what they keep from window to window."""

    bias: np.ndarray
    first_up: np.ndarray
    first_down: np.ndarray
    theta: np.ndarray
    kept: np.ndarray


class _Work(NamedTuple):
    """Room for the largest population of one storage."""

    sums: np.ndarray
    up: np.ndarray
    down: np.ndarray
    state: np.ndarray
    tally: np.ndarray


class _Room(NamedTuple):
    """Room that all storages share, for the largest population or combination."""

    signs: np.ndarray
    change: np.ndarray
    moving: np.ndarray
    goes: np.ndarray
    left: np.ndarray
    inputs: np.ndarray
    values: np.ndarray
    stamps: np.ndarray
    touched: np.ndarray
    kept_levels: np.ndarray
    encoded: np.ndarray
    combined: np.ndarray
    states: np.ndarray
    borders: np.ndarray


class _Where(NamedTuple):
    """Which sample and window is being simulated: `sample` in the results, `k` of its windows, their column of `steps`.

    `keeps`: the body goes on in the next window; `resume`: it goes on from the window before.
    """

    sample: int
    k: int
    column: int
    keeps: bool
    resume: bool


class Results(NamedTuple):
    """What a run writes, by sample: `Layout` says where what stands."""

    steps: np.ndarray
    spikes: np.ndarray
    synops: np.ndarray
    charges: np.ndarray
    counts: np.ndarray
    sums: np.ndarray
    settles: np.ndarray


@_compiled
def _noted(program, results, flags, where, emitter, ats, lengths, offsets, address, event, cursors, records):  # type: ignore[no-untyped-def]
    """Enter the train that an emitter emitted in this window. Returns the recorded events, of which there may be more."""
    row, sample = program.emitters[emitter], where.sample
    at, length = ats[row.slot], lengths[row.slot]
    if length > results.steps[sample, where.column]:
        results.steps[sample, where.column] = length
    first, last = offsets[at], offsets[at + length]
    if row.spikes:
        results.spikes[sample, emitter] += last - first
    if row.counts >= 0 and results.counts.shape[1]:
        counts = results.counts[sample, row.counts + where.k * row.size :]
        if where.resume:
            for i in range(row.size):
                counts[i] = results.counts[sample, row.counts + (where.k - 1) * row.size + i]
        for e in range(first, last):
            counts[address[e]] += event[e] >> 1
    if flags[emitter] & RECORDED:
        entry, width = cursors[RECORDS], 6
        records = _room(records, entry, width * (last - first))
        for t in range(length):
            for e in range(offsets[at + t], offsets[at + t + 1]):
                records[entry], records[entry + 1], records[entry + 2] = emitter, sample, where.k
                records[entry + 3], records[entry + 4], records[entry + 5] = t, address[e], event[e] >> 1
                entry += width
        cursors[RECORDS] = entry
    return records


@_compiled
def _kept_history(history, cursors, population, where, sums, layout):  # type: ignore[no-untyped-def]
    """Append the sums after a step, in order of addresses, behind population, sample and window."""
    entry, n = cursors[HISTORY], sums.size
    history = _room(history, entry, n + 3)
    history[entry], history[entry + 1], history[entry + 2] = population, where.sample, where.k
    for i in range(n):
        history[entry + 3 + layout[i]] = sums[i]
    cursors[HISTORY] = entry + 3 + n
    return history


@_compiled
def _populate(  # type: ignore[no-untyped-def]
    program,
    row,
    number,
    weights,
    neurons,
    work,
    room,
    results,
    where,
    keeps_history,
    cap,
    timed,
    at,
    length,
    offsets,
    address,
    event,
    cursors,
    history,
):
    """Run one population (or readout: levels 0..0) over one window of one sample, until it is silent.

    Once no input is left every neuron goes straight to its level, one a step. Returns the arrays that may have grown.
    """
    n, lo, hi, staircase = row.size, row.lo, row.hi, row.staircase
    parameter = program.parameter[row.neurons : row.neurons + n]
    layout = program.layout[row.neurons : row.neurons + n]
    index = program.indices[row.index : row.index_end]
    weights = weights[row.weights : row.weights_end]
    table = program.thresholds[row.thresholds :]
    theta = neurons.theta[row.own : row.own + n]
    a, up, down, state = work.sums[:n], work.up[:n], work.down[:n], work.state[:n]
    synops, charges = results.synops[where.sample], results.charges[where.sample]
    most = np.iinfo(a.dtype).max
    low, high = a.dtype.type(lo), a.dtype.type(hi)
    if where.resume:
        for i in range(n):
            a[i] = neurons.kept[row.own + i]
            state[i] = room.kept_levels[row.neurons + i]
            steps = table[parameter[i] * row.steps : (parameter[i] + 1) * row.steps]
            up[i], down[i] = _between(steps, staircase, lo, hi, state[i], most)
    else:
        _start(a, neurons.bias[row.own : row.own + n])
        _start(up, neurons.first_up[row.own : row.own + n])
        _start(down, neurons.first_down[row.own : row.own + n])
        for i in range(n):
            state[i] = 0
    last = 0
    for s in range(row.first, row.last):
        slot = program.inputs[s]
        steps = min(length[slot], cap)
        while steps > last and offsets[at[slot] + steps - 1] == offsets[at[slot] + steps]:
            steps -= 1
        last = max(last, steps)
    base, cursor = cursors[OFFSETS], cursors[EVENTS]
    offsets = _room(offsets, base, min(last + hi - lo, cap) + 1)
    offsets[base] = cursor
    used = 0
    if hi == lo and not keeps_history:
        for s in range(row.first, row.last):
            slot, segment = program.inputs[s], program.segments[s]
            begin, end = offsets[at[slot]], offsets[at[slot] + min(length[slot], last)]
            if segment[0] == DENSE and segment[5] == n:
                synops[s] += n * (end - begin)
                charges[s] += n * _settle(a, begin, end, address, event, segment, weights, work.tally)
            else:
                _deliver(a, begin, end, address, event, segment, weights, index, synops, charges, s)
        last = 0
    signs = room.signs[: (n + 7) // 8 * 8]
    for i in range(n, signs.size):
        signs[i] = 0
    words = signs.view(np.uint64)
    active, many = hi > lo, hi < lo
    since = _cycles() if timed else 0
    for t in range(last):
        for s in range(row.first, row.last):
            slot = program.inputs[s]
            if t < length[slot]:
                begin, end = offsets[at[slot] + t], offsets[at[slot] + t + 1]
                if begin < end:
                    _deliver(a, begin, end, address, event, program.segments[s], weights, index, synops, charges, s)
                    active = hi > lo
        if keeps_history:
            history = _kept_history(history, cursors, number, where, a, layout)
        if timed:
            now = _cycles()
            cursors[DELIVERING] += now - since
            since = now
        if t == last - 1:
            break
        if active:
            if staircase:
                _step_staircase(a, up, down, state, signs, table, row.steps, parameter, lo, hi, most)
            else:
                _step(a, up, down, state, signs, theta, low, high)
            address, event = _room(address, cursor, n + 1), _room(event, cursor, n + 1)
            before = cursor
            cursor = _emit(signs, words, layout, address, event, cursor, many)
            active = cursor > before
            many = 16 * (cursor - before) > n
            if active:
                used = t + 1
        offsets[base + t + 1] = cursor
        if timed:
            now = _cycles()
            cursors[FIRING] += now - since
            since = now
    # All input is there: from its last step on every neuron goes straight to its level, one a step.
    if keeps_history and last == 0:
        history = _kept_history(history, cursors, number, where, a, layout)
    t = max(last - 1, 0)
    count = 0
    change, moving, goes, left = room.change[:n], room.moving, room.goes, room.left
    if hi > lo:
        if staircase:
            _changes_staircase(change, a, state, table, row.steps, parameter, lo, hi)
        else:
            _changes(change, a, down, state, theta, lo, hi)
        for i in range(n):
            moving[count] = i
            count += change[i] != 0
        for k in range(count):
            i = moving[k]
            state[i] += change[i]
            left[k], goes[k] = abs(change[i]), 2 if change[i] > 0 else -2
    while count and t < cap:
        address, event = _room(address, cursor, count), _room(event, cursor, count)
        still = 0
        for k in range(count):
            address[cursor], event[cursor] = layout[moving[k]], goes[k]
            cursor += 1
            moving[still], goes[still], left[still] = moving[k], goes[k], left[k] - 1
            still += left[still] > 0
        count = still
        t += 1
        used = t
        offsets[base + t] = cursor
    if timed:
        cursors[SETTLING] += _cycles() - since
    cursors[UNSETTLED] += count
    for k in range(count):  # the steps were too few
        state[moving[k]] -= left[k] * (goes[k] >> 1)
    if row.sums >= 0:
        first = row.sums + where.k * n
        for i in range(n):
            results.sums[where.sample, first + layout[i]] = a[i]
    if where.keeps:
        for i in range(n):
            neurons.kept[row.own + i] = a[i]
            room.kept_levels[row.neurons + i] = state[i]
    at[row.slot], length[row.slot] = base, used
    cursors[OFFSETS], cursors[EVENTS] = base + used + 1, cursor
    return offsets, address, event, history


@_compiled
def _combine(program, row, room, where, at, length, offsets, address, event, cursors):  # type: ignore[no-untyped-def]
    """The change of the largest tracer of each window, or of the product of two tracers, step by step.

    Member 0.. of a window are its addresses (-1: none); the map at `pointers` says which windows hold an address.
    """
    state, current = room.inputs[: row.inputs], room.values[: row.size]
    kept_states = room.combined[row.kept : row.kept + row.inputs]
    kept_values = room.combined[row.kept + row.inputs : row.kept + row.inputs + row.size]
    if where.resume:
        _start(state, kept_states)
        _start(current, kept_values)
    else:
        _clear(state)
        _clear(current)
    stamps, touched, width = room.stamps, room.touched, row.width
    members = program.members[row.members : row.members_end]
    begin, inputs = at[row.input], length[row.input]
    base, cursor, used = cursors[OFFSETS], cursors[EVENTS], 0
    offsets = _room(offsets, base, inputs + 1)
    offsets[base] = cursor
    for t in range(inputs):
        found = 0
        cursors[TICK] += 1
        for e in range(offsets[begin + t], offsets[begin + t + 1]):
            a = address[e]
            state[a] += event[e] >> 1
            for k in range(program.maps[row.pointers + a], program.maps[row.pointers + a + 1]):
                window = program.maps[k]
                if stamps[window] != cursors[TICK]:
                    stamps[window] = cursors[TICK]
                    touched[found] = window
                    found += 1
        address, event = _room(address, cursor, found), _room(event, cursor, found)
        for k in range(found):
            window = np.int64(touched[k])
            value, any_member = 0, False
            if row.product:
                value = state[members[window * width]] * state[members[window * width + 1]]
            else:
                for member in members[window * width : (window + 1) * width]:
                    if member >= 0 and (not any_member or state[member] > value):
                        value, any_member = state[member], True
            change = value - current[window]
            if change:
                current[window] = value
                address[cursor], event[cursor] = window, 2 * change + (abs(change) > 1)
                cursor += 1
                used = t + 1
        offsets[base + t + 1] = cursor
    if where.keeps:
        _start(kept_states, state)
        _start(kept_values, current)
    at[row.slot], length[row.slot] = base, used
    cursors[OFFSETS], cursors[EVENTS] = base + used + 1, cursor
    return offsets, address, event


@_compiled
def _charge(levels, encoded, offsets, address, event, cursors):  # type: ignore[no-untyped-def]
    """A train that gives `levels` at step 0; events of an encoder are all marked as charged. Its number of steps is 1."""
    base, cursor, n = cursors[OFFSETS], cursors[EVENTS], levels.size
    offsets = _room(offsets, base, np.int64(2))
    address, event = _room(address, cursor, n), _room(event, cursor, n)
    offsets[base] = cursor
    for i in range(n):
        level = levels[i]
        if level:
            address[cursor] = i
            event[cursor] = 2 * level + (encoded or abs(level) > 1)
            cursor += 1
    offsets[base + 1] = cursor
    cursors[OFFSETS], cursors[EVENTS] = base + 2, cursor
    return offsets, address, event


@_compiled
def _spread(levels, steps, offsets, address, event, cursors):  # type: ignore[no-untyped-def]
    """A train that gives `levels` in portions over `steps` steps, as `encodings.portions` says; all are charged."""
    base, cursor, n = cursors[OFFSETS], cursors[EVENTS], levels.size
    offsets = _room(offsets, base, steps + 1)
    offsets[base] = cursor
    for t in range(steps):
        address, event = _room(address, cursor, n), _room(event, cursor, n)
        for i in range(n):
            size = abs(np.int64(levels[i]))
            part = size * (t + 1) // steps - size * t // steps
            if part:
                address[cursor], event[cursor] = i, (2 * part if levels[i] > 0 else -2 * part) + 1
                cursor += 1
        offsets[base + t + 1] = cursor
    cursors[OFFSETS], cursors[EVENTS] = base + steps + 1, cursor
    return offsets, address, event


@_compiled
def _unary(levels, cap, offsets, address, event, cursors):  # type: ignore[no-untyped-def]
    """A train that gives `levels` one level a step from step 0, for `cap` steps at most; what they cut off is counted.

    Returns its number of steps too. The events of a step are those of the step before whose levels are not reached.
    """
    n, length, total = levels.size, np.int64(0), np.int64(0)
    for i in range(n):
        size = abs(levels[i])
        cursors[UNDELIVERED] += max(size - cap, 0)
        length = max(length, min(size, cap))
        total += min(size, cap)
    base, cursor = cursors[OFFSETS], cursors[EVENTS]
    offsets = _room(offsets, base, length + 1)
    address, event = _room(address, cursor, total + n), _room(event, cursor, total + n)
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
    return offsets, address, event, length


@_compiled
def _gather(program, row, at, length, offsets, address, event, cursors):  # type: ignore[no-untyped-def]
    """One train of several, each after its map of addresses."""
    steps = 0
    for p in range(row.first, row.last):
        steps = max(steps, length[program.parts[p].slot])
    base, cursor = cursors[OFFSETS], cursors[EVENTS]
    offsets = _room(offsets, base, steps + 1)
    offsets[base] = cursor
    for t in range(steps):
        for p in range(row.first, row.last):
            slot, pointers = program.parts[p].slot, program.parts[p].map
            if t >= length[slot]:
                continue
            for e in range(offsets[at[slot] + t], offsets[at[slot] + t + 1]):
                if pointers < 0:
                    address, event = _room(address, cursor, np.int64(1)), _room(event, cursor, np.int64(1))
                    address[cursor], event[cursor] = address[e], event[e]
                    cursor += 1
                    continue
                first, last = program.maps[pointers + address[e]], program.maps[pointers + address[e] + 1]
                address, event = _room(address, cursor, last - first), _room(event, cursor, last - first)
                for j in range(first, last):
                    address[cursor], event[cursor] = program.maps[j], event[e]
                    cursor += 1
        offsets[base + t + 1] = cursor
    at[row.slot], length[row.slot] = base, steps
    cursors[OFFSETS], cursors[EVENTS] = base + steps + 1, cursor
    return offsets, address, event


@_compiled
def _add_up(levels, at, length, offsets, address, event):  # type: ignore[no-untyped-def]
    """Add what the events of a train come to to `levels`."""
    for e in range(offsets[at], offsets[at + length]):
        levels[address[e]] += event[e] >> 1


@_compiled
def _copied(at, length, offsets, address, event, levels, sign, raised, out_offsets, out_address, out_event, base, cursor):  # type: ignore[no-untyped-def]
    """Copy a train to other arrays, from `base` and `cursor` on; `raised`: with
    `levels` times `sign` added to its events of step 0.

    Returns the arrays, the number of steps and the cursor behind the last event.
    """
    first, last = offsets[at], offsets[at + length]
    steps = max(length, 1) if raised else length
    count = last - first + (levels.size if raised else 0)
    out_offsets = _room(out_offsets, base, steps + 1)
    out_address, out_event = _room(out_address, cursor, count), _room(out_event, cursor, count)
    out_offsets[base] = cursor
    begin = 0
    if raised:
        told, charged = np.empty(levels.size, np.int64), np.zeros(levels.size, np.int64)
        for i in range(levels.size):
            told[i] = sign * levels[i]
        if length:
            for e in range(first, offsets[at + 1]):
                told[address[e]] += event[e] >> 1
                charged[address[e]] |= event[e] & 1
        for i in range(told.size):
            if told[i]:
                out_address[cursor] = i
                out_event[cursor] = 2 * told[i] + (charged[i] or abs(told[i]) > 1)
                cursor += 1
        out_offsets[base + 1] = cursor
        begin = 1
    for t in range(begin, length):
        for e in range(offsets[at + t], offsets[at + t + 1]):
            out_address[cursor], out_event[cursor] = address[e], event[e]
            cursor += 1
        out_offsets[base + t + 1] = cursor
    return out_offsets, out_address, out_event, steps, cursor


@_compiled
def _split(row, windows, at, length, offsets, address, event, cursors):  # type: ignore[no-untyped-def]
    """Cut the train of a whole sequence into those of its elements, each of as many steps. Returns where they begin."""
    base, cursor, size = cursors[OFFSETS], cursors[EVENTS], row.size
    begin, steps = at[row.outer], length[row.outer]
    offsets = _room(offsets, base, windows * (steps + 1) + 1)
    parts = offsets[base : base + windows * (steps + 1) + 1]
    _clear(parts)
    for t in range(steps):
        for e in range(offsets[begin + t], offsets[begin + t + 1]):
            parts[np.int64(address[e]) // size * (steps + 1) + t + 1] += 1
    for i in range(windows):
        parts[i * (steps + 1)] = cursor
        for t in range(steps):
            cursor += parts[i * (steps + 1) + t + 1]
            parts[i * (steps + 1) + t + 1] = cursor
    count = cursor - cursors[EVENTS]
    address, event = _room(address, cursors[EVENTS], count), _room(event, cursors[EVENTS], count)
    # An element's events are written from the start of their step on, which thereby becomes its end: shifted back below.
    for t in range(steps):
        for e in range(offsets[begin + t], offsets[begin + t + 1]):
            part = np.int64(address[e]) // size
            to = parts[part * (steps + 1) + t]
            address[to], event[to] = np.int64(address[e]) - part * size, event[e]
            parts[part * (steps + 1) + t] = to + 1
    start = cursors[EVENTS]
    for i in range(windows):
        for t in range(steps, 0, -1):
            parts[i * (steps + 1) + t] = parts[i * (steps + 1) + t - 1]
        parts[i * (steps + 1)] = start
        start = parts[i * (steps + 1) + steps]
    cursors[OFFSETS], cursors[EVENTS] = base + windows * (steps + 1) + 1, cursor
    return offsets, address, event, base, steps


@_compiled
def _send(levels, encoded, graded, cap, offsets, address, event, cursors):  # type: ignore[no-untyped-def]
    """A train of what a border of windows tells: at step 0, or one level a step. Returns its number of steps too."""
    if encoded or graded:
        offsets, address, event = _charge(levels, encoded, offsets, address, event, cursors)
        return offsets, address, event, 1
    return _unary(levels, cap, offsets, address, event, cursors)


@_compiled
def _encode(encoder, levels, room, where, cap, spread, at, length, offsets, address, event, cursors):  # type: ignore[no-untyped-def]
    """What an encoder charges in this window. Returns the arrays that may have grown."""
    base, steps = cursors[OFFSETS], 1
    first = encoder.levels + where.k * encoder.stride
    told = levels[where.sample, first : first + encoder.size]
    if where.keeps:
        kept, told = room.encoded[encoder.kept : encoder.kept + encoder.size], np.empty(encoder.size, np.int32)
        for i in range(told.size):
            level = levels[where.sample, first + i]
            told[i] = level - (kept[i] if where.resume else 0)
            kept[i] = level
    if spread and not encoder.fixed:
        offsets, address, event = _spread(told, cap, offsets, address, event, cursors)
        steps = cap
    else:
        offsets, address, event = _charge(told, True, offsets, address, event, cursors)
    while steps and offsets[base + steps] == offsets[base + steps - 1]:
        steps -= 1
    at[encoder.slot], length[encoder.slot] = base, steps
    return offsets, address, event


class _Trains(NamedTuple):
    """Trains outside of the arrays that windows write: train i is that at `at[i]` of `steps[i]`; `ends` are cursors."""

    offsets: np.ndarray
    address: np.ndarray
    event: np.ndarray
    at: np.ndarray
    steps: np.ndarray
    ends: np.ndarray


@_compiled
def _trains(count):  # type: ignore[no-untyped-def]
    """Room for `count` trains."""
    return _Trains(
        np.empty(64, np.int64),
        np.empty(256, np.int32),
        np.empty(256, np.int32),
        np.zeros(count, np.int64),
        np.zeros(count, np.int64),
        np.zeros(2, np.int64),
    )


@_compiled
def _open(program, row, room, at, length, offsets, address, event, cursors):  # type: ignore[no-untyped-def]
    """Begin a scan: cut its sequences into elements, let its body read what it shares, and settle its initial states.

    Returns the arrays that may have grown, and where the trains of each sequence's elements begin, and their steps.
    """
    elements = row.elements_end - row.elements
    parts, part_steps = np.empty(elements, np.int64), np.empty(elements, np.int64)
    for i in range(elements):
        element = program.elements[row.elements + i]
        offsets, address, event, parts[i], part_steps[i] = _split(
            element, row.length, at, length, offsets, address, event, cursors
        )
    for i in range(row.shared, row.shared_end):
        at[program.shared[i].slot], length[program.shared[i].slot] = at[program.shared[i].outer], length[program.shared[i].outer]
    for i in range(row.states, row.states_end):
        state = program.states[i]
        _clear(room.states[state.level : state.level + 3 * state.size])
        level = room.states[state.level : state.level + state.size]
        _add_up(level, at[state.outer], length[state.outer], offsets, address, event)
    return offsets, address, event, parts, part_steps


@_compiled
def _enter(  # type: ignore[no-untyped-def]
    program, row, room, k, place, parts, part_steps, states, cap, delivery, carry, at, length, offsets, address, event, cursors
):
    """Begin window k, of the element at `place`: what the body is told. `states` are the trains of the window before.

    With `carry`, receivers still hold what they were told in the window before, so that only the difference is sent.
    """
    graded = delivery == GRADED
    for i in range(row.elements_end - row.elements):
        element = program.elements[row.elements + i]
        slot = element.slot
        at[slot], length[slot] = parts[i] + place * (part_steps[i] + 1), part_steps[i]
        if carry:
            sent = room.borders[element.kept : element.kept + element.size]
            if k > 0:
                told = np.empty(sent.size, np.int64)
                for j in range(sent.size):
                    told[j] = -sent[j]
                _add_up(told, at[slot], length[slot], offsets, address, event)
                at[slot] = cursors[OFFSETS]
                offsets, address, event, length[slot] = _send(
                    told, element.encoded != 0, graded, cap, offsets, address, event, cursors
                )
            else:
                _clear(sent)
            _add_up(sent, at[slot], length[slot], offsets, address, event)
    for i in range(row.states_end - row.states):
        state = program.states[row.states + i]
        level = room.states[state.level : state.level + state.size]
        before = room.states[state.level + state.size : state.level + 2 * state.size]
        sent = room.states[state.level + 2 * state.size : state.level + 3 * state.size]
        slot = state.slot
        if delivery == REPLAY and k == 0:
            at[slot], length[slot] = at[state.outer], length[state.outer]
            continue
        at[slot] = cursors[OFFSETS]
        if delivery == REPLAY:
            # The first train of a carried state counts from 0, but its receivers hold what the state started as.
            offsets, address, event, length[slot], cursors[EVENTS] = _copied(
                states.at[i], states.steps[i], states.offsets, states.address, states.event, before, -1, carry and k == 1,
                offsets, address, event, cursors[OFFSETS], cursors[EVENTS],
            )  # fmt: skip
            cursors[OFFSETS] += length[slot] + 1
        else:
            told = np.empty(state.size, np.int64)
            for j in range(state.size):
                told[j] = level[j] - sent[j]
            offsets, address, event, length[slot] = _send(told, False, graded, cap, offsets, address, event, cursors)
            if carry:
                _add_up(sent, at[slot], length[slot], offsets, address, event)
    if carry and k > 0:  # receivers keep what they were told: shared values do not change
        for i in range(row.shared, row.shared_end):
            length[program.shared[i].slot] = 0
    return offsets, address, event


@_compiled
def _leave(program, row, room, k, place, states, stacked, delivery, carry, at, length, offsets, address, event):  # type: ignore[no-untyped-def]
    """End window k: what states have become, and what leaves the body. Returns `states` and `stacked` anew."""
    count, cursor, base = row.states_end - row.states, 0, 0
    own_offsets, own_address, own_event = states.offsets, states.address, states.event
    for i in range(count):
        state = program.states[row.states + i]
        level = room.states[state.level : state.level + state.size]
        _start(room.states[state.level + state.size : state.level + 2 * state.size], level)
        if not (carry and k > 0):
            _clear(level)
        slot = state.following
        _add_up(level, at[slot], length[slot], offsets, address, event)
        if delivery == REPLAY or k == row.length - 1:
            states.at[i] = base
            own_offsets, own_address, own_event, states.steps[i], cursor = _copied(
                at[slot],
                length[slot],
                offsets,
                address,
                event,
                level,
                1,
                False,
                own_offsets,
                own_address,
                own_event,
                base,
                cursor,
            )
            base += states.steps[i] + 1
    states = _Trains(own_offsets, own_address, own_event, states.at, states.steps, states.ends)
    own_offsets, own_address, own_event = stacked.offsets, stacked.address, stacked.event
    for i in range(row.stacked_end - row.stacked):
        value = program.stacked[row.stacked + i]
        level = room.borders[value.level : value.level + value.size]
        if k == 0:
            _clear(level)
        part, base = i * row.length + place, stacked.ends[0]
        # Receivers outside are fresh, so they are first told what was kept.
        own_offsets, own_address, own_event, steps, cursor = _copied(
            at[value.slot], length[value.slot], offsets, address, event, level, 1, carry and k > 0,
            own_offsets, own_address, own_event, base, stacked.ends[1],
        )  # fmt: skip
        stacked.at[part], stacked.steps[part] = base, steps
        stacked.ends[0], stacked.ends[1] = base + steps + 1, cursor
        if carry:
            _clear(level)
            _add_up(level, base, steps, own_offsets, own_address, own_event)
    return states, _Trains(own_offsets, own_address, own_event, stacked.at, stacked.steps, stacked.ends)


@_compiled
def _close(program, row, room, states, stacked, carry, at, length, offsets, address, event, cursors):  # type: ignore[no-untyped-def]
    """End a scan: its last states, and the values of all its windows as one train. Returns the arrays that may have grown."""
    for i in range(row.states_end - row.states):
        state = program.states[row.states + i]
        if row.length == 0:
            at[state.final], length[state.final] = at[state.outer], length[state.outer]
            continue
        before = room.states[state.level + state.size : state.level + 2 * state.size]
        base = cursors[OFFSETS]
        offsets, address, event, steps, cursors[EVENTS] = _copied(
            states.at[i], states.steps[i], states.offsets, states.address, states.event, before, 1, carry and row.length > 1,
            offsets, address, event, base, cursors[EVENTS],
        )  # fmt: skip
        at[state.final], length[state.final] = base, steps
        cursors[OFFSETS] += steps + 1
    for i in range(row.stacked_end - row.stacked):
        value = program.stacked[row.stacked + i]
        part, steps, count = i * row.length, 0, 0
        for k in range(part, part + row.length):
            steps = max(steps, stacked.steps[k])
            count += stacked.offsets[stacked.at[k] + stacked.steps[k]] - stacked.offsets[stacked.at[k]]
        base, cursor = cursors[OFFSETS], cursors[EVENTS]
        offsets = _room(offsets, base, steps + 1)
        address, event = _room(address, cursor, count), _room(event, cursor, count)
        offsets[base] = cursor
        for t in range(steps):
            for k in range(row.length):
                if t < stacked.steps[part + k]:
                    step = stacked.at[part + k] + t
                    for e in range(stacked.offsets[step], stacked.offsets[step + 1]):
                        address[cursor], event[cursor] = stacked.address[e] + k * value.size, stacked.event[e]
                        cursor += 1
            offsets[base + t + 1] = cursor
        at[value.outer], length[value.outer] = base, steps
        cursors[OFFSETS], cursors[EVENTS] = base + steps + 1, cursor
    return offsets, address, event


@_compiled
def simulate(program, levels, flags, results, first, last, block, cap, delivery, carry, spread, timed):  # type: ignore[no-untyped-def]
    """Run samples first..last-1 of a batch, `block` of them together, and write `results`.

    `levels` int32[batch, ...] are what encoders charge; `flags[emitter]` says what is recorded of an emitter; a window
    ends when it is silent, or after `cap` steps. `delivery` is that of recurrent states. Returns the number of neurons
    still able to fire, that of spikes that the cap cut off, the recorded events (emitter, sample, window, step,
    address, value: int64, flat), the sums that are kept (population, sample, window, then all sums; likewise), and with
    `timed` the processor cycles of delivering, firing, settling and of everything.
    """
    neurons, most, most_wide, inputs, size, tally = 0, 8, 0, 1, 1, 1
    for i in range(program.populations.size):
        row = program.populations[i]
        neurons = max(neurons, row.neurons + row.size)
        most = max(most, row.size)
        if row.storage == 2:
            most_wide = max(most_wide, row.size)
        if row.hi == row.lo:
            for s in range(row.first, row.last):
                tally = max(tally, program.segments[s, 2] - program.segments[s, 1])
    for i in range(program.combinations.size):
        inputs = max(inputs, program.combinations[i].inputs)
        size = max(size, program.combinations[i].size)
    narrow_count, wide_count = program.bias32.size, program.bias64.size
    narrow = _Neurons(
        program.bias32,
        np.empty(narrow_count, np.int32),
        np.empty(narrow_count, np.int32),
        np.empty(narrow_count, np.int32),
        np.empty(narrow_count, np.int32),
    )
    wide = _Neurons(
        program.bias64,
        np.empty(wide_count, np.int64),
        np.empty(wide_count, np.int64),
        np.empty(wide_count, np.int64),
        np.empty(wide_count, np.int64),
    )
    for i in range(program.populations.size):
        row = program.populations[i]
        if row.storage == 2:
            _starts(wide.first_up, wide.first_down, wide.theta, row, program.thresholds, program.parameter)
        else:
            _starts(narrow.first_up, narrow.first_down, narrow.theta, row, program.thresholds, program.parameter)
    work = _Work(
        np.empty(most, np.int32),
        np.empty(most, np.int32),
        np.empty(most, np.int32),
        np.empty(most, np.int32),
        np.zeros(tally, np.int32),
    )
    broad = _Work(
        np.empty(most_wide, np.int64),
        np.empty(most_wide, np.int64),
        np.empty(most_wide, np.int64),
        np.empty(most_wide, np.int64),
        np.zeros(tally, np.int64),
    )
    room = _Room(
        np.zeros((most + 7) // 8 * 8, np.int8),
        np.empty(most, np.int32),
        np.empty(most, np.int32),
        np.empty(most, np.int32),
        np.empty(most, np.int32),
        np.empty(inputs, np.int64),
        np.empty(size, np.int64),
        np.full(size, -1, np.int64),
        np.empty(size, np.int32),
        np.empty(neurons, np.int32),
        np.empty(program.kept[0], np.int32),
        np.empty(program.kept[1], np.int64),
        np.empty(program.kept[2], np.int64),
        np.empty(program.kept[3], np.int64),
    )
    offsets, address, event = np.empty(1024, np.int64), np.empty(1 << 14, np.int32), np.empty(1 << 14, np.int32)
    records, history = np.empty(0, np.int64), np.empty(0, np.int64)
    ats, lengths = np.zeros((block, program.slots), np.int64), np.zeros((block, program.slots), np.int64)
    cursors = np.zeros(ALL + 1, np.int64)
    since = _cycles() if timed else 0
    parts, part_steps = np.empty(0, np.int64), np.empty(0, np.int64)
    states, stacked = _trains(0), _trains(0)
    for begin in range(first, last, block):
        cursors[OFFSETS], cursors[EVENTS] = 0, 0
        for i in range(program.top):
            scanning = program.instructions[i].kind == SCAN
            windows, body, body_end = 1, i, i + 1
            for sample in range(begin, min(begin + block, last)):
                at, length = ats[sample - begin], lengths[sample - begin]
                mark_offsets, mark_events = cursors[OFFSETS], cursors[EVENTS]
                if scanning:
                    row = program.windows[program.instructions[i].row]
                    windows, body, body_end = row.length, row.body, row.body_end
                    offsets, address, event, parts, part_steps = _open(
                        program, row, room, at, length, offsets, address, event, cursors
                    )
                    states = _trains(row.states_end - row.states)
                    stacked = _trains((row.stacked_end - row.stacked) * row.length)
                inside_offsets, inside_events = cursors[OFFSETS], cursors[EVENTS]
                for k in range(windows):
                    where = _Where(sample, 0, 0, False, False)
                    if scanning:
                        row = program.windows[program.instructions[i].row]
                        place = row.length - 1 - k if row.reverse else k
                        where = _Where(sample, k, row.column + k, carry, carry and k > 0)
                        cursors[OFFSETS], cursors[EVENTS] = inside_offsets, inside_events
                        offsets, address, event = _enter(
                            program, row, room, k, place, parts, part_steps, states, cap, delivery, carry,
                            at, length, offsets, address, event, cursors,
                        )  # fmt: skip
                    for j in range(body, body_end):
                        kind, number = program.instructions[j].kind, program.instructions[j].row
                        emitter = -1
                        if kind == ENCODE:
                            encoder = program.encoders[number]
                            emitter = encoder.emitter
                            offsets, address, event = _encode(
                                encoder, levels, room, where, cap, spread, at, length, offsets, address, event, cursors
                            )
                        elif kind == GATHER:
                            offsets, address, event = _gather(
                                program, program.gathers[number], at, length, offsets, address, event, cursors
                            )
                        elif kind == COMBINE:
                            emitter = program.combinations[number].emitter
                            offsets, address, event = _combine(
                                program, program.combinations[number], room, where, at, length, offsets, address, event, cursors
                            )
                        else:
                            population = program.populations[number]
                            emitter = -1 if population.sums >= 0 else population.emitter
                            kept = flags[population.emitter] & KEEPS_HISTORY != 0
                            if population.storage == 0:
                                offsets, address, event, history = _populate(
                                    program, population, number, program.weights8, narrow, work, room, results, where, kept,
                                    cap, timed, at, length, offsets, address, event, cursors, history,
                                )  # fmt: skip
                            elif population.storage == 1:
                                offsets, address, event, history = _populate(
                                    program, population, number, program.weights16, narrow, work, room, results, where, kept,
                                    cap, timed, at, length, offsets, address, event, cursors, history,
                                )  # fmt: skip
                            else:
                                offsets, address, event, history = _populate(
                                    program, population, number, program.weights64, wide, broad, room, results, where, kept,
                                    cap, timed, at, length, offsets, address, event, cursors, history,
                                )  # fmt: skip
                        if emitter >= 0:
                            records = _noted(
                                program, results, flags, where, emitter, at, length, offsets, address, event, cursors, records
                            )
                    if scanning:
                        row = program.windows[program.instructions[i].row]
                        place = row.length - 1 - k if row.reverse else k
                        states, stacked = _leave(
                            program, row, room, k, place, states, stacked, delivery, carry, at, length, offsets, address, event
                        )
                if scanning:
                    row = program.windows[program.instructions[i].row]
                    cursors[OFFSETS], cursors[EVENTS] = mark_offsets, mark_events
                    offsets, address, event = _close(
                        program, row, room, states, stacked, carry, at, length, offsets, address, event, cursors
                    )
        for i in range(program.settled.size):
            result = program.settled[i]
            for b in range(min(block, last - begin)):
                to = results.settles[begin + b, result.to : result.to + result.size]
                _add_up(to, ats[b, result.slot], lengths[b, result.slot], offsets, address, event)
    if timed:
        cursors[ALL] = _cycles() - since
    return (
        cursors[UNSETTLED],
        cursors[UNDELIVERED],
        records[: cursors[RECORDS]],
        history[: cursors[HISTORY]],
        cursors[DELIVERING:],
    )
