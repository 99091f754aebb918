"""The orders of passes that targets use. Importing this module registers every pass."""

from __future__ import annotations

from dataclasses import fields
from typing import Unpack

from snnir.ir.ops import Observe
from snnir.ir.phases import FEW_SPIKES
from snnir.passes.adapt_weights import AdaptWeights
from snnir.passes.calibrate import Calibrate
from snnir.passes.canonicalize import Canonicalize
from snnir.passes.clock_inputs import ClockInputs
from snnir.passes.clock_neurons import ClockNeurons
from snnir.passes.find_masks import FindMasks
from snnir.passes.fold_constants import FoldConstants
from snnir.passes.infra import Pass
from snnir.passes.lower_recurrent import LowerRecurrent
from snnir.passes.merge_gates import MergeGates
from snnir.passes.merge_prelu import MergePRelu
from snnir.passes.one_sample import OneSample
from snnir.passes.options import CompileKeywords, CompileOptions
from snnir.passes.plane_inputs import PlaneInputs
from snnir.passes.quantize_activations import QuantizeActivations
from snnir.passes.quantize_weights import QuantizeWeights
from snnir.passes.real_integers import RealIntegers
from snnir.passes.remove_dead_code import RemoveDeadCode
from snnir.passes.roll_recurrences import RollRecurrences
from snnir.passes.schedule_phases import SchedulePhases
from snnir.passes.substitute_neurons import SubstituteNeurons
from snnir.passes.substitute_operators import SubstituteOperators
from snnir.passes.truncate_levels import TruncateLevels
from snnir.passes.unfold_batch import UnfoldBatch

__all__ = ["before_calibration", "default_pipeline", "pipeline_for", "simplify"]


def simplify() -> tuple[Pass, ...]:
    """Exact passes on the float level: everything that can be said with fewer ops is."""
    return (
        FoldConstants(),
        LowerRecurrent(),
        OneSample(),
        UnfoldBatch(),
        RollRecurrences(),  # before anything that treats steps differently from their neighbours, or costs time for each node
        FindMasks(),
        RealIntegers(),
        SubstituteOperators(),
        RemoveDeadCode(),  # a dead user hides that a value has one user only
        Canonicalize(),
        FoldConstants(),
        MergePRelu(),
        RemoveDeadCode(),
    )


def before_calibration(options: CompileOptions) -> tuple[Pass, ...]:
    """The passes before levels, and any data, are known: the exact ones, and gates merged where tables compute them."""
    # a gate that closes the model is the host's now, and what stands before it may have been a function's average
    return (*simplify(), *((MergeGates(), SubstituteOperators()) if options.gates == "table" else ()))


def default_pipeline(*values: int, **options: Unpack[CompileKeywords]) -> tuple[Pass, ...]:
    """`pipeline_for` with options by name; `values` are those of the first options. Raises `UsageError`."""
    first = dict(zip((item.name for item in fields(CompileOptions)), values, strict=False))
    return pipeline_for(CompileOptions.of({**first, **options}))


def pipeline_for(options: CompileOptions) -> tuple[Pass, ...]:
    """The default order of passes with these options. Raises `UsageError` for options out of range."""
    values = ";".join(f"{name}={bits}" for name, bits in options.value_bits.items())
    share = QuantizeActivations.input_share if options.neuron != FEW_SPIKES else 1.0  # there, more bits are more planes
    clocked, levels = options.clocked, options.steps if options.clocked else options.levels
    inputs = levels if clocked and options.encoder != "constant" else 0
    calibrate = Calibrate(
        options.method,
        options.percentile,
        options.allow_host,
        not clocked,
        options.bits,
        options.weight_bits,
        options.iterations,
        options.channel_scales,
    )
    bits, clock = (Observe.MOST_BITS // 2, options.steps) if clocked else (options.bits, 0)
    return (
        *before_calibration(options),
        calibrate,
        QuantizeActivations(bits, options.input_bits, options.state_bits, values, options.fit, share, levels, inputs),
        *((ClockInputs(clock, options.encoder, options.seed),) if clocked else ()),
        *((AdaptWeights(),) if options.fit and not clocked else ()),
        QuantizeWeights(options.weight_bits, options.rounding, options.fit and not clocked),
        RemoveDeadCode(),
        *((TruncateLevels(options.omitted_bits),) if options.omitted_bits else ()),
        *((PlaneInputs(),) if options.inputs == "planes" else ()),
        SubstituteNeurons("bif" if clocked else options.neuron, options.functions),
        RemoveDeadCode(),
        *((SchedulePhases(),) if options.neuron == FEW_SPIKES else ()),
        *((_clock_neurons(options), RemoveDeadCode()) if clocked else ()),
    )


def _clock_neurons(options: CompileOptions) -> ClockNeurons:
    """The pass with its options."""
    return ClockNeurons(
        options.steps, options.reset, options.initial, options.shift, options.leak, options.delayed, options.first_step
    )
