"""Complete levels are delivered as levels: what the bits of a train make of an address is one number, which multiplies its row
of weights once. That is faster than adding the row for each bit where four rows are multiplied at once (`quads.py`), and it is
the same sum: operations are counted by spikes all the same.
"""

from __future__ import annotations

import numpy as np

from snnir.backends.simulator.kernels.constants import COLLECTED, LINKS_PER_EVENT
from snnir.backends.simulator.kernels.memory import clear, events_of, pointer
from snnir.backends.simulator.kernels.numba_compat import part
from snnir.backends.simulator.kernels.planes import where
from snnir.backends.simulator.kernels.quads import NEITHER, SIGNED, add_quads, as_bytes, gather_levels, pad_to_four
from snnir.backends.simulator.kernels.synapses import add_dense, add_scattered, count_operations

__all__ = ["deliver_convolution_of_levels", "deliver_dense_levels"]

ADDRESSES_PER_EVENT = 32
"""So many addresses are looked through in the time of delivering one event alone."""


@part
def _dense_levels(sums, levels, segment, weights, index, worker):
    """Add the rows of all addresses whose levels are not 0, times these, for each group of addresses; `levels` are then 0.

    Returns whether levels are bytes: nothing is done where they are not.
    """
    kind = as_bytes(levels, levels.size)
    if kind == NEITHER:
        return False
    inputs, size, rows, packed, zero = np.int64(segment.inputs), segment.outputs, worker.rows, worker.packed, np.int64(0)
    gains, gain_of, shift, base = segment.gains - 1, pointer(index), segment.shift, segment.weights
    into, table, listed, bytes_ = pointer(sums), pointer(weights), pointer(rows), pointer(packed)
    for group in range(levels.size // inputs):
        own = levels[group * inputs : (group + 1) * inputs]
        count, total = where(own, -1, rows, zero), zero
        for k in range(count):
            level = own[np.uint32(rows[k])]
            packed[k] = np.int8(level)
            total += level
        if count:
            clear(own)
            count = pad_to_four(rows, packed, count)
            add_quads(into, group * size, table, base, listed, bytes_, count, kind, total, size, size, shift, gain_of, gains)
    return True


@part
def _collect_levels(sums, levels, segment, weights, index, worker):
    """As `_dense_levels` through a convolution, from the side of the outputs: each adds the weights of all that reaches it."""
    kind = as_bytes(levels, levels.size)
    if kind == NEITHER:
        return False
    filled, channels, held, rows, packed = worker.filled, worker.channels, worker.held, worker.rows, worker.packed
    base, size, zero, one, width = segment.weights, segment.maps, np.int64(0), np.int64(1), np.uint64(segment.width)
    into, table, listed, bytes_ = pointer(sums), pointer(weights), pointer(rows), pointer(packed)
    shift, gain_of, gains, positions = segment.shift, pointer(index), segment.gains - 1, segment.positions
    clear(filled[:positions])
    for channel in range(levels.size // positions):
        own, row = levels[channel * positions : (channel + 1) * positions], np.int32(channel * segment.spread)
        for k in range(where(own, -1, rows, zero)):
            position = np.uint64(rows[k])
            at = position * width + np.uint64(filled[position])
            channels[at], held[at] = row, np.int8(own[position])
            filled[position] += 1
        clear(own)
    for q in range(segment.places):
        begin, end = np.int64(index[segment.reads + q]), np.int64(index[segment.reads + q + 1])
        count, total = gather_levels(rows, packed, channels, held, filled, index, begin, end, segment.width), zero
        if count:
            if kind == SIGNED:
                for k in range(count):
                    total += packed[k]
            count = pad_to_four(rows, packed, count)
            add_quads(into, q * size, table, base, listed, bytes_, count, kind, total, one, size, shift, gain_of, gains)
    return True


@part
def deliver_dense_levels(run, worker, population, number, begin, end, sums, weights, factors):
    """Add the currents of the events begin..end-1 of the worker's trains, of however many steps, through a dense segment to the
    sums of its population."""
    _, address, event = events_of(worker.trains)
    segment, row = run.program.segments[number], run.program.populations[population]
    index, size = run.program.indices[row.index : row.index_end], segment.end - segment.begin
    charged, done = np.int64(0), False
    if ADDRESSES_PER_EVENT * (end - begin) > size:
        levels, places, spikes = worker.merged[:size], address[begin:end], event[begin:end]
        for k in range(places.size):
            levels[np.uint32(places[k])] += spikes[k] >> 1
            charged += spikes[k] & 1
        done = _dense_levels(sums, levels, segment, weights, index, worker)
        if not done:
            clear(levels)
    if not done:
        charged = add_dense(sums, begin, end, address, event, segment, weights, index, worker, factors)
    count_operations(run, worker, number, segment.outputs * (end - begin), segment.outputs * charged)


@part
def deliver_convolution_of_levels(run, worker, population, number, begin, end, sums, weights, factors):
    """As `deliver_dense_levels`, through a convolution."""
    _, address, event = events_of(worker.trains)
    segment, row = run.program.segments[number], run.program.populations[population]
    index, done = run.program.indices[row.index : row.index_end], False
    synops, charges = np.int64(0), np.int64(0)
    if segment.kind == COLLECTED and LINKS_PER_EVENT * (end - begin) > segment.links:
        levels, positions = worker.merged[: segment.end - segment.begin], np.uint32(segment.positions)
        fans, places, spikes = index[segment.fans : segment.fans + segment.positions], address[begin:end], event[begin:end]
        for k in range(places.size):
            local = np.uint32(places[k])
            levels[local] += spikes[k] >> 1
            used = fans[local % positions]
            synops += used
            charges += used * (spikes[k] & 1)
        done = _collect_levels(sums, levels, segment, weights, index, worker)
        if not done:
            clear(levels)
    if not done:
        synops, charges = add_scattered(sums, begin, end, address, event, segment, weights, index, worker, factors)
    count_operations(run, worker, number, synops, charges)
