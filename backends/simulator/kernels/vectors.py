"""Sums of rows of weights, and lists of what an output place reads, as vectors in LLVM.

A compiler that vectorises loops by itself reads and writes all sums for every row; these keep them in registers.
"""

from __future__ import annotations

import llvmlite.ir
import numba
import numpy as np

from snnir.backends.simulator.kernels.numba_compat import allocate_once, array_pointer, element_type, for_range, intrinsic, part

__all__ = ["add_rows", "add_scaled_rows", "gather_links", "spread", "trailing_zeros", "vector_at"]

_BLOCKS = (8, 4, 2)
"""Vectors of sums that are kept in registers while rows are added to them: as many as fit the sums that are left, the first of
these for rows that are not multiplied only, which need fewer registers beside.
"""

_LONG, _INT = llvmlite.ir.IntType(64), llvmlite.ir.IntType(32)


def spread(builder, value, lanes):
    """A vector of which all lanes are `value`."""
    nothing = llvmlite.ir.Constant(llvmlite.ir.VectorType(value.type, lanes), None)
    one = builder.insert_element(nothing, value, _INT(0))
    return builder.shuffle_vector(one, one, llvmlite.ir.Constant(llvmlite.ir.VectorType(_INT, lanes), None))


def vector_at(builder, array, place, kind):
    """Where the vector begins that starts at an entry of an array."""
    return builder.bitcast(builder.gep(array, [place]), kind.as_pointer())


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
        gained = builder.icmp_signed(">=", gains, _LONG(0))

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
            registers, shifted = [allocate_once(builder, word) for _ in range(vectors)], allocate_once(builder, whole)
            for register in registers:
                builder.store(nothing, register)
            add_listed(registers, j, begin, plus, builder.add)
            if not scaled:
                add_listed(registers, j, minus, end, builder.sub)
            for place, register in enumerate(registers):
                found = builder.load(register)
                found = found if mask is None else builder.select(mask, found, nothing)
                neuron = builder.add(first, builder.add(j, _LONG(lanes * place)))
                builder.store(builder.shl(widened(found, whole), spread(builder, bits, lanes)), shifted)
                with builder.if_then(gained):
                    gain = vector_at(builder, index, builder.add(gains, neuron), llvmlite.ir.VectorType(_INT, lanes))
                    further = widened(builder.load(gain, align=4), whole)
                    builder.store(builder.shl(builder.load(shifted), further), shifted)
                at = vector_at(builder, into, neuron, whole)
                builder.store(builder.add(builder.load(at, align=1), builder.load(shifted)), at, align=1)

        behind = _LONG(0)
        for vectors in _BLOCKS[scaled:]:  # rows are looked up once for each block
            start, behind = behind, builder.and_(size, _LONG(-lanes * vectors))
            with for_range(builder, start, behind, _LONG(lanes * vectors)) as (j, _):
                add(j, vectors, None)
        with for_range(builder, behind, size, _LONG(lanes)) as (j, _):
            lane = llvmlite.ir.Constant(llvmlite.ir.VectorType(llvmlite.ir.IntType(16), lanes), list(range(lanes)))
            left = builder.trunc(builder.sub(size, j), llvmlite.ir.IntType(16))
            add(j, 1, builder.icmp_signed("<", lane, spread(builder, left, lanes)))
        return context.get_dummy_value()

    given = sums, first, weights, base, rows, begin, plus, minus, end, factors, stride, size, shift, index, gains
    return numba.types.void(*given), generate


@part
def add_rows(sums, first, weights, base, rows, begin, plus, minus, end, stride, size, shift, index, gains):
    """Add rows[begin:plus] and subtract rows[minus:end]: at most `ROWS` in all; their sums are shifted."""
    _add_vectors(sums, first, weights, base, rows, begin, plus, minus, end, None, stride, size, shift, index, gains)


@part
def add_scaled_rows(sums, first, weights, base, rows, factors, count, stride, size, shift, index, gains):
    """Add rows[:count] times their factors, shifted."""
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
