"""Scan: nodes with a body for one element of a sequence."""

from __future__ import annotations

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.registry import RefusalError, Result, handler
from snnir.frontends.onnx.subgraph import Body, Stacked, initial_type, scan, settle
from snnir.frontends.onnx.walk import Entry

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
    starts = [initial_type(call, operand) for operand in call.operands[:states] if operand is not None]
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
