"""Steps of neurons: those with uniform thresholds, whose membranes lose a threshold a spike, and staircases, whose sums are
compared with the thresholds beside their levels.
"""

from __future__ import annotations

import llvmlite.ir
import numba
import numpy as np

from snnir.backends.simulator.kernels.numba_compat import allocate_once, array_pointer, element_type, for_range, intrinsic, part
from snnir.backends.simulator.kernels.vectors import spread, vector_at

__all__ = [
    "able",
    "emit",
    "emit_plane",
    "fire",
    "fire_again",
    "fire_staircase",
    "level_bits",
    "level_bits_staircase",
    "neighbours",
]

_LONG, _INT = llvmlite.ir.IntType(64), llvmlite.ir.IntType(32)

_BITS = np.array([[*[k for k in range(8) if mask >> k & 1], *[0] * 8][:8] for mask in range(256)], np.uint8).reshape(-1)
"""For each mask of eight bits the numbers of its bits, the lowest first, in a row of eight."""


@intrinsic
def _fire_eights(context, membranes, tracers, theta, lo, hi, size, neurons, signs, bits):
    """One step of neurons with uniform thresholds, eight at a time and without a branch: those at theta or above go up a
    level, those below 0 go down one, within lo..hi. Their membranes lose that many thetas, `signs` receives the spikes of
    all, `neurons` the numbers of those that fired. Returns how many did. Arrays have room for whole eights.
    """

    def generate(context, builder, signature, arguments):
        total = element_type(context, membranes)
        wide, numbers, octet = (llvmlite.ir.VectorType(kind, 8) for kind in (total, _INT, llvmlite.ir.IntType(8)))
        zeros = llvmlite.ir.Constant(wide, None)
        charge, levels, steps, fired, spikes, table = (
            array_pointer(context, builder, signature.args[k], arguments[k]) for k in (0, 1, 2, 6, 7, 8)
        )
        low, high, count = arguments[3:6]
        total_fired = allocate_once(builder, _LONG)
        builder.store(_LONG(0), total_fired)
        lane = llvmlite.ir.Constant(numbers, list(range(8)))
        with for_range(builder, _LONG(0), count, _LONG(8)) as (j, _):
            places = tuple(
                vector_at(builder, array, j, kind) for array, kind in ((charge, wide), (levels, numbers), (steps, wide))
            )
            membrane, level, step = (builder.load(place, align=4) for place in places)
            there = builder.icmp_signed("<", lane, spread(builder, builder.trunc(builder.sub(count, j), _INT), 8))
            up = builder.and_(
                builder.icmp_signed(">=", membrane, step), builder.icmp_signed("<", level, spread(builder, high, 8))
            )
            down = builder.and_(
                builder.icmp_signed("<", membrane, zeros), builder.icmp_signed(">", level, spread(builder, low, 8))
            )
            up, down = builder.and_(up, there), builder.and_(down, there)
            sign = builder.sub(builder.sext(down, numbers), builder.sext(up, numbers))
            builder.store(builder.add(level, sign), places[1], align=4)
            lost = builder.sub(builder.select(up, step, zeros), builder.select(down, step, zeros))
            builder.store(builder.sub(membrane, lost), places[0], align=4)
            builder.store(sign, vector_at(builder, spikes, j, numbers), align=4)
            mask = builder.zext(builder.bitcast(builder.or_(up, down), llvmlite.ir.IntType(8)), _LONG)
            found = builder.load(vector_at(builder, table, builder.mul(mask, _LONG(8)), octet), align=1)
            before = builder.load(total_fired)
            number = builder.add(builder.zext(found, numbers), spread(builder, builder.trunc(j, _INT), 8))
            builder.store(number, vector_at(builder, fired, before, numbers), align=4)
            builder.store(builder.add(before, builder.ctpop(mask)), total_fired)
        return builder.load(total_fired)

    return numba.types.int64(membranes, tracers, theta, lo, hi, size, neurons, signs, bits), generate


@part
def fire(membranes, tracers, theta, lo, hi, neurons, signs):
    """One step of neurons with uniform thresholds: see `_fire_eights`. All but the membranes and theta are int32."""
    return _fire_eights(membranes, tracers, theta, np.int32(lo), np.int32(hi), np.int64(membranes.size), neurons, signs, _BITS)


