"""Rows of int8 weights times levels of 8 bits, four rows at a time, where the processor adds the products of four bytes at once
(VNNI): the fastest way to sum up levels that are complete.

The instruction multiplies unsigned bytes by signed ones. Levels of 0..255 are its unsigned bytes; beside levels of -128..127 the
weights are, plus 128 each, for which every sum then loses 128 times the sum of all levels.
"""

from __future__ import annotations

import llvmlite.ir
import numba
import numpy as np

from snnir.backends.simulator.kernels.numba_compat import (
    allocate_once,
    array_pointer,
    for_range,
    has_feature,
    intrinsic,
    part,
)
from snnir.backends.simulator.kernels.vectors import add_scaled_rows, spread, store_sums, vector_at

__all__ = ["NEITHER", "QUADS", "SIGNED", "UNSIGNED", "add_products", "add_quads", "as_bytes", "gather_levels", "pad_to_four"]

_LONG, _INT, _BYTE = llvmlite.ir.IntType(64), llvmlite.ir.IntType(32), llvmlite.ir.IntType(8)

_WIDE = has_feature("avx512vnni")
QUADS = (_WIDE and has_feature("avx512vl")) or has_feature("avxvnni")
"""Whether the processor has the instruction, for vectors of 16 bytes and more."""

NEITHER, UNSIGNED, SIGNED = range(3)
"""How levels are bytes."""

_BLOCKS = ((64, 4), (64, 1), (32, 1)) if _WIDE else ((32, 2), (32, 1))
"""Bytes of a vector of weights, and vectors of a row, whose sums (four registers each) are kept while rows are added."""

_LAST = 16
"""Bytes of the vectors of what is left of a row."""


