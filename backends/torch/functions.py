"""Functions inside the network: their integers node by node, and the derivative of the real function that they stand for.

Integers are those of the IR's own ops. Backward, rounding is passed over (straight-through estimator): a floor division has the
derivatives of a quotient, a shift those of a power of two, a table the slope between its entries, and bits that are counted or
cut out have none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from snnir.backends.torch.registry import meaning_of
from snnir.backends.torch.straight_through import straight_through
from snnir.ir import Node, Op, Value
from snnir.ir import ops as ir

__all__ = ["FunctionLevels", "function_levels"]

_REALS: Mapping[type[Op], Callable[..., torch.Tensor]] = {
    ir.IntAdd: torch.add,
    ir.IntSub: torch.sub,
    ir.IntMul: torch.mul,
    ir.IntFloorDiv: lambda x, y: x / torch.where(y == 0, 1.0, y),
    ir.IntLeast: torch.minimum,
    ir.IntMost: torch.maximum,
    ir.IntShiftLeft: lambda x, y: x * torch.exp2(y.detach()),
    ir.IntShiftRight: lambda x, y: x * torch.exp2(-y.detach()),
    ir.IntSqrt: lambda x: x.clamp(min=1).sqrt(),
}
"""The real functions that have a derivative, beside tables, sums, extremes and data movement; other ops have none."""


@dataclass(frozen=True)
class FunctionLevels:
    """One result of a function."""

    levels: torch.Tensor
    """Within their bounds, int64."""
    smooth: torch.Tensor | None
    """Before the last rounding, float64 with gradients, not held in the bounds; None where no gradient is wanted."""


@dataclass(frozen=True)
class _Register:
    """The integers of a value, int64, and the same as float64 with gradients (None: they are not wanted)."""

    integers: torch.Tensor
    real: torch.Tensor | None


def function_levels(
    node: Node,
    operands: Sequence[torch.Tensor],
    reals: Sequence[torch.Tensor] | None,
    constants: Mapping[Value, torch.Tensor],
    sizes: Mapping[str, int],
) -> list[FunctionLevels]:
    """What a `function` node gives for complete levels and sums.

    `operands` hold integers, `reals` the same numbers (float64) where gradients are wanted, and `constants` the constants of the
    body.
    """
    op, body = node.expect(ir.Function), node.inner
    integers = [x.detach().to(torch.int64) for x in operands]
    given: Sequence[torch.Tensor | None] = reals if reals is not None else [None] * len(integers)
    registers = {value: _Register(whole, real) for value, whole, real in zip(body.inputs, integers, given, strict=True)}
    for value in body.constants:
        registers[value] = _Register(constants[value], None if reals is None else constants[value].double())
    unrounded: dict[Value, torch.Tensor] = {}
    for inner in body.nodes:
        bound = inner.op.bind(sizes)
        read = [registers[value] for value in inner.operands]
        (result,) = meaning_of(bound)(bound, *(each.integers for each in read))
        smooth = None if reals is None else _smooth(bound, read)
        if smooth is not None:
            unrounded[inner.output] = smooth
        exact = None if reals is None else result.double()
        registers[inner.output] = _Register(result, exact if smooth is None or exact is None else straight_through(smooth, exact))
    results = []
    for value, lo, hi in zip(body.outputs.values(), op.lo, op.hi, strict=True):
        register, made = registers[value], value.producer
        # a result that a shift ends was rounded half up by it: a half was added before
        shifted = made is not None and isinstance(made.op, ir.IntShiftRight) and value in unrounded
        results.append(FunctionLevels(register.integers.clamp(lo, hi), unrounded[value] - 0.5 if shifted else register.real))
    return results


def _smooth(op: Op, operands: Sequence[_Register]) -> torch.Tensor | None:
    """The real function of one op; None where it has no derivative."""
    reals = [each.real for each in operands if each.real is not None]
    if isinstance(op, ir.IntTable):
        index, table = operands[0].integers, operands[1].integers
        index = index.clamp(0, len(table) - 1)
        return (table[(index + 1).clamp(max=len(table) - 1)] - table[index]).double() * reals[0]
    if isinstance(op, ir.IntReduce) and op.function in ("sum", "max"):
        if not op.axes:
            return reals[0]
        return reals[0].sum(op.axes, op.keep) if op.function == "sum" else reals[0].amax(op.axes, op.keep)
    if isinstance(op, ir.Movement):
        (moved,) = meaning_of(op)(op, *reals)
        return moved
    return _REALS[type(op)](*reals) if type(op) in _REALS else None
