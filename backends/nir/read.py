"""Import: an exact export comes back as the spiking graph it was; other NIR graphs where their meaning is exact."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from snnir.backends.nir.few_spikes import FewSpikeNeurons, read_few_spikes
from snnir.backends.nir.foreign import float_graph
from snnir.backends.nir.host import read_host
from snnir.backends.nir.library import NirNode, read_graph
from snnir.backends.nir.neurons import read_neurons, readout_graph, same_graph
from snnir.backends.nir.synapses import add_synapse
from snnir.backends.nir.write import FORMAT, VERSION
from snnir.errors import FileFormatError, GraphError, SnnirError
from snnir.ir.graph import Graph, Value
from snnir.ir.op import SPIKING
from snnir.ir.ops import Bif, Concat, Encode, Fs, Gather, Readout, Reshape
from snnir.ir.rewrite import append, extend
from snnir.ir.types import Quantization

__all__ = ["read_nir"]


def read_nir(path: str | Path) -> Graph:
    """Read a `.nir` file.

    An exact export of snnir comes back as a spiking graph: its neurons are read from the primitives, and metadata says
    only what they are called, the real number of a level and what the host computes around the network. Bounds are not
    certified yet. Any other NIR graph without neurons becomes a float graph. Raises `FileFormatError` for files that are
    damaged or changed, `UnsupportedError` listing by name what has no exact meaning here.
    """
    path = Path(path)
    graph = read_graph(path)
    metadata = graph.metadata
    if metadata.get("format") != FORMAT:
        return float_graph(graph, path.stem)
    if metadata.get("version") not in range(1, VERSION + 1):
        raise FileFormatError(
            f"{path} has format version {metadata.get('version')}, this snnir reads versions 1 to {VERSION}; export it again"
        )
    try:
        return _Reader(graph).read()
    except SnnirError as error:
        raise FileFormatError(f"{path} is not an exact export any more: {error}") from error
    except (KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
        raise FileFormatError(f"{path} is not an exact export any more: {type(error).__name__}: {error}") from error


def _shape(metadata: dict[str, Any]) -> tuple[int, ...]:
    text = str(metadata["shape"])
    return tuple(int(size) for size in text.split(",")) if text else ()


class _Reader:
    def __init__(self, written: NirNode) -> None:
        self.written = written
        self.graph = Graph(str(written.metadata["name"]), level=SPIKING)
        self.sources: dict[str, list[str]] = {name: [] for name in written.nodes}
        for source, target in written.edges:
            self.sources[target].append(source)
        self.emitters: dict[str, Value] = {}
        self.readouts: dict[str, Value] = {}
        self.elements: dict[str, dict[int, Value]] = {}

    def read(self) -> Graph:
        before, after = read_host(self.written.metadata)
        graph = self.graph
        graph.finite |= before.finite
        entering = {value: graph.input(value.name, value.type) for value in before.inputs}
        inputs = {value.name: value for value in entering.values()}
        append(graph, before, entering)
        given = {name: entering[value] for name, value in before.outputs.items()}
        pending = []
        for name, node in self.written.nodes.items():
            kind = node.metadata.get("kind")
            if kind == "encoder":
                levels = Quantization(float(node.metadata["scale"]), int(node.metadata["lo"]), int(node.metadata["hi"]))
                real = self._element(given[str(node.metadata["real"])], node.metadata)
                self.emitters[name] = graph.add1(Encode(levels), real, name=str(node.metadata["value"]))
            elif kind in ("bif", "fs", "readout"):
                pending.append(name)
        while pending:
            ready = [name for name in pending if all(self._origin(source) in self.emitters for source in self.sources[name])]
            if not ready:
                raise GraphError(f"populations {', '.join(pending)} wait for one another, or for a node without a meaning here")
            for name in ready:
                self._target(name)
            pending = [name for name in pending if name not in ready]
        known = {**inputs, **given, **self._stacked()}
        leaving = {value: known[value.name] for value in after.inputs}
        extend(graph, after, leaving)
        return graph

    def _element(self, sequence: Value, metadata: dict[str, Any]) -> Value:
        """What an encoder rounds: of one inside a scan, an element of a sequence."""
        if "element" not in metadata:
            return sequence
        element = int(metadata["element"])
        return self.graph.add1(Gather(1, (element,), ()), sequence, name=f"{sequence.name}[{element}]")

    def _stacked(self) -> dict[str, Value]:
        """The readouts by name; of those inside scans the elements side by side."""
        found = dict(self.readouts)
        for name, parts in self.elements.items():
            rows = []
            for _, value in sorted(parts.items()):
                shape = value.type.shape
                rows.append(self.graph.add1(Reshape((shape[0], 1, *shape[1:])), value, name=f"{value.name}.row"))
            found[name] = self.graph.add1(Concat(1), *rows, name=f"{name}.stacked")
        return found

    def _origin(self, name: str) -> str:
        """The emitter at the start of a chain of layers."""
        seen = set()
        while self.written.nodes[name].metadata.get("kind") is None:
            if len(self.sources[name]) != 1 or name in seen:
                raise GraphError(f"node {name} is not one of a chain from a population or an input")
            seen.add(name)
            (name,) = self.sources[name]
        return name

    def _layers(self, name: str) -> list[NirNode]:
        """The layers of a chain, first to last."""
        found = []
        while self.written.nodes[name].metadata.get("kind") is None:
            found.append(self.written.nodes[name])
            (name,) = self.sources[name]
        return found[::-1]

    def _target(self, name: str) -> None:
        node = self.written.nodes[name]
        shape, value = _shape(node.metadata), str(node.metadata["value"])
        graph, currents = self.graph, []
        for source in self.sources[name]:
            emitter = self.emitters[self._origin(source)]
            try:
                currents.append(add_synapse(graph, emitter, self._layers(source), shape, value))
            except ValueError as error:
                raise GraphError(f"the synapses {source} into {value}: {error}") from error
        if node.metadata["kind"] == "readout":
            scale = np.asarray(node.nodes["scale"].scale, np.float64)
            bias = np.asarray(node.nodes["bias"].scale if "bias" in node.nodes else np.zeros_like(scale), np.float64)
            if not same_graph(node, readout_graph(scale, bias, {})) or (bias != np.floor(bias)).any():
                raise GraphError(f"readout {value}: its primitives are not those that sum up and scale")
            operands = (
                graph.constant(f"{value}.scale", scale.reshape(shape)),
                _integer(graph, f"{value}.bias", bias.reshape(shape)),
            )
            readout = graph.add1(Readout(), *operands, *currents, name=value)
            if "element" in node.metadata:
                self.elements.setdefault(str(node.metadata["real"]), {})[int(node.metadata["element"])] = readout
            else:
                self.readouts[value] = readout
            return
        few = node.metadata["kind"] == "fs"
        try:
            neurons = read_few_spikes(node) if few else read_neurons(node)
        except ValueError as error:
            raise GraphError(f"population {value}: {error}") from error
        theta = neurons.theta.reshape(*neurons.theta.shape[:1], *shape) if neurons.staircase else neurons.theta.reshape(shape)
        levels = Quantization(float(node.metadata["scale"]), neurons.lo, neurons.hi)
        parameters = graph.constant(f"{value}.theta", theta), _integer(graph, f"{value}.bias", neurons.bias.reshape(shape))
        op: Fs | Bif = Bif(levels, neurons.staircase)
        if isinstance(neurons, FewSpikeNeurons):
            op = Fs(levels, neurons.staircase, omitted=neurons.omitted)
        self.emitters[name] = graph.add1(op, *parameters, *currents, name=value)


def _integer(graph: Graph, name: str, array: np.ndarray) -> Value:
    return graph.constant(name, array.astype(np.int64))
