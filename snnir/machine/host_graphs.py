"""What the host computes around a machine program, as two graphs that can be stored beside it and executed.

`before` takes the model's inputs and gives the real values that encoders round, by the names of the program's `input` ops:
[N, ...], or [N, windows, ...] inside a scan, element by element. `after` takes the inputs of the model that it needs, and the
real values of readouts by their names in the same shapes; it gives the model's outputs, but for settled levels, which the
program has.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from snnir.errors import InputError
from snnir.ir.dims import BATCH, Dimension, dim
from snnir.ir.execute import execute
from snnir.ir.graph import Graph, Node, Value
from snnir.ir.ops import Encode, Expand, Movement, Readout, Reshape, Scan
from snnir.ir.types import TensorType
from snnir.machine.host import HostPlan
from snnir.machine.program import IntegerProgram, emitting
from snnir.machine.scans import Scan as MachineScan

__all__ = ["HostGraphs", "host_graphs", "reversed_trains"]


@dataclass(frozen=True)
class HostGraphs:
    """The two graphs of the host, for samples of one size."""

    before: Graph
    after: Graph

    def reals(self, inputs: Mapping[str, np.ndarray], program: IntegerProgram) -> dict[str, np.ndarray]:
        """What every encoder of a program rounds, [N, n] or, in order of processing, [N, windows, n], for the model's inputs.

        Raises `InputError` for inputs that the model does not take.
        """
        found = execute(self.before, inputs)
        self._refuse_infinite(found)
        samples = max((len(array) for array in found.values()), default=0)
        known, reverse = emitting(program), reversed_trains(program)
        reals = {}
        for name, array in found.items():
            op, windows = known[name]
            shape = (*(() if windows is None else (windows,)), *op.train.shape)
            flat = np.broadcast_to(array, (samples, *shape)).reshape(
                samples, *shape[: len(shape) - len(op.train.shape)], op.train.size
            )
            reals[name] = flat[:, ::-1] if name in reverse else flat
        return reals

    def _refuse_infinite(self, found: Mapping[str, np.ndarray]) -> None:
        """Refuse NaN and infinities of inputs that are encoded as they are, as a program does."""
        for name, array in found.items():
            source = self.before.outputs[name]
            while source.producer is not None and isinstance(source.producer.op, Movement):
                source = source.producer.operands[0]
            if source in self.before.inputs and array.dtype.kind == "f" and not np.isfinite(array).all():
                count = int(array.size - np.isfinite(array).sum())
                raise InputError(
                    f"input {source.name} holds {count} NaN or infinite values, and its elements become levels, which are "
                    "finite; remove or replace them"
                )

    def outputs(
        self, inputs: Mapping[str, np.ndarray], readouts: Mapping[str, np.ndarray], settled: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """The model's outputs, from its inputs, the real values of readouts and the settled levels of outputs."""
        given = {
            value.name: readouts[value.name] if value.name in readouts else inputs[value.name] for value in self.after.inputs
        }
        return {**execute(self.after, given), **settled} if self.after.outputs else dict(settled)


def reversed_trains(program: IntegerProgram) -> set[str]:
    """The names of trains in the bodies of scans that start with the last element."""
    scans = [op for op in program.ops if isinstance(op, MachineScan) and op.reverse]
    return {op.train.name for scan in scans for op in scan.ops if not isinstance(op, MachineScan)}


def host_graphs(graph: Graph, sizes: Mapping[str, int], nodes: Mapping[str, Node], levels: Collection[str] = ()) -> HostGraphs:
    """The host's part of a spiking graph; `nodes` are those behind the ops of its program (`Lowered.nodes`), and `levels`
    names outputs that are settled levels."""
    names = {node.output: name for name, node in nodes.items() if isinstance(node.op, Encode | Readout)}
    work = _Work(graph, {name: size for name, size in sizes.items() if name != BATCH}, names)
    return HostGraphs(work.before(), work.after([name for name in graph.outputs if name not in levels]))