@intrinsic
def _bits_in_eights(context, sums, theta, levels, size, lo, hi, first, last):
    """The bits first, first - 1, .. last of the levels of few-spike neurons with uniform thresholds, eight at a time.

    The sums are half a theta more. A neuron below 0, where there are levels below, takes theta - 1 less its sum: then both signs
    emit bit k where that reaches 2^k theta, which it loses, and where the level does not pass its end. `levels` receives the
    levels; returned is the number of their bits.
    """

    def generate(context, builder, signature, arguments):
        total = element_type(context, sums)
        wide, numbers = llvmlite.ir.VectorType(total, 8), llvmlite.ir.VectorType(_INT, 8)
        none, zeros = llvmlite.ir.Constant(wide, None), llvmlite.ir.Constant(numbers, None)
        charge, steps, found = (array_pointer(context, builder, signature.args[k], arguments[k]) for k in range(3))
        count, least, most, highest, lowest = arguments[3:]
        signed = builder.sext(builder.icmp_signed("<", least, _INT(0)), _INT)
        spikes, rest, level = allocate_once(builder, _LONG), allocate_once(builder, wide), allocate_once(builder, numbers)
        builder.store(_LONG(0), spikes)
        lane = llvmlite.ir.Constant(numbers, list(range(8)))
        with for_range(builder, _LONG(0), count, _LONG(8)) as (j, _):
            held = builder.load(vector_at(builder, charge, j, wide), align=4)
            step = builder.load(vector_at(builder, steps, j, wide), align=4)
            there = builder.icmp_signed("<", lane, spread(builder, builder.trunc(builder.sub(count, j), _INT), 8))
            below = builder.icmp_signed("<", held, none)
            negative = builder.and_(builder.sext(below, numbers), spread(builder, signed, 8))
            negated = builder.icmp_signed("<", negative, zeros)
            one = spread(builder, total(1), 8)
            mirrored = builder.sub(builder.sub(step, one), held)
            builder.store(builder.select(negated, mirrored, held), rest)
            builder.store(zeros, level)
            end = builder.select(negated, spread(builder, builder.neg(least), 8), spread(builder, most, 8))
            end = builder.select(there, end, zeros)
            with for_range(builder, builder.neg(highest), builder.sub(_LONG(1), lowest), _LONG(1)) as (k, _):
                bit = builder.neg(k)
                narrow = builder.trunc(bit, _INT)
                shift = spread(builder, narrow if total == _INT else bit, 8)
                value, tracer = builder.load(rest), builder.load(level)
                raised = builder.add(tracer, spread(builder, builder.shl(_INT(1), narrow), 8))
                fires = builder.and_(
                    builder.icmp_signed(">=", builder.ashr(value, shift), step), builder.icmp_signed("<=", raised, end)
                )
                builder.store(builder.sub(value, builder.select(fires, builder.shl(step, shift), none)), rest)
                builder.store(builder.select(fires, raised, tracer), level)
                mask = builder.bitcast(fires, llvmlite.ir.IntType(8))
                builder.store(builder.add(builder.load(spikes), builder.zext(builder.ctpop(mask), _LONG)), spikes)
            magnitude = builder.load(level)
            builder.store(
                builder.select(negated, builder.neg(magnitude), magnitude), vector_at(builder, found, j, numbers), align=4
            )
        return builder.load(spikes)

    int32, int64 = numba.types.int32, numba.types.int64
    return int64(sums, theta, levels, int64, int32, int32, int64, int64), generate


@intrinsic
def _plane_in_eights(context, levels, size, bit, neurons, at, bits):
    """Write the numbers of the neurons whose levels have a bit into neurons[at:], eight at a time. Returns how many there are."""

    def generate(context, builder, signature, arguments):
        numbers, octet = llvmlite.ir.VectorType(_INT, 8), llvmlite.ir.VectorType(llvmlite.ir.IntType(8), 8)
        held, listed, table = (array_pointer(context, builder, signature.args[k], arguments[k]) for k in (0, 3, 5))
        count, bit, first = arguments[1], arguments[2], arguments[4]
        zeros, total = llvmlite.ir.Constant(numbers, None), allocate_once(builder, _LONG)
        lane = llvmlite.ir.Constant(numbers, list(range(8)))
        builder.store(first, total)
        wanted = spread(builder, builder.shl(_INT(1), builder.trunc(bit, _INT)), 8)
        with for_range(builder, _LONG(0), count, _LONG(8)) as (j, _):
            level = builder.load(vector_at(builder, held, j, numbers), align=4)
            magnitude = builder.select(builder.icmp_signed("<", level, zeros), builder.neg(level), level)
            there = builder.icmp_signed("<", lane, spread(builder, builder.trunc(builder.sub(count, j), _INT), 8))
            fires = builder.and_(builder.icmp_signed("!=", builder.and_(magnitude, wanted), zeros), there)
            mask = builder.zext(builder.bitcast(fires, llvmlite.ir.IntType(8)), _LONG)
            found = builder.load(vector_at(builder, table, builder.mul(mask, _LONG(8)), octet), align=1)
            before = builder.load(total)
            number = builder.add(builder.zext(found, numbers), spread(builder, builder.trunc(j, _INT), 8))
            builder.store(number, vector_at(builder, listed, before, numbers), align=4)
            builder.store(builder.add(before, builder.ctpop(mask)), total)
        return builder.sub(builder.load(total), first)

    int64 = numba.types.int64
    return int64(levels, int64, int64, neurons, int64, bits), generate


