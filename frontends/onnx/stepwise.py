"""Models whose axis 0 is the sequence, and that know no batch: they become one scan over the sequence.

Streaming models are often exported so: convolutions see the elements of one sequence as if they were a batch, and the
recurrent layer takes them as its time axis with a batch of 1. Imported with N for axis 0, such a model computes one
element of each of N sequences. That graph is the body of the scan; the states that its recurrent layers start from and
end with become the states of the scan.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from snnir.errors import UnsupportedError
from snnir.ir import Graph, Node, TensorType, Value
from snnir.ir.dims import dim
from snnir.ir.ops import Recurrent, Scan
from snnir.ir.rewrite import like

__all__ = ["over_sequence"]


def over_sequence(step: Graph, stepped: Collection[str], length: str) -> Graph:
    """The model over N sequences of `length` elements each, given `step`, one element of it.

    `stepped` names the sequences that recurrent layers give. Inputs that reach the layers' x get the axis `length`
    after the batch, and so do outputs that depend on them other than through the layers' last states. Raises
    `UnsupportedError` where a recurrent layer is not stepped, or an input is both a sequence and an initial state.
    """
    layers = [node for node in step.nodes if isinstance(node.op, Recurrent)]
    for node in layers:
        if node.outputs[0].name not in stepped:
            raise UnsupportedError(f"{node.describe()}: its sequence is not axis 0 of the model, as those of other layers are")
    lasts = {value for node in layers for value in node.outputs[1:]}
    flowing = _reached(step, {node.outputs[0] for node in layers} | _sources(step, layers))
    after = _reached(step, lasts) - flowing
    graph = like(step)
    values: dict[Value, Value] = {}
    for value in step.inputs:
        shape = value.type.shape
        if value in flowing:
            if value.type.batch_axis != 0:
                raise UnsupportedError(f"input {value.name}: {value.type} is a sequence, whose elements must stand along axis 0")
            shape = (shape[0], dim(length), *shape[1:])
        values[value] = graph.input(value.name, TensorType(shape, value.type.dtype))
    outer = {value for node in step.nodes if not _any(node, flowing) for value in node.operands}
    outer |= {*step.outputs.values(), *(value for node in layers for value in _states(node))}
    _constants(step, graph, values, outer)
    _copy(graph, [node for node in step.nodes if not _any(node, flowing | after)], values)

    body = Graph(f"{step.name}.step")
    inner: dict[Value, Value] = {}
    starts, sequences = [], [value for value in step.inputs if value in flowing]
    for node in layers:
        for value, last in zip(_states(node), node.outputs[1:], strict=True):
            if value in flowing or value in after:
                raise UnsupportedError(f"{node.describe()}: its initial state depends on the sequence")
            starts.append((node, value, body.input(last.name, last.type)))
    inner.update((value, body.input(value.name, value.type)) for value in sequences)
    outside = [value for value in _taken(step, flowing) if not value.is_constant and value not in {v for _, v, _ in starts}]
    late = [value for value in outside if value in after]
    if late:
        raise UnsupportedError(
            f"{late[0].name} is known only at the end of the sequence, and elements of the sequence depend on it"
        )
    inner.update((value, body.input(value.name, value.type)) for value in outside)
    _constants(step, body, inner, set(_taken(step, flowing)))
    for node in step.nodes:
        if not _any(node, flowing):
            continue
        own = [state for owner, _, state in starts if owner is node]
        given = [inner[value] for value in (node.operands[:4] if own else node.operands)]
        given += [*own, *(inner[value] for value in node.operands[4 + len(own) :])] if own else []
        names = [f"{value.name}.next" if value in lasts else value.name for value in node.outputs]
        inner.update(zip(node.outputs, body.add(node.op, *given, names=names, origin=node.origin), strict=True))
    for last in (last for node in layers for last in node.outputs[1:]):
        body.output(f"next_{last.name}", inner[last])
    per_element = {name: value for name, value in step.outputs.items() if value in flowing and value not in lasts}
    for name, value in per_element.items():
        body.output(name, inner[value])

    scan = Scan(len(starts), len(sequences), 1)
    operands = [values[value] for _, value, _ in starts] + [values[value] for value in (*sequences, *outside)]
    names = [*(last.name for node in layers for last in node.outputs[1:]), *per_element]
    results = graph.add(scan, *operands, names=names, origin=layers[0].origin, body=body)
    values.update(zip((last for node in layers for last in node.outputs[1:]), results, strict=False))
    stacked = dict(zip(per_element, results[len(starts) :], strict=True))
    _copy(graph, [node for node in step.nodes if _any(node, after) and node not in layers], values)
    for name, value in step.outputs.items():
        graph.output(name, stacked[name] if name in stacked else values[value])
    return graph


def _states(node: Node) -> Sequence[Value]:
    assert isinstance(node.op, Recurrent)
    return node.operands[4 : 4 + node.op.STATES]


def _sources(graph: Graph, layers: Sequence[Node]) -> set[Value]:
    """Inputs that the layers' x depends on."""
    wanted = {node.operands[0] for node in layers}
    for node in reversed(graph.nodes):
        if any(value in wanted for value in node.outputs):
            wanted.update(node.operands[:1] if node in layers else node.operands)
    return {value for value in graph.inputs if value in wanted}


def _reached(graph: Graph, start: set[Value]) -> set[Value]:
    """`start` and all that depends on it, but for the last states of recurrent layers, unless they are in `start`."""
    reached = set(start)
    for node in graph.nodes:
        if _any(node, reached, operands=True):
            reached.update(node.outputs[:1] if isinstance(node.op, Recurrent) else node.outputs)
    return reached


def _any(node: Node, values: Collection[Value], operands: bool = False) -> bool:
    return any(value in values for value in (node.operands if operands else node.outputs))


def _taken(graph: Graph, flowing: set[Value]) -> list[Value]:
    """What nodes of the flow take from outside of it."""
    found = [value for node in graph.nodes if _any(node, flowing) for value in node.operands if value not in flowing]
    return list(dict.fromkeys(found))


def _constants(old: Graph, new: Graph, values: dict[Value, Value], wanted: Collection[Value]) -> None:
    for value in old.constants:
        if value in wanted:
            values[value] = new.constant(value.name, value.array)


def _copy(graph: Graph, nodes: Sequence[Node], values: dict[Value, Value]) -> None:
    for node in nodes:
        names = [value.name for value in node.outputs]
        results = graph.add(node.op, *(values[value] for value in node.operands), names=names, origin=node.origin, body=node.body)
        values.update(zip(node.outputs, results, strict=True))