class _Work:
    """The graph that is taken apart, the sizes of its dimensions, and the names of encoders and readouts in the program."""

    def __init__(self, graph: Graph, sizes: Mapping[str, int], names: Mapping[Value, str]) -> None:
        self.graph, self.names = graph, names
        self.sizes: dict[str, int] = dict(sizes)
        self.dims: dict[str, Dimension] = dict(sizes)

    def _new(self) -> Graph:
        new = Graph(self.graph.name, self.graph.level)
        new.finite = set(self.graph.finite)
        return new

    def _type(self, value: Value) -> TensorType:
        return value.type.substitute(self.dims)

    def _copy(self, node: Node, new: Graph, values: dict[Value, Value]) -> None:
        """Add a node whose operands are there, or constants."""
        for value in node.operands:
            if value.is_constant and value not in values:
                values[value] = new.constant(value.name, value.array)
        names = [value.name for value in node.outputs]
        results = new.add(node.op.bind(self.sizes), *(values[value] for value in node.operands), names=names, origin=node.origin)
        values.update(zip(node.outputs, results, strict=True))

    def before(self) -> Graph:
        """From the inputs to what encoders round."""
        new = self._new()
        values = {value: new.input(value.name, self._type(value)) for value in self.graph.inputs}
        plan = HostPlan.of(self.graph, self.graph.inputs, {})
        bodies = {node: _Windows.of(node, node.op) for node in plan.before if isinstance(node.op, Scan)}
        encoders = _encoders(plan)
        wanted = [node.operands[0] for node in encoders]
        wanted += [outer for windows in bodies.values() for _, outer in (*windows.elements, *windows.shared)]
        needed = set(_ordered(self.graph, wanted))
        encoded: dict[str, Value] = {}
        for node in plan.before:
            if node in bodies:
                encoded |= self._windows(bodies[node], new, values)
            elif node in needed:
                self._copy(node, new, values)
        for node in encoders:
            encoded[self.names[node.output]] = values[node.operands[0]]
        for name, value in encoded.items():
            new.output(name, value)
        return new

    def _windows(self, windows: _Windows, new: Graph, values: dict[Value, Value]) -> dict[str, Value]:
        """What encoders in the body of a scan round, window by window: a scan of the body's real values alone."""
        body, elements, shared = windows.body, windows.elements, windows.shared
        names = [self.names[encoder.output] for encoder in windows.encoders]
        reals = [encoder.operands[0] for encoder in windows.encoders]
        inside = Graph(body.name, new.level) if elements else new
        known = {inner: values[outer] for inner, outer in shared}
        if elements:
            known = {inner: inside.input(inner.name, self._type(inner)) for inner, _ in (*elements, *shared)}
        for inner, outer in windows.constants:
            known[inner] = inside.constant(inner.name, outer.array)
        for node in _ordered(body, reals):
            self._copy(node, inside, known)
        if elements:
            for name, value in zip(names, reals, strict=True):
                inside.output(name, known[value])
            operands = [values[outer] for _, outer in (*elements, *shared)]
            results = new.add(Scan(0, len(elements), 1), *operands, names=names, body=inside) if names else ()
            return dict(zip(names, results, strict=True))
        length = self._type(windows.sequence).shape[1]
        return {name: self._repeated(new, known[value], length, name) for name, value in zip(names, reals, strict=True)}

    def _repeated(self, new: Graph, value: Value, length: Dimension, name: str) -> Value:
        """A value that is the same in every window, as a sequence."""
        first, *rest = value.type.shape
        row = new.add1(Reshape((first, 1, *rest)), value, name=f"{name}.row")
        return new.add1(Expand((first, length, *rest)), row, name=name)

    def after(self, outputs: Iterable[str]) -> Graph:
        """From readouts, and what inputs it takes, to the outputs."""
        new = self._new()
        values: dict[Value, Value] = {}
        wanted = {name: self.graph.outputs[name] for name in outputs}
        nodes = _ordered(self.graph, wanted.values())
        taken = {*wanted.values(), *(value for node in nodes if not isinstance(node.op, Readout) for value in node.operands)}
        values |= {value: new.input(value.name, self._type(value)) for value in self.graph.inputs if value in taken}
        for node in nodes:
            if isinstance(node.op, Readout):
                values[node.output] = self._readout(node, new)
        for node in nodes:
            if isinstance(node.op, Scan):
                self._results(node, node.op, new, values)
            elif not isinstance(node.op, Readout):
                self._copy(node, new, values)
        for name, value in wanted.items():
            if value.is_constant and value not in values:
                values[value] = new.constant(value.name, value.array)
            new.output(name, values[value])
        return new

    def _readout(self, node: Node, new: Graph, windows: Dimension | None = None) -> Value:
        shape = self._type(node.output).shape[1:]
        lead = (dim(BATCH),) if windows is None else (dim(BATCH), windows)
        return new.input(self.names[node.output], TensorType((*lead, *shape), node.output.type.dtype))

    def _results(self, node: Node, op: Scan, new: Graph, values: dict[Value, Value]) -> None:
        """The real results of a scan: a scan of what the host computes in each window."""
        body = node.body
        assert body is not None
        windows = _Windows.of(node, op)
        results = list(zip(node.outputs, body.outputs.values(), strict=True))[op.states :]
        wanted = [(outer, inner) for outer, inner in results if inner.type.is_plain]
        nodes = _ordered(body, [inner for _, inner in wanted])
        readouts = [inner for inner in nodes if isinstance(inner.op, Readout)]
        length = self._type(windows.sequence).shape[1]
        elements = [(inner, values[outer]) for inner, outer in windows.elements]
        elements += [(inner.output, self._readout(inner, new, length)) for inner in readouts]
        shared = [(inner, values[outer]) for inner, outer in windows.shared]
        inside = Graph(body.name, new.level)
        known = {inner: inside.input(inner.name, self._type(inner)) for inner, _ in (*elements, *shared)}
        for inner, outer in windows.constants:
            known[inner] = inside.constant(inner.name, outer.array)
        for each in nodes:
            if each not in readouts:
                self._copy(each, inside, known)
        for outer, inner in wanted:
            inside.output(outer.name, known[inner])
        operands = [outer for _, outer in (*elements, *shared)]
        found = new.add(Scan(0, len(elements), 1), *operands, names=[outer.name for outer, _ in wanted], body=inside)
        values.update(zip([outer for outer, _ in wanted], found, strict=True))


