"""The compiled kernels: plain functions on arrays, all in this one file.

They stay together because Numba's file cache notices changes of the file that holds a kernel, not of the files that
it calls into. None of them holds the interpreter lock.

An event is an address and a number `2 * value + charged`: the lowest bit marks events that cost a multiplication
(graded values and everything an encoder charges), which synaptic operations are counted by. A train, what one value
emits in one window of one sample, is a slice of `offsets`: its events of step t are those from offsets[at + t] to
offsets[at + t + 1]. Trains stand one behind the other in a store that grows (`trains`: where its offsets, addresses and
numbers are, and how many fit); `cursors` says where the next one begins, and `at[slot]`, `length[slot]` where the last
train of a value begins and how many steps it has.

`tables.py` says what the tables of a program hold, `program.py` how a plan becomes one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import llvmlite.ir
import numba
import numpy as np

from snnir.backends.simulator.compiled import compiled

__all__ = ["Job", "begin", "finish", "release"]

DENSE, SCATTERED, COLLECTED, CSR = range(4)
"""Kinds of segments; steps with many events of collected ones are computed from the side of the outputs."""

_DENSITY = 16
"""So many links (output positions times taps) are looked through in the time of delivering one event alone."""

ENCODE, GATHER, POPULATE, COMBINE, SCAN = range(5)
"""Kinds of instructions."""

RELAY, REPLAY, GRADED = range(3)
"""How a state reaches the next window."""

STEPS, SPIKES, SYNOPS, CHARGES, SUMS, SETTLES, COUNTS = range(7)
"""Parts of what a run writes of each sample: `Program.results` says where they begin."""

RECORDED, KEEPS_HISTORY = 1, 2
"""Flags of an emitter: whether its events are recorded, and the sums after each step."""

OFFSETS, EVENTS, RECORDS, HISTORY, UNSETTLED, UNDELIVERED, WRONG, TICK, DELIVERING, FIRING, SETTLING, ALL = range(12)
"""What `cursors` counts: entries of growing arrays, neurons and spikes that a cap cut off, NaN and infinities that were to be
rounded, the steps of combinations, and processor cycles.

