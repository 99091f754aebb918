"""Encoders: real numbers as levels, and levels as trains."""

from __future__ import annotations

import numpy as np

from snnir.backends.simulator.kernels.constants import KEEPS, OFFSETS, RESUMES, WINDOW
from snnir.backends.simulator.kernels.memory import events_of, reals
from snnir.backends.simulator.kernels.numba_compat import part
from snnir.backends.simulator.kernels.trains import charge, spread_levels

__all__ = ["encode", "round_half_up"]

_LARGEST = np.finfo(np.float32).max


@part
def round_half_up(rounding, factors, address, levels, sample):
    """Enter the levels of the numbers of one sample, of those at an address, as `Quantization.round` does: with factors,
    of the products in float32.

    Returns how many of the numbers are NaN and infinities.
    """
    wrong, numbers = 0, reals(address, sample * rounding.size, rounding.size)
    to, scale, lo, hi = levels[rounding.column :], rounding.scale, rounding.lo, rounding.hi
    if rounding.factors >= 0:
        by = factors[rounding.factors : rounding.factors + rounding.size]
        for j in range(numbers.size):
            to[j] = np.int32(min(max(np.floor(np.float64(numbers[j] * by[j]) / scale + 0.5), lo), hi))
            wrong += not abs(numbers[j]) <= _LARGEST
        return wrong
    for j in range(numbers.size):
        to[j] = np.int32(min(max(np.floor(np.float64(numbers[j]) / scale + 0.5), lo), hi))
        wrong += not abs(numbers[j]) <= _LARGEST
    return wrong


@part
def encode(run, worker, number):
    """The train of an encoder in this window."""
    encoder, window, trains, cursors = run.program.encoders[number], worker.window, worker.trains, worker.cursors
    base, steps = cursors[OFFSETS], 1
    first = encoder.levels + window[WINDOW] * encoder.stride
    sent = worker.levels[first : first + encoder.size]
    if window[KEEPS]:
        kept, sent = worker.kept_encoded[encoder.kept : encoder.kept + encoder.size], worker.changes[: encoder.size]
        for i in range(sent.size):
            level = worker.levels[first + i]
            sent[i] = level - (kept[i] if window[RESUMES] else 0)
            kept[i] = level
    if run.spread and not encoder.fixed:
        spread_levels(sent, run.cap, trains, cursors)
        steps = run.cap
    else:
        charge(sent, np.bool_(True), trains, cursors)
    offsets, _, _ = events_of(trains)
    while not run.program.few and steps and offsets[base + steps] == offsets[base + steps - 1]:
        steps -= 1
    worker.first[encoder.slot], worker.steps[encoder.slot], worker.lead[encoder.slot] = base, steps, 0
