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
    "BITS",
    "able",
    "emit",
    "fire",
    "fire_again",
    "fire_staircase",
    "neighbours",
]

_LONG, _INT = llvmlite.ir.IntType(64), llvmlite.ir.IntType(32)

BITS = np.array([[*[k for k in range(8) if mask >> k & 1], *[0] * 8][:8] for mask in range(256)], np.uint8).reshape(-1)
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
    return _fire_eights(membranes, tracers, theta, np.int32(lo), np.int32(hi), np.int64(membranes.size), neurons, signs, BITS)


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
