"""Export: a machine program as a NIR file."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from snnir.backends.nir.connections import Connection, connections_of, layer_nodes
from snnir.backends.nir.few_spikes import FewSpikeNeurons, few_spikes_graph
from snnir.backends.nir.host import host_metadata
from snnir.backends.nir.library import NirNode, load_nir, save_graph
from snnir.backends.nir.lossy import layer_bias, measure, rate_layers, rate_neurons, rate_steps, refuse_lossy
from snnir.backends.nir.network import Describer, Network, Target, network_of, refuse_ops
from snnir.backends.nir.neurons import Neurons, neurons_graph, readout_graph
from snnir.backends.nir.report import MODES, Mismatch, NirReport
from snnir.errors import UnsupportedError, UsageError
from snnir.ir.graph import Node
from snnir.machine.host_graphs import HostGraphs
from snnir.machine.interpreter import interpret
from snnir.machine.program import FewSpikes, Input, IntegerProgram, Population, Readout, Scan
from snnir.machine.ranges import certify
from snnir.machine.unrolling import WrittenOut, written_out

__all__ = ["FORMAT", "VERSION", "Source", "levels_of", "write_nir"]

FORMAT, VERSION = "snnir-exact", 2
"""Version 2 has few-spike neurons, and names encoders and readouts inside scans by their element."""
_FLOAT32 = 1 << 23


@dataclass(frozen=True)
class Source:
    """A machine program to be written, what the host computes around it, and the nodes of the model behind its ops."""

    program: IntegerProgram
    host: HostGraphs
    nodes: Mapping[str, Node]


def write_nir(
    source: Source, path: str | Path, mode: str = "exact", *, data: Mapping[str, np.ndarray] | None = None, scans: bool = True
) -> NirReport:
    """Write a machine program to a `.nir` file, whole or not at all.

    `mode` "exact" builds each population of standard primitives; "lossy" writes one `nir.IF` for each, and measures on
    `data` (arrays by input name) how far that is from the integers. `scans` writes recurrent layers out element by
    element. Raises `UsageError`, and `UnsupportedError` listing by name what NIR cannot express.
    """
    nir = load_nir()
    if mode not in MODES:
        raise UsageError(f"mode {mode!r} is unknown; choose one of {', '.join(MODES)}")
    if mode == "lossy" and data is None:
        raise UsageError("a lossy export is measured against the integer network: give data (command line: --data X.npy)")
    refuse_ops(source.program, source.nodes, scans)
    flat = written_out(source.program)
    nodes = {**source.nodes, **{name: source.nodes[base] for name, (base, _) in flat.copies.items() if base in source.nodes}}
    registers = certify(flat.program).registers
    sums = {name: max(map(abs, ranges["sum"])) for name, ranges in registers.items()}
    network = network_of(flat.program, nodes, sums)
    if not network.inputs:
        raise UnsupportedError(f"program {flat.program.name} encodes no input, so a NIR graph of it has none")
    if mode == "lossy":
        refuse_lossy(network, Describer(nodes))
    connections, shapes = connections_of(network, plain=mode == "lossy")
    builder = _Builder(network, flat, shapes, mode, rate_steps(network) if mode == "lossy" else 0)
    for target in network.targets:
        builder.target(target, connections[target.name])
    metadata: dict[str, object] = {"format": f"snnir-{mode}", "version": VERSION, "name": flat.program.name}
    if mode == "exact":
        metadata.update(host_metadata(source.host))
    written = nir.NIRGraph(builder.nodes, builder.edges, metadata=metadata)
    mismatches: list[Mismatch] = []
    samples = 0
    if mode == "lossy" and data is not None:
        counts = interpret(flat.program, levels_of(source, flat, data)).counts
        mismatches = measure(network, connections, builder.steps, counts)
        samples = len(next(iter(counts.values())))
    save_graph(Path(path), written)
    return NirReport(
        path=Path(path),
        mode=mode,
        nodes=_count(written),
        populations=len(network.populations),
        neurons=sum(math.prod(target.shape) for target in network.populations),
        inputs=tuple(builder.inputs),
        outputs=tuple(builder.outputs),
        steps=builder.steps,
        unrolled_scans=tuple(f"{op.name}: {op.windows} elements" for op in source.program.ops if isinstance(op, Scan)),
        unrolled_synapses=tuple(builder.unrolled),
        host=source.program.host,
        float32=all(sums[target.name] < _FLOAT32 for target in network.targets),
        mismatches=tuple(mismatches),
        samples=samples,
    )


def levels_of(source: Source, flat: WrittenOut, data: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The levels of every input of the program without scans, int64 [N, n]."""
    from snnir.ir.ops import Encode
    from snnir.ir.types import Quantization

    reals = source.host.reals(data, source.program)
    reverse = {op.name: op.reverse for op in source.program.ops if isinstance(op, Scan)}
    found = {}
    for op in flat.program.ops:
        if isinstance(op, Input):
            train = op.train
            base, element = flat.copies.get(train.name, (train.name, None))
            real = reals[base]
            if element is not None:
                scan = next(name for name in reverse if base.startswith(f"{name}/"))
                real = real[:, real.shape[1] - 1 - element if reverse[scan] else element]
            (levels,) = Encode(Quantization(train.scale, train.lo, train.hi)).evaluate(real)
            found[train.name] = levels.astype(np.int64)
    return found


