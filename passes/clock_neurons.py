"""Clock neurons: populations of integrate-and-fire neurons on a clock of T steps in the place of those that settle."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from snnir.errors import Refusal, UnsupportedError, UsageError
from snnir.ir import SPIKING, Graph, Node, Value
from snnir.ir.execute import execute
from snnir.ir.ops import (
    Bif,
    Clip,
    Clock,
    Conv,
    Dense,
    Diagonal,
    Elementwise,
    Function,
    If,
    Observe,
    Product,
    Readout,
    Scan,
    Sparse,
)
from snnir.ir.ops.clocked import RESETS, WHOLE, WINDOW
from snnir.ir.rewrite import Rewriter, Rule, rebuild
from snnir.passes.calibrate import first_samples
from snnir.passes.infra import Context, Pass, Result, register

__all__ = ["ClockNeurons", "clock_refusals", "estimated_delay"]

AUTO = -1
"""A first step that is to be estimated."""
LEAST_STEPS = 4
"""So many steps a delayed readout averages at least: T - 4 is the latest first step (Bu, Li and Yu, arXiv:2409.03368)."""
_SAMPLES = 64
"""Calibration samples on which mean activations are measured."""


@register
@dataclass(frozen=True)
class ClockNeurons(Pass):
    """Turn a network that settles into one that runs for `steps` steps, of integrate-and-fire neurons.

    1. `bif` populations of levels 0..`steps` become `if`, with `reset`, `initial`, `shift`, `leak` and `delayed` (op `if`).
    2. Readouts average the steps from `first` on: `clock` of kind `window` keeps what is sent from there, and bias and scale are
       those of the steps that are left. `first` -1 estimates it on calibration data (`estimated_delay`), at most `steps` - 4.
    3. Recurrent layers, functions, products of two values, staircases and levels below 0 are refused by name.
    """

    name = "clock-neurons"
    takes = gives = SPIKING
    error = "spikes of so many steps approximate levels"

    steps: int = 32
    reset: str = "soft"
    initial: int = 50
    shift: int = 0
    leak: int = 0
    delayed: bool = False
    first: int = 0

    def __post_init__(self) -> None:
        if self.reset not in RESETS:
            raise UsageError(f"reset {self.reset!r} is unknown; choose one of {', '.join(RESETS)}")
        for what, value, most in (("initial", self.initial, WHOLE), ("shift", self.shift, WHOLE), ("leak", self.leak, 30)):
            if not 0 <= value <= most:
                raise UsageError(f"{what}={value} is out of range: it takes 0 to {most}")
        if not AUTO <= self.first < self.steps:
            raise UsageError(f"first={self.first} is no step of {self.steps}; -1 estimates it")

    def run(self, graph: Graph, context: Context) -> Result:
        """Apply the pass. Raises `UnsupportedError` naming what integrate-and-fire neurons on a clock do not take."""
        first, remarks = self.first, [f"{self.steps} steps, reset {self.reset}"]
        self._refuse(graph)
        new, _ = rebuild(graph, self._population)
        if first == AUTO:
            first = estimated_delay(new, context, self.steps)
            remarks.append(f"readouts average from step {first} on")
        if first:
            new, _ = rebuild(new, self._readout(first))
        return Result(new, True, tuple(remarks))

    def _refuse(self, graph: Graph) -> None:
        for _, node in graph.walk():
            said = _refused(node)
            if said:
                raise UnsupportedError(
                    f"{node.describe()}: {said}; integrate-and-fire neurons on a clock (neuron=if) take feed-forward networks of "
                    "ReLUs, convolutions, dense layers, sums and pools. Use neuron=bif or neuron=few-spikes"
                )
            if isinstance(node.op, Bif):
                levels = node.op.quantization
                if levels.lo < 0 or levels.hi != self.steps:
                    raise UnsupportedError(
                        f"{node.describe()}: its levels are {levels.lo}..{levels.hi}, and integrate-and-fire neurons count "
                        f"0..{self.steps} spikes. Put a ReLU behind what goes below 0, or use neuron=bif"
                    )

    def _population(self, rewriter: Rewriter, node: Node, operands: tuple[Value, ...]) -> tuple[Value, ...] | None:
        if not isinstance(node.op, Bif):
            return None
        op = If(node.op.quantization, False, self.reset, self.initial, self.shift, self.leak, self.delayed)
        return rewriter.copy(node, operands, op)

    def _readout(self, first: int) -> Rule:
        left, steps = self.steps - first, self.steps

        def rule(rewriter: Rewriter, node: Node, operands: tuple[Value, ...]) -> tuple[Value, ...] | None:
            if not isinstance(node.op, Readout):
                return None
            scale, bias, *currents = operands
            windowed = []
            for current in currents:
                synapse = current.node
                assert isinstance(synapse.op, Dense | Conv | Diagonal | Sparse)
                train = rewriter.emit(Clock(steps, WINDOW, first=first), synapse.operands[0], name=f"{current.name}.window")
                windowed.append(rewriter.emit(synapse.op, train, *synapse.operands[1:], name=f"{current.name}.late"))
            of_all = bias.array.astype(np.int64)
            late = np.floor_divide(2 * of_all * left + steps, 2 * steps)
            new_bias = rewriter.constant(f"{node.output.name}.bias.late", late)
            new_scale = rewriter.constant(f"{node.output.name}.scale.late", scale.array * (steps / left))
            return (rewriter.emit(node.op, new_scale, new_bias, *windowed, name=node.output.name),)

        return rule


def clock_refusals(graph: Graph) -> Iterator[Refusal]:
    """What neurons on a clock will not take of a graph with observers, as far as can be said before there are levels."""
    for node in graph.nodes:
        reason = "a recurrent layer" if isinstance(node.op, Scan) else ""
        before = node.operands[0].producer if isinstance(node.op, Observe) else None
        if before is not None and isinstance(before.op, Elementwise) and not isinstance(before.op, Clip):
            node, reason = before, "an activation that is no ReLU"
        if reason:
            said = f"{reason}: integrate-and-fire neurons on a clock take feed-forward networks of ReLUs; use bif or few-spikes"
            yield Refusal(f"{node.describe()} (op {node.op.name})", said, node.origin)


def _refused(node: Node) -> str:
    """What a node is that such neurons do not take; empty where they do."""
    if isinstance(node.op, Scan):
        return "a recurrent layer"
    if isinstance(node.op, Function):
        return "a function inside the network"
    if isinstance(node.op, Product):
        return "a product of two values that change"
    return "an activation that is no ReLU" if isinstance(node.op, Bif) and node.op.staircase else ""


def estimated_delay(graph: Graph, context: Context, steps: int) -> int:
    """The first step that a readout should average, of equation 19 of Bu, Li and Yu (arXiv:2409.03368): along the longest path
    the sum over populations of what a neuron lacks to its first spike, over the mean input a step of the busiest channel.

    At most `steps` - 4; 0 without calibration data.
    """
    if context.calibration is None:
        return 0
    waits: dict[Value, float] = {}
    means: dict[Value, float] = {}

    def observe(value: Value, array: np.ndarray) -> None:
        made = value.producer
        if made is not None and isinstance(made.op, If):
            axes = tuple(axis for axis in range(array.ndim) if axis != 1)
            means[value] = float(array.mean(axis=axes).max()) / steps

    execute(graph, first_samples(graph, context.calibration, _SAMPLES), observe)
    for node in graph.nodes:
        before = max((waits.get(value, 0.0) for value in node.operands), default=0.0)
        own = 0.0
        if isinstance(node.op, If) and means.get(node.output, 0.0) > 0:
            own = (1 - node.op.initial / WHOLE) / means[node.output]
        waits.update(dict.fromkeys(node.outputs, before + own))
    longest = max((waits[value] for value in graph.outputs.values() if value in waits), default=0.0)
    return max(min(round(longest), steps - LEAST_STEPS), 0)
