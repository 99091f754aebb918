"""The text form of a graph, at every level; `snnir.ir.parse` reads it back to an equal graph.

    graph digits level=float after=canonicalize     # 4 nodes, 1.2k parameters
      input  x                          Nx8x8:f32
      const  w                          10x8:f32    range=-0.3..0.4 digest=0f3a...
      last, y = scan axis=1 {
        state   h = h0                  Nx32:f32
        element row = x                 Nx8:f32
        a       = linear row w_ih       Nx32:f32    # RNN /rnn/RNN
        yield   next = a
        yield   y = a
      }                                 Nx32:f32, Nx8x32:f32
      logits = linear last w            Nx10:f32    # Gemm /fc/Gemm
      output logits = logits

Constants of up to 8 elements stand in the text; larger ones are named by digest, and their data travels beside it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

from snnir.ir.graph import Graph, Node, Value
from snnir.ir.ops import Scan
from snnir.ir.tokens import attributes_text, name_text, word_text

__all__ = ["INLINE", "Line", "lines", "tensors", "text"]

INLINE = 8
"""Constants of at most this many elements are written in the text."""


@dataclass(frozen=True)
class Line:
    """One line of the text form, before it is put into columns."""

    indent: int
    left: str
    """Everything before the type."""
    type: str = ""
    comment: str = ""
    value: str = ""
    """The first value that the line defines or gives out, `<first result of the scan>/<value>` inside a scan."""
    data: Value | None = None
    """The constant that the line names."""

    @property
    def start(self) -> str:
        """Everything before the type, indented."""
        return "  " * self.indent + self.left


def text(graph: Graph) -> str:
    """The text form of `graph`; `tensors` gives the data of the constants that it names by digest."""
    return _align(lines(graph))


def lines(graph: Graph) -> list[Line]:
    """The lines of the text form of `graph`."""
    nodes = sum(1 for _ in graph.walk())
    header = f"graph {name_text(graph.name)} level={graph.level}" + (f" after={graph.after}" if graph.after else "")
    found = [Line(0, header, "", f"# {nodes} nodes, {_count(graph.parameter_count())} parameters")]
    found += [Line(1, f"note {json.dumps(note)}") for note in graph.notes]
    found += [Line(1, f"finite {name_text(name)}") for name in sorted(graph.finite)]
    found += [Line(1, f"limit {name_text(name)} {number}") for name, number in sorted(graph.limits.items())]
    found += [Line(1, f"group {name_text(name)} {axis} {size}") for name, (axis, size) in sorted(graph.groups.items())]
    found += [Line(1, f"input {name_text(value.name)}", str(value.type), value=value.name) for value in graph.inputs]
    found += _content(graph, 1, "")
    for name, value in graph.outputs.items():
        found.append(Line(1, f"output {name_text(name)} = {name_text(value.name)}", value=value.name))
    return found


def tensors(graph: Graph) -> dict[str, np.ndarray]:
    """The data of constants that the text names by digest, bodies included."""
    found = {value.digest: value.array for value in graph.constants if not _inline(value)}
    for node in graph.nodes:
        if node.body is not None:
            found.update(tensors(node.body))
    return found


def _content(graph: Graph, indent: int, prefix: str) -> list[Line]:
    found = [_constant(value, indent, prefix) for value in graph.constants]
    for node in graph.nodes:
        found += [_node(node, indent, prefix)] if node.body is None else _with_body(node, node.body, indent, prefix)
    return found


def _constant(value: Value, indent: int, prefix: str) -> Line:
    array = value.array
    if _inline(value):
        data = "= [" + ";".join(_number(item) for item in array.reshape(-1).tolist()) + "]"
    else:
        low, high = array.min(), array.max()
        data = f"range={low:.4g}..{high:.4g} digest={value.digest}"
    return Line(indent, f"const {name_text(value.name)}", str(value.type), data, prefix + value.name, value)


def _inline(value: Value) -> bool:
    """Whether a constant stands in the text: small ones, and words."""
    return value.array.size <= INLINE or value.type.dtype == "str"


def _number(item: float | int | bool | str) -> str:
    return word_text(item) if isinstance(item, str) else repr(item).lower()


def _results(node: Node) -> str:
    return ", ".join(name_text(value.name) for value in node.outputs)


def _origin(node: Node) -> str:
    return "# " + ", ".join(json.dumps(word) if _awkward(word) else word for word in node.origin) if node.origin else ""


def _awkward(word: str) -> bool:
    return not word or word != word.strip() or any(character in word for character in ',"\n\\') or not word.isprintable()


def _node(node: Node, indent: int, prefix: str) -> Line:
    words = [node.op.name, *(name_text(value.name) for value in node.operands), attributes_text(node.op)]
    types = ", ".join(str(value.type) for value in node.outputs)
    left = f"{_results(node)} = {' '.join(word for word in words if word)}"
    return Line(indent, left, types, _origin(node), prefix + node.outputs[0].name)


def _with_body(node: Node, body: Graph, indent: int, prefix: str) -> list[Line]:
    op, own = node.op, prefix + node.outputs[0].name
    attributes = " ".join(word for word in attributes_text(op).split() if not word.startswith(("states=", "elements=")))
    head = " ".join(filter(None, (_results(node), f"= {op.name}", name_text(body.name), attributes, "{")))
    found = [Line(indent, head, value=own)]
    for index, (value, operand) in enumerate(zip(body.inputs, node.operands, strict=True)):
        kind = "given"
        if isinstance(op, Scan):
            kind = "state" if index < op.states else "element" if index < op.states + op.elements else "shared"
        left = f"{kind} {name_text(value.name)} = {name_text(operand.name)}"
        found.append(Line(indent + 1, left, str(value.type), value=f"{own}/{value.name}"))
    found += _content(body, indent + 1, f"{own}/")
    for name, value in body.outputs.items():
        found.append(Line(indent + 1, f"yield {name_text(name)} = {name_text(value.name)}", value=f"{own}/{value.name}"))
    found.append(Line(indent, "}", ", ".join(str(value.type) for value in node.outputs), _origin(node), own))
    return found


def _align(lines: list[Line]) -> str:
    """Types and comments in columns; lines far longer than the others do not push the columns away."""
    typed = [line for line in lines if line.type]
    first = max((len(line.start) for line in typed if len(line.start) <= 72), default=0)
    second = max((len(line.type) for line in typed if len(line.type) <= 40), default=0)
    rows = []
    for line in lines:
        row = line.start
        if line.type:
            row = f"{row:<{first}}  {line.type}"
        if line.comment:
            width = first + 2 + second if line.type else 0
            row = f"{row:<{width}}  {line.comment}"
        rows.append(row.rstrip())
    return "\n".join(rows) + "\n"


def _count(number: int) -> str:
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= size:
            return f"{number / size:.1f}{unit}"
    return str(number)
