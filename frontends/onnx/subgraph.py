"""A scan under construction: the body of an ONNX `Scan` or `Loop`, its states, the sequences it reads and writes.

The IR's scan cuts all its sequences along one axis in one direction, and synapses compute with the batch as axis 0. So
sequences are brought to `[N, T, ...]` before the scan (`[T, ...]` in a model without a batch) and back behind it, states
and elements to `[N, ...]`, and the body turns them into the layout that its nodes expect.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.model import finite, to_array
from snnir.frontends.onnx.registry import Known, RefusalError
from snnir.frontends.onnx.scope import Entry, Scope, import_nodes
from snnir.ir import Dimension, Graph, Shape, TensorType, Value
from snnir.ir.ops import Reshape, Scan, Slice, Transpose
from snnir.ir.types import dtype_of

__all__ = ["Body", "Element", "Stacked", "State", "initial_type", "scan", "settle"]


@dataclass(frozen=True)
class Element:
    """A sequence of the graph around that the body reads: cut along `axis`, from its end where `backward`."""

    source: Value
    axis: int
    backward: bool
    inner: Value
    """The body's input, in the layout of the IR."""
    seen: Value
    """The element as the body's nodes take it."""


@dataclass(frozen=True)
class State:
    """A state: where it starts, the body's input, and the state as the body's nodes take it."""

    initial: Value | Known
    inner: Value
    seen: Value


@dataclass(frozen=True)
class Stacked:
    """A value per element, stacked along `axis` of the result, from its end where `backward`."""

    name: str
    value: Entry
    axis: int
    backward: bool


def _front(type_: TensorType) -> tuple[int, ...]:
    """The order of axes that brings the batch to the front."""
    batch = type_.batch_axis or 0
    return (*range(batch, min(batch + 1, type_.rank)), *(axis for axis in range(type_.rank) if axis != batch))


def _inverse(perm: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(place) for place in np.argsort(perm))


class Body(Scope):
    """The scope of a body, which becomes the body graph of a scan."""

    def __init__(self, call: Call, graph: onnx.GraphProto, hoisted: dict[str, list[Entry]]) -> None:
        outer = call.scope
        super().__init__(Graph(f"{call.name()}.body"), outer.opset, outer.fixed_batch, outer.used, outer)
        self.caller, self.proto = call, graph
        self.axis = 1 if _batched(outer) else 0
        """The axis of sequences that the scan cuts."""
        self.states: list[State] = []
        self.elements: list[Element] = []
        self.hoisted = hoisted
        for tensor in graph.initializer:
            self.names[tensor.name] = finite(to_array(tensor), f"initializer {tensor.name}")
        if graph.sparse_initializer:
            raise RefusalError("its body holds sparse initializers; store them as dense tensors")

    def state(self, name: str, initial: Value | Known, type_: TensorType) -> Value:
        """A state of `type_`; returns it as the body's nodes take it."""
        perm = _front(type_)
        inner = self.new_input(name, type_.with_shape(tuple(type_.shape[axis] for axis in perm)))
        self.states.append(State(initial, inner, self.turned(inner, _inverse(perm), f"{name}.seen")))
        return self.states[-1].seen

    def element(self, source: Value, axis: int, backward: bool, name: str) -> Value:
        """The element of a sequence of the graph around, as the body's nodes take it."""
        for known in self.elements:
            if (known.source, known.axis, known.backward) == (source, axis, backward):
                return known.seen
        if axis == source.type.batch_axis:
            raise RefusalError(
                f"it cuts {source.name} ({source.type}) along axis {axis}, which is read as the batch; "
                "name the batch axis of the model's input (batch_axes)"
            )
        shape = (*source.type.shape[:axis], *source.type.shape[axis + 1 :])
        type_ = source.type.with_shape(shape)
        perm = _front(type_)
        order = tuple(shape[place] for place in perm) or (1,) * self.axis
        inner = self.new_input(name, type_.with_shape(order))
        seen = self.turned(inner, _inverse(perm), f"{name}.seen") if shape else self.add(Reshape(()), inner, f"{name}.seen")
        self.elements.append(Element(source, axis, backward, inner, seen))
        return seen

    def turned(self, value: Value, perm: tuple[int, ...], name: str) -> Value:
        """`value` with its axes in another order."""
        return value if perm == tuple(range(value.type.rank)) else self.add(Transpose(perm), value, name)

    def add(self, op: Transpose | Reshape, value: Value, name: str) -> Value:
        """A node of data movement in the body."""
        return self.graph.add1(op, value, name=name, origin=self.caller.origin)

    def shaped(self, value: Value, shape: Shape, name: str) -> Value:
        """`value` under another shape."""
        return value if shape == value.type.shape else self.add(Reshape(shape), value, name)

    def run(self) -> None:
        """Import the body's nodes. Raises `RefusalError` naming those that cannot be."""
        refused = import_nodes(self, self.proto.node)
        if refused:
            raise RefusalError("in its body, " + "; ".join(map(str, refused)))

    def given(self, entry: Entry, what: str) -> Value:
        """What the body gives out, as a value of its graph. Raises `RefusalError`."""
        if isinstance(entry, Value):
            return self.capture(entry)
        if not isinstance(entry, np.ndarray) or entry.dtype.kind not in "fiub":
            raise RefusalError(f"{what} of its body is no tensor of numbers that is known while importing")
        return self.graph.constant(what, entry)


