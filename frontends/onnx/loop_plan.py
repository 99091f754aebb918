"""What an ONNX `Loop` does apart from computing: how often it runs, which of its states count, and which never change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from snnir.errors import GraphError
from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.fold import fold, shape_array
from snnir.frontends.onnx.loop_index import COUNTER, STATE, Condition, Counter, at_least_zero, fold_index, linear, mentions
from snnir.frontends.onnx.model import finite, to_array
from snnir.frontends.onnx.registry import HANDLERS, Known, RefusalError
from snnir.frontends.onnx.scope import Entry
from snnir.ir import Dimension
from snnir.ir.dims import dim, substitute

__all__ = ["Plan", "plan_loop", "settled"]

_ENDLESS = (1 << 31) - 1
"""Exporters write trip counts from here on where the condition alone ends the loop."""
ONLY = "snnir imports loops that run once for each element of a sequence; unroll others before the export"


@dataclass(frozen=True)
class Plan:
    """A loop's counter, how often it runs, and what the names of its body's inputs stand for where that is known."""

    counter: Counter
    length: Dimension
    known: dict[str, Entry]


class _Bookkeeping:
    """Evaluates names of a body that follow from the counter and from what is known around the loop."""

    def __init__(self, call: Call, proto: onnx.GraphProto, counter: Counter, known: dict[str, Entry]) -> None:
        self.call, self.counter = call, counter
        self.inputs = {entry.name for entry in proto.input}
        self.nodes = {name: node for node in proto.node for name in node.output}
        self.values: dict[str, Entry] = {tensor.name: finite(to_array(tensor), tensor.name) for tensor in proto.initializer}
        self.values.update(known)

    def find(self, name: str) -> Entry:
        """What `name` stands for; None where it is computed from elements or states."""
        if name not in self.values:
            self.values[name] = None
            self.values[name] = self._compute(name)
        return self.values[name]

    def _compute(self, name: str) -> Entry:
        node = self.nodes.get(name)
        if node is None:
            return None if name in self.inputs else self.call.scope.find(name)
        operands = [self.find(operand) if operand else None for operand in node.input]
        if any(operand is None for operand, given in zip(operands, node.input, strict=True) if given):
            return None
        if node.op_type == "Identity":
            return operands[0]
        try:
            if node.op_type in ("Constant", "Shape", "Size"):
                return HANDLERS[node.op_type](self.call.scope.call(node, operands))[0]
            if not all(isinstance(operand, np.ndarray) for operand in operands if operand is not None):
                return None
            inner = self.call.scope.call(node, operands)
            if any(mentions(operand, self.counter.name) or _symbolic(operand) for operand in operands):
                return fold_index(inner, self.counter)
            return fold(inner)[0]
        except (RefusalError, GraphError):
            return None


def _symbolic(entry: Entry) -> bool:
    return isinstance(entry, np.ndarray) and entry.dtype == object


def plan_loop(call: Call, proto: onnx.GraphProto) -> Plan:
    """Find out what `Plan` holds. Raises `RefusalError` where a loop does not run a known number of times."""
    counter = Counter(f"{COUNTER}{call.scope.depth}", None)
    iteration, condition = proto.input[0], proto.input[1]
    ranked = counter.array().reshape((1,) * len(iteration.type.tensor_type.shape.dim))
    known: dict[str, Entry] = {iteration.name: ranked, condition.name: np.array(True)}
    starts = call.operands[2:]
    states = [(entry.name, output.name) for entry, output in zip(proto.input[2:], proto.output[1:], strict=False)]
    producers = {name: node for node in proto.node for name in node.output}
    for (name, output), start in zip(states, starts, strict=True):
        if _original(output, producers) == name:
            known[name] = start
    for _ in range(2):  # a state may count with another that stands behind it
        for (name, output), start in zip(states, starts, strict=True):
            if name not in known and isinstance(start, np.ndarray) and start.size == 1 and start.dtype.kind in "iubO":
                counted = _counted(call, proto, counter, known, name, output, start)
                if counted is not None:
                    known[name] = counted
    books = _Bookkeeping(call, proto, counter, known)
    length = _trip_count(call, counter, books.find(proto.output[0].name))
    return Plan(Counter(counter.name, length - 1), length, known)


def _original(name: str, producers: dict[str, onnx.NodeProto]) -> str:
    """The name behind identities."""
    while name in producers and producers[name].op_type == "Identity":
        name = producers[name].input[0]
    return name


def _counted(
    call: Call, proto: onnx.GraphProto, counter: Counter, known: dict[str, Entry], name: str, output: str, start: Known
) -> Known | None:
    """A state that follows from the counter: `start + step * k`, or an expression of k that begins with `start`."""
    symbol = dim(STATE)
    books = _Bookkeeping(call, proto, counter, known | {name: np.array(symbol, object).reshape(start.shape)})
    found = books.find(output)
    if not isinstance(found, np.ndarray) or found.size != 1:
        return None
    (first,), (item,) = start.reshape(-1).tolist(), found.reshape(-1).tolist()
    if isinstance(item, Condition):
        return None
    if isinstance(item, bool) or isinstance(first, bool):
        return start if item == first else None
    step = item - symbol
    number: Dimension
    if isinstance(step, int):
        number = first + dim(counter.name) * step
    elif substitute(item, {STATE: 0}) == item and substitute(item, {counter.name: -1}) == first:
        number = substitute(item, {counter.name: dim(counter.name) - 1})
    else:
        return None
    return settled(np.array(number, object).reshape(start.shape))


def settled(array: Known) -> Known:
    """An object array as plain integers where it holds no named size."""
    return shape_array(tuple(array.reshape(-1).tolist())).reshape(array.shape)


def _trip_count(call: Call, counter: Counter, goes_on: Entry) -> Dimension:
    """How often the loop runs, from the trip count and from the condition that the body gives out."""
    counts: list[Dimension] = []
    if call.has(0):
        (count,) = (
            call.known(0, f"its trip count (the sequence's length in models that snnir imports: {ONLY})").reshape(-1).tolist()
        )
        if not isinstance(count, int) or count < _ENDLESS:
            counts.append(count)
    if call.has(1) and not all(call.known(1, "the condition to start it").reshape(-1).tolist()):
        raise RefusalError("its condition is false from the start, so that it never runs")
    if not isinstance(goes_on, np.ndarray):
        raise RefusalError(
            f"the condition to go on depends on data; it may be always true or compare the counter with a known number: {ONLY}"
        )
    for item in goes_on.reshape(-1).tolist():
        if isinstance(item, Condition):
            counts.extend(_until(counter, part) for part in item.parts)
        elif not item:
            counts.append(1)
    if not counts:
        raise RefusalError(f"neither a trip count nor its condition ends it; {ONLY}")
    return _smallest(counts)


def _until(counter: Counter, part: Dimension) -> Dimension:
    """How often a loop runs that goes on while `part` is at least 0, tested behind each element."""
    parts = linear(part, counter.name)
    if parts is not None and parts[0] < 0:
        slope, start = parts
        count = start // -slope + 2
        if isinstance(count, int):
            return max(count, 1)
        if at_least_zero(count - 1):
            return count
    raise RefusalError(f"how often it runs does not follow from its condition to go on ({part} >= 0)")


def _smallest(counts: Sequence[Dimension]) -> Dimension:
    for count in counts:
        if all(at_least_zero(other - count) for other in counts):
            if not at_least_zero(count - 1):
                raise RefusalError(f"it runs {count} times; {ONLY}")
            return count
    raise RefusalError(
        f"its trip count and its condition end it after different numbers of elements: {', '.join(map(str, counts))}"
    )