Cycles are counted where a run asks for them: delivering currents, comparing neurons and writing their spikes while input
comes, the same after the last input, and all of a call.
"""


def _part(kernel: Callable[..., Any]) -> Any:
    """Compile a part of `_work`, which makes all arrays: parts count no references to them.

    Each count would be a locked operation, on memory that all threads share, and a call that is given all tables
    would make dozens of them. What grows is no array of NumPy's therefore, but memory of the C library: see `_grows`.
    """
    return compiled(kernel, _nrt=False)


def _bare(context, builder, kind, value):
    """A value of arrays, alone or in tuples, that counts no references to them."""
    if isinstance(kind, numba.types.Array):
        array = context.make_array(kind)(context, builder, value)
        array.meminfo, array.parent = (llvmlite.ir.Constant(pointer.type, None) for pointer in (array.meminfo, array.parent))
        return array._getvalue()
    if isinstance(kind, numba.types.BaseTuple):
        parts: Any = kind
        for k, part in enumerate(parts):
            value = builder.insert_value(value, _bare(context, builder, part, builder.extract_value(value, k)), k)
    return value


class _Held(numba.types.Type):
    """A named tuple in memory: a call is given one word, where the tuple itself has some for every array in it.

    Its fields are read where they stand; those that are named tuples are held too.
    """

    def __init__(self, kind: Any) -> None:
        self.kind = kind
        super().__init__(name=f"held({kind})")


@numba.extending.register_model(_Held)
class _HeldModel(numba.extending.models.PrimitiveModel):
    def __init__(self, manager: Any, held: Any) -> None:
        super().__init__(manager, held, manager.lookup(held.kind).get_value_type().as_pointer())


@numba.core.typing.templates.infer_getattr
class _HeldFields(numba.core.typing.templates.AttributeTemplate):
    key = _Held

    def generic_resolve(self, held: Any, field: str) -> Any:  # type: ignore[override]
        if field not in held.kind.fields:
            return None
        kind = held.kind[held.kind.fields.index(field)]
        return _Held(kind) if isinstance(kind, numba.types.BaseNamedTuple) else kind


@numba.core.imputils.lower_getattr_generic(_Held)
def _field(context, builder, held, value, field):
    number = held.kind.fields.index(field)
    place = builder.gep(value, [llvmlite.ir.IntType(32)(k) for k in (0, number)])
    return place if isinstance(held.kind[number], numba.types.BaseNamedTuple) else builder.load(place)


def _holding(context, value):
    """Hold a named tuple as long as the calling function runs. It counts no references: `_keep` its arrays till the end."""

    def generate(context, builder, signature, arguments):
        place = numba.core.cgutils.alloca_once(builder, context.get_value_type(value))
        builder.store(_bare(context, builder, value, arguments[0]), place)
        return place

    return _Held(value)(value), generate


def _keeping(context, value):
    """Nothing, but a use of a value: what it refers to is there till then."""

    def generate(context, builder, signature, arguments):
        return context.get_dummy_value()

    return numba.types.void(value), generate


_hold: Any = numba.extending.intrinsic(_holding)
_keep: Any = numba.extending.intrinsic(_keeping)


def _within(kernel: Callable[..., Any]) -> Any:
    """A function that becomes part of its callers: what is compiled on its own is optimised again in each of them."""
    return numba.njit(inline="always")(kernel)


_TOGETHER = 255
"""The most rows of int8 that are added together: their sums fit 16 bits."""

_SPARE = 16
"""Entries behind the last sum, and behind the last weight: a vector may reach beyond what is asked for."""

_ABREAST = 4
"""Vectors of sums that are kept in registers while rows are added to them."""


def _data(context, array):
    """Where the entries of an array begin: one word to pass, where an array takes seven."""

    def generate(context, builder, signature, arguments):
        return context.make_array(signature.args[0])(context, builder, arguments[0]).data

    return numba.types.CPointer(array.dtype)(array), generate


_pointer: Any = numba.extending.intrinsic(_data)


def _vectors(context, sums, first, weights, base, rows, begin, plus, minus, end, values, stride, size):
    """Add rows of weights to `size` sums from `first` on, in vectors: registers hold the sums over all rows.

    Row r of `weights` begins at base + r * stride. Added are rows[begin:plus]; then, where `values` is None, rows[minus:end] are
    subtracted; else row k is first multiplied by values[k]. Without values, int8 rows are summed up in 16 bits: at most
    `_TOGETHER` of them. Up to a vector behind the last weight is read, and written unchanged behind the last sum.
    `sums`, `weights`, `rows` and `values` are pointers.
    """
    scaled, narrow = not isinstance(values, numba.types.NoneType), weights.dtype.bitwidth == 8
    lanes = 16 if narrow and not scaled else 8

    def generate(context, builder, signature, arguments):
        into, first, table, base, listed, begin, plus, minus, end, factors, stride, size = arguments
        integer, element, total = llvmlite.ir.IntType(64), table.type.pointee, into.type.pointee
        table = builder.gep(table, [base])
        word = llvmlite.ir.VectorType(llvmlite.ir.IntType(16) if lanes == 16 else total, lanes)
        nothing, whole = llvmlite.ir.Constant(word, None), llvmlite.ir.VectorType(total, lanes)

        def number(value):
            return llvmlite.ir.Constant(integer, value)

        def spread(value):
            alone = llvmlite.ir.VectorType(value.type, lanes)
            one = builder.insert_element(llvmlite.ir.Constant(alone, llvmlite.ir.Undefined), value, number(0))
            places = llvmlite.ir.Constant(llvmlite.ir.VectorType(llvmlite.ir.IntType(32), lanes), [0] * lanes)
            return builder.shuffle_vector(one, one, places)

        def vector(array, at, entry):
            return builder.bitcast(builder.gep(array, [at]), llvmlite.ir.VectorType(entry, lanes).as_pointer())

        def widened(value, kind):
            return value if value.type == kind else builder.sext(value, kind)

        def add(j, vectors, mask):
            held = [numba.core.cgutils.alloca_once(builder, word) for _ in range(vectors)]
            for register in held:
                builder.store(nothing, register)
            for start, stop, change in ((begin, plus, builder.add), (minus, end, builder.sub)):
                if scaled and change == builder.sub:
                    continue
                with numba.core.cgutils.for_range_slice(builder, start, stop, number(1), integer) as (k, _):
                    row = builder.mul(builder.sext(builder.load(builder.gep(listed, [k])), integer), stride)
                    factor = spread(builder.load(builder.gep(factors, [k]))) if scaled else None
                    for place, register in enumerate(held):
                        at = builder.add(row, builder.add(j, number(lanes * place)))
                        taken = widened(builder.load(vector(table, at, element), align=1), word)
                        taken = taken if factor is None else builder.mul(taken, factor)
                        builder.store(change(builder.load(register), taken), register)
            for place, register in enumerate(held):
                taken = builder.load(register)
                taken = taken if mask is None else builder.select(mask, taken, nothing)
                at = vector(into, builder.add(first, builder.add(j, number(lanes * place))), total)
                builder.store(builder.add(builder.load(at, align=1), widened(taken, whole)), at, align=1)

        together = number(lanes * _ABREAST)
        most = builder.and_(size, number(-lanes * _ABREAST))
        with numba.core.cgutils.for_range_slice(builder, number(0), most, together, integer) as (j, _):
            add(j, _ABREAST, None)
        with numba.core.cgutils.for_range_slice(builder, most, size, number(lanes), integer) as (j, _):
            lane = llvmlite.ir.Constant(llvmlite.ir.VectorType(llvmlite.ir.IntType(16), lanes), list(range(lanes)))
            left = builder.sub(size, j)
            add(j, 1, builder.icmp_signed("<", lane, spread(builder.trunc(left, llvmlite.ir.IntType(16)))))
        return context.get_dummy_value()

    return numba.types.void(sums, first, weights, base, rows, begin, plus, minus, end, values, stride, size), generate


_add_vectors: Any = numba.extending.intrinsic(_vectors)


def _links(context, rows, channels, filled, index, begin, end, width):
    """Gather what one output place reads: for each pair (position, shift) of index[begin:end] the `filled` first entries of
    the position's `width` channels, each with the shift added, one behind the other into `rows`. Returns their number.

    Eight entries are copied at once, those behind the last to be overwritten: no branch depends on how many there are.
    """

    def generate(context, builder, signature, arguments):
        integer, short = llvmlite.ir.IntType(64), llvmlite.ir.IntType(32)
        wide = llvmlite.ir.VectorType(short, 8)
        zeros = llvmlite.ir.Constant(wide, None)
        into, held, number, pairs = (context.make_array(signature.args[k])(context, builder, arguments[k]).data for k in range(4))
        begin, end, width = arguments[4:]

        def of(value):
            return llvmlite.ir.Constant(integer, value)

        def eight(array, at):
            return builder.bitcast(builder.gep(array, [at]), wide.as_pointer())

        count = numba.core.cgutils.alloca_once_value(builder, of(0))
        builder.store(of(0), count)
        with numba.core.cgutils.for_range_slice(builder, begin, end, of(2), integer) as (r, _):
            position = builder.sext(builder.load(builder.gep(pairs, [r])), integer)
            shift = builder.load(builder.gep(pairs, [builder.add(r, of(1))]))
            one = builder.insert_element(zeros, shift, llvmlite.ir.Constant(short, 0))
            moved = builder.shuffle_vector(one, zeros, zeros)
            there = builder.sext(builder.load(builder.gep(number, [position])), integer)
            first, before = builder.mul(position, width), builder.load(count)
            builder.store(builder.add(builder.load(eight(held, first), align=4), moved), eight(into, before), align=4)
            with numba.core.cgutils.for_range_slice(builder, of(8), there, of(8), integer) as (k, _):
                taken = builder.load(eight(held, builder.add(first, k)), align=4)
                builder.store(builder.add(taken, moved), eight(into, builder.add(before, k)), align=4)
            builder.store(builder.add(before, there), count)
        return builder.load(count)

    return numba.types.int64(rows, channels, filled, index, begin, end, width), generate


_gather_links: Any = numba.extending.intrinsic(_links)


def _firing(context, membranes, state, theta, lo, hi, size, neurons, signs, places):
    """One step of neurons with uniform thresholds, eight at a time and without a branch: those at theta or above go up a
    level, those below 0 go down one, within lo..hi. Their membranes lose that many thetas, `signs` receives the spikes of
    all, `neurons` the numbers of those that fired. Returns how many did.

    `places[mask]` are the numbers of the bits of an eight-bit mask, the lowest first. Arrays have room for whole eights.
    """

    def generate(context, builder, signature, arguments):
        integer, short = llvmlite.ir.IntType(64), llvmlite.ir.IntType(32)
        total = context.get_value_type(membranes.dtype)
        wide = llvmlite.ir.VectorType(total, 8)
        numbers, zeros = llvmlite.ir.VectorType(short, 8), llvmlite.ir.Constant(wide, None)
        held, levels, steps, fired, spikes, table = (
            context.make_array(signature.args[k])(context, builder, arguments[k]).data for k in (0, 1, 2, 6, 7, 8)
        )
        low, high, count = arguments[3:6]

        def of(value):
            return llvmlite.ir.Constant(integer, value)

        def spread(value):
            one = builder.insert_element(
                llvmlite.ir.Constant(llvmlite.ir.VectorType(value.type, 8), None), value, llvmlite.ir.Constant(short, 0)
            )
            return builder.shuffle_vector(one, one, llvmlite.ir.Constant(numbers, None))

        def eight(array, at, kind):
            return builder.bitcast(builder.gep(array, [at]), kind.as_pointer())

        ever = numba.core.cgutils.alloca_once_value(builder, of(0))
        builder.store(of(0), ever)
        lane = llvmlite.ir.Constant(numbers, list(range(8)))
        with numba.core.cgutils.for_range_slice(builder, of(0), count, of(8), integer) as (j, _):
            places = tuple(eight(array, j, wide) for array in (held, levels, steps))
            membrane, level, step = (builder.load(place, align=4) for place in places)
            there = builder.icmp_signed("<", lane, spread(builder.trunc(builder.sub(count, j), short)))
            up = builder.and_(builder.icmp_signed(">=", membrane, step), builder.icmp_signed("<", level, spread(high)))
            down = builder.and_(builder.icmp_signed("<", membrane, zeros), builder.icmp_signed(">", level, spread(low)))
            up, down = builder.and_(up, there), builder.and_(down, there)
            sign = builder.sub(builder.sext(down, wide), builder.sext(up, wide))
            builder.store(builder.add(level, sign), places[1], align=4)
            lost = builder.sub(builder.select(up, step, zeros), builder.select(down, step, zeros))
            builder.store(builder.sub(membrane, lost), places[0], align=4)
            spike = sign if sign.type == numbers else builder.trunc(sign, numbers)
            builder.store(spike, eight(spikes, j, numbers), align=4)
            mask = builder.zext(builder.bitcast(builder.or_(up, down), llvmlite.ir.IntType(8)), integer)
            found = builder.load(
                eight(table, builder.mul(mask, of(8)), llvmlite.ir.VectorType(llvmlite.ir.IntType(8), 8)), align=1
            )
            before = builder.load(ever)
            number = builder.add(builder.zext(found, numbers), spread(builder.trunc(j, short)))
            builder.store(number, eight(fired, before, numbers), align=4)
            builder.store(builder.add(before, builder.ctpop(mask)), ever)
        return builder.load(ever)

    return numba.types.int64(membranes, state, theta, lo, hi, size, neurons, signs, places), generate


_fire_eights: Any = numba.extending.intrinsic(_firing)

_PLACES = np.array([[*[k for k in range(8) if mask >> k & 1], *[0] * 8][:8] for mask in range(256)], np.uint8).reshape(-1)


@_part
def _add_rows(sums, first, weights, base, rows, begin, plus, minus, end, stride, size):
    """Add rows[begin:plus] and subtract rows[minus:end]: at most `_TOGETHER` in all."""
    _add_vectors(sums, first, weights, base, rows, begin, plus, minus, end, None, stride, size)


@_part
def _add_scaled(sums, first, weights, base, rows, values, count, stride, size):
    """Add rows[:count] times their values."""
    _add_vectors(sums, first, weights, base, rows, np.int64(0), count, count, count, values, stride, size)


@_part
def _dense(sums, begin, end, address, event, segment, weights, paths):
    """Add the rows of events begin..end-1 to the sums of one sample, many at once: single spikes by sign, others by value.

    Returns how many events were charged.
    """
    inputs, size, rows, by, values = np.int32(segment.inputs), segment.outputs, paths.lists.rows, paths.lists.by, paths.values
    grouped, base, zero, half = segment.end - segment.begin != inputs, segment.weights, np.int64(0), np.int64(_TOGETHER)
    into, table, listed, multiplied, by_value = _pointer(sums), _pointer(weights), _pointer(rows), _pointer(by), _pointer(values)
    group, costly, one = zero, zero, np.uint64(1)
    while begin < end:
        stop, before = min(begin + half, end), np.int32(0)
        if grouped:
            group = np.int64(address[begin] // inputs)
            before = np.int32(group) * inputs
            last = begin + 1
            while last < stop and 0 <= address[last] - before < inputs:
                last += 1
            stop = last
        told, spikes = address[begin:stop], event[begin:stop]
        plus, minus, scaled = np.uint64(0), np.uint64(_TOGETHER), np.uint64(0)
        for k in range(told.size):  # each is listed three times and overwritten, unless it counts: no branch to guess
            row, value = told[k] - before, spikes[k] >> 1
            costly += spikes[k] & 1
            rows[plus] = rows[minus] = by[scaled] = row
            values[scaled] = value
            up, down = np.uint64(value == 1), np.uint64(value == -1)
            plus += up
            minus += down
            scaled += one - up - down
        more, less, others = np.int64(plus), np.int64(minus), np.int64(scaled)
        if more + less > half:
            _add_rows(into, group * size, table, base, listed, zero, more, half, less, size, size)
        if others:
            _add_scaled(into, group * size, table, base, multiplied, by_value, others, size, size)
        begin = stop
    return costly


@_part
def _scatter(sums, begin, end, address, event, segment, weights, paths):
    """Convolve events begin..end-1, each into the outputs that it reaches: those of one position together.

    Output positions that lie side by side take one run of weights. Returns the synapses used, and those of them by charged
    events.
    """
    rows, by, values, index = paths.lists.rows, paths.lists.by, paths.values, paths.indices
    zero, one, map_stride = np.int64(0), np.int64(1), segment.map_stride
    into, table, listed, multiplied, by_value = _pointer(sums), _pointer(weights), _pointer(rows), _pointer(by), _pointer(values)
    position, group, count, scaled, synops, charges = zero, zero, zero, zero, zero, zero
    at, here, first = zero, zero, zero
    for e in range(begin, end + 1):
        if e < end:
            at = segment.addresses + 3 * np.int64(address[e])
            here, first = np.int64(index[at + 1]), np.int64(index[at + 2])
        if e == end or here != position or first != group or count == _TOGETHER or scaled == _TOGETHER:
            for r in range(index[segment.runs + position], index[segment.runs + position + 1], 3):
                shift, target, size = segment.weights + index[r], group + index[r + 1], np.int64(index[r + 2])
                if map_stride != 1:
                    for k in range(count + scaled):
                        start = (rows[k] if k < count else by[k - count]) + shift
                        value = 1 if k < count else values[k - count]
                        for j in range(size):
                            sums[target + j * map_stride] += weights[start + j] * value
                    continue
                if count:
                    _add_rows(into, target, table, shift, listed, zero, count, count, count, one, size)
                if scaled:
                    _add_scaled(into, target, table, shift, multiplied, by_value, scaled, one, size)
            if e == end:
                break
            position, group, count, scaled = here, first, zero, zero
        spike = event[e] >> 1
        if spike == 1 or spike == -1:
            rows[count] = index[at] + (segment.negated if spike == -1 else zero)
            count += 1
        else:
            by[scaled], values[scaled] = index[at], spike
            scaled += 1
        used = index[segment.fans + here]
        synops += used
        charges += used * (event[e] & 1)
    return synops, charges


@_part
def _collect(sums, begin, end, address, event, segment, weights, paths):
    """As `_scatter`, from the side of the outputs: each adds the weights of all events that reach it to its maps at once.

    Events that are no single spikes are scattered.
    """
    filled, channels, rows, index = paths.lists.filled, paths.lists.channels, paths.lists.rows, paths.indices
    base, size, zero, one, most = segment.weights, segment.maps, np.int64(0), np.int64(1), np.int64(_TOGETHER)
    positions, width = np.uint32(segment.positions), segment.width
    into, table, listed = _pointer(sums), _pointer(weights), _pointer(rows)
    _clear(filled[: segment.positions])
    synops, charges, fans = np.int64(0), np.int64(0), index[segment.fans : segment.fans + segment.positions]
    negated, full, spread = np.int32(segment.negated), np.int32(width - 8), np.uint32(segment.spread)
    told, spikes = address[begin:end], event[begin:end]
    for k in range(told.size):
        value, local = spikes[k] >> 1, np.uint32(told[k])
        channel = local // positions
        position = np.uint64(local - channel * positions)
        place = filled[position]
        if (value == 1 or value == -1) and place < full:
            channels[position * np.uint64(width) + np.uint64(place)] = np.int32(channel * spread) + (negated & (value >> 1))
            filled[position] = place + 1
            if spikes[k] & 1:
                charges += fans[position]
        else:
            used, costly = _scatter(sums, begin + k, begin + k + 1, address, event, segment, weights, paths)
            synops += used
            charges += costly
    for p in range(fans.size):
        synops += np.int64(filled[p]) * fans[p]
    for q in range(segment.places):
        begin, end = np.int64(index[segment.reads + q]), np.int64(index[segment.reads + q + 1])
        count = _gather_links(rows, channels, filled, index, begin, end, width)
        for k in range(0, count, most):
            _add_rows(into, q * size, table, base, listed, k, min(k + most, count), zero, zero, one, size)
    return synops, charges


@_part
def _sparse(sums, begin, end, address, event, segment, weights, index):
    """Deliver events begin..end-1 over synapses listed one by one; returns as `_scatter`."""
    synops, charges = np.int64(0), np.int64(0)
    for e in range(begin, end):
        local, value = np.int64(address[e]), event[e] >> 1
        first, last = index[segment.pointers + local], index[segment.pointers + local + 1]
        for j in range(first, last):
            sums[index[segment.targets + j]] += weights[segment.weights + j] * value
        synops += last - first
        charges += (last - first) * (event[e] & 1)
    return synops, charges


@_part
def _through(sums, begin, end, address, event, segment, weights, paths):
    """Add the currents of events begin..end-1 through one segment to the sums. Returns the synapses used, and those of them
    by charged events.
    """
    if segment.kind == DENSE:
        costly = _dense(sums, begin, end, address, event, segment, weights, paths)
        return segment.outputs * (end - begin), segment.outputs * costly
    if segment.kind == CSR:
        return _sparse(sums, begin, end, address, event, segment, weights, paths.indices)
    if segment.kind == COLLECTED and _DENSITY * (end - begin) > segment.links:
        return _collect(sums, begin, end, address, event, segment, weights, paths)
    return _scatter(sums, begin, end, address, event, segment, weights, paths)


class _Paths(NamedTuple):
    """What the synapses of one population take: its weights, or in storage 1 the `others`, and where they are counted."""

    weights: np.ndarray
    others: np.ndarray
    storage: int
    indices: np.ndarray
    lists: Any
    values: np.ndarray
    synops: np.ndarray
    charges: np.ndarray


@_part
def _deliver(sums, begin, end, address, event, segment, paths, row):
    """`_through` one segment of a population; the synapses used are counted."""
    if paths.storage == 1:
        used, costly = _through(sums, begin, end, address, event, segment, paths.others, paths)
    else:
        used, costly = _through(sums, begin, end, address, event, segment, paths.weights, paths)
    paths.synops[row] += used
    paths.charges[row] += costly


@_part
def _between(steps, lo, hi, level, most):
    """The sum at which a staircase neuron leaves `level` upwards, and the one below which it leaves it downwards.

    `steps` are its thresholds, one between each two levels; what is returned can be compared with sums, which are at most
    `most` - 1 in magnitude.
    """
    up = steps[min(level, hi - 1) - lo]
    down = steps[max(level, lo + 1) - lo - 1]
    return min(max(up, -most), most), min(max(down, -most), most)


def _moved(context, address, size):
    """Memory of the C library at `address` (0: none yet), moved to where `size` bytes are; 0 where there is none."""

    def generate(context, builder, signature, arguments):
        byte, integer = llvmlite.ir.IntType(8).as_pointer(), llvmlite.ir.IntType(64)
        kind = llvmlite.ir.FunctionType(byte, (byte, integer))
        function = numba.core.cgutils.get_or_insert_function(builder.module, kind, "realloc")
        found = builder.call(function, (builder.inttoptr(arguments[0], byte), arguments[1]))
        return builder.ptrtoint(found, integer)

    return numba.types.int64(numba.types.int64, numba.types.int64), generate


def _given_back(context, address):
    """Give memory of `_moved` back."""

    def generate(context, builder, signature, arguments):
        byte = llvmlite.ir.IntType(8).as_pointer()
        kind = llvmlite.ir.FunctionType(llvmlite.ir.VoidType(), (byte,))
        function = numba.core.cgutils.get_or_insert_function(builder.module, kind, "free")
        builder.call(function, (builder.inttoptr(arguments[0], byte),))
        return context.get_dummy_value()

    return numba.types.void(numba.types.int64), generate


def _stored(context, store):
    """The arrays of a store of trains: offsets, addresses and numbers of the events."""
    kinds = (numba.types.int64, numba.types.int32, numba.types.int32)
    found = numba.types.Tuple([numba.types.Array(kind, 1, "C") for kind in kinds])

    def generate(context, builder, signature, arguments):
        integer = llvmlite.ir.IntType(64)
        held, arrays = context.make_array(store)(context, builder, arguments[0]).data, []
        for k, kind in enumerate(found):
            made, width = context.make_array(kind)(context, builder), integer(kind.dtype.bitwidth // 8)
            data, size = (builder.load(builder.gep(held, [integer(2 * k + j)])) for j in range(2))
            data = builder.inttoptr(data, made.data.type)
            numba.np.arrayobj.populate_array(made, data=data, shape=[size], strides=[width], itemsize=width, meminfo=None)
            arrays.append(made._getvalue())
        return context.make_tuple(builder, found, arrays)

    return found(store), generate


_reallocate: Any = numba.extending.intrinsic(_moved)
_free: Any = numba.extending.intrinsic(_given_back)
_views: Any = numba.extending.intrinsic(_stored)


@_part
def _enlarge(store, place, count, width):
    """Let the memory at store[place], of store[place + 1] entries of `width` bytes, hold at least `count`."""
    if count <= store[place + 1]:
        return False
    size = 2 * count
    moved = _reallocate(store[place], np.int64(size * width))
    if moved == 0:
        raise MemoryError("not enough memory for the events of this run; run fewer samples at once, or record less")
    store[place], store[place + 1] = moved, size
    return True


@_part
def _grows(trains, offsets, events):
    """Make room for that many offsets and events in all. Returns whether something moved: `_views` says where to."""
    moved = _enlarge(trains, 0, offsets, 8)
    if events > trains[3]:
        moved = _enlarge(trains, 2, events, 4)
        _enlarge(trains, 4, events, 4)
    return moved


@_part
def _clear(values):
    for i in range(values.size):
        values[i] = 0


@_part
def _start(values, given):
    for i in range(values.size):
        values[i] = given[i]


@_part
def _fire(membranes, state, theta, lo, hi, neurons, signs):
    """One step of neurons with uniform thresholds: see `_firing`. `lo` and `hi` are of the membranes' type."""
    return _fire_eights(membranes, state, theta, lo, hi, np.int64(membranes.size), neurons, signs, _PLACES)


