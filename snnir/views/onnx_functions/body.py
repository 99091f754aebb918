"""Function bodies of ONNX as expressions: what a body computes is written down with Python's operators."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from snnir.ir import Dim, Node, TensorType
from snnir.ir.dims import Dimension, dim
from snnir.ir.ops import Scan
from snnir.ir.types import DTYPES

__all__ = [
    "DOMAIN",
    "OPSET",
    "WRITERS",
    "Body",
    "Call",
    "NoBodyError",
    "Result",
    "Term",
    "element_type",
    "info",
    "tensor",
    "writes",
]

DOMAIN = "snnir"
OPSET = 22

BOOL, F32, F64, I64 = (np.dtype(kind) for kind in ("bool", "float32", "float64", "int64"))
LAST = np.iinfo(np.int64).max
"""What `Slice` takes for an end that is not known."""


class NoBodyError(Exception):
    """A node has no body of standard operators; the message says why."""


@dataclass(frozen=True)
class Term:
    """A value of a body: its name and element type. Operators on terms append nodes; numbers take the term's element type."""

    body: Body
    name: str
    dtype: np.dtype

    def do(self, operator: str, *others: Operand, dtype: np.dtype | None = None, **attributes: Any) -> Term:
        """The only result of a standard operator on this term and others, of this element type unless told otherwise."""
        return self.body.apply(operator, self, *others, dtype=dtype, **attributes)

    def __add__(self, other: Operand) -> Term:
        return self.do("Add", other)

    def __sub__(self, other: Operand) -> Term:
        return self.do("Sub", other)

    def __mul__(self, other: Operand) -> Term:
        return self.do("Mul", other)

    def __truediv__(self, other: Operand) -> Term:
        """ONNX `Div`, which truncates integers towards 0."""
        return self.do("Div", other)

    def __neg__(self) -> Term:
        return self.do("Neg")

    def __lt__(self, other: Operand) -> Term:
        return self.do("Less", other, dtype=BOOL)

    def __le__(self, other: Operand) -> Term:
        return self.do("LessOrEqual", other, dtype=BOOL)

    def __gt__(self, other: Operand) -> Term:
        return self.do("Greater", other, dtype=BOOL)

    def __ge__(self, other: Operand) -> Term:
        return self.do("GreaterOrEqual", other, dtype=BOOL)

    def __and__(self, other: Operand) -> Term:
        return self.do("And", other)

    def __or__(self, other: Operand) -> Term:
        return self.do("Or", other)

    def __invert__(self) -> Term:
        return self.do("Not")

    def equal(self, other: Operand) -> Term:
        """Where both are the same (bool)."""
        return self.do("Equal", other, dtype=BOOL)

    def floor_div(self, other: Operand) -> Term:
        """Integers divided with the quotient rounded down."""
        return (self - self.do("Mod", other)) / other

    def where(self, yes: Term, no: Operand) -> Term:
        """`yes` where this term holds, else `no`."""
        return self.body.apply("Where", self, yes, self.body.like(no, yes.dtype), dtype=yes.dtype)

    def cast(self, dtype: np.dtype) -> Term:
        """This term in another element type."""
        return self if dtype == self.dtype else self.do("Cast", dtype=dtype, to=element_type(dtype))

    def reduced(self, operator: str, axes: Sequence[int], keep: bool = True) -> Term:
        """`ReduceSum` and its kin over `axes`."""
        if not axes:
            return self
        return self.do(operator, self.body.integers(axes), keepdims=int(keep))

    def unsqueezed(self, *axes: int) -> Term:
        """With axes of size 1 more."""
        return self.do("Unsqueeze", self.body.integers(axes)) if axes else self

    def reshaped(self, *shape: int) -> Term:
        """Under another shape; 0 copies a size, -1 stands for the rest."""
        return self.do("Reshape", self.body.integers(shape))

    def size(self, axis: int) -> Term:
        """The size of an axis, i64 [1]."""
        return self.do("Shape", dtype=I64, start=axis, end=axis + 1)

    def sliced(self, axis: int, start: int, stop: int, step: int = 1) -> Term:
        """ONNX `Slice` along one axis."""
        integers = self.body.integers
        return self.do("Slice", integers([start]), integers([stop]), integers([axis]), integers([step]))


Operand = Term | float
Result = Term | tuple[Term, ...]
Writer = Callable[..., Result]


