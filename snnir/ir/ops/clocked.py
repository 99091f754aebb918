"""Ops of networks on a clock of T steps: integrate-and-fire neurons, and what a clock makes of levels.

Such a network has the same spikes at the same steps in every backend, but its spikes do not settle to the quantized network's
integers: counts of T steps approximate them. `evaluate` gives the quantized network's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from snnir.errors import GraphError
from snnir.ir.op import FLOAT, QUANTIZED, SPIKING, Example, Op, register
from snnir.ir.ops.rules import example
from snnir.ir.ops.spiking import Population
from snnir.ir.types import Quantization, TensorType

__all__ = ["BERNOULLI", "CONSTANT", "ENCODERS", "RATE", "RESETS", "WHOLE", "WINDOW", "Clock", "If"]

RESETS = ("soft", "hard")
"""What a spike does to the potential: it takes theta off, or sets it to 0."""
CONSTANT, RATE, BERNOULLI, WINDOW = "constant", "rate", "bernoulli", "window"
ENCODERS = (CONSTANT, RATE, BERNOULLI)
"""What inputs send at each step: the whole level; evenly spaced spikes; a spike with a probability."""
WHOLE = 100
"""`initial` and `shift` are given in hundredths of theta."""


@register
@dataclass(frozen=True)
class If(Population):
    """A population of integrate-and-fire neurons on a clock of T steps, T the highest level: at most one spike a step, unsigned.

    With the bias B of all T steps, D = B + floor(shift theta / 100), I(t) what arrives in step t, and
    V(0) = floor(initial theta / 100), S(0) = 0, in every step t = 0 .. T-1:

        V -= V >> leak                                            (where leak is not 0; >> rounds down)
        V += I(t) + floor(D (t+1) / T) - floor(D t / T)
        V -= theta (soft) or V = 0 (hard), if `delayed` and a spike was sent in step t-1
        y = 1 if V >= theta else 0;  S += y
        V -= theta (soft) or V = 0 (hard), if y = 1 and not `delayed`

    V(0) = theta/2 (`initial` 50) and the shift of theta/(2T) a step (`shift` 50) are those of Deng and Gu (ICLR 2021). S / T
    approximates the level that `evaluate` gives, the quantized network's; the two may differ.
    """

    name = "if"

    reset: str = "soft"
    initial: int = 50
    shift: int = 0
    leak: int = 0
    delayed: bool = False

    @property
    def steps(self) -> int:
        """The T of its clock."""
        return self.quantization.hi

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        if self.staircase or self.quantization.lo != 0 or self.quantization.hi < 1:
            raise GraphError(f"{self.name} needs uniform thresholds and levels 0..T, found {self.quantization}")
        if self.reset not in RESETS:
            raise GraphError(f"{self.name} has no reset {self.reset!r}; choose one of {', '.join(RESETS)}")
        if not (0 <= self.initial <= WHOLE and 0 <= self.shift <= WHOLE and 0 <= self.leak <= 30):
            raise GraphError(f"{self.name}: initial and shift are 0..{WHOLE} hundredths of theta, leak is 0..30 bits")
        return super().infer(*types)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        currents = np.arange(-20, 22).reshape(14, 3)
        theta, bias = np.array([1, 4, 7], np.int32), np.array([0, -3, 2], np.int32)
        yield example(cls(Quantization(0.5, 0, 4)), theta, bias, (currents, "current"))
        yield example(cls(Quantization(0.5, 0, 8), False, "hard", 0, 50, 2, True), theta, bias, (currents, "current"))


@register
@dataclass(frozen=True)
class Clock(Op):
    """Levels q as what is sent in each of `steps` steps T; levels of the result count what is sent in all of them.

    `constant`: q itself in every step, in all T q levels of scale/T each. `rate`: a spike of the sign of q in step t where
    floor(|q| (t+1) / T) exceeds floor(|q| t / T). `bernoulli`: one with probability |q| / T, by a generator of integers
    (`snnir/ir/generator.py`) of `seed`, sample, address and step; q are its expected spikes. `window`: what a train sends from
    step `first` on, to be averaged over the T - first steps that are left.
    """

    name = "clock"
    operands = ("x",)
    levels = (FLOAT, QUANTIZED, SPIKING)

    steps: int = 1
    kind: str = CONSTANT
    seed: int = 0
    first: int = 0

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        (x,) = types
        found, steps = x.levels, self.steps
        if self.kind not in (*ENCODERS, WINDOW) or steps < 1 or not 0 <= self.first < steps:
            raise GraphError(f"{self.name} of kind {self.kind!r}, {steps} steps, from step {self.first}")
        if self.kind == CONSTANT:
            found = Quantization(found.scale / steps, found.lo * steps, found.hi * steps)
        elif self.kind == WINDOW:
            left = steps - self.first
            lo, hi = max(found.lo, found.lo // steps * left), min(found.hi, -(-found.hi // steps) * left)
            found = Quantization(found.scale * steps / left, lo, hi)
        elif not -steps <= found.lo <= found.hi <= steps:
            raise GraphError(f"{self.name}: levels {found} are more than the {steps} steps of the clock")
        return (TensorType(x.shape, x.dtype, found),)

    def stored(self, types: object) -> bool:
        return True

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        (levels,) = arrays
        if self.kind == CONSTANT:
            return (levels * self.steps,)
        return ((levels * (self.steps - self.first) // self.steps) if self.kind == WINDOW else levels.copy(),)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        x = np.arange(-2, 4).reshape(2, 3)
        for op in (cls(4), cls(4, RATE), cls(4, BERNOULLI, 7), cls(4, WINDOW, 0, 1)):
            yield example(op, (x, Quantization(0.5, -2, 3), "int"))
            yield example(op, (x, Quantization(0.5, -2, 3), "spike"))