@_part
def _fire_staircase(a, up, down, state, neurons, signs, table, width, parameter, lo, hi, most):
    """One step of staircase neurons, whose sums are compared with the thresholds beside their levels; as `_fire`."""
    count = 0
    for i in range(a.size):
        sign = np.int32((a[i] >= up[i]) & (state[i] < hi)) - np.int32((a[i] < down[i]) & (state[i] > lo))
        signs[i], neurons[count] = sign, i
        count += int(sign & 1)
    for k in range(count):
        i = neurons[k]
        state[i] += signs[i]
        up[i], down[i] = _between(table[parameter[i] * width : (parameter[i] + 1) * width], lo, hi, state[i], most)
    return count


@_part
def _emit(neurons, count, signs, layout, out_address, out_event, cursor):
    """Write the spikes of `count` neurons, for which there is room."""
    addresses, events = out_address[cursor : cursor + count], out_event[cursor : cursor + count]
    for k in range(count):
        i = np.uint32(neurons[k])
        addresses[k], events[k] = layout[i], 2 * signs[i]


@_part
def _fire_again(a, up, down, theta, state, neurons, count, signs, table, width, parameter, staircase, lo, hi, most):
    """One step of the `count` neurons that fired in the step before, where no other can fire; as `_fire`."""
    found, one = np.uint64(0), np.uint64(1)
    for k in range(count):
        i, sign = np.uint32(neurons[k]), np.int32(0)
        if staircase:
            sign = np.int32((a[i] >= up[i]) & (state[i] < hi)) - np.int32((a[i] < down[i]) & (state[i] > lo))
        else:
            sign = np.int32((a[i] >= theta[i]) & (state[i] < hi)) - np.int32((a[i] < 0) & (state[i] > lo))
            a[i] -= theta[i] * sign
        state[i] += sign
        if staircase and sign:
            up[i], down[i] = _between(table[parameter[i] * width : (parameter[i] + 1) * width], lo, hi, state[i], most)
        signs[i], neurons[found] = sign, i
        found += np.uint64(sign) & one
    return np.int64(found)


