"""Scans of fixed length written out: one copy of the body for each sequence element.

Sound, because a state delivered by `replay` is a connection: window k receives the train of window k-1 step by step, and
so does copy k that of copy k-1, when all copies share one clock. The copies therefore send the spikes of a simulation
with `delivery="replay", execution="reset"`, at the same steps; and settled counts are the same in every delivery.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from snnir.errors import GraphError, UnsupportedError
from snnir.ir.dims import Dimension
from snnir.ir.graph import Graph, Node, Value
from snnir.ir.op import Op
from snnir.ir.ops import Bif, Concat, Expand, Gather, Rbif, Reshape, Scan
from snnir.ir.rewrite import copy_constants, like

__all__ = ["unroll"]


def unroll(graph: Graph, lengths: Mapping[str, int]) -> tuple[Graph, list[str]]:
    """`graph` without scans, and a line for each scan that was written out; `lengths` sizes named dimensions.

    A value of a body is called `<first result of the scan>/<value>[<element>]`. Raises `UnsupportedError` naming a scan
    whose length is not known.
    """
    new = like(graph)
    sizes: dict[str, Dimension] = dict(lengths)
    values = {value: new.input(value.name, value.type.substitute(sizes)) for value in graph.inputs}
    unroller = _Unroller(new, sizes)
    unroller.append(graph, values, "", "")
    for name, value in graph.outputs.items():
        new.output(name, values[value])
    return new, unroller.lines


class _Unroller:
    def __init__(self, new: Graph, sizes: Mapping[str, Dimension]) -> None:
        self.new, self.sizes = new, sizes
        self.lines: list[str] = []

    def append(self, old: Graph, values: dict[Value, Value], prefix: str, suffix: str) -> None:
        """Add the nodes of `old`; `values` says what stands for its inputs and constants, and grows."""
        if not prefix:
            copy_constants(old, self.new, values)
        for node in old.nodes:
            operands = [values[value] for value in node.operands]
            names = [f"{prefix}{value.name}{suffix}" for value in node.outputs]
            if isinstance(node.op, Scan):
                results: Sequence[Value] = self._scan(node, node.op, operands, names)
            else:
                results = self.new.add(self._bound(node.op), *operands, names=names, origin=node.origin)
            values.update(zip(node.outputs, results, strict=True))

    def _bound(self, op: Op) -> Op:
        if isinstance(op, Rbif):
            return Bif(op.quantization, op.staircase, op.accumulator, op.membrane)
        sizes: Mapping[str, int] = {name: size for name, size in self.sizes.items() if isinstance(size, int)}
        return op.bind(sizes)

    def _scan(self, node: Node, op: Scan, operands: Sequence[Value], names: Sequence[str]) -> list[Value]:
        body = node.body
        assert body is not None
        length = operands[op.states].type.shape[op.axis]
        if not isinstance(length, int):
            raise UnsupportedError(
                f"{node.describe()}: its sequence has the open length {length}, and NIR has no loop; give the length to "
                f"write it out for, lengths={{'{length}': 8}} (command line: --length {length}=8)"
            )
        if not length:
            raise UnsupportedError(f"{node.describe()}: its sequence has no element, so nothing is left to write")
        self.lines.append(f"{names[0]}: {length} elements")
        constants: dict[Value, Value] = {}
        copy_constants(body, self.new, constants)
        states = [self._spread(value, inner) for value, inner in zip(operands[: op.states], body.inputs, strict=False)]
        outputs = list(body.outputs.values())
        rows: list[list[Value]] = [[] for _ in outputs[op.states :]]
        order = range(length - 1, -1, -1) if op.reverse else range(length)
        for element in order:
            cut = [
                self.new.add1(Gather(op.axis, (element,), ()), value, name=f"{value.name}[{element}]")
                for value in operands[op.states : op.states + op.elements]
            ]
            given = [*states, *cut, *operands[op.states + op.elements :]]
            values = {**constants, **dict(zip(body.inputs, given, strict=True))}
            self.append(body, values, f"{names[0]}/", f"[{element}]")
            states = [values[value] for value in outputs[: op.states]]
            for row, value in zip(rows, outputs[op.states :], strict=True):
                row.append(values[value])
        stacked = [self._stack(row[::-1] if op.reverse else row, op.axis) for row in rows]
        return [*states, *stacked]

    def _spread(self, value: Value, state: Value) -> Value:
        """An initial state in the shape of the state."""
        shape = state.type.substitute(dict(self.sizes)).shape
        return value if value.type.shape == shape else self.new.add1(Expand(shape), value, name=f"{value.name}.spread")

    def _stack(self, row: Sequence[Value], axis: int) -> Value:
        parts = []
        for value in row:
            shape = value.type.shape
            if axis > len(shape):
                raise GraphError(f"value {value.name} of {value.type} cannot be stacked along axis {axis}")
            parts.append(self.new.add1(Reshape((*shape[:axis], 1, *shape[axis:])), value, name=f"{value.name}.row"))
        return self.new.add1(Concat(axis), *parts, name="stacked")
