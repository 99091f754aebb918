"""Where the integers of a quantized graph come from: what training needs to know to pass gradients through the rounding."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from snnir.ir.graph import Node, Value

__all__ = ["RoundedBias", "RoundedLevels", "RoundedWeight", "Rounding"]


@dataclass(frozen=True)
class RoundedWeight:
    """`round(real.reshape(shape) * s / divisor)`, with s the scale of `source`."""

    real: Value | None
    """The constant of the float graph; None for a weight of 1."""
    source: Value
    """The levels of the quantized graph that are weighed."""
    shape: tuple[int, ...]
    divisor: np.ndarray


@dataclass(frozen=True)
class RoundedBias:
    """`round(sum of parts / grid)`: constants of the float graph, each with the shape it is added in."""

    parts: tuple[tuple[Value, tuple[int, ...]], ...]
    grid: np.ndarray


@dataclass(frozen=True)
class RoundedLevels:
    """`round(f(x) / s)` for the `quantize` node `node` of the float graph.

    f is the `chain` of activations, first applied first. x is a sum times `grid`, or a real number where `grid` is None.
    """

    node: Node
    chain: tuple[Node, ...] = ()
    grid: np.ndarray | None = None


@dataclass(frozen=True)
class Rounding:
    """Everything that rounds, by the values of the quantized graph (bodies included)."""

    weights: dict[Value, RoundedWeight] = field(default_factory=dict)
    biases: dict[Value, RoundedBias] = field(default_factory=dict)
    populations: dict[Value, RoundedLevels] = field(default_factory=dict)
    constants: dict[Value, Value] = field(default_factory=dict)
    """Constants that are taken as they are."""