@_part
def _able(a, up, down, theta, state, staircase, lo, hi):
    """How many neurons would fire in the next step."""
    count = 0
    for i in range(a.size):
        above, below = (a[i] >= up[i], a[i] < down[i]) if staircase else (a[i] >= theta[i], a[i] < 0)
        count += (above and state[i] < hi) or (below and state[i] > lo)
    return count


def _cycle_counter(context):
    """The cycles that the processor's counter has counted."""

    def generate(context, builder, signature, arguments):
        counter = llvmlite.ir.FunctionType(llvmlite.ir.IntType(64), ())
        return builder.call(builder.module.declare_intrinsic("llvm.readcyclecounter", (), counter), ())

    return numba.types.int64(), generate


_cycles: Any = numba.extending.intrinsic(_cycle_counter)


@_part
def _take(values, log):
    """Fill `values` with the first entries of a log: a store of trains of which the offsets alone are used."""
    given, _, _ = _views(log)
    _start(values, given)


@_part
def _starts(first, theta, row, thresholds, parameter, bias):
    """What membranes start from, and their thresholds.

    The membrane of a neuron with uniform thresholds is its sum less what its level is worth, and half a theta more: so
    it fires at theta and below 0. Staircases and readouts have their sums as they are.
    """
    table = thresholds[row.thresholds :]
    for i in range(row.size):
        at = row.own + i
        step = 0 if row.staircase or row.lo == row.hi else table[parameter[row.neurons + i] * row.steps]
        theta[at] = step
        first[at] = bias[at] + step // 2


class _Neurons(NamedTuple):
    """Arrays over all neurons of one storage: their starts, and what they keep from window to window."""

    first: np.ndarray
    theta: np.ndarray
    kept: np.ndarray


class _Work(NamedTuple):
    """Room for the largest population of one storage."""

    sums: np.ndarray
    up: np.ndarray
    down: np.ndarray
    state: np.ndarray
    values: np.ndarray


class _Lists(NamedTuple):
    """In `rows` and `by` (those that are multiplied) rows of weights wait for being added; `channels` gathers the rows of
    each input position of a convolution, of which `filled` are there.
    """

    rows: np.ndarray
    by: np.ndarray
    filled: np.ndarray
    channels: np.ndarray


class _Scratch(NamedTuple):
    """What a train is told: as large as all states, or as the levels of all encoders."""

    told: np.ndarray
    charged: np.ndarray
    levels: np.ndarray


class _Room(NamedTuple):
    """Room that all storages share, for the largest population or combination.

    `neurons` are those that fired in a step, `signs` the spikes of all.
    """

    neurons: np.ndarray
    signs: np.ndarray
    inputs: np.ndarray
    values: np.ndarray
    stamps: np.ndarray
    touched: np.ndarray
    kept_levels: np.ndarray
    encoded: np.ndarray
    combined: np.ndarray
    states: np.ndarray
    borders: np.ndarray
    lists: _Lists
    scratch: _Scratch


class _Where(NamedTuple):
    """Which sample and window is being simulated: `sample` in the results, `k` of its windows, their column of `steps`.

    `keeps`: the body goes on in the next window; `resume`: it goes on from the window before.
    """

    sample: int
    k: int
    column: int
    keeps: bool
    resume: bool


@_part
def _noted(job, tools, where, emitter):
    """Enter the train that an emitter emitted in this window."""
    result, parts, logs, cursors = job.results[where.sample], job.program.results, tools.logs, tools.cursors
    offsets, address, event = _views(tools.trains)
    row, sample = job.program.emitters[emitter], where.sample
    at, length = tools.at[row.slot], tools.length[row.slot]
    if length > result[parts[STEPS] + where.column]:
        result[parts[STEPS] + where.column] = length
    first, last = offsets[at], offsets[at + length]
    if row.spikes:
        result[parts[SPIKES] + emitter] += last - first
    if row.counts >= 0 and result.size > parts[COUNTS]:
        begin = parts[COUNTS] + row.counts + where.k * row.size
        counts = result[begin:]
        if where.resume:
            for i in range(row.size):
                counts[i] = result[begin - row.size + i]
        for e in range(first, last):
            counts[address[e]] += event[e] >> 1
    if job.flags[emitter] & RECORDED:
        entry, width = cursors[RECORDS], 6
        _enlarge(logs, 0, entry + width * (last - first), 8)
        records, _, _ = _views(logs)
        for t in range(length):
            for e in range(offsets[at + t], offsets[at + t + 1]):
                records[entry], records[entry + 1], records[entry + 2] = emitter, sample, where.k
                records[entry + 3], records[entry + 4], records[entry + 5] = t, address[e], event[e] >> 1
                entry += width
        cursors[RECORDS] = entry


