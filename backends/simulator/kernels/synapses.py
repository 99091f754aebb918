"""How the events of a step add weights to sums, by kinds of segments."""

from __future__ import annotations

import numpy as np

from snnir.backends.simulator.kernels.constants import CHARGES, COLLECTED, LINKS_PER_EVENT, ROWS, SAMPLE, SYNOPS
from snnir.backends.simulator.kernels.memory import clear, events_of, pointer
from snnir.backends.simulator.kernels.numba_compat import part
from snnir.backends.simulator.kernels.quads import add_products
from snnir.backends.simulator.kernels.vectors import add_rows, gather_links, trailing_zeros

__all__ = ["add_dense", "add_scattered", "count_operations", "deliver_convolution", "deliver_dense", "deliver_sparse"]


@part
def _unit(event):
    """The value that spikes of a step have, by sign: 1, or for few-spike neurons a power of two."""
    return np.int32(1) if event & 1 else abs(event >> 1)


@part
def add_dense(sums, begin, end, address, event, segment, weights, index, worker, factors):
    """Add the rows of the events begin..end-1 of a step to the sums of one sample, many at once: spikes by sign, others by value.

    Returns how many events were charged.
    """
    unit, gains, scale = _unit(event[begin]), segment.gains - 1, segment.shift
    shift, gain_of = scale + trailing_zeros(unit), pointer(index)
    inputs, size, rows, by = np.int32(segment.inputs), segment.outputs, worker.rows, worker.scaled_rows
    grouped, base, zero, half = segment.end - segment.begin != inputs, segment.weights, np.int64(0), np.int64(ROWS)
    into, table, listed, multiplied, multiples = pointer(sums), pointer(weights), pointer(rows), pointer(by), pointer(factors)
    group, costly, one, packed = zero, zero, np.uint64(1), pointer(worker.packed)
    while begin < end:
        stop, before = min(begin + half, end), np.int32(0)
        if grouped:
            group = np.int64(address[begin] // inputs)
            before = np.int32(group) * inputs
            last = begin + 1
            while last < stop and 0 <= address[last] - before < inputs:
                last += 1
            stop = last
        places, spikes = address[begin:stop], event[begin:stop]
        plus, minus, scaled = np.uint64(0), np.uint64(ROWS), np.uint64(0)
        for k in range(places.size):  # each is listed three times and overwritten, unless it counts: no branch to guess
            row, value = places[k] - before, spikes[k] >> 1
            costly += spikes[k] & 1
            rows[plus] = rows[minus] = by[scaled] = row
            factors[scaled] = value
            up, down = np.uint64(value == unit), np.uint64(value == -unit)
            plus += up
            minus += down
            scaled += one - up - down
        more, less, others = np.int64(plus), np.int64(minus), np.int64(scaled)
        if more + less > half:
            add_rows(into, group * size, table, base, listed, zero, more, half, less, size, size, shift, gain_of, gains)
        if others:
            at = group * size
            add_products(into, at, table, base, multiplied, multiples, packed, others, size, size, scale, gain_of, gains)
        begin = stop
    return costly


@part
def add_scattered(sums, begin, end, address, event, segment, weights, index, worker, factors):
    """Convolve the events begin..end-1 of a step, each into the outputs that it reaches: those of one position together.

    Output positions that lie side by side take one run of weights. Returns the synapses used, and those of them by charged
    events.
    """
    rows, by, zero, one, map_stride = worker.rows, worker.scaled_rows, np.int64(0), np.int64(1), segment.map_stride
    into, table, listed, multiplied, multiples = pointer(sums), pointer(weights), pointer(rows), pointer(by), pointer(factors)
    unit, gains, scale, gain_of = _unit(event[begin]), segment.gains - 1, segment.shift, pointer(index)
    shift = scale + trailing_zeros(unit)
    position, group, count, scaled, synops, charges = zero, zero, zero, zero, zero, zero
    at, here, first, packed = zero, zero, zero, pointer(worker.packed)
    for e in range(begin, end + 1):
        if e < end:
            at = segment.addresses + 3 * np.int64(address[e])
            here, first = np.int64(index[at + 1]), np.int64(index[at + 2])
        if e == end or here != position or first != group or count == ROWS or scaled == ROWS:
            for r in range(index[segment.runs + position], index[segment.runs + position + 1], 3):
                base, target, size = segment.weights + index[r], group + index[r + 1], np.int64(index[r + 2])
                if map_stride != 1:
                    for k in range(count + scaled):
                        start = (rows[k] if k < count else by[k - count]) + base
                        value = np.int64(unit) if k < count else np.int64(factors[k - count])
                        for j in range(size):
                            neuron = target + j * map_stride
                            gain = scale + (index[gains + neuron] if gains >= 0 else 0)
                            sums[neuron] += weights[start + j] * value << gain
                    continue
                if count:
                    add_rows(into, target, table, base, listed, zero, count, count, count, one, size, shift, gain_of, gains)
                if scaled:
                    add_products(
                        into, target, table, base, multiplied, multiples, packed, scaled, one, size, scale, gain_of, gains
                    )
            if e == end:
                break
            position, group, count, scaled = here, first, zero, zero
        spike = event[e] >> 1
        if spike == unit or spike == -unit:
            rows[count] = index[at] + (segment.negated if spike < 0 else zero)
            count += 1
        else:
            by[scaled], factors[scaled] = index[at], spike
            scaled += 1
        used = index[segment.fans + here]
        synops += used
        charges += used * (event[e] & 1)
    return synops, charges


@part
def _collect(sums, begin, end, address, event, segment, weights, index, worker, factors):
    """As `add_scattered`, from the side of the outputs: each adds the weights of all events that reach it to its maps at once.

    Events that are no single spikes are scattered.
    """
    filled, channels, rows = worker.filled, worker.channels, worker.rows
    base, size, zero, one, most = segment.weights, segment.maps, np.int64(0), np.int64(1), np.int64(ROWS)
    positions, width = np.uint32(segment.positions), segment.width
    into, table, listed = pointer(sums), pointer(weights), pointer(rows)
    clear(filled[: segment.positions])
    synops, charges, fans = np.int64(0), np.int64(0), index[segment.fans : segment.fans + segment.positions]
    negated, full, channel_size = np.int32(segment.negated), np.int32(width - 8), np.uint32(segment.spread)
    places, spikes, unit = address[begin:end], event[begin:end], _unit(event[begin])
    shift, gain_of, gains = segment.shift + trailing_zeros(unit), pointer(index), segment.gains - 1
    for k in range(places.size):
        value, local = spikes[k] >> 1, np.uint32(places[k])
        channel = local // positions
        position = np.uint64(local - channel * positions)
        place = filled[position]
        if (value == unit or value == -unit) and place < full:
            row = np.int32(channel * channel_size) + (negated & (value >> 31))
            channels[position * np.uint64(width) + np.uint64(place)] = row
            filled[position] = place + 1
            if spikes[k] & 1:
                charges += fans[position]
        else:
            used, costly = add_scattered(sums, begin + k, begin + k + 1, address, event, segment, weights, index, worker, factors)
            synops += used
            charges += costly
    for p in range(fans.size):
        synops += np.int64(filled[p]) * fans[p]
    for q in range(segment.places):
        begin, end = np.int64(index[segment.reads + q]), np.int64(index[segment.reads + q + 1])
        count = gather_links(rows, channels, filled, index, begin, end, width)
        for k in range(0, count, most):
            last = min(k + most, count)
            add_rows(into, q * size, table, base, listed, k, last, zero, zero, one, size, shift, gain_of, gains)
    return synops, charges


@part
def _one_to_one(sums, addresses, events, segment, weights, index):
    """As `_sparse`, where every input has one synapse."""
    charges, targets, weight = np.int64(0), index[segment.targets :], weights[segment.weights :]
    shift = segment.shift
    if segment.gains:
        gains = index[segment.gains - 1 :]
        for k in range(addresses.size):
            local = np.uint32(addresses[k])
            neuron = np.uint32(targets[local])
            sums[neuron] += weight[local] * np.int64(events[k] >> 1) << shift + gains[neuron]
            charges += events[k] & 1
    else:
        for k in range(addresses.size):
            local = np.uint32(addresses[k])
            sums[np.uint32(targets[local])] += weight[local] * np.int64(events[k] >> 1) << shift
            charges += events[k] & 1
    return addresses.size, charges


@part
def _sparse(sums, begin, end, address, event, segment, weights, index):
    """Deliver events begin..end-1 over synapses listed one by one; returns as `add_scattered`."""
    synops, charges = np.int64(0), np.int64(0)
    if segment.fan == 1:
        return _one_to_one(sums, address[begin:end], event[begin:end], segment, weights, index)
    for e in range(begin, end):
        local, value = np.int64(address[e]), event[e] >> 1
        first, last = index[segment.pointers + local], index[segment.pointers + local + 1]
        for j in range(first, last):
            neuron = index[segment.targets + j]
            gain = segment.shift + (index[segment.gains - 1 + neuron] if segment.gains else 0)
            sums[neuron] += weights[segment.weights + j] * np.int64(value) << gain
        synops += last - first
        charges += (last - first) * (event[e] & 1)
    return synops, charges


@part
def count_operations(run, worker, number, synops, charges):
    """Count the synapses that the events of a step used, and those of them by charged events."""
    results, places = run.results[worker.window[SAMPLE]], run.program.results
    results[places[SYNOPS] + number] += synops
    results[places[CHARGES] + number] += charges


@part
def deliver_dense(run, worker, population, number, begin, end, sums, weights, factors):
    """Add the currents of the events begin..end-1 of a step of the worker's trains through a dense segment to the sums of its
    population. Where there are events of several steps, those of others than the first are multiplied one by one.
    """
    _, address, event = events_of(worker.trains)
    segment, row = run.program.segments[number], run.program.populations[population]
    index = run.program.indices[row.index : row.index_end]
    charged = add_dense(sums, begin, end, address, event, segment, weights, index, worker, factors)
    count_operations(run, worker, number, segment.outputs * (end - begin), segment.outputs * charged)


@part
def deliver_convolution(run, worker, population, number, begin, end, sums, weights, factors):
    """As `deliver_dense`, through a convolution."""
    _, address, event = events_of(worker.trains)
    segment, row = run.program.segments[number], run.program.populations[population]
    index = run.program.indices[row.index : row.index_end]
    if segment.kind == COLLECTED and LINKS_PER_EVENT * (end - begin) > segment.links:
        synops, charges = _collect(sums, begin, end, address, event, segment, weights, index, worker, factors)
    else:
        synops, charges = add_scattered(sums, begin, end, address, event, segment, weights, index, worker, factors)
    count_operations(run, worker, number, synops, charges)


@part
def deliver_sparse(run, worker, population, number, begin, end, sums, weights, _factors):
    """As `deliver_dense`, through synapses listed one by one."""
    _, address, event = events_of(worker.trains)
    row = run.program.populations[population]
    index = run.program.indices[row.index : row.index_end]
    synops, charges = _sparse(sums, begin, end, address, event, run.program.segments[number], weights, index)
    count_operations(run, worker, number, synops, charges)
