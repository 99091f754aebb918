"""A graph as records for a page: its nodes with what is known of each, and the lines of its text form.

A value is named as everywhere: `<first result of the scan>/<value>` inside a scan. A node is named after its first result.
Inputs and outputs of graphs and bodies are nodes of their own (`input`, `state`, `element`, `shared`, `given`, `yield`,
`output`), so that a drawing needs nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from snnir.errors import GraphError
from snnir.ir import FLOAT, SPIKING, Dim, Graph, Node, Value
from snnir.ir.op import OPS
from snnir.ir.ops import Fs, Movement, Observe, Population, Scan
from snnir.ir.text import Line, lines
from snnir.ir.tokens import attributes_text
from snnir.machine import bits_of, certify, lower, settling
from snnir.machine.spans import Interval
from snnir.runtime.costs import node_macs, on_host

__all__ = ["line_record", "line_records", "node_records", "scope_of"]

Record = dict[str, Any]

_FIRING = {name for name, op in OPS.items() if issubclass(op, Population)}


def node_records(graph: Graph, sizes: Mapping[str, int]) -> list[Record]:
    """All nodes in order, bodies behind their scans. `sizes` are numbers for open sizes, to count multiply-accumulates;
    operations of a node whose sizes are not known are None.
    """
    records = list(_nodes(graph, "", sizes, graph.level))
    if graph.level == SPIKING:
        _add_certified(records, graph, sizes)
    return records


def _add_certified(records: list[Record], graph: Graph, sizes: Mapping[str, int]) -> None:
    """Enter what the machine level certifies of the populations for samples of these sizes; nothing where a size is open."""
    if any(str(size) not in sizes for value in graph.inputs for size in value.type.shape if isinstance(size, Dim)):
        return
    program = lower(graph, sizes).program
    registers, steps = certify(program).registers, settling(program).steps
    for record in records:
        name = str(record["id"])
        if record["op"] not in _FIRING or name not in registers:
            continue
        record["bound"] = steps[name]
        shown = [("accumulator, certified", "sum"), ("membrane, certified", "membrane")]
        facts = [[label, _range_text(registers[name][key])] for label, key in shown if key in registers[name]]
        record["facts"] = [*record["facts"], *facts, ["settling bound", f"{steps[name]} steps"]]


def _range_text(range_: Interval) -> str:
    return f"{range_[0]:,} to {range_[1]:,} ({bits_of(range_)} bits)"


def _nodes(graph: Graph, owner: str, sizes: Mapping[str, int], level: str) -> Iterator[Record]:
    prefix = f"{owner}/" if owner else ""
    if not owner:
        for value in graph.inputs:
            yield _border("input", value.name, "", [], [value.name], str(value.type))
    scopes: dict[Value, list[str]] = {}
    for node in graph.nodes:
        scope = _scope(node, scopes)
        scopes.update((value, scope) for value in node.outputs)
        record = _node(node, prefix, owner, sizes, level)
        yield {**record, "scope": scope}
        if node.body is not None:
            yield from _body(node, node.body, str(record["id"]), prefix, sizes, level)
    for name, value in graph.outputs.items():
        kind = "yield" if owner else "output"
        yield _border(kind, f"{prefix}{kind} {name}", owner, [prefix + value.name], [], str(value.type))


def _body(node: Node, body: Graph, owner: str, prefix: str, sizes: Mapping[str, int], level: str) -> Iterator[Record]:
    op = node.op
    for index, (value, operand) in enumerate(zip(body.inputs, node.operands, strict=True)):
        kind = "given"
        if isinstance(op, Scan):
            kind = "state" if index < op.states else "element" if index < op.states + op.elements else "shared"
        name = f"{owner}/{value.name}"
        yield _border(kind, name, owner, [] if operand.is_constant else [prefix + operand.name], [name], str(value.type))
    yield from _nodes(body, owner, sizes, level)


def _border(kind: str, name: str, owner: str, inputs: list[str], outputs: list[str], type_: str) -> Record:
    return {
        "id": name,
        "op": kind,
        "owner": owner,
        "inputs": inputs,
        "outputs": outputs,
        "types": [type_],
        "origin": [],
        "scope": [],
        "where": "border",
    }


def _node(node: Node, prefix: str, owner: str, sizes: Mapping[str, int], level: str) -> Record:
    quantizations = [value.type.quantization for value in node.outputs if value.type.quantization is not None]
    levels = max((item.hi - item.lo + 1 for item in quantizations), default=0)
    record: Record = {
        "id": prefix + node.outputs[0].name,
        "op": node.op.name,
        "owner": owner,
        "inputs": [prefix + value.name for value in node.operands if not value.is_constant],
        "outputs": [prefix + value.name for value in node.outputs],
        "types": [str(value.type) for value in node.outputs],
        "origin": list(node.origin),
        "where": _where(node, level),
        "attributes": [list(word.partition("=")[::2]) for word in attributes_text(node.op).split()],
        "constants": [_constant(name, value) for name, value in _named_operands(node) if value.is_constant],
        "facts": [list(item) for item in _facts(node)],
        "bits": (levels - 1).bit_length() if levels else None,
        "macs": _macs(node, sizes),
    }
    return record


def _macs(node: Node, sizes: Mapping[str, int]) -> int | None:
    try:
        return node_macs(node, sizes)
    except GraphError:  # a size that is still open
        return None


def _where(node: Node, level: str) -> str:
    if isinstance(node.op, Movement):
        return "moved"
    if level == FLOAT:
        return "float"
    return "host" if on_host(node) else "spiking" if level == "spiking" else "integer"


def _named_operands(node: Node) -> Iterator[tuple[str, Value]]:
    names = [name.rstrip("?*") for name in node.op.operands]
    for index, value in enumerate(node.operands):
        yield names[min(index, len(names) - 1)] if names else "", value


def _constant(name: str, value: Value) -> list[str]:
    array = value.array
    if array.dtype.kind in "U" or not array.size:
        summary = f"{array.size} words" if array.size else "empty"
    elif array.size == 1:
        summary = f"{array.reshape(-1)[0]:.4g}"
    else:
        summary = f"{array.min():.4g} to {array.max():.4g}"
    return [name, value.name, str(value.type), summary, value.digest]


def _facts(node: Node) -> Iterator[tuple[str, str]]:
    """What a neuron, an observer or a synapse is known by, as label and text."""
    op = node.op
    gain = getattr(op, "gain", None)
    if isinstance(gain, tuple) and gain:
        low, high = min(gain), max(gain)
        yield "gain", f"2^{low}" if low == high else f"2^{low} to 2^{high}, by channel"
    if isinstance(op, Observe):
        yield "candidate scales", f"{len(op.scales)}, from 2 bits on"
    if not isinstance(op, Population):
        return
    theta, bias = node.operands[0], node.operands[1]
    if theta.is_constant:
        table = ", a staircase of thresholds" if op.staircase else ""
        yield "thresholds", f"{theta.array.min():,} to {theta.array.max():,}{table}"
    if bias.is_constant:
        yield "bias", f"{bias.array.min():,} to {bias.array.max():,}"
    yield "levels", f"{op.quantization.lo} to {op.quantization.hi}, one is worth {op.quantization.scale:.4g}"
    if isinstance(op, Fs):
        if op.start >= 0:
            yield "schedule", f"steps {op.start} to {op.start + op.steps - 1}"
        if op.omitted:
            yield "bits left out", str(op.omitted)


def _scope(node: Node, scopes: Mapping[Value, list[str]]) -> list[str]:
    """The modules that a node belongs to; one without origin belongs where its first changing operand does."""
    if node.origin:
        return scope_of(node.origin[0])
    return next((scopes[value] for value in node.operands if value in scopes), [])


def scope_of(origin: str) -> list[str]:
    """The modules around a node of the user's model, outermost first: `Conv /features/features.0/Conv`, `Conv1d /block.0`."""
    _, _, name = origin.partition(" ")
    parts = [part for part in re.split(r"/+", name) if part]
    if len(parts) == 1:
        parts = [part for part in parts[0].split(".") if part]
    return parts[:-1]


def line_records(graph: Graph) -> list[list[object]]:
    """The lines of the text form as [indent, text, type, comment, value]; constants have the first digits of their digest."""
    return [line_record(line) for line in lines(graph)]


def line_record(line: Line) -> list[object]:
    """One of `line_records`."""
    comment = re.sub(r"digest=(\w{6})\w*", r"#\1", line.comment)
    return [line.indent, line.left, line.type, comment, line.value]
