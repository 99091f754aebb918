"""Export: a spiking graph as a NIR file."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from snnir.backends.nir.connections import Connection, connections_of, layer_nodes
from snnir.backends.nir.host import host_graphs, host_metadata
from snnir.backends.nir.library import exact_floats, load_nir, save_graph
from snnir.backends.nir.lossy import (
    bias_nodes,
    layer_bias,
    measure,
    rate_bias,
    rate_layers,
    rate_neurons,
    rate_steps,
    refuse_lossy,
)
from snnir.backends.nir.network import Network, Target, network_of, refuse_ops
from snnir.backends.nir.neurons import Neurons, neurons_graph, readout_graph
from snnir.backends.nir.report import MODES, NirReport
from snnir.backends.nir.unroll import unroll
from snnir.errors import UnsupportedError, UsageError
from snnir.ir.graph import Graph, Value
from snnir.ir.op import SPIKING
from snnir.ir.ops import Bif, Encode

__all__ = ["FORMAT", "VERSION", "write_nir"]

FORMAT, VERSION = "snnir-exact", 1
_FLOAT32 = 1 << 23


def write_nir(
    graph: Graph,
    path: str | Path,
    mode: str = "exact",
    *,
    data: Mapping[str, np.ndarray] | None = None,
    scans: bool = False,
    lengths: Mapping[str, int] | None = None,
) -> NirReport:
    """Write a spiking graph to a `.nir` file, whole or not at all.

    `mode` "exact" builds each population of standard primitives; "lossy" writes one `nir.IF` for each, and measures on
    `data` (arrays by input name) how far that is from the integers. `scans` writes recurrent layers out element by
    element, `lengths` sizes named dimensions for it. Raises `UsageError`, and `UnsupportedError` listing by name what
    NIR cannot express.
    """
    nir = load_nir()
    if mode not in MODES:
        raise UsageError(f"mode {mode!r} is unknown; choose one of {', '.join(MODES)}")
    if graph.level != SPIKING:
        raise UsageError(f"graph {graph.name} is at the {graph.level} level; a NIR file holds one of the {SPIKING} level")
    if mode == "lossy" and data is None:
        raise UsageError("a lossy export is measured against the integer network: give data (command line: --data X.npy)")
    refuse_ops(graph, scans)
    flat, lines = unroll(graph, lengths or {})
    network = network_of(flat)
    if not network.encoders:
        raise UnsupportedError(f"program {graph.name} encodes no input, so a NIR graph of it has none")
    if mode == "lossy":
        refuse_lossy(network)
    connections, shapes = connections_of(network)
    builder = _Builder(network, shapes, mode, rate_steps(network) if mode == "lossy" else 0)
    for target in network.targets:
        builder.target(target, connections[target])
    before, after = host_graphs(flat, [node.operands[0] for node in network.encoders])
    metadata: dict[str, object] = {"format": f"snnir-{mode}", "version": VERSION, "name": flat.name}
    if mode == "exact":
        metadata.update(host_metadata(before, after))
    written = nir.NIRGraph(builder.nodes, builder.edges, metadata=metadata)
    mismatches, samples = ((), 0) if mode == "exact" or data is None else measure(network, connections, builder.steps, data)
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
        unrolled_scans=tuple(lines),
        unrolled_synapses=tuple(builder.unrolled),
        host=tuple(node.describe() for part in (before, after) for node in part.nodes),
        float32=all(max(map(abs, target.op.accumulator)) < _FLOAT32 for target in network.targets),
        mismatches=tuple(mismatches),
        samples=samples,
    )


def _count(graph: Any) -> int:
    return sum(1 + (_count(node) if hasattr(node, "nodes") else 0) for node in graph.nodes.values())


def _shape_text(shape: tuple[int, ...]) -> str:
    return ",".join(map(str, shape))


class _Builder:
    """The top level of the NIR graph under construction."""

    def __init__(self, network: Network, shapes: Mapping[Value, tuple[int, ...]], mode: str, steps: int) -> None:
        self.network, self.shapes, self.mode, self.steps = network, shapes, mode, steps
        self.nodes: dict[str, Any] = {}
        self.edges: list[tuple[str, str]] = []
        self.names: dict[Value, str] = {}
        self.inputs: list[tuple[str, float, int, int]] = []
        self.outputs: list[tuple[str, str]] = []
        self.unrolled: list[str] = []
        for node in network.encoders:
            assert isinstance(node.op, Encode)
            levels = node.op.quantization
            metadata: dict[str, object] = {
                "kind": "encoder",
                "value": node.output.name,
                "real": node.operands[0].name,
                "shape": _shape_text(network.maps.sample(node.output)),
                "scale": levels.scale,
                "lo": levels.lo,
                "hi": levels.hi,
            }
            shape = np.array(shapes[node.output])
            name = self._enter(node.output.name, load_nir().Input({"input": shape}, metadata=metadata))
            self.names[node.output] = name
            self.inputs.append((name, levels.scale, levels.lo, levels.hi))

    def _enter(self, name: str, node: Any) -> str:
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
        name = self._enter(target.value.name, self._node(target))
        self.names[target.value] = name
        for index, connection in enumerate(connections):
            if connection.unrolled:
                self.unrolled.append(f"{target.value.name} from {connection.emitter.name}: {connection.unrolled}")
            layers, bias = connection.layers, None
            if self.mode == "lossy":
                layers = rate_layers(connection, self.steps)
                bias = layer_bias(layers, rate_bias(target)) if index == 0 else None
            place = self._chain(self.names[connection.emitter], f"{name}_", layer_nodes(layers, bias))
            self.edges.append((place, name))
            if self.mode == "lossy" and index == 0 and bias is None:
                charge = rate_bias(target).reshape(self.shapes[target.value])
                self.edges.append((self._chain(place, f"{name}_", bias_nodes(charge)), name))
        if not isinstance(target.op, Bif):
            output = self._enter(f"{name}_output", load_nir().Output({"output": np.array(self.shapes[target.value])}))
            self.edges.append((name, output))
            self.outputs.append((output, target.value.name))

    def _chain(self, place: str, prefix: str, nodes: list[tuple[str, Any]]) -> str:
        """Add nodes one after the other behind `place`; returns the last."""
        for kind, node in nodes:
            name = self._enter(prefix + kind, node)
            self.edges.append((place, name))
            place = name
        return place

    def _node(self, target: Target) -> Any:
        op, shape = target.op, self.shapes[target.value]
        metadata: dict[str, object] = {"value": target.value.name, "shape": _shape_text(target.shape)}
        if isinstance(op, Bif):
            if self.mode == "lossy":
                return rate_neurons(target, shape, self.steps, metadata)
            metadata |= {"kind": "bif", "scale": op.quantization.scale}
            lead = target.parameter.shape[:1] if op.staircase else ()
            theta = target.parameter.reshape(*lead, *shape)
            levels = op.quantization
            return neurons_graph(Neurons(op.staircase, theta, target.bias.reshape(shape), levels.lo, levels.hi), metadata)
        if self.mode == "lossy":
            return load_nir().Scale(exact_floats(target.parameter.reshape(shape) / self.steps), metadata=metadata)
        metadata["kind"] = "readout"
        return readout_graph(target.parameter.reshape(shape), target.bias.reshape(shape), metadata)
