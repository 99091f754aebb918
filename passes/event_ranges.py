"""Certified ranges of events: how large a payload one spike, charge or change of a product may need."""

from __future__ import annotations

from snnir.ir import Graph, Node, Quantization, Value
from snnir.ir.ops import Bif, Encode, Fs, Function, MaxPool, Movement, Product, Scan
from snnir.ir.phases import FEW_SPIKES, check_phased, neuron_of
from snnir.ir.protocols import Delivery, Execution

__all__ = ["event_ranges"]

Range = tuple[int, int]


def event_ranges(graph: Graph, delivery: str = "relay", execution: str = "reset") -> dict[str, Range]:
    """The inclusive range of what each encoder, population, max and product of a spiking graph emits in one step.

    Names are those of results (`<first result of a scan>/<value>` inside a body). A tracer of levels lo..hi changes by at
    most `hi - lo`; where it starts at 0 and is charged once, by a level. Raises `UsageError`.
    """
    delivery, execution = Delivery.of(delivery), Execution.of(execution)
    if neuron_of(graph) == FEW_SPIKES:
        check_phased(delivery, execution)
    found = _Ranges(delivery, execution == Execution.CARRY, neuron_of(graph) == FEW_SPIKES)
    found.graph(graph, "", False)
    return found.named


class _Ranges:
    def __init__(self, delivery: str, carry: bool, few: bool) -> None:
        self.delivery, self.carry, self.few = delivery, carry, few
        self.of: dict[Value, Range] = {}
        self.encoded: set[Value] = set()
        self.segment: dict[Value, int] = {}
        self.named: dict[str, Range] = {}

    def graph(self, graph: Graph, prefix: str, resumed: bool) -> None:
        """Enter the ranges of all values of a graph; `resumed`: its tracers go on from window to window."""
        for node in graph.nodes:
            segment = max((self.segment.get(value, 0) for value in node.operands), default=0)
            if isinstance(node.op, Function) and not self.few and not node.op.difference:
                segment += 1
            self.segment.update(dict.fromkeys(node.outputs, segment))
            if isinstance(node.op, Scan):
                self._scan(node, node.op)
            elif isinstance(node.op, Function):
                for value in node.outputs:
                    self.of[value] = self.named[prefix + value.name] = self._charged(value, node.op.difference, resumed)
            elif node.outputs[0].type.dtype == "spike":
                self.of[node.output] = self._range(node, resumed)
                if not isinstance(node.op, Movement):
                    self.named[prefix + node.output.name] = self.of[node.output]

    def _charged(self, value: Value, difference: bool, resumed: bool) -> Range:
        """Levels charged at once, or their change."""
        levels = value.type.quantization
        assert levels is not None
        if difference:
            return _swing(levels)
        self.encoded.add(value)
        return _swing(levels) if resumed else (min(levels.lo, 0), max(levels.hi, 0))

    def _read(self, node: Node, resumed: bool) -> list[Range]:
        """The events of what a node reads: what comes from an earlier segment is charged again at step 0 of its own."""
        own = self.segment[node.outputs[0]]
        found = []
        for value in node.operands:
            levels = value.type.quantization
            assert levels is not None
            again = _swing(levels) if resumed else (min(levels.lo, 0), max(levels.hi, 0))
            found.append(again if self.segment.get(value, 0) < own else self.of[value])
        return found

    def _range(self, node: Node, resumed: bool) -> Range:
        levels = node.output.type.quantization
        assert levels is not None
        if isinstance(node.op, Encode):
            self.encoded.add(node.output)
            return _swing(levels) if resumed else (levels.lo, levels.hi)
        if isinstance(node.op, Bif):
            return _within((-1, 1), _swing(levels))
        if isinstance(node.op, Fs):
            return _bits(levels)
        operands = self._read(node, resumed)
        if isinstance(node.op, Product):
            if self.few:  # one event of complete levels
                return levels.lo, levels.hi
            # d(ab) = da S_b(t) + S_a(t-1) db
            (a, b), (held_a, held_b) = map(_largest, operands), (_magnitude(value) for value in node.operands)
            most = a * held_b + held_a * b
            return _within((-most, most), _swing(levels))
        if isinstance(node.op, Movement) and self.encoded.issuperset(node.operands):
            self.encoded.add(node.output)
        # A maximum goes up by no more than the tracer that is largest then, and down by no more than the one that was.
        assert isinstance(node.op, Movement | MaxPool)
        return _within(_join(*operands), _swing(levels))

    def _scan(self, node: Node, op: Scan) -> None:
        body = node.body
        assert body is not None
        first, last = op.states, op.states + op.elements
        for index, (inner, outer) in enumerate(zip(body.inputs, node.operands, strict=True)):
            if inner.type.dtype != "spike":
                continue
            if index < first:
                self.of[inner] = self._state(inner)
            elif index < last and self.carry:
                at_once = self.delivery == "graded" or outer in self.encoded
                self.of[inner] = _join(self.of[outer], _swing_of(inner) if at_once else (-1, 1))
            else:
                self.of[inner] = self.of[outer]
        prefix = f"{node.outputs[0].name}/"
        self.graph(body, prefix, self.carry)
        outputs = list(body.outputs.values())
        if self.delivery == "replay" and not self.carry:  # what a state replays is what was emitted, or what it starts as
            for inner, outer, following in zip(body.inputs[:first], node.operands, outputs, strict=False):
                self.of[inner] = _join(self.of[outer], self.of[following])
            self.graph(body, prefix, False)
        for index, (outer, inner) in enumerate(zip(node.outputs, outputs, strict=True)):
            if inner.type.dtype == "spike":
                parts = [self.of[inner], *([self.of[node.operands[index]]] if index < first else [])]
                if self.carry:  # receivers outside are told at step 0 what level was kept
                    levels = inner.type.quantization
                    assert levels is not None
                    parts.append((levels.lo, levels.hi))
                self.of[outer] = _join(*parts)

    def _state(self, state: Value) -> Range:
        levels = state.type.quantization
        assert levels is not None
        if self.delivery == "relay":
            return _bits(levels) if self.few else (-1, 1)
        return (levels.lo, levels.hi) if self.delivery == "graded" and not self.carry else _swing(levels)


def _bits(levels: Quantization) -> Range:
    """The range of the largest bits of levels."""
    return -(1 << (-levels.lo).bit_length() >> 1), 1 << levels.hi.bit_length() >> 1


def _swing(levels: Quantization) -> Range:
    return levels.lo - levels.hi, levels.hi - levels.lo


def _swing_of(value: Value) -> Range:
    assert value.type.quantization is not None
    return _swing(value.type.quantization)


def _magnitude(value: Value) -> int:
    assert value.type.quantization is not None
    return max(value.type.quantization.hi, -value.type.quantization.lo)


def _largest(events: Range) -> int:
    return max(events[1], -events[0])


def _join(*ranges: Range) -> Range:
    return min(0, *(low for low, _ in ranges)), max(0, *(high for _, high in ranges))


def _within(events: Range, limit: Range) -> Range:
    return max(events[0], limit[0]), min(events[1], limit[1])
