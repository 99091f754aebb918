"""Which function imports which operator of PyTorch, and what an fx node may stand for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from snnir.ir import Shape
from snnir.ir.lowering import RefusalError

if TYPE_CHECKING:
    from snnir.frontends.torch.call import Call

__all__ = ["HANDLERS", "Entry", "RefusalError", "Spread", "Unknown", "find", "handler", "operators"]


@dataclass(frozen=True)
class Spread:
    """A known tensor that is the same along axes whose size only the input tells: `array` has size 1 there."""

    array: torch.Tensor
    shape: Shape


@dataclass(frozen=True)
class Unknown:
    """Something that is no tensor of the graph; a node that takes it is refused for `reason`."""

    reason: str


Entry = Any
"""What an fx node stands for: a `Value`, a known `torch.Tensor`, a `Spread`, a size (int or `Dim`), a plain number, a list
of entries, an `Unknown`, or None where the node that gives it was refused.
"""

Handler = Callable[["Call"], Entry]


HANDLERS: dict[str, Handler] = {}
_BECOMES: dict[str, tuple[str, ...]] = {}


def handler(operator: str, *becomes: str) -> Callable[[Handler], Handler]:
    """Decorator: the function imports `operator` (`aten.conv1d`, any overload, or `aten.pow.Tensor_Scalar`), which becomes
    the named ops of the IR (none: it vanishes).
    """

    def enter(function: Handler) -> Handler:
        HANDLERS[operator] = function
        _BECOMES[operator] = becomes
        return function

    return enter


def find(operator: str) -> Handler | None:
    """The handler of an operator such as `aten.conv1d.default`: of the overload, or of all overloads."""
    return HANDLERS.get(operator) or HANDLERS.get(operator.rsplit(".", 1)[0])


def operators() -> dict[str, list[str]]:
    """For each op of the IR, the operators of PyTorch that become it."""
    table: dict[str, list[str]] = {}
    for operator, ops in sorted(_BECOMES.items()):
        for op in ops:
            table.setdefault(op, []).append(operator)
    return table
