"""The graph: values, nodes and a builder that keeps types, order and uses true.

A graph only grows: passes build a new graph from an old one (`snnir.ir.rewrite`), so that topological order, uses and
types hold at every moment and nothing needs repair afterwards.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar, overload

import numpy as np

from snnir.errors import GraphError, SizeError
from snnir.html import section, table
from snnir.ir.op import FLOAT, LEVELS, Op
from snnir.ir.types import TensorType, dtype_of

__all__ = ["Graph", "Node", "Value"]

_A = TypeVar("_A", bound=Op)
_B = TypeVar("_B", bound=Op)
_C = TypeVar("_C", bound=Op)
_D = TypeVar("_D", bound=Op)


class Value:
    """One tensor of a graph: an input, a constant (`data` is set) or a result of `producer`."""

    __slots__ = ("data", "digest_", "index", "name", "producer", "type", "uses")

    def __init__(
        self, name: str, type_: TensorType, producer: Node | None = None, index: int = 0, data: np.ndarray | None = None
    ) -> None:
        self.name = name
        self.type = type_
        self.producer = producer
        self.index = index
        self.data = data
        self.uses: list[tuple[Node | None, int]] = []
        self.digest_: str | None = None

    def __repr__(self) -> str:
        return f"<Value {self.name} {self.type}>"

    @property
    def is_constant(self) -> bool:
        """Whether the value is known while compiling."""
        return self.data is not None

    @property
    def array(self) -> np.ndarray:
        """A constant's data (read-only). Raises `GraphError` for any other value."""
        if self.data is None:
            raise GraphError(f"value {self.name} is not a constant")
        return self.data

    @property
    def node(self) -> Node:
        """The node that gives the value. Raises `GraphError` for inputs and constants."""
        if self.producer is None:
            raise GraphError(f"value {self.name} is an input or a constant; no node gives it")
        return self.producer

    @property
    def digest(self) -> str:
        """The first 16 hex digits of the SHA-256 of a constant's dtype, shape and bytes."""
        if self.digest_ is None:
            array = np.ascontiguousarray(self.array)
            content = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
            content.update(array.data if array.size else b"")
            self.digest_ = content.hexdigest()[:16]
        return self.digest_

    @property
    def users(self) -> list[Node]:
        """Nodes that take this value, each once, in order of use (graph outputs are not nodes)."""
        return list(dict.fromkeys(node for node, _ in self.uses if node is not None))


class Node:
    """One op applied to values. `origin` names the nodes or modules of the user's model that it came from."""

    __slots__ = ("body", "op", "operands", "origin", "outputs")

    def __init__(self, op: Op, operands: tuple[Value, ...], origin: tuple[str, ...], body: Graph | None) -> None:
        self.op = op
        self.operands = operands
        self.origin = origin
        self.body = body
        self.outputs: tuple[Value, ...] = ()

    def __repr__(self) -> str:
        return f"<Node {', '.join(value.name for value in self.outputs)} = {self.op.name}>"

    @property
    def output(self) -> Value:
        """The only output. Raises `GraphError` where there are several."""
        if len(self.outputs) != 1:
            raise GraphError(f"{self!r} has {len(self.outputs)} outputs")
        return self.outputs[0]

    @property
    def inner(self) -> Graph:
        """The body graph. Raises `GraphError` where there is none."""
        if self.body is None:
            raise GraphError(f"{self.describe()} (op {self.op.name}) has no body")
        return self.body

    @overload
    def expect(self, op: type[_A], /) -> _A: ...

    @overload
    def expect(self, op: type[_A], other: type[_B], /) -> _A | _B: ...

    @overload
    def expect(self, op: type[_A], other: type[_B], third: type[_C], /) -> _A | _B | _C: ...

    @overload
    def expect(self, op: type[_A], other: type[_B], third: type[_C], fourth: type[_D], /) -> _A | _B | _C | _D: ...

    def expect(self, *ops: type[Op]) -> Op:
        """The op, which is of one of the classes `ops`. Raises `GraphError` naming the node where it is not."""
        if not isinstance(self.op, ops):
            known = ", ".join(op.name if hasattr(op, "name") else op.__name__ for op in ops)
            raise GraphError(f"{self.describe()} is {self.op.name}; only {known} can stand there")
        return self.op

    def describe(self) -> str:
        """The node in a user's words: its origin where it has one, else its op and result."""
        return ", ".join(self.origin) if self.origin else f"{self.op.name} node {self.outputs[0].name!r}"


