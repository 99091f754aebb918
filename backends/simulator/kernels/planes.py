"""Levels as bit planes: the bits that few-spike neurons emit, and where levels have a bit."""

from __future__ import annotations

import llvmlite.ir
import numba
import numpy as np

from snnir.backends.simulator.kernels.neurons import BITS
from snnir.backends.simulator.kernels.numba_compat import allocate_once, array_pointer, element_type, for_range, intrinsic, part
from snnir.backends.simulator.kernels.vectors import spread, vector_at

__all__ = ["bits_of_any", "emit_plane", "level_bits", "level_bits_staircase", "where"]

_LONG, _INT = llvmlite.ir.IntType(64), llvmlite.ir.IntType(32)


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
def _staircases_in_eights(context, sums, levels, table, width, parameter, size, lo, hi, first, last):
    """The same of staircases, by successive approximation: neuron i has the thresholds table[parameter[i] * width:]. No branch
    depends on what fires, since a processor would guess half of them wrongly."""

    def generate(context, builder, signature, arguments):
        total_type, lanes = element_type(context, sums), 8
        longs, numbers = llvmlite.ir.VectorType(_LONG, lanes), llvmlite.ir.VectorType(_INT, lanes)
        charge, found, thresholds, rows = (array_pointer(context, builder, signature.args[k], arguments[k]) for k in (0, 1, 2, 4))
        width, _, count, least, most, highest, lowest = arguments[3:]
        zeros, spikes, level = llvmlite.ir.Constant(longs, None), allocate_once(builder, _LONG), allocate_once(builder, longs)
        lane = llvmlite.ir.Constant(longs, list(range(lanes)))
        signed = builder.icmp_signed("<", least, _LONG(0))
        lower, upper = spread(builder, least, lanes), spread(builder, most, lanes)
        builder.store(_LONG(0), spikes)

        def read(places, there):
            """thresholds[places], by lane."""
            places, values = builder.select(there, places, zeros), zeros
            for k in range(lanes):
                value = builder.load(builder.gep(thresholds, [builder.extract_element(places, _INT(k))]))
                values = builder.insert_element(values, value, _INT(k))
            return values

        with for_range(builder, _LONG(0), count, _LONG(lanes)) as (j, _):
            there = builder.icmp_signed("<", lane, spread(builder, builder.sub(count, j), lanes))
            total = builder.load(vector_at(builder, charge, j, llvmlite.ir.VectorType(total_type, lanes)), align=4)
            total = total if total_type == _LONG else builder.sext(total, longs)
            row = builder.sext(builder.load(vector_at(builder, rows, j, numbers), align=4), longs)
            row = builder.mul(row, spread(builder, width, lanes))
            middle = builder.select(signed, builder.sub(_LONG(-1), least), _LONG(0))
            below = builder.icmp_signed("<", total, read(builder.add(row, spread(builder, middle, lanes)), there))
            below = builder.and_(below, spread(builder, signed, lanes))
            ends = builder.select(below, lower, upper)
            behind = builder.sub(row, builder.select(below, lower, builder.add(lower, spread(builder, _LONG(1), lanes))))
            sign = builder.select(below, spread(builder, _LONG(-1), lanes), spread(builder, _LONG(1), lanes))
            builder.store(zeros, level)
            with for_range(builder, builder.neg(highest), builder.sub(_LONG(1), lowest), _LONG(1)) as (k, _):
                held = builder.load(level)
                following = builder.add(held, builder.shl(sign, spread(builder, builder.neg(k), lanes)))
                within = builder.select(
                    below, builder.icmp_signed(">=", following, lower), builder.icmp_signed("<=", following, upper)
                )
                threshold = read(builder.add(behind, builder.select(within, following, ends)), there)
                reached = builder.not_(builder.xor(builder.icmp_signed("<", total, threshold), below))
                fires = builder.and_(builder.and_(reached, within), there)
                builder.store(builder.select(fires, following, held), level)
                mask = builder.bitcast(fires, llvmlite.ir.IntType(lanes))
                builder.store(builder.add(builder.load(spikes), builder.zext(builder.ctpop(mask), _LONG)), spikes)
            builder.store(builder.trunc(builder.load(level), numbers), vector_at(builder, found, j, numbers), align=4)
        return builder.load(spikes)

    int64 = numba.types.int64
    return int64(sums, levels, table, int64, parameter, int64, int64, int64, int64, int64), generate


@intrinsic
def _where_in_eights(context, levels, size, bit, neurons, at, bits):
    """Write where levels have a bit (or, for a bit of -1, are not 0) into neurons[at:], eight at a time. Returns how many do."""

    def generate(context, builder, signature, arguments):
        total_type = element_type(context, levels)
        wide, numbers, octet = (llvmlite.ir.VectorType(kind, 8) for kind in (total_type, _INT, llvmlite.ir.IntType(8)))
        held, listed, table = (array_pointer(context, builder, signature.args[k], arguments[k]) for k in (0, 3, 5))
        count, bit, first = arguments[1], arguments[2], arguments[4]
        zeros, total = llvmlite.ir.Constant(wide, None), allocate_once(builder, _LONG)
        lane = llvmlite.ir.Constant(numbers, list(range(8)))
        builder.store(first, total)
        narrow = bit if total_type == _LONG else builder.trunc(bit, total_type)
        one = builder.shl(total_type(1), narrow)
        wanted = spread(builder, builder.select(builder.icmp_signed("<", bit, _LONG(0)), total_type(-1), one), 8)
        with for_range(builder, _LONG(0), count, _LONG(8)) as (j, _):
            level = builder.load(vector_at(builder, held, j, wide), align=4)
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
    return _staircases_in_eights(
        sums, levels, table, np.int64(width), parameter, np.int64(sums.size), np.int64(lo), np.int64(hi), first, last
    )


@part
def where(levels, bit, numbers, at):
    """Write where levels have a bit, or for a bit of -1 are not 0, into numbers[at:]. Returns how many do.

    Up to eight entries behind the last level are read, and behind the last number written.
    """
    return _where_in_eights(levels, np.int64(levels.size), np.int64(bit), numbers, np.int64(at), BITS)


@part
def bits_of_any(levels):
    """The bits that any of the levels' magnitudes has, as one number."""
    found = np.int64(0)
    for i in range(levels.size):
        found |= np.int64(abs(levels[i]))
    return found


@part
def emit_plane(levels, bit, signed, layout, out_address, out_event, cursor):
    """Write the spikes of the neurons whose levels have a bit, for which there is room, and for eight more. Neuron i has the
    address layout[i], or where there is no layout i. Returns the cursor behind them.
    """
    count = where(levels, bit, out_address, cursor)
    addresses, events = out_address[cursor : cursor + count], out_event[cursor : cursor + count]
    value = np.int32(2) << np.int32(bit)
    if signed:
        for k in range(count):
            events[k] = value if levels[np.uint32(addresses[k])] > 0 else -value
    else:
        for k in range(count):
            events[k] = value
    if layout is not None:
        for k in range(count):
            addresses[k] = layout[np.uint32(addresses[k])]
    return cursor + count
