"""Quantize activations: observers become quantizers, and ReLU-like clips the bounds of their levels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from snnir.errors import PassError, UsageError
from snnir.ir import FLOAT, Graph, Node, Quantization, TensorType, Value
from snnir.ir.ops import Clip, Concat, Dequantize, Movement, Mul, Observe, Product, Quantize, Scan
from snnir.ir.rewrite import copy_constants, like
from snnir.passes.infra import Context, Pass, Result, register
from snnir.passes.scale_groups import scale_groups

__all__ = ["QuantizeActivations"]


@register
@dataclass(frozen=True)
class QuantizeActivations(Pass):
    """Round every observed value to levels, half up.

    1. `observe` becomes `quantize` to `bits` bits with the scale that calibration found, signed where the data is.
    2. A `clip` (ReLU, ReLU6) before it becomes bounds of the levels, which is the same function:
       `round(clip(x, a, b)/s) = clip(round(x/s), round(a/s), round(b/s))`. Other activations stay before the quantizer.
    3. A product of two values that both change with the input becomes `product`, which multiplies levels exactly.
    4. Inputs of the model get `input_bits` bits: they are charged at once, so that more bits cost no inner time-steps.
    """

    name = "quantize-activations"
    takes = gives = FLOAT
    error = "rounding and clipping of activations"

    bits: int = 4
    input_bits: int = 8

    def __post_init__(self) -> None:
        for what, bits in (("bits", self.bits), ("input-bits", self.input_bits)):
            if not Observe.FEWEST_BITS <= bits <= Observe.MOST_BITS:
                raise UsageError(
                    f"{what}={bits} is out of range: activations take {Observe.FEWEST_BITS} to {Observe.MOST_BITS} bits"
                )

    def run(self, graph: Graph, context: Context) -> Result:
        """Apply the pass. Raises `PassError` where no calibration went before."""
        levels: dict[Node, Quantization] = {}
        for nodes in scale_groups(graph):
            bits = self.input_bits if all(_is_input(node.operands[0]) for node in nodes) else self.bits
            for node in nodes:
                levels[node] = _quantization(node, bits)
        if not levels:
            raise PassError("pass quantize-activations found no observed value; run calibrate before it")
        return Result(_quantize(graph, levels, [value.type for value in graph.inputs]), True)


def _is_input(value: Value) -> bool:
    """Whether the value is an input of the model, perhaps moved around."""
    while value.producer is not None and isinstance(value.producer.op, Movement):
        value = value.producer.operands[0]
    return value.producer is None and not value.is_constant


def _quantization(node: Node, bits: int) -> Quantization:
    assert isinstance(node.op, Observe)
    scale = node.op.scales[bits - Observe.FEWEST_BITS]
    lo, hi = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if node.op.signed else (0, (1 << bits) - 1)
    clip = _absorbed(node)
    if clip is not None:
        lo, hi = (_bounded(end, scale, lo, hi) for end in (clip.low, clip.high))
    return Quantization(scale, lo, hi)


def _bounded(end: float, scale: float, lo: int, hi: int) -> int:
    if math.isinf(end):
        return hi if end > 0 else lo
    return min(max(math.floor(end / scale + 0.5), lo), hi)


def _absorbed(node: Node) -> Clip | None:
    """The clip before an `observe` whose bounds can become bounds of its levels."""
    producer = node.operands[0].producer
    if producer is None or not isinstance(producer.op, Clip) or len(node.operands[0].uses) > 1:
        return None
    return producer.op if producer.op.low <= 0 <= producer.op.high else None


def _quantize(old: Graph, levels: dict[Node, Quantization], types: list[TensorType]) -> Graph:
    new = like(old)
    values = {value: new.input(value.name, type_) for value, type_ in zip(old.inputs, types, strict=True)}
    copy_constants(old, new, values)
    absorbed = {node.operands[0].producer for node in levels if _absorbed(node) is not None}
    for node in old.nodes:
        if node in absorbed:
            continue
        if node in levels:
            source, name, origin = node.operands[0], node.output.name, node.origin
            if source.producer in absorbed and source.producer is not None:
                name, origin = source.name, source.producer.origin
                source = source.producer.operands[0]
            values[node.output] = new.add1(Quantize(levels[node]), values[source], name=name, origin=origin)
            continue
        operands, body = [values[value] for value in node.operands], node.body
        if isinstance(node.op, Scan) and body is not None:
            body = _quantize_body(node.op, body, levels, [value.type for value in operands])
        if isinstance(node.op, Concat) and any(value.type.is_real for value in operands):
            operands = [_real(new, value) for value in operands]
        op = Product() if isinstance(node.op, Mul) and all(value.type.is_levels for value in operands) else node.op
        names = [value.name for value in node.outputs]
        results = new.add(op, *operands, names=names, origin=node.origin, body=body)
        values.update(zip(node.outputs, results, strict=True))
    for name, value in old.outputs.items():
        new.output(name, values[value])
    return new


def _real(graph: Graph, value: Value) -> Value:
    """Levels as real numbers, for data movement that the host does after the readouts."""
    if value.type.quantization is None:
        return value
    scale = graph.constant(f"{value.name}.scale", np.array(value.type.quantization.scale))
    return graph.add1(Dequantize(), value, scale, name=f"{value.name}.real")


def _quantize_body(op: Scan, body: Graph, levels: dict[Node, Quantization], outer: list[TensorType]) -> Graph:
    """The body with states wide enough for what they start from and for what they become."""
    types = []
    for index, (type_, inner) in enumerate(zip(outer, body.inputs, strict=True)):
        types.append(
            TensorType(inner.type.shape, type_.dtype, type_.quantization) if index < op.states else _element(op, index, type_)
        )
    while True:
        new = _quantize(body, levels, types)
        wider = list(types)
        for index, value in enumerate(list(new.outputs.values())[: op.states]):
            state, given = types[index].quantization, value.type.quantization
            assert state is not None and given is not None
            wider[index] = TensorType(types[index].shape, "int", state.join(given))
        if wider == types:
            return new
        types = wider


def _element(op: Scan, index: int, type_: TensorType) -> TensorType:
    if index >= op.states + op.elements:
        return type_
    return type_.with_shape((*type_.shape[: op.axis], *type_.shape[op.axis + 1 :]))
