"""Dynamic quantization read as real numbers.

Operators that find the scale of a value anew for every input (DynamicQuantizeLinear and what takes its integers) compute with
integers that depend on the whole batch, so no threshold can stand for them. What they approximate is a real product: with a
scale of 1 and a zero point of 0 in place of those found, every node behind them computes it, and integer weights are the real
ones that their own scales say. Activations are then calibrated as those of a float model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

from snnir.frontends.onnx.model import Source, load_model, to_array
from snnir.frontends.onnx.subgraph_names import subgraphs_of

__all__ = ["REMEDY", "requantized"]

REMEDY = "read its weights as real numbers and calibrate its activations (--requantize; requantize=True)"
_MOVES = ("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice", "Gather", "Concat", "Split", "Expand")
_ROUNDINGS = ("Floor", "Ceil", "Round")


def requantized(source: Source) -> tuple[onnx.ModelProto, int]:
    """The model with real numbers in place of dynamically quantized ones, and how many nodes it quantized so.

    Raises `ModelError` where the model cannot be read.
    """
    loaded, name = load_model(source)
    model = onnx.ModelProto()
    model.CopyFrom(loaded)
    model.graph.name = name
    model.ir_version = max(model.ir_version, 4)
    reading = _Reading()
    reading.graph(model.graph)
    if reading.count:
        for graph in _graphs(model.graph):
            del graph.value_info[:]
    return model, reading.count


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for body in subgraphs_of(node):
            yield from _graphs(body)


class _Reading:
    """The walk over a model: what its names stand for where they were quantized dynamically."""

    def __init__(self) -> None:
        self.count = 0
        """Nodes that quantize, or compute with what was quantized."""
        self.real: set[str] = set()
        """Names of integers that are real numbers now."""
        self.scales: set[str] = set()
        """Names of scales that were found for every input, and of what is computed from them."""
        self.known: dict[str, np.ndarray] = {}
        self.made: list[onnx.NodeProto] = []

    def graph(self, graph: onnx.GraphProto) -> None:
        """Rewrite the nodes of a graph, bodies included."""
        self.known.update({tensor.name: to_array(tensor) for tensor in graph.initializer})
        outer, self.made = self.made, []
        for node in graph.node:
            if node.op_type == "Constant" and node.attribute and node.attribute[0].type == onnx.AttributeProto.TENSOR:
                self.known[node.output[0]] = to_array(node.attribute[0].t)
            self.node(node)
        nodes, self.made = self.made, outer
        del graph.node[:]
        graph.node.extend(nodes)

    def node(self, node: onnx.NodeProto) -> None:
        """Write what stands for one node."""
        for body in subgraphs_of(node):
            self.graph(body)
        rewrite = _REWRITES.get(node.op_type)
        if rewrite is not None and rewrite(self, node):
            self.count += 1
            return
        taken = [name for name in node.input if name]
        if node.op_type in _MOVES and taken and taken[0] in self.real:
            self.real.update(node.output)
        elif any(name in self.scales for name in taken) and node.op_type in ("Mul", "Div", *_MOVES):
            self.scales.update(node.output)
        elif taken and taken[0] in self.scales and (node.op_type in _ROUNDINGS or node.op_type == "Cast"):
            # a bias in units of the scales: what was an integer is real
            self.scales.update(node.output)
            self.emit("Identity", node, taken[:1], node.output)
            return
        self.made.append(node)

    def emit(self, operator: str, like: onnx.NodeProto, inputs: Sequence[str], outputs: Sequence[str], suffix: str = "") -> None:
        """A node in place of another, under its name."""
        self.made.append(helper.make_node(operator, list(inputs), list(outputs), f"{like.name}{suffix}" if like.name else None))

    def constant(self, name: str, array: np.ndarray) -> str:
        """A known tensor under a name of its own."""
        self.known[name] = array
        self.made.append(helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array, name)))
        return name

    def weight(
        self, node: onnx.NodeProto, name: str, zero: str, shape: Callable[[np.ndarray], np.ndarray], scale: str = ""
    ) -> np.ndarray | None:
        """`(weight - zero) scale`, zero and scale brought to the shape that spreads over it; None where one is not known."""
        names = [name, *(item for item in (zero, scale) if item)]
        if any(item not in self.known for item in names):
            return None
        found = self.known[name].astype(np.float64)
        if zero:
            found = found - shape(self.known[zero].astype(np.float64))
        if scale:
            found = found * shape(self.known[scale].astype(np.float64))
        return found.astype(np.float32)


def _operand(node: onnx.NodeProto, index: int) -> str:
    return node.input[index] if index < len(node.input) else ""


def _linear(reading: _Reading, node: onnx.NodeProto) -> bool:
    quantized, scale, zero = (*node.output, "", "")[:3]
    reading.emit("Identity", node, node.input[:1], [quantized])
    reading.real.add(quantized)
    if scale:
        reading.constant(scale, np.ones((), np.float32))
        reading.scales.add(scale)
    if zero:
        reading.constant(zero, np.zeros((), np.uint8))
    return True


def _plain(array: np.ndarray) -> np.ndarray:
    return array


def _matmul(reading: _Reading, node: onnx.NodeProto) -> bool:
    weight = reading.weight(node, node.input[1], _operand(node, 3), _plain)
    if node.input[0] not in reading.real or weight is None:
        return False
    name = reading.constant(f"{node.output[0]}.weight", weight)
    reading.emit("MatMul", node, [node.input[0], name], node.output)
    return True


def _conv(reading: _Reading, node: onnx.NodeProto) -> bool:
    def per_filter(array: np.ndarray) -> np.ndarray:
        return array if array.size == 1 else array.reshape(-1, *[1] * (reading.known[node.input[1]].ndim - 1))

    weight = reading.weight(node, node.input[1], _operand(node, 3), per_filter)
    if node.input[0] not in reading.real or weight is None:
        return False
    name = reading.constant(f"{node.output[0]}.weight", weight)
    reading.emit("Conv", node, [node.input[0], name], node.output)
    reading.made[-1].attribute.extend(node.attribute)
    return True


def _dynamic_matmul(reading: _Reading, node: onnx.NodeProto) -> bool:
    """A, B, the scale and the zero point of B, and a bias."""
    return _product(reading, node, _operand(node, 2), _operand(node, 3), _operand(node, 4))


def _matmul_to_float(reading: _Reading, node: onnx.NodeProto) -> bool:
    """A, B, the scales of both, their zero points, and a bias."""
    if node.input[0] not in reading.real:
        return False
    return _product(reading, node, _operand(node, 3), _operand(node, 5), _operand(node, 6))


def _product(reading: _Reading, node: onnx.NodeProto, scale: str, zero: str, bias: str) -> bool:
    weight = reading.weight(node, node.input[1], zero, _plain, scale)
    if weight is None:
        return False
    name, result = reading.constant(f"{node.output[0]}.weight", weight), node.output[0]
    reading.emit("MatMul", node, [node.input[0], name], [f"{result}.product" if bias else result])
    if bias:
        reading.emit("Add", node, [f"{result}.product", bias], [result], ".bias")
    return True


def _dequantize(reading: _Reading, node: onnx.NodeProto) -> bool:
    """What is real already; the scale that was found for it is 1."""
    if node.input[0] not in reading.real or node.input[1] not in reading.scales:
        return False
    reading.emit("Identity", node, node.input[:1], node.output)
    return True


def _lstm(reading: _Reading, node: onnx.NodeProto) -> bool:
    """Weights stand transposed, [directions, inputs, 4 H], with a scale for each direction, or each of its columns."""

    def per_direction(array: np.ndarray) -> np.ndarray:
        return array.reshape(array.shape[0], 1, -1) if array.ndim else array

    weight = reading.weight(node, node.input[1], _operand(node, 9), per_direction, _operand(node, 8))
    recurrent = reading.weight(node, node.input[2], _operand(node, 11), per_direction, _operand(node, 10))
    if weight is None or recurrent is None:
        return False
    result = next(name for name in node.output if name)
    names = [
        reading.constant(f"{result}.{what}", np.ascontiguousarray(array.transpose(0, 2, 1)))
        for what, array in (("W", weight), ("R", recurrent))
    ]
    reading.emit("LSTM", node, [node.input[0], *names, *node.input[3:8]], node.output)
    reading.made[-1].attribute.extend(node.attribute)
    return True


def _attention(reading: _Reading, node: onnx.NodeProto) -> bool:
    """QAttention: x, W, a bias, the scales of both, a mask, their zero points."""
    weight = reading.weight(node, node.input[1], _operand(node, 7), _plain, node.input[4])
    if node.input[0] not in reading.real or weight is None or _operand(node, 8):
        return False
    name = reading.constant(f"{node.output[0]}.weight", weight)
    reading.emit("Attention", node, [node.input[0], name, node.input[2], _operand(node, 5)], node.output)
    reading.made[-1].domain = node.domain
    reading.made[-1].attribute.extend(node.attribute)
    return True


_REWRITES: dict[str, Callable[[_Reading, onnx.NodeProto], bool]] = {
    "DynamicQuantizeLinear": _linear,
    "MatMulInteger": _matmul,
    "ConvInteger": _conv,
    "DynamicQuantizeMatMul": _dynamic_matmul,
    "MatMulIntegerToFloat": _matmul_to_float,
    "DequantizeLinear": _dequantize,
    "DynamicQuantizeLSTM": _lstm,
    "QAttention": _attention,
}
