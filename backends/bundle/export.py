"""From a spiking graph and the sizes of one sample to an integer program.

Movement becomes address maps (`Route`), biases of synapses join those of their populations, and everything has the size
it has for one sample. Convolutions keep their geometry.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from snnir.backends.bundle import program as bundle
from snnir.backends.bundle.narrow import narrowed
from snnir.backends.bundle.program import IndexMap, IntegerProgram, Synapse, Train
from snnir.backends.bundle.program import Op as BundleOp
from snnir.backends.simulator.host import concrete_shape, fixed_values
from snnir.backends.simulator.wiring import Wiring, move
from snnir.errors import UnsupportedError, UsageError
from snnir.ir import SPIKING, Graph, Node, Value
from snnir.ir.dims import BATCH
from snnir.ir.execute import apply
from snnir.ir.ops import Bif, Conv, Dense, Diagonal, Encode, MaxPool, Movement, Product, Readout, Scan, Sparse
from snnir.ir.ops.rules import pad_amounts

__all__ = ["export"]

_BATCH = 2
"""Movement is tried on two samples, to see that none reaches into the other."""


def export(
    graph: Graph,
    sizes: Mapping[str, int],
    delivery: str = "relay",
    execution: str = "reset",
    provenance: Mapping[str, object] | None = None,
) -> IntegerProgram:
    """The integer program of a spiking graph; `sizes` measures every named dimension but the batch.

    Raises `UnsupportedError` naming the node that has no form without floating point between its spikes, `UsageError`.
    """
    if graph.level != SPIKING:
        raise UsageError(f"graph {graph.name} is at the {graph.level} level; a bundle is made of the {SPIKING} level")
    if delivery not in ("relay", "replay", "graded") or execution not in ("reset", "carry"):
        raise UsageError(f"delivery {delivery!r}, execution {execution!r}: choose relay, replay or graded, and reset or carry")
    work = _Exporter(graph, {**sizes, BATCH: _BATCH}, {}, "", set(), delivery)
    work.all()
    outputs = tuple(work.output(name, value) for name, value in graph.outputs.items())
    whole = (graph.name, delivery, execution, tuple(work.ops), outputs, tuple(work.host), dict(provenance or {}))
    return narrowed(IntegerProgram(*whole))


class _Exporter:
    """Writes the ops of one graph or body; `prefix` stands before the names of a body's values."""

    def __init__(
        self,
        graph: Graph,
        sizes: Mapping[str, int],
        constants: Mapping[Value, np.ndarray],
        prefix: str,
        names: set[str],
        delivery: str,
    ) -> None:
        self.graph, self.sizes, self.prefix, self.names, self.delivery = graph, dict(sizes), prefix, names, delivery
        self.constants = {**{value: value.array for value in graph.constants}, **constants}
        self.fixed = fixed_values(graph, constants)
        self.levels: dict[Value, np.ndarray] = {}
        self.late: set[Value] = set()
        self.wirings: dict[Value, Wiring] = {}
        self.trains: dict[Value, Train] = {}
        self.encoded: set[Value] = set()
        self.routes: dict[tuple[tuple[str, ...], bytes, tuple[int, ...]], Train] = {}
        self.readouts: dict[Value, str] = {}
        self.currents: dict[Value, Node] = {}
        self.ops: list[BundleOp] = []
        self.host: list[str] = []

    def all(self) -> None:
        """Write every node."""
        for node in self.graph.nodes:
            self._node(node)

    def _node(self, node: Node) -> None:
        op = node.op
        if all(value in self.fixed for value in node.outputs):
            known = [self._known(value) for value in node.operands]
            self.levels.update(zip(node.outputs, apply(node, known, self.sizes), strict=True))
        elif isinstance(op, Encode):
            self._encode(node)
        elif isinstance(op, Scan):
            self._scan(node, op)
        elif isinstance(op, Dense | Diagonal | Sparse | Conv) and node.operands[0].type.dtype == "spike":
            self.currents[node.output] = node
        elif isinstance(op, Bif | Readout):
            self._summing(node, op)
        elif isinstance(op, Product):
            shape = np.broadcast_shapes(*(self._wiring(value).index.shape for value in node.operands))
            sources = tuple(self._source(value, shape) for value in node.operands)
            self.ops.append(bundle.Product(self._root(node.output, shape), (sources[0].name, sources[1].name)))
        elif isinstance(op, MaxPool) and node.operands[0].type.dtype == "spike":
            self._max(node, op)
        elif isinstance(op, Movement) and node.operands[0].type.dtype == "spike":
            wirings = [self._wiring(value) for value in node.operands]
            self.wirings[node.output] = move(node, wirings, self.sizes, concrete_shape(node.operands[0].type, self.sizes)[0])
        elif any(not (value.type.is_plain or value in self.fixed) for value in node.operands):
            types = ", ".join(str(value.type) for value in node.operands)
            raise UnsupportedError(f"{node.describe()}: a bundle cannot hold {op.name} on {types}")
        else:
            self.host.append(f"{self.prefix}{node.outputs[0].name} = {op.name}")
            if any(value in self.late for value in node.operands):
                self.late.update(node.outputs)

    def _known(self, value: Value) -> np.ndarray:
        return self.levels[value] if value in self.levels else self.constants[value]

    def _name(self, name: str) -> str:
        unique, count = self.prefix + name, 0
        while unique in self.names:
            count += 1
            unique = f"{self.prefix}{name}~{count}"
        self.names.add(unique)
        return unique

    def _train(self, value: Value, shape: Sequence[int], name: str | None = None) -> Train:
        quantization = value.type.quantization
        assert quantization is not None
        unique = self._name(value.name if name is None else name)
        return Train(unique, tuple(int(size) for size in shape), quantization.lo, quantization.hi, quantization.scale)

    def _root(self, value: Value, shape: Sequence[int], train: Train | None = None) -> Train:
        self.wirings[value] = Wiring.root(value, shape)
        self.trains[value] = self._train(value, shape) if train is None else train
        return self.trains[value]

    def _sample(self, value: Value) -> tuple[int, ...]:
        """The shape of one sample; only a fixed value may lack a batch axis."""
        shape = concrete_shape(value.type, self.sizes)
        if value in self.fixed and not (shape and (value.type.batch_axis == 0 or shape[0] == 1)):
            return shape
        if not shape:
            raise UnsupportedError(f"value {value.name} {value.type} has no batch axis; a bundle needs it as axis 0")
        return shape[1:]

    def _encode(self, node: Node) -> None:
        (real,) = node.operands
        if real in self.late:
            raise UnsupportedError(
                f"{node.describe()}: encodes {real.name}, which the host knows only after the network; "
                "a bundle holds one spiking part, so compile the parts before and after it as models of their own"
            )
        train = self._root(node.output, self._sample(node.output))
        self.encoded.add(node.output)
        self.ops.append(bundle.Input(train, self.prefix + real.name))

    def _wiring(self, value: Value) -> Wiring:
        """Where a spiking value's elements come from; a fixed value becomes a constant when it is first asked for."""
        if value not in self.wirings:
            shape = self._sample(value)
            levels = self._known(value)
            sample = levels[0] if levels.ndim > len(shape) else levels
            self.encoded.add(value)
            train = self._root(value, shape)
            self.ops.append(bundle.Constant(train, np.broadcast_to(sample, shape).reshape(-1).astype(np.int64)))
        return self.wirings[value]

    def _source(self, value: Value, shape: Sequence[int] | None = None, wiring: Wiring | None = None) -> Train:
        """The train whose addresses are the value's elements (spread over `shape`), routed where it must be."""
        wiring = self._wiring(value) if wiring is None else wiring
        index = wiring.index if shape is None else np.broadcast_to(wiring.index, tuple(shape))
        compact = np.full(index.shape, -1, np.int64)
        starts: dict[Value, int] = {}
        base = total = 0
        for root, size in zip(wiring.roots, wiring.sizes, strict=True):
            inside = (index >= base) & (index < base + size)
            if inside.any():
                if root not in starts:
                    starts[root], total = total, total + size
                compact[inside] = index[inside] - base + starts[root]
            base += size
        used = list(starts) or [wiring.roots[0]]
        if len(used) == 1 and np.array_equal(compact.reshape(-1), np.arange(self.trains[used[0]].size)):
            return self.trains[used[0]]
        names = tuple(self.trains[root].name for root in used)
        key = names, np.ascontiguousarray(compact).tobytes(), compact.shape
        if key not in self.routes:
            train = self._train(value, compact.shape, f"{value.name}.routed")
            self.ops.append(bundle.Route(train, names, IndexMap.of(compact)))
            self.routes[key] = train
        return self.routes[key]

    def _max(self, node: Node, op: MaxPool) -> None:
        wiring = self._wiring(node.operands[0])
        windows = op.windows(np.arange(wiring.index.size).reshape(1, *wiring.index.shape), -1)[0]
        shape = windows.shape[: windows.ndim - len(op.kernel)]
        members = windows.reshape(int(np.prod(shape)), -1)
        if (members < 0).all(axis=1).any():
            raise UnsupportedError(f"{node.describe()}: a window of max_pool lies in the padding only; it has no largest element")
        if (members < 0).any():  # padding never wins: another member of the window stands in for it
            first = members[np.arange(len(members)), (members >= 0).argmax(axis=1)]
            windows = np.where(members < 0, first[:, np.newaxis], members)
        held = wiring.index.reshape(-1)[windows]
        source = self._source(node.operands[0], wiring=Wiring(wiring.roots, wiring.sizes, held))
        self.ops.append(bundle.Max(self._root(node.output, shape), source.name, members.shape[1]))

    def _summing(self, node: Node, op: Bif | Readout) -> None:
        value = node.output
        shape = self._sample(value)
        synapses, bias = [], self._constant(node, node.operands[1]).astype(np.int64)
        for current in node.operands[2:]:
            if current not in self.currents:
                raise UnsupportedError(f"{node.describe()}: {current.name} must come from a synapse")
            synapse, own = self._synapse(self.currents[current], shape)
            synapses.append(synapse)
            bias = bias if own is None else bias + own
        parameters = self._constant(node, node.operands[0])
        common = tuple(synapses), bias.reshape(-1), _spread(bias.shape, shape)
        if isinstance(op, Readout):
            name = self._name(value.name)
            self.readouts[value] = name
            self.late.add(value)
            scale = parameters.astype(np.float64)
            train = Train(name, shape, 0, 0, 1.0)
            self.ops.append(bundle.Readout(train, *common, scale.reshape(-1), _spread(scale.shape, shape)))
            return
        rows = parameters.astype(np.int64)
        own_shape = rows.shape[1:] if op.staircase else rows.shape
        theta = rows.reshape(rows.shape[0], int(np.prod(own_shape))).T if op.staircase else rows.reshape(-1)
        train = self._root(value, shape)
        self.ops.append(bundle.Population(train, *common, np.ascontiguousarray(theta), _spread(own_shape, shape), op.staircase))

    def _constant(self, node: Node, value: Value) -> np.ndarray:
        if value not in self.constants:
            raise UnsupportedError(f"{node.describe()}: {value.name} must be a constant; a bundle keeps weights fixed")
        return self.constants[value]

    def _synapse(self, node: Node, shape: tuple[int, ...]) -> tuple[Synapse, np.ndarray | None]:
        """The synapse, and its own bias shaped to spread over a sample."""
        value, op = node.operands[0], node.op
        weights, *rest = (self._constant(node, operand) for operand in node.operands[1:])
        own = self._wiring(value).index.shape
        rank = node.output.type.rank - value.type.rank + len(own)
        outputs = concrete_shape(node.output.type, self.sizes)[node.output.type.rank - rank :] if rank else ()
        assert isinstance(op, Dense | Diagonal | Sparse | Conv)
        weights = op.expanded(weights).astype(np.int64)
        bias: np.ndarray | None = None
        extra: dict[str, object] = {}
        source_shape: tuple[int, ...] | None = None
        kind = "dense"
        if isinstance(op, Dense):
            extra["groups"] = int(np.prod(own[:-1], dtype=np.int64))
            bias = rest[0].astype(np.int64) if rest else None
        elif isinstance(op, Conv):
            kind = "conv"
            pads = pad_amounts(op.padding, len(op.stride))
            padding = tuple(pair[0] for pair in pads) + tuple(pair[1] for pair in pads)
            extra |= {"groups": op.groups, "stride": op.stride, "dilation": op.dilation, "padding": padding}
            bias = rest[0].astype(np.int64).reshape(-1, *([1] * len(op.stride))) if rest else None
        elif isinstance(op, Sparse):
            kind = "list"
            extra |= {"rows": rest[0].astype(np.int64), "columns": rest[1].astype(np.int64)}
        else:
            kind, source_shape = "one", outputs
            extra["weight_map"] = _spread(weights.shape, outputs)
            weights = weights.reshape(-1)
        if outputs != shape:
            extra["spread"] = self._spread_current(node, outputs, shape)
        source = self._source(value, source_shape)
        name = self.prefix + node.output.name
        inputs = own if source_shape is None else source_shape
        return Synapse(name, source.name, kind, weights, inputs, outputs, **extra), bias  # type: ignore[arg-type]

    def _spread_current(self, node: Node, outputs: tuple[int, ...], shape: tuple[int, ...]) -> IndexMap:
        try:
            return _spread(outputs, shape)
        except ValueError:
            raise UnsupportedError(
                f"{node.describe()}: {list(outputs)} a sample does not spread over a population of {list(shape)}"
            ) from None

    def _scan(self, node: Node, op: Scan) -> None:
        body = node.body
        assert body is not None
        if self.prefix:
            raise UnsupportedError(f"{node.describe()}: a scan inside the body of a scan is not supported in a bundle")
        if op.axis != 1:
            raise UnsupportedError(f"{node.describe()}: a scan along axis {op.axis}; a bundle supports axis 1")
        first, last = op.states, op.states + op.elements
        pairs = list(zip(body.inputs, node.operands, strict=True))
        constants = {inner: self.constants[outer] for inner, outer in pairs[last:] if outer in self.constants}
        inner = _Exporter(body, self.sizes, constants, f"{node.outputs[0].name}/", self.names, self.delivery)
        for value, outer in pairs:
            if value.type.dtype == "spike":
                inner._root(value, concrete_shape(value.type, self.sizes)[1:])
            elif value in body.inputs[:first]:
                raise UnsupportedError(f"{node.describe()}: state {value.name} is {value.type}; a bundle keeps spikes only")
            elif outer in self.late:
                raise UnsupportedError(f"{node.describe()}: takes {outer.name}, which the host knows only after the network")
        inner.all()
        results = list(zip(node.outputs, body.outputs.values(), strict=True))
        states = []
        for (value, outer), (final, following) in zip(pairs[:first], results, strict=False):
            initial = self._source(outer, inner.wirings[value].index.shape)
            train = self._root(final, inner.wirings[value].index.shape)
            states.append(bundle.State(inner.trains[value], initial.name, inner._source(following).name, train))
        elements = []
        for value, outer in pairs[first:last]:
            if value in inner.trains:
                at_once = self.delivery == "graded" or self.encoded.issuperset(self._wiring(outer).roots)
                elements.append(bundle.Element(inner.trains[value], self._source(outer).name, at_once))
        shared = [
            bundle.Shared(inner.trains[value], self._source(outer).name) for value, outer in pairs[last:] if value in inner.trains
        ]
        stacked = []
        for outer, value in results[first:]:
            if value.type.dtype == "spike":
                source = inner._source(value)
                train = self._root(outer, concrete_shape(outer.type, self.sizes)[1:])
                stacked.append(bundle.Result(train, source.name))
            else:
                self.late.add(outer)
                if value in inner.readouts:
                    self.readouts[outer] = inner.readouts[value]
        windows = concrete_shape(pairs[first][1].type, self.sizes)[1]
        if windows < 1:
            raise UnsupportedError(f"{node.describe()}: a sequence of {windows} elements; a bundle needs one or more")
        self.host += inner.host
        self.ops.append(
            bundle.Scan(
                node.outputs[0].name,
                windows,
                op.reverse,
                tuple(states),
                tuple(elements),
                tuple(shared),
                tuple(stacked),
                tuple(inner.ops),
            )
        )

    def output(self, name: str, value: Value) -> bundle.Output:
        """An output of the model, and what it is in the bundle."""
        if value.type.dtype == "spike":
            return bundle.Output(name, "levels", self._source(value).name)
        return bundle.Output(name, "real", self.readouts[value]) if value in self.readouts else bundle.Output(name, "host", "")


def _spread(own: tuple[int, ...], shape: tuple[int, ...]) -> IndexMap:
    """Which element of an array of shape `own` each element of a sample has. Raises `ValueError`."""
    count = int(np.prod(own, dtype=np.int64))
    return IndexMap.of(np.broadcast_to(np.arange(count).reshape(own), shape))
