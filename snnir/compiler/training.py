"""Quantization-aware training, front and back: from a model to a trainable module, and what is left to compile after it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import numpy as np

from snnir.compiler.importing import import_model
from snnir.errors import UsageError
from snnir.ir import Graph, Value
from snnir.ir.ops import FakeQuantize, Quantize, Scan, SequenceMask
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

__all__ = ["passes_after_training", "structural_constants", "trainable"]


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

    bits, trained = chosen.weight_bits, [nodes for nodes in groups if nodes]
    return TrainableModule(quantized, trained, _Lower(bits), data, bits, structural_constants(graph, quantized))


def structural_constants(source: Graph, lowered: Graph) -> set[Value]:
    """Constants of `lowered` that passes made and that no weight of `source` stands behind: they must not train.

    These are what nodes take that stand only for nodes without weights (the taps of an average pool), and the numbers of
    formulas: single ones of magnitude 1/2, 1 or 2 that the model does not hold (the 1 and -1 of a GRU).
    """
    numbers: set[float] = set()
    weighted: set[str] = set()
    known: set[Value] = set()
    for graph, node in source.walk():
        known.update(value for value in graph.constants if value.type.is_real)
        inputs = [value for value in node.operands if value.is_constant or value in known]
        numbers.update(float(value.array.reshape(())) for value in inputs if value.is_constant and _is_number(value))
        if any(value.type.is_real for value in inputs):
            weighted.update(node.origin)
        if inputs and len(inputs) == len(node.operands):
            known.update(node.outputs)
        if isinstance(node.op, Scan) and node.body is not None:
            known.update(inner for outer, inner in zip(node.operands, node.body.inputs, strict=True) if outer in inputs)
    found = set()
    for graph, _ in lowered.walk():
        for value in graph.constants:
            users = [user for user, _ in value.uses if user is not None]
            made = bool(users) and all(user.origin and not weighted.intersection(user.origin) for user in users)
            formula = _is_number(value) and abs(float(value.array.reshape(()))) in (0.5, 1, 2)
            if made or (formula and float(value.array.reshape(())) not in numbers):
                found.add(value)
    return found


def _is_number(value: Value) -> bool:
    return value.type.is_real and value.array.size == 1


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
