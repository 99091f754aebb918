"""Quantize weights: every population gets an integer accumulator grid, and all that flows into it is rounded onto it."""

from __future__ import annotations

from dataclasses import dataclass

from snnir.errors import PassError, UnsupportedError, UsageError
from snnir.ir import FLOAT, QUANTIZED, Graph
from snnir.ir.ops import (
    Observe,
    Quantize,
)
from snnir.ir.rounding import Rounding
from snnir.passes.calibrate import first_samples
from snnir.passes.grid import SUM_BITS
from snnir.passes.infra import Context, Pass, Result, register
from snnir.passes.properties import NO_OBSERVERS
from snnir.passes.quantized_graph import QuantizedGraph, RoundingNotes, WeightRules
from snnir.passes.refine_rounding import REFINING_SAMPLES, refine_rounding

__all__ = ["TIES", "QuantizeWeights"]

TIES = ("exact", "half-up", "refuse")
"""What becomes of ties that no constant V(0) rounds as the model does."""


@register
@dataclass(frozen=True)
class QuantizeWeights(Pass):
    """Round weights and biases onto one accumulator grid per population and channel.

    1. Each synapse has integers of `bits` bits of its own and a gain, a power of two (`grid.py`):
       `w_int = round(w s_in / (2^gain s_acc))`, `b_int = round(b / s_acc)`. The grid is as fine as the finest synapse needs.
    2. A quantizer of a plain sum gets integer thresholds theta, `s_acc = s_out / theta`; it becomes `requantize`. Behind other
       increasing activations it gets a table of integer thresholds, found by bisection; it becomes `multi_threshold`.
    3. A sum that leaves the network gets a grid of its own and a `dequantize`: it is read out exactly.
    4. A sum that several of these take is weighed anew for each.
    5. A quantizer that the model brought with it gets the grid that its weights are whole multiples of (`model_grid.py`):
       no weight is rounded, its threshold may be any real number, and ties go where the file's rounding puts them.
       `rounding` says what happens where no constant V(0) does that: `exact` keeps a staircase, `half-up` rounds ties up,
       `refuse` refuses. In such a model a sum that leaves the network keeps its weights, too.
    6. A function inside the network becomes `function`, with an integer body (`functions/`); sums that it takes get a grid of
       their own and no threshold.
    7. Weights that all round to 0 are remarked upon by name.
    8. Grids are so coarse that sums and membranes have at most `sum_bits` bits, where thresholds of 1 allow it.
    9. With `refine` and calibration data, weights are rounded so that outputs of layers are off the least (`refine_rounding.py`).
    """

    name = "quantize-weights"
    takes = FLOAT
    gives = QUANTIZED
    error = "rounding of weights and biases"
    requires = (NO_OBSERVERS,)

    bits: int = 8
    rounding: str = "exact"
    refine: bool = True
    sum_bits: int = SUM_BITS

    def __post_init__(self) -> None:
        if self.rounding not in TIES:
            raise UsageError(f"rounding {self.rounding!r} is unknown; choose one of {', '.join(TIES)}")
        if not 2 <= self.bits <= 16:
            options = "bits of quantize-weights, weight_bits of snnir.compile, --weight-bits"
            raise UsageError(f"weights of {self.bits} bits are out of range: they take 2 to 16 bits ({options})")
        if not 8 <= self.sum_bits <= SUM_BITS:
            raise UsageError(f"sum_bits={self.sum_bits} is out of range: sums and membranes take 8 to {SUM_BITS} bits")

    def run(self, graph: Graph, context: Context) -> Result:
        """Apply the pass. Raises `PassError` where no quantize-activations went before."""
        new, rounding, lost = self.trace(graph)
        given = any(isinstance(node.op, Quantize) and node.op.given for _, node in graph.walk())
        if self.refine and not given and context.calibration:
            data = first_samples(new, context.calibration, REFINING_SAMPLES)
            new, count = refine_rounding(new, rounding, self.bits, data)
            lost.append(f"{count} layers were rounded for the least error of what they give out")
        return Result(new, True, tuple(lost))

    def trace(self, graph: Graph) -> tuple[Graph, Rounding, list[str]]:
        """The new graph, where its integers come from, and the remarks. Raises as `run` does."""
        if any(isinstance(node.op, Observe) for _, node in graph.walk()):
            raise PassError("pass quantize-weights found an observe; run quantize-activations before it")
        notes = RoundingNotes()
        new = QuantizedGraph(graph, WeightRules(self.bits, self.rounding, self.sum_bits), notes).new
        if notes.refused:
            lines = "\n".join(f"  {refusal}" for refusal in notes.refused)
            raise UnsupportedError(f"rounding=refuse, and these quantizers can meet ties:\n{lines}", notes.refused)
        return new, notes.rounding, notes.lost
