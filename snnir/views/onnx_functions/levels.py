"""Bodies of quantizers, thresholds and populations: levels as integers, and what spike trains settle to."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from snnir.ir import Quantization
from snnir.ir.ops import (
    Accumulate,
    Dequantize,
    DynamicStore,
    FakeQuantize,
    Fs,
    MultiThreshold,
    Population,
    Quantize,
    Readout,
    Requantize,
    Store,
)
from snnir.ir.ops.clocked import CONSTANT, WINDOW, Clock
from snnir.ir.ops.fake_quantize import NOISE
from snnir.views.onnx_functions.body import F32, F64, I64, Body, Term, writes

__all__: list[str] = []


def _away(x: Term) -> Term:
    return x.do("Abs").do("Ceil") * x.do("Sign")


def _odd(x: Term) -> Term:
    below = x.do("Floor")
    even = (below * 0.5).do("Floor").do("Sub", below * 0.5).equal(0.0)
    return (x - below).equal(0.5).where(below + even.cast(x.dtype), x.do("Round"))


ROUNDINGS: dict[str, Callable[[Term], Term]] = {
    "half-up": lambda x: (x + 0.5).do("Floor"),
    "half-down": lambda x: (x - 0.5).do("Ceil"),
    "even": lambda x: x.do("Round"),
    "odd": _odd,
    "half-away": lambda x: (x.do("Abs") + 0.5).do("Floor") * x.do("Sign"),
    "half-to-zero": lambda x: (x.do("Abs") - 0.5).do("Ceil") * x.do("Sign"),
    "floor": lambda x: x.do("Floor"),
    "ceil": lambda x: x.do("Ceil"),
    "to-zero": lambda x: x.do("Abs").do("Floor") * x.do("Sign"),
    "away": _away,
    "bipolar": lambda x: (x >= 0.0).cast(x.dtype) * 2.0 - 1.0,
}
"""The ways to round of `snnir.ir.rounding_modes`."""


def _rounded(x: Term, levels: Quantization, rounding: str) -> Term:
    return ROUNDINGS[rounding](x).do("Max", levels.lo).do("Min", levels.hi).cast(I64)


@writes("quantize", "encode")
def _quantize(body: Body, op: Quantize, x: Term) -> Term:
    """`clip(floor(x / scale + 1/2), lo, hi)`, as docs/exactness.md has it, or with another rounding."""
    ratio = x.cast(F32 if op.single else F64) / op.quantization.scale
    return _rounded(ratio, op.quantization, op.rounding)


@writes("fake_quantize")
def _fake_quantize(body: Body, op: FakeQuantize, x: Term) -> Term:
    levels, single = op.quantization, op.single
    ratio = x.cast(F32 if single else F64) / levels.scale
    if x.dtype == F64 and not single:
        halves = (ratio * 2.0).do("Round") / 2.0
        near = (ratio - halves).do("Abs") <= halves.do("Abs").do("Max", 1.0) * NOISE
        ratio = near.where(halves, ratio)
    return _rounded(ratio, levels, op.rounding).cast(F64) * levels.scale


@writes("dequantize")
def _dequantize(body: Body, op: Dequantize, x: Term, scale: Term) -> Term:
    return x.cast(F64) * scale


def _uniform(sums: Term, theta: Term, levels: Quantization) -> Term:
    """`clip((sums + theta//2) // theta, lo, hi)`."""
    theta = theta.cast(I64)
    return (sums + theta.floor_div(2)).floor_div(theta).do("Max", levels.lo).do("Min", levels.hi)


def _staircase(body: Body, sums: Term, rank: int, table: Term, table_rank: int, levels: Quantization) -> Term:
    """`lo + #{j : sums >= table[j]}`; the thresholds stand along a new first axis."""
    table = table.cast(I64).unsqueezed(*range(1, 1 + rank - (table_rank - 1)))
    reached = (sums.unsqueezed(0) >= table).cast(I64)
    return reached.reduced("ReduceSum", [0], keep=False) + levels.lo


def _truncated(levels: Term, omitted: int) -> Term:
    """Rounded towards 0 to multiples of 2^omitted."""
    return levels / (1 << omitted) * (1 << omitted) if omitted else levels


@writes("requantize")
def _requantize(body: Body, op: Requantize, x: Term, theta: Term) -> Term:
    return _truncated(_uniform(x, theta, op.quantization), op.omitted)


@writes("multi_threshold")
def _multi_threshold(body: Body, op: MultiThreshold, x: Term, table: Term) -> Term:
    ranks = [value.type.rank for value in body.node.operands]
    return _truncated(_staircase(body, x, ranks[0], table, ranks[1], op.quantization), op.omitted)


def _sum(bias: Term, currents: tuple[Term, ...]) -> Term:
    total = currents[0]
    for current in currents[1:]:
        total = total + current
    return total + bias.cast(I64)


@writes("bif", "rbif", "fs", "rfs", "if")
def _population(body: Body, op: Population, theta: Term, bias: Term, *currents: Term) -> Term:
    """The level that the neurons' complete sum stands for."""
    total = _sum(bias, currents)
    if op.staircase:
        rank, table_rank = body.node.outputs[0].type.rank, body.node.operands[0].type.rank
        levels = _staircase(body, total, rank, theta, table_rank, op.quantization)
    else:
        levels = _uniform(total, theta, op.quantization)
    return _truncated(levels, op.omitted if isinstance(op, Fs) else 0)


@writes("clock")
def _clock(body: Body, op: Clock, x: Term) -> Term:
    """The levels that all that is sent in the steps of a clock stands for."""
    if op.kind == CONSTANT:
        return x * op.steps
    return (x * (op.steps - op.first)).floor_div(op.steps) if op.kind == WINDOW else x


@writes("readout")
def _readout(body: Body, op: Readout, scale: Term, bias: Term, *currents: Term) -> Term:
    return _sum(bias, currents).cast(F64) * scale


@writes("accumulate")
def _accumulate(body: Body, op: Accumulate, bias: Term, *currents: Term) -> Term:
    return _sum(bias, currents)


@writes("store")
def _store(body: Body, op: Store, x: Term, scale: Term, zero: Term) -> Term:
    ratio = (x.cast(F32) / scale.cast(F32)).do("Round").cast(F64)
    return (ratio + zero.cast(F64)).do("Max", op.lo).do("Min", op.hi).cast(I64)


@writes("dynamic_store")
def _dynamic_store(body: Body, op: DynamicStore, x: Term) -> tuple[Term, ...]:
    x = x.cast(F32)
    axes = range(body.node.operands[0].type.rank)
    low, high = (x.reduced(f"Reduce{kind}", list(axes), keep=False).do(kind, 0.0) for kind in ("Min", "Max"))
    span = (high - low) / 255.0
    scale = (span > 0.0).where(span, 1.0)
    zero = (-low / scale).do("Max", 0.0).do("Min", 255.0).do("Round")
    stored = ((x / scale).do("Round") + zero).do("Max", 0.0).do("Min", 255.0)
    kind = np.dtype(np.uint8)
    return stored.cast(kind), scale, zero.cast(kind)
