"""Find masks: large negative numbers that are added before a softmax hide elements, as minus infinity does."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from snnir.ir import FLOAT, Graph, Node, Op, Value
from snnir.ir.ops import Add, Cast, Expand, IntNot, IsFar, Masked, Movement, Mul, Pad, Shown, Softmax, Step, Sub
from snnir.ir.ops.masks import FAR
from snnir.ir.rewrite import Rewriter, rebuild
from snnir.passes.infra import Context, Pass, Result, register

__all__ = ["FindMasks"]


@register
@dataclass(frozen=True)
class FindMasks(Pass):
    """Write sums with large negative numbers before a softmax as `masked`.

    Models hide elements by the least finite number of their type (`finfo.min`), -1e9 or -10000 where others take minus infinity.
    As levels such numbers would leave none for the scores.

    1. A constant added to what a softmax takes hides where it is -10000 or less.
    2. So does truth (0 or 1) times such a number, as `(1 - mask) * finfo.min`, and a choice between scores and it.
    3. Real numbers that are inputs and are added before a softmax are split into what they hide, minus infinity included, and
       what they add.

    A line of which all is hidden gives 0, where the model spreads 1 over it.
    """

    name = "find-masks"
    takes = gives = FLOAT

    def run(self, graph: Graph, context: Context) -> Result:
        """Apply the pass."""
        hits: Counter[str] = Counter()
        new, changed = rebuild(graph, _softmax, hits=hits)
        return Result(new, changed > 0, rewrites=hits)


def _softmax(rewriter: Rewriter, node: Node, operands: tuple[Value, ...]) -> tuple[Value, ...] | None:
    if not isinstance(node.op, Softmax):
        return None
    found = _Finder(rewriter, node).masked(operands[0])
    return None if found is None else (rewriter.emit(node.op, found, name=node.output.name),)


class _Finder:
    """The masks before one softmax."""

    def __init__(self, rewriter: Rewriter, node: Node) -> None:
        self.rewriter, self.name, self.axis = rewriter, node.output.name, node.expect(Softmax).axis

    def emit(self, op: Op, *operands: Value, label: str) -> Value:
        return self.rewriter.emit(op, *operands, name=f"{self.name}.{label}")

    def spread(self, value: Value, like: Value, label: str) -> Value:
        """A value in the shape of another."""
        return value if value.type.shape == like.type.shape else self.emit(Expand(like.type.shape), value, label=label)

    def masked(self, x: Value) -> Value | None:
        """The scores with what hides in them as masks; None where nothing does."""
        made = x.producer
        if made is None:
            return None
        if isinstance(made.op, Movement) and len(made.operands) == 1 and not isinstance(made.op, Pad):
            inner = self.masked(made.operands[0])
            return None if inner is None else self.emit(made.op, inner, label="moved")
        if isinstance(made.op, Masked):
            inner = self.masked(made.operands[0])
            return None if inner is None else self.emit(Masked(), inner, made.operands[1], label="masked")
        if not isinstance(made.op, Add):
            return None
        orders = [(mask, scores, given) for given in (False, True) for mask, scores in (made.operands, made.operands[::-1])]
        for mask, scores, given in orders:
            parts = self.parts(mask, given)
            if parts is None or scores.is_constant:
                continue
            keep, rest = parts
            seen = self.masked(scores) or _chosen(scores, mask)
            if rest is not None:
                seen = self.emit(Add(), seen, rest, label="biased")
            return self.emit(Masked(), self.spread(seen, x, "spread"), keep, label="masked")
        return None

    def parts(self, mask: Value, given: bool = False) -> tuple[Value, Value | None] | None:
        """Where a summand keeps the scores, and what it adds there (None: nothing); None where it hides nothing.

        With `given`, an input may hide something.
        """
        if mask.is_constant:
            return self.known(mask)
        made = mask.producer
        if made is None:
            return self.given(mask) if given and mask.type.is_real else None
        if isinstance(made.op, Movement) and len(made.operands) == 1 and not isinstance(made.op, Pad):
            found = self.parts(made.operands[0], given)
            if found is None:
                return None
            keep, rest = (None if part is None else self.emit(made.op, part, label="moved") for part in found)
            return (keep, rest) if keep is not None else None
        if isinstance(made.op, Mul):
            for truth, number in (made.operands, made.operands[::-1]):
                if number.is_constant and (number.array <= FAR).all() and not truth.is_constant:
                    keep = self.opposite(truth)
                    if keep is None:
                        continue
                    return self.spread(keep, mask, "keep.spread"), None
        if isinstance(made.op, Add):  # a choice between a large negative number and another
            for side, other in (made.operands, made.operands[::-1]):
                found = self.parts(side) if side.producer is not None and isinstance(side.producer.op, Mul) else None
                if found is not None:
                    return self.spread(found[0], mask, "keep.spread"), None if _is_nothing(other) else other
        return None

    def known(self, mask: Value) -> tuple[Value, Value | None] | None:
        array = mask.array
        far = array <= FAR
        if array.dtype.kind != "f" or not far.any() or far.all() or not np.isfinite(array).all():
            return None
        if -array.ndim <= self.axis - array.ndim < 0 and far.all(axis=self.axis if self.axis < array.ndim else -1).any():
            return None  # lines of which all is hidden
        keep = self.rewriter.constant(f"{self.name}.keep", (~far).astype(array.dtype))
        rest = np.where(far, array.dtype.type(0), array)
        return keep, self.rewriter.constant(f"{self.name}.rest", rest) if rest.any() else None

    def given(self, mask: Value) -> tuple[Value, Value | None]:
        """An input: what it hides, and the rest of it."""
        shown = self.emit(IntNot(), self.emit(IsFar(), mask, label="far"), label="near")
        return self.emit(Cast(mask.type.dtype), shown, label="keep"), self.emit(Shown(), mask, label="shown")

    def opposite(self, truth: Value) -> Value | None:
        """1 where truth is 0; None for a number that is not known to be truth, or what the host knows beforehand."""
        if _is_truth(truth):
            one = self.rewriter.constant(f"{self.name}.one", np.ones((), np.float32))
            return self.emit(Sub(), one, truth, label="keep")
        if not _of_inputs(truth):
            return None
        hidden = self.emit(Cast("bool"), truth, label="hidden")
        return self.emit(Cast(truth.type.dtype), self.emit(IntNot(), hidden, label="near"), label="keep")


def _is_truth(value: Value) -> bool:
    """Whether a value is 0 or 1 everywhere."""
    if value.is_constant:
        return bool(np.isin(value.array, (0, 1)).all())
    made = value.producer
    if made is None:
        return False
    if isinstance(made.op, Cast):
        return made.operands[0].type.dtype == "bool"
    if isinstance(made.op, Step):
        return True
    if isinstance(made.op, Sub | Add):
        inner = _opposed(made)
        return inner is not None and _is_truth(inner)
    return isinstance(made.op, Mul | Movement) and all(_is_truth(operand) for operand in made.operands)


def _opposed(node: Node) -> Value | None:
    """x of `1 - x`, written as a difference or as `-x + 1`; None for any other node."""
    one, x = node.operands if isinstance(node.op, Sub) else node.operands[::-1]
    if not one.is_constant or not bool((one.array == 1).all()):
        return None
    if isinstance(node.op, Sub):
        return x
    made = x.producer
    negated = made is not None and isinstance(made.op, Mul) and made.operands[1].is_constant
    return made.operands[0] if made is not None and negated and bool((made.operands[1].array == -1).all()) else None


def _of_inputs(value: Value) -> bool:
    """Whether the host knows a value before the network runs: inputs moved, cast, and computed with constants."""
    rest, seen = [value], {value}
    while rest:
        made = rest.pop().producer
        if made is None:
            continue
        if not isinstance(made.op, Movement | Cast | Add | Sub | Mul) and not made.op.host:
            return False
        fresh = set(made.operands) - seen
        seen |= fresh
        rest += fresh
    return True


def _is_nothing(value: Value) -> bool:
    """Whether a value is 0 everywhere: a constant, or a product with one."""
    if value.is_constant:
        return not value.array.any()
    made = value.producer
    return (
        made is not None
        and isinstance(made.op, Mul)
        and any(_is_nothing(operand) for operand in made.operands if operand.is_constant)
    )


def _chosen(scores: Value, mask: Value) -> Value:
    """Scores without the factor of a choice, `(1 - hidden) x`, whose 0 is hidden anyway."""
    made, other = scores.producer, mask.producer
    if made is None or not isinstance(made.op, Mul):
        return scores
    for keep, x in (made.operands, made.operands[::-1]):
        if x.type.shape != scores.type.shape or x.is_constant:
            continue
        if keep.is_constant and mask.is_constant:
            first, second = np.broadcast_arrays(keep.array, mask.array > FAR)
            return x if np.isin(first, (0, 1)).all() and ((first != 0) == second).all() else scores
        turned = keep.producer
        opposed = _opposed(turned) if turned is not None and isinstance(turned.op, Sub | Add) else None
        if opposed is not None and _is_truth(keep) and other is not None and opposed in other.operands:
            return x
    return scores
