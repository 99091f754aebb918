"""Levels as bit planes: the bits that few-spike neurons emit, and where levels have a bit."""

from __future__ import annotations

import llvmlite.ir
import numba
import numpy as np

from snnir.backends.simulator.kernels.neurons import BITS
from snnir.backends.simulator.kernels.numba_compat import (
    allocate_once,
    array_pointer,
    element_type,
    for_range,
    has_feature,
    intrinsic,
    part,
)
from snnir.backends.simulator.kernels.vectors import spread, vector_at

__all__ = ["bits_of_any", "emit_plane", "level_bits", "level_bits_staircase", "where"]

_LONG, _INT = llvmlite.ir.IntType(64), llvmlite.ir.IntType(32)


def _bits_by_rule(builder, left, step, end, highest, lowest):
    """The rule as it stands: from the highest bit to the lowest, each fires where what is left reaches 2^k theta, which that
    loses, and where the level does not pass its end. Gives the levels of eight neurons and the number of their bits."""
    wide, numbers = step.type, end.type
    rest, level, ones = (allocate_once(builder, kind) for kind in (wide, numbers, _LONG))
    none = llvmlite.ir.Constant(wide, None)
    builder.store(left, rest)
    builder.store(llvmlite.ir.Constant(numbers, None), level)
    builder.store(_LONG(0), ones)
    with for_range(builder, builder.neg(highest), builder.sub(_LONG(1), lowest), _LONG(1)) as (k, _):
        bit = builder.neg(k)
        narrow = builder.trunc(bit, _INT)
        shift = spread(builder, narrow if wide.element == _INT else bit, 8)
        value, tracer = builder.load(rest), builder.load(level)
        raised = builder.add(tracer, spread(builder, builder.shl(_INT(1), narrow), 8))
        fires = builder.and_(builder.icmp_signed(">=", builder.ashr(value, shift), step), builder.icmp_signed("<=", raised, end))
        builder.store(builder.sub(value, builder.select(fires, builder.shl(step, shift), none)), rest)
        builder.store(builder.select(fires, raised, tracer), level)
        mask = builder.bitcast(fires, llvmlite.ir.IntType(8))
        builder.store(builder.add(builder.load(ones), builder.zext(builder.ctpop(mask), _LONG)), ones)
    return builder.load(level), builder.load(ones)


_MOST_DIVIDED = 1 << 20
"""Levels below this are found by a division."""


def _bits_by_division(builder, left, step, end, highest, lowest):
    """What the rule comes to: the quotient of what is left and theta, clipped at its end, without the bits below the lowest.

    A quotient in float32 that is below 2^22 is the true one or its neighbour, and the remainder says which. A larger one is
    beyond every end below `_MOST_DIVIDED`.
    """
    numbers, zeros = end.type, llvmlite.ir.Constant(end.type, None)
    reals = llvmlite.ir.VectorType(llvmlite.ir.FloatType(), 8)
    quotient = builder.fdiv(builder.sitofp(left, reals), builder.sitofp(step, reals))
    beyond = builder.sitofp(builder.add(end, spread(builder, _INT(1), 8)), reals)
    found = builder.fptosi(builder.select(builder.fcmp_ordered("<", quotient, beyond), quotient, beyond), numbers)
    remainder = builder.sub(left, builder.mul(found, step))
    found = builder.add(found, builder.sext(builder.icmp_signed("<", remainder, zeros), numbers))
    found = builder.sub(found, builder.sext(builder.icmp_signed(">=", remainder, step), numbers))
    found = builder.select(builder.icmp_signed("<", found, end), found, end)
    found = builder.select(builder.icmp_signed(">", found, zeros), found, zeros)
    found = builder.and_(found, spread(builder, builder.shl(_INT(-1), builder.trunc(lowest, _INT)), 8))
    count = builder.module.declare_intrinsic("llvm.ctpop.v8i32", (), llvmlite.ir.FunctionType(numbers, [numbers]))
    ones = builder.call(count, [found])
    total = builder.module.declare_intrinsic("llvm.vector.reduce.add.v8i32", (), llvmlite.ir.FunctionType(_INT, [numbers]))
    return found, builder.zext(builder.call(total, [ones]), _LONG)


def _bits_in_eights(bits_of, narrow):
    """An intrinsic for few-spike neurons with uniform thresholds, eight at a time: how they find the bits of their levels, and
    whether that is for sums of 32 bits alone."""

    def typed(context, sums, theta, levels, size, lo, hi, first, last):
        def generate(context, builder, signature, arguments):
            total = element_type(context, sums)
            if narrow and total != _INT:
                return _LONG(0)
            wide, numbers = llvmlite.ir.VectorType(total, 8), llvmlite.ir.VectorType(_INT, 8)
            none, zeros = llvmlite.ir.Constant(wide, None), llvmlite.ir.Constant(numbers, None)
            charge, steps, found = (array_pointer(context, builder, signature.args[k], arguments[k]) for k in range(3))
            count, least, most, highest, lowest = arguments[3:]
            signed = builder.sext(builder.icmp_signed("<", least, _INT(0)), _INT)
            spikes = allocate_once(builder, _LONG)
            builder.store(_LONG(0), spikes)
            lane = llvmlite.ir.Constant(numbers, list(range(8)))
            with for_range(builder, _LONG(0), count, _LONG(8)) as (j, _):
                held = builder.load(vector_at(builder, charge, j, wide), align=4)
                step = builder.load(vector_at(builder, steps, j, wide), align=4)
                there = builder.icmp_signed("<", lane, spread(builder, builder.trunc(builder.sub(count, j), _INT), 8))
                below = builder.icmp_signed("<", held, none)
                negative = builder.and_(builder.sext(below, numbers), spread(builder, signed, 8))
                negated = builder.icmp_signed("<", negative, zeros)
                mirrored = builder.sub(builder.sub(step, spread(builder, total(1), 8)), held)
                end = builder.select(negated, spread(builder, builder.neg(least), 8), spread(builder, most, 8))
                end = builder.select(there, end, zeros)
                magnitude, ones = bits_of(builder, builder.select(negated, mirrored, held), step, end, highest, lowest)
                builder.store(builder.add(builder.load(spikes), ones), spikes)
                level = builder.select(negated, builder.neg(magnitude), magnitude)
                builder.store(level, vector_at(builder, found, j, numbers), align=4)
            return builder.load(spikes)

        int32, int64 = numba.types.int32, numba.types.int64
        return int64(sums, theta, levels, int64, int32, int32, int64, int64), generate

    return intrinsic(typed)


