"""Core mapping: populations cut into pieces that fit a core, cores filled one after another in order of evaluation."""

from __future__ import annotations

from dataclasses import dataclass, field

from snnir.backends.bundle.limits import Limits, Violation
from snnir.backends.bundle.resources import fan_in, memory_bits
from snnir.machine.program import IntegerProgram, Summing, walk

__all__ = ["Core", "Mapping", "Piece", "map_cores"]


@dataclass(frozen=True)
class Piece:
    """Neurons first..last - 1 of a population, each of `compartments` (synapses beyond the fan-in go to further ones, whose
    sums are added to the first)."""

    population: str
    first: int
    last: int
    compartments: int
    memory_bits: int

    @property
    def slots(self) -> int:
        """Neurons' places on the core."""
        return (self.last - self.first) * self.compartments


@dataclass
class Core:
    """What lies on one core."""

    pieces: list[Piece] = field(default_factory=list)

    @property
    def slots(self) -> int:
        """Places that are taken."""
        return sum(piece.slots for piece in self.pieces)

    @property
    def memory_bits(self) -> int:
        """Bits of synapse memory that are taken."""
        return sum(piece.memory_bits for piece in self.pieces)


@dataclass
class Mapping:
    """Cores in order, and the limits they keep."""

    limits: Limits
    cores: list[Core]
    problems: list[Violation]

    @property
    def utilisation(self) -> float:
        """Share of the neurons' places that are taken, on all cores used."""
        places = (self.limits.max_neurons_per_core or 0) * len(self.cores)
        return sum(core.slots for core in self.cores) / places if places else 1.0

    def facts(self) -> dict[str, object]:
        """The mapping as JSON."""
        return {
            "limits": self.limits.facts(),
            "utilisation": round(self.utilisation, 4),
            "cores": [
                [
                    {
                        "population": piece.population,
                        "neurons": [piece.first, piece.last],
                        "compartments": piece.compartments,
                        "memory_bits": piece.memory_bits,
                    }
                    for piece in core.pieces
                ]
                for core in self.cores
            ],
        }


def map_cores(program: IntegerProgram, limits: Limits) -> Mapping:
    """Cut every population and readout into pieces and put them on cores. Without limits, each has one of its own."""
    mapping = Mapping(limits, [Core()], [])
    for op, _ in walk(program.ops):
        if isinstance(op, Summing):
            _place(op, mapping)
            if limits.max_neurons_per_core is None and limits.core_memory_bits is None:
                mapping.cores.append(Core())
    mapping.cores = [core for core in mapping.cores if core.pieces]
    if limits.cores is not None and len(mapping.cores) > limits.cores:
        remedy = "use several chips, or a smaller network"
        mapping.problems.append(Violation("", "cores", len(mapping.cores), limits.cores, remedy))
    return mapping


def _place(op: Summing, mapping: Mapping) -> None:
    limits, name = mapping.limits, op.train.name
    most = int(fan_in(op).max(initial=0))
    compartments = -(-most // limits.max_fan_in) if limits.max_fan_in is not None and most else 1
    if limits.max_neurons_per_core is not None and compartments > limits.max_neurons_per_core:
        remedy = f"one neuron needs {compartments} compartments, more than a core has: use fewer inputs"
        mapping.problems.append(Violation(name, "max_fan_in", most, limits.max_fan_in or 0, remedy))
        return
    first = 0
    while first < op.train.size:
        last = _fits(op, mapping.cores[-1], limits, compartments, first)
        if last == first:
            if not mapping.cores[-1].pieces:
                remedy = "the weights of one neuron alone are too many: use fewer inputs or weight bits"
                found = memory_bits(op, first, first + 1)
                mapping.problems.append(Violation(name, "core_memory_bits", found, limits.core_memory_bits or 0, remedy))
                return
            mapping.cores.append(Core())
            continue
        mapping.cores[-1].pieces.append(Piece(name, first, last, compartments, memory_bits(op, first, last)))
        first = last


def _fits(op: Summing, core: Core, limits: Limits, compartments: int, first: int) -> int:
    """The last neuron, plus 1, up to which the population fits on the core from `first` on."""
    last = op.train.size
    if limits.max_neurons_per_core is not None:
        last = min(last, first + (limits.max_neurons_per_core - core.slots) // compartments)
    if limits.core_memory_bits is None:
        return last
    free = limits.core_memory_bits - core.memory_bits
    low, high = first, last  # memory grows with the piece
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if memory_bits(op, first, middle) <= free else (low, middle - 1)
    return low