@_part
def _kept_history(logs, cursors, population, where, sums, state, theta, layout):
    """Append the sums after a step, in order of addresses, behind population, sample and window."""
    entry, n = cursors[HISTORY], sums.size
    _enlarge(logs, 6, entry + n + 3, 8)
    history, _, _ = _views(logs[6:])
    history[entry], history[entry + 1], history[entry + 2] = population, where.sample, where.k
    for i in range(n):
        history[entry + 3 + layout[i]] = sums[i] + np.int64(state[i]) * theta[i] - theta[i] // 2
    cursors[HISTORY] = entry + 3 + n


@_part
def _populate(job, tools, row, number, weights, others, neurons, work, where):
    """Run one population (or readout: levels 0..0) over one window of one sample, until it is silent.

    Once no input is left every neuron goes straight to its level, one a step.
    """
    program, cap, timed, result, parts = job.program, job.cap, job.timed, job.results[where.sample], job.program.results
    room, at, length, trains, logs, cursors = tools.room, tools.at, tools.length, tools.trains, tools.logs, tools.cursors
    keeps_history = job.flags[row.emitter] & KEEPS_HISTORY != 0
    offsets, address, event = _views(trains)
    n, lo, hi, staircase = row.size, row.lo, row.hi, row.staircase
    parameter = program.parameter[row.neurons : row.neurons + n]
    layout = program.layout[row.neurons : row.neurons + n]
    index = program.indices[row.index : row.index_end]
    table = program.thresholds[row.thresholds :]
    theta = neurons.theta[row.own : row.own + n]
    a, up, down, state = work.sums[:n], work.up[:n], work.down[:n], work.state[:n]
    synops, charges = result[parts[SYNOPS] :], result[parts[CHARGES] :]
    paths = _hold(_Paths(weights, others, row.storage, index, room.lists, work.values, synops, charges))
    most = np.iinfo(a.dtype).max
    low, high = a.dtype.type(lo), a.dtype.type(hi)
    if where.resume:
        _start(a, neurons.kept[row.own : row.own + n])
        _start(state, room.kept_levels[row.neurons : row.neurons + n])
    else:
        _start(a, neurons.first[row.own : row.own + n])
        _clear(state)
    if staircase:
        for i in range(n):
            up[i], down[i] = _between(table[parameter[i] * row.steps : (parameter[i] + 1) * row.steps], lo, hi, state[i], most)
    last = 0
    for s in range(row.first, row.last):
        slot = program.inputs[s]
        steps = min(length[slot], cap)
        while steps > last and offsets[at[slot] + steps - 1] == offsets[at[slot] + steps]:
            steps -= 1
        last = max(last, steps)
    base, cursor = cursors[OFFSETS], cursors[EVENTS]
    _grows(trains, base + min(last + hi - lo, cap) + 1, cursor)
    offsets, address, event = _views(trains)
    offsets[base] = cursor
    used = 0
    if hi == lo and not keeps_history:
        for s in range(row.first, row.last):
            slot, segment = program.inputs[s], program.segments[s]
            begin, end = offsets[at[slot]], offsets[at[slot] + min(length[slot], last)]
            _deliver(a, begin, end, address, event, segment, paths, s)
        last = 0
    fired, signs, active = room.neurons, room.signs, hi > lo
    since = _cycles() if timed else 0
    for t in range(last):
        for s in range(row.first, row.last):
            slot = program.inputs[s]
            if t < length[slot]:
                begin, end = offsets[at[slot] + t], offsets[at[slot] + t + 1]
                if begin < end:
                    _deliver(a, begin, end, address, event, program.segments[s], paths, s)
                    active = hi > lo
        if keeps_history:
            _kept_history(logs, cursors, number, where, a, state, theta, layout)
        if timed:
            now = _cycles()
            cursors[DELIVERING] += now - since
            since = now
        if t == last - 1:
            break
        if active:
            if staircase:
                count = _fire_staircase(a, up, down, state, fired, signs, table, row.steps, parameter, lo, hi, most)
            else:
                count = _fire(a, state, theta, low, high, fired, signs)
            active = count > 0
            if active:
                if _grows(trains, 0, cursor + count):
                    offsets, address, event = _views(trains)
                _emit(fired, count, signs, layout, address, event, cursor)
                cursor += count
                used = t + 1
        offsets[base + t + 1] = cursor
        if timed:
            now = _cycles()
            cursors[FIRING] += now - since
            since = now
    # All input is there: from its last step on every neuron goes straight to its level, one a step.
    if keeps_history and last == 0:
        _kept_history(logs, cursors, number, where, a, state, theta, layout)
    t = max(last - 1, 0)
    count = np.int64(0)
    if hi > lo and t < cap:
        if staircase:
            count = _fire_staircase(a, up, down, state, fired, signs, table, row.steps, parameter, lo, hi, most)
        else:
            count = _fire(a, state, theta, low, high, fired, signs)
    while count:
        if _grows(trains, 0, cursor + count):
            offsets, address, event = _views(trains)
        _emit(fired, count, signs, layout, address, event, cursor)
        cursor += count
        t += 1
        used = t
        offsets[base + t] = cursor
        if t >= cap:
            break
        count = _fire_again(a, up, down, theta, state, fired, count, signs, table, row.steps, parameter, staircase, lo, hi, most)
    if timed:
        cursors[SETTLING] += _cycles() - since
    if t >= cap and hi > lo:  # the steps were too few
        cursors[UNSETTLED] += _able(a, up, down, theta, state, staircase, lo, hi)
    if row.sums >= 0:
        settled = result[parts[SUMS] + row.sums + where.k * n :]
        for i in range(n):
            settled[layout[i]] = a[i]
    if where.keeps:
        _start(neurons.kept[row.own : row.own + n], a)
        _start(room.kept_levels[row.neurons : row.neurons + n], state)
    at[row.slot], length[row.slot] = base, used
    cursors[OFFSETS], cursors[EVENTS] = base + used + 1, cursor


@_part
def _combine(job, tools, row, where):
    """The change of the largest tracer of each window, or of the product of two tracers, step by step.

    Member 0.. of a window are its addresses (-1: none); the map at `pointers` says which windows hold an address.
    """
    room, at, length, trains, cursors = tools.room, tools.at, tools.length, tools.trains, tools.cursors
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
    members, maps = job.program.members[row.members : row.members_end], job.program.maps
    begin, inputs = at[row.input], length[row.input]
    base, cursor, used = cursors[OFFSETS], cursors[EVENTS], 0
    _grows(trains, base + inputs + 1, cursor)
    offsets, address, event = _views(trains)
    offsets[base] = cursor
    for t in range(inputs):
        found = 0
        cursors[TICK] += 1
        for e in range(offsets[begin + t], offsets[begin + t + 1]):
            a = address[e]
            state[a] += event[e] >> 1
            for k in range(maps[row.pointers + a], maps[row.pointers + a + 1]):
                window = maps[k]
                if stamps[window] != cursors[TICK]:
                    stamps[window] = cursors[TICK]
                    touched[found] = window
                    found += 1
        if _grows(trains, 0, cursor + found):
            offsets, address, event = _views(trains)
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


@_part
def _charge(levels, encoded, trains, cursors):
    """A train that gives `levels` at step 0; events of an encoder are all marked as charged. Its number of steps is 1."""
    base, cursor, n = cursors[OFFSETS], cursors[EVENTS], levels.size
    _grows(trains, base + 2, cursor + n)
    offsets, address, event = _views(trains)
    offsets[base] = cursor
    for i in range(n):
        level = levels[i]
        if level:
            address[cursor] = i
            event[cursor] = 2 * level + (encoded or abs(level) > 1)
            cursor += 1
    offsets[base + 1] = cursor
    cursors[OFFSETS], cursors[EVENTS] = base + 2, cursor


@_part
def _spread(levels, steps, trains, cursors):
    """A train that gives `levels` in portions over `steps` steps, as `encodings.portions` says; all are charged."""
    base, cursor, n = cursors[OFFSETS], cursors[EVENTS], levels.size
    _grows(trains, base + steps + 1, cursor)
    offsets, address, event = _views(trains)
    offsets[base] = cursor
    for t in range(steps):
        if _grows(trains, 0, cursor + n):
            offsets, address, event = _views(trains)
        for i in range(n):
            size = abs(np.int64(levels[i]))
            part = size * (t + 1) // steps - size * t // steps
            if part:
                address[cursor], event[cursor] = i, (2 * part if levels[i] > 0 else -2 * part) + 1
                cursor += 1
        offsets[base + t + 1] = cursor
    cursors[OFFSETS], cursors[EVENTS] = base + steps + 1, cursor


