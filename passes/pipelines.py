"""The orders of passes that targets use. Importing this module registers every pass."""

from __future__ import annotations

from snnir.errors import UsageError
from snnir.ir.phases import FEW_SPIKES
from snnir.passes.adapt_weights import AdaptWeights
from snnir.passes.batch_first import BatchFirst
from snnir.passes.calibrate import Calibrate
from snnir.passes.canonicalize import Canonicalize
from snnir.passes.certify_bounds import CertifyBounds
from snnir.passes.equalize_channels import EqualizeChannels
from snnir.passes.fold_batch_norm import FoldBatchNorm
from snnir.passes.fold_constants import FoldConstants
from snnir.passes.infra import Pass
from snnir.passes.lower_recurrent import LowerRecurrent
from snnir.passes.merge_prelu import MergePRelu
from snnir.passes.one_sample import OneSample
from snnir.passes.quantize_activations import QuantizeActivations
from snnir.passes.quantize_weights import QuantizeWeights
from snnir.passes.remove_dead_code import RemoveDeadCode
from snnir.passes.roll_recurrences import RollRecurrences
from snnir.passes.schedule_phases import SchedulePhases
from snnir.passes.substitute_neurons import SubstituteNeurons
from snnir.passes.substitute_operators import SubstituteOperators
from snnir.passes.unfold_batch import UnfoldBatch

__all__ = ["default_pipeline", "simplify"]


def simplify() -> tuple[Pass, ...]:
    """Exact passes on the float level: everything that can be said with fewer ops is."""
    return (
        FoldConstants(),
        LowerRecurrent(),
        OneSample(),
        UnfoldBatch(),
        RollRecurrences(),  # before anything that treats steps differently from their neighbours, or costs time for each node
        SubstituteOperators(),
        Canonicalize(),
        BatchFirst(),
        Canonicalize(),
        FoldBatchNorm(),
        Canonicalize(),
        FoldConstants(),
        MergePRelu(),
        RemoveDeadCode(),
    )


def default_pipeline(
    bits: int = 4,
    weight_bits: int = 8,
    input_bits: int = 8,
    state_bits: int = 0,
    values: str = "",
    method: str = "mse",
    percentile: float = 99.9,
    allow_host: bool = False,
    rounding: str = "exact",
    neuron: str = "bif",
) -> tuple[Pass, ...]:
    """From an imported float graph to certified spikes. Raises `UsageError` for options out of range."""
    for name, value in (("bits", bits), ("weight_bits", weight_bits), ("input_bits", input_bits), ("state_bits", state_bits)):
        if not isinstance(value, int) or isinstance(value, bool):
            raise UsageError(f"{name}={value!r} must be a whole number")
    return (
        *simplify(),
        EqualizeChannels(bits),
        Calibrate(method, percentile, allow_host),
        QuantizeActivations(bits, input_bits, state_bits, values),
        AdaptWeights(),
        QuantizeWeights(weight_bits, rounding),
        RemoveDeadCode(),
        SubstituteNeurons(neuron),
        RemoveDeadCode(),
        *((SchedulePhases(),) if neuron == FEW_SPIKES else ()),
        CertifyBounds(),
    )
