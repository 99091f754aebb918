"""The walk over the nodes of an ONNX graph or of a body inside one: every node is folded, imported or refused by name.

A scope holds what the names of one ONNX graph stand for. A body sees the names of the graphs around it. A node of a body
that takes nothing of its own body computes the same for every element, so it is imported into the graph around it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import onnx

from snnir.errors import GraphError, ModelError, Refusal, SnnirError, unforeseen
from snnir.frontends.onnx.call import Call, origin_of
from snnir.frontends.onnx.fold import chosen, fold
from snnir.frontends.onnx.refused import DRAWN, advice, reason_of
from snnir.frontends.onnx.registry import (
    DOMAINS,
    FAMILIAR,
    HANDLERS,
    INTEGERS,
    QUANTIZING,
    WORDS,
    Known,
    Marker,
    RefusalError,
    Result,
)
from snnir.frontends.onnx.sequences import LISTS, sequence_node
from snnir.frontends.onnx.stored import Stored
from snnir.frontends.onnx.subgraph_names import captured_names, subgraphs_of
from snnir.ir import Graph, TensorType, Value
from snnir.ir.lowering.finite import Questions
from snnir.ir.lowering.sizes import SizesForcedError, forced, open_sizes
from snnir.ir.ops import Cast, Movement

__all__ = ["Entry", "Scope", "import_nodes"]

PIPELINES = "ai.onnx.ml"
"""The domain of ONNX's operators for classical pipelines."""

Entry = Value | Known | Marker | None
"""What a name stands for; None where the node that gives it was refused."""


class Scope:
    """Names of one ONNX graph, and the graph of the IR that its nodes become part of.

    `parent` is the scope around a body. A body with a graph of its own takes values of the graphs around it as `shared`
    inputs, one for each.
    """

    def __init__(
        self,
        graph: Graph,
        opset: int,
        fixed_batch: int | None,
        used: set[str],
        parent: Scope | None = None,
    ) -> None:
        self.graph, self.opset, self.fixed_batch, self.used, self.parent = graph, opset, fixed_batch, used, parent
        self.names: dict[str, Entry] = {}
        self.constants: dict[str, Value] = {}
        self.whole: set[Value] = set()
        """Values that hold whole numbers, such as tokens."""
        self.flags: set[Value] = set() if parent is None else parent.flags
        """Values that hold truth: 1, or 0 for falsehood."""
        self.narrow: dict[str, int] = {} if parent is None else parent.narrow
        """ONNX's element types of inputs and constants that are stored in others than they are read as, by name."""
        self.exact: bool = parent is not None and parent.exact
        """Whether constants are kept in float64, so that the scales of a quantized model stay what the file says."""
        self.stored: dict[Value, Stored] = {} if parent is None else parent.stored
        """The real values of what the file stores as integers."""
        self.host_stored: dict[Value, str] = {} if parent is None else parent.host_stored
        """What the host quantizes in a way that levels cannot have, and why no network takes it as real numbers."""
        self.questions: Questions = Questions() if parent is None else parent.questions
        """What becomes of questions for NaN and infinities."""
        self.open_sizes: frozenset[str] = frozenset() if parent is None else parent.open_sizes
        """Open sizes of the model's inputs, the batch left out, that may turn out to be numbers."""
        self.shared: dict[Value, Value] = {}
        """For each value of the graph around that the body takes: the body's input."""
        self.hoisted: dict[str, list[Entry]] = {}
        """Results of nodes of the body that were imported into a graph around it, by their first output."""

    @property
    def depth(self) -> int:
        """How many scopes are around this one."""
        return 0 if self.parent is None else self.parent.depth + 1

    def find(self, name: str) -> Entry:
        """What `name` stands for, here or around. Raises `KeyError`."""
        if name in self.names:
            return self.names[name]
        if self.parent is None:
            raise KeyError(name)
        return self.parent.find(name)

    def note(self, text: str) -> None:
        """Say `text` once in the notes of the model's graph."""
        scope = self
        while scope.parent is not None:
            scope = scope.parent
        if text not in scope.graph.notes:
            scope.graph.notes.append(text)

    def holds_truth(self, value: Value) -> bool:
        """Whether the value holds truth, its elements perhaps moved."""
        while value.producer is not None and isinstance(value.producer.op, Movement):
            if value in self.flags:
                return True
            value = value.producer.operands[0]
        return value in self.flags

    def owns(self, value: Value) -> bool:
        """Whether the value belongs to this scope's graph."""
        return self.graph.values.get(value.name) is value

    def holds_whole(self, value: Value) -> bool:
        """Whether the value holds whole numbers, its elements perhaps moved."""
        while value.producer is not None and isinstance(value.producer.op, Movement):
            if value in self.whole:
                return True
            value = value.producer.operands[0]
        return value in self.whole

    def host_quantized(self, value: Value) -> str:
        """Why a quantized operator cannot take the value, its elements perhaps moved or cast; empty where it can."""
        while value not in self.host_stored:
            if value.producer is None or not isinstance(value.producer.op, Movement | Cast):
                return ""
            value = value.producer.operands[0]
        return self.host_stored[value]

    def capture(self, value: Value) -> Value:
        """A value of this graph or one around, as a value of this graph."""
        if self.owns(value):
            return value
        assert self.parent is not None
        outer = self.parent.capture(value)
        if self.parent.graph is self.graph:
            return outer
        if outer not in self.shared:
            self.shared[outer] = self.new_input(outer.name, outer.type)
        return self.shared[outer]

    def new_input(self, name: str, type_: TensorType) -> Value:
        """An input of this scope's graph under a name that is not taken."""
        unique, number = name, 0
        while unique in self.graph.values:
            number += 1
            unique = f"{name}.{number}"
        return self.graph.input(unique, type_)

    def home(self, values: Sequence[Value]) -> Scope:
        """The outermost scope whose graph can compute with all of `values`: where the innermost of them belongs."""
        scope = self
        while scope.parent is not None and not any(scope.owns(value) for value in values):
            scope = scope.parent
        return scope

    def call(self, node: onnx.NodeProto, operands: Sequence[Entry]) -> Call:
        """The node with its operands as values of this scope's graph."""
        taken: list[Entry] = []
        for operand in operands:
            if isinstance(operand, Marker) and not subgraphs_of(node):
                raise RefusalError(operand.misuse())
            taken.append(self.capture(operand) if isinstance(operand, Value) else operand)
        if self.fixed_batch is not None and node.op_type in _SPREADING:
            taken = _one_for_all(taken, self.fixed_batch)
        return Call(self.graph, node, self.opset, taken, self.constants, self.fixed_batch, self.used, self)

    def special(self, node: onnx.NodeProto, operands: Sequence[Entry]) -> Sequence[Entry] | None:
        """Results of nodes that mean something of their own in this scope, or make or take lists; None for all others."""
        if node.op_type not in LISTS and not any(isinstance(operand, Marker) for operand in operands):
            return None
        if subgraphs_of(node):
            return None
        tensors = [None if isinstance(operand, Marker) else operand for operand in operands]
        return sequence_node(self.call(node, tensors), operands)


