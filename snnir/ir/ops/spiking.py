"""Ops of the spiking level: encoders, synapses, populations, readouts.

`evaluate` is what they settle to; what they do step by step is the simulator's (`snnir.backends.simulator`). There are two
families of neurons: the bipolar integrate-and-fire neuron with a spike tracer (ST-BIF) of SpikeZIP-TF, arXiv:2406.03470,
whose recurrent use is the RBIF neuron of arXiv:2408.09403, and the few-spike neuron after arXiv:2002.00860.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from snnir.errors import GraphError
from snnir.ir.bits import truncated
from snnir.ir.dims import Shape
from snnir.ir.op import SPIKING, Example, Op, Trait, register
from snnir.ir.ops.affine import Linear, SparseLinear
from snnir.ir.ops.arithmetic import Mul
from snnir.ir.ops.quantize import Quantize, check_parameter, staircase, uniform_levels
from snnir.ir.ops.rules import broadcast, example
from snnir.ir.types import Quantization, TensorType

__all__ = ["Bif", "Dense", "Diagonal", "Encode", "Fs", "Population", "Rbif", "Readout", "Rfs", "Sparse", "Summing"]


@register
@dataclass(frozen=True)
class Encode(Quantize):
    """s-analog encoding: the levels of a real value are charged at the first step of its window, and nothing after."""

    name = "encode"
    traits = Quantize.traits | {Trait.EMITS}
    levels = (SPIKING,)

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        (result,) = super().infer(*types)
        return (TensorType(result.shape, "spike", self.quantization),)


@register
@dataclass(frozen=True)
class Dense(Linear):
    """Synapses from every element of the last axis to every output: a spike at i adds `weight[:, i]`."""

    name = "dense"
    levels = (SPIKING,)


@register
@dataclass(frozen=True)
class Diagonal(Mul):
    """One-to-one synapses: a spike adds its own weight (an IndRNN's recurrence, a residual connection)."""

    name = "diagonal"
    levels = (SPIKING,)


@register
@dataclass(frozen=True)
class Sparse(SparseLinear):
    """Synapses listed one by one: a spike at cols[k] adds weight[k] at rows[k]."""

    name = "sparse"
    levels = (SPIKING,)


@dataclass(frozen=True)
class Summing(Op):
    """Base: what adds up currents; `sum_shape` is the shape of the sum."""

    levels = (SPIKING,)
    dropped = ("accumulator", "membrane", "settle")

    bias_at: ClassVar[int] = 1
    """Which operand is the bias; all behind it are currents."""

    def stored(self, types: Sequence[TensorType]) -> bool:
        return True

    def sum_shape(self, bias: TensorType, currents: Sequence[TensorType]) -> Shape:
        """The shape of the sum. Raises `GraphError` where bias and currents do not fit."""
        if not currents or any(current.dtype != "current" for current in currents):
            raise GraphError(f"{self.name} needs one or more input currents")
        if not bias.is_weight:
            raise GraphError(f"{self.name} needs an integer bias")
        shape = broadcast(*(current.shape for current in currents))
        check_parameter(self.name, shape, bias.shape)
        return shape


@dataclass(frozen=True)
class Population(Summing):
    """Neurons that tell the level of their complete sum: base of all families of neurons.

    The level is `clip((A + theta//2) // theta, lo, hi)` of the sum A of bias and currents, theta[...]; with `staircase`,
    theta is a table [hi - lo, ...] and the level `lo + #{j : A >= theta[j]}`. A family says how spikes encode the level.
    """

    traits = frozenset({Trait.EMITS})
    operands = ("theta", "bias", "currents*")

    quantization: Quantization = Quantization(1.0, 0, 15)
    staircase: bool = False

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        theta, bias, *currents = types
        shape = broadcast(*(current.shape for current in currents)) if currents else ()
        self.sum_shape(bias, currents)
        parameter = theta.shape
        if self.staircase:
            if not parameter or parameter[0] != self.quantization.hi - self.quantization.lo:
                raise GraphError(f"{self.name} needs one threshold for each level above {self.quantization.lo}")
            parameter = parameter[1:]
        if not theta.is_weight:
            raise GraphError(f"{self.name} needs integer thresholds")
        check_parameter(self.name, shape, parameter)
        return (TensorType(shape, "spike", self.quantization),)

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        theta, bias, *currents = arrays
        total = sum(currents) + bias.astype(np.int64)
        return ((staircase if self.staircase else uniform_levels)(total, theta, self.quantization),)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        currents = np.arange(-20, 22).reshape(14, 3)
        theta, bias = np.array([1, 4, 7], np.int32), np.array([0, -3, 2], np.int32)
        yield example(cls(Quantization(0.5, -2, 3)), theta, bias, (currents, "current"), (currents[:1], "current"))
        table = np.array([[-9, -5, 0], [-9, 0, 0], [4, 9, 17]], np.int32)
        yield example(cls(Quantization(0.5, -1, 2), True), table, bias, (currents, "current"))


@register
@dataclass(frozen=True)
class Bif(Population):
    """A population of bipolar integrate-and-fire neurons with spike tracers S in lo..hi, at most one spike a step.

    Uniform: `V += input; y = +1 if V >= theta and S < hi, -1 if V < 0 and S > lo, else 0; V -= y theta; S += y`,
    with V(0) = theta//2 + bias and S(0) = 0. With `staircase`, the sum A is kept:
    `y = +1 if A >= t[S+1] and S < hi, -1 if A < t[S] and S > lo`, A(0) = bias. Settled, S is the level of the sum, whatever
    path led there.
    """

    name = "bif"


@register
@dataclass(frozen=True)
class Rbif(Bif):
    """A BIF population in a scan body that also receives spikes of window k-1 (arXiv:2408.09403).

    V and S start afresh in every window, or go on from window to window where the scan is carried.
    """

    name = "rbif"


@register
@dataclass(frozen=True)
class Fs(Population):
    """A population of few-spike neurons: the level of the complete sum, bit by bit, most significant first, one step a bit.

    After the FS neuron of Stoeckl and Maass (Nature Machine Intelligence 2021, arXiv:2002.00860), with exact integers. The
    population is silent until the step `start`, at which its input is complete (-1: not scheduled yet). From then on, with
    V(0) = theta//2 + A and S(0) = 0, for k = b-1 .. 0 with b the bits of max(hi, -lo):

        level >= 0:  y = +1 if S + 2^k <= hi and V >= 2^k theta;              V -= y 2^k theta;  S += y 2^k
        level < 0:   y = -1 if S - 2^k >= lo and V < (1 - 2^k) theta

    where the level is negative iff V(0) < 0. With `staircase`, the sum A is kept: negative iff `A < t[0]`, then
    `y = -1 if A < t[S - 2^k + 1]`, else `y = +1 if A >= t[S + 2^k]`. The sign takes no step of its own: it is decided by a
    comparison of the first step. A spike of bit k is an event of +-2^k levels; there are popcount(|level|) of them.

    `omitted` is the number of least significant bits that it does not send: the level is then rounded towards 0 to whole
    multiples of 2^omitted.
    """

    name = "fs"

    start: int = -1
    omitted: int = 0

    @property
    def steps(self) -> int:
        """How many steps the bits of a level take."""
        return max(self.quantization.magnitude_bits - self.omitted, 0)

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        if not 0 <= self.omitted <= self.quantization.magnitude_bits:
            raise GraphError(f"{self.name} cannot omit {self.omitted} bits of {self.quantization.magnitude_bits}")
        return super().infer(*types)

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        (levels,) = super().evaluate(*arrays)
        return (truncated(levels, self.omitted),)


@register
@dataclass(frozen=True)
class Rfs(Fs):
    """A few-spike population in a scan body that also receives the bits of window k-1: RBIF's counterpart.

    Every window starts afresh.
    """

    name = "rfs"


@register
@dataclass(frozen=True)
class Readout(Summing):
    """An exact sum without neurons: `(sum of currents + bias) * scale`, scale f64, result f32."""

    name = "readout"
    operands = ("scale", "bias", "currents*")

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        scale, bias, *currents = types
        self.sum_shape(bias, currents)
        shape = broadcast(*(current.shape for current in currents))
        if scale.dtype != "f64":
            raise GraphError("readout needs an f64 scale")
        check_parameter(self.name, shape, scale.shape)
        return (TensorType(shape, "f32"),)

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        scale, bias, *currents = arrays
        return (((sum(currents) + bias.astype(np.int64)) * scale).astype(np.float32),)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        currents = np.arange(-20, 22).reshape(14, 3)
        yield example(cls(), np.array(0.5), np.array([0, -3, 2], np.int32), (currents, "current"))
