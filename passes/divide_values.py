"""Divides values of a graph by constant factors, so that it computes the same: weights before and after take the factors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from snnir.ir import Graph, Node, Value
from snnir.ir.op import Trait
from snnir.ir.ops import (
    Add,
    Concat,
    Conv,
    Gather,
    Linear,
    Movement,
    Mul,
    Reshape,
    Scan,
    Slice,
    Transpose,
)
from snnir.ir.rewrite import like
from snnir.passes.factors import (
    Factors,
    NotCarriedError,
    Reader,
    compressed,
    concrete,
    constant_of,
    divided,
    divided_bias,
    divisible,
    reader_of,
    weighed,
)
from snnir.passes.sums import WEIGHTED

__all__ = ["Division"]


class Division:
    """Rewrites a graph for a plan of factors: `plan[observe]`, of the observed value, from which `offsets[observe]` is taken
    first. Raises `NotCarriedError`."""

    def __init__(
        self,
        plan: Mapping[Node, np.ndarray],
        offsets: Mapping[Node, np.ndarray],
        sizes: Mapping[str, int],
        raw: set[Node],
    ) -> None:
        self.plan, self.sizes = plan, sizes
        self.raw, self.offsets = raw, offsets
        self.taken: Factors = {}
        """What was taken off levels before they were divided."""
        self.wanted: Factors = {}
        """Sums and activations that come out divided."""
        for node, factor in plan.items():
            if node not in raw:
                for changed in divisible(node.operands[0], factor):
                    self.wanted[changed.output] = factor
        self.readers: list[Reader] = []
        """The ops that weigh divided levels."""
        self.factors: Factors = {}
        """Levels that are divided."""

    def rewrite(self, old: Graph, new: Graph, values: dict[Value, Value], inside: bool = False) -> Graph:
        """Write `old` into `new`; `values` holds the inputs that are there."""
        for value in old.inputs:
            if value not in values:
                values[value] = new.input(value.name, value.type)
        for node in old.nodes:
            self._node(new, values, node)
        for name, value in old.outputs.items():
            new.output(name, _new(new, values, value))
        if not inside and any(value in self.factors for value in old.outputs.values()):
            raise NotCarriedError(f"an output of {old.name} is in its own units")
        return new

    def _node(self, new: Graph, values: dict[Value, Value], node: Node) -> None:
        if node.body is not None:
            self._scan(new, values, node)
            return
        given = [self.factors.get(value) for value in node.operands]
        wanted = self.wanted.get(node.outputs[0])
        changed = wanted is not None or any(factor is not None for factor in given)
        if node in self.plan:
            factor, operands = self.plan[node], [_new(new, values, node.operands[0])]
            if node in self.offsets:
                self.taken[node.output] = self.offsets[node]
                operands = [self._less(new, node.operands[0], operands[0], self.offsets[node])]
            if node in self.raw:
                operands = [self._times(new, node.operands[0], operands[0], 1 / factor, f"{node.operands[0].name}.even")]
            self.factors[node.output] = factor
        elif changed and isinstance(node.op, Add):
            operands = [self._summand(new, node, value, values, wanted) for value in node.operands]
        elif changed and isinstance(node.op, WEIGHTED) and all(value.is_constant for value in node.operands[1:]):
            operands = [values[node.operands[0]], *self._weights(new, node, values, given[0], wanted)]
            if node.operands[0] in self.taken:
                operands = self._with_bias(new, node, operands, self.taken[node.operands[0]], wanted)
        else:
            operands = [_new(new, values, value) for value in node.operands]
            if any(factor is not None for factor in given):
                self._hand_on(node, given)
        results = new.add(node.op, *operands, names=[value.name for value in node.outputs], origin=node.origin)
        values.update(zip(node.outputs, results, strict=True))

    def _less(self, new: Graph, old: Value, value: Value, offset: np.ndarray) -> Value:
        constant = new.constant(f"{old.name}.middle", -constant_of(old, offset).astype(np.float32))
        return new.add1(Add(), value, constant, name=f"{old.name}.centred", origin=())

    def _with_bias(
        self, new: Graph, node: Node, operands: Sequence[Value], offset: np.ndarray, wanted: np.ndarray | None
    ) -> list[Value]:
        """The operands of a linear or conv with what the offset of its operand adds to every sum in its bias."""
        weight = node.operands[1].array
        if not isinstance(node.op, Linear | Conv) or (isinstance(node.op, Conv) and any(node.op.padding)):
            raise NotCarriedError(f"{node.describe()} cannot take a constant off")
        added = weighed(node, weight, offset).reshape(len(weight), -1).sum(axis=1)
        bias = node.operands[2].array.astype(np.float64) if len(node.operands) == 3 else np.zeros(len(weight))
        bias = bias + added
        bias = bias if wanted is None else divided_bias(node, bias, wanted)
        name = node.operands[2].name if len(node.operands) == 3 else f"{node.output.name}.bias"
        return [*operands[:2], new.constant(name, bias.astype(weight.dtype))]

    def _hand_on(self, node: Node, given: Sequence[np.ndarray | None]) -> None:
        taken = [self.taken.get(value) for value in node.operands]
        if any(offset is not None for offset in taken):
            if not isinstance(node.op, Reshape | Transpose | Slice | Gather | Concat):
                raise NotCarriedError(f"{node.describe()} cannot take a constant off")
            zeros = [
                np.zeros(concrete(value.type, self.sizes)) if offset is None else offset
                for value, offset in zip(node.operands, taken, strict=True)
            ]
            self.taken[node.output] = node.op.bind(dict(self.sizes)).evaluate(*zeros)[0]
        if isinstance(node.op, Movement):
            ones = [
                np.ones(concrete(value.type, self.sizes)) if factor is None else factor
                for value, factor in zip(node.operands, given, strict=True)
            ]
            moved = node.op.bind(dict(self.sizes)).evaluate(*ones)[0]
            moved = np.where(moved == 0, 1.0, moved)  # what was padded is 0 in any unit
            compressed(moved, tuple(range(1, moved.ndim)))
            self.factors[node.output] = moved
        elif node.op.has(Trait.SELECTS) and node.op.has(Trait.CHANNELS) and given[0] is not None:
            op = node.op.bind(dict(self.sizes))
            largest, smallest = op.evaluate(given[0])[0], -op.evaluate(-given[0])[0]
            if not (largest == smallest).all():
                raise NotCarriedError(f"{node.describe()} compares levels of different worth")
            self.factors[node.output] = largest
        else:
            raise NotCarriedError(f"{node.describe()} takes levels of one scale")

    def _times(self, new: Graph, old: Value, value: Value, factor: np.ndarray, name: str) -> Value:
        constant = new.constant(f"{name}.factor", constant_of(old, factor).astype(np.float32))
        origin = old.producer.origin if old.producer is not None else ()
        return new.add1(Mul(), value, constant, name=name, origin=origin)

    def _summand(self, new: Graph, node: Node, old: Value, values: dict[Value, Value], wanted: np.ndarray | None) -> Value:
        if old.is_constant:
            if wanted is None:
                return _new(new, values, old)
            array = old.array / constant_of(node.output, wanted)
            return new.constant(old.name, array.astype(old.array.dtype))
        value = values[old]
        if old in self.wanted:
            return value
        factor = self.factors.get(old)
        if old in self.taken:
            raise NotCarriedError(f"{node.describe()} cannot take a constant off")
        if factor is None and wanted is None:
            return value
        shape = concrete(old.type, self.sizes)
        whole = np.ones(shape) if factor is None else factor
        if wanted is not None:
            whole = whole / (wanted if wanted.shape == shape else compressed(wanted))
        return self._times(new, old, value, whole, f"{old.name}.back")

    def _weights(
        self, new: Graph, node: Node, values: dict[Value, Value], given: np.ndarray | None, wanted: np.ndarray | None
    ) -> Iterator[Value]:
        weight, *rest = node.operands[1:]
        if given is not None:
            reader = reader_of(node, weight.array, given)
            self.readers += [] if reader is None else [reader]
        array = weight.array if given is None else weighed(node, weight.array, given)
        array = array if wanted is None else divided(node, array, wanted)
        yield new.constant(weight.name, array.astype(weight.array.dtype))
        for index, value in enumerate(rest):
            if wanted is not None and index == 0 and value.type.is_real:
                yield new.constant(value.name, divided_bias(node, value.array, wanted).astype(value.array.dtype))
            else:
                yield _new(new, values, value)

    def _scan(self, new: Graph, values: dict[Value, Value], node: Node) -> None:
        op, body = node.expect(Scan), node.inner
        for index, (outer, inner) in enumerate(zip(node.operands, body.inputs, strict=True)):
            factor = self.factors.get(outer)
            if factor is None:
                continue
            if index < op.states:
                raise NotCarriedError(f"{node.describe()}: a state keeps the scale of what it becomes")
            if index < op.states + op.elements:
                compressed(factor, tuple(axis for axis in range(1, factor.ndim) if axis != op.axis))
                factor = factor.take(0, axis=op.axis)
            self.factors[inner] = factor
            if outer in self.taken:
                offset = self.taken[outer]
                if index < op.states + op.elements:
                    compressed(offset, tuple(axis for axis in range(1, offset.ndim) if axis != op.axis))
                    offset = offset.take(0, axis=op.axis)
                self.taken[inner] = offset
        written = self.rewrite(body, like(body), {}, True)
        for index, (outer, inner) in enumerate(zip(node.outputs, body.outputs.values(), strict=True)):
            factor = self.factors.get(inner)
            if factor is None:
                continue
            if index < op.states or inner in self.taken:
                raise NotCarriedError(f"{node.describe()}: a state keeps the scale of what it was")
            self.factors[outer] = np.broadcast_to(np.expand_dims(factor, op.axis), concrete(outer.type, self.sizes))
        operands = [_new(new, values, value) for value in node.operands]
        names = [value.name for value in node.outputs]
        results = new.add(op, *operands, names=names, origin=node.origin, body=written)
        values.update(zip(node.outputs, results, strict=True))


def _new(new: Graph, values: dict[Value, Value], value: Value) -> Value:
    """The new value; constants are entered where they are first taken, so that changed ones keep their names."""
    if value not in values and value.is_constant:
        values[value] = new.constant(value.name, value.array)
        values[value].digest_ = value.digest_
    return values[value]
