"""From a bundle's integer program back to a spiking graph: the same emitters, by the same names, spiking at the same steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from snnir.backends.bundle.functions import body_of
from snnir.errors import UnsupportedError
from snnir.ir import SPIKING, Graph, Quantization, Value
from snnir.ir.dims import BATCH, Dimension, concrete, dim
from snnir.ir.ops import (
    Accumulate,
    Bif,
    Clock,
    Concat,
    Conv,
    Dense,
    Diagonal,
    Encode,
    Expand,
    Fs,
    Function,
    Gather,
    If,
    MaxPool,
    Pad,
    Population,
    Product,
    Rbif,
    Readout,
    Reshape,
    Rfs,
    Scan,
    Sparse,
)
from snnir.ir.rewrite import append
from snnir.ir.types import TensorType
from snnir.machine import emitters
from snnir.machine import program as bundle
from snnir.machine.host_graphs import HostGraphs
from snnir.machine.program import IntegerProgram, Summing, Synapse, Train
from snnir.machine.synapses import connections

__all__ = ["to_graph"]

_N = dim(BATCH)


def to_graph(program: IntegerProgram, host: HostGraphs | None = None) -> Graph:
    """The spiking graph of a program, for any number of samples, with the host's part around it.

    Without `host` its inputs are the real values that encoders take; those inside a scan become sequences [N, windows, ...],
    element by element, and outputs that only the host can compute are replaced by the readouts. Raises `UnsupportedError`
    where no op of the IR says what the program does.
    """
    graph = Graph(program.name, SPIKING, notes=(f"imported from a bundle: {program.delivery}, {program.execution}",))
    if host is None:
        work = _Importer(graph, "", program.few)
        work.ops(program.ops)
        _give_out(work, program)
        return graph
    graph.finite |= host.before.finite
    entering = {value: graph.input(value.name, value.type) for value in host.before.inputs}
    inputs = {value.name: value for value in entering.values()}
    append(graph, host.before, entering)
    work = _Importer(graph, "", program.few, {name: entering[value] for name, value in host.before.outputs.items()})
    work.ops(program.ops)
    leaving = {value: work.values[value.name] if value.name in work.values else inputs[value.name] for value in host.after.inputs}
    append(graph, host.after, leaving)
    settled = {output.name: output.source for output in program.outputs if output.kind == "levels"}
    for output in program.outputs:
        name = output.name
        graph.output(name, work.values[settled[name]] if name in settled else leaving[host.after.outputs[name]])
    return graph


def _give_out(work: _Importer, program: IntegerProgram) -> None:
    """The outputs of a program whose host is not known: settled levels, and readouts."""
    graph, given = work.graph, set()
    for output in program.outputs:
        if output.kind != "host":
            graph.output(output.name, work.values[output.source])
            given.add(output.source)
    for name in work.readouts:
        if name not in given:
            graph.output(name, work.values[name])


class _Importer:
    """Ops of a program, or of a scan's body, as nodes. `given` holds what encoders round, by the names of their trains."""

    def __init__(self, graph: Graph, prefix: str, few: bool, given: Mapping[str, Value] | None = None) -> None:
        self.graph, self.prefix, self.few, self.given = graph, prefix, few, {} if given is None else given
        self.values: dict[str, Value] = {}
        self.readouts: list[str] = []

    def ops(self, ops: Sequence[bundle.Op]) -> None:
        for op in ops:
            if isinstance(op, bundle.Scan):
                self._scan(op)
            elif isinstance(op, bundle.Readout):
                parameters = self._parameter(op, op.scale, op.scale_map, "scale"), self._bias(op)
                self.values[op.train.name] = self._summing(op, Readout(), parameters)
                self.readouts.append(op.train.name)
            else:
                self.values[op.train.name] = self._op(op)

    def _local(self, name: str) -> str:
        return name.removeprefix(self.prefix)

    def _op(self, op: bundle.Emitter | bundle.Route) -> Value:
        graph, train, name = self.graph, op.train, self._local(op.train.name)
        quantization = Quantization(train.scale, train.lo, train.hi)
        if isinstance(op, bundle.Input):
            real = self._real(op, (_N, *train.shape))
            return graph.add1(Encode(quantization), real, name=name)
        if isinstance(op, bundle.Constant):
            real = graph.constant(f"{name}~levels", (op.levels * train.scale).astype(np.float32).reshape(1, *train.shape))
            return graph.add1(Expand((_N, *train.shape)), graph.add1(Encode(quantization), real, name=f"{name}~one"), name=name)
        if isinstance(op, bundle.Route):
            return self._route(op, name)
        if isinstance(op, bundle.Population | bundle.FewSpikes):
            rows = op.theta.T if op.staircase else op.theta
            index = op.theta_map.array().reshape(train.shape)
            theta = graph.constant(f"{name}~theta", rows[..., index].astype(np.int64))
            parameters = theta, self._bias(op)
            if isinstance(op, bundle.FewSpikes):
                few = Rfs if self.prefix else Fs
                return self._summing(op, few(quantization, op.staircase, omitted=op.omitted), parameters)
            return self._summing(op, (Rbif if self.prefix else Bif)(quantization, op.staircase), parameters)
        if isinstance(op, bundle.IntegrateFire):
            theta = graph.constant(f"{name}~theta", op.theta[op.theta_map.array().reshape(train.shape)].astype(np.int64))
            neuron = If(quantization, False, op.reset, op.start_potential, op.shift, op.leak, op.delayed)
            return self._summing(op, neuron, (theta, self._bias(op)))
        if isinstance(op, bundle.Clock):
            given = self._shaped(op.source, train.shape)
            return graph.add1(Clock(op.steps, op.kind, op.seed, op.first), given, name=name)
        if isinstance(op, emitters.Max):
            windows = self._shaped(op.source, (train.size, op.width))
            return graph.add1(MaxPool((op.width,), (op.width,), (0, 0), (1,)), windows, name=name)
        if isinstance(op, bundle.Accumulator | bundle.RunningSum):
            return self._summing(op, Accumulate(), (self._bias(op),))
        if isinstance(op, bundle.Settled):  # a later segment follows from what reads it
            return self.values[op.source]
        if isinstance(op, bundle.Function | bundle.Difference):
            operands = [self.values[source] for source in op.sources]
            body = body_of(op, [value.type for value in operands])
            levels = (train.scale,), (train.lo,), (train.hi,)
            start = op.start if isinstance(op, bundle.Function) and self.few else -1
            function = Function(*levels, start, isinstance(op, bundle.Difference))
            return graph.add(function, *operands, names=(name,), body=body)[0]
        if not isinstance(op, bundle.Product):
            raise UnsupportedError(f"{train.name}: no op of the spiking graph is a {type(op).__name__.lower()}")
        return graph.add1(Product(), *(self._shaped(source, (train.size,)) for source in op.sources), name=name)

    def _real(self, op: bundle.Input, shape: tuple[Dimension, ...]) -> Value:
        """What an encoder rounds."""
        if op.train.name not in self.given:
            return self.graph.input(self._free(self._local(op.source)), TensorType(shape, "f32"))
        value = self.given[op.train.name]
        return value if value.type.shape == shape else self.graph.add1(Expand(shape), value, name=f"{value.name}~spread")

    def _free(self, name: str) -> str:
        unique, count = name, 0
        while unique in self.graph.values:
            count += 1
            unique = f"{name}~{count}"
        return unique

    def _shaped(self, name: str, shape: tuple[int, ...]) -> Value:
        """The value of a train as samples of `shape`."""
        value = self.values[name]
        if value.type.shape == (_N, *shape):
            return value
        return self.graph.add1(Reshape((_N, *shape)), value, name=f"{self._local(name)}~shaped")

    def _route(self, op: bundle.Route, name: str) -> Value:
        graph = self.graph
        flat = [self._shaped(source, (int(np.prod(_sizes(self.values[source]))),)) for source in op.sources]
        whole = flat[0] if len(flat) == 1 else graph.add1(Concat(1), *flat, name=f"{name}~joined")
        index = op.map.array()
        if (index < 0).any():  # an address more, from which nothing comes
            total = concrete(whole.type.shape[1])
            index = np.where(index < 0, total, index)
            whole = graph.add1(Pad((0, 0, 0, 1)), whole, name=f"{name}~padded")
        return graph.add1(Gather(1, tuple(index.tolist()), (index.size,)), whole, name=name)

    def _parameter(self, op: Summing, values: np.ndarray, map_: bundle.IndexMap, what: str) -> Value:
        return self.graph.constant(f"{self._local(op.train.name)}~{what}", values[map_.array()].reshape(op.train.shape))

    def _bias(self, op: Summing) -> Value:
        return self._parameter(op, op.initial, op.initial_map, "bias")

    def _summing(self, op: Summing, neuron: Population | Readout | Accumulate, parameters: tuple[Value, ...]) -> Value:
        shape = op.train.shape
        currents = [self._synapse(synapse, shape) for synapse in op.synapses]
        if not currents:
            raise UnsupportedError(f"{op.train.name}: a population without synapses has no form in the graph")
        return self.graph.add1(neuron, *parameters, *currents, name=self._local(op.train.name))

    def _synapse(self, synapse: Synapse, shape: tuple[int, ...]) -> Value:
        graph, name = self.graph, self._local(synapse.name)
        synapse = _as_list(synapse, shape) if synapse.kind in ("csr", "list") else synapse
        if synapse.spread is not None:
            own = np.arange(int(np.prod(synapse.outputs, dtype=np.int64))).reshape(synapse.outputs)
            try:
                same = np.array_equal(np.broadcast_to(own, shape).reshape(-1), synapse.spread.array())
            except ValueError:
                same = False
            if not same:
                raise UnsupportedError(f"{synapse.name}: its currents spread over neurons in a way that no graph has")
        weights = synapse.weights
        gain = () if synapse.gain is None else tuple(int(bits) for bits in synapse.gain)
        source = self._shaped(synapse.source, synapse.inputs)
        if synapse.kind == "dense":
            return graph.add1(Dense(gain=gain), source, graph.constant(f"{name}~weight", weights), name=name)
        if synapse.kind == "conv":
            conv = Conv(synapse.stride, synapse.padding, synapse.dilation, synapse.groups, gain=gain)
            return graph.add1(conv, source, graph.constant(f"{name}~weight", weights), name=name)
        if synapse.kind == "one":
            assert synapse.weight_map is not None
            index = synapse.weight_map.array()
            spread = graph.constant(f"{name}~weight", weights[index].reshape(synapse.outputs))
            if len(gain) > 1:
                gain = tuple(gain[place] for place in index.tolist())
            return graph.add1(Diagonal(gain=gain), source, spread, name=name)
        assert synapse.rows is not None and synapse.columns is not None
        lists = (weights, synapse.rows, synapse.columns)
        constants = [graph.constant(f"{name}~{what}", part) for what, part in zip(("weight", "rows", "cols"), lists, strict=True)]
        return graph.add1(Sparse(synapse.outputs, gain=gain), source, *constants, name=name)

    def _scan(self, op: bundle.Scan) -> None:
        body = Graph(op.name, SPIKING)
        inner = _Importer(body, f"{op.name}/", self.few)

        def enter(train: Train, type_: TensorType) -> None:
            inner.values[train.name] = body.input(inner._free(inner._local(train.name)), type_)

        operands: list[Value] = []
        for state in op.states:
            quantization = Quantization(state.input.scale, state.input.lo, state.input.hi)
            enter(state.input, TensorType((_N, state.input.size), "spike", quantization))
            operands.append(self._shaped(state.initial, (state.input.size,)))
        sequences = []
        for element in op.elements:
            whole = self._shaped(element.source, (op.windows, element.input.size))
            enter(element.input, whole.type.with_shape((_N, element.input.size)))
            sequences.append(whole)
        # Inputs of the body become sequences of this graph, before values that every window shares.
        for charged in (inside for inside in op.ops if isinstance(inside, bundle.Input)):
            inner.values[charged.train.name] = inner._op(charged)
            sequences.append(self._real(charged, (_N, op.windows, *charged.train.shape)))
        if not sequences:
            raise UnsupportedError(f"scan {op.name}: a scan in the graph needs a sequence, and this one has none")
        shared_values = []
        for shared in op.shared:
            value = self._shaped(shared.source, (shared.input.size,))
            enter(shared.input, value.type)
            shared_values.append(value)
        inner.ops([inside for inside in op.ops if not isinstance(inside, bundle.Input)])
        for index, state in enumerate(op.states):
            body.output(f"next{index}", inner._shaped(state.following, (state.input.size,)))
        for index, result in enumerate(op.results):
            body.output(f"result{index}", inner._shaped(result.source, (result.train.size // op.windows,)))
        for name in inner.readouts:
            body.output(name, inner.values[name])
        names = [*(state.final.name for state in op.states), *(result.train.name for result in op.results), *inner.readouts]
        scan = Scan(len(op.states), len(sequences), 1, op.reverse)
        outputs = self.graph.add(scan, *operands, *sequences, *shared_values, names=(op.name, *names[1:]), body=body)
        self.values.update(zip(names, outputs, strict=True))
        self.readouts += inner.readouts


def _sizes(value: Value) -> list[int]:
    return [concrete(size) for size in value.type.shape[1:]]


def _as_list(synapse: Synapse, shape: tuple[int, ...]) -> Synapse:
    """A sparse synapse with sorted rows, of the population's own shape where it has its size."""
    one_gain = synapse.gain is not None and len(synapse.gain) == 1
    sources, targets, weights = connections(dataclasses.replace(synapse, gain=None) if one_gain else synapse)
    order = np.argsort(targets, kind="stable")
    outputs = synapse.outputs
    if synapse.spread is None and int(np.prod(outputs, dtype=np.int64)) == int(np.prod(shape, dtype=np.int64)):
        outputs = shape
    return dataclasses.replace(
        synapse,
        kind="list",
        weights=weights[order],
        rows=targets[order],
        columns=sources[order],
        outputs=outputs,
        gain=synapse.gain if one_gain else None,
    )
