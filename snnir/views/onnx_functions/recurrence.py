"""Bodies of ops that hold a graph: `scan` as ONNX's `Scan`, and functions of complete levels as their integer ops."""

from __future__ import annotations

from onnx import helper

from snnir.ir import Graph, TensorType
from snnir.ir.ops import Function, Scan
from snnir.ir.types import DTYPES
from snnir.views.onnx_functions.body import I64, LAST, Body, Term, writes

__all__ = ["scanned"]


def scanned(
    body: Body,
    inner: Body,
    states: dict[str, TensorType],
    elements: dict[str, TensorType],
    outputs: dict[str, TensorType],
    *given: Term,
) -> tuple[Term, ...]:
    """The results of a `Scan` along axis 0 whose graph is what was written in `inner`."""
    graph = inner.graph(f"{body.prefix or 'body '}element", states | elements, outputs)
    kinds = [DTYPES[type_.dtype] for type_ in outputs.values()]
    return body.applied("Scan", len(outputs), *given, dtypes=kinds, body=graph, num_scan_inputs=len(elements))


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


def write_graph(body: Body, graph: Graph) -> None:
    """Append constants and nodes of a body graph; its inputs are there under their names."""
    for value in graph.constants:
        name = body.prefix + value.name
        body.nodes.append(helper.make_node("Identity", [body.constant(value.array).name], [name]))
    for node in graph.nodes:
        body.call(node)


@writes("scan")
def _scan(body: Body, op: Scan, *operands: Term) -> tuple[Term, ...]:
    graph, prefix, node = body.node.inner, body.prefix, body.node
    inner, last = body.inside(), op.states + op.elements
    for value, term in zip(graph.inputs[last:], operands[last:], strict=True):
        inner.nodes.append(helper.make_node("Identity", [term.name], [prefix + value.name]))
    write_graph(inner, graph)
    outputs = {}
    for name, value in graph.outputs.items():
        inner.nodes.append(helper.make_node("Identity", [prefix + value.name], [f"{prefix}yield {name}"]))
        outputs[f"{prefix}yield {name}"] = value.type
    inputs = {prefix + value.name: value.type for value in graph.inputs}
    states = dict(list(inputs.items())[: op.states])
    elements = dict(list(inputs.items())[op.states : last])
    given = [
        spread(body, term, value.type, wanted)
        for term, value, wanted in zip(operands, node.operands, states.values(), strict=False)
    ]
    given += [
        in_order(term, value.type.rank, op.axis, op.reverse)
        for term, value in zip(operands[op.states : last], node.operands[op.states : last], strict=True)
    ]
    results = scanned(body, inner, states, elements, outputs, *given)
    stacks = [
        back_in_place(term, value.type.rank, op.axis, op.reverse)
        for term, value in zip(results[op.states :], node.outputs[op.states :], strict=True)
    ]
    return (*results[: op.states], *stacks)


@writes("function")
def _function(body: Body, op: Function, *operands: Term) -> tuple[Term, ...]:
    graph = body.node.inner
    for value, term in zip(graph.inputs, operands, strict=True):
        body.nodes.append(helper.make_node("Identity", [term.cast(I64).name], [body.prefix + value.name]))
    write_graph(body, graph)
    results = [Term(body, body.prefix + value.name, I64) for value in graph.outputs.values()]
    return tuple(term.do("Max", lo).do("Min", hi) for term, lo, hi in zip(results, op.lo, op.hi, strict=True))