@dataclass(frozen=True, eq=False)
class _Windows:
    """The body of a scan, and the real values that enter it: (inner, outer) pairs."""

    body: Graph
    sequence: Value
    """One of the sequences that it is cut along."""
    elements: tuple[tuple[Value, Value], ...]
    shared: tuple[tuple[Value, Value], ...]
    constants: tuple[tuple[Value, Value], ...]
    encoders: tuple[Node, ...]

    @staticmethod
    def of(node: Node, op: Scan) -> _Windows:
        body = node.body
        assert body is not None
        last = op.states + op.elements
        pairs = [pair for pair in zip(body.inputs, node.operands, strict=True) if pair[0].type.is_plain]
        sequences = set(body.inputs[op.states : last])
        elements = tuple(pair for pair in pairs if pair[0] in sequences)
        others = [pair for pair in pairs if pair[0] not in sequences]
        shared = tuple(pair for pair in others if not pair[1].is_constant)
        constants = tuple(pair for pair in others if pair[1].is_constant)
        known = {inner: outer.array for inner, outer in constants}
        plan = HostPlan.of(body, {inner for inner, _ in (*elements, *shared)}, known)
        return _Windows(body, node.operands[op.states], elements, shared, constants, tuple(_encoders(plan)))


def _encoders(plan: HostPlan) -> list[Node]:
    """The encoders of what is known before the network runs, and changes."""
    return [node for node in plan.before if isinstance(node.op, Encode) and node.output not in plan.fixed]


def _ordered(graph: Graph, wanted: Iterable[Value]) -> list[Node]:
    """The host's nodes that real values need, in order; readouts stand for all before them."""
    needed: set[Node] = set()
    rest = list(wanted)
    while rest:
        node = rest.pop().producer
        if node is None or node in needed:
            continue
        needed.add(node)
        if not isinstance(node.op, Readout):
            rest += [value for value in node.operands if value.type.is_plain]
    return [node for node in graph.nodes if node in needed]
