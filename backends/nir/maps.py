"""Linear maps from emitters to currents, through synapses and data movement: evaluated, never derived twice.

An emitter is an encoder or a population. Between an emitter and a current stand data movement and one synapse, all of
them affine; what they do to one emitter is seen by letting each of its neurons send one spike.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from snnir.errors import UnsupportedError
from snnir.ir.dims import BATCH, concrete
from snnir.ir.execute import apply
from snnir.ir.graph import Graph, Node, Value
from snnir.ir.ops import Bif, Encode, Movement, Readout

__all__ = ["MOST_ENTRIES", "Maps"]

MOST_ENTRIES = 1 << 25
"""The most entries of a matrix that a synapse is written as where NIR has no node of its geometry."""
_AT_ONCE = 256


class Maps:
    """The affine maps of one graph without scans."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.fixed = set(graph.constants)
        self.emitters: list[Value] = []
        for node in graph.nodes:
            plain = isinstance(node.op, Encode | Movement) or all(value.type.is_plain for value in node.outputs)
            if plain and not isinstance(node.op, Readout) and all(value in self.fixed for value in node.operands):
                self.fixed.update(node.outputs)
            elif isinstance(node.op, Encode | Bif):
                self.emitters.append(node.output)
        self._heard: dict[Value, tuple[Value, ...]] = {value: (value,) for value in self.emitters}

    def sample(self, value: Value) -> tuple[int, ...]:
        """The shape of one sample of a value with a batch axis."""
        return tuple(concrete(size) for size in value.type.shape[1:])

    def heard(self, value: Value) -> tuple[Value, ...]:
        """The emitters that a spiking value or a current depends on, in order."""
        if value not in self._heard:
            node = value.producer
            found: dict[Value, None] = {}
            if node is not None and value not in self.fixed:
                for operand in node.operands:
                    found.update(dict.fromkeys(self.heard(operand)))
            self._heard[value] = tuple(found)
        return self._heard[value]

    def start(self, current: Value) -> np.ndarray:
        """The current [1, ...] without any spike: biases of synapses and levels of constants."""
        return self._evaluate(current, {}, 1)

    def matrix(self, synapse: Node, emitter: Value, shape: tuple[int, ...]) -> np.ndarray:
        """Weights int64 [outputs, inputs] from the flattened emitter to the current, spread over a sample of `shape`.

        Raises `UnsupportedError` naming the synapse where that is more than `MOST_ENTRIES`.
        """
        inputs, outputs = math.prod(self.sample(emitter)), math.prod(shape)
        if inputs * outputs > MOST_ENTRIES:
            raise UnsupportedError(
                f"{synapse.describe()}: written as one matrix it takes {outputs} x {inputs} entries, more than {MOST_ENTRIES}; "
                "NIR has nodes only for dense layers and for convolutions with equal padding on both sides and square kernels"
            )
        rest = self.start(synapse.output)
        weights = np.zeros((inputs, outputs), np.int64)
        for first in range(0, inputs, _AT_ONCE):
            rows = range(first, min(first + _AT_ONCE, inputs))
            ones = np.zeros((len(rows), inputs), np.int64)
            ones[np.arange(len(rows)), list(rows)] = 1
            sent = {emitter: ones.reshape(len(rows), *self.sample(emitter))}
            current = self._evaluate(synapse.output, sent, len(rows)) - rest
            weights[rows.start : rows.stop] = np.broadcast_to(current, (len(rows), *shape)).reshape(len(rows), -1)
        return weights.T

    def _evaluate(self, value: Value, sent: Mapping[Value, np.ndarray], batch: int) -> np.ndarray:
        """A spiking value or current of `batch` samples, where the emitters of `sent` send these spikes and others none."""
        if value in sent:
            return sent[value]
        if value in self.fixed:
            return self._charged(value, batch)
        if value in self._heard and self._heard[value] == (value,):
            return np.zeros((batch, *self.sample(value)), np.int64)
        node = value.producer
        assert node is not None
        if isinstance(node.op, Movement):
            return node.op.bind({BATCH: batch}).evaluate(*(self._evaluate(operand, sent, batch) for operand in node.operands))[0]
        spikes, *weights = node.operands
        return node.op.evaluate(self._evaluate(spikes, sent, batch), *(weight.array for weight in weights))[0]

    def _charged(self, value: Value, batch: int) -> np.ndarray:
        """The levels of a constant, in every sample."""
        levels, batched = self._constant(value, batch), value.type.batch_axis == 0
        sample = levels.shape[1:] if levels.ndim and (batched or levels.shape[0] == 1) else levels.shape
        return np.broadcast_to(levels, (batch, *sample))

    def _constant(self, value: Value, batch: int) -> np.ndarray:
        if value.is_constant:
            return value.array
        node = value.producer
        assert node is not None
        return apply(node, [self._constant(operand, batch) for operand in node.operands], {BATCH: batch})[
            node.outputs.index(value)
        ]