_SPREADING = ("Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "Sum", "Mean", "Where", "PRelu", "Equal", "Less", "Greater")


def _one_for_all(operands: Sequence[Entry], fixed: int) -> list[Entry]:
    """Known operands that repeat one row for every sample of the batch that was exported, with that row alone."""
    rank = max(_rank(operand) for operand in operands)
    places = {
        operand.type.batch_axis - operand.type.rank
        for operand in operands
        if isinstance(operand, Value) and operand.type.batch_axis is not None
    }
    if len(places) != 1:
        return list(operands)
    (place,) = places
    found: list[Entry] = []
    for operand in operands:
        if isinstance(operand, np.ndarray) and rank >= operand.ndim >= -place and operand.shape[place] == fixed:
            row = operand.take([0], place)
            operand = row if (operand == row).all() else operand
        found.append(operand)
    return found


def _rank(operand: Entry) -> int:
    return operand.type.rank if isinstance(operand, Value) else operand.ndim if isinstance(operand, np.ndarray) else 0


def import_nodes(scope: Scope, nodes: Iterable[onnx.NodeProto]) -> list[Refusal]:
    """Import `nodes`, entering their results in `scope`; what was refused.

    Raises `ModelError` where a name stands for nothing.
    """
    refused: list[Refusal] = []
    for node in nodes:
        try:
            operands = [scope.find(name) if name else None for name in node.input]
            around = [scope.find(name) for name in captured_names(node)]
        except KeyError as error:
            raise ModelError(f"{node.op_type} {node.name}: nothing gives {error.args[0]}") from None
        given = [operand for name, operand in zip(node.input, operands, strict=True) if name]
        results: Sequence[Entry] = ()
        if any(entry is None for entry in (*given, *around)):
            # what it takes was refused: one line for the cause is enough
            if node.op_type not in HANDLERS:
                refused.append(_line(node, reason_of(node.op_type, node.domain)))
        else:
            try:
                results = _results(scope, node, operands)
            except (RefusalError, GraphError) as error:
                sizes = forced(error, scope.open_sizes)
                if sizes:
                    raise SizesForcedError(sizes, origin_of(node)) from error
                about = open_sizes(operands) | getattr(error, "sizes", frozenset())
                refused.append(_line(node, str(error), about & scope.open_sizes))
            except (SnnirError, SizesForcedError):
                raise
            except Exception as error:  # a file may hold anything, and one node must not hide what becomes of the others
                reason, trace = unforeseen(error)
                refused.append(_line(node, reason, open_sizes(operands) & scope.open_sizes, trace))
        for index, output in enumerate(node.output):
            if output:
                scope.names[output] = results[index] if index < len(results) else None
    return refused


def _results(scope: Scope, node: onnx.NodeProto, operands: Sequence[Entry]) -> Sequence[Entry]:
    if node.domain not in ("", "ai.onnx", PIPELINES) and node.op_type not in DOMAINS.get(node.domain, ()):
        raise RefusalError(f"operator of domain {node.domain!r}, which is not ONNX's own; {advice(node.op_type)}")
    special = scope.special(node, operands)
    if special is not None:
        return special
    if node.op_type == "Constant" or subgraphs_of(node) or (node.op_type in QUANTIZING and _all_known(operands)):
        return _handled(scope.call(node, operands))
    given = [operand for operand in operands if operand is not None]
    if given and all(isinstance(operand, np.ndarray) for operand in given) and not _stays(node, operands):
        return list(fold(scope.call(node, operands)))
    if node.op_type == "Where" and not any(isinstance(operand, Marker) for operand in given):
        choice = chosen(scope.call(node, operands))
        if choice is not None:
            return [choice]
    home = scope.home([operand for operand in given if isinstance(operand, Value)])
    if home is scope or any(isinstance(operand, Marker) for operand in given):
        return _handled(scope.call(node, operands))
    key = next(name for name in node.output if name)
    if key not in scope.hoisted:
        scope.hoisted[key] = list(_handled(home.call(node, operands)))
    return scope.hoisted[key]


def _all_known(operands: Sequence[Entry]) -> bool:
    return all(operand is None or isinstance(operand, np.ndarray) for operand in operands)


def _handled(call: Call) -> Sequence[Result]:
    if call.node.op_type not in HANDLERS:
        raise RefusalError(reason_of(call.node.op_type, call.node.domain))
    operator = call.node.op_type
    if operator in QUANTIZING:
        for operand in call.operands:
            reason = call.scope.host_quantized(operand) if isinstance(operand, Value) else ""
            if reason:
                raise RefusalError(reason)
    exact = [value.type.dtype for value in call.operands if isinstance(value, Value) and value.type.is_exact]
    if "str" in exact and operator not in WORDS:
        raise RefusalError("it computes with words; supported are moving, comparing and encoding them (Equal, LabelEncoder)")
    if exact and operator not in INTEGERS and operator not in FAMILIAR:
        raise RefusalError(f"it computes with {exact[0]}; of this operator only real numbers are imported")
    return (INTEGERS if exact and operator in INTEGERS else HANDLERS)[operator](call)


_FEW = 1 << 10
"""Elements up to which the reference evaluator resizes what is known."""


def _stays(node: onnx.NodeProto, operands: Sequence[Entry]) -> bool:
    """Whether the node is not computed while importing although its operands are known: what is drawn at random is not, and a
    large picture is resized by matrices of the graph, as ONNX's reference evaluator goes through it element by element."""
    drawn = node.op_type in DRAWN or (node.op_type == "Dropout" and len(operands) > 2)
    picture = operands[0] if node.op_type in ("Resize", "Upsample") else None
    large = isinstance(picture, np.ndarray) and picture.dtype.kind == "f" and picture.size > _FEW
    return drawn or large or _spreads(node, operands)


def _spreads(node: onnx.NodeProto, operands: Sequence[Entry]) -> bool:
    """Whether the node spreads a known value over sizes that follow from the input only."""
    shapes = operands[-1:]
    symbolic = any(isinstance(shape, np.ndarray) and shape.dtype == object for shape in shapes)
    return symbolic and node.op_type in ("ConstantOfShape", "Expand", "Tile")


def _line(node: onnx.NodeProto, reason: str, sizes: frozenset[str] = frozenset(), trace: str = "") -> Refusal:
    name = node.name or next(iter(node.output), "")
    return Refusal(f"{name} ({node.op_type})", reason, (origin_of(node),), sizes, trace)