@_part
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
    _grows(trains, base + length + 1, cursor + total + n)
    offsets, address, event = _views(trains)
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


@_part
def _gather(job, tools, row):
    """One train of several, each after its map of addresses."""
    program, at, length, trains, cursors = job.program, tools.at, tools.length, tools.trains, tools.cursors
    maps = program.maps
    steps = 0
    for p in range(row.first, row.last):
        steps = max(steps, length[program.parts[p].slot])
    base, cursor = cursors[OFFSETS], cursors[EVENTS]
    _grows(trains, base + steps + 1, cursor)
    offsets, address, event = _views(trains)
    offsets[base] = cursor
    for t in range(steps):
        for p in range(row.first, row.last):
            slot, pointers = program.parts[p].slot, program.parts[p].map
            if t >= length[slot]:
                continue
            for e in range(offsets[at[slot] + t], offsets[at[slot] + t + 1]):
                if pointers < 0:
                    if _grows(trains, 0, cursor + 1):
                        offsets, address, event = _views(trains)
                    address[cursor], event[cursor] = address[e], event[e]
                    cursor += 1
                    continue
                first, last = maps[pointers + address[e]], maps[pointers + address[e] + 1]
                if _grows(trains, 0, cursor + last - first):
                    offsets, address, event = _views(trains)
                for j in range(first, last):
                    address[cursor], event[cursor] = maps[j], event[e]
                    cursor += 1
        offsets[base + t + 1] = cursor
    at[row.slot], length[row.slot] = base, steps
    cursors[OFFSETS], cursors[EVENTS] = base + steps + 1, cursor


@_part
def _add_up(levels, at, length, trains):
    """Add what the events of a train come to to `levels`."""
    offsets, address, event = _views(trains)
    for e in range(offsets[at], offsets[at + length]):
        levels[address[e]] += event[e] >> 1


@_part
def _copied(at, length, trains, levels, sign, raised, scratch, into, base, cursor):
    """Copy a train to another store, from `base` and `cursor` on; `raised`: with `levels` times `sign` added to its events
    of step 0.

    Returns the number of steps and the cursor behind the last event.
    """
    offsets, address, event = _views(trains)
    first, last = offsets[at], offsets[at + length]
    steps = max(length, 1) if raised else length
    count = last - first + (levels.size if raised else 0)
    _grows(into, base + steps + 1, cursor + count)
    out_offsets, out_address, out_event = _views(into)
    out_offsets[base] = cursor
    begin = 0
    if raised:
        told, charged = scratch.told[: levels.size], scratch.charged[: levels.size]
        _clear(charged)
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
    return steps, cursor


@_part
def _split(row, windows, at, length, trains, cursors):
    """Cut the train of a whole sequence into those of its elements, each of as many steps. Returns where they begin."""
    base, cursor, size = cursors[OFFSETS], cursors[EVENTS], row.size
    begin, steps = at[row.outer], length[row.outer]
    _grows(trains, base + windows * (steps + 1) + 1, cursor)
    offsets, address, event = _views(trains)
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
    if _grows(trains, 0, cursors[EVENTS] + count):
        offsets, address, event = _views(trains)
        parts = offsets[base : base + windows * (steps + 1) + 1]
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
    return base, steps


@_part
def _send(levels, encoded, graded, cap, trains, cursors):
    """A train of what a border of windows tells: at step 0, or one level a step. Returns its number of steps."""
    if encoded or graded:
        _charge(levels, encoded, trains, cursors)
        return np.int64(1)
    return _unary(levels, cap, trains, cursors)


@_part
def _encode(job, tools, encoder, where):
    """What an encoder charges in this window."""
    levels, room, at, length, trains, cursors = tools.levels, tools.room, tools.at, tools.length, tools.trains, tools.cursors
    base, steps = cursors[OFFSETS], 1
    first = encoder.levels + where.k * encoder.stride
    told = levels[first : first + encoder.size]
    if where.keeps:
        kept, told = room.encoded[encoder.kept : encoder.kept + encoder.size], room.scratch.levels[: encoder.size]
        for i in range(told.size):
            level = levels[first + i]
            told[i] = level - (kept[i] if where.resume else 0)
            kept[i] = level
    if job.spread and not encoder.fixed:
        _spread(told, job.cap, trains, cursors)
        steps = job.cap
    else:
        _charge(told, np.bool_(True), trains, cursors)
    offsets, _, _ = _views(trains)
    while steps and offsets[base + steps] == offsets[base + steps - 1]:
        steps -= 1
    at[encoder.slot], length[encoder.slot] = base, steps


class _Trains(NamedTuple):
    """Trains outside of the store that windows write: train i is that at `at[i]` of `steps[i]`; `ends` are cursors."""

    store: np.ndarray
    at: np.ndarray
    steps: np.ndarray
    ends: np.ndarray


class _Tools(NamedTuple):
    """What one member of a team works with: its room, the neurons of both widths, the trains that it writes, `cursors`.

    `levels` are what encoders charge into the sample; `at` and `length` say where the train of each slot stands, `parts` and
    `part_steps` where those of a sequence's elements begin, and their steps.
    """

    room: _Room
    narrow: _Neurons
    wide: _Neurons
    work: _Work
    broad: _Work
    states: _Trains
    stacked: _Trains
    parts: np.ndarray
    part_steps: np.ndarray
    levels: np.ndarray
    at: np.ndarray
    length: np.ndarray
    trains: np.ndarray
    logs: np.ndarray
    cursors: np.ndarray


@_part
def _open(job, tools, row):
    """Begin a scan: cut its sequences into elements, let its body read what it shares, and settle its initial states."""
    program, room, parts, part_steps = job.program, tools.room, tools.parts, tools.part_steps
    at, length, trains, cursors = tools.at, tools.length, tools.trains, tools.cursors
    _clear(tools.stacked.ends)
    for i in range(row.elements_end - row.elements):
        element = program.elements[row.elements + i]
        parts[i], part_steps[i] = _split(element, row.length, at, length, trains, cursors)
    for i in range(row.shared, row.shared_end):
        at[program.shared[i].slot], length[program.shared[i].slot] = at[program.shared[i].outer], length[program.shared[i].outer]
    for i in range(row.states, row.states_end):
        state = program.states[i]
        _clear(room.states[state.level : state.level + 3 * state.size])
        level = room.states[state.level : state.level + state.size]
        _add_up(level, at[state.outer], length[state.outer], trains)


@_part
def _enter(job, tools, row, k, place):
    """Begin window k, of the element at `place`: what the body is told. `states` are the trains of the window before.

    With `carry`, receivers still hold what they were told in the window before, so that only the difference is sent.
    """
    program, cap, delivery, carry = job.program, job.cap, job.delivery, job.carry
    room, at, length, trains, cursors = tools.room, tools.at, tools.length, tools.trains, tools.cursors
    parts, part_steps, states, graded = tools.parts, tools.part_steps, tools.states, delivery == GRADED
    for i in range(row.elements_end - row.elements):
        element = program.elements[row.elements + i]
        slot = element.slot
        at[slot], length[slot] = parts[i] + place * (part_steps[i] + 1), part_steps[i]
        if carry:
            sent = room.borders[element.kept : element.kept + element.size]
            if k > 0:
                told = room.scratch.told[: sent.size]
                for j in range(sent.size):
                    told[j] = -sent[j]
                _add_up(told, at[slot], length[slot], trains)
                at[slot] = cursors[OFFSETS]
                length[slot] = _send(told, element.encoded != 0, graded, cap, trains, cursors)
            else:
                _clear(sent)
            _add_up(sent, at[slot], length[slot], trains)
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
            length[slot], cursors[EVENTS] = _copied(
                states.at[i], states.steps[i], states.store, before, np.int64(-1), carry and k == 1, room.scratch,
                trains, cursors[OFFSETS], cursors[EVENTS],
            )  # fmt: skip
            cursors[OFFSETS] += length[slot] + 1
        else:
            told = room.scratch.told[: state.size]
            for j in range(state.size):
                told[j] = level[j] - sent[j]
            length[slot] = _send(told, np.bool_(False), graded, cap, trains, cursors)
            if carry:
                _add_up(sent, at[slot], length[slot], trains)
    if carry and k > 0:  # receivers keep what they were told: shared values do not change
        for i in range(row.shared, row.shared_end):
            length[program.shared[i].slot] = 0


