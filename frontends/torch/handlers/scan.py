"""The higher-order `scan` of PyTorch as a scan of the IR."""

from __future__ import annotations

import torch

from snnir.frontends.torch.call import Call
from snnir.frontends.torch.registry import Entry, RefusalError, Spread, handler
from snnir.frontends.torch.scope import Scope, import_nodes
from snnir.ir import Graph, TensorType, Value
from snnir.ir.ops import Scan, Transpose

__all__: list[str] = []


@handler("scan", "scan")
def scan(call: Call) -> list[Entry]:
    """Sequences are cut along axis 0 in PyTorch and behind the batch in the IR; results are the last states, then stacks."""
    module, initial, sequences, shared = (call.arguments[str(place)] for place in range(4))
    body = getattr(call.node.graph.owning_module, str(module.target))
    starts = [_start(call, entry, f"init{place}") for place, entry in enumerate(initial)]
    elements = [call.as_value(entry, f"xs{place}") for place, entry in enumerate(sequences)]
    axis = 1 if all(value.type.rank > 1 for value in elements) else 0
    turned = [_swapped(call, value, f"xs{place}") if axis else value for place, value in enumerate(elements)]
    types = [TensorType(_broadcast_state(call, place), value.type.dtype) for place, value in enumerate(starts)]
    types += [TensorType((*value.type.shape[:axis], *value.type.shape[axis + 1 :]), value.type.dtype) for value in turned]
    others = [entry for entry in shared if isinstance(entry, Value)]
    graph = Graph(call.name("step"))
    scope = Scope(graph, inner=True)
    scope.names = call.scope.names
    holders = [node for node in body.graph.nodes if node.op == "placeholder"]
    count = len(types)
    for node, type_ in zip(holders[:count], types, strict=True):
        scope.entries[node] = graph.input(node.name, type_)
    for node, entry in zip(holders[count:], shared, strict=True):
        scope.entries[node] = graph.input(node.name, entry.type) if isinstance(entry, Value) else entry
    for node in body.graph.nodes:
        if node.op == "get_attr" and isinstance(getattr(body, str(node.target), None), torch.Tensor):
            scope.entries[node] = getattr(body, str(node.target))
    refused = import_nodes(scope, list(body.graph.nodes))
    if refused:
        raise RefusalError("; ".join(map(str, refused)))
    (end,) = (node for node in body.graph.nodes if node.op == "output")
    results = [scope.find(item) for item in end.args[0]]
    for place, entry in enumerate(results):
        value = Call(scope, end, {}, call.origin[0]).as_value(entry, f"result{place}")
        graph.output(f"next_{holders[place].name}" if place < len(starts) else f"y{place - len(starts)}", value)
    values = list(graph.outputs.values())
    if axis and any(value.type.rank == 0 for value in values[len(starts) :]):
        raise RefusalError("it gives numbers without a batch for each element")
    names = [call.name(f"last{place}") for place in range(len(starts))]
    names += [call.name(f"ys{place}") for place in range(len(values) - len(starts))]
    op = Scan(len(starts), len(turned), axis)
    given = call.emit_all(op, *starts, *turned, *others, names=names, body=graph)
    stacks = given[len(starts) :]
    return [
        *given[: len(starts)],
        *(_swapped(call, value, f"stack{place}") if axis else value for place, value in enumerate(stacks)),
    ]


def _start(call: Call, entry: Entry, name: str) -> Value:
    """An initial state; one row where it is the same for all samples."""
    return call.constant(name, entry.array) if isinstance(entry, Spread) else call.as_value(entry, name)


def _broadcast_state(call: Call, place: int) -> tuple[int, ...]:
    entry = call.arguments["1"][place]
    return tuple(entry.type.shape if isinstance(entry, Value) else entry.shape)


def _swapped(call: Call, value: Value, label: str) -> Value:
    """Axes 0 and 1 exchanged; a transpose that did the same before is taken back."""
    perm = (1, 0, *range(2, value.type.rank))
    producer = value.producer
    if producer is not None and isinstance(producer.op, Transpose) and producer.op.perm == perm:
        return producer.operands[0]
    return call.emit(Transpose(perm), value, label=label)
