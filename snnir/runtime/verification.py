"""The proof: every settled tracer and every readout of the simulator against the integer reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from snnir.errors import InputError
from snnir.html import bar, section, table
from snnir.ir import Graph, Node, Value
from snnir.ir.execute import bind_sizes, execute
from snnir.ir.op import Trait
from snnir.ir.ops import Dequantize, Encode, Readout, Scan
from snnir.machine.host import fixed_values
from snnir.runtime.accuracy import Distance, Meter
from snnir.runtime.inputs import sample_count, samples

if TYPE_CHECKING:
    from snnir.runtime.program import Program

__all__ = ["Verification", "integer_counts", "verify_program"]

_CHUNK = 64


@dataclass(frozen=True)
class Verification:
    """What was compared, value by value, and how long windows took against their certified bounds."""

    values: tuple[tuple[str, int, int], ...]
    """(name, integers compared, mismatches) of every population, encoder, max and readout."""
    samples: int
    delivery: str
    execution: str
    steps: int
    """The most inner time-steps that any window took."""
    bound: int
    """The largest certified bound of any window."""
    within_bounds: bool
    """Whether every window of every sample stayed within its own certified bound."""
    distances: tuple[Distance, ...] = ()
    """How far the outputs of the spiking network are from the float network's."""
    clocked: bool = False
    """Whether neurons run on a clock: then what was compared are spikes, step by step, with those of the plain interpreter."""
    counts: tuple[tuple[str, int, int, float, int], ...] = ()
    """On a clock, of every population: (name, neurons, those that count other spikes than the quantized network's level, the mean
    and the largest of these differences)."""

    @property
    def claim(self) -> str:
        """What equality says here."""
        if self.clocked:
            return "the same spikes at the same steps as the plain interpreter" if self.ok else "NOT the same spikes"
        if not self.compared:
            return "nothing to compare: nothing in this program spikes"
        return "equal integers" if self.ok else "NOT equal integers"

    @property
    def distance_to_levels(self) -> str:
        """On a clock: how far counts are from the quantized network's levels, in words; else empty."""
        neurons, other = sum(item[1] for item in self.counts), sum(item[2] for item in self.counts)
        if not neurons:
            return ""
        mean = sum(item[1] * item[3] for item in self.counts) / neurons
        largest = max(item[4] for item in self.counts)
        return (
            f"distance to the quantized network: {other:,} of {neurons:,} counts are other than its levels, "
            f"by {mean:.3g} on average over all and {largest:,} at most"
        )

    def __repr__(self) -> str:
        if self.clocked:
            said = f"{self.mismatches:,} differences in {self.compared:,} events and sums of {self.samples:,} samples"
            return f"<Verification: {self.claim}: {said}; {self.distance_to_levels}>"
        state = ("equal" if self.ok else "NOT EQUAL") if self.compared else "of nothing that spikes"
        counted = f"{self.mismatches:,} mismatches out of {self.compared:,} integers of {self.samples:,} samples"
        return f"<Verification {state}: {counted}; {self.steps} steps at most, {self.bound} certified>"

    @property
    def compared(self) -> int:
        """The number of integers compared."""
        return sum(compared for _, compared, _ in self.values)

    @property
    def mismatches(self) -> int:
        """The number of integers that differ."""
        return sum(mismatches for _, _, mismatches in self.values)

    @property
    def ok(self) -> bool:
        """No mismatch, and no window beyond its bound."""
        return self.mismatches == 0 and self.within_bounds

    def _repr_html_(self) -> str:
        """What was compared, for notebooks."""
        most = max((count for _, count, _ in self.values), default=0)
        rows = [
            [name, f"{count:,}", f"{bad:,}", bar(count, most, "#d4570a" if bad else "#14803c")]
            for name, count, bad in self.values
        ]
        verdict = self.claim
        said = f"{self.mismatches:,} mismatches out of {self.compared:,} integers of {self.samples:,} samples"
        steps = f"{self.steps} steps at most, {self.bound} certified ({self.execution}, {self.delivery})"
        parts = [f"distance to float: {item.name}: {item}" for item in self.distances]
        parts += [self.distance_to_levels] if self.counts else []
        return section(f"{verdict}: {said}", steps, table(("value", "compared", "mismatches", ""), rows, numbers=(1, 2)), *parts)


