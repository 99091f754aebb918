"""The real numbers that a quantized model's integers stand for.

The import keeps two values of everything that the file stores as integers: the integers as the file has them, and the
real numbers they stand for, `real = scale (integer - zero)`, which is what a `fake_quantize` gives. A DequantizeLinear
with the same scale and zero point finds the latter again, also behind data movement, max pooling and clips.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx

from snnir.frontends.onnx.registry import DOMAINS, QUANTIZING
from snnir.frontends.onnx.subgraph_names import subgraphs_of
from snnir.ir import Value

__all__ = ["Stored", "is_quantized", "range_of", "stored_input"]

_MOVES = ("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice", "Split", "MaxPool")


@dataclass(frozen=True)
class Stored:
    """Integers in `bounds`, which stand for `real`; None for an input that nothing has said the scale of yet."""

    real: Value | None
    scale: float | None
    zero: int
    bounds: tuple[int, int]


def range_of(dtype: np.dtype) -> tuple[int, int] | None:
    """The integers of an element type; None where it is no integer type of a quantized model."""
    name = dtype.name
    for prefix, signed in (("uint", False), ("int", True)):
        bits = name.removeprefix(prefix)
        if name.startswith(prefix) and bits.isdecimal() and int(bits) <= 32:
            half = 1 << (int(bits) - 1)
            return (-half, half - 1) if signed else (0, 2 * half - 1)
    return None


def is_quantized(model: onnx.ModelProto) -> bool:
    """Whether any node, bodies included, quantizes."""
    return any(_quantizes(node) for node in _nodes(model.graph))


def _quantizes(node: onnx.NodeProto) -> bool:
    return node.op_type in QUANTIZING and (node.domain in ("", "ai.onnx") or node.op_type in DOMAINS.get(node.domain, ()))


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for body in subgraphs_of(node):
            yield from _nodes(body)


def stored_input(model: onnx.ModelProto, entry: onnx.ValueInfoProto) -> tuple[int, int] | None:
    """The range of an input of integers that a quantized model computes with; None where it is something else."""
    element = entry.type.tensor_type.elem_type
    try:
        bounds = range_of(onnx.helper.tensor_dtype_to_np_dtype(element))
    except KeyError:
        return None
    if bounds is None:
        return None
    names, found = {entry.name}, False
    for node in model.graph.node:
        taken = names.intersection(node.input)
        if not taken:
            continue
        if _quantizes(node):
            found = True
        elif node.op_type in _MOVES and node.input[0] in names:
            names.update(node.output)
        else:
            return None
    return bounds if found else None