def _count(graph: NirNode) -> int:
    return sum(1 + (_count(node) if hasattr(node, "nodes") else 0) for node in graph.nodes.values())


def _shape_text(shape: tuple[int, ...]) -> str:
    return ",".join(map(str, shape))


class _Builder:
    """The top level of the NIR graph under construction."""

    def __init__(self, network: Network, flat: WrittenOut, shapes: Mapping[str, tuple[int, ...]], mode: str, steps: int) -> None:
        self.network, self.copies, self.shapes, self.mode, self.steps = network, flat.copies, shapes, mode, steps
        self.nodes: dict[str, NirNode] = {}
        self.edges: list[tuple[str, str]] = []
        self.names: dict[str, str] = {}
        self.inputs: list[tuple[str, float, int, int]] = []
        self.outputs: list[tuple[str, str]] = []
        self.unrolled: list[str] = []
        for op in network.inputs:
            train = op.train
            metadata = {"kind": "encoder", **self._value(train.name), "shape": _shape_text(train.shape)}
            metadata |= {"scale": train.scale, "lo": train.lo, "hi": train.hi}
            node = load_nir().Input({"input": np.array(shapes[train.name])}, metadata=metadata)
            self.names[train.name] = self._enter(train.name, node)
            self.inputs.append((self.names[train.name], train.scale, train.lo, train.hi))

    def _value(self, name: str) -> dict[str, object]:
        """What a train is called, and for copies of a body what in it they are, for which element."""
        base, element = self.copies.get(name, (name, None))
        return {"value": name, "real": base, **({} if element is None else {"element": element})}

    def _enter(self, name: str, node: NirNode) -> str:
        """Add a node under a name that HDF5 and other frameworks can take."""
        base = re.sub(r"\W+", "_", name).strip("_") or "node"
        unique, count = base, 0
        while unique in self.nodes:
            count += 1
            unique = f"{base}_{count}"
        self.nodes[unique] = node
        return unique

    def target(self, target: Target, connections: list[Connection]) -> None:
        """Add a population or readout, and the connections into it."""
        readout = isinstance(target.op, Readout)
        name = self._enter(target.name, self._node(target))
        self.names[target.name] = name
        for index, connection in enumerate(connections):
            if connection.unrolled:
                self.unrolled.append(f"{target.name} from {connection.emitter}: {connection.unrolled}")
            layers, bias = connection.layers, None
            if self.mode == "lossy":
                layers = rate_layers(connection, target, self.steps)
                bias = layer_bias(target, connection, self.steps) if index == 0 else None
            place = self._chain(self.names[connection.emitter], f"{name}_", layer_nodes(layers, bias))
            self.edges.append((place, name))
        output = name
        if readout and self.mode == "exact":
            output = self._enter(f"{name}_output", load_nir().Output({"output": np.array(self.shapes[target.name])}))
            self.edges.append((name, output))
        if readout:
            self.outputs.append((output, target.name))

    def _chain(self, place: str, prefix: str, nodes: list[tuple[str, NirNode]]) -> str:
        """Add nodes one after the other behind `place`; returns the last."""
        for kind, node in nodes:
            name = self._enter(prefix + kind, node)
            self.edges.append((place, name))
            place = name
        return place

    def _node(self, target: Target) -> NirNode:
        op, shape = target.op, self.shapes[target.name]
        metadata: dict[str, object] = {**self._value(target.name), "shape": _shape_text(target.shape)}
        if self.mode == "lossy":
            if isinstance(op, Readout):
                return load_nir().Output({"output": np.array(shape)}, metadata=metadata)
            return rate_neurons(shape, metadata)
        if isinstance(op, Readout):
            metadata["kind"] = "readout"
            return readout_graph(target.parameter.reshape(shape), target.bias.reshape(shape), metadata)
        theta = target.parameter.reshape(*target.parameter.shape[:1], *shape) if op.staircase else target.parameter.reshape(shape)
        bias, levels = target.bias.reshape(shape), (op.train.lo, op.train.hi)
        metadata |= {"kind": "bif" if isinstance(op, Population) else "fs", "scale": op.train.scale}
        if isinstance(op, FewSpikes):
            few = FewSpikeNeurons(op.staircase, theta, bias, *levels, op.start_step, op.omitted)
            return few_spikes_graph(few, metadata)
        return neurons_graph(Neurons(op.staircase, theta, bias, *levels), metadata)
