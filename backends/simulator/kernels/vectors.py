"""Sums of rows of weights, and lists of what an output place reads, as vectors in LLVM.

A compiler that vectorises loops by itself reads and writes all sums for every row; these keep them in registers.
"""

from __future__ import annotations

import llvmlite.ir
import numba
import numpy as np

from snnir.backends.simulator.kernels.numba_compat import (
    allocate_once,
    array_pointer,
    element_type,
    for_range,
    has_feature,
    intrinsic,
    part,
)

__all__ = ["add_rows", "add_scaled_rows", "gather_links", "spread", "store_sums", "trailing_zeros", "vector_at"]

_BLOCKS = (8, 4, 2)
"""Vectors of sums that are kept in registers while rows are added to them: as many as fit the sums that are left, the first of
these for rows that are not multiplied only, which need fewer registers beside.
"""

_LONG, _INT, _SHORT = llvmlite.ir.IntType(64), llvmlite.ir.IntType(32), llvmlite.ir.IntType(16)

_PAIRS = has_feature("avx2")
"""Whether there is an instruction that adds the products of pairs of 16 bits."""


def spread(builder, value, lanes):
    """A vector of which all lanes are `value`."""
    nothing = llvmlite.ir.Constant(llvmlite.ir.VectorType(value.type, lanes), None)
    one = builder.insert_element(nothing, value, _INT(0))
    return builder.shuffle_vector(one, one, llvmlite.ir.Constant(llvmlite.ir.VectorType(_INT, lanes), None))


def vector_at(builder, array, place, kind):
    """Where the vector begins that starts at an entry of an array."""
    return builder.bitcast(builder.gep(array, [place]), kind.as_pointer())


def store_sums(builder, into, neuron, sums, bits, index, gain):
    """Add a vector of sums, shifted by `bits` and, where there are gains, by those of its neurons, to those from `neuron` on.

    `gain` is where the neurons' gains begin in `index`, less than 0 where there are none.
    """
    kind, lanes = sums.type, sums.type.count
    shifted = allocate_once(builder, kind)
    builder.store(builder.shl(sums, spread(builder, bits, lanes)), shifted)
    with builder.if_then(builder.icmp_signed(">=", gain, _LONG(0))):
        read = vector_at(builder, index, builder.add(gain, neuron), llvmlite.ir.VectorType(_INT, lanes))
        further = builder.load(read, align=4)
        further = further if kind == further.type else builder.sext(further, kind)
        builder.store(builder.shl(builder.load(shifted), further), shifted)
    at = vector_at(builder, into, neuron, kind)
    builder.store(builder.add(builder.load(at, align=1), builder.load(shifted)), at, align=1)


def _for_blocks(builder, size, lanes, blocks, add):
    """Call `add(j, vectors, mask)` for `size` sums in blocks of vectors; the mask of the last one says which lanes there are."""
    behind = _LONG(0)
    for vectors in blocks:  # rows are looked up once for each block
        start, behind = behind, builder.and_(size, _LONG(-lanes * vectors))
        with for_range(builder, start, behind, _LONG(lanes * vectors)) as (j, _):
            add(j, vectors, None)
    with for_range(builder, behind, size, _LONG(lanes)) as (j, _):
        lane = llvmlite.ir.Constant(llvmlite.ir.VectorType(_SHORT, lanes), list(range(lanes)))
        left = builder.trunc(builder.sub(size, j), _SHORT)
        add(j, 1, builder.icmp_signed("<", lane, spread(builder, left, lanes)))


