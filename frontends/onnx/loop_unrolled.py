"""Loops that are no scan but run a known number of times: their body once for each iteration, one behind the other.

Such loops read no sequence (`Range` as ONNX writes it out, an iteration to a fixed point), or build lists whose tensors
differ in shape. Whatever follows from the counter alone is known while importing.
"""

from __future__ import annotations

import numpy as np
import onnx

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.model import finite, to_array
from snnir.frontends.onnx.registry import Marker, RefusalError, Result
from snnir.frontends.onnx.scope import Entry, Scope, import_nodes
from snnir.ir import Value
from snnir.ir.ops import Concat, Reshape

__all__ = ["LONGEST", "unrolled"]

LONGEST = 256
"""Iterations that a loop may have to be written out."""


def unrolled(call: Call, proto: onnx.GraphProto) -> list[Result]:
    """The final states, then what each iteration gave, stacked. Raises `RefusalError`."""
    count = call.known_integers(0, "its trip count")[0] if call.has(0) else None
    goes_on: Entry = call.known(1, "the condition to start it") if call.has(1) else np.array(True)
    states: list[Entry] = list(call.operands[2:])
    rows: list[list[Entry]] = []
    while _holds(goes_on) and len(rows) != count:
        if len(rows) == LONGEST:
            raise RefusalError(f"it runs more than {LONGEST} times")
        goes_on, *given = _iteration(call, proto, len(rows), states)
        states = given[: len(states)]
        rows.append(given[len(states) :])
    if not rows and len(call.node.output) > len(states):
        raise RefusalError("it never runs, so that what it stacks has no shape")
    results = [_result(entry) for entry in states]
    return [*results, *(_stacked(call, len(states) + place, parts) for place, parts in enumerate(zip(*rows, strict=True)))]


def _holds(condition: Entry) -> bool:
    if not isinstance(condition, np.ndarray) or condition.dtype == object:
        raise RefusalError("the condition to go on changes with the input")
    return bool(condition.all())


def _iteration(call: Call, proto: onnx.GraphProto, number: int, states: list[Entry]) -> list[Entry]:
    """What the body gives, the condition first."""
    scope = Scope(call.graph, call.opset, call.fixed_batch, call.scope.used, call.scope)
    for tensor in proto.initializer:
        scope.names[tensor.name] = finite(to_array(tensor), f"initializer {tensor.name}")
    for entry, known in zip(proto.input, (np.array(number, np.int64), np.array(True)), strict=False):
        scope.names[entry.name] = known.reshape((1,) * len(entry.type.tensor_type.shape.dim))
    scope.names.update((entry.name, state) for entry, state in zip(proto.input[2:], states, strict=True))
    refused = import_nodes(scope, proto.node)
    if refused:
        raise RefusalError("in its body, " + "; ".join(map(str, refused)))
    found = [scope.find(output.name) for output in proto.output]
    return [scope.capture(entry) if isinstance(entry, Value) else entry for entry in found]


def _result(entry: Entry) -> Result:
    if not isinstance(entry, Value | np.ndarray | Marker):
        raise RefusalError("its body does not give all of its states")
    return entry


def _stacked(call: Call, output: int, parts: tuple[Entry, ...]) -> Result:
    """What the iterations gave, along a new first axis."""
    if all(isinstance(part, np.ndarray) and part.dtype != object for part in parts):
        return np.stack([part for part in parts if isinstance(part, np.ndarray)])
    name, values = call.name(output), []
    for index, part in enumerate(parts):
        if not isinstance(part, Value | np.ndarray):
            raise RefusalError("it stacks what is no tensor")
        value = part if isinstance(part, Value) else call.constant(f"{name}.row{index}", part)
        values.append(call.emit(Reshape((1, *value.type.shape)), value, output=output, label=f"row{index}"))
    return call.emit(Concat(0), *values, output=output)
