"""The compiled kernels: plain functions on arrays, all in this one file.

They stay together because Numba's file cache notices changes of the file that holds a kernel, not of the files that
it calls into. None of them holds the interpreter lock.

An event is an address and a number `2 * value + charged`: the lowest bit marks events that cost a multiplication
(graded values and everything an encoder charges), which synaptic operations are counted by. `offsets[sample, step]`
is where the events of one step start, `offsets[sample, step + 1]` where they end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numba
import numpy as np

__all__ = [
    "CONV",
    "CSR",
    "DENSE",
    "charge",
    "combine",
    "count",
    "place",
    "populate",
    "raised",
    "split",
    "tracers",
    "unary",
]

DENSE, CONV, CSR = 0, 1, 2
"""Kinds of synapses: the first column of a segment."""

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

    Row k begins at starts[k] + shift. Behind the last weights stands a row of zeros that fills up to eight.
    """
    if count < 4:
        for k in range(count):
            _add_row(sums, first, weights, starts[k] + shift, size, sign)
        return
    for k in range(count, 8):
        starts[k] = weights.size - size - shift
    into = sums[first : first + size]
    a, b = starts[0] + shift, starts[1] + shift
    c, d = starts[2] + shift, starts[3] + shift
    e, f = starts[4] + shift, starts[5] + shift
    g, h = starts[6] + shift, starts[7] + shift
    row_a, row_b, row_c, row_d = weights[a : a + size], weights[b : b + size], weights[c : c + size], weights[d : d + size]
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
def _convolve(sums, segment, weights, index, place, starts, count, value):  # type: ignore[no-untyped-def]
    """Add the taps of `count` events of one value at one place, whose channels' weights begin at `starts`.

    `place` counts through positions, group by group; columns 4.. of the segment are as `synapses._conv` writes them.
    Output positions that lie side by side take one run of weights. Returns the number of synapses of each event.
    """
    size1, size2 = segment[5], segment[6]
    maps, taps1, taps2 = segment[8], segment[10], segment[11]
    axis0, axis1, axis2 = segment[12], segment[13], segment[14]
    map_stride, stride0, stride1, stride2 = segment[15], segment[16], segment[17], segment[18]
    group = place // (segment[4] * size1 * size2)
    position = place - group * segment[4] * size1 * size2
    x0 = position // (size1 * size2)
    x1 = position // size2 - x0 * size1
    x2 = position - (x0 * size1 + x1) * size2
    first_map = group * maps * map_stride
    used = 0
    for e0 in range(index[axis0 + x0], index[axis0 + x0 + 1], 3):
        for e1 in range(index[axis1 + x1], index[axis1 + x1 + 1], 3):
            for e2 in range(index[axis2 + x2], index[axis2 + x2 + 1], 3):
                shift = ((index[e0] * taps1 + index[e1]) * taps2 + index[e2]) * maps
                target = first_map + index[e0 + 1] * stride0 + index[e1 + 1] * stride1 + index[e2 + 1] * stride2
                size = maps * index[e2 + 2]
                if map_stride != 1:
                    for k in range(count):
                        for j in range(size):
                            sums[target + j * map_stride] += weights[starts[k] + shift + j] * value
                elif count == 1:
                    _add_row(sums, target, weights, starts[0] + shift, size, value)
                else:
                    _add_rows(sums, target, weights, starts, count, shift, size, value)
                used += size
    return used