@intrinsic
def _add_vectors(context, sums, first, weights, base, rows, begin, plus, minus, end, factors, stride, size, shift, index, gains):
    """Add rows of weights to `size` sums from `first` on, in vectors: registers hold the sums over all rows, which are shifted
    by `shift` bits and, where `gains` is no -1, by index[gains + j] for sum j.

    Row r of `weights` begins at base + r * stride. Added are rows[begin:plus]; then, where `factors` is None, rows[minus:end] are
    subtracted; else row k is first multiplied by factors[k]. Without factors, int8 rows are summed up in 16 bits: at most
    `ROWS` of them. Up to a vector behind the last weight is read, and written unchanged behind the last sum.
    `sums`, `weights`, `rows`, `factors` and `index` are pointers.
    """
    scaled, narrow = not isinstance(factors, numba.types.NoneType), weights.dtype.bitwidth == 8
    lanes = 16 if narrow and not scaled else 8

    def generate(context, builder, signature, arguments):
        into, first, table, base, listed, begin, plus, minus, end, given, stride, size, shift, index, gains = arguments
        element, total = element_type(context, weights), element_type(context, sums)
        table = builder.gep(table, [base])
        word = llvmlite.ir.VectorType(llvmlite.ir.IntType(16) if lanes == 16 else total, lanes)
        nothing, whole = llvmlite.ir.Constant(word, None), llvmlite.ir.VectorType(total, lanes)
        bits = shift if total == _LONG else builder.trunc(shift, total)

        def widened(value, kind):
            return value if value.type == kind else builder.sext(value, kind)

        def add_listed(registers, j, start, stop, change):
            with for_range(builder, start, stop, _LONG(1)) as (k, _):
                row = builder.mul(builder.sext(builder.load(builder.gep(listed, [k])), _LONG), stride)
                factor = spread(builder, builder.load(builder.gep(given, [k])), lanes) if scaled else None
                for place, register in enumerate(registers):
                    at = builder.add(row, builder.add(j, _LONG(lanes * place)))
                    read = vector_at(builder, table, at, llvmlite.ir.VectorType(element, lanes))
                    weight = widened(builder.load(read, align=1), word)
                    weight = weight if factor is None else builder.mul(weight, factor)
                    builder.store(change(builder.load(register), weight), register)

        def add(j, vectors, mask):
            registers = [allocate_once(builder, word) for _ in range(vectors)]
            for register in registers:
                builder.store(nothing, register)
            add_listed(registers, j, begin, plus, builder.add)
            if not scaled:
                add_listed(registers, j, minus, end, builder.sub)
            for place, register in enumerate(registers):
                found = builder.load(register)
                found = found if mask is None else builder.select(mask, found, nothing)
                neuron = builder.add(first, builder.add(j, _LONG(lanes * place)))
                store_sums(builder, into, neuron, widened(found, whole), bits, index, gains)

        _for_blocks(builder, size, lanes, _BLOCKS[scaled:], add)
        return context.get_dummy_value()

    given = sums, first, weights, base, rows, begin, plus, minus, end, factors, stride, size, shift, index, gains
    return numba.types.void(*given), generate


@part
def add_rows(sums, first, weights, base, rows, begin, plus, minus, end, stride, size, shift, index, gains):
    """Add rows[begin:plus] and subtract rows[minus:end]: at most `ROWS` in all; their sums are shifted."""
    _add_vectors(sums, first, weights, base, rows, begin, plus, minus, end, None, stride, size, shift, index, gains)


@intrinsic
def _add_pairs(context, sums, first, weights, base, rows, factors, count, stride, size, shift, index, gains):
    """As `_add_vectors`, rows[:count] times factors of 16 bits, two at a time: `count` is even. For sums of 32 bits."""
    lanes = 16

    def generate(context, builder, signature, arguments):
        if not _paired(sums, weights):
            return context.get_dummy_value()
        into, first, table, base, listed, given, count, stride, size, shift, index, gains = arguments
        element = element_type(context, weights)
        table = builder.gep(table, [base])
        halves, pairs = llvmlite.ir.VectorType(_INT, 8), llvmlite.ir.VectorType(_SHORT, lanes)
        nothing = llvmlite.ir.Constant(halves, None)
        multiply = builder.module.declare_intrinsic(
            "llvm.x86.avx2.pmadd.wd", (), llvmlite.ir.FunctionType(halves, [pairs, pairs])
        )
        bits = builder.trunc(shift, _INT)

        def shuffled(one, other, places):
            return builder.shuffle_vector(one, other, llvmlite.ir.Constant(llvmlite.ir.VectorType(_INT, len(places)), places))

        def weights_of(row, at):
            read = builder.load(vector_at(builder, table, builder.add(row, at), llvmlite.ir.VectorType(element, lanes)), align=1)
            return read if element == _SHORT else builder.sext(read, pairs)

        def add(j, vectors, mask):
            registers = [allocate_once(builder, halves) for _ in range(2 * vectors)]
            for register in registers:
                builder.store(nothing, register)
            with for_range(builder, _LONG(0), count, _LONG(2)) as (k, _):
                places = k, builder.add(k, _LONG(1))
                one, other = (
                    builder.mul(builder.sext(builder.load(builder.gep(listed, [place])), _LONG), stride) for place in places
                )
                low, high = (builder.load(builder.gep(given, [place])) for place in places)
                both = builder.or_(builder.and_(low, _INT(0xFFFF)), builder.shl(high, _INT(16)))
                factor = builder.bitcast(spread(builder, both, 8), pairs)
                for place in range(vectors):
                    at = builder.add(j, _LONG(lanes * place))
                    mine, theirs = weights_of(one, at), weights_of(other, at)
                    for side, order in enumerate((_LOWER, _UPPER)):
                        register = registers[2 * place + side]
                        product = builder.call(multiply, [shuffled(mine, theirs, order), factor])
                        builder.store(builder.add(builder.load(register), product), register)
            for place in range(vectors):
                lower, upper = (builder.load(registers[2 * place + side]) for side in range(2))
                found = shuffled(lower, upper, _ORDER)
                found = found if mask is None else builder.select(mask, found, llvmlite.ir.Constant(found.type, None))
                neuron = builder.add(first, builder.add(j, _LONG(lanes * place)))
                store_sums(builder, into, neuron, found, bits, index, gains)

        _for_blocks(builder, size, lanes, _BLOCKS[1:], add)
        return context.get_dummy_value()

    given = sums, first, weights, base, rows, factors, count, stride, size, shift, index, gains
    return numba.types.void(*given), generate