def _batched(scope: Scope) -> bool:
    """Whether the model has a batch."""
    root: Scope = scope
    while root.parent is not None:
        root = root.parent
    return any(value.type.batch_axis is not None for value in root.graph.inputs)


def initial_type(call: Call, initial: Value | Known) -> tuple[Value | Known, TensorType]:
    """An initial state and the type to try for the state.

    A constant that was exported for a fixed batch and is the same for all its samples is cut to one, which the scan
    spreads over any batch.
    """
    if isinstance(initial, Value):
        return initial, initial.type
    if initial.dtype.kind not in "fiub":
        raise RefusalError(f"a state starts as {initial.tolist()}, which depends on sizes that are known only at run time")
    if call.fixed_batch is not None:
        for axis, size in enumerate(initial.shape):
            first = initial.take(range(min(size, 1)), axis=axis)
            if size == call.fixed_batch and (initial == first).all():
                initial = first
                break
    return initial, TensorType(initial.shape, dtype_of(initial))


def scan(body: Body, nexts: Sequence[Entry], stacked: Sequence[Stacked], length: Dimension) -> tuple[list[Value], list[Value]]:
    """Add the scan to the graph around: the final states, and the stacked values, as ONNX lays them out.

    `length` is how many elements are read. Raises `RefusalError`.
    """
    call = body.caller
    if not body.elements:
        raise RefusalError(
            "it reads no sequence: snnir imports loops that take one element at a time; unroll others before the export"
        )
    states = [body.given(entry, f"next_{state.inner.name}") for state, entry in zip(body.states, nexts, strict=True)]
    values = [body.given(item.value, item.name) for item in stacked]
    directions = [*(element.backward for element in body.elements), *(item.backward for item in stacked)]
    reverse = 2 * sum(directions) > len(directions)
    inner: list[Value] = []
    for state, value in zip(body.states, states, strict=True):
        inner.append(body.turned(value, _front(state.seen.type), f"next_{state.inner.name}"))
    for item, value in zip(stacked, values, strict=True):
        if value.type.rank < body.axis:
            inner.append(body.add(Reshape((1,)), value, f"{item.name}.out"))
        else:
            inner.append(body.turned(value, _front(value.type), f"{item.name}.out"))
    shared, graph = _closed(body, inner, len(states))
    operands = [call.scope.capture(value) for value in shared]
    starts = [_start(call, state) for state in body.states]
    sequences = [_sequence(call, element, body.axis, reverse, length) for element in body.elements]
    op = Scan(len(states), len(sequences), body.axis, reverse)
    names = [f"{state.inner.name}.last" for state in body.states] + [f"{item.name}.all" for item in stacked]
    results = call.graph.add(op, *starts, *sequences, *operands, names=names, origin=call.origin, body=graph)
    lasts = [
        _emit(call, Transpose(_inverse(_front(state.seen.type))), result, f"{state.inner.name}.final")
        for state, result in zip(body.states, results, strict=False)
    ]
    stacks = [
        _stack(call, item, result, value.type, body.axis, reverse)
        for item, result, value in zip(stacked, results[len(states) :], values, strict=True)
    ]
    return lasts, stacks