class Graph:
    """Nodes in topological order, with named inputs, outputs and constants.

    A graph is closed: nodes take only its own values. A node with a body graph (`scan`) hands its operands to the
    body's inputs.
    """

    def __init__(self, name: str, level: str = FLOAT, after: str = "", notes: Sequence[str] = ()) -> None:
        if level not in LEVELS:
            raise GraphError(f"unknown level {level!r}; known: {', '.join(LEVELS)}")
        self.name = name
        self.level = level
        self.after = after
        self.notes: list[str] = list(notes)
        self.finite: set[str] = set()
        """Inputs that the import took for finite when it answered a question for NaN or infinities."""
        self.limits: dict[str, int] = {}
        """Upper ends of open sizes of inputs, by their names: what adds up or chooses over them counts on no more elements."""
        self.groups: dict[str, tuple[int, int]] = {}
        """Inputs and outputs of a model whose samples belong together in groups, each of which is one sample of the graph: the
        axis along which users' samples stand, and how many make a group (0: the input is the same for all)."""
        self.fixed_batch: dict[str, int] = {}
        """Where an import could not open the batch that its model was exported with: the axis of each input that has it."""
        self.stacked: set[str] = set()
        """Inputs of a model without a batch there, whose samples the import stacked along an axis in front of the model's own."""
        self.inputs: list[Value] = []
        self.nodes: list[Node] = []
        self.constants: list[Value] = []
        self._outputs: dict[str, Value] = {}
        self._values: dict[str, Value] = {}
        self._suffix: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<Graph {self.name} level={self.level}: {len(self.nodes)} nodes>"

    def _repr_html_(self) -> str:
        """The nodes as a table, for notebooks; the inner ones of scans stand behind them, indented."""
        rows: list[list[object]] = []

        def enter(graph: Graph, depth: int) -> None:
            for node in graph.nodes:
                names = ", ".join(value.name for value in node.outputs)
                types = ", ".join(str(value.type) for value in node.outputs)
                rows.append(["\u2003" * depth + node.op.name, names, types, ", ".join(node.origin)])
                if node.body is not None:
                    enter(node.body, depth + 1)

        enter(self, 0)
        inputs = ", ".join(f"{value.name} {value.type}" for value in self.inputs)
        said = f"inputs: {inputs}; outputs: {', '.join(self.outputs)}"
        return section(f"graph {self.name}, {self.level} level", said, table(("op", "value", "type", "from"), rows))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Graph) and self._key() == other._key()

    __hash__ = None  # type: ignore[assignment]

    def _key(self) -> tuple[object, ...]:
        return (
            (self.name, self.level, self.after, tuple(self.notes)),
            (tuple(sorted(self.finite)), tuple(sorted(self.limits.items())), tuple(sorted(self.groups.items()))),
            tuple((value.name, value.type) for value in self.inputs),
            tuple((value.name, value.type, value.digest) for value in self.constants),
            tuple(
                (
                    node.op,
                    tuple(value.name for value in node.operands),
                    tuple((value.name, value.type) for value in node.outputs),
                    node.origin,
                    node.body._key() if node.body is not None else None,
                )
                for node in self.nodes
            ),
            tuple((name, value.name) for name, value in self._outputs.items()),
        )

    @property
    def outputs(self) -> Mapping[str, Value]:
        """Values by the names under which the graph gives them out, in order."""
        return self._outputs

    @property
    def values(self) -> Mapping[str, Value]:
        """Every value by its unique name."""
        return self._values

    def walk(self) -> Iterator[tuple[Graph, Node]]:
        """Every node with the graph that holds it, bodies included, in order."""
        for node in self.nodes:
            yield self, node
            if node.body is not None:
                yield from node.body.walk()

    def parameter_count(self) -> int:
        """The number of elements of all constants, bodies included."""
        return sum(value.array.size for value in self.constants) + sum(
            node.body.parameter_count() for node in self.nodes if node.body is not None
        )

    def owns(self, value: Value) -> bool:
        """Whether the value is one of this graph's."""
        return self._values.get(value.name) is value

    def _enter(self, value: Value, name: str) -> Value:
        unique, base = name, name
        while unique in self._values or not unique:
            self._suffix[base] = self._suffix.get(base, 0) + 1
            unique = f"{base or 'v'}.{self._suffix[base]}"
        value.name = unique
        self._values[unique] = value
        return value

    def input(self, name: str, type_: TensorType) -> Value:
        """Add an input; returns its value. The name must be new."""
        if name in self._values:
            raise GraphError(f"graph {self.name} has two values called {name!r}")
        _bounded(type_, f"input {name}")
        value = self._enter(Value(name, type_), name)
        self.inputs.append(value)
        return value

    def constant(self, name: str, array: np.ndarray) -> Value:
        """Add a constant (kept read-only, C order); the name is made unique."""
        array = np.asarray(array, order="C")
        if array.dtype.kind == "U":  # of the least width, so that the same words have the same digest
            array = np.array(array.reshape(-1).tolist(), np.str_).reshape(array.shape)
        if array.flags.writeable:
            array = array.view()
            array.flags.writeable = False
        value = self._enter(Value(name, TensorType(array.shape, dtype_of(array)), data=array), name)
        self.constants.append(value)
        return value

    def add(
        self,
        op: Op,
        *operands: Value,
        names: Sequence[str] = (),
        origin: Sequence[str] = (),
        body: Graph | None = None,
    ) -> tuple[Value, ...]:
        """Add a node and return its results, typed by the op.

        `names` are proposed result names (made unique). Raises `GraphError` where operands are foreign to this graph
        or do not fit the op.
        """
        least, most = op.arity()
        if len(operands) < least or (most is not None and len(operands) > most):
            raise GraphError(f"{op.name} takes {_count(least, most)} operands ({', '.join(op.operands)}), not {len(operands)}")
        for value in operands:
            if not self.owns(value):
                raise GraphError(f"{op.name}: operand {value.name!r} does not belong to graph {self.name}")
        node = Node(op, tuple(operands), tuple(dict.fromkeys(origin)), body)
        try:
            types = op.body_types([value.type for value in operands], body)
        except GraphError as error:
            taken = ", ".join(f"{value.name} {value.type}" for value in operands)
            message = f"{', '.join(node.origin) or op.name}: {error} (op {op.name} on {taken})"
            raise (SizeError(message, error.equal) if isinstance(error, SizeError) else GraphError(message)) from error
        for type_ in types:
            _bounded(type_, ", ".join(node.origin) or op.name)
        return self._append(node, types, names)

    def copy(self, node: Node, operands: Sequence[Value], body: Graph | None = None) -> tuple[Value, ...]:
        """`add` a node of another graph as it is, on operands of this one, and with `body` in place of its own.

        Results have the types of the old ones where operands have those of the old operands, and there is no body:
        an op's types follow from those alone. Anything else is typed anew. Raises `GraphError` as `add` does.
        """
        names = [value.name for value in node.outputs]
        same = len(operands) == len(node.operands) and all(
            value.type is old.type or value.type == old.type for value, old in zip(operands, node.operands, strict=True)
        )
        if node.body is not None or body is not None or not same:
            return self.add(node.op, *operands, names=names, origin=node.origin, body=body)
        for value in operands:
            if not self.owns(value):
                raise GraphError(f"{node.op.name}: operand {value.name!r} does not belong to graph {self.name}")
        return self._append(Node(node.op, tuple(operands), node.origin, None), [value.type for value in node.outputs], names)

    def _append(self, node: Node, types: Sequence[TensorType], names: Sequence[str]) -> tuple[Value, ...]:
        """Enter a node whose results have `types`."""
        outputs = []
        for index, type_ in enumerate(types):
            name = names[index] if index < len(names) else f"{names[0]}.{index}" if names else node.op.name
            outputs.append(self._enter(Value(name, type_, node, index), name))
        node.outputs = tuple(outputs)
        for position, value in enumerate(node.operands):
            value.uses.append((node, position))
        self.nodes.append(node)
        return node.outputs

    def add1(self, op: Op, *operands: Value, name: str = "", origin: Sequence[str] = ()) -> Value:
        """`add` for an op with one result; returns that."""
        (value,) = self.add(op, *operands, names=(name or op.name,), origin=origin)
        return value

    def output(self, name: str, value: Value) -> None:
        """Give `value` out under `name`."""
        if not self.owns(value):
            raise GraphError(f"output {name!r}: value {value.name!r} does not belong to graph {self.name}")
        if name in self._outputs:
            raise GraphError(f"graph {self.name} has two outputs called {name!r}")
        self._outputs[name] = value
        value.uses.append((None, len(self._outputs) - 1))


LARGEST = 1 << 28
"""No value has more elements, its open sizes (the batch) left out: what has is a damaged file, and would fill the memory."""


def _bounded(type_: TensorType, what: str) -> None:
    count = math.prod(size for size in type_.shape if isinstance(size, int))
    if count > LARGEST:
        raise GraphError(f"{what}: a value of {type_} has {count} elements, and no more than {LARGEST} are supported")


def _count(least: int, most: int | None) -> str:
    return f"{least} or more" if most is None else str(least) if least == most else f"{least} to {most}"
