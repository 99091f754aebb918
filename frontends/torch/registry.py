"""Which function imports which operator of PyTorch, and what an fx node may stand for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from snnir.ir import Dimension, Shape
from snnir.ir.lowering import RefusalError

if TYPE_CHECKING:
    from snnir.frontends.torch.call import Call

__all__ = [
    "COMPLEX",
    "HANDLERS",
    "INTEGERS",
    "Entry",
    "RefusalError",
    "Spread",
    "Steps",
    "Unknown",
    "conditions",
    "find",
    "find_integers",
    "handler",
    "integer_handler",
    "operators",
]


@dataclass(frozen=True)
class Spread:
    """A known tensor that is the same along axes whose size follows from the input only: `array` has size 1 there."""

    array: torch.Tensor
    shape: Shape


@dataclass(frozen=True)
class Steps:
    """`start, start + step, ...` up to `stop`, which follows from the input only: the offsets of bags of one size."""

    start: Dimension
    stop: Dimension
    step: Dimension


@dataclass(frozen=True)
class Unknown:
    """Something that is no tensor of the graph; a node that takes it is refused for `reason`."""

    reason: str


Entry = Any
"""What an fx node stands for: a `Value`, a known `torch.Tensor`, a `Spread`, a size (int or `Dim`), a plain number, a list
of entries, a `Complex` value, `Steps`, an `Unknown`, or None where the node that gives it was refused.
"""

Handler = Callable[["Call"], Entry]


HANDLERS: dict[str, Handler] = {}
COMPLEX: dict[str, Handler] = {}
"""Handlers of operators that take complex numbers."""
INTEGERS: dict[str, Handler] = {}
"""Handlers of operators where a value that changes with the input holds integers, or truth that integers were compared for."""
_BECOMES: dict[str, tuple[str, ...]] = {}


def handler(operator: str, *becomes: str, real: bool = True, complex: bool = False) -> Callable[[Handler], Handler]:
    """Decorator: the function imports `operator` (`aten.conv1d`, any overload, or `aten.pow.Tensor_Scalar`), which becomes
    the named ops of the IR (none: it vanishes), where it takes real numbers, complex ones, or any of both.
    """

    def enter(function: Handler) -> Handler:
        for table in ((HANDLERS,) if real else ()) + ((COMPLEX,) if complex else ()):
            table[operator] = function
        _BECOMES.setdefault(operator, ())
        _BECOMES[operator] += tuple(op for op in becomes if op not in _BECOMES[operator])
        return function

    return enter


def integer_handler(operator: str, *becomes: str) -> Callable[[Handler], Handler]:
    """Decorator: the function imports `operator` where an operand that changes with the input has an integer type.

    What only integers have, such as a shift of bits, is registered as the operator's handler too.
    """

    def enter(function: Handler) -> Handler:
        INTEGERS[operator] = function
        HANDLERS.setdefault(operator, function)
        _BECOMES[operator] = tuple(dict.fromkeys((*_BECOMES.get(operator, ()), *becomes)))
        return function

    return enter


def find_integers(operator: str) -> Handler | None:
    """The handler of an operator on integers: of the overload, or of all overloads."""
    return INTEGERS.get(operator) or INTEGERS.get(operator.rsplit(".", 1)[0])


def find(operator: str, complex: bool = False) -> Handler | None:
    """The handler of an operator such as `aten.conv1d.default`: of the overload, or of all overloads."""
    table = COMPLEX if complex else HANDLERS
    return table.get(operator) or table.get(operator.rsplit(".", 1)[0])


def conditions() -> list[tuple[list[str], tuple[str, ...], bool, str]]:
    """Operators that become the same ops on the same conditions: their names, those ops, whether they take complex numbers, and
    the conditions, as their functions say them.
    """
    rows: dict[tuple[tuple[str, ...], bool, str], list[str]] = {}
    for operator, ops in sorted(_BECOMES.items()):
        if ops:
            said = _said(HANDLERS.get(operator) or COMPLEX[operator])
            if operator in INTEGERS and INTEGERS[operator] is not HANDLERS[operator]:
                said = f"{said} Of integers: {_said(INTEGERS[operator])}".strip()
            rows.setdefault((ops, operator in COMPLEX, said), []).append(operator)
    return [(names, *row) for row, names in rows.items()]


def _said(function: Handler) -> str:
    return " ".join((function.__doc__ or "").split())


def operators() -> dict[str, list[str]]:
    """For each op of the IR, the operators of PyTorch that become it."""
    table: dict[str, list[str]] = {}
    for operator, ops in sorted(_BECOMES.items()):
        for op in ops:
            table.setdefault(op, []).append(operator)
    return table
