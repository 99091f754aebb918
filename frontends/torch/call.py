"""One fx node under import, as its handler sees it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from snnir.frontends.torch.complex_value import Complex
from snnir.frontends.torch.registry import Entry, RefusalError, Spread, Unknown
from snnir.ir import Dim, Dimension, Graph, Op, Shape, TensorType, Value
from snnir.ir.lowering.compose import static
from snnir.ir.ops import Expand
from snnir.ir.types import DTYPES

if TYPE_CHECKING:
    from snnir.frontends.torch.scope import Scope

__all__ = ["Call", "to_array"]


def to_array(tensor: torch.Tensor, what: str) -> np.ndarray:
    """A known tensor as an array that a graph can hold. Raises `RefusalError` for complex or non-finite numbers."""
    tensor = tensor.detach().to("cpu")
    if tensor.dtype in (torch.float16, torch.bfloat16):
        tensor = tensor.float()
    if tensor.is_complex() or tensor.is_quantized:
        raise RefusalError(f"{what} holds {tensor.dtype}; only real numbers are imported")
    array: np.ndarray = tensor.resolve_neg().contiguous().numpy()
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise RefusalError(f"{what} holds numbers that are not finite")
    return array


class Call:
    """Arguments by their names in the operator's schema, and the graph that a handler adds to."""

    def __init__(self, scope: Scope, node: torch.fx.Node, arguments: Mapping[str, Entry], origin: str) -> None:
        self.scope, self.node, self.arguments = scope, node, arguments
        self.origin = (origin,)
        self.part = ""
        """Which part of the node's result is under construction, where it is a pair of values."""

    @property
    def graph(self) -> Graph:
        """The graph under construction."""
        return self.scope.graph

    @property
    def limits(self) -> Mapping[str, int]:
        """Upper ends of open sizes, by their names."""
        return self.scope.graph.limits

    @property
    def target(self) -> str:
        """The operator with its overload, `aten.conv1d.default`."""
        return str(self.node.target)

    def has(self, name: str) -> bool:
        """Whether the argument is given and not None."""
        return self.arguments.get(name) is not None

    def given(self, name: str) -> Entry:
        """An argument as it stands."""
        return self.arguments[name]

    def integer(self, name: str, default: int = 0) -> int:
        """An integer argument. Raises `RefusalError` where it changes with the input."""
        entry = self.arguments.get(name)
        if entry is None:
            return default
        if isinstance(entry, Dim | Value):
            raise RefusalError(f"{name} is {entry}, which is known only at run time")
        return int(entry)

    def number(self, name: str, default: float = 0.0) -> float:
        """A real argument. Raises `RefusalError` where it changes with the input."""
        entry = self.arguments.get(name)
        if entry is None:
            return default
        if isinstance(entry, torch.Tensor) and entry.numel() == 1:
            return float(entry)
        if not isinstance(entry, int | float):
            raise RefusalError(f"{name} changes with the input; it must be constant")
        return float(entry)

    def flag(self, name: str) -> bool:
        """A boolean argument, False where it is not given."""
        return bool(self.arguments.get(name))

    def sizes(self, name: str) -> list[Dimension]:
        """A list of sizes, which may hold named ones."""
        entry = self.arguments[name]
        return [self._size(name, item) for item in (entry if isinstance(entry, list | tuple) else [entry])]

    def _size(self, name: str, item: Entry) -> Dimension:
        if isinstance(item, torch.Tensor) and item.numel() == 1:
            return int(item)
        if not isinstance(item, int | Dim):
            raise RefusalError(f"{name} depends on the values of the input")
        return item

    def integers(self, name: str) -> tuple[int, ...]:
        """A list of plain integers; none where it is not given."""
        if self.arguments.get(name) is None:
            return ()
        return self.static(tuple(self.sizes(name)), name)

    def value(self, name: str) -> Value:
        """A tensor argument as a value of the graph. Known tensors become constants."""
        return self.as_value(self.arguments.get(name), name)

    def values(self, name: str) -> list[Value]:
        """A list of tensors."""
        return [self.as_value(item, name) for item in self.arguments[name]]

    def as_value(self, entry: Entry, name: str) -> Value:
        """An entry as a value of the graph. Raises `RefusalError` for what is no tensor."""
        if isinstance(entry, Value):
            return entry
        if isinstance(entry, Unknown):
            raise RefusalError(entry.reason)
        if isinstance(entry, Spread):
            constant = self.constant(name, entry.array)
            return self.graph.add1(Expand(entry.shape), constant, name=self.name(name), origin=self.origin)
        if isinstance(entry, torch.Tensor):
            return self.constant(name, entry)
        if isinstance(entry, Complex):
            raise RefusalError(f"its {name} holds complex numbers; take their real and imaginary parts with torch.view_as_real")
        if isinstance(entry, int | float):
            return self.scalar(name, float(entry))
        raise RefusalError(f"its {name} is no tensor ({entry})")

    def constant(self, name: str, tensor: torch.Tensor) -> Value:
        """A constant of the graph; the same tensor gives the same one."""
        return self.scope.constant(tensor, self.name(name))

    def array(self, label: str, array: np.ndarray) -> Value:
        """A constant of the graph, named after the node."""
        return self.graph.constant(self.name(label), np.array(array, order="C"))

    def scalar(self, name: str, number: float) -> Value:
        """A number as a constant, of the element type of the node's result."""
        if not math.isfinite(number):
            raise RefusalError(f"{name} is {number}")
        kind = "f64" if getattr(self.node.meta.get("val"), "dtype", None) in (torch.float64, torch.complex128) else "f32"
        return self.array(name, np.array(number, DTYPES[kind]))

    def known(self, name: str, what: str) -> torch.Tensor:
        """A tensor argument that must be known while importing. Raises `RefusalError` naming `what`."""
        entry = self.arguments.get(name)
        if not isinstance(entry, torch.Tensor):
            raise RefusalError(f"{what} changes with the input; it must be constant")
        return entry

    def type(self, name: str) -> TensorType:
        """The type of a tensor argument."""
        return self.value(name).type

    def axis(self, axis: int, rank: int) -> int:
        """A non-negative axis."""
        if not -rank <= axis < rank:
            raise RefusalError(f"axis {axis} of a value with {rank} axes")
        return axis % rank

    def axes(self, name: str) -> tuple[int, ...]:
        """The axes of `self` that an argument lists, sorted; all where it is not given."""
        rank = self.type("self").rank
        given = self.integers(name) if name in self.arguments else ()
        return tuple(sorted({self.axis(axis, rank) for axis in given or range(rank)}))

    def wants(self, place: int) -> bool:
        """Whether anything takes result `place` of a node with several."""
        return any(user.users for user in self.node.users if user.args[1] == place)

    def static(self, shape: Shape, what: str) -> tuple[int, ...]:
        """`shape` as plain integers. Raises `RefusalError` naming `what`."""
        return static(shape, what)

    def emit(self, op: Op, *operands: Value, label: str = "") -> Value:
        """Add a node. With a `label` it is an auxiliary one; without, it carries the fx node's name."""
        return self.emit_all(op, *operands, names=(self.name(label),))[0]

    def emit_all(self, op: Op, *operands: Value, names: Sequence[str], body: Graph | None = None) -> tuple[Value, ...]:
        """Add a node with several results."""
        return self.graph.add(op, *operands, names=names, origin=self.origin, body=body)

    def name(self, label: str = "") -> str:
        """The fx node's name, or that of something on the way to it."""
        return ".".join(word for word in (str(self.node.name), self.part, label) if word)
