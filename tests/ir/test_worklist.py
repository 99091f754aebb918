"""The worklist rewriter: to the fixed point, in order, and without looking at everything again."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from snnir.errors import GraphError
from snnir.ir import Graph, Node, Op, TensorType, Value
from snnir.ir.dims import BATCH, dim
from snnir.ir.ops import Add, Clip, Mul, Relu, Scan, Sub, Tanh
from snnir.ir.rewrite import Rewriter
from snnir.ir.verify import verify
from snnir.ir.worklist import pattern, rewrite

N = dim(BATCH)


def chain(*ops: Op) -> Graph:
    graph = Graph("chain")
    value = graph.input("x", TensorType((N, 2), "f32"))
    for op in ops:
        value = graph.add1(op, value)
    graph.output("y", value)
    return graph


@pattern(Relu)
def relu_is_clip(rewriter: Rewriter, node: Node, op: Relu, operands: tuple[Value, ...]) -> Value | None:
    return rewriter.emit(Clip(low=0.0), operands[0], name=node.output.name)


@pattern(Clip, after=(Clip,))
def clips_merge(rewriter: Rewriter, node: Node, op: Clip, operands: tuple[Value, ...]) -> Value | None:
    inner = operands[0].producer
    if inner is None or len(operands[0].uses) > 1:
        return None
    return rewriter.emit(op, inner.operands[0], name=node.output.name)


def test_rules_meet_what_others_made_and_every_hit_is_counted() -> None:
    hits: Counter[str] = Counter()
    graph = chain(Relu(), Relu(), Tanh(), Relu())
    new, changed = rewrite(graph, (relu_is_clip, clips_merge), hits)
    assert changed
    verify(new)
    assert [node.op.name for node in new.nodes] == ["clip", "tanh", "clip"]
    assert hits == {"relu is clip": 3, "clips merge": 1}
    again, changed = rewrite(new, (relu_is_clip, clips_merge))
    assert not changed
    assert again is new


def test_names_are_those_that_rules_propose_and_unique() -> None:
    graph = chain(Relu(), Relu())
    names = [value.name for node in graph.nodes for value in node.outputs]
    new, _ = rewrite(graph, (relu_is_clip,))
    assert [value.name for node in new.nodes for value in node.outputs] == names


def test_only_what_changed_is_visited_again() -> None:
    visits: Counter[str] = Counter()

    @pattern(Tanh)
    def watched(rewriter: Rewriter, node: Node, op: Tanh, operands: tuple[Value, ...]) -> Value | None:
        visits[node.output.name] += 1
        return None

    graph = chain(Tanh(), Relu(), Tanh(), Tanh())
    rewrite(graph, (watched, relu_is_clip))
    first, second, third = [node.output.name for node in graph.nodes if isinstance(node.op, Tanh)]
    assert visits == {first: 1, second: 1, third: 1}, "the relu is replaced before the nodes behind it are visited"


def test_a_value_that_loses_a_user_is_looked_at_again() -> None:
    graph = Graph("shared")
    x = graph.input("x", TensorType((N, 2), "f32"))
    first = graph.add1(Clip(low=0.0), x)
    second = graph.add1(Clip(low=0.5), first)
    graph.output("y", second)
    graph.output("z", graph.add1(Sub(), second, graph.add1(Sub(), first, first)))

    @pattern(Sub)
    def nothing_left(rewriter: Rewriter, node: Node, op: Sub, operands: tuple[Value, ...]) -> Value | None:
        if operands[0] is operands[1]:
            return rewriter.constant("zero", np.zeros(2, np.float32))
        return operands[0] if operands[1].is_constant else None

    new, _ = rewrite(graph, (clips_merge, nothing_left))
    verify(new)
    assert [str(node.op) for node in new.nodes] == [str(Clip(low=0.5))]


def test_what_is_dead_is_no_user() -> None:
    graph = chain(Clip(low=0.0), Clip(low=0.5))
    graph.add(Tanh(), graph.nodes[0].output)
    new, _ = rewrite(graph, (clips_merge,))
    assert len(new.nodes) == 1


def test_bodies_are_settled_too() -> None:
    body = Graph("body")
    state, element = (body.input(name, TensorType((N, 2), "f32")) for name in ("s", "e"))
    total = body.add1(Relu(), body.add1(Relu(), body.add1(Add(), state, element)))
    body.output("next", total)
    graph = Graph("scan")
    x = graph.input("x", TensorType((N, 5, 2), "f32"))
    start = graph.constant("s0", np.zeros((1, 2), np.float32))
    (last,) = graph.add(Scan(states=1, elements=1, axis=1), start, x, body=body)
    graph.output("y", last)
    hits: Counter[str] = Counter()
    new, changed = rewrite(graph, (relu_is_clip, clips_merge), hits)
    assert changed
    verify(new)
    assert [node.op.name for _, node in new.walk()] == ["scan", "add", "clip"]
    assert hits["clips merge"] == 1


def test_what_takes_a_value_of_another_type_is_typed_anew() -> None:
    graph = chain(Relu(), Tanh())

    @pattern(Relu)
    def wider(rewriter: Rewriter, node: Node, op: Relu, operands: tuple[Value, ...]) -> Value | None:
        two = rewriter.constant("two", np.full((3, 1, 2), 2, np.float32))
        return rewriter.emit(Mul(), operands[0], two)

    new, _ = rewrite(graph, (wider,))
    verify(new)
    assert new.outputs["y"].type.shape == (3, N, 2)


def test_rules_without_end_are_an_error_that_names_the_rule() -> None:
    @pattern(Tanh)
    def tanh_again(rewriter: Rewriter, node: Node, op: Tanh, operands: tuple[Value, ...]) -> Value | None:
        return rewriter.emit(op, operands[0], name=node.output.name)

    with pytest.raises(GraphError, match="does not end; the last rule was 'tanh again'"):
        rewrite(chain(Tanh()), (tanh_again,))
