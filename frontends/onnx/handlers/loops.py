"""Scan and Loop: nodes with a body for one element of a sequence."""

from __future__ import annotations

import numpy as np
import onnx

from snnir.errors import GraphError
from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.fold import shape_array
from snnir.frontends.onnx.loop_body import LoopBody
from snnir.frontends.onnx.loop_buffers import Written, stack_of
from snnir.frontends.onnx.loop_index import Condition, mentions
from snnir.frontends.onnx.loop_plan import Plan, plan_loop
from snnir.frontends.onnx.loop_unrolled import unrolled
from snnir.frontends.onnx.registry import Known, Marker, RefusalError, Result, handler
from snnir.frontends.onnx.scope import Entry
from snnir.frontends.onnx.sequences import Cut, Grown
from snnir.frontends.onnx.subgraph import Body, Stacked, initial_type, scan, settle
from snnir.ir import Dimension, Value
from snnir.ir.dims import substitute

__all__: list[str] = []

ATTEMPTS = 4
"""How often a body is imported until its states keep their types."""


@handler("Scan", "scan")
def scan_(call: Call) -> list[Result]:
    """Any axes and directions, which may differ from sequence to sequence; the body may take values from around it."""
    proto = call.body("body")
    count = call.integer("num_scan_inputs", 0)
    states = len(call.operands) - count
    outputs = len(call.node.output) - states
    axes, backward = (call.integers(f"scan_input_{what}", (0,) * count) for what in ("axes", "directions"))
    out_axes, out_backward = (call.integers(f"scan_output_{what}", (0,) * outputs) for what in ("axes", "directions"))
    if len(proto.input) != len(call.operands) or states < 0 or len(proto.output) != len(call.node.output):
        raise RefusalError("its body takes or gives another number of values than the node")
    sequences = [call.value(states + index) for index in range(count)]
    places = [call.axis(axis, value.type.rank) for axis, value in zip(axes, sequences, strict=True)]
    starts = [initial_type(call, operand) for operand in call.operands[:states] if isinstance(operand, Value | np.ndarray)]
    types = [type_ for _, type_ in starts]
    hoisted: dict[str, list[Entry]] = {}
    for _ in range(ATTEMPTS):
        body = Body(call, proto, hoisted)
        for entry, (initial, _), type_ in zip(proto.input, starts, types, strict=False):
            body.names[entry.name] = body.state(entry.name, initial, type_)
        for entry, value, axis, direction in zip(proto.input[states:], sequences, places, backward, strict=True):
            body.names[entry.name] = body.element(value, axis, bool(direction), entry.name)
        body.run()
        given = [body.find(output.name) for output in proto.output]
        grown = settle(body, given[:states])
        if grown is None:
            stacked = [
                Stacked(call.name(states + index), value, out_axes[index], bool(out_backward[index]))
                for index, value in enumerate(given[states:])
            ]
            length = sequences[0].type.shape[places[0]]
            lasts, stacks = scan(body, given[:states], stacked, length)
            return [*lasts, *stacks]
        types = grown
    raise RefusalError("its states change their shapes from element to element")


@handler("Loop", "scan")
def loop(call: Call) -> list[Result]:
    """Loops that run once for each element of a sequence, which the body reads at the loop's counter; others that run a known
    number of times, up to 256, are written out.
    """
    proto = call.body("body")
    if len(proto.input) != len(call.operands) or len(proto.output) != len(call.node.output) + 1:
        raise RefusalError("its body takes or gives another number of values than the node")
    try:
        return _as_scan(call, proto)
    except (RefusalError, GraphError) as error:
        try:
            return unrolled(call, proto)
        except (RefusalError, GraphError):
            raise error from None


