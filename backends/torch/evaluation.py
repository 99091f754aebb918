"""Walk through a graph on tensors; scans loop over their bodies.

Nodes of a body that depend neither on a state nor on what one depends on, and that treat samples one by one, are computed
for all sequence elements at once before the loop: the elements become samples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch

from snnir.backends.torch.registry import DTYPES, is_words
from snnir.ir import Dim, Graph, Node, Value
from snnir.ir import ops as ir
from snnir.ir.op import Trait

__all__ = ["Evaluate", "evaluate_nodes", "hoisted"]

Evaluate = Callable[[Node, Sequence[torch.Tensor], Mapping[str, int]], tuple[torch.Tensor, ...]]
"""Results of a node that is no scan, given its operands and the sizes of named dimensions."""


def evaluate_nodes(
    graph: Graph,
    values: dict[Value, torch.Tensor],
    constants: Mapping[Value, torch.Tensor],
    sizes: Mapping[str, int],
    evaluate: Evaluate,
    done: frozenset[Node] = frozenset(),
    hoist: bool = True,
) -> None:
    """Compute every node that is not `done`; `values` holds the inputs and grows.

    `constants` holds tensors for the constants of the graph and of all bodies. Without `hoist`, every node of a body is
    computed once for each sequence element, in the order of processing.
    """
    for node in graph.nodes:
        if node in done or any(is_words(value) for value in node.outputs):
            continue
        operands = [values[value] if value.data is None else constants[value] for value in node.operands]
        if isinstance(node.op, ir.Scan):
            results = _scan(node, node.op, operands, constants, sizes, evaluate, hoist)
        else:
            results = evaluate(node, operands, sizes)
        values.update(zip(node.outputs, results, strict=True))


def hoisted(body: Graph, op: ir.Scan) -> tuple[Node, ...]:
    """Nodes of a body that can be computed for all sequence elements at once, as if those were samples."""
    elements = body.inputs[op.states : op.states + op.elements]
    free = {value for value in elements if value.type.batch_axis == 0}
    found = []
    for node in body.nodes:
        changing = [value for value in node.operands if value.data is None]
        fits = bool(changing) and all(value in free for value in changing) and node.outputs[0].type.batch_axis == 0
        if fits and node.op.has(Trait.PER_SAMPLE):
            fits = node.operands[0].data is None and all(value.is_constant for value in node.operands[1:])
        elif fits and node.op.has(Trait.BROADCASTING) and node.op.has(Trait.AFFINE):
            rank = node.outputs[0].type.rank
            fits = all(
                value.type.rank == rank if value.data is None else value.type.rank < rank or value.type.shape[0] == 1
                for value in node.operands
            )
        else:
            fits = False
        if fits:
            found.append(node)
            free.update(node.outputs)
    return tuple(found)


def _scan(
    node: Node,
    op: ir.Scan,
    operands: Sequence[torch.Tensor],
    constants: Mapping[Value, torch.Tensor],
    sizes: Mapping[str, int],
    evaluate: Evaluate,
    hoist: bool,
) -> tuple[torch.Tensor, ...]:
    body = node.inner
    sequences = [x.movedim(op.axis, 0) for x in operands[op.states : op.states + op.elements]]
    axes = [value.type.batch_axis for value in node.operands]
    batch = next((int(x.shape[axis]) for x, axis in zip(operands, axes, strict=True) if axis is not None), 1)
    states = []
    for value, x in zip(body.inputs[: op.states], operands, strict=False):
        shape = [size if isinstance(size, int) else sizes.get(str(size), batch) for size in value.type.shape]
        states.append(torch.broadcast_to(x, shape))
    length = len(sequences[0])
    early = hoisted(body, op) if hoist and length > 1 else ()
    ready = _hoist(body, early, op, sequences, constants, sizes, evaluate)
    stacked: list[list[torch.Tensor]] = [[] for _ in node.outputs[op.states :]]
    outputs = list(body.outputs.values())
    for k in reversed(range(length)) if op.reverse else range(length):
        given = [*states, *(x[k] for x in sequences), *operands[op.states + op.elements :]]
        values = dict(zip(body.inputs, given, strict=True))
        values.update((value, steps[k]) for value, steps in ready.items())
        evaluate_nodes(body, values, constants, sizes, evaluate, frozenset(early), hoist)
        results = [values[value] if value.data is None else constants[value] for value in outputs]
        states = results[: op.states]
        for rows, result in zip(stacked, results[op.states :], strict=True):
            rows.append(result)
    finals = list(states)
    for value, rows in zip(node.outputs[op.states :], stacked, strict=True):
        if rows:
            finals.append(torch.stack(rows[::-1] if op.reverse else rows, op.axis))
        else:
            empty = [sizes.get(str(size), 0) if isinstance(size, Dim) else size for size in value.type.shape]
            finals.append(torch.zeros(empty, dtype=DTYPES[value.type.dtype], device=operands[0].device))
    return tuple(finals)


def _hoist(
    body: Graph,
    early: Sequence[Node],
    op: ir.Scan,
    sequences: Sequence[torch.Tensor],
    constants: Mapping[Value, torch.Tensor],
    sizes: Mapping[str, int],
    evaluate: Evaluate,
) -> dict[Value, tuple[torch.Tensor, ...]]:
    """What `early` nodes give that others take, cut into elements."""
    values: dict[Value, torch.Tensor] = {}
    for value, x in zip(body.inputs[op.states :], sequences, strict=False):
        if value.type.batch_axis == 0:
            values[value] = x.reshape(x.shape[0] * x.shape[1], *x.shape[2:])
    inside = set(early)
    cut: dict[Value, tuple[torch.Tensor, ...]] = {}
    for node in early:
        operands = [values[value] if value.data is None else constants[value] for value in node.operands]
        (result,) = evaluate(node, operands, sizes)
        values[node.output] = result
        if any(user not in inside for user, _ in node.output.uses):
            length = len(sequences[0])
            cut[node.output] = result.reshape(length, result.shape[0] // length, *result.shape[1:]).unbind(0)
    return cut
