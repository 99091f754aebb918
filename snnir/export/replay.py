"""Bundles replayed and described: the integer executor against golden vectors, and what a bundle holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from snnir.errors import InputError
from snnir.runtime.inputs import as_inputs

if TYPE_CHECKING:
    from snnir.backends.bundle import Bundle, Golden
    from snnir.machine import IntegerProgram
    from snnir.machine.interpreter import Execution

__all__ = ["InputRun", "Replayed", "bundle_facts", "replay_bundle", "run_inputs"]

_LARGEST_REPLAY = 1 << 31
"""Events (samples x steps x addresses) of all trains of one window that a replay may have to keep."""


@dataclass
class Replayed:
    """What a bundle's golden vectors said: integers and events compared, and how many were not the same."""

    samples: int
    compared: int = 0
    mismatches: int = 0
    events: int = 0
    event_mismatches: int = 0
    beyond: list[str] = field(default_factory=list)
    """Registers, events and steps that were beyond what was certified of them."""
    registers: dict[str, dict[str, tuple[int, int]]] = field(default_factory=dict)
    """Bits certified and bits needed for what was seen, by population and register."""

    @property
    def ok(self) -> bool:
        """No difference, and nothing beyond its range."""
        return not (self.mismatches or self.event_mismatches or self.beyond)

    def facts(self) -> dict[str, object]:
        """As JSON."""
        registers = {
            name: {
                register: {"bits_certified": certified, "bits_needed": needed} for register, (certified, needed) in found.items()
            }
            for name, found in self.registers.items()
        }
        return {
            "samples": self.samples,
            "counts_compared": self.compared,
            "mismatches": self.mismatches,
            "events_compared": self.events,
            "event_mismatches": self.event_mismatches,
            "beyond_certified": self.beyond,
            "registers": registers,
            "ok": self.ok,
        }


def replay_bundle(bundle: Bundle) -> Replayed:
    """Run the golden inputs from the bundle alone, in registers of exactly the certified widths, and compare everything.

    Raises `InputError` where there are no golden vectors, or where they need more memory than a replay may take.
    """
    from snnir.backends.bundle import Events
    from snnir.machine import interpret
    from snnir.machine.ranges import bits_of

    golden = bundle.golden
    if golden is None:
        raise InputError("the bundle has no golden vectors")
    _check_size(bundle, golden.samples)
    widths = {name: {key: bits_of(found) for key, found in table.items()} for name, table in bundle.bounds.registers.items()}
    result = interpret(bundle.program, golden.inputs, widths)
    found = Replayed(golden.samples)
    for name, counts in golden.counts.items():
        found.compared += counts.size
        found.mismatches += int(np.count_nonzero(result.counts[name] != counts))
    for name, events in golden.events.items():
        mine = Events.of(result.trains[name]).rows
        found.events += len(events.rows)
        if not np.array_equal(mine, events.rows):
            found.event_mismatches += max(len(_different(mine, events.rows)), 1)
        low, high = bundle.bounds.trains[name]["events"]
        if len(mine) and not (low <= mine[:, 4].min() and mine[:, 4].max() <= high):
            found.beyond.append(f"events of {name}")
        if len(mine) and mine[:, 2].max() >= bundle.settling.steps[name]:
            found.beyond.append(f"steps of {name}")
    for name, observed in result.observed.items():
        certified = bundle.bounds.registers[name]
        for register, (low, high) in observed.ranges.items():
            if not certified[register][0] <= low <= high <= certified[register][1]:
                found.beyond.append(f"{register} of {name}: {low}..{high}, certified {certified[register]}")
            bits = bits_of(certified[register]), bits_of((low, high))
            found.registers.setdefault(name, {})[register] = bits
    return found


