"""Real integers: what the network itself counts and chooses becomes real whole numbers, which functions compute."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from snnir.ir import FLOAT, Graph, Node, Op, Value
from snnir.ir.ops import (
    Abs,
    Add,
    ArgMax,
    Cast,
    Clip,
    Conv,
    IntAbs,
    IntAdd,
    IntAnd,
    IntEqual,
    IntGreater,
    IntLeast,
    IntMost,
    IntMul,
    IntNeg,
    IntNot,
    IntOr,
    IntSub,
    IntWhere,
    IntXor,
    Linear,
    Lookup,
    Movement,
    Mul,
    Reshape,
    Scan,
    Sub,
    TakeAlong,
    TopK,
    TopPlaces,
    TopValues,
)
from snnir.ir.rewrite import copy_constants, like
from snnir.ir.types import DTYPES
from snnir.passes.functions.whole import constant_ends, ends_of_states
from snnir.passes.host_part import before_layers, host_prefix, host_suffix
from snnir.passes.infra import Context, Pass, Result, register

__all__ = ["INSIDE", "RealIntegers"]


@register
@dataclass(frozen=True)
class RealIntegers(Pass):
    """Write integers that arise inside the network as real whole numbers.

    1. `argmax` and `top_k` of what layers give, and in the body of a scan, become `top_places` and `top_values`: those behind
       which a layer follows, or a scan. What closes a model, or prepares an input, stays with integers on the host.
    2. What is computed of such places becomes the same of real numbers: sums, products, comparisons, choices, data movement, rows
       of tables, and states of scans whose ends are known.
    3. Anything else takes them cast back to integers.
    """

    name = "real-integers"
    takes = gives = FLOAT

    def run(self, graph: Graph, context: Context) -> Result:
        """Apply the pass."""
        if not any(isinstance(node.op, ArgMax | TopK) for _, node in graph.walk()):
            return Result(graph, False)
        hits: Counter[str] = Counter()
        new = _Writer(graph, _inside(graph), hits).whole()
        return Result(new, bool(hits), rewrites=hits)


def _inside(graph: Graph) -> set[Node]:
    """The nodes of the outermost graph that choose inside the network: behind layers with weights, and before others."""
    suffix = host_suffix(graph)
    prefix = host_prefix(graph, graph.inputs, suffix)
    behind: set[Value] = set()
    for node in graph.nodes:
        weighted = isinstance(node.op, Linear | Conv) and not node.operands[0].is_constant
        if weighted or node.body is not None or any(value in behind for value in node.operands):
            behind.update(node.outputs)
    followed = before_layers(graph)
    return {node for node in followed if node not in prefix or any(value in behind for value in node.operands)}


class _Writer:
    """One graph or body; `reals` says which real number stands for an integer of the old graph."""

    def __init__(self, old: Graph, inside: set[Node] | None, hits: Counter[str]) -> None:
        self.old, self.inside, self.hits = old, inside, hits
        self.new = like(old)
        self.values: dict[Value, Value] = {}
        self.reals: dict[Value, Value] = {}
        self.origin: tuple[str, ...] = ()
        self.name = ""

    def whole(self) -> Graph:
        """The graph, its inputs and outputs of the types that they had."""
        self.values.update({value: self.new.input(value.name, value.type) for value in self.old.inputs})
        self.nodes()
        for name, value in self.old.outputs.items():
            self.new.output(name, self.get(value))
        return self.new

    def nodes(self) -> None:
        """All nodes in their order."""
        copy_constants(self.old, self.new, self.values)
        for node in self.old.nodes:
            self.origin, self.name = node.origin, node.outputs[0].name
            if not self.visit(node):
                operands = [self.get(value) for value in node.operands]
                self.values.update(zip(node.outputs, self.new.copy(node, operands, node.body), strict=True))

    def get(self, value: Value) -> Value:
        """What stands for a value, of the type that it had."""
        if value not in self.values:
            real = self.reals[value]
            self.values[value] = self.new.add1(Cast(value.type.dtype), real, name=f"{value.name}.integer", origin=self.origin)
        return self.values[value]

    def real(self, value: Value) -> Value:
        """The real numbers that stand for an operand."""
        if value in self.reals or not value.is_constant:
            return self.reals.get(value) or self.values[value]
        return self.new.constant(f"{value.name}.real", value.array.astype(np.float32))

    def emit(self, op: Op, *operands: Value, label: str = "") -> Value:
        """One node for the one that is being replaced."""
        return self.new.add1(op, *operands, name=f"{self.name}.{label}" if label else self.name, origin=self.origin)

    def number(self, number: float) -> Value:
        """A constant."""
        return self.new.constant(f"{self.name}.number", np.array(number, np.float32))

    def visit(self, node: Node) -> bool:
        """Whether the node was written anew."""
        op = node.op
        if isinstance(op, Scan) and node.body is not None:
            return self.scan(node, op, node.body)
        if isinstance(op, ArgMax | TopK):
            chosen = node.operands[0].type.is_real and not node.operands[0].is_constant
            if not chosen or (self.inside is not None and node not in self.inside):
                return False
            self.choice(node, op)
            self.hits[op.name] += 1
            return True
        if not any(value in self.reals for value in node.operands) or len(node.outputs) != 1:
            return False
        result = self.computed(node)
        if result is None:
            return False
        (self.values if node.output.type.is_real else self.reals)[node.output] = result
        self.hits[op.name] += 1
        return True

    def choice(self, node: Node, op: ArgMax | TopK) -> None:
        """Places, and values, of the largest elements."""
        x = self.get(node.operands[0])
        if isinstance(op, ArgMax):
            places = self.emit(TopPlaces(op.axis, 1, True, op.last), x, label="place" if not op.keep else "")
            self.reals[node.output] = places if op.keep else self.emit(Reshape(node.output.type.shape), places)
            return
        values, places = node.outputs
        if values.uses:
            self.values[values] = self.new.add1(TopValues(op.axis, op.count, op.largest), x, name=values.name, origin=self.origin)
        self.reals[places] = self.new.add1(TopPlaces(op.axis, op.count, op.largest), x, name=places.name, origin=self.origin)

    def computed(self, node: Node) -> Value | None:
        """What a node makes of places, in real numbers; None where there is no rule for it, or an operand is none of them."""
        op = node.op
        if isinstance(op, Lookup):
            return self.row(node)
        if isinstance(op, TakeAlong):
            x = node.operands[0]
            return self.emit(op, self.real(x), self.real(node.operands[1])) if x in self.reals or x.type.is_real else None
        if not all(value in self.reals or (value.is_constant and value.type.dtype != "str") for value in node.operands):
            return None
        operands = [self.real(value) for value in node.operands]
        if isinstance(op, Movement):
            return self.emit(op, *operands)
        if isinstance(op, Cast):
            if op.to == "bool":
                return self.emit(Clip(0.0, 1.0), self.emit(Abs(), operands[0], label="size"))
            same = DTYPES[op.to].kind in "iu" or op.to == operands[0].type.dtype
            return operands[0] if same and not op.bits else None
        truth = node.operands[0].type.dtype == "bool"
        rule = (_TRUTH if truth else {}).get(type(op)) or _RULES.get(type(op))
        return rule(self, operands) if rule is not None else None

    def row(self, node: Node) -> Value | None:
        """A row of a table at a place that the network chose."""
        table, index = node.operands
        if index not in self.reals or not table.is_constant or table.type.dtype == "str":
            return None
        return self.emit(Lookup(), table_of(self, table), self.reals[index])

    def scan(self, node: Node, op: Scan, body: Graph) -> bool:
        """A scan whose states may be integers that its body chooses; each has ends that are known, or stays."""
        states = {inner for inner in body.inputs[: op.states] if inner.type.is_weight or inner.type.dtype == "bool"}
        while True:
            inner = _Writer(body, None, Counter())
            for value in body.inputs:
                real = value in states
                new = inner.new.input(value.name, value.type.real() if real else value.type)
                (inner.reals if real else inner.values)[value] = new
            inner.nodes()
            known = self.known(node, op, inner, states)
            if known == states:
                break
            states = known
        for index, (name, value) in enumerate(body.outputs.items()):
            real = body.inputs[index] in states if index < op.states else value in inner.reals
            inner.new.output(name, inner.reals[value] if real else inner.get(value))
        operands = [
            self.started(value) if state in states else self.get(value)
            for value, state in zip(node.operands, body.inputs, strict=True)
        ]
        names = [value.name for value in node.outputs]
        found = self.new.add(op, *operands, names=names, origin=node.origin, body=inner.new)
        self.hits.update(inner.hits)
        for value, new in zip(node.outputs, found, strict=True):
            (self.values if new.type.dtype == value.type.dtype else self.reals)[value] = new
        return True

    def known(self, node: Node, op: Scan, inner: _Writer, states: set[Value]) -> set[Value]:
        """The states that become real numbers between known ends."""
        body = inner.old
        pairs = [
            (inner.reals[state], inner.reals[becomes])
            for state, becomes in zip(body.inputs[: op.states], body.outputs.values(), strict=False)
            if state in states and becomes in inner.reals
        ]
        starts = {
            inner.reals[state]: ends
            for value, state in zip(node.operands, body.inputs, strict=True)
            if state in states and (ends := constant_ends(value)) is not None
        }
        found = ends_of_states(inner.new, pairs, starts)
        return {state for state in states if inner.reals[state] in found and inner.reals[state] in dict(pairs)}

    def started(self, value: Value) -> Value:
        """What a state of real numbers starts from."""
        if value in self.reals or value.is_constant:
            return self.real(value)
        return self.new.add1(Cast("f32"), self.values[value], name=f"{value.name}.number", origin=self.origin)


def table_of(writer: _Writer, table: Value) -> Value:
    """A table as real numbers."""
    return writer.values[table] if table.type.is_real else writer.real(table)


_Rule = Callable[[_Writer, Sequence[Value]], Value | None]


def _same(op: Op) -> _Rule:
    return lambda writer, operands: writer.emit(op, *operands)


def _equal(writer: _Writer, operands: Sequence[Value]) -> Value:
    """`1 - min(|a - b|, 1)`."""
    apart = writer.emit(Abs(), writer.emit(Sub(), *operands, label="difference"), label="apart")
    return writer.emit(Sub(), writer.number(1), writer.emit(Clip(0.0, 1.0), apart, label="other"))


def _greater(writer: _Writer, operands: Sequence[Value]) -> Value:
    return writer.emit(Clip(0.0, 1.0), writer.emit(Sub(), *operands, label="difference"))


def _where(writer: _Writer, operands: Sequence[Value]) -> Value:
    """`y + condition (x - y)`."""
    condition, x, y = operands
    change = writer.emit(Mul(), condition, writer.emit(Sub(), x, y, label="difference"), label="change")
    return writer.emit(Add(), y, change)


def _not(writer: _Writer, operands: Sequence[Value]) -> Value:
    return writer.emit(Sub(), writer.number(1), operands[0])


def _or(writer: _Writer, operands: Sequence[Value]) -> Value:
    return writer.emit(Clip(0.0, 1.0), writer.emit(Add(), *operands, label="count"))


def _bounded(low: bool) -> _Rule:
    def rule(writer: _Writer, operands: Sequence[Value]) -> Value | None:
        x, bound = (operands[1], operands[0]) if operands[0].is_constant else operands
        if not bound.is_constant or bound.array.size != 1 or bound.type.rank > x.type.rank:
            return None
        end = float(bound.array.reshape(-1)[0])
        return writer.emit(Clip(low=end) if low else Clip(high=end), x)

    return rule


def _negated(writer: _Writer, operands: Sequence[Value]) -> Value:
    return writer.emit(Mul(), operands[0], writer.number(-1))


_RULES: dict[type[Op], _Rule] = {
    IntAdd: _same(Add()),
    IntSub: _same(Sub()),
    IntMul: _same(Mul()),
    IntAbs: _same(Abs()),
    IntNeg: _negated,
    IntEqual: _equal,
    IntGreater: _greater,
    IntWhere: _where,
    IntMost: _bounded(True),
    IntLeast: _bounded(False),
}
_TRUTH: dict[type[Op], _Rule] = {
    IntAnd: _same(Mul()),
    IntOr: _or,
    IntXor: lambda writer, operands: writer.emit(Sub(), writer.number(1), _equal(writer, operands)),
    IntNot: _not,
}

INSIDE: frozenset[type[Op]] = frozenset({ArgMax, TopK, Cast, *_RULES, *_TRUTH})
"""Ops of integers that become functions where the network itself chooses what they take."""
