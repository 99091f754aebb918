"""What a target can hold, and where a program does not fit it: populations, numbers and what would fit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from functools import cache
from importlib.resources import files

from snnir.backends.bundle.resources import fan_in, weight_bits
from snnir.errors import UsageError
from snnir.machine.emitters import Combining
from snnir.machine.program import IntegerProgram, Population, Product, Scan, Summing, walk
from snnir.machine.ranges import Bounds, bits_of

__all__ = ["Limits", "Violation", "target", "target_names", "violations"]


@dataclass(frozen=True)
class Limits:
    """What a target can hold; None: nothing is said of it. `payload` is the largest magnitude of an event between neurons,
    `core_memory_bits` the synapse memory of one core, `max_fan_in` the synapses into one neuron."""

    weight_bits: int | None = None
    membrane_bits: int | None = None
    max_fan_in: int | None = None
    max_neurons_per_core: int | None = None
    payload: int | None = None
    cores: int | None = None
    core_memory_bits: int | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and value < 1:
                raise UsageError(f"limit {field.name} is {value}; it must be 1 or more")

    def __or__(self, other: Limits) -> Limits:
        """These limits, replaced where the others say something."""
        return Limits(**{**asdict(self), **other.facts()})

    def facts(self) -> dict[str, int]:
        """The limits that are there, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class Violation:
    """One limit that a population (or all of a program: "") is beyond; `fitted` where mapping can do something about it."""

    population: str
    limit: str
    found: int
    allowed: int
    remedy: str
    fitted: bool = False

    def __str__(self) -> str:
        where = f"population {self.population}" if self.population else "the program"
        return f"{where}: {self.limit.replace('_', ' ')} {self.found}, the limit is {self.allowed}; {self.remedy}"


@cache
def _targets() -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = json.loads((files("snnir.backends.bundle") / "targets.json").read_text("utf-8"))
    return found


def target_names() -> list[str]:
    """The names of targets that are known."""
    return sorted(_targets())


def target(name: str) -> tuple[Limits, str]:
    """A target's limits, and the publication they are from. Raises `UsageError` listing the names."""
    if name not in _targets():
        raise UsageError(f"target {name!r} is unknown; choose one of {', '.join(target_names())}")
    found = _targets()[name]
    limits = found["limits"]
    assert isinstance(limits, dict)
    return Limits(**limits), str(found["source"])


def violations(program: IntegerProgram, bounds: Bounds, limits: Limits) -> list[Violation]:
    """Every limit that the program is beyond, but for those of cores (`cores.py`)."""
    return [found for op, _ in walk(program.ops) for found in _of_op(op, program, bounds, limits)]


def _of_op(op: object, program: IntegerProgram, bounds: Bounds, limits: Limits) -> Iterator[Violation]:
    if isinstance(op, Summing):
        name = op.train.name
        bits = max((weight_bits(synapse) for synapse in op.synapses), default=1)
        if limits.weight_bits is not None and bits > limits.weight_bits:
            remedy = f"compile with weights of {limits.weight_bits} bits"
            yield Violation(name, "weight_bits", bits, limits.weight_bits, remedy)
        membrane = bits_of(bounds.registers[name]["membrane"])
        if limits.membrane_bits is not None and membrane > limits.membrane_bits:
            over = membrane - limits.membrane_bits
            remedy = f"compile with weights of {max(bits - over, 2)} bits, which need about {over} bits less in the membrane"
            yield Violation(name, "membrane_bits", membrane, limits.membrane_bits, remedy)
        most = int(fan_in(op).max(initial=0))
        if limits.max_fan_in is not None and most > limits.max_fan_in:
            parts = -(-most // limits.max_fan_in)
            remedy = f"split its synapses over {parts} compartments a neuron, whose sums are added up"
            yield Violation(name, "max_fan_in", most, limits.max_fan_in, remedy, True)
        if limits.max_neurons_per_core is not None and op.train.size > limits.max_neurons_per_core:
            parts = -(-op.train.size // limits.max_neurons_per_core)
            remedy = f"split it over {parts} cores"
            yield Violation(name, "max_neurons_per_core", op.train.size, limits.max_neurons_per_core, remedy, True)
    if limits.payload is None:
        return
    if isinstance(op, Population | Combining):
        low, high = bounds.trains[op.train.name]["events"]
        if max(high, -low) > limits.payload:
            what = "products of two values that change" if isinstance(op, Product) else "such events"
            remedy = f"{what} need payloads: choose a target with graded spikes"
            yield Violation(op.train.name, "payload", max(high, -low), limits.payload, remedy)
    if isinstance(op, Scan):
        for train in [item.input for items in (op.states, op.elements, op.shared) for item in items]:
            low, high = bounds.trains[train.name]["events"]
            if max(high, -low) > limits.payload:
                remedy = "choose relay delivery and reset execution, which send single spikes"
                if program.delivery == "relay" and not program.carry:
                    remedy = "what it receives is charged at once: choose a target with graded spikes"
                yield Violation(train.name, "payload", max(high, -low), limits.payload, remedy)
