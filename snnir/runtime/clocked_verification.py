"""What is claimed of neurons on a clock: the same spikes at the same steps as in the plain interpreter. Their counts approximate
the quantized network's levels, and by how much is reported, never called a mismatch or none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from snnir.errors import InputError
from snnir.ir.execute import bind_sizes, execute
from snnir.machine.plain import simulate_plain
from snnir.runtime.accuracy import Meter
from snnir.runtime.inputs import sample_count, samples
from snnir.runtime.verification import Verification, integer_counts

if TYPE_CHECKING:
    from snnir.runtime.program import Program

__all__ = ["verify_clocked"]

_LARGEST = 1 << 23
"""Neurons times steps that the plain interpreter holds at once."""


@dataclass
class _Off:
    """How far counts are from levels, added up."""

    neurons: int = 0
    other: int = 0
    total: int = 0
    largest: int = 0

    def add(self, counts: np.ndarray, levels: np.ndarray) -> None:
        """Compare the counts of a population with its levels."""
        off = np.abs(counts - levels)
        self.neurons += off.size
        self.other += int(np.count_nonzero(off))
        self.total += int(off.sum())
        self.largest = max(self.largest, int(off.max(initial=0)))


def verify_clocked(
    program: Program,
    inputs: Mapping[str, np.ndarray],
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    model: Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]] | None = None,
    max_memory: int | None = None,
) -> Verification:
    """Run simulator and plain interpreter on all samples, and compare every train step by step, and every sum of a readout.

    `integers compared` are those of every address at every step. Counts are compared with the levels of the quantized network,
    where the program has that level, and outputs with the float network's (or `model`'s). Raises `InputError` without samples.
    """
    spiking = program.graph("spiking")
    total = sample_count(spiking, inputs)
    if not total:
        raise InputError("the data hold 0 samples, and nothing would be compared; give at least one")
    references = {level: program.graph(level) for level in ("quantized", "float") if level in program.levels}
    meters = {name: Meter(name, value.type) for name, value in spiking.outputs.items()}
    found: dict[str, list[int]] = {}
    off: dict[str, _Off] = {}
    most, largest, within, start = 0, 0, True, 0
    size = max(_LARGEST // _held(program, samples(spiking, inputs, 0, 1)), 1)
    while start < total:
        chunk = samples(spiking, inputs, start, start + size)
        plain = simulate_plain(spiking, chunk)
        result = program.run(chunk, counts=True, threads=threads, max_memory=max_memory, record=tuple(plain.trains))
        for name, train in plain.trains.items():
            steps, batch = train.shape[:2]
            events = result.rasters[name]
            dense = np.zeros((steps, batch, int(np.prod(train.shape[2:]))), np.int64)
            late = events[:, 2] >= steps
            inside = events[~late]
            dense[inside[:, 2], inside[:, 0], inside[:, 3]] = inside[:, 4]
            entry = found.setdefault(name, [0, 0])
            entry[0] += dense.size
            entry[1] += int(np.count_nonzero(dense != train.reshape(dense.shape))) + int(late.sum())
        for name in sorted(set(result.counts) - set(plain.trains)):  # sums of readouts
            entry = found.setdefault(name, [0, 0])
            entry[0] += result.counts[name].size
            entry[1] += int(np.count_nonzero(result.counts[name] != plain.sums[name]))
        if "quantized" in references:
            levels = integer_counts(references["quantized"], spiking, chunk)
            for name in plain.spikes:
                off.setdefault(name, _Off()).add(plain.counts[name], levels[name])
        if "float" in references or model is not None:
            floats = execute(references["float"], chunk) if model is None else model(chunk)
            for name, meter in meters.items():
                meter.add(np.asarray(floats[name]), result.outputs[name])
        bounds = program.bounds(bind_sizes(spiking, chunk))
        limits = np.array([bound for windows in bounds.values() for bound in windows])
        within = within and bool((result.steps <= limits).all())
        most, largest = max(most, int(result.steps.max(initial=0))), max(largest, int(limits.max(initial=0)))
        start += size
        if progress is not None:
            progress(min(start, total), total)
    values = tuple((name, compared, wrong) for name, (compared, wrong) in found.items())
    distances = tuple(meter.distance() for meter in meters.values()) if "float" in references or model is not None else ()
    counted = tuple(
        (name, each.neurons, each.other, each.total / max(each.neurons, 1), each.largest) for name, each in off.items()
    )
    return Verification(values, total, "relay", "reset", most, largest, within, distances, True, counted)


def _held(program: Program, one: Mapping[str, np.ndarray]) -> int:
    """Events that the plain interpreter holds of one sample."""
    result = program.run(one, counts=True)
    neurons = sum(int(array[0].size) for array in result.counts.values())
    return max(neurons * int(result.steps.max(initial=1)), 1)
