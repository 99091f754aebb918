"""One node under import, as its handler sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import onnx

from snnir.frontends.onnx.model import FEW_BITS, finite, to_array
from snnir.frontends.onnx.registry import Known, Marker, RefusalError
from snnir.ir import Dim, Graph, Op, Shape, TensorType, Value
from snnir.ir.lowering.compose import static

if TYPE_CHECKING:
    from snnir.frontends.onnx.scope import Scope

__all__ = ["Call", "origin_of"]

_T = TypeVar("_T")


def origin_of(node: onnx.NodeProto) -> str:
    """The node in a user's words: operator and name, or first result where it has no name."""
    return f"{node.op_type} {node.name or next(iter(node.output), '')}"


class Call:
    """Operands, attributes and the graph that a handler adds to."""

    def __init__(
        self,
        graph: Graph,
        node: onnx.NodeProto,
        opset: int,
        operands: Sequence[Value | Known | Marker | None],
        constants: dict[str, Value],
        fixed_batch: int | None,
        used: set[str],
        scope: Scope,
    ) -> None:
        self.graph, self.node, self.opset = graph, node, opset
        self.operands = list(operands)
        self.fixed_batch = fixed_batch
        """The batch size that the model was exported with, where it is being generalised."""
        self.scope = scope
        """What the names around the node stand for, for nodes with a body."""
        self._constants, self._used = constants, used
        self._attributes = {attribute.name: attribute for attribute in node.attribute}
        self.origin = (origin_of(node),)

    @property
    def limits(self) -> Mapping[str, int]:
        """Upper ends of open sizes, by their names."""
        return self.graph.limits

    def attribute(self, name: str, default: object = None) -> object:
        """An attribute's value, lists as tuples, strings decoded, tensors as arrays."""
        if name not in self._attributes:
            return default
        value = onnx.helper.get_attribute_value(self._attributes[name])
        if isinstance(value, onnx.TensorProto):
            return finite(to_array(value), f"attribute {name} of {self.origin[0]}")
        if isinstance(value, bytes):
            return value.decode()
        if isinstance(value, str | int | float):
            return value
        return tuple(item.decode() if isinstance(item, bytes) else item for item in value)

    def body(self, name: str) -> onnx.GraphProto:
        """A graph attribute."""
        graph: onnx.GraphProto = self._attributes[name].g
        return graph

    def integer(self, name: str, default: int) -> int:
        """An integer attribute."""
        return int(self._of(name, default, int, "an integer"))

    def given_integer(self, name: str) -> int | None:
        """An integer attribute; None where it is not given."""
        return self.integer(name, 0) if name in self._attributes else None

    def number(self, name: str, default: float) -> float:
        """A real attribute."""
        return float(self._of(name, default, (int, float), "a number"))

    def integers(self, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
        """A list of integers."""
        return tuple(int(item) for item in self._of(name, default, tuple, "a list of integers"))

    def numbers(self, name: str) -> tuple[float, ...]:
        """A list of real numbers; none where the attribute is not given."""
        return tuple(float(item) for item in self._of(name, (), tuple, "a list of numbers"))

    def word(self, name: str, default: str) -> str:
        """A string attribute."""
        return str(self.attribute(name, default))

    def words(self, name: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        """A list of strings."""
        return tuple(str(item) for item in self._of(name, default, tuple, "a list of words"))

    def tensor(self, name: str, default: np.ndarray) -> np.ndarray:
        """A tensor attribute."""
        return self._of(name, default, np.ndarray, "a tensor")

    def _of(self, name: str, default: _T, kind: type[_T] | tuple[type[_T], ...], what: str) -> _T:
        """An attribute of one kind. Raises `RefusalError` for a file whose attribute is of another."""
        value = self.attribute(name, default)
        if not isinstance(value, kind):
            raise RefusalError(f"its attribute {name} is {value!r}, not {what}: the file is damaged")
        return value

    def has(self, index: int) -> bool:
        """Whether the operand is given."""
        return index < len(self.operands) and self.operands[index] is not None

    def value(self, index: int) -> Value:
        """An operand as a value of the graph; known tensors become constants."""
        operand = self.operands[index] if index < len(self.operands) else None
        if operand is None:
            raise RefusalError(f"operand {index} is missing")
        if isinstance(operand, Marker):
            raise RefusalError(operand.misuse())
        return operand if isinstance(operand, Value) else self.constant(self.node.input[index], operand)

    def either(self, index: int) -> Value | Known:
        """An operand, known or not. Raises `RefusalError` where it is missing or no tensor."""
        operand = self.operands[index] if index < len(self.operands) else None
        return operand if isinstance(operand, np.ndarray) else self.value(index)

    def constant(self, name: str, array: Known) -> Value:
        """A constant of the graph; the same name gives the same one."""
        if array.dtype.name in FEW_BITS:
            array = array.astype(np.int8)
        if self.scope.exact and array.dtype == np.float32:
            array = array.astype(np.float64)
        if array.dtype.kind not in "fiubU":
            raise RefusalError(f"{name} is known only up to named sizes ({array.tolist()}), and real numbers are needed")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise RefusalError(f"{name} holds NaN or infinite values, which no sum can take")
        known = self._constants.get(name)
        if known is None or (known.array is not array and not np.array_equal(known.array, array)):
            known = self._constants[name] = self.graph.constant(name, array)
        return known

    def array(self, label: str, array: np.ndarray) -> Value:
        """A constant of the graph, named after the node."""
        return self.constant(f"{self.name()}.{label}", array)

    def known(self, index: int, what: str) -> Known:
        """An operand that must be known while compiling. Raises `RefusalError` naming `what`."""
        operand = self.operands[index] if index < len(self.operands) else None
        if not isinstance(operand, np.ndarray):
            raise RefusalError(f"{what} changes with the input; it must be constant")
        return operand

    def known_integers(self, index: int, what: str) -> tuple[int, ...]:
        """A known tensor of plain integers, flat."""
        array = self.known(index, what)
        if any(isinstance(item, Dim) for item in array.reshape(-1).tolist()):
            raise RefusalError(f"{what} depends on a size that is known only at run time ({array.tolist()})")
        return tuple(int(item) for item in array.reshape(-1))

    def type(self, index: int) -> TensorType:
        """The type of an operand."""
        return self.value(index).type

    def axis(self, axis: int, rank: int) -> int:
        """A non-negative axis."""
        if not -rank <= axis < rank:
            raise RefusalError(f"axis {axis} of a value with {rank} axes")
        return axis % rank

    def wants(self, output: int) -> bool:
        """Whether anything takes the output."""
        return output < len(self.node.output) and self.node.output[output] in self._used

    def emit(self, op: Op, *operands: Value, output: int = 0, label: str = "") -> Value:
        """Add a node. With a `label` it is an auxiliary one; without, it carries the ONNX output's name."""
        return self.emit_all(op, *operands, names=(self.name(output, label),))[0]

    def emit_all(self, op: Op, *operands: Value, names: Sequence[str]) -> tuple[Value, ...]:
        """Add a node with several results."""
        return self.graph.add(op, *operands, names=names, origin=self.origin)

    def name(self, output: int = 0, label: str = "") -> str:
        """The name of an ONNX output, or of something on the way to it."""
        name = self.node.output[output] if output < len(self.node.output) else ""
        base = name or f"{self.node.output[0]}.{output}"
        return f"{base}.{label}" if label else base

    def static(self, shape: Shape, what: str) -> tuple[int, ...]:
        """`shape` as plain integers. Raises `RefusalError` naming `what`."""
        return static(shape, what)