@dataclass(frozen=True)
class Call:
    """The call of a function, the open sizes that it takes as `size NAME`, and constants that it takes under their names."""

    node: NodeProto
    sizes: Sequence[str] = ()
    constants: Sequence[TensorProto] = ()


Caller = Callable[[Node, str], Call]
"""Gives the call of a node whose values' names begin with a prefix."""


class Body:
    """The function body that is being written for a node.

    `sizes` are the names of open sizes that may be handed in beside the node's operands, each as i64 [1] under `size NAME`;
    those that the body takes are in `taken`. `caller` writes the nodes of the node's graph. Names of values in that graph begin
    with `prefix`, names of values beside the node with `around`.
    """

    def __init__(self, node: Node, sizes: Collection[str], caller: Caller, around: str = "", outer: Body | None = None) -> None:
        self.node = node
        self.sizes = sizes
        self.caller = caller
        self.around = around
        self.prefix = f"{around}{node.outputs[0].name}/"
        self.held: GraphProto | None = None
        """What viewers show as the graph of the node."""
        self.constants: list[TensorProto] = []
        """Constants of the node's graph, which the call hands in under their names."""
        self.nodes: list[NodeProto] = []
        self.initializers: list[TensorProto] = []
        self.taken: list[str] = [] if outer is None else outer.taken
        self._count: list[int] = [0] if outer is None else outer._count
        self._constants: dict[bytes, Term] = {}
        self.inputs = self._input_names()

    def _input_names(self) -> list[str]:
        """Names of the body's operands: those that the op declares, or those at the call, which a scan's graph uses."""
        node = self.node
        if isinstance(node.op, Scan):
            names = [self.around + value.name for value in node.operands]
            return [f"{name} {place}" if name in names[:place] else name for place, name in enumerate(names)]
        names = [name.rstrip("?*") for name in node.op.operands]
        many = bool(names) and node.op.operands[-1].endswith("*")
        return [
            f"{names[-1]}{place - len(names) + 1}" if many and place >= len(names) - 1 else names[place]
            for place in range(len(node.operands))
        ]

    def operand(self, place: int) -> Term:
        """An operand of the node as its op takes it: real numbers in place of levels where it asks for these."""
        type_ = self.node.operands[place].type
        term = Term(self, self.inputs[place], DTYPES[type_.dtype])
        if type_.quantization is None or self.node.op.stored([value.type for value in self.node.operands]):
            return term
        return (term.cast(F64) * type_.quantization.scale).cast(F32)

    def fresh(self, stem: str) -> str:
        """A name that nothing else has."""
        self._count[0] += 1
        return f"{stem}_{self._count[0]}"

    def like(self, value: Operand, dtype: np.dtype) -> Term:
        """A number as a constant of an element type; terms as they are."""
        return value if isinstance(value, Term) else self.constant(np.array(value, dtype))

    def constant(self, array: np.ndarray) -> Term:
        """A constant, written once."""
        proto = tensor("", array)
        key = proto.SerializeToString()
        if key not in self._constants:
            name = self.fresh("constant")
            self.nodes.append(helper.make_node("Constant", [], [name], value=proto))
            self._constants[key] = Term(self, name, array.dtype)
        return self._constants[key]

    def integers(self, numbers: Iterable[int]) -> Term:
        """An i64 vector of numbers that are known."""
        return self.constant(np.array(list(numbers), np.int64))

    def apply(self, operator: str, *operands: Operand, dtype: np.dtype | None = None, **attributes: Any) -> Term:
        """The only result of a standard operator; by default of the first operand's element type."""
        return self.applied(operator, 1, *operands, dtypes=None if dtype is None else [dtype], **attributes)[0]

    def applied(
        self, operator: str, results: int, *operands: Operand, dtypes: Sequence[np.dtype] | None = None, **attributes: Any
    ) -> tuple[Term, ...]:
        """The results of a standard operator."""
        first = next(operand for operand in operands if isinstance(operand, Term))
        terms = [self.like(operand, first.dtype) for operand in operands]
        names = [self.fresh(operator.lower()) for _ in range(results)]
        self.nodes.append(helper.make_node(operator, [term.name for term in terms], names, **attributes))
        return tuple(Term(self, name, kind) for name, kind in zip(names, dtypes or [first.dtype] * results, strict=True))

    def size(self, size: Dimension) -> Term:
        """A size as i64 [1]: a number, what an axis of an operand measures, or computed from sizes that are handed in."""
        if isinstance(size, int):
            return self.integers([size])
        for place, value in enumerate(self.node.operands):
            if size in value.type.shape:
                return Term(self, self.inputs[place], I64).size(value.type.shape.index(size))
        total: Term | None = None
        for monomial, coefficient in size.terms:
            term = self.integers([coefficient])
            for atom in monomial:
                below = None if isinstance(atom, str) else self.size(atom.denominator)
                term = term * (self._named(atom) if isinstance(atom, str) else self.size(atom.numerator).floor_div(below or 1))
            total = term if total is None else total + term
        return self.integers([0]) if total is None else total

    def _named(self, name: str) -> Term:
        for place, value in enumerate(self.node.operands):
            if dim(name) in value.type.shape:
                return Term(self, self.inputs[place], I64).size(value.type.shape.index(dim(name)))
        if name not in self.sizes:
            raise NoBodyError(f"the size {name} follows from the data")
        self.take(name)
        return Term(self, f"size {name}", I64)

    def take(self, name: str) -> None:
        """Have the size called `name` handed in."""
        if name not in self.taken:
            self.taken.append(name)

    def shape(self, shape: Sequence[Dimension]) -> Term:
        """Sizes as one i64 vector."""
        if not any(isinstance(size, Dim) for size in shape):
            return self.integers(size for size in shape if isinstance(size, int))
        parts = [self.size(size) for size in shape]
        return parts[0] if len(parts) == 1 else self.apply("Concat", *parts, axis=0)

    def finish(self, results: Sequence[Term]) -> list[str]:
        """Cast results to the element types of the node's and give them the names of the body's outputs; returns these."""
        types = [value.type for value in self.node.outputs]
        names = ["result"] if len(types) == 1 else [f"result{place}" for place in range(len(types))]
        terms = [term.cast(DTYPES[type_.dtype]) for term, type_ in zip(results, types, strict=True)]
        read = [name for node in self.nodes for name in node.input] + [term.name for term in terms]
        made = {name: (node, place) for node in self.nodes for place, name in enumerate(node.output)}
        for name, term in zip(names, terms, strict=True):
            if term.name in made and read.count(term.name) == 1:
                node, place = made[term.name]
                node.output[place] = name
            else:  # an operand, or a result that something else takes too
                self.nodes.append(helper.make_node("Identity", [term.name], [name]))
        return names

    def inside(self) -> Body:
        """A body for a graph inside this one, which may use this body's values (`adopted`)."""
        return Body(self.node, self.sizes, self.caller, self.around, self)

    def adopted(self, term: Term) -> Term:
        """A value of the body around this one."""
        return Term(self, term.name, term.dtype)

    def call(self, node: Node) -> None:
        """Append a node of a body graph as a call of its own function."""
        call = self.caller(node, self.prefix)
        self.nodes.append(call.node)
        self.initializers += call.constants
        for name in call.sizes:
            self.take(name)

    def graph(self, name: str, inputs: Mapping[str, TensorType], outputs: Mapping[str, TensorType]) -> GraphProto:
        """What was written as a graph inside another body."""
        given, results = ([info(*item) for item in names.items()] for names in (inputs, outputs))
        return helper.make_graph(self.nodes, name, given, results, self.initializers)


def info(name: str, type_: TensorType) -> onnx.ValueInfoProto:
    """Name, element type and shape of a value as ONNX declares them; the IR's type is its documentation."""
    shape = [size if isinstance(size, int) else str(size) for size in type_.shape]
    return helper.make_tensor_value_info(name, element_type(DTYPES[type_.dtype]), shape, doc_string=str(type_))


WRITERS: dict[str, Writer] = {}
"""What writes the body of an op, by its name: called with the body, the op and the operands."""


def writes(*names: str) -> Callable[[Writer], Writer]:
    """Decorator: enter a writer for the ops called `names`."""

    def enter(writer: Writer) -> Writer:
        for name in names:
            WRITERS[name] = writer
        return writer

    return enter


def element_type(dtype: np.dtype) -> int:
    """ONNX's number of an element type."""
    return int(TensorProto.STRING if dtype.kind == "U" else helper.np_dtype_to_tensor_dtype(dtype))


def tensor(name: str, array: np.ndarray) -> TensorProto:
    """An array as ONNX holds it."""
    if array.dtype.kind == "U":
        return helper.make_tensor(name, TensorProto.STRING, array.shape, [word.encode() for word in array.reshape(-1).tolist()])
    return numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)
