"""One graph, or body, on its way to a graph with observers: what every new value is made of, and which of them get levels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import Enum

import numpy as np

from snnir.errors import Refusal
from snnir.ir import BATCH, Dimension, Graph, Node, Quantization, Value
from snnir.ir.dims import dim
from snnir.ir.lowering.sizes import open_sizes
from snnir.ir.op import Op, Trait
from snnir.ir.ops import Abs, Add, Cast, Clip, Elementwise, FakeQuantize, Linear, Movement, Mul, Observe, Round, Saturate, Scan
from snnir.ir.rewrite import copy_constants, like
from snnir.ir.types import DTYPES
from snnir.passes.affine import is_constant
from snnir.passes.functions.integer_forms import integer_form_of
from snnir.passes.functions.region import function_nodes, inner_functions, segments
from snnir.passes.functions.whole import Ends
from snnir.passes.host_part import host_prefix, host_suffix, needs_host
from snnir.passes.real_rounding import rounding_in_real_numbers
from snnir.passes.sums import WEIGHTED

__all__ = ["Kind", "Placement", "Placer"]

_PERMIT = "; allow_host (--allow-host) permits it"
_UNSET = Observe((1.0,) * (Observe.MOST_BITS - Observe.FEWEST_BITS + 1), Observe.lowest(False))


class Kind(Enum):
    """What a value of the graph with observers is made of."""

    RAW = "real numbers that the host knows before the network runs"
    LEVELS = "levels, or what only moves or selects some"
    SUM = "a sum that synapses may make"
    ACTIVATION = "an activation of a sum"
    HOST = "real numbers of the host behind the network"
    FUNCTION = "integers inside a function"


class Placer:
    """All graphs of a model, bodies too, and what is found in them: refusals, real numbers, nodes of the host."""

    def __init__(self, allow_host: bool, whole: Mapping[Value, Ends]) -> None:
        self.allow_host, self.whole = allow_host, whole
        self.refused: list[Refusal] = []
        self.raw: set[Value] = set()
        self.host: set[Node] = set()

    def place(self, old: Graph, raw: set[Value] | None) -> Graph:
        """`raw`: the inputs of a body that are real numbers; None for the outermost graph, where all are."""
        placement = Placement(self, old, raw)
        self.raw.update(value for value, kind in placement.kinds.items() if kind == Kind.RAW)
        real = (value.producer for value, kind in placement.kinds.items() if kind in (Kind.RAW, Kind.HOST))
        self.host.update(node for node in real if node is not None)
        return placement.new


class Placement:
    """One graph (or body) on its way: `kinds` says what each new value is made of."""

    def __init__(self, placer: Placer, old: Graph, raw: set[Value] | None) -> None:
        self.placer, self.in_body = placer, raw is not None
        raw = set(old.inputs) if raw is None else raw
        self.new = like(old)
        self.observed: dict[Value, Value] = {}
        self.products: set[Value] = set()
        """Products of two changing values, and sums of those."""
        self.lead: Dimension | None = None
        """Axis 0 of what is encoded first, in a model whose batch is fixed."""
        self.batched = any(dim(BATCH) in value.type.shape for value in old.inputs)
        self.values = {value: self.new.input(value.name, value.type) for value in old.inputs}
        self.whole = {new: placer.whole[value] for value, new in self.values.items() if value in placer.whole}
        """The ends of whole numbers, whose levels are those numbers."""
        self.kinds = {new: Kind.RAW if value in raw else Kind.LEVELS for value, new in self.values.items()}
        copy_constants(old, self.new, self.values)
        self.kinds.update((self.values[value], Kind.RAW) for value in old.constants)
        self.suffix = set() if self.in_body else host_suffix(old, placer.allow_host)
        self.prefix = host_prefix(old, raw, self.suffix, placer.allow_host, inner_functions(old, self.suffix))
        self.functions = function_nodes(old, self.prefix | self.suffix)
        self.segments = segments(old, self.functions)
        self.saturated: dict[Value, Value] = {}
        self.constant = {self.values[value] for value in old.constants}
        """Constants, and what functions would compute of them alone."""
        for node in old.nodes:
            self.visit(node)
        for name, value in old.outputs.items():
            result = self.values[value]
            known = not self.in_body and (result.is_constant or result.type.is_exact)
            needs = not known and self.kinds[result] in (Kind.RAW, Kind.ACTIVATION, Kind.FUNCTION)
            needs |= self.in_body and self.kinds[result] == Kind.SUM
            self.new.output(name, self.levels(result) if needs else result)

    def levels(self, value: Value) -> Value:
        """The observed form of a new value."""
        if self.kinds[value] == Kind.LEVELS:
            return value
        if value.type.is_exact:
            node = value.producer
            where = f"{node.describe()} (op {node.op.name})" if node is not None else f"{value.name}"
            reason = f"it gives {value.type.dtype} into the network, and neurons stand for real numbers: cast it to float"
            self.placer.refused.append(Refusal(where, reason, node.origin if node is not None else ()))
            return value
        if value not in self.observed:
            if self.batched and not value.is_constant and value.type.batch_axis != 0:
                where = value.producer.describe() if value.producer is not None else f"input {value.name}"
                origins = value.producer.origin if value.producer is not None else ()
                reason = f"neurons need the batch (N) as axis 0, found {value.type}"
                self.placer.refused.append(Refusal(where, reason, origins))
            if not value.is_constant:
                self.align(value, value.producer)
            origin = value.producer.origin if value.producer is not None else ()
            source, value = value, self.saturate(value) if self.kinds[value] == Kind.FUNCTION else value
            op: Op = _UNSET
            if source in self.whole:
                op = FakeQuantize(Quantization(1.0, min(self.whole[source][0], 0), max(self.whole[source][1], 0)), "half-up")
            self.observed[source] = self.new.add1(op, value, name=f"{value.name}.levels", origin=origin)
            value = source
            self.kinds[self.observed[value]] = Kind.LEVELS
        return self.observed[value]

    def saturate(self, value: Value) -> Value:
        """The value, held in the range that calibration will find."""
        made = value.producer
        if value.is_constant or (made is not None and isinstance(made.op, Saturate)):
            return value
        if value not in self.saturated:
            origin = made.origin if made is not None else ()
            ends = self.whole.get(value, (-math.inf, math.inf))
            self.saturated[value] = self.new.add1(Saturate(*map(float, ends)), value, name=f"{value.name}.held", origin=origin)
            self.kinds[self.saturated[value]] = Kind.FUNCTION
        return self.saturated[value]

    def function(self, node: Node, operands: Sequence[Value]) -> None:
        """A node that is computed in integers between two segments: of what comes from the network, levels and sums."""
        taken = [self.input_of(node, position, value) for position, value in enumerate(operands)]
        if isinstance(node.op, Movement) and any(self.kinds[value] == Kind.LEVELS for value in taken):
            self.move(node, taken, [self.kinds[value] for value in taken])
            return
        form = integer_form_of(node)
        if form is not None and form.ranged:
            taken = [self.saturate(value) if self.kinds[value] in (Kind.FUNCTION, Kind.SUM) else value for value in taken]
        self.add(node, taken, Kind.FUNCTION)
        if form is None or not form.bounds(node):
            self.values[node.output] = self.saturate(self.values[node.output])

    def input_of(self, node: Node, position: int, value: Value) -> Value:
        """What a function takes of an operand: integers of its own segment and sums as they are, all else as levels."""
        old = node.operands[position]
        if value.is_constant or self.kinds[value] == Kind.LEVELS:
            return value
        if self.kinds[value] == Kind.FUNCTION and self.segments[old] == self.segments[node.output]:
            return value
        if self.kinds[value] == Kind.SUM and not (self.shared(old) and self.leaves(old)):
            return value
        return self.levels(value)

    def leaves(self, old: Value) -> bool:
        """Whether other nodes on chip than those of one function take the value."""
        users = [user for user in old.users if user not in self.suffix]
        return any(user not in self.functions for user in users) or len({self.segments[user.outputs[0]] for user in users}) > 1

    def add(self, node: Node, operands: Sequence[Value], kind: Kind, body: Graph | None = None) -> None:
        """The node on new operands; its results are of one kind."""
        names = [value.name for value in node.outputs]
        results = self.new.add(node.op, *operands, names=names, origin=node.origin, body=body)
        self.values.update(zip(node.outputs, results, strict=True))
        whole = self.placer.whole
        self.whole.update((new, whole[value]) for value, new in zip(node.outputs, results, strict=True) if value in whole)
        self.kinds.update(dict.fromkeys(results, kind))
        if kind not in (Kind.RAW, Kind.HOST) and not all(value.is_constant for value in operands):
            for value in results:
                self.align(value, node)

    def align(self, value: Value, node: Node | None) -> None:
        """Refuse what neurons stand for where the batch is not axis 0; a fixed one is the axis 0 of what is encoded first."""
        if self.in_body or self.batched:
            return
        size = value.type.shape[0] if value.type.rank else 1
        if self.lead is None:
            self.lead = size
        if size != self.lead:
            where = node.describe() if node is not None else f"input {value.name}"
            reason = f"neurons need the same axis 0 in the whole model, its batch: that is {self.lead}, and here {value.type}"
            self.placer.refused.append(Refusal(where, reason, node.origin if node is not None else ()))

    def permit(self) -> str:
        """What permits a host op here; empty where nothing does, or where it was given."""
        return "" if self.in_body or self.placer.allow_host else _PERMIT

    def visit(self, node: Node) -> None:
        """Write one node of the old graph into the new one, by what its operands are made of."""
        op, operands = node.op, [self.values[value] for value in node.operands]
        kinds = [self.kinds[value] for value in operands]
        if node in self.prefix:
            self.add(node, operands, Kind.RAW, node.body)
        elif node in self.functions and all(value in self.constant for value in operands):
            self.add(node, operands, Kind.RAW)  # the same for all samples: the host knows it before the network runs
            self.constant.update(self.values[value] for value in node.outputs)
        elif node in self.functions:
            self.function(node, operands)
        elif needs_host(node) and node not in self.suffix:
            where = "inside a recurrence" if self.in_body else "inside the network"
            self.refuse(node, f"{where}, and only the host computes it{self.permit()}")
            self.add(node, operands, Kind.HOST, node.body)
        elif Kind.HOST in kinds and node not in self.suffix:
            self.refuse(node, f"it takes what only the host computes, and nothing can spike after that{self.permit()}")
            self.add(node, operands, Kind.HOST, node.body)
        elif node in self.suffix and isinstance(op, FakeQuantize):
            self.rounded_on_host(node, op, self.settled(operands[0]))
        elif node in self.suffix and (needs_host(node) or not isinstance(op, Movement)):
            self.add(node, [self.settled(value) for value in operands], Kind.HOST)
        elif isinstance(op, Movement):
            self.move(node, operands, kinds)
        elif op.has(Trait.SELECTS):
            self.add(node, [self.levels(operands[0])], Kind.LEVELS)
        elif isinstance(op, Scan):
            if self.in_body:
                self.refuse(node, "a recurrence inside a recurrence")
            raw = self.raw_inputs(op, node.inner, kinds)
            operands = [
                value if inner in raw else self.levels(value) for value, inner in zip(operands, node.inner.inputs, strict=True)
            ]
            self.add(node, operands, Kind.LEVELS, self.placer.place(node.inner, raw))
        elif isinstance(op, WEIGHTED) and all(value.is_constant for value in operands[1:]):
            first = operands[0] if self.adds_products(node, operands) else self.levels(operands[0])
            self.add(node, [first, *operands[1:]], Kind.SUM)
            if first is operands[0] and first in self.products:
                self.products.add(self.values[node.output])
        elif isinstance(op, Mul):
            self.add(node, [self.levels(value) for value in operands], Kind.SUM)
            self.products.add(self.values[node.output])
        elif isinstance(op, Add):
            alike = all(value in self.products or is_constant(value) for value in operands)
            self.add(node, [self.summand(node, position, value) for position, value in enumerate(operands)], Kind.SUM)
            if alike:
                self.products.add(self.values[node.output])
        elif isinstance(op, Abs):
            self.magnitude(node, self.levels(operands[0]))
        elif isinstance(op, FakeQuantize):  # the model's own quantizer: it takes sums and activations as they are
            if self.batched and node.output.type.batch_axis != 0:
                self.refuse(node, f"neurons need the batch (N) as axis 0, found {node.output.type}")
            held = [self.saturate(value) if kind == Kind.FUNCTION else value for value, kind in zip(operands, kinds, strict=True)]
            self.add(node, held, Kind.LEVELS)
        elif isinstance(op, Elementwise):
            self.add(node, [self.argument(node, operands[0])], Kind.ACTIVATION)
        else:
            self.refuse(node, _reason(node))
            self.add(node, operands, Kind.SUM, node.body)

    def move(self, node: Node, operands: list[Value], kinds: list[Kind]) -> None:
        """Data movement: on the host, before or behind the network, or of levels."""
        if node in self.suffix and (any(kind in (Kind.SUM, Kind.HOST) for kind in kinds) or self.leaves_samples(node)):
            self.add(node, [self.settled(value) for value in operands], Kind.HOST)
        elif (node.output.type.is_exact and all(kind == Kind.RAW for kind in kinds)) or (
            all(kind == Kind.RAW and value.type.batch_axis != 0 for kind, value in zip(kinds, operands, strict=True))
            and not all(value.is_constant for value in operands)
        ):
            self.add(node, operands, Kind.RAW)
        else:
            if self.batched and node.output.type.batch_axis != 0 and node not in self.suffix:
                self.refuse(node, f"neurons need the batch (N) as axis 0 of what they take, found {node.output.type}")
            self.add(node, [self.levels(value) for value in operands], Kind.LEVELS)

    def leaves_samples(self, node: Node) -> bool:
        """Whether, in a model without a batch, the node gives another axis 0: what neurons stand for was read out before."""
        shapes = [value.type.shape for value in (node.output, *node.operands)]
        return not (self.in_body or self.batched) and len({shape[:1] for shape in shapes}) > 1

    def magnitude(self, node: Node, x: Value) -> None:
        """`|x|` as `2 max(x, 0) - x`: one population more, and exact for the levels of x."""
        name, dtype = node.output.name, DTYPES[x.type.dtype]

        def emit(op: Op, *operands: Value, label: str) -> Value:
            return self.new.add1(op, *operands, name=label, origin=node.origin)

        positive = emit(Clip(low=0.0), x, label=f"{name}.positive")
        self.kinds[positive] = Kind.ACTIVATION
        two, minus_one = (self.new.constant(f"{name}.factor", np.array(number, dtype)) for number in (2, -1))
        twice = emit(Mul(), self.levels(positive), two, label=f"{name}.twice")
        total = emit(Add(), twice, emit(Mul(), x, minus_one, label=f"{name}.negated"), label=name)
        self.values[node.output], self.kinds[total] = total, Kind.SUM

    def rounded_on_host(self, node: Node, op: FakeQuantize, x: Value) -> None:
        """The levels of `x` as real numbers, in the host's arithmetic."""
        if op.rounding not in Round.MODES:
            self.refuse(node, f"it rounds {op.rounding!r} on the host, which knows {', '.join(Round.MODES)}")
        steps = rounding_in_real_numbers(self.new, node, op, x)
        self.kinds.update(dict.fromkeys(steps, Kind.HOST))
        self.values[node.output] = steps[-1]

    def adds_products(self, node: Node, operands: Sequence[Value]) -> bool:
        """Whether the node adds up products of two spiking values, each with the weight 1: no population in between."""
        made = operands[0].producer
        if made is None or not isinstance(made.op, Mul) or not isinstance(node.op, Linear) or self.shared(node.operands[0]):
            return False
        return operands[0] in self.products and len(operands) == 2 and bool((operands[1].array == 1).all())

    def raw_inputs(self, op: Scan, body: Graph, kinds: Sequence[Kind]) -> set[Value]:
        """Inputs of a body that host ops of the body want as real numbers, where they are known as such."""
        known = {inner for inner, kind in list(zip(body.inputs, kinds, strict=True))[op.states :] if kind == Kind.RAW}
        prefix = host_prefix(body, known, ())
        return {value for value in known if any(user in prefix for user, _ in value.uses)}

    def settled(self, value: Value) -> Value:
        """An operand of a host op: sums are read out exactly, integers, cast or not, are what they are, all else has levels."""
        known = self.kinds[value] in (Kind.SUM, Kind.HOST) or value.is_constant or value.type.is_exact
        node = value.producer
        whole = node is not None and isinstance(node.op, Cast) and node.operands[0].type.is_exact and not self.in_body
        return value if known or whole else self.levels(value)

    def summand(self, node: Node, position: int, value: Value) -> Value:
        """An operand of a sum: what only this sum takes flows into it directly, products of two changing values too."""
        if is_constant(value) or self.kinds[value] == Kind.LEVELS:
            return value
        if self.kinds[value] == Kind.SUM and not self.shared(node.operands[position]):
            return value
        return self.levels(value)

    def argument(self, node: Node, value: Value) -> Value:
        """The operand of an activation: a sum or activation of its own stays, all else gets levels."""
        if self.kinds[value] in (Kind.SUM, Kind.ACTIVATION) and not self.shared(node.operands[0]):
            return value
        return self.levels(value)

    def shared(self, old: Value) -> bool:
        """Whether several nodes on chip take the value; each would need all its synapses again."""
        return sum(1 for node, _ in old.uses if node is not None and node not in self.suffix) > 1

    def refuse(self, node: Node, reason: str) -> None:
        """Note that a node has no spiking form."""
        sizes = open_sizes((*node.operands, *node.outputs))
        self.placer.refused.append(Refusal(f"{node.describe()} (op {node.op.name})", reason, node.origin, sizes))


def _reason(node: Node) -> str:
    constants = [value.is_constant for value in node.operands]
    if node.op.name in ("matmul", "div"):
        return "both sides change with the input; only a constant side makes it a synapse"
    if not any(constants[1:]):
        return "its weights are not constant"
    return "no synapse, population or data movement computes it; pass canonicalize and substitute-operators run before"