_LOWER = [place + 16 * side for half in (0, 8) for place in range(half, half + 4) for side in range(2)]
_UPPER = [place + 4 for place in _LOWER]
"""What of two vectors of 16 stands side by side in pairs: four lanes of each half, which is one instruction."""

_ORDER = [*range(4), *range(8, 12), *range(4, 8), *range(12, 16)]
"""The lanes of both sums of pairs, in the order of the neurons."""


def _paired(sums, weights) -> bool:
    return _PAIRS and sums.dtype.bitwidth == 32 and weights.dtype.bitwidth <= 16


@intrinsic
def _has_pairs(context, sums, weights):
    """Whether `_add_pairs` is there for sums and weights of these types; known while compiling."""

    def generate(context, builder, signature, arguments):
        return llvmlite.ir.Constant(llvmlite.ir.IntType(1), int(_paired(sums, weights)))

    return numba.types.boolean(sums, weights), generate


@part
def _are_short(factors, count):
    """Whether factors fit in 16 bits."""
    wide = np.int64(0)
    for k in range(count):
        wide |= np.int64(factors[k]) + 0x8000
    return wide >> 16 == 0


@part
def add_scaled_rows(sums, first, weights, base, rows, factors, count, stride, size, shift, index, gains):
    """Add rows[:count] times their factors, shifted. Both have room for one more, which is overwritten."""
    if _has_pairs(sums, weights) and _are_short(factors, count):
        even = count
        if count & 1:
            rows[count], factors[count], even = rows[count - 1], 0, count + 1
        _add_pairs(sums, first, weights, base, rows, factors, even, stride, size, shift, index, gains)
    else:
        none = np.int64(0)
        _add_vectors(sums, first, weights, base, rows, none, count, count, count, factors, stride, size, shift, index, gains)


@intrinsic
def trailing_zeros(context, number):
    """The number of bits (int64) below the lowest one that is set."""

    def generate(context, builder, signature, arguments):
        wide = context.cast(builder, arguments[0], number, numba.types.int64)
        return builder.cttz(wide, llvmlite.ir.Constant(llvmlite.ir.IntType(1), 1))

    return numba.types.int64(number), generate


@intrinsic
def gather_links(context, rows, channels, filled, index, begin, end, width):
    """Gather what one output place reads: for each pair (position, shift) of index[begin:end] the `filled` first entries of
    the position's `width` channels, each with the shift added, one behind the other into `rows`. Returns their number.

    Eight entries are copied at once, those behind the last to be overwritten: no branch depends on how many there are.
    """

    def generate(context, builder, signature, arguments):
        wide = llvmlite.ir.VectorType(_INT, 8)
        arrays = [array_pointer(context, builder, signature.args[k], arguments[k]) for k in range(4)]
        into, listed, number, pairs = arrays
        begin, end, width = arguments[4:]
        count = allocate_once(builder, _LONG)
        builder.store(_LONG(0), count)
        with for_range(builder, begin, end, _LONG(2)) as (r, _):
            position = builder.sext(builder.load(builder.gep(pairs, [r])), _LONG)
            shift = spread(builder, builder.load(builder.gep(pairs, [builder.add(r, _LONG(1))])), 8)
            there = builder.sext(builder.load(builder.gep(number, [position])), _LONG)
            first, before = builder.mul(position, width), builder.load(count)

            def move(k, first=first, before=before, shift=shift):
                read = builder.load(vector_at(builder, listed, builder.add(first, k), wide), align=4)
                builder.store(builder.add(read, shift), vector_at(builder, into, builder.add(before, k), wide), align=4)

            move(_LONG(0))
            with for_range(builder, _LONG(8), there, _LONG(8)) as (k, _):
                move(k)
            builder.store(builder.add(before, there), count)
        return builder.load(count)

    return numba.types.int64(rows, channels, filled, index, begin, end, width), generate