@_compiled
def _deliver(sums, begin, end, address, event, segments, weights, index, synops, charges):  # type: ignore[no-untyped-def]
    """Add the currents of events begin..end-1 to the sums of one sample, and count the synapses they used.

    Rows of a dense synapse as long as the sums are gathered by sign until there are enough of them to be added
    together; and so are events of different channels at one place of a convolution, as far as they come one by one.
    """
    s, n = -1, sums.size
    kind, first, last, base, inputs, used = 0, 0, 0, 0, 0, 0
    more, less, scaled = 0, 0, 0
    up, down = np.empty(8, np.int64), np.empty(8, np.int64)
    by, values = np.empty(4, np.int64), np.empty(4, sums.dtype)
    place, sign, count, costly = -1, 0, 0, 0
    channels = np.empty(8, np.int64)
    for e in range(begin, end):
        a, value, charged = address[e], event[e] >> 1, event[e] & 1
        if a < first or a >= last:
            if count:
                used = _convolve(sums, segments[s], weights, index, place, channels, count, sign)
                synops[s] += used * count
                charges[s] += used * costly
                count = 0
            s = max(s, 0)
            while a >= segments[s, 2]:
                s += 1
            while a < segments[s, 1]:
                s -= 1
            kind, first, last = segments[s, 0], segments[s, 1], segments[s, 2]
            base, inputs, used = segments[s, 3], segments[s, 4], segments[s, 5]
        local = a - first
        if kind == CONV:
            spatial = segments[s, 4] * segments[s, 5] * segments[s, 6]
            channel = local // spatial
            here = local - (channel - channel // segments[s, 7]) * spatial
            if count == 8 or (count and (here != place or value != sign or abs(value) != 1)):
                used = _convolve(sums, segments[s], weights, index, place, channels, count, sign)
                synops[s] += used * count
                charges[s] += used * costly
                count = 0
            if count == 0:
                place, sign, costly = here, value, 0
            channels[count] = base + channel * segments[s, 19]
            count += 1
            costly += charged
            continue
        if kind == DENSE:
            if used != n:
                group = local // inputs
                _add_row(sums, group * used, weights, base + (local - group * inputs) * used, used, value)
            elif value == 1:
                up[more] = base + local * n
                more += 1
                if more == 8:
                    _add_rows(sums, 0, weights, up, 8, 0, n, 1)
                    more = 0
            elif value == -1:
                down[less] = base + local * n
                less += 1
                if less == 8:
                    _add_rows(sums, 0, weights, down, 8, 0, n, -1)
                    less = 0
            else:
                by[scaled] = base + local * n
                values[scaled] = value
                scaled += 1
                if scaled == 4:
                    _add_scaled(sums, weights, by, values, n)
                    scaled = 0
        else:
            begins, ends = index[segments[s, 4] + local], index[segments[s, 4] + local + 1]
            used = ends - begins
            for j in range(begins, ends):
                sums[index[segments[s, 5] + j]] += weights[base + j] * value
        synops[s] += used
        charges[s] += used * charged
    if count:
        used = _convolve(sums, segments[s], weights, index, place, channels, count, sign)
        synops[s] += used * count
        charges[s] += used * costly
    _add_rows(sums, 0, weights, up, more, 0, n, 1)
    _add_rows(sums, 0, weights, down, less, 0, n, -1)
    for k in range(scaled):
        _add_row(sums, 0, weights, by[k], n, values[k])


@_compiled
def _between(table, staircase, row, lo, hi, level, most):  # type: ignore[no-untyped-def]
    """The sum at which a neuron leaves `level` upwards, and the one below which it leaves it downwards.

    Staircases are kept inside what sums (at most `most` - 1 in magnitude) can be compared with.
    """
    if not staircase:
        theta = table[row, 0]
        up = (level + 1) * theta - theta // 2
        return up, up - theta
    up = table[row, min(level, hi - 1) - lo]
    down = table[row, max(level, lo + 1) - lo - 1]
    return min(max(up, -most), most), min(max(down, -most), most)


@_compiled
def _room(events, cursor, count):  # type: ignore[no-untyped-def]
    """The array `events`, or a larger copy, with room for `count` entries behind its first `cursor`."""
    if cursor + count <= events.size:
        return events
    grown = np.empty(2 * (cursor + count), events.dtype)
    grown[:cursor] = events[:cursor]
    return grown


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
def _step_staircase(a, up, down, state, signs, table, parameter, lo, hi, most):  # type: ignore[no-untyped-def]
    """One step of staircase neurons; `signs` receives their spikes."""
    for i in range(a.size):
        signs[i] = np.int8((a[i] >= up[i]) & (state[i] < hi)) - np.int8((a[i] < down[i]) & (state[i] > lo))
    for i in range(a.size):
        if signs[i]:
            state[i] += signs[i]
            up[i], down[i] = _between(table, True, parameter[i], lo, hi, state[i], most)


def _count_trailing_zeros(context, word):  # type: ignore[no-untyped-def]
    """The number of zero bits below the lowest set bit of a word that is not 0."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.cttz(arguments[0], numba.core.cgutils.false_bit)

    return word(word), generate


_trailing_zeros: Any = numba.extending.intrinsic(_count_trailing_zeros)


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
def _changes_staircase(change, a, state, table, parameter, lo, hi):  # type: ignore[no-untyped-def]
    """How many levels staircase neurons still go up or down once no input is left."""
    for i in range(a.size):
        level, row = state[i], table[parameter[i]]
        while level < hi and a[i] >= row[level - lo]:
            level += 1
        while level > lo and a[i] < row[level - lo - 1]:
            level -= 1
        change[i] = level - state[i]


@_compiled
def _settle(sums, begin, end, address, event, segments, weights, tally, synops, charges):  # type: ignore[no-untyped-def]
    """As `_deliver`, where only the last sums matter and all rows are as long as them: each row is added once."""
    s, first, last, n = 0, 0, 0, sums.size
    tally[:] = 0
    for e in range(begin, end):
        a = address[e]
        if a < first or a >= last:
            while a >= segments[s, 2]:
                s += 1
            while a < segments[s, 1]:
                s -= 1
            first, last = segments[s, 1], segments[s, 2]
        tally[a] += event[e] >> 1
        synops[s] += n
        charges[s] += n * (event[e] & 1)
    by, values, count = np.empty(4, np.int64), np.empty(4, sums.dtype), 0
    for s in range(segments.shape[0]):
        for a in range(segments[s, 1], segments[s, 2]):
            if tally[a]:
                by[count], values[count] = segments[s, 3] + (a - segments[s, 1]) * n, tally[a]
                count += 1
                if count == 4:
                    _add_scaled(sums, weights, by, values, n)
                    count = 0
    for k in range(count):
        _add_row(sums, 0, weights, by[k], n, values[k])


@_compiled
def populate(  # type: ignore[no-untyped-def]
    offsets,
    address,
    event,
    segments,
    weights,
    index,
    bias,
    table,
    parameter,
    layout,
    levels,
    steps,
    length,
    sums,
    synops,
    charges,
    resume,
    kept_sums,
    kept_levels,
):
    """Run one population (or readout: levels 0..0) over a window, sample after sample, each until it is silent.

    `levels` is (lo, hi, staircase); `layout[i]` is the address of neuron i; `length` the number of steps whose sums
    are kept (0: none). `sums[batch, n]` receives the settled sums where it has rows; `synops` and `charges`
    [batch, segments] are added to. Where `kept_sums` and `kept_levels` [batch, n] have rows, they receive the sums and
    tracers that neurons end with, and with `resume` neurons go on from them instead of their bias and 0. Returns
    offsets, address and event of the spikes, the steps used by each sample, the number of neurons still able to fire,
    and the sums after each step [batch, length, n].
    """
    lo, hi, staircase = levels
    batch, inputs, n = offsets.shape[0], offsets.shape[1] - 1, bias.size
    # Once no input is left every neuron goes straight to its level, one a step.
    capacity = min(inputs + hi - lo, steps)
    out_offsets = np.zeros((batch, capacity + 1), np.int64)
    out_address, out_event = np.empty(max(2 * n, 1024), np.int32), np.empty(max(2 * n, 1024), np.int32)
    used = np.zeros(batch, np.int64)
    history = np.zeros((batch, length, n), np.int64)
    most = np.iinfo(bias.dtype).max
    a = np.empty(n, bias.dtype)
    up, down, theta = np.empty(n, bias.dtype), np.empty(n, bias.dtype), np.empty(n, bias.dtype)
    first_up, first_down = np.empty(n, bias.dtype), np.empty(n, bias.dtype)
    for i in range(n):
        first_up[i], first_down[i] = _between(table, staircase, parameter[i], lo, hi, 0, most)
        theta[i] = 0 if staircase else table[parameter[i], 0]
    state = np.empty(n, bias.dtype)
    signs = np.zeros((n + 7) // 8 * 8, np.int8)
    words = signs.view(np.uint64)
    change = np.empty(n, np.int32)
    moving, goes, left = np.empty(n, np.int32), np.empty(n, np.int32), np.empty(n, np.int32)
    at_once = hi == lo and length == 0
    for s in range(segments.shape[0]):
        at_once &= segments[s, 0] == DENSE and segments[s, 5] == n
    tally = np.empty(segments[-1, 2] if at_once and segments.shape[0] else 0, bias.dtype)
    low, high = bias.dtype.type(lo), bias.dtype.type(hi)
    cursor, unsettled = 0, 0
    for sample in range(batch):
        if resume:
            a[:] = kept_sums[sample]
            state[:] = kept_levels[sample]
            for i in range(n):
                up[i], down[i] = _between(table, staircase, parameter[i], lo, hi, state[i], most)
        else:
            a[:] = bias
            up[:] = first_up
            down[:] = first_down
            state[:] = 0
        last = min(inputs, capacity)
        while last > 0 and offsets[sample, last - 1] == offsets[sample, last]:
            last -= 1
        out_offsets[sample, 0] = cursor
        active, many = hi > lo, False
        if at_once and last:
            begin, end = offsets[sample, 0], offsets[sample, last]
            _settle(a, begin, end, address, event, segments, weights, tally, synops[sample], charges[sample])
            last = 0
        for t in range(last):
            if offsets[sample, t] < offsets[sample, t + 1]:
                _deliver(
                    a,
                    offsets[sample, t],
                    offsets[sample, t + 1],
                    address,
                    event,
                    segments,
                    weights,
                    index,
                    synops[sample],
                    charges[sample],
                )
                active = hi > lo
            if t < length:
                for i in range(n):
                    history[sample, t, layout[i]] = a[i]
            if t == last - 1:
                break
            if active:
                if staircase:
                    _step_staircase(a, up, down, state, signs, table, parameter, lo, hi, most)
                else:
                    _step(a, up, down, state, signs, theta, low, high)
                out_address, out_event = _room(out_address, cursor, n + 1), _room(out_event, cursor, n + 1)
                before = cursor
                cursor = _emit(signs, words, layout, out_address, out_event, cursor, many)
                active = cursor > before
                many = 16 * (cursor - before) > n
                if active:
                    used[sample] = t + 1
            out_offsets[sample, t + 1] = cursor
        # All input is there: from its last step on every neuron goes straight to its level, one a step.
        t = max(last - 1, 0)
        count = 0
        if hi > lo:
            if staircase:
                _changes_staircase(change, a, state, table, parameter, lo, hi)
            else:
                _changes(change, a, down, state, theta, lo, hi)
            for i in range(n):
                moving[count] = i
                count += change[i] != 0
            for k in range(count):
                i = moving[k]
                state[i] += change[i]
                left[k], goes[k] = abs(change[i]), 2 if change[i] > 0 else -2
        while count and t < capacity:
            out_address, out_event = _room(out_address, cursor, count), _room(out_event, cursor, count)
            still = 0
            for k in range(count):
                out_address[cursor], out_event[cursor] = layout[moving[k]], goes[k]
                cursor += 1
                moving[still], goes[still], left[still] = moving[k], goes[k], left[k] - 1
                still += left[still] > 0
            count = still
            t += 1
            used[sample] = t
            out_offsets[sample, t] = cursor
        unsettled += count
        for k in range(count):  # the steps were too few
            state[moving[k]] -= left[k] * (goes[k] >> 1)
        for later in range(t, capacity):
            out_offsets[sample, later + 1] = cursor
        for later in range(last, length):
            for i in range(n):
                history[sample, later, layout[i]] = a[i]
        if sums.shape[0]:
            for i in range(n):
                sums[sample, layout[i]] = a[i]
        if kept_sums.shape[0]:
            kept_sums[sample] = a
            kept_levels[sample] = state
    return out_offsets, out_address, out_event, used, unsettled, history


@_compiled
def combine(offsets, address, event, row_offsets, rows, members, product, kept_states, kept_values):  # type: ignore[no-untyped-def]
    """The change of the largest tracer of each window, or with `product` of the product of its tracers, step by step.

    `members[windows, k]` are the addresses in a window (-1: none); `rows[row_offsets[a] : row_offsets[a + 1]]` the
    windows that hold address a. Where `kept_states` [batch, addresses] and `kept_values` [batch, windows] have rows,
    tracers go on from what stands there, which is 0 in the first window. Returns offsets, address, event and the steps
    used by each sample.
    """
    batch, inputs, windows = offsets.shape[0], offsets.shape[1] - 1, members.shape[0]
    out_offsets = np.zeros((batch, inputs + 1), np.int64)
    out_address, out_event = np.empty(1024, np.int32), np.empty(1024, np.int32)
    used = np.zeros(batch, np.int64)
    state = np.empty(row_offsets.size - 1, np.int64)
    current = np.empty(windows, np.int64)
    stamp = np.full(windows, -1, np.int64)
    touched = np.empty(windows, np.int32)
    cursor = 0
    for sample in range(batch):
        state[:] = 0
        current[:] = 0
        if kept_states.shape[0]:
            state[:] = kept_states[sample]
            current[:] = kept_values[sample]
        out_offsets[sample, 0] = cursor
        for t in range(inputs):
            found = 0
            for e in range(offsets[sample, t], offsets[sample, t + 1]):
                a = address[e]
                state[a] += event[e] >> 1
                for k in range(row_offsets[a], row_offsets[a + 1]):
                    window = rows[k]
                    if stamp[window] != sample * inputs + t:
                        stamp[window] = sample * inputs + t
                        touched[found] = window
                        found += 1
            if cursor + found > out_address.size:
                grown = 2 * (cursor + found)
                old_address, old_event = out_address, out_event
                out_address, out_event = np.empty(grown, np.int32), np.empty(grown, np.int32)
                out_address[:cursor] = old_address[:cursor]
                out_event[:cursor] = old_event[:cursor]
            for k in range(found):
                window = touched[k]
                value, any_member = 0, False
                if product:
                    value = state[members[window, 0]] * state[members[window, 1]]
                for member in members[window]:
                    if not product and member >= 0 and (not any_member or state[member] > value):
                        value, any_member = state[member], True
                change = value - current[window]
                if change:
                    current[window] = value
                    out_address[cursor] = window
                    out_event[cursor] = 2 * change + (abs(change) > 1)
                    cursor += 1
                    used[sample] = t + 1
            out_offsets[sample, t + 1] = cursor
        if kept_states.shape[0]:
            kept_states[sample] = state
            kept_values[sample] = current
    return out_offsets, out_address, out_event, used


@_compiled
def charge(levels, encoded):  # type: ignore[no-untyped-def]
    """A train that gives `levels` [batch, n] at step 0; events of an encoder are all marked as charged."""
    batch, n = levels.shape
    offsets = np.zeros((batch, 2), np.int64)
    total = 0
    for sample in range(batch):
        for i in range(n):
            total += levels[sample, i] != 0
    address, event = np.empty(total, np.int32), np.empty(total, np.int32)
    cursor = 0
    for sample in range(batch):
        offsets[sample, 0] = cursor
        for i in range(n):
            level = levels[sample, i]
            if level:
                address[cursor] = i
                event[cursor] = 2 * level + (encoded or abs(level) > 1)
                cursor += 1
        offsets[sample, 1] = cursor
    return offsets, address, event


@_compiled
def unary(levels, steps):  # type: ignore[no-untyped-def]
    """A train that gives `levels` [batch, n] one level a step from step 0, and the number of levels beyond `steps`."""
    batch, n = levels.shape
    length, total, lost = 0, 0, 0
    for sample in range(batch):
        for i in range(n):
            size = abs(levels[sample, i])
            lost += max(size - steps, 0)
            length = max(length, min(size, steps))
            total += min(size, steps)
    offsets = np.zeros((batch, length + 1), np.int64)
    address, event = np.empty(total, np.int32), np.empty(total, np.int32)
    cursor = 0
    for sample in range(batch):
        offsets[sample, 0] = cursor
        for t in range(length):
            for i in range(n):
                if abs(levels[sample, i]) > t:
                    address[cursor] = i
                    event[cursor] = 2 if levels[sample, i] > 0 else -2
                    cursor += 1
            offsets[sample, t + 1] = cursor
    return offsets, address, event, lost


@_compiled
def raised(offsets, address, event, levels):  # type: ignore[no-untyped-def]
    """A train with `levels` [batch, n] added to its events of step 0."""
    batch, inputs, n = offsets.shape[0], offsets.shape[1] - 1, levels.shape[1]
    steps = max(inputs, 1)
    capacity = 0
    for sample in range(batch):
        capacity += n + offsets[sample, inputs] - offsets[sample, 0]
    out_offsets = np.zeros((batch, steps + 1), np.int64)
    out_address, out_event = np.empty(capacity, np.int32), np.empty(capacity, np.int32)
    first, charged = np.empty(n, np.int64), np.empty(n, np.int64)
    cursor = 0
    for sample in range(batch):
        out_offsets[sample, 0] = cursor
        first[:] = levels[sample]
        charged[:] = 0
        if inputs:
            for e in range(offsets[sample, 0], offsets[sample, 1]):
                first[address[e]] += event[e] >> 1
                charged[address[e]] |= event[e] & 1
        for i in range(n):
            if first[i]:
                out_address[cursor] = i
                out_event[cursor] = 2 * first[i] + (charged[i] or abs(first[i]) > 1)
                cursor += 1
        out_offsets[sample, 1] = cursor
        for t in range(1, inputs):
            for e in range(offsets[sample, t], offsets[sample, t + 1]):
                out_address[cursor] = address[e]
                out_event[cursor] = event[e]
                cursor += 1
            out_offsets[sample, t + 1] = cursor
    return out_offsets, out_address[:cursor], out_event[:cursor]


@_compiled
def tracers(offsets, address, event, size):  # type: ignore[no-untyped-def]
    """What the events of each sample add up to: int64 [batch, size]."""
    batch, inputs = offsets.shape[0], offsets.shape[1] - 1
    result = np.zeros((batch, size), np.int64)
    for sample in range(batch):
        for e in range(offsets[sample, 0], offsets[sample, inputs]):
            result[sample, address[e]] += event[e] >> 1
    return result


@_compiled
def count(offsets, address, mapped, map_offsets, counts):  # type: ignore[no-untyped-def]
    """Add to `counts[batch, steps]` how many events a train gives after its address map (`mapped` False: none)."""
    for sample in range(offsets.shape[0]):
        for t in range(offsets.shape[1] - 1):
            if not mapped:
                counts[sample, t] += offsets[sample, t + 1] - offsets[sample, t]
                continue
            for e in range(offsets[sample, t], offsets[sample, t + 1]):
                counts[sample, t] += map_offsets[address[e] + 1] - map_offsets[address[e]]


@_compiled
def place(offsets, address, event, mapped, map_offsets, targets, shift, cursors, out_address, out_event):  # type: ignore[no-untyped-def]
    """Write a train's events, mapped and shifted, at `cursors[batch, steps]`, which move on."""
    for sample in range(offsets.shape[0]):
        for t in range(offsets.shape[1] - 1):
            cursor = cursors[sample, t]
            for e in range(offsets[sample, t], offsets[sample, t + 1]):
                a = address[e]
                if not mapped:
                    out_address[cursor] = a + shift
                    out_event[cursor] = event[e]
                    cursor += 1
                    continue
                for k in range(map_offsets[a], map_offsets[a + 1]):
                    out_address[cursor] = targets[k] + shift
                    out_event[cursor] = event[e]
                    cursor += 1
            cursors[sample, t] = cursor


@_compiled
def split(offsets, address, event, parts, size):  # type: ignore[no-untyped-def]
    """Cut a train with addresses below parts*size into `parts` trains: offsets[parts, batch, steps + 1], address, event."""
    batch, inputs = offsets.shape[0], offsets.shape[1] - 1
    out_offsets = np.zeros((parts, batch, inputs + 1), np.int64)
    for sample in range(batch):
        for t in range(inputs):
            for e in range(offsets[sample, t], offsets[sample, t + 1]):
                out_offsets[address[e] // size, sample, t + 1] += 1
    cursor = 0
    for part in range(parts):
        for sample in range(batch):
            out_offsets[part, sample, 0] = cursor
            for t in range(inputs):
                cursor += out_offsets[part, sample, t + 1]
                out_offsets[part, sample, t + 1] = cursor
    starts = out_offsets[:, :, :-1].copy()
    out_address, out_event = np.empty(cursor, np.int32), np.empty(cursor, np.int32)
    for sample in range(batch):
        for t in range(inputs):
            for e in range(offsets[sample, t], offsets[sample, t + 1]):
                part = address[e] // size
                at = starts[part, sample, t]
                starts[part, sample, t] = at + 1
                out_address[at] = address[e] - part * size
                out_event[at] = event[e]
    return out_offsets, out_address, out_event