@_part
def _leave(job, tools, row, k, place):
    """End window k: what states have become, and what leaves the body."""
    program, delivery, carry, room, at, length = job.program, job.delivery, job.carry, tools.room, tools.at, tools.length
    trains, states, stacked = tools.trains, tools.states, tools.stacked
    cursor, base = np.int64(0), np.int64(0)
    for i in range(row.states_end - row.states):
        state = program.states[row.states + i]
        level = room.states[state.level : state.level + state.size]
        _start(room.states[state.level + state.size : state.level + 2 * state.size], level)
        if not (carry and k > 0):
            _clear(level)
        slot = state.following
        _add_up(level, at[slot], length[slot], trains)
        if delivery == REPLAY or k == row.length - 1:
            states.at[i] = base
            states.steps[i], cursor = _copied(
                at[slot], length[slot], trains, level, np.int64(1), np.bool_(False), room.scratch, states.store, base, cursor
            )
            base += states.steps[i] + 1
    for i in range(row.stacked_end - row.stacked):
        value = program.stacked[row.stacked + i]
        level = room.borders[value.level : value.level + value.size]
        if k == 0:
            _clear(level)
        part, base = i * row.length + place, stacked.ends[0]
        # Receivers outside are fresh, so they are first told what was kept.
        steps, cursor = _copied(
            at[value.slot], length[value.slot], trains, level, np.int64(1), carry and k > 0, room.scratch,
            stacked.store, base, stacked.ends[1],
        )  # fmt: skip
        stacked.at[part], stacked.steps[part] = base, steps
        stacked.ends[0], stacked.ends[1] = base + steps + 1, cursor
        if carry:
            _clear(level)
            _add_up(level, base, steps, stacked.store)


@_part
def _close(job, tools, row):
    """End a scan: its last states, and the values of all its windows as one train."""
    program, carry, room, at, length = job.program, job.carry, tools.room, tools.at, tools.length
    trains, states, stacked, cursors = tools.trains, tools.states, tools.stacked, tools.cursors
    for i in range(row.states_end - row.states):
        state = program.states[row.states + i]
        if row.length == 0:
            at[state.final], length[state.final] = at[state.outer], length[state.outer]
            continue
        before = room.states[state.level + state.size : state.level + 2 * state.size]
        base = cursors[OFFSETS]
        steps, cursors[EVENTS] = _copied(
            states.at[i], states.steps[i], states.store, before, np.int64(1), carry and row.length > 1, room.scratch,
            trains, base, cursors[EVENTS],
        )  # fmt: skip
        at[state.final], length[state.final] = base, steps
        cursors[OFFSETS] += steps + 1
    own_offsets, own_address, own_event = _views(stacked.store)
    for i in range(row.stacked_end - row.stacked):
        value = program.stacked[row.stacked + i]
        part, steps, count = i * row.length, 0, 0
        for k in range(part, part + row.length):
            steps = max(steps, stacked.steps[k])
            count += own_offsets[stacked.at[k] + stacked.steps[k]] - own_offsets[stacked.at[k]]
        base, cursor = cursors[OFFSETS], cursors[EVENTS]
        _grows(trains, base + steps + 1, cursor + count)
        offsets, address, event = _views(trains)
        offsets[base] = cursor
        for t in range(steps):
            for k in range(row.length):
                if t < stacked.steps[part + k]:
                    step = stacked.at[part + k] + t
                    for e in range(own_offsets[step], own_offsets[step + 1]):
                        address[cursor], event[cursor] = own_address[e] + k * value.size, own_event[e]
                        cursor += 1
            offsets[base + t + 1] = cursor
        at[value.outer], length[value.outer] = base, steps
        cursors[OFFSETS], cursors[EVENTS] = base + steps + 1, cursor


def _dividing(kernel: Callable[..., Any]) -> Any:
    """Compile a part that divides by what is not 0: nothing is asked, so that vectors can be divided."""
    return compiled(kernel, _nrt=False, error_model="numpy")


def _real(context, address, first, size):
    """The `size` numbers (float32) from entry `first` on of the array at an address."""
    found = numba.types.Array(numba.types.float32, 1, "C")

    def generate(context, builder, signature, arguments):
        integer, made = llvmlite.ir.IntType(64), context.make_array(found)(context, builder)
        data = builder.gep(builder.inttoptr(arguments[0], made.data.type), [arguments[1]])
        numba.np.arrayobj.populate_array(
            made, data=data, shape=[arguments[2]], strides=[integer(4)], itemsize=integer(4), meminfo=None
        )
        return made._getvalue()

    return found(*[numba.types.int64] * 3), generate


_reals: Any = numba.extending.intrinsic(_real)

_LARGEST = np.finfo(np.float32).max


@_dividing
def _round_half_up(rounding, address, levels, sample):
    """Enter the levels of the numbers of one sample, of those at an address, as `Quantization.round` does.

    Returns how many NaN and infinities there are.
    """
    wrong, reals = 0, _reals(address, sample * rounding.size, rounding.size)
    to, scale, lo, hi = levels[rounding.column :], rounding.scale, rounding.lo, rounding.hi
    for j in range(reals.size):
        to[j] = np.int32(min(max(np.floor(np.float64(reals[j]) / scale + 0.5), lo), hi))
        wrong += not abs(reals[j]) <= _LARGEST
    return wrong


class Job(NamedTuple):
    """What a run does: a program, what it is given, and where it writes.

    `levels` int32[batch, ...] are charged (int32[1, ...] where all samples have the same), but for those that come, rounded by
    `program.roundings`, from `reals`: addresses of float32[batch, size]. `flags[emitter]` says what is recorded of an
    emitter. A window ends when it is silent, or after `cap` steps; `delivery` is that of recurrent states. `results`
    int64[batch, ...] start as 0, and hold all `program.results`, or all but the last of these parts.

    Members of a team take samples as `turns` says: the next one, where to end, and the next member. Each has a row of
    `notes`: `cursors`, and from `STORES` on memory that grows, for trains, those of states and of stacked values, and what is
    recorded. A run may be many calls: they go on in these.
    """

    program: Any
    reals: np.ndarray
    levels: np.ndarray
    flags: np.ndarray
    results: np.ndarray
    turns: np.ndarray
    notes: np.ndarray
    cap: int
    delivery: int
    carry: bool
    spread: bool
    timed: bool


NEXT, LAST, MEMBER = range(3)
"""Places in `Job.turns`."""

STORES = 16
"""Where in a row of `Job.notes` the stores begin: three of trains, and behind them what is recorded."""