def _unpacked(bytes_: int, size: int, half: int) -> list[int]:
    """What of two vectors stands side by side within lanes of 16 bytes, for elements of `size` bytes: of the lower halves, or of
    the upper ones. That is one instruction."""
    each, of_lane = bytes_ // size, 16 // size
    starts = [lane * of_lane + half * (of_lane // 2) for lane in range(bytes_ // 16)]
    return [start + k + each * side for start in starts for k in range(of_lane // 2) for side in range(2)]


def _in_order(bytes_: int) -> list[int]:
    """Where among the sums of four registers, one behind the other, each neuron's sum is."""
    return [(k % 16 // 4) * (bytes_ // 4) + 4 * (k // 16) + k % 4 for k in range(bytes_)]


def _shuffled(builder, one, other, places):
    return builder.shuffle_vector(one, other, llvmlite.ir.Constant(llvmlite.ir.VectorType(_INT, len(places)), places))


def _multiply_add(builder, bytes_):
    """The instruction: sums, four unsigned bytes each, four signed bytes each."""
    kind = llvmlite.ir.VectorType(_INT, bytes_ // 4)
    name = f"llvm.x86.avx512.vpdpbusd.{8 * bytes_}"
    return builder.module.declare_intrinsic(name, (), llvmlite.ir.FunctionType(kind, [kind] * 3))


def _adding(signed: bool):
    """An intrinsic that adds rows of weights times levels, which are all bytes of one kind."""

    def typed(context, sums, first, weights, base, rows, levels, count, stride, size, shift, index, gains, total):
        def generate(context, builder, signature, arguments):
            if not _there(sums, weights):
                return context.get_dummy_value()
            into, first, table, base, listed, given, count, stride, size, shift, index, gains, total = arguments
            table, bits = builder.gep(table, [base]), builder.trunc(shift, _INT)
            start = builder.mul(builder.trunc(total, _INT), _INT(-128 if signed else 0))

            def add(j, bytes_, vectors, mask):
                kind, words = llvmlite.ir.VectorType(_BYTE, bytes_), llvmlite.ir.VectorType(_INT, bytes_ // 4)
                shorts = llvmlite.ir.VectorType(llvmlite.ir.IntType(16), bytes_ // 2)
                multiply = _multiply_add(builder, bytes_)
                registers = [allocate_once(builder, words) for _ in range(4 * vectors)]
                for register in registers:
                    builder.store(spread(builder, start, bytes_ // 4), register)
                with for_range(builder, _LONG(0), count, _LONG(4)) as (k, _):
                    places = [builder.load(builder.gep(listed, [builder.add(k, _LONG(n))])) for n in range(4)]
                    places = [builder.add(j, builder.mul(builder.sext(place, _LONG), stride)) for place in places]
                    four = builder.load(builder.bitcast(builder.gep(given, [k]), _INT.as_pointer()), align=1)
                    level = spread(builder, four, bytes_ // 4)
                    for vector in range(vectors):
                        at = [vector_at(builder, table, builder.add(place, _LONG(bytes_ * vector)), kind) for place in places]
                        read = [builder.load(place, align=1) for place in at]
                        if signed:
                            read = [builder.xor(row, spread(builder, _BYTE(-128), bytes_)) for row in read]
                        for half in range(2):
                            lower, upper = (
                                builder.bitcast(_shuffled(builder, read[k], read[k + 1], _unpacked(bytes_, 1, half)), shorts)
                                for k in (0, 2)
                            )
                            for quarter in range(2):
                                weight = builder.bitcast(_shuffled(builder, lower, upper, _unpacked(bytes_, 2, quarter)), words)
                                register = registers[4 * vector + 2 * half + quarter]
                                operands = (weight, level) if signed else (level, weight)
                                builder.store(builder.call(multiply, [builder.load(register), *operands]), register)
                for vector in range(vectors):
                    found = [builder.load(register) for register in registers[4 * vector : 4 * vector + 4]]
                    every = list(range(bytes_ // 2))
                    first_two, last_two = (_shuffled(builder, found[k], found[k + 1], every) for k in (0, 2))
                    ordered = _shuffled(builder, first_two, last_two, _in_order(bytes_))
                    if mask is not None:
                        ordered = builder.select(mask, ordered, llvmlite.ir.Constant(ordered.type, None))
                    neuron = builder.add(first, builder.add(j, _LONG(bytes_ * vector)))
                    store_sums(builder, into, neuron, ordered, bits, index, gains)

            behind = _LONG(0)
            for bytes_, vectors in _BLOCKS:
                before, behind = behind, builder.and_(size, _LONG(-bytes_ * vectors))
                with for_range(builder, before, behind, _LONG(bytes_ * vectors)) as (j, _):
                    add(j, bytes_, vectors, None)
            with for_range(builder, behind, size, _LONG(_LAST)) as (j, _):
                lane = llvmlite.ir.Constant(llvmlite.ir.VectorType(_INT, _LAST), list(range(_LAST)))
                left = spread(builder, builder.trunc(builder.sub(size, j), _INT), _LAST)
                add(j, _LAST, 1, builder.icmp_signed("<", lane, left))
            return context.get_dummy_value()

        given = sums, first, weights, base, rows, levels, count, stride, size, shift, index, gains, total
        return numba.types.void(*given), generate

    return intrinsic(typed)


_add_unsigned, _add_signed = _adding(False), _adding(True)


def _there(sums, weights) -> bool:
    return bool(QUADS and sums.dtype.bitwidth == 32 and weights.dtype.bitwidth == 8)


@intrinsic
def _has_quads(context, sums, weights):
    """Whether `add_quads` is there for sums and weights of these types; known while compiling."""

    def generate(context, builder, signature, arguments):
        return llvmlite.ir.Constant(llvmlite.ir.IntType(1), int(_there(sums, weights)))

    return numba.types.boolean(sums, weights), generate


@part
def add_quads(sums, first, weights, base, rows, levels, count, kind, total, stride, size, shift, index, gains):
    """Add rows[:count] of weights times `levels` (bytes), shifted, to `size` sums from `first` on; as `vectors.add_rows`.

    `count` is a multiple of four (`pad_to_four`), `kind` how levels are bytes, `total` their sum.
    """
    if kind == SIGNED:
        _add_signed(sums, first, weights, base, rows, levels, count, stride, size, shift, index, gains, total)
    else:
        _add_unsigned(sums, first, weights, base, rows, levels, count, stride, size, shift, index, gains, total)


@part
def as_bytes(levels, count):
    """How levels[:count] are bytes."""
    all_bits, magnitudes = np.int32(0), np.int32(0)
    for k in range(count):
        level = np.int32(levels[k])
        all_bits |= level
        magnitudes |= level ^ (level >> np.int32(31))
    if all_bits >> 8 == 0:
        return UNSIGNED
    return SIGNED if magnitudes >> 7 == 0 else NEITHER


@part
def pad_to_four(rows, levels, count):
    """Let rows and levels be a multiple of four by rows of level 0. Returns how many there are."""
    while count & 3:
        rows[count], levels[count] = rows[count - 1], 0
        count += 1
    return count


@intrinsic
def gather_levels(context, rows, levels, channels, held, filled, index, begin, end, width):
    """As `vectors.gather_links`, with the levels (bytes) of what is listed: `held` beside `channels`, into `levels` beside
    `rows`."""

    def generate(context, builder, signature, arguments):
        wide, octet = llvmlite.ir.VectorType(_INT, 8), llvmlite.ir.VectorType(_BYTE, 8)
        arrays = [array_pointer(context, builder, signature.args[k], arguments[k]) for k in range(6)]
        into, level_into, listed, level_of, number, pairs = arrays
        begin, end, width = arguments[6:]
        count = allocate_once(builder, _LONG)
        builder.store(_LONG(0), count)
        with for_range(builder, begin, end, _LONG(2)) as (r, _):
            position = builder.sext(builder.load(builder.gep(pairs, [r])), _LONG)
            shift = spread(builder, builder.load(builder.gep(pairs, [builder.add(r, _LONG(1))])), 8)
            there = builder.sext(builder.load(builder.gep(number, [position])), _LONG)
            first, before = builder.mul(position, width), builder.load(count)

            def move(k, first=first, before=before, shift=shift):
                source, target = builder.add(first, k), builder.add(before, k)
                row = builder.load(vector_at(builder, listed, source, wide), align=4)
                builder.store(builder.add(row, shift), vector_at(builder, into, target, wide), align=4)
                level = builder.load(vector_at(builder, level_of, source, octet), align=1)
                builder.store(level, vector_at(builder, level_into, target, octet), align=1)

            move(_LONG(0))
            with for_range(builder, _LONG(8), there, _LONG(8)) as (k, _):
                move(k)
            builder.store(builder.add(before, there), count)
        return builder.load(count)

    int64 = numba.types.int64
    return int64(rows, levels, channels, held, filled, index, int64, int64, int64), generate


@part
def add_products(sums, first, weights, base, rows, factors, packed, count, stride, size, shift, index, gains):
    """Add rows[:count] of weights times their factors, shifted, by the fastest way there is. All lists have room for three more,
    which are overwritten; `packed` (bytes) is overwritten."""
    kind = as_bytes(factors, count) if count > 1 and _has_quads(sums, weights) else NEITHER
    if kind == NEITHER:
        add_scaled_rows(sums, first, weights, base, rows, factors, count, stride, size, shift, index, gains)
        return
    total = np.int64(0)
    for k in range(count):
        packed[k] = np.int8(factors[k])
        total += factors[k]
    four = pad_to_four(rows, packed, count)
    add_quads(sums, first, weights, base, rows, packed, four, kind, total, stride, size, shift, index, gains)
