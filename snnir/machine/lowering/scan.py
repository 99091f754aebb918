"""Scans: a body for each window, and what crosses its border."""

from __future__ import annotations

from snnir.errors import UnsupportedError
from snnir.ir import ops
from snnir.ir.graph import Node, Value
from snnir.machine.host import concrete_shape
from snnir.machine.lowering.context import Lowering, lowers
from snnir.machine.program import Element, Result, Scan, Shared, State, Train


@lowers(ops.Scan)
def scan(work: Lowering, node: Node) -> None:
    """The body is lowered once; its values carry the scan's name."""
    body, op = node.inner, node.expect(ops.Scan)
    if work.prefix:
        raise UnsupportedError(f"{node.describe()}: a scan inside the body of a scan is not supported at the machine level")
    if op.axis != 1:
        raise UnsupportedError(f"{node.describe()}: a scan along axis {op.axis}; the machine level supports axis 1")
    first, last = op.states, op.states + op.elements
    pairs = list(zip(body.inputs, node.operands, strict=True))
    constants = {inner: work.constants[outer] for inner, outer in pairs[last:] if outer in work.constants}
    inner = Lowering(body, work.sizes, constants, f"{node.outputs[0].name}/", work.names, work.phases)
    for value, outer in pairs:
        if value.type.dtype == "spike":
            inner.root(value, concrete_shape(value.type, work.sizes)[1:])
        elif value in body.inputs[:first]:
            raise UnsupportedError(f"{node.describe()}: state {value.name} is {value.type}; the machine level keeps spikes only")
        elif outer in work.late:
            raise UnsupportedError(f"{node.describe()}: takes {outer.name}, which the host knows only after the network")
    inner.all()
    results = list(zip(node.outputs, body.outputs.values(), strict=True))
    entering = [*pairs[:first], *((value, outer) for value, outer in pairs[first:] if value in inner.trains)]
    outside = [
        _initial(work, node, outer, inner.wirings[value].index.shape) if place < first else work.source(outer)
        for place, (value, outer) in enumerate(entering)
    ]
    trains = {value: train for (value, _), train in zip(entering, work.in_one_segment(outside), strict=True)}
    again = {train.name for train in work.settled.values()}
    states = []
    for (value, _), (final, following) in zip(pairs[:first], results, strict=False):
        root = work.root(final, inner.wirings[value].index.shape)
        names = trains[value].name, inner.source(following).name
        states.append(State(inner.trains[value], *names, root, work.first(following)))
    elements = [
        Element(inner.trains[value], trains[value].name, trains[value].name in again or work.is_charged(outer), work.first(outer))
        for value, outer in pairs[first:last]
        if value in trains
    ]
    shared = [
        Shared(inner.trains[value], trains[value].name, work.first(outer)) for value, outer in pairs[last:] if value in trains
    ]
    stacked = []
    for outer, value in results[first:]:
        if value.type.dtype == "spike":
            source = inner.source(value)
            train = work.root(outer, concrete_shape(outer.type, work.sizes)[1:])
            stacked.append(Result(train, source.name, work.first(value)))
        else:
            work.late.add(outer)
            if value in inner.readouts:
                work.readouts[outer] = inner.readouts[value]
    windows = concrete_shape(pairs[first][1].type, work.sizes)[1]
    work.host += inner.host
    work.nodes |= inner.nodes
    whole = tuple(states), tuple(elements), tuple(shared), tuple(stacked), tuple(inner.ops)
    work.add(Scan(node.outputs[0].name, windows, op.reverse, *whole))


def _initial(work: Lowering, node: Node, value: Value, shape: tuple[int, ...]) -> Train:
    """The train that a state of `shape` starts as."""
    try:
        return work.source(value, shape)
    except ValueError:
        raise UnsupportedError(
            f"{node.describe()}: the initial state {value.name} {value.type} does not spread over samples of {list(shape)}"
        ) from None
