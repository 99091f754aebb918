"""A spiking graph without scans as populations that are joined by linear maps; what NIR cannot say is refused by name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from snnir.backends.nir.maps import Maps
from snnir.errors import Refusal, UnsupportedError
from snnir.ir.dims import BATCH, dim
from snnir.ir.graph import Graph, Node, Value
from snnir.ir.op import Op
from snnir.ir.ops import Bif, Encode, Fs, Function, MaxPool, Movement, Product, Readout, Scan

__all__ = ["Network", "Target", "network_of", "refuse_ops"]

MOST_LEVELS = 4096
"""The most levels of a staircase that are written: each is a Threshold of its own."""
_REASONS: dict[type[Op], str] = {
    Fs: "NIR has no neuron that waits until its input is complete and then tells it bit by bit; compile with neuron='bif'",
    MaxPool: "NIR has no maximum; use average or strided convolutions, or a pool before the activation",
    Product: "NIR has no product of two signals (gates of GRU and LSTM, SiLU, attention)",
    Function: "NIR has no functions of complete levels (softmax, normalisations, quotients)",
}
_EXACT = 1 << 52
"""Below this, sums and half-integers are exact in float64."""


@dataclass(eq=False)
class Target:
    """A population or a readout: what it starts with, and the currents that reach it from emitters."""

    node: Node
    shape: tuple[int, ...]
    """Of one sample."""
    bias: np.ndarray
    """int64 [shape]: the sum at step 0 without any spike: bias, biases of synapses, constants that are charged."""
    currents: list[tuple[Node, Value]] = field(default_factory=list)
    """(synapse, emitter): one entry for each emitter that a synapse hears."""

    @property
    def op(self) -> Bif | Readout:
        """The population or readout."""
        op = self.node.op
        assert isinstance(op, Bif | Readout)
        return op

    @property
    def value(self) -> Value:
        """Its result."""
        return self.node.output

    @property
    def parameter(self) -> np.ndarray:
        """Thresholds int64 [shape] or [levels, shape], or the scale f64 [shape] of a readout."""
        array = self.node.operands[0].array
        if isinstance(self.op, Bif) and self.op.staircase:
            rows = array.reshape(len(array), *([1] * (len(self.shape) + 1 - array.ndim)), *_sample(array.shape[1:], self.shape))
            return np.broadcast_to(rows, (len(array), *self.shape)).astype(np.int64)
        dtype = np.int64 if isinstance(self.op, Bif) else np.float64
        return np.broadcast_to(array.reshape(_sample(array.shape, self.shape)), self.shape).astype(dtype)


@dataclass(eq=False)
class Network:
    """Encoders and targets of a graph, in order."""

    graph: Graph
    maps: Maps
    encoders: list[Node]
    targets: list[Target]

    @property
    def populations(self) -> list[Target]:
        """The targets that are populations."""
        return [target for target in self.targets if isinstance(target.op, Bif)]


def _sample(shape: tuple[int, ...], sample: tuple[int, ...]) -> tuple[int, ...]:
    """A parameter's shape without the batch axis, where it has one."""
    return shape[1:] if len(shape) == len(sample) + 1 else shape


def network_of(graph: Graph) -> Network:
    """Raises `UnsupportedError` listing every node that NIR cannot express, each with the reason."""
    maps = Maps(graph)
    _raise(graph, list(_refused(graph, maps)))
    encoders = [node for node in graph.nodes if isinstance(node.op, Encode) and node.output in maps.emitters]
    targets = []
    for node in graph.nodes:
        if not isinstance(node.op, Bif | Readout):
            continue
        shape = maps.sample(node.output)
        synapses = [value.producer for value in node.operands[2:] if value.producer is not None]
        total = node.operands[1].array.astype(np.int64)
        bias = np.broadcast_to(total.reshape(_sample(total.shape, shape)), shape).astype(np.int64)
        target = Target(node, shape, bias)
        for synapse in synapses:
            target.bias = target.bias + np.broadcast_to(maps.start(synapse.output), (1, *shape))[0]
            target.currents += [(synapse, emitter) for emitter in maps.heard(synapse.output)]
        targets.append(target)
    return Network(graph, maps, encoders, targets)


def refuse_ops(graph: Graph, unrolled: bool) -> None:
    """Raise `UnsupportedError` for ops that NIR lacks, bodies included; scans count unless they will be written out."""
    refusals = []
    for _, node in graph.walk():
        for kind, reason in _REASONS.items():
            if isinstance(node.op, kind) and node.outputs[0].type.dtype == "spike":
                refusals.append(Refusal(node.describe(), reason, node.origin))
        if isinstance(node.op, Scan) and not unrolled:
            reason = (
                f"its neurons start afresh in each window of {node.outputs[0].name!r}, and NIR has no windows; write it out "
                "element by element with unroll=True (command line: --unroll)"
            )
            refusals.append(Refusal(node.describe(), reason, node.origin))
    _raise(graph, refusals)


def _raise(graph: Graph, refusals: Sequence[Refusal]) -> None:
    if refusals:
        lines = "".join(f"\n  {refusal}" for refusal in refusals)
        raise UnsupportedError(f"program {graph.name} has no NIR form:{lines}", refusals)


def _refused(graph: Graph, maps: Maps) -> Iterator[Refusal]:
    batch = dim(BATCH)
    from_readouts: set[Value] = set()
    for node in graph.nodes:
        op, value = node.op, node.outputs[0]

        def refuse(reason: str, node: Node = node) -> Refusal:
            return Refusal(node.describe(), reason, node.origin)

        if isinstance(op, Readout) or any(operand in from_readouts for operand in node.operands):
            from_readouts.update(node.outputs)
        if isinstance(op, Encode) and value in from_readouts:
            yield refuse("it encodes what the host computes from settled sums: two networks one after the other, not one")
        if isinstance(op, Bif | Readout) or value in maps.emitters:
            shape = value.type.shape
            if not (shape and shape[0] == batch):
                yield refuse(f"its axis 0 is not the batch ({value.type}), but a NIR graph is for one sample")
            elif any(not isinstance(size, int) for size in shape[1:]):
                yield refuse(f"its size is open ({value.type}); give the lengths to write it for, like lengths={{'T': 8}}")
        if isinstance(op, Bif):
            yield from (refuse(reason) for reason in _unfit(op))
        if isinstance(op, Bif | Readout):
            if any(operand.producer is None or isinstance(operand.producer.op, Movement) for operand in node.operands[2:]):
                yield refuse("a current must come from a synapse")
            if not op.accumulator:
                yield refuse("its sums are not certified; end the pipeline with certify-bounds")
            elif max(map(abs, op.accumulator)) >= _EXACT:
                yield refuse(f"its sums reach {max(map(abs, op.accumulator))}, beyond what the floats of NIR hold exactly")
    for name, value in graph.outputs.items():
        if value.type.is_levels:
            yield Refusal(f"output {name}", "it is a spike train; give it out through a readout")


def _unfit(op: Bif) -> Iterator[str]:
    levels = op.quantization.hi - op.quantization.lo
    if not levels:
        yield "it has one level only, so it never fires"
    if op.staircase and levels > MOST_LEVELS:
        yield f"a staircase of {levels} levels takes as many Thresholds; at most {MOST_LEVELS}: give it fewer bits (--state-bits)"