def _took(context, array, place, count):
    """Add to an entry of an array, as one operation of all threads; what it was."""

    def generate(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        return builder.atomic_rmw("add", builder.gep(data, [arguments[1]]), arguments[2], "seq_cst")

    return numba.types.int64(array, numba.types.int64, numba.types.int64), generate


_next: Any = numba.extending.intrinsic(_took)


@_within
def _run(job, tools, sample):
    """Run one sample through the whole network."""
    program, cursors = job.program, tools.cursors
    _start(tools.levels, job.levels[sample if len(job.levels) > 1 else 0])
    for i in range(program.roundings.size):
        cursors[WRONG] += _round_half_up(program.roundings[i], job.reals[i], tools.levels, sample)
    cursors[OFFSETS], cursors[EVENTS] = 0, 0
    for i in range(program.top):
        if program.instructions[i].kind == SCAN:
            _scan(job, tools, program.windows[program.instructions[i].row], sample)
        else:
            _step(job, tools, i, _Where(sample, 0, 0, False, False))
    for i in range(program.settled.size):
        result = program.settled[i]
        first = program.results[SETTLES] + result.to
        to = job.results[sample, first : first + result.size]
        _add_up(to, tools.at[result.slot], tools.length[result.slot], tools.trains)


@_within
def _scan(job, tools, row, sample):
    """Run a scan of one sample: its body for each window."""
    cursors = tools.cursors
    mark_offsets, mark_events = cursors[OFFSETS], cursors[EVENTS]
    _open(job, tools, row)
    inside_offsets, inside_events = cursors[OFFSETS], cursors[EVENTS]
    for k in range(row.length):
        place = row.length - 1 - k if row.reverse else k
        cursors[OFFSETS], cursors[EVENTS] = inside_offsets, inside_events
        _enter(job, tools, row, k, place)
        where = _Where(sample, k, row.column + k, job.carry, job.carry and k > 0)
        for i in range(row.body, row.body_end):
            _step(job, tools, i, where)
        _leave(job, tools, row, k, place)
    cursors[OFFSETS], cursors[EVENTS] = mark_offsets, mark_events
    _close(job, tools, row)


@_within
def _step(job, tools, instruction, where):
    """Run one instruction other than a scan."""
    program = job.program
    kind, number, emitter = program.instructions[instruction].kind, program.instructions[instruction].row, -1
    if kind == ENCODE:
        encoder = program.encoders[number]
        emitter = encoder.emitter
        _encode(job, tools, encoder, where)
    elif kind == GATHER:
        _gather(job, tools, program.gathers[number])
    elif kind == COMBINE:
        emitter = program.combinations[number].emitter
        _combine(job, tools, program.combinations[number], where)
    else:
        row = program.populations[number]
        emitter = -1 if row.sums >= 0 else row.emitter
        if row.storage < 2:
            _populate(job, tools, row, number, program.weights8, program.weights16, tools.narrow, tools.work, where)
        else:
            _populate(job, tools, row, number, program.weights64, program.weights64, tools.wide, tools.broad, where)
    if emitter >= 0:
        _noted(job, tools, where, emitter)


def _work(job):
    """Run samples through the network while there are any."""
    member, program, timed = _next(job.turns, MEMBER, 1), job.program, job.timed
    neurons, most, most_wide, inputs, size = 0, 8, 0, 1, 1
    for i in range(program.populations.size):
        row = program.populations[i]
        neurons = max(neurons, row.neurons + row.size)
        most = max(most, row.size)
        if row.storage == 2:
            most_wide = max(most_wide, row.size)
    waiting, positions, channels = 2 * _TOGETHER + 1, 0, 0
    for i in range(program.segments.size):
        segment = program.segments[i]
        if segment.kind == COLLECTED:
            waiting = max(waiting, segment.longest)
            positions, channels = max(positions, segment.positions), max(channels, segment.positions * segment.width)
    for i in range(program.combinations.size):
        inputs = max(inputs, program.combinations[i].inputs)
        size = max(size, program.combinations[i].size)
    narrow_count, wide_count = program.bias32.size, program.bias64.size
    narrow = _Neurons(
        np.empty(narrow_count, np.int32), np.zeros(narrow_count + _SPARE, np.int32), np.empty(narrow_count, np.int32)
    )
    wide = _Neurons(np.empty(wide_count, np.int64), np.zeros(wide_count + _SPARE, np.int64), np.empty(wide_count, np.int64))
    for i in range(program.populations.size):
        row = program.populations[i]
        if row.storage == 2:
            _starts(wide.first, wide.theta, row, program.thresholds, program.parameter, program.bias64)
        else:
            _starts(narrow.first, narrow.theta, row, program.thresholds, program.parameter, program.bias32)
    work = _Work(
        np.zeros(most + _SPARE, np.int32),
        np.empty(most, np.int32),
        np.empty(most, np.int32),
        np.empty(most + _SPARE, np.int32),
        np.empty(_TOGETHER + 1, np.int32),
    )
    broad = _Work(
        np.zeros(most_wide + _SPARE, np.int64),
        np.empty(most_wide, np.int64),
        np.empty(most_wide, np.int64),
        np.empty(most_wide + _SPARE, np.int64),
        np.empty(_TOGETHER + 1, np.int64),
    )
    told = max(program.kept[2], program.kept[3])
    room = _Room(
        np.empty(most + _SPARE, np.int32),
        np.empty(most + _SPARE, np.int32),
        np.empty(inputs, np.int64),
        np.empty(size, np.int64),
        np.full(size, -1, np.int64),
        np.empty(size, np.int32),
        np.empty(neurons, np.int32),
        np.empty(program.kept[0], np.int32),
        np.empty(program.kept[1], np.int64),
        np.empty(program.kept[2], np.int64),
        np.empty(program.kept[3], np.int64),
        _Lists(
            np.empty(waiting + 8, np.int32),
            np.empty(_TOGETHER + 1, np.int32),
            np.empty(positions, np.int32),
            np.zeros(channels, np.int32),
        ),
        _Scratch(np.empty(told, np.int64), np.empty(told, np.int64), np.empty(program.kept[0], np.int32)),
    )
    stores, cursors = job.notes[member, STORES:], job.notes[member, : ALL + 1].copy()  # written all the time: not among others
    since = _cycles() if timed else 0
    kept, pieces = program.states.size, 0
    for i in range(program.windows.size):
        row = program.windows[i]
        pieces = max(pieces, (row.stacked_end - row.stacked) * row.length)
    made = _Tools(
        room,
        narrow,
        wide,
        work,
        broad,
        _Trains(stores[6:12], np.zeros(kept, np.int64), np.zeros(kept, np.int64), np.zeros(2, np.int64)),
        _Trains(stores[12:18], np.zeros(pieces, np.int64), np.zeros(pieces, np.int64), np.zeros(2, np.int64)),
        np.empty(program.elements.size, np.int64),
        np.empty(program.elements.size, np.int64),
        np.empty(job.levels.shape[1], np.int32),
        np.zeros(program.slots, np.int64),
        np.zeros(program.slots, np.int64),
        stores[:6],
        stores[18:30],
        cursors,
    )
    tools = _hold(made)
    while True:
        sample = _next(job.turns, NEXT, 1)
        if sample >= job.turns[LAST]:
            break
        _run(job, tools, sample)
    _keep(made)
    if timed:
        cursors[ALL] += _cycles() - since
    job.notes[member, : ALL + 1] = cursors


def _packed(context, job):
    """A job as a team calls it: the address of `void work(void *)`, and that of memory with the job in it.

    The first word of this memory says whether a call failed, which it can for want of memory only. The job's arrays are not
    held by it: they must stay as long as it is used.
    """
    found = numba.types.UniTuple(numba.types.int64, 2)

    def generate(context, builder, signature, arguments):
        integer, byte = llvmlite.ir.IntType(64), llvmlite.ir.IntType(8).as_pointer()
        held = llvmlite.ir.LiteralStructType([integer, context.get_value_type(job)])
        kind = llvmlite.ir.FunctionType(byte, (byte, integer))
        allocate = numba.core.cgutils.get_or_insert_function(builder.module, kind, "realloc")
        memory = builder.call(allocate, (llvmlite.ir.Constant(byte, None), integer(context.get_abi_sizeof(held))))
        with builder.if_then(numba.core.cgutils.is_not_null(builder, memory)):
            builder.store(integer(0), builder.bitcast(memory, integer.as_pointer()))
            place = builder.gep(builder.bitcast(memory, held.as_pointer()), [llvmlite.ir.IntType(32)(k) for k in (0, 1)])
            builder.store(_bare(context, builder, job, arguments[0]), place, align=8)
        kind = llvmlite.ir.FunctionType(llvmlite.ir.VoidType(), (byte,))
        function = llvmlite.ir.Function(builder.module, kind, builder.module.get_unique_name("job"))
        function.linkage = "internal"
        inside = llvmlite.ir.IRBuilder(function.append_basic_block("entry"))
        given = inside.bitcast(function.args[0], held.as_pointer())
        place = inside.gep(given, [llvmlite.ir.IntType(32)(k) for k in (0, 1)])
        called = numba.types.void(_Held(job))
        compiled = context.compile_subroutine(builder, _work, called)
        status, _ = context.call_internal_no_propagate(inside, compiled.fndesc, called, (place,))
        with inside.if_then(status.is_error):
            inside.store(integer(1), inside.bitcast(given, integer.as_pointer()))
        inside.ret_void()
        addresses = [builder.ptrtoint(pointer, integer) for pointer in (function, memory)]
        return context.make_tuple(builder, found, addresses)

    return found(job), generate


_pack: Any = numba.extending.intrinsic(_packed)


@compiled
def begin(job):
    """A job for a team: the addresses of a compiled function, and of what it is given, which `finish` gives back."""
    function, context = _pack(job)
    if context == 0:
        raise MemoryError("no memory for a run")
    return function, context


def _word(context, address):
    """The number (int64) at an address."""

    def generate(context, builder, signature, arguments):
        return builder.load(builder.inttoptr(arguments[0], llvmlite.ir.IntType(64).as_pointer()))

    return numba.types.int64(numba.types.int64), generate


_at: Any = numba.extending.intrinsic(_word)


@compiled
def release(notes):
    """Give the memory of a run back, and clear its notes: what `finish` does, where it finds room for the results."""
    for member in range(len(notes)):
        for k in range(STORES, notes.shape[1], 2):
            _free(notes[member, k])
        _clear(notes[member])


@compiled
def finish(context, notes):
    """What a run has found, and the end of its memory: `context` is that of `begin`, `notes` are the job's, which are cleared.

    Returns whether a call failed for want of memory, the counters of all members together, the recorded events (emitter,
    sample, window, step, address, value: int64, flat) and the sums that are kept (population, sample, window, then all sums;
    likewise).
    """
    failed = _at(context) != 0
    _free(context)
    total = notes[:, : ALL + 1].sum(axis=0)
    recorded, histories = np.empty(total[RECORDS], np.int64), np.empty(total[HISTORY], np.int64)
    events, sums = 0, 0
    for member in range(len(notes)):
        note, more_events, more_sums = notes[member], notes[member, RECORDS], notes[member, HISTORY]
        _take(recorded[events : events + more_events], note[STORES + 18 : STORES + 24])
        _take(histories[sums : sums + more_sums], note[STORES + 24 : STORES + 30])
        events, sums = events + more_events, sums + more_sums
    release(notes)
    return failed, total, recorded, histories