def _closed(body: Body, outputs: Sequence[Value], states: int) -> tuple[list[Value], Graph]:
    """The body with its inputs in the scan's order and without what nothing takes; and the outer values it shares."""
    needed: set[Value] = set()
    pending = list(outputs)
    while pending:
        value = pending.pop()
        if value not in needed:
            needed.add(value)
            pending.extend(value.producer.operands if value.producer is not None else ())
    graph = Graph(body.graph.name)
    values: dict[Value, Value] = {}
    shared = [outer for outer, inner in body.shared.items() if inner in needed]
    inputs = [state.inner for state in body.states] + [element.inner for element in body.elements]
    inputs += [body.shared[outer] for outer in shared]
    for value in body.graph.inputs:
        if value in needed and value not in inputs:
            raise RefusalError(f"it reads {value.name} in the element that writes to it")
    for value in inputs:
        values[value] = graph.input(value.name, value.type)
    for value in body.graph.constants:
        if value in needed:
            values[value] = graph.constant(value.name, value.array)
    for node in body.graph.nodes:
        if any(value in needed for value in node.outputs):
            operands = [values[value] for value in node.operands]
            names = [value.name for value in node.outputs]
            results = graph.add(node.op, *operands, names=names, origin=node.origin, body=node.body)
            values.update(zip(node.outputs, results, strict=True))
    for place, value in enumerate(outputs):
        name = f"next_{body.states[place].inner.name}" if place < states else f"y{place - states}"
        graph.output(name, values[value])
    return shared, graph


def _start(call: Call, state: State) -> Value:
    """The initial state in the layout of the IR."""
    perm = _front(state.seen.type)
    if isinstance(state.initial, Value):
        return _emit(call, Transpose(perm), state.initial, f"{state.inner.name}.first")
    turned = np.ascontiguousarray(state.initial.transpose(perm)) if state.initial.ndim else state.initial
    return call.constant(f"{state.inner.name}.initial", turned)


def _sequence(call: Call, element: Element, axis: int, reverse: bool, length: Dimension) -> Value:
    """A sequence as the scan cuts it."""
    source = call.scope.capture(element.source)
    if source.type.shape[element.axis] != length:
        raise RefusalError(
            f"it reads {source.name} ({source.type}) along axis {element.axis}, whose size is not the {length} of another "
            "sequence or the trip count; snnir imports loops that run once for each element"
        )
    rest = [place for place in range(source.type.rank) if place != element.axis]
    perm = [rest[place] for place in _front(element.seen.type)] if rest else []
    perm.insert(min(axis, len(perm)), element.axis)
    turned = _emit(call, Transpose(tuple(perm)), source, f"{element.inner.name}.sequence")
    if not rest and axis:
        turned = call.emit(Reshape((1, *source.type.shape)), source, label=f"{element.inner.name}.sequence")
    if element.backward != reverse:
        turned = call.emit(Slice(axis, None, None, -1), turned, label=f"{element.inner.name}.reversed")
    return turned


def _stack(call: Call, item: Stacked, result: Value, type_: TensorType, axis: int, reverse: bool) -> Value:
    """Stacked values as ONNX lays them out."""
    if item.backward != reverse:
        result = call.emit(Slice(axis, None, None, -1), result, label=f"{item.name}.reversed")
    if type_.rank < axis:
        return call.emit(Reshape((result.type.shape[axis],)), result, label=item.name)
    place = call.axis(item.axis, type_.rank + 1)
    # `result` has the axes of the front order with time at `axis`
    held = list(_front(type_))
    held.insert(axis, -1)
    wanted = list(range(type_.rank))
    wanted.insert(place, -1)
    return _emit(call, Transpose(tuple(held.index(number) for number in wanted)), result, item.name)


def _emit(call: Call, op: Transpose, value: Value, label: str) -> Value:
    return value if op.perm == tuple(range(value.type.rank)) else call.emit(op, value, label=label)


def settle(body: Body, nexts: Sequence[Entry]) -> list[TensorType] | None:
    """Types for the states under which the body may give them back; None where it does already.

    A state that starts as one sample and meets the batch grows to the batch. Raises `RefusalError` where a state changes
    its shape in any other way.
    """
    types, grown = [], False
    for state, entry in zip(body.states, nexts, strict=True):
        have = state.seen.type
        found = body.given(entry, f"next_{state.inner.name}").type
        if found.rank != have.rank or any(a not in (b, 1) for a, b in zip(have.shape, found.shape, strict=True)):
            raise RefusalError(f"its state {state.inner.name} is {have} before an element and {found} behind it")
        if found.dtype != have.dtype and not (found.is_real and have.is_real):
            raise RefusalError(f"its state {state.inner.name} holds {have.dtype} before an element and {found.dtype} behind it")
        grown = grown or found != have
        types.append(replace(have, shape=found.shape) if found.dtype == have.dtype else found)
    return types if grown else None
