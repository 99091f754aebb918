"""The layer table: what quantization costs at each value and each weight, together and one by one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from snnir.compiler.compile import compile
from snnir.compiler.losses import ActivationLoss, Losses, WeightLoss, measure_losses
from snnir.compiler.sensitivity import Partial, QuantizationSteps, quantization_steps, rounded_weights
from snnir.errors import UsageError
from snnir.passes import Stage
from snnir.runtime.accuracy import Diagnostic, Distance
from snnir.runtime.inputs import calibration_data
from snnir.runtime.program import Program

__all__ = ["LayerTable", "debug", "quantized_program"]


@dataclass(frozen=True)
class LayerTable:
    """Losses of all values and weights, in the order of the graph, and how far the outputs are from the float model's."""

    distances: tuple[Distance, ...]
    losses: Losses
    outputs: Mapping[tuple[str, str], float]
    """SQNR of the worst output in dB where one alone is quantized: of `("value", name)` and `("weight", name)`."""
    warnings: tuple[Diagnostic, ...]

    def activations(self) -> list[tuple[ActivationLoss, float]]:
        """Each value with the dB of the worst output where it alone is quantized."""
        return [(loss, self.outputs["value", loss.name]) for loss in self.losses.activations]

    def weights(self) -> list[tuple[WeightLoss, float | None]]:
        """Each weight likewise; None where it is not a constant of one layer."""
        return [(loss, self.outputs.get(("weight", loss.name))) for loss in self.losses.weights]

    def facts(self) -> dict[str, object]:
        """Everything by name, for JSON."""
        values = [
            {
                **{key: value for key, value in vars(loss).items() if key != "levels"},
                "levels": str(loss.levels),
                "output_db": output,
            }
            for loss, output in self.activations()
        ]
        return {
            "distances": [item.facts() for item in self.distances],
            "samples": self.losses.samples,
            "values": values,
            "weights": [{**asdict(loss), "output_db": output} for loss, output in self.weights()],
            "saturated": dict(self.losses.saturated),
            "warnings": [asdict(item) for item in self.warnings],
        }


def quantized_program(
    model: Any, calibration: np.ndarray | Mapping[str, np.ndarray], **options: Any
) -> tuple[Program, QuantizationSteps]:
    """A compiled program and the graphs between which it lost accuracy. Raises `UsageError` for other pipelines."""
    stages: list[Stage] = []
    program = compile(model, calibration=calibration, check=False, on_stage=stages.append, **options)
    steps = quantization_steps(stages)
    if steps is None:
        raise UsageError("the layer table needs a pipeline with calibrate, quantize-activations and quantize-weights")
    return program, steps


def debug(
    model: object,
    *,
    calibration: np.ndarray | Mapping[str, np.ndarray],
    samples: int = 8,
    progress: Callable[[str, int, int], None] | None = None,
    **options: Any,
) -> LayerTable:
    """The layer table of a model on its first calibration samples; `options` are those of `snnir.compile`.

    The network is executed once for every value and weight, from there on. Raises what `snnir.compile` raises.
    """
    program, steps = quantized_program(model, calibration, progress=progress, **options)
    data = calibration_data(program.graph("float"), calibration)
    losses = measure_losses(steps.calibrated, steps.quantized, data, samples)
    partial = Partial(steps.calibrated, data, samples)
    rounded = rounded_weights(steps)
    outputs: dict[tuple[str, str], float] = {}
    total = len(losses.activations) + len(rounded)
    for loss in losses.activations:
        outputs["value", loss.name] = partial.sqnr({loss.observed: loss.levels})
        if progress is not None:
            progress("one value at a time", len(outputs), total)
    for name, array in rounded.items():
        outputs["weight", name] = partial.sqnr({}, {name: array})
        if progress is not None:
            progress("one weight at a time", len(outputs), total)
    return LayerTable(tuple(program.distances), losses, outputs, tuple(program.warnings))
