"""Quantization-aware training, front and back: from a model to a trainable module, and what is left to compile after it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import numpy as np

from snnir.compiler.importing import import_model
from snnir.errors import UsageError
from snnir.ir import Graph
from snnir.ir.ops import FakeQuantize, Quantize, SequenceMask
from snnir.passes import Context, Pass, default_pipeline, pipeline_for, run_pipeline
from snnir.passes.options import CompileKeywords, CompileOptions, declaration
from snnir.passes.quantize_activations import QuantizeActivations
from snnir.passes.quantize_weights import QuantizeWeights
from snnir.passes.scale_groups import scale_groups
from snnir.runtime.inputs import calibration_data

if TYPE_CHECKING:
    import onnx

    from snnir.backends.torch import TrainableModule
    from snnir.ir.rounding import Rounding

__all__ = ["passes_after_training", "trainable"]


def trainable(
    model: str | Path | bytes | onnx.ModelProto | Graph,
    *,
    calibration: np.ndarray | Mapping[str, np.ndarray],
    batch_axes: Mapping[str, int | None] | None = None,
    check: bool = True,
    **options: Unpack[CompileKeywords],
) -> TrainableModule:
    """The model as a torch module that trains at the bits it will be compiled with.

    The options are those of `snnir.compile` that come before the weights are quantized; `bits` are 3 and `weight_bits` 4
    where they are not given. Scales start as calibration finds them, weights as the model has them, so
    that before training the module computes what `snnir.compile` with these options would. Train it with any optimiser
    and give it to `snnir.compile`, which needs no options then: the program's integers are those of the module.

    Raises `CalibrationError`, `ModelError`, `UnsupportedError`, `UsageError`.
    """
    from snnir.backends.torch import TrainableModule

    late = [item.name for item in fields(CompileOptions) if item.name in options and not declaration(item).trainable]
    if late:
        raise UsageError(f"{late[0]} is decided after training: give it to the compilation of the trained module's graph")
    chosen = CompileOptions.of({"bits": 3, "weight_bits": 4, "fit": False, **options})
    passes = pipeline_for(chosen)
    last = next(index for index, pass_ in enumerate(passes) if isinstance(pass_, QuantizeActivations))
    graph = import_model(model, batch_axes=batch_axes)
    if any(isinstance(node.op, FakeQuantize) for _, node in graph.walk()):
        raise UsageError("the model is quantized already: train it where it was quantized, or give the float model")
    data = calibration_data(graph, calibration)
    quantized = run_pipeline(graph, passes[: last + 1], Context(data), check=check)[-1].graph
    groups = [[node for node in nodes if not _is_mask(node.operands[0].producer)] for nodes in scale_groups(quantized, Quantize)]

    return TrainableModule(quantized, [nodes for nodes in groups if nodes], _Lower(chosen.weight_bits), data, chosen.weight_bits)


@dataclass(frozen=True)
class _Lower:
    """`quantize-weights`, as what a trainable module calls in every forward pass; a class, so that modules can be pickled."""

    weight_bits: int

    def __call__(self, graph: Graph) -> tuple[Graph, Rounding]:
        new, rounding, _ = QuantizeWeights(self.weight_bits).trace(graph)
        return new, rounding


def passes_after_training(weight_bits: int) -> tuple[Pass, ...]:
    """The default pipeline from `quantize-weights` on; trained weights are rounded as they were in training."""
    passes = default_pipeline(weight_bits=weight_bits, fit=False)
    first = next(index for index, pass_ in enumerate(passes) if isinstance(pass_, QuantizeWeights))
    return passes[first:]


def _is_mask(node: object) -> bool:
    return isinstance(getattr(node, "op", None), SequenceMask)
