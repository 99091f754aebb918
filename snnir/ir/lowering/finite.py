"""Questions for infinities and NaN: answered with no where nothing on the way can give one, and by the host where it can.

What is finite depends on the whole model: an input that reaches the network only holds finite numbers (`snnir.ir.finite`),
and one that only the host computes with may hold any. Hence a model that asks is imported again, with the questions about
inputs of the second kind left open.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

import numpy as np

from snnir.errors import GraphError, UnsupportedError
from snnir.ir.dims import concrete
from snnir.ir.finite import needs_finite
from snnir.ir.graph import Graph, Node, Value
from snnir.ir.lowering.builder import Builder, RefusalError
from snnir.ir.lowering.choose import opposite
from snnir.ir.lowering.masks import masks_behind, shown
from snnir.ir.op import Op, Trait
from snnir.ir.ops import Expand, IsInf, Masked, Softmax

__all__ = ["Questions", "hidden", "imported", "is_open", "source_of_infinity"]


def source_of_infinity(x: Value, known: Collection[Node] = ()) -> str:
    """Where infinities or NaN may come from; empty where nothing but `known` gives them.

    Inputs and constants are finite, and so are truth and integers.
    """
    seen, rest = {x}, [x]
    while rest:
        value = rest.pop()
        node = value.producer
        if node is None or value.type.is_exact:  # truth and integers are finite
            continue
        if node not in known and not node.op.has(Trait.FINITE):
            return f"{node.describe()} (op {node.op.name})"
        for value in node.operands:
            hidden = value.producer
            if isinstance(node.op, Softmax) and hidden is not None and isinstance(hidden.op, Masked):
                value = hidden.operands[0]  # what is masked becomes 0
            if value not in seen:
                seen.add(value)
                rest.append(value)
    return ""


def _inputs_of(x: Value) -> set[str]:
    """The inputs that a value depends on."""
    seen, rest, found = {x}, [x], set()
    while rest:
        value = rest.pop()
        if value.producer is None and not value.is_constant:
            found.add(value.name)
        further = set(value.producer.operands if value.producer is not None else ()) - seen
        seen |= further
        rest += further
    return found


@dataclass
class Questions:
    """What one import does with questions for NaN and infinities."""

    free: frozenset[str] = frozenset()
    """Inputs that may hold such numbers."""
    asked: set[str] = field(default_factory=set)
    """Inputs that a question was about."""
    denied: set[str] = field(default_factory=set)
    """Those that were taken for finite."""


def is_open(questions: Questions, x: Value, inner: bool) -> bool:
    """Whether a question about `x` is the host's to answer; where not, the answer is no, but for what a mask hides (`hidden`).

    `inner` says that `x` belongs to a loop's body. Raises `RefusalError` where nothing says that `x` is finite.
    """
    source, inputs = "a value from around a loop's body", _inputs_of(x)
    if not inner:
        questions.asked |= inputs
        if inputs and inputs <= questions.free:
            return True
        source = source_of_infinity(x, masks_behind(x))
    if source:
        raise RefusalError(f"{source} may give infinities or NaN, and values of a network are finite: guard it instead")
    questions.denied |= inputs
    return False


def hidden(call: Builder, x: Value, question: Op) -> Value | np.ndarray | None:
    """Where the answer to a question that is not open is yes all the same: where a mask, moved or over lines, hides all.

    Real numbers 1 and 0, an array where they are known; None where the answer is no everywhere.
    """
    if not isinstance(question, IsInf) or not question.negative:
        return None
    kept = shown(call, x)
    if isinstance(kept, np.ndarray):
        if kept.all():
            return None
        if all(isinstance(size, int) for size in x.type.shape):
            return 1 - np.broadcast_to(kept, [concrete(size) for size in x.type.shape])
        return call.emit(Expand(x.type.shape), call.array("hidden", 1 - kept), label="hidden.spread")
    return opposite(call, kept, "hidden") if kept is not None else None


def imported(build: Callable[[Questions], Graph]) -> Graph:
    """The graph that `build` imports, with all questions answered that the host need not answer."""
    first, refusal, graph = Questions(), None, None
    try:
        graph = _built(build, first)
    except (UnsupportedError, GraphError) as error:
        refusal = error
    free = frozenset(first.asked)
    while free:
        opened = _attempt(build, Questions(free))
        if opened is None:
            break
        needed = {value.name for value in opened.inputs if needs_finite(opened, value)}
        if not free & needed:
            return opened
        free -= needed
    if refusal is not None:
        raise refusal
    assert graph is not None
    return graph


def _built(build: Callable[[Questions], Graph], questions: Questions) -> Graph:
    graph = build(questions)
    graph.finite |= questions.denied
    return graph


def _attempt(build: Callable[[Questions], Graph], questions: Questions) -> Graph | None:
    try:
        return _built(build, questions)
    except (UnsupportedError, GraphError):
        return None