def _as_scan(call: Call, proto: onnx.GraphProto) -> list[Result]:
    plan = plan_loop(call, proto)
    count = len(call.operands) - 2
    carried = [index for index in range(count) if proto.input[2 + index].name not in plan.known]
    lists = [index for index in carried if isinstance(call.operands[2 + index], Marker)]
    if any(call.operands[2 + index] != Grown() for index in lists):
        raise RefusalError(Grown().misuse())
    carried = [index for index in carried if index not in lists]
    starts = {
        index: initial_type(call, start) for index in carried if isinstance(start := call.operands[2 + index], Value | np.ndarray)
    }
    types = {index: type_ for index, (_, type_) in starts.items()}
    hoisted: dict[str, list[Entry]] = {}
    for _ in range(ATTEMPTS):
        body = LoopBody(call, proto, hoisted, plan)
        for index, (initial, _) in starts.items():
            name = proto.input[2 + index].name
            body.names[name] = body.state(name, initial, types[index])
        body.names.update((name, Grown(name)) for name in (proto.input[2 + index].name for index in lists))
        body.run()
        given = [body.find(output.name) for output in proto.output[1:]]
        written = {index: entry for index in carried if isinstance(entry := given[index], Written)}
        kept = [index for index in carried if index not in written]
        buffers = {index: state for index, state in zip(carried, body.states, strict=True) if index in written}
        body.states = [state for index, state in zip(carried, body.states, strict=True) if index in kept]
        grown = settle(body, [given[index] for index in kept])
        if grown is None:
            stacked = {index: stack_of(entry, buffers[index].seen, plan, call.name(index)) for index, entry in written.items()}
            stacked |= {index: _appended(given[index], proto.input[2 + index].name, call.name(index)) for index in lists}
            results = _results(body, plan, given, kept, stacked, count)
            return [
                Cut(value, 0) if index in lists and isinstance(value, Value) else value for index, value in enumerate(results)
            ]
        types.update(zip(kept, grown, strict=True))
    raise RefusalError("its states change their shapes from element to element")


def _results(
    body: LoopBody, plan: Plan, given: list[Entry], kept: list[int], stacked: dict[int, Stacked], count: int
) -> list[Result]:
    """The scan, and what each output of the node is: a final state, a stack, or something known."""
    call = body.caller
    results: dict[int, Result] = {}
    for index in range(count, len(given)):
        table = _table(given[index], plan)
        if table is not None:
            results[index] = table
        else:
            stacked[index] = Stacked(call.name(index), given[index], 0, False)
    lasts, stacks = scan(body, [given[index] for index in kept], list(stacked.values()), plan.length)
    results.update(zip((*kept, *stacked), (*lasts, *stacks), strict=True))
    for index in range(count):
        if index not in results:
            results[index] = _last(plan, body.proto.input[2 + index].name)
    return [results[index] for index in range(len(given))]


def _appended(entry: Entry, state: str, name: str) -> Stacked:
    """What a loop appends to a list, one tensor in each iteration."""
    if not isinstance(entry, Grown) or entry.state != state or len(entry.items) != 1:
        raise RefusalError(Grown().misuse())
    return Stacked(name, entry.items[0], 0, False)


def _last(plan: Plan, name: str) -> Result:
    """What a state that counts or never changes is behind the loop."""
    entry = plan.known[name]
    if isinstance(entry, np.ndarray) and mentions(entry, plan.counter.name):
        return _at(entry, plan, plan.length)
    assert entry is not None
    return entry


def _table(entry: Entry, plan: Plan) -> Known | None:
    """The stack of what is known for each element; None where it is computed."""
    if not isinstance(entry, np.ndarray) or not isinstance(plan.length, int):
        return None
    return np.stack([_at(entry, plan, index) for index in range(plan.length)])


def _at(entry: Known, plan: Plan, number: Dimension) -> Known:
    """A known tensor with the counter at `number`."""
    if entry.dtype != object:
        return entry
    items = entry.reshape(-1).tolist()
    if any(isinstance(item, Condition) for item in items):
        raise RefusalError("it gives out a comparison with the loop's counter, which is not supported")
    items = [substitute(item, {plan.counter.name: number}) for item in items]
    return shape_array(tuple(items)).reshape(entry.shape)