def _different(mine: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Rows that only one of two lists of events has."""
    rows, counts = np.unique(np.concatenate([mine, theirs]), axis=0, return_counts=True)
    return np.asarray(rows[counts == 1])


def _check_size(bundle: Bundle, samples: int) -> None:
    from snnir.machine.program import Route, Scan, walk

    emitted = [op.train for op, _ in walk(bundle.program.ops) if not isinstance(op, Scan)]
    largest = sum(train.size * max(bundle.settling.steps.get(train.name, 0), 1) for train in emitted)
    routed = sum(op.map.size for op, _ in walk(bundle.program.ops) if isinstance(op, Route))
    if samples * largest + routed > _LARGEST_REPLAY:
        raise InputError(f"a replay would keep {samples * largest:,} events; {_LARGEST_REPLAY:,} is the most: give fewer samples")


@dataclass(frozen=True)
class InputRun:
    """A bundle's program on inputs, by the plain interpreter."""

    program: IntegerProgram
    levels: dict[str, np.ndarray]
    """What encoders charge, int64 [N, n] or [N, windows, n], by the names of input trains."""
    reals: dict[str, np.ndarray]
    result: Execution
    outputs: dict[str, np.ndarray]
    """By the model's names."""

    @property
    def counts(self) -> dict[str, np.ndarray]:
        """Settled tracers and the sums of readouts, by name."""
        return self.result.counts

    def golden(self) -> Golden:
        """All of it as golden vectors, for another engine to be held against."""
        from snnir.backends.bundle import Events, Golden
        from snnir.machine.program import Readout, emitting

        samples = len(next(iter(self.levels.values()), np.zeros(1)))
        golden = Golden(samples, self.levels, self.reals, self.result.counts)
        for name, (op, _) in emitting(self.program).items():
            if not isinstance(op, Readout):
                golden.events[name] = Events.of(self.result.trains[name])
        return golden


def run_inputs(bundle: Bundle, x: np.ndarray | Mapping[str, np.ndarray]) -> InputRun:
    """Run what `Program.run` takes.

    A bundle that does not hold the host's part (versions 1 and 2 of the format) takes real values by the names of its sources,
    sequences [N, windows, ...] inside a scan, and gives those outputs that need no host. Raises `InputError`.
    """
    from snnir.machine import interpret

    program, host = bundle.program, bundle.host
    inputs = as_inputs(host.before, x) if host is not None else {}
    reals = host.reals(inputs, program) if host is not None else _given_reals(bundle, x)
    levels = {name: _rounded(bundle, name, values) for name, values in reals.items()}
    samples = len(next(iter(levels.values()), np.zeros(1)))
    if not samples:
        raise InputError("the data hold 0 samples, and nothing would run; give at least one")
    _check_size(bundle, samples)
    result = interpret(program, levels)
    settled = {output.name: result.settled[output.source] for output in program.outputs if output.kind == "levels"}
    readouts = _readouts(bundle, result.counts)
    if host is not None:
        found = host.outputs(inputs, readouts, settled)
        outputs = {output.name: found[output.name] for output in program.outputs}
    else:
        real = {output.name: readouts[output.source] for output in program.outputs if output.kind == "real"}
        outputs = {output.name: (settled | real)[output.name] for output in program.outputs if output.kind != "host"}
    return InputRun(program, levels, reals, result, outputs)


def _given_reals(bundle: Bundle, x: np.ndarray | Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What encoders round, [N, n] or in order of processing [N, windows, n], where inputs are those of encoders."""
    from snnir.machine import emitting
    from snnir.machine.host_graphs import reversed_trains
    from snnir.machine.program import Input

    known, reverse = emitting(bundle.program), reversed_trains(bundle.program)
    needed = {name: op for name, (op, _) in known.items() if isinstance(op, Input)}
    sources = {op.source for op in needed.values()}
    given = dict(x) if isinstance(x, Mapping) else dict.fromkeys(sources, x)
    if set(given) != sources or (not isinstance(x, Mapping) and len(sources) != 1):
        raise InputError(
            f"the bundle takes inputs {', '.join(sorted(sources))}; given were {', '.join(given) or 'none'}: it was made before "
            "bundles held what the host computes; make it again to give it the model's inputs"
        )
    reals = {}
    for name, op in needed.items():
        values, windows = np.asarray(given[op.source]), known[name][1]
        shape = (*(() if windows is None else (windows,)), *op.train.shape)
        if values.dtype.kind not in "fiub" or values.shape[1:] != shape:
            raise InputError(f"input {op.source}: expected numbers [N, {', '.join(map(str, shape))}], found {list(values.shape)}")
        if not np.isfinite(values).all():
            raise InputError(f"input {op.source} holds NaN or infinite values; remove or replace them")
        flat = values.astype(np.float32).reshape(len(values), *(() if windows is None else (windows,)), op.train.size)
        reals[name] = flat[:, ::-1] if name in reverse else flat
    return reals


def _rounded(bundle: Bundle, name: str, values: np.ndarray) -> np.ndarray:
    """The levels int64 that an encoder charges for real values."""
    from snnir.ir.ops import Encode
    from snnir.ir.types import Quantization
    from snnir.machine import emitting

    train = emitting(bundle.program)[name][0].train
    (levels,) = Encode(Quantization(train.scale, train.lo, train.hi)).evaluate(values)
    return levels.astype(np.int64)


def _readouts(bundle: Bundle, counts: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The real values of readouts, float32 [N, ...] or, element by element, [N, windows, ...]."""
    from snnir.machine import emitting
    from snnir.machine.host_graphs import reversed_trains
    from snnir.machine.program import Readout

    reverse, found = reversed_trains(bundle.program), {}
    for name, (op, _) in emitting(bundle.program).items():
        if isinstance(op, Readout):
            sums = counts[name]
            values = (sums * op.scale[op.scale_map.array()]).astype(np.float32).reshape(*sums.shape[:-1], *op.train.shape)
            found[name] = values[:, ::-1] if name in reverse else values
    return found


def bundle_facts(bundle: Bundle) -> dict[str, object]:
    """What a bundle holds, for people and programs."""
    from snnir.backends.bundle.resources import weight_bits
    from snnir.machine.program import FewSpikes, Population, Summing, walk
    from snnir.machine.ranges import bits_of

    program, bounds = bundle.program, bundle.bounds
    summing = [op for op, _ in walk(program.ops) if isinstance(op, Summing)]
    weights = {id(synapse.weights): synapse for op in summing for synapse in op.synapses}.values()
    populations: dict[str, dict[str, object]] = {}
    for op in summing:
        spiking = isinstance(op, Population | FewSpikes)
        populations[op.train.name] = {
            "size": op.train.size,
            "kind": "few-spikes" if isinstance(op, FewSpikes) else "bif" if spiking else type(op).__name__.lower(),
            **({"thresholds": "staircase" if op.staircase else "uniform"} if isinstance(op, Population | FewSpikes) else {}),
            "bits": {key: bits_of(found) for key, found in bounds.registers[op.train.name].items() if key != "sum"},
        }
    mapping = bundle.mapping
    cores = mapping.get("cores")
    facts: dict[str, object] = {
        "name": program.name,
        "delivery": program.delivery,
        "execution": program.execution,
        "weights": sum(synapse.weights.size for synapse in weights),
        "weight_bits": max((weight_bits(synapse) for synapse in weights), default=0),
        "neurons": sum(op.train.size for op in summing if isinstance(op, Population | FewSpikes)),
        "populations": populations,
        "steps_outside": bundle.settling.outer,
        "steps_in_scans": {name: max(steps) for name, steps in bundle.settling.windows.items()},
        "host": list(program.host),
        "golden_samples": bundle.golden.samples if bundle.golden is not None else 0,
    }
    if isinstance(cores, list):
        facts["cores"] = len(cores)
        facts["limits"] = mapping["limits"]
        facts["utilisation"] = mapping["utilisation"]
        facts["largest_core_memory_bits"] = max((sum(piece["memory_bits"] for piece in core) for core in cores), default=0)
    return facts
