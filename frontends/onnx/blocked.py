"""Models that ONNX Runtime saved with its highest optimisation: convolutions in the memory layout of one kind of processor.

Operators of the domain `com.microsoft.nchwc` take and give tensors whose channels are filled up to whole blocks (of 8 on AVX2, 16
on AVX-512) and stand block by block in memory. What they compute is what ONNX's own operators of the same names compute; only
the weights in the file are reordered. They are put back in ONNX's order here (onnxruntime/core/optimizer/nchwc_transformer.cc,
onnxruntime/core/mlas/lib/reorder.cpp), with the channels that were filled up.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import onnx
from onnx import helper, numpy_helper

from snnir.errors import UnsupportedError

__all__ = ["BLOCKED", "without_blocks"]

BLOCKED = "com.microsoft.nchwc"
_SIZES = (16, 8)
_ACTIVATED = ("activation", "activation_params")


def without_blocks(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with ONNX's own operators in place of blocked ones. Raises `UnsupportedError` where it cannot tell the blocks."""
    if not any(node.domain == BLOCKED for node in model.graph.node):
        return model
    plain = onnx.ModelProto()
    plain.CopyFrom(model)
    writer = _Writer(plain)
    nodes = [new for node in plain.graph.node for new in writer.written(node)]
    del plain.graph.node[:]
    plain.graph.node.extend(nodes)
    plain.graph.initializer.extend(writer.added)
    if not any(entry.domain == "com.microsoft" for entry in plain.opset_import):
        plain.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return plain