_by_rule, _by_division = _bits_in_eights(_bits_by_rule, False), _bits_in_eights(_bits_by_division, True)


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


_COMPRESSES = has_feature("avx512f")
"""Whether there is an instruction that moves chosen lanes of sixteen to the front."""


def _compressing(levels) -> bool:
    return _COMPRESSES and levels.dtype.bitwidth == 32


@intrinsic
def _compresses(context, levels):
    """Whether `_where_in_sixteens` is there for levels of this type; known while compiling."""

    def generate(context, builder, signature, arguments):
        return llvmlite.ir.Constant(llvmlite.ir.IntType(1), int(_compressing(levels)))

    return numba.types.boolean(levels), generate


@intrinsic
def _where_in_sixteens(context, levels, size, bit, neurons, at):
    """As `_where_in_eights`, sixteen at a time."""

    def generate(context, builder, signature, arguments):
        if not _compressing(levels):
            return _LONG(0)
        numbers, lanes = llvmlite.ir.VectorType(_INT, 16), llvmlite.ir.VectorType(llvmlite.ir.IntType(1), 16)
        held, listed = (array_pointer(context, builder, signature.args[k], arguments[k]) for k in (0, 3))
        count, bit, first = arguments[1], arguments[2], arguments[4]
        zeros, total = llvmlite.ir.Constant(numbers, None), allocate_once(builder, _LONG)
        lane = llvmlite.ir.Constant(numbers, list(range(16)))
        builder.store(first, total)
        one = builder.shl(_INT(1), builder.trunc(bit, _INT))
        wanted = spread(builder, builder.select(builder.icmp_signed("<", bit, _LONG(0)), _INT(-1), one), 16)
        compress = builder.module.declare_intrinsic(
            "llvm.x86.avx512.mask.compress.v16i32", (), llvmlite.ir.FunctionType(numbers, [numbers, numbers, lanes])
        )
        with for_range(builder, _LONG(0), count, _LONG(16)) as (j, _):
            level = builder.load(vector_at(builder, held, j, numbers), align=4)
            magnitude = builder.select(builder.icmp_signed("<", level, zeros), builder.neg(level), level)
            there = builder.icmp_signed("<", lane, spread(builder, builder.trunc(builder.sub(count, j), _INT), 16))
            fires = builder.and_(builder.icmp_signed("!=", builder.and_(magnitude, wanted), zeros), there)
            number = builder.add(lane, spread(builder, builder.trunc(j, _INT), 16))
            before = builder.load(total)
            found = builder.call(compress, [number, zeros, fires])
            builder.store(found, vector_at(builder, listed, before, numbers), align=4)
            mask = builder.zext(builder.bitcast(fires, llvmlite.ir.IntType(16)), _LONG)
            builder.store(builder.add(before, builder.ctpop(mask)), total)
        return builder.sub(builder.load(total), first)

    int64 = numba.types.int64
    return int64(levels, int64, int64, neurons, int64), generate


@part
def level_bits(sums, theta, levels, lo, hi, first, last):
    """The bits first .. last of the levels of few-spike neurons with uniform thresholds; returns the number of ones.

    The sums are half a theta more. A neuron below 0, where there are levels below, takes theta - 1 less its sum, and tells the
    bits of the level's magnitude as the others do. `levels` receives the levels.
    """
    size, least, most = np.int64(sums.size), np.int32(lo), np.int32(hi)
    if sums.itemsize == 4 and max(hi, -lo) < _MOST_DIVIDED:
        return _by_division(sums, theta, levels, size, least, most, first, last)
    return _by_rule(sums, theta, levels, size, least, most, first, last)


@part
def level_bits_staircase(sums, levels, table, width, parameter, lo, hi, first, last):
    """The same of staircases, by successive approximation."""
    return _staircases_in_eights(
        sums, levels, table, np.int64(width), parameter, np.int64(sums.size), np.int64(lo), np.int64(hi), first, last
    )


@part
def where(levels, bit, numbers, at):
    """Write where levels have a bit, or for a bit of -1 are not 0, into numbers[at:]. Returns how many do.

    Up to sixteen entries behind the last level are read, and behind the last number written.
    """
    if _compresses(levels):
        return _where_in_sixteens(levels, np.int64(levels.size), np.int64(bit), numbers, np.int64(at))
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
