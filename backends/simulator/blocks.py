"""What a plan is made of: one small class for each kind of step, holding the arrays that its kernel takes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snnir.backends.simulator.synapses import Segments
from snnir.backends.simulator.wiring import AddressMap, Source
from snnir.ir.graph import Node, Value

__all__ = ["Emission", "EncodePlan", "Plan", "PopulationPlan", "ScanPlan", "StatePlan", "Step", "TracerPlan"]


@dataclass(frozen=True, eq=False)
class Emission:
    """A value of a body or graph as the driver needs it: its roots and the size of one sample.

    `encoded`: nothing but encoders and constants emit it.
    """

    value: Value
    sources: tuple[Source, ...]
    shape: tuple[int, ...]
    encoded: bool

    @property
    def size(self) -> int:
        """Number of addresses."""
        return int(np.prod(self.shape))


@dataclass(frozen=True, eq=False)
class EncodePlan:
    """An encoder. `fixed`: it charges the same levels into every sample, and counts as no value of the network.

    `given`: the reals (f32, batch in front) that the kernel rounds half up; None where the host finds the levels.
    """

    value: Value
    name: str
    shape: tuple[int, ...]
    fixed: bool
    given: Value | None = None


@dataclass(frozen=True, eq=False)
class PopulationPlan:
    """A population, or a readout (levels 0..0). `inputs` are the roots that each segment takes.

    `table` int64[rows of thresholds, levels or 1]; `parameter[i]` is the row of neuron i.
    """

    value: Value
    name: str
    shape: tuple[int, ...]
    inputs: tuple[tuple[Source, ...], ...]
    segments: Segments
    table: np.ndarray
    parameter: np.ndarray
    levels: tuple[int, int, bool]
    readout: bool
    bits: int = 0
    omitted: int = 0
    """Of few-spike neurons: the bits of the largest level, and how many of them are not told."""


@dataclass(frozen=True, eq=False)
class TracerPlan:
    """The change of a function of tracers: of the largest of each window, or (`product`) of the product of two.

    The arrays are those of `kernels.combine`.
    """

    value: Value
    name: str
    shape: tuple[int, ...]
    inputs: tuple[Source, ...]
    rows: AddressMap
    members: np.ndarray
    product: bool


@dataclass(frozen=True, eq=False)
class StatePlan:
    """A state: the body's input, what it starts as (outer roots) and what it becomes (body roots)."""

    input: Value
    initial: Emission
    following: Emission
    final: Value


@dataclass(frozen=True, eq=False)
class ScanPlan:
    """A scan. `elements` are pairs of a body input and the whole sequence (outer roots); `shared` likewise; `stacked`
    pairs of an outer result and the body's value."""

    node: Node
    length: int
    states: tuple[StatePlan, ...]
    elements: tuple[tuple[Value, Emission], ...]
    shared: tuple[tuple[Value, Emission], ...]
    stacked: tuple[tuple[Value, Emission], ...]
    body: Plan


Step = EncodePlan | PopulationPlan | TracerPlan | ScanPlan


@dataclass(frozen=True, eq=False)
class Plan:
    """Steps in order; `outputs` are the spiking ones."""

    steps: tuple[Step, ...]
    outputs: tuple[tuple[str, Emission], ...]
    few: bool
    """Whether neurons are few-spike neurons."""