@part
def level_bits(sums, theta, levels, lo, hi, first, last):
    """The bits first .. last of the levels of few-spike neurons with uniform thresholds; returns the number of ones."""
    return _bits_in_eights(sums, theta, levels, np.int64(sums.size), np.int32(lo), np.int32(hi), first, last)


@part
def level_bits_staircase(sums, levels, table, width, parameter, lo, hi, first, last):
    """The same of staircases, by successive approximation."""
    count = 0
    for i in range(sums.size):
        thresholds, total, level = table[parameter[i] * width : (parameter[i] + 1) * width], np.int64(sums[i]), np.int64(0)
        if lo < 0 and total < thresholds[-lo - 1]:
            for k in range(first, last - 1, -1):
                following = level - (np.int64(1) << k)
                if following >= lo and total < thresholds[following - lo]:
                    level = following
                    count += 1
        else:
            for k in range(first, last - 1, -1):
                following = level + (np.int64(1) << k)
                if following <= hi and total >= thresholds[following - lo - 1]:
                    level = following
                    count += 1
        levels[i] = level
    return count


@part
def emit_plane(levels, bit, signed, layout, out_address, out_event, cursor):
    """Write the spikes of the neurons whose levels have a bit, for which there is room, and for eight more. Returns the cursor
    behind them.
    """
    count = _plane_in_eights(levels, np.int64(levels.size), bit, out_address, cursor, _BITS)
    addresses, events = out_address[cursor : cursor + count], out_event[cursor : cursor + count]
    value = np.int32(2) << np.int32(bit)
    if signed:
        for k in range(count):
            i = np.uint32(addresses[k])
            addresses[k], events[k] = layout[i], value if levels[i] > 0 else -value
    else:
        for k in range(count):
            addresses[k], events[k] = layout[np.uint32(addresses[k])], value
    return cursor + count


@part
def neighbours(steps, lo, hi, level, most):
    """The sum at which a staircase neuron leaves `level` upwards, and the one below which it leaves it downwards.

    `steps` are its thresholds, one between each two levels; what is returned can be compared with sums, which are at most
    `most` - 1 in magnitude.
    """
    up = steps[min(level, hi - 1) - lo]
    down = steps[max(level, lo + 1) - lo - 1]
    return min(max(up, -most), most), min(max(down, -most), most)


@part
def fire_staircase(sums, up, down, tracers, neurons, signs, table, width, parameter, lo, hi, most):
    """One step of staircase neurons; results are those of `fire`."""
    count = 0
    for i in range(sums.size):
        sign = np.int32((sums[i] >= up[i]) & (tracers[i] < hi)) - np.int32((sums[i] < down[i]) & (tracers[i] > lo))
        signs[i], neurons[count] = sign, i
        count += int(sign & 1)
    for k in range(count):
        i = neurons[k]
        tracers[i] += signs[i]
        up[i], down[i] = neighbours(table[parameter[i] * width : (parameter[i] + 1) * width], lo, hi, tracers[i], most)
    return count


@part
def fire_again(a, up, down, theta, tracers, neurons, count, signs, table, width, parameter, staircase, lo, hi, most):
    """One step of the `count` neurons that fired in the step before, where no other can fire; results are those of `fire`."""
    found, one = np.uint64(0), np.uint64(1)
    for k in range(count):
        i, sign = np.uint32(neurons[k]), np.int32(0)
        if staircase:
            sign = np.int32((a[i] >= up[i]) & (tracers[i] < hi)) - np.int32((a[i] < down[i]) & (tracers[i] > lo))
        else:
            sign = np.int32((a[i] >= theta[i]) & (tracers[i] < hi)) - np.int32((a[i] < 0) & (tracers[i] > lo))
            a[i] -= theta[i] * sign
        tracers[i] += sign
        if staircase and sign:
            up[i], down[i] = neighbours(table[parameter[i] * width : (parameter[i] + 1) * width], lo, hi, tracers[i], most)
        signs[i], neurons[found] = sign, i
        found += np.uint64(sign) & one
    return np.int64(found)


@part
def able(a, up, down, theta, tracers, staircase, lo, hi):
    """How many neurons would fire in the next step."""
    count = 0
    for i in range(a.size):
        above, below = (a[i] >= up[i], a[i] < down[i]) if staircase else (a[i] >= theta[i], a[i] < 0)
        count += (above and tracers[i] < hi) or (below and tracers[i] > lo)
    return count


@part
def emit(neurons, count, signs, layout, out_address, out_event, cursor):
    """Write the spikes of `count` neurons, for which there is room."""
    addresses, events = out_address[cursor : cursor + count], out_event[cursor : cursor + count]
    for k in range(count):
        i = np.uint32(neurons[k])
        addresses[k], events[k] = layout[i], 2 * signs[i]
