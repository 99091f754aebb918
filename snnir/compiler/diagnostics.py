"""What the compiler warns of: accuracy that quantization lost, where, and what to do about it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from snnir.compiler.losses import ActivationLoss, Losses, measure_losses
from snnir.compiler.sensitivity import Partial, QuantizationSteps, quantization_steps, rounded_weights
from snnir.ir import Graph
from snnir.passes import Stage
from snnir.runtime.accuracy import LEAST_CORRELATION, LEAST_SQNR, MOST_DB, Diagnostic, Distance, measure, worst_sqnr
from snnir.runtime.inputs import sample_count

__all__ = ["diagnose", "loss_facts", "samples_for"]

_MOST_SAMPLES = 64
_FEWEST_SAMPLES = 4
_WORK = 2_000_000_000
"""Multiply-accumulates that measuring the loss may take at each level."""
_SAMPLES = 4
"""Samples on which the source of a loss is looked for."""
_CANDIDATES = 6
_LISTED = 4
_BESIDE = 12.0
"""Decibels beyond the expected ones up to which a value counts as a source."""
_ZEROS = 0.5
"""The share of weights other than 0 that may become 0 without a warning."""
_OUTLIER = 20.0
"""From how many medians on the largest weight is called an outlier."""
_CLIPPED = 0.05
_SATURATED = 0.9
_DB_PER_BIT = 6.02
_FEW_BITS = 4


def samples_for(macs: int) -> int:
    """How many samples of a network of `macs` multiply-accumulates the loss is measured on."""
    return min(max(_WORK // max(macs, 1), _FEWEST_SAMPLES), _MOST_SAMPLES)


def loss_facts(
    reference: Graph, quantized: Graph, stages: Sequence[Stage], data: Mapping[str, np.ndarray], macs: int
) -> dict[str, object]:
    """`distances` of all outputs of the quantized from the float graph `reference` on calibration data, and `warnings`."""
    most = samples_for(macs)
    distances = measure(reference, quantized, data, most)
    steps = quantization_steps(stages)
    losses = None if steps is None else measure_losses(steps.calibrated, steps.quantized, data, most)
    found = diagnose(distances, losses, steps, data, sample_count(reference, data))
    return {"distances": [item.facts() for item in distances], "warnings": [asdict(item) for item in found]}


def diagnose(
    distances: Sequence[Distance],
    losses: Losses | None,
    steps: QuantizationSteps | None,
    data: Mapping[str, np.ndarray],
    calibration_samples: int,
) -> list[Diagnostic]:
    """All warnings, outputs first. `steps` None: sources of losses are not looked for."""
    found = list(_outputs(distances, losses, steps, data))
    if calibration_samples == 1:
        message = (
            "one calibration sample says little of the ranges of values: give some tens of inputs like those the model will see"
        )
        found.append(Diagnostic("one-calibration-sample", "", message))
    found += _constant_inputs(data)
    if losses is not None:
        found += [*_weights(losses), *_activations(losses)]
    return found


def _constant_inputs(data: Mapping[str, np.ndarray]) -> Iterator[Diagnostic]:
    for name, array in data.items():
        if array.dtype.kind == "f" and array.size > 1 and (array == array.reshape(-1)[0]).all():
            message = (
                f"all calibration data of input {name} are {array.reshape(-1)[0]:g}: they say nothing of the ranges of values; "
                "give inputs like those the model will see"
            )
            yield Diagnostic("constant-calibration", name, message)


def _outputs(
    distances: Sequence[Distance], losses: Losses | None, steps: QuantizationSteps | None, data: Mapping[str, np.ndarray]
) -> Iterator[Diagnostic]:
    poor = [item for item in distances if item.poor]
    if not poor:
        return
    sources = _sources(losses, steps, data) if losses is not None and steps is not None else ""
    for item in poor:
        if item.constant:
            yield Diagnostic(
                "constant-output",
                item.name,
                f"output {item.name} is the same for all {item.samples} calibration samples, and the model's own is not{sources}",
            )
        else:
            wanted = f"at least {LEAST_SQNR:g} dB and a correlation of {LEAST_CORRELATION:g} are expected"
            yield Diagnostic("low-sqnr", item.name, f"output {item.name} has {item}; {wanted}{sources}")


@dataclass(frozen=True)
class _Source:
    sqnr: float
    text: str


def _sources(losses: Losses, steps: QuantizationSteps, data: Mapping[str, np.ndarray]) -> str:
    """The values and weights that cost the most where each alone is quantized, worst first, with what to do."""
    partial = Partial(steps.calibrated, data, _SAMPLES)
    sources = []
    for loss in sorted(losses.activations, key=lambda item: item.alone)[:_CANDIDATES]:
        alone = partial.distances({loss.observed: loss.levels}, {})
        sqnr = -MOST_DB if any(item.constant for item in alone) else worst_sqnr(alone)
        cost = f"costs {sqnr:.1f} dB alone" if sqnr > -MOST_DB else "alone makes an output constant"
        sources.append(_Source(sqnr, f"{loss.name} {cost} ({_advice(loss, max(sqnr, 0.0))})"))
    weights = rounded_weights(steps)
    if weights:
        every = partial.sqnr({}, weights)
        if every < LEAST_SQNR + _BESIDE:
            bits = getattr(steps.weights, "bits", 0) + _more_bits(every)
            sources.append(_Source(every, f"the weights cost {every:.1f} dB alone (--weight-bits {min(bits, 16)})"))
    sources = [item for item in sorted(sources, key=lambda item: item.sqnr) if item.sqnr < LEAST_SQNR + _BESIDE]
    if not sources:
        return "; no value or weight costs it alone, their errors add up: use more --bits, or train with snnir.torch"
    return f"; the loss arises, worst first: {'; '.join(item.text for item in sources[:_LISTED])}; snnir debug shows all values"


def _more_bits(sqnr: float) -> int:
    return max(math.ceil((LEAST_SQNR + _DB_PER_BIT - sqnr) / _DB_PER_BIT), 1)


def _advice(loss: ActivationLoss, sqnr: float) -> str:
    if loss.clipped > _CLIPPED:
        return f"{100 * loss.clipped:.1f} % of it is clipped: give more calibration data, or --method minmax"
    bits = loss.levels_available.bit_length() - 1
    return f"--value-bits {loss.option}={min(max(bits, 2) + _more_bits(sqnr), 16)}"


def _weights(losses: Losses) -> Iterator[Diagnostic]:
    for loss in losses.weights:
        if loss.zeros <= _ZEROS or loss.size < 2:
            continue
        share = f"{100 * loss.zeros:.1f} % of the weights {loss.name} ({loss.layer}) became 0"
        if loss.outlier >= _OUTLIER:
            yield Diagnostic(
                "outlier-weight",
                loss.name,
                f"{share}, because the largest is {loss.outlier:,.0f} times their median: use more --weight-bits, "
                "or clip the outlier and train again",
            )
        else:
            yield Diagnostic("lost-weights", loss.name, f"{share}: use more --weight-bits")


def _activations(losses: Losses) -> Iterator[Diagnostic]:
    for loss in losses.activations:
        bits, scale = loss.levels_available.bit_length() - 1, loss.levels.scale
        if loss.lost_channels:
            message = (
                f"{_channels(loss.lost_channels)} of {loss.name} became all 0, and the model's own {_are(loss.lost_channels)} "
                f"not: use more bits (--value-bits {loss.option}={min(bits + 2, 16)})"
            )
            yield Diagnostic("zero-channel", loss.name, message)
        if loss.silent_channels:
            message = (
                f"{_channels(loss.silent_channels)} of input {loss.option} {_are(loss.silent_channels)} 0 in all calibration "
                "data, which says nothing of their range: give data that fill them"
            )
            yield Diagnostic("zero-channel", loss.name, message)
        if loss.clipped > _CLIPPED and bits >= _FEW_BITS:
            message = (
                f"{100 * loss.clipped:.1f} % of {loss.name}, from {loss.low:.4g} to {loss.high:.4g}, lies beyond its levels, "
                f"from {loss.levels.lo * scale:.4g} to {loss.levels.hi * scale:.4g}: use more bits for it, or --method minmax"
            )
            yield Diagnostic("clipped-activation", loss.name, message)
    for where, share in losses.saturated.items():
        if share >= _SATURATED:
            message = (
                f"calibration data drive {100 * share:.1f} % of {where} into saturation: are they scaled as the model expects?"
            )
            yield Diagnostic("saturated-calibration", where, message)


def _are(channels: Sequence[int]) -> str:
    return "is" if len(channels) == 1 else "are"


def _channels(channels: Sequence[int]) -> str:
    shown = ", ".join(map(str, channels[:8])) + (" ..." if len(channels) > 8 else "")
    return f"{'channel' if len(channels) == 1 else 'channels'} {shown}"
