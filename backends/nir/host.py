"""What the host computes before the encoders and after the readouts, which no NIR graph holds: kept in its metadata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from snnir.errors import GraphError
from snnir.ir.graph import Graph, Node, Value
from snnir.ir.ops import Readout
from snnir.ir.parse import parse
from snnir.ir.rewrite import extend
from snnir.ir.text import tensors, text

__all__ = ["host_graphs", "host_metadata", "read_host", "splice"]


def host_graphs(graph: Graph, encoded: Sequence[Value]) -> tuple[Graph, Graph]:
    """`before`: from the inputs to `encoded` (outputs by their own names); `after`: from readouts to the outputs.

    `after` takes readouts, and what it needs of `before`, by name.
    """
    before = Graph(graph.name, graph.level)
    before.finite = set(graph.finite)
    early = {value: before.input(value.name, value.type) for value in graph.inputs}
    late: set[Value] = set()
    rest: list[Node] = []
    for node in graph.nodes:
        if isinstance(node.op, Readout):
            late.add(node.output)
        elif all(value.type.is_plain for value in node.outputs):
            if any(value in late for value in node.operands):
                late.update(node.outputs)
                rest.append(node)
            else:
                _copy(node, before, early)
    after = Graph(graph.name, graph.level)
    later: dict[Value, Value] = {}
    needed = [value for node in rest for value in node.operands] + list(graph.outputs.values())
    made = {value for node in rest for value in node.outputs}
    for value in dict.fromkeys(needed):
        if not value.is_constant and value not in made:
            later[value] = after.input(value.name, value.type)
    for node in rest:
        _copy(node, after, later)
    for name, value in graph.outputs.items():
        if value.is_constant and value not in later:
            later[value] = after.constant(value.name, value.array)
        after.output(name, later[value])
    readouts = {node.output for node in graph.nodes if isinstance(node.op, Readout)}
    for value in dict.fromkeys([*encoded, *(value for value in later if value in early and value not in readouts)]):
        before.output(value.name, early[value])
    return before, after


def _copy(node: Node, new: Graph, values: dict[Value, Value]) -> None:
    for value in node.operands:
        if value.is_constant and value not in values:
            values[value] = new.constant(value.name, value.array)
    names = [value.name for value in node.outputs]
    results = new.add(node.op, *(values[value] for value in node.operands), names=names, origin=node.origin)
    values.update(zip(node.outputs, results, strict=True))


def host_metadata(before: Graph, after: Graph) -> dict[str, object]:
    """Both graphs as text, and the constants that the text names by digest."""
    found: dict[str, object] = {"before": text(before), "after": text(after)}
    data = {**tensors(before), **tensors(after)}
    if data:
        found["tensors"] = data
    return found


def read_host(metadata: Mapping[str, Any]) -> tuple[Graph, Graph]:
    """What `host_metadata` wrote. Raises `GraphError` or `KeyError`."""
    data: dict[str, np.ndarray] = dict(metadata.get("tensors", {}))
    before, after = str(metadata["before"]), str(metadata["after"])
    return parse(before, data), parse(after, data)


def splice(new: Graph, part: Graph, given: Mapping[str, Value], outputs: bool) -> dict[str, Value]:
    """Append `part` to `new` on values given by name; its outputs by name, which become those of `new` if `outputs`."""
    values = {}
    for value in part.inputs:
        if value.name not in given:
            raise GraphError(f"the host's part takes {value.name!r}, which nothing gives")
        values[value] = given[value.name]
    new.finite |= part.finite
    if outputs:
        extend(new, part, values)
        return {name: values[value] for name, value in part.outputs.items()}
    bare = Graph(new.name, new.level)
    inner = {value: bare.input(value.name, value.type) for value in part.inputs}
    for node in part.nodes:
        _copy(node, bare, inner)
    known = {bare.values[value.name]: values[value] for value in part.inputs}
    extend(new, bare, known)
    found = {}
    for name, value in part.outputs.items():
        found[name] = new.constant(value.name, value.array) if value.is_constant else known[inner[value]]
    return found
