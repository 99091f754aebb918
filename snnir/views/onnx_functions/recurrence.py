"""Bodies of ops that hold a graph: `scan` as ONNX's `Scan`, and functions of complete levels as their integer ops."""

from __future__ import annotations

from onnx import GraphProto, helper

from snnir.ir import TensorType
from snnir.ir.ops import Function, Scan
from snnir.ir.types import DTYPES
from snnir.views.onnx_functions.body import I64, LAST, Body, Term, info, tensor, writes

__all__ = ["back_in_place", "in_order", "spread"]


def in_order(x: Term, rank: int, axis: int, reverse: bool) -> Term:
    """A sequence with its axis in front, turned around where the last element is the first to come."""
    if axis:
        x = x.do("Transpose", perm=[axis, *(other for other in range(rank) if other != axis)])
    return x.sliced(0, LAST, -LAST, -1) if reverse else x


def back_in_place(x: Term, rank: int, axis: int, reverse: bool) -> Term:
    """The inverse of `in_order`."""
    x = x.sliced(0, LAST, -LAST, -1) if reverse else x
    return x.do("Transpose", perm=[*range(1, axis + 1), 0, *range(axis + 1, rank)]) if axis else x


def spread(body: Body, x: Term, given: TensorType, wanted: TensorType) -> Term:
    """An initial state in the whole shape of the state."""
    x = x.cast(DTYPES[wanted.dtype])
    return x if given.shape == wanted.shape else x.do("Expand", body.shape(wanted.shape))


@writes("scan")
def _scan(body: Body, op: Scan, *operands: Term) -> tuple[Term, ...]:
    """The graph of an element stands in the function and at its call, where viewers show it; both may use the call's operands."""
    node, last = body.node, op.states + op.elements
    body.held = _element(body, op)
    wanted = [value.type for value in node.inner.inputs[: op.states]]
    given = [spread(body, term, value.type, state) for term, value, state in zip(operands, node.operands, wanted, strict=False)]
    given += [
        in_order(term, value.type.rank, op.axis, op.reverse)
        for term, value in zip(operands[op.states : last], node.operands[op.states : last], strict=True)
    ]
    kinds = [DTYPES[value.type.dtype] for value in node.inner.outputs.values()]
    results = body.applied("Scan", len(kinds), *given, dtypes=kinds, body=body.held, num_scan_inputs=op.elements)
    stacks = [
        back_in_place(term, value.type.rank, op.axis, op.reverse)
        for term, value in zip(results[op.states :], node.outputs[op.states :], strict=True)
    ]
    return (*results[: op.states], *stacks)


def _element(body: Body, op: Scan) -> GraphProto:
    """The graph of one element. Constants, and values that all elements share, are operands of the call under their names."""
    graph, prefix, last = body.node.inner, body.prefix, op.states + op.elements
    inner = body.inside()
    for value, name in zip(graph.inputs[last:], body.inputs[last:], strict=True):
        inner.nodes.append(helper.make_node("Identity", [name], [prefix + value.name]))
    body.constants += [tensor(prefix + value.name, value.array) for value in graph.constants]
    for each in graph.nodes:
        inner.call(each)
    outputs = {}
    for name, value in graph.outputs.items():
        inner.nodes.append(helper.make_node("Identity", [prefix + value.name], [f"{prefix}yield {name}"]))
        outputs[f"{prefix}yield {name}"] = value.type
    made = inner.graph(prefix.rstrip("/"), {prefix + value.name: value.type for value in graph.inputs[:last]}, outputs)
    made.value_info.extend(info(prefix + value.name, value.type) for each in graph.nodes for value in each.outputs)
    return made


@writes("function")
def _function(body: Body, op: Function, *operands: Term) -> tuple[Term, ...]:
    graph = body.node.inner
    for value, term in zip(graph.inputs, operands, strict=True):
        body.nodes.append(helper.make_node("Identity", [term.cast(I64).name], [body.prefix + value.name]))
    for value in graph.constants:
        body.nodes.append(helper.make_node("Identity", [body.constant(value.array).name], [body.prefix + value.name]))
    for node in graph.nodes:
        body.call(node)
    results = [Term(body, body.prefix + value.name, I64) for value in graph.outputs.values()]
    return tuple(term.do("Max", lo).do("Min", hi) for term, lo, hi in zip(results, op.lo, op.hi, strict=True))