def integer_counts(quantized: Graph, spiking: Graph, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What the integer reference says of every counted value of the spiking graph, under the simulator's names.

    Values of a scan body are called `<first result of the scan>/<value>` and are [N, K, ...] in order of processing;
    readouts give their sums. Encoders of constants are the same for every sample and are not counted.
    """
    names: dict[Value, list[str]] = {}
    _match(quantized, spiking, "", names)
    seen: dict[Value, list[np.ndarray]] = {}

    def observe(value: Value, array: np.ndarray) -> None:
        if value in names:
            seen.setdefault(value, []).append(array)

    execute(quantized, inputs, observe)
    top = set(quantized.values.values())
    counts = {}
    for value, arrays in seen.items():
        counts.update(dict.fromkeys(names[value], arrays[0] if value in top else np.stack(arrays, axis=1)))
    return counts


def _match(quantized: Graph, spiking: Graph, prefix: str, names: dict[Value, list[str]]) -> None:
    """Find for every counted value of the spiking graph the value of the quantized graph that it must equal.

    A population and the readout of its levels must equal the same one.
    """
    fixed = fixed_values(spiking, {})
    for node in spiking.nodes:
        if isinstance(node.op, Scan):
            other = _producer(quantized, node)
            _match(other.inner, node.inner, f"{prefix}{node.outputs[0].name}/", names)
        elif isinstance(node.op, Encode) and node.output in fixed:
            continue
        elif node.op.has(Trait.EMITS):
            for value in node.outputs:
                names.setdefault(quantized.values[value.name], []).append(prefix + value.name)
        elif isinstance(node.op, Readout):
            twin = _producer(quantized, node)
            twin.expect(Dequantize)
            names.setdefault(twin.operands[0], []).append(prefix + node.output.name)


def _producer(graph: Graph, node: Node) -> Node:
    producer = graph.values[node.outputs[0].name].node
    return producer


def verify_program(
    program: Program,
    inputs: Mapping[str, np.ndarray],
    delivery: str = "relay",
    execution: str = "reset",
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    model: Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]] | None = None,
    max_memory: int | None = None,
) -> Verification:
    """Run simulator and integer reference on all samples and compare every counted integer.

    `model` gives the float network's outputs for inputs by name; by default the float graph does. Raises `InputError`
    without samples.
    """
    spiking = program.graph("spiking")
    total = sample_count(spiking, inputs)
    if not total:
        raise InputError("the data hold 0 samples, and nothing would be compared; give at least one")
    empty = [name for name, array in inputs.items() if not array.size]
    if len(empty) == len(inputs):
        raise InputError(
            f"input {empty[0]} is empty ({list(inputs[empty[0]].shape)}), and nothing would be compared; give larger data"
        )
    quantized = program.graph("quantized")
    meters = {name: Meter(name, value.type) for name, value in program.graph("float").outputs.items()}
    found: dict[str, list[int]] = {}
    most, largest, within = 0, 0, True
    for start in range(0, total, _CHUNK):
        chunk = samples(spiking, inputs, start, start + _CHUNK)
        result = program.run(chunk, delivery=delivery, execution=execution, counts=True, threads=threads, max_memory=max_memory)
        expected = integer_counts(quantized, spiking, chunk)
        for name in sorted({*expected, *result.counts}):
            a, b = expected.get(name), result.counts.get(name)
            entry = found.setdefault(name, [0, 0])
            if a is None or b is None:
                only = sum(array.size for array in (a, b) if array is not None)
                entry[0] += only
                entry[1] += only
                continue
            a = np.broadcast_to(a, b.shape) if a.ndim == b.ndim else a
            entry[0] += b.size
            entry[1] += int((a != b).sum()) if a.shape == b.shape else b.size
        floats = execute(program.graph("float"), chunk) if model is None else model(chunk)
        for name, meter in meters.items():
            meter.add(np.asarray(floats[name]), result.outputs[name])
        bounds = program.bounds(bind_sizes(spiking, chunk), delivery, execution)
        limits = np.array([bound for windows in bounds.values() for bound in windows])
        within = within and bool((result.steps <= limits).all())
        most, largest = max(most, int(result.steps.max(initial=0))), max(largest, int(limits.max(initial=0)))
        if progress is not None:
            progress(min(start + _CHUNK, total), total)
    values = tuple((name, compared, wrong) for name, (compared, wrong) in found.items())
    distances = tuple(meter.distance() for meter in meters.values())
    return Verification(values, total, delivery, execution, most, largest, within, distances)
