"""Batches that a model sorts by length and unsorts again, in the order in which they came.

`pack_padded_sequence(enforce_sorted=False)` of PyTorch exports a TopK of all lengths, takes samples in that order through the
recurrent layer, and takes the results in the inverse order. A layer that knows the lengths computes every sample by itself in
any order, so both orders are left out, where all that was sorted is unsorted before it leaves the model.
"""

from __future__ import annotations

import onnx
from onnx import helper

from snnir.frontends.onnx.subgraph_names import captured_names

__all__ = ["in_given_order"]

_SAME = ("Cast", "Identity")


def in_given_order(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without the orders that it undoes itself; the same model where there are none."""
    makers = {name: node for node in model.graph.node for name in node.output}
    for node in model.graph.node:
        if node.op_type == "TopK" and _of_all(node, makers):
            changed = _without_order(model, node)
            if changed is not None:
                return in_given_order(changed)
    return model


def _of_all(node: onnx.NodeProto, makers: dict[str, onnx.NodeProto]) -> bool:
    """Whether a TopK takes as many elements as a vector has: its size is the shape of what it sorts."""
    name = node.input[1]
    while (maker := makers.get(name)) is not None and maker.op_type in ("Gather", "Reshape", "Squeeze", "Unsqueeze", *_SAME):
        name = maker.input[0]
    return maker is not None and maker.op_type == "Shape" and maker.input[0] == node.input[0]


def _without_order(model: onnx.ModelProto, sort: onnx.NodeProto) -> onnx.ModelProto | None:
    values, order = sort.output[0], sort.output[1]
    orders, inverses = {order}, set[str]()
    sorted_ = {values} - {""}
    plain: dict[int, str] = {}
    """Nodes that hand on their first operand once nothing is reordered."""
    for place, node in enumerate(model.graph.node):
        taken = set(node.input)
        if node is sort:
            continue
        if node.op_type in _SAME and taken & orders:
            orders.update(node.output)
        elif node.op_type in _SAME and taken & inverses:
            inverses.update(node.output)
        elif node.op_type == "Shape":
            continue
        elif node.op_type == "ScatterElements" and node.input[1] in orders:  # places 0, 1, 2 ... at the order: its inverse
            inverses.update(node.output)
        elif node.op_type == "Gather" and node.input[1] in orders and not taken & sorted_:
            plain[place] = node.input[0]
            sorted_.update(node.output)
        elif node.op_type == "Gather" and node.input[1] in inverses and node.input[0] in sorted_:
            plain[place] = node.input[0]
        elif taken & (orders | inverses):
            return None  # the order itself is computed with
        elif taken & sorted_:
            sorted_.update(node.output)
    if sorted_ & {output.name for output in model.graph.output} or not inverses:
        return None
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for place, source in plain.items():
        node = changed.graph.node[place]
        node.CopyFrom(helper.make_node("Identity", [source], list(node.output), node.name))
    index = list(model.graph.node).index(sort)
    changed.graph.node[index].CopyFrom(helper.make_node("Identity", [sort.input[0]], [values], sort.name))
    _drop(changed.graph, orders | inverses, sort.input[0])
    return changed


def _drop(graph: onnx.GraphProto, names: set[str], vector: str) -> None:
    """Leave out what computed the orders; their shape is that of the `vector` that was sorted."""
    kept, unused = list[onnx.NodeProto](), set[str]()
    for node in graph.node:
        if node.op_type == "Shape" and node.input[0] in names:
            kept.append(helper.make_node("Shape", [vector], list(node.output), node.name))
        elif set(node.output) & names:
            unused.update(node.input)
        else:
            kept.append(node)
    nodes = list[onnx.NodeProto]()
    wanted = {output.name for output in graph.output}
    for node in reversed(kept):  # what only the orders took goes with them
        if set(node.output) & unused and not set(node.output) & wanted:
            unused.update(node.input)
            continue
        wanted.update((*node.input, *captured_names(node)))
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(reversed(nodes))