class _Writer:
    """Rewrites the nodes of one model."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.arrays = {tensor.name: tensor for tensor in model.graph.initializer}
        self.channels = _channels(model)
        self.block = _block_of(model, self.arrays)
        self.added: list[onnx.TensorProto] = []

    def written(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """The node in ONNX's operators."""
        if node.domain != BLOCKED:
            return [node]
        if node.op_type == "Conv":
            return [self._conv(node)]
        if node.op_type in ("ReorderInput", "ReorderOutput"):
            return self._reordered(node)
        if node.op_type == "Upsample":
            return [self._upsampled(node)]
        own = onnx.NodeProto()
        own.CopyFrom(node)
        own.domain = ""  # pools
        return [own]

    def _conv(self, node: onnx.NodeProto) -> onnx.NodeProto:
        group = next((item.i for item in node.attribute if item.name == "group"), 1)
        name = self._constant(f"{node.input[1]}.plain.{group}", self._weight(node, group))
        fused = len(node.input) > 3 or any(item.name in _ACTIVATED for item in node.attribute)
        new = helper.make_node("FusedConv" if fused else "Conv", [node.input[0], name, *node.input[2:]], node.output, node.name)
        new.domain = "com.microsoft" if fused else ""
        new.attribute.extend(node.attribute)
        return new

    def _weight(self, node: onnx.NodeProto, group: int) -> np.ndarray:
        if node.input[1] not in self.arrays:
            raise UnsupportedError(f"{node.name or node.output[0]} ({node.op_type}): its blocked weight is no constant")
        stored, size = numpy_helper.to_array(self.arrays[node.input[1]]), self.block
        outs, ins, *kernel = stored.shape
        whole = ins % size == 0 and ins // size >= 1 and not (group > 1 and ins == 1)
        if whole:  # OIHWBiBo: blocks of outputs, blocks of inputs, the kernel, the inputs and the outputs of a block
            parts = stored.reshape(outs // size, ins // size, *kernel, size, size)
            return np.ascontiguousarray(np.moveaxis(parts, (-1, -2), (1, 3)).reshape(stored.shape))
        parts = stored.reshape(outs // size, ins, *kernel, size)  # OIHWBo
        return np.ascontiguousarray(np.moveaxis(parts, -1, 1).reshape(stored.shape))

    def _constant(self, name: str, array: np.ndarray) -> str:
        if name not in {tensor.name for tensor in self.added}:
            self.added.append(numpy_helper.from_array(array, name))
        return name

    def _reordered(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """Channels filled up with zeros, or those cut off again; and perhaps channels that stand last."""
        last = next((item.i for item in node.attribute if item.name == "channels_last"), 0)
        source, result, nodes = node.input[0], node.output[0], []
        if node.op_type == "ReorderInput":
            if last:
                nodes.append(helper.make_node("Transpose", [source], [f"{result}.turned"], perm=[0, 3, 1, 2]))
                source = f"{result}.turned"
            count = self.channels.get(node.input[0], (0, 0))[last]
            if not count:
                raise UnsupportedError(f"{node.name or result} (ReorderInput): how many channels it takes is not in the file")
            pads = [0, 0, 0, 0, 0, -count % self.block, 0, 0]
            if not any(pads):
                return [*nodes, helper.make_node("Identity", [source], [result], node.name)]
            amounts = self._constant(f"{result}.pads", np.array(pads, np.int64))
            return [*nodes, helper.make_node("Pad", [source, amounts], [result], node.name)]
        count = next(item.i for item in node.attribute if item.name == "channels")
        ends = (("start", 0), ("end", count), ("axis", 1))
        given = [self._constant(f"{result}.{word}", np.array([number])) for word, number in ends]
        cut = f"{result}.cut" if last else result
        nodes.append(helper.make_node("Slice", [source, *given], [cut], node.name))
        if last:
            nodes.append(helper.make_node("Transpose", [cut], [result], perm=[0, 2, 3, 1]))
        return nodes

    def _upsampled(self, node: onnx.NodeProto) -> onnx.NodeProto:
        scales = next(item.ints for item in node.attribute if item.name == "scales")
        name = self._constant(f"{node.output[0]}.scales", np.array(scales, np.float32))
        new = helper.make_node("Resize", [node.input[0], "", name], node.output, node.name, nearest_mode="floor")
        new.attribute.extend(item for item in node.attribute if item.name != "scales")
        return new


def _channels(model: onnx.ModelProto) -> dict[str, tuple[int, int]]:
    """The sizes of axis 1 and axis 3 of values, as far as they follow from those that the file says."""
    typed = onnx.ModelProto()
    typed.CopyFrom(model)
    for node in model.graph.node:
        if node.domain == BLOCKED and node.op_type == "ReorderOutput":
            given = {item.name: item.i for item in node.attribute}
            shape = [None, None, None, given["channels"]] if given.get("channels_last") else [None, given["channels"], None, None]
            typed.graph.value_info.append(helper.make_tensor_value_info(node.output[0], onnx.TensorProto.FLOAT, shape))
    found = {}
    for entry in (*onnx.shape_inference.infer_shapes(typed).graph.value_info, *model.graph.input):
        sizes = [size.dim_value for size in entry.type.tensor_type.shape.dim]
        if len(sizes) == 4:
            found[entry.name] = (sizes[1], sizes[3])
    return found


def _block_of(model: onnx.ModelProto, arrays: dict[str, onnx.TensorProto]) -> int:
    """The channels of a block: a size that every weight is a multiple of, that of this processor where several are."""
    outs = [
        arrays[node.input[1]].dims[0]
        for node in model.graph.node
        if node.domain == BLOCKED and node.op_type == "Conv" and node.input[1] in arrays
    ]
    fitting = [size for size in _SIZES if math.gcd(*outs, 0) % size == 0]
    if not fitting:
        raise UnsupportedError(
            f"the model holds convolutions in a memory layout of ONNX Runtime ({BLOCKED}) whose blocks are neither of "
            f"{' nor of '.join(map(str, _SIZES))} channels; save it with ORT_ENABLE_EXTENDED or less"
        )
    own = _own_block() if len(fitting) > 1 else 0
    return own if own in fitting else fitting[0]


@functools.cache
def _own_block() -> int:
    """The block of this processor: how far ONNX Runtime fills up the one output of a convolution that it saves; 0 for none."""
    import tempfile
    from pathlib import Path

    import onnxruntime

    weight = numpy_helper.from_array(np.ones((1, 32, 1, 1), np.float32), "w")
    x, y = (
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, count, 4, 4]) for name, count in (("x", 32), ("y", 1))
    )
    graph = helper.make_graph([helper.make_node("Conv", ["x", "w"], ["y"])], "block", [x], [y], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "block.onnx"
        options.optimized_model_filepath = str(path)
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        saved = onnx.load(path)
    arrays = {tensor.name: tensor for tensor in saved.graph.initializer}
    blocked = [node for node in saved.graph.node if node.domain == BLOCKED and node.op_type == "Conv"]
    return int(arrays[blocked[0].input[1]].dims[0]) if blocked else 0
