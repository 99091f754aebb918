"""A graph of quantized activations with other constants and other scales."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from snnir.ir import Graph, Node, TensorType, Value
from snnir.ir.ops import Dequantize, Quantize, Scan
from snnir.ir.rewrite import like

__all__ = ["Rescaled", "rescale"]


@dataclass(frozen=True)
class Rescaled:
    """The new graph, and what its constants and `quantize` nodes (bodies included) were in the old one."""

    graph: Graph
    constants: dict[Value, Value] = field(default_factory=dict)
    quantizers: dict[Node, Node] = field(default_factory=dict)


def rescale(graph: Graph, arrays: Mapping[Value, np.ndarray], scales: Mapping[Node, float]) -> Rescaled:
    """`graph` with `arrays` in place of constants, and with `scales` in place of those of its `quantize` nodes.

    Bounds of levels stay. Every value whose scale follows from another (states, products, what is read out) follows it.
    """
    result = Rescaled(like(graph))
    _copy(graph, result.graph, [value.type for value in graph.inputs], arrays, scales, result)
    return result


def _copy(
    old: Graph,
    new: Graph,
    types: list[TensorType],
    arrays: Mapping[Value, np.ndarray],
    scales: Mapping[Node, float],
    result: Rescaled,
) -> None:
    values = {value: new.input(value.name, type_) for value, type_ in zip(old.inputs, types, strict=True)}
    for value in old.constants:
        values[value] = new.constant(value.name, arrays.get(value, value.array))
        result.constants[values[value]] = value
    for node in old.nodes:
        op, operands, body = node.op, [values[value] for value in node.operands], None
        if isinstance(op, Quantize) and node in scales:
            op = replace(op, quantization=replace(op.quantization, scale=scales[node]))
        elif isinstance(op, Dequantize) and operands[0].type.quantization is not None:
            scale = np.array(operands[0].type.quantization.scale)
            operands[1] = new.constant(f"{node.output.name}.scale", scale)
        elif isinstance(op, Scan) and node.body is not None:
            inner = [_rescaled_type(value.type, given.type) for value, given in zip(node.body.inputs, operands, strict=True)]
            body = like(node.body)
            _copy(node.body, body, inner, arrays, scales, result)
        names = [value.name for value in node.outputs]
        results = new.add(op, *operands, names=names, origin=node.origin, body=body)
        if isinstance(op, Quantize):
            result.quantizers[new.nodes[-1]] = node
        values.update(zip(node.outputs, results, strict=True))
    for name, value in old.outputs.items():
        new.output(name, values[value])


def _rescaled_type(inner: TensorType, outer: TensorType) -> TensorType:
    """The type of a body's input with the scale of its operand."""
    if inner.quantization is None or outer.quantization is None:
        return inner
    return replace(inner, quantization=replace(inner.quantization, scale=outer.quantization.scale))
