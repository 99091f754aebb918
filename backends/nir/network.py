"""A machine program without scans as populations that are joined by linear maps; what NIR cannot say is refused by name."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from snnir.errors import Refusal, UnsupportedError
from snnir.ir.graph import Node
from snnir.machine.emitters import Emitter
from snnir.machine.program import (
    Accumulator,
    Constant,
    FewSpikes,
    Function,
    Input,
    IntegerProgram,
    Op,
    Population,
    Product,
    Readout,
    Route,
    Scan,
    Settled,
    Synapse,
)
from snnir.machine.synapses import currents, to_neurons

__all__ = ["MOST_ENTRIES", "Describer", "Network", "Target", "Wiring", "matrix_of", "network_of", "raise_refusals", "refuse_ops"]

MOST_LEVELS = 4096
"""The most levels of a staircase that are written: each is a Threshold of its own."""
MOST_ENTRIES = 1 << 25
"""The most entries of a matrix that a synapse is written as where NIR has no node of its geometry."""
_EXACT = 1 << 52
"""Below this, sums and half-integers are exact in float64."""
_FUNCTION = (
    "NIR has no functions of complete levels (softmax, normalisations, quotients): write one file for each part between them, "
    "with segments=True (command line: --segments)"
)
_CLOCK = (
    "NIR says neither how long neurons run nor what inputs send at each step; compile with neuron='bif' and mode='lossy' "
    "(command line: --lossy), which writes nir.IF neurons for a clock that the reader chooses, or make a bundle (snnir bundle)"
)
_REASONS: dict[str, str] = {
    "max": "NIR has no maximum; use average or strided convolutions, or a pool before the activation",
    "product": (
        "NIR has no product of two signals (gates of GRU and LSTM, SiLU, attention): use recurrent layers without gates (RNN "
        "with ReLU or tanh, IndRNN), a bundle, which holds products (command line: snnir bundle), or one file for each part "
        "between them, with segments=True (command line: --segments)"
    ),
    "accumulator": _FUNCTION,
    "function": _FUNCTION,
    "settled": _FUNCTION,
    "clock": _CLOCK,
    "integratefire": _CLOCK,
}


@dataclass(frozen=True, eq=False)
class Wiring:
    """Where the addresses of a train come from: `index` (int64, -1: silent) counts through those of `emitters`."""

    emitters: tuple[Emitter, ...]
    index: np.ndarray

    @property
    def only(self) -> Emitter | None:
        """The emitter whose addresses these are, all of them in order."""
        if len(self.emitters) == 1 and np.array_equal(self.index, np.arange(self.emitters[0].train.size)):
            return self.emitters[0]
        return None


@dataclass(eq=False)
class Target:
    """A population or a readout: what it starts with, and the synapses that reach it from emitters."""

    op: Population | FewSpikes | Readout
    bias: np.ndarray
    """int64 [shape]: the sum at step 0 without any spike: starting sums, and what constants charge."""
    currents: list[tuple[Synapse, Wiring]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The name of its train or sum."""
        return self.op.train.name

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample."""
        return self.op.train.shape

    @property
    def parameter(self) -> np.ndarray:
        """Thresholds int64 [shape] or [levels, shape], or the scale f64 [shape] of a readout."""
        op = self.op
        if isinstance(op, Readout):
            found: np.ndarray = op.scale[op.scale_map.array()].reshape(self.shape)
            return found
        rows: np.ndarray = op.theta[op.theta_map.array()]
        return rows.T.reshape(-1, *self.shape) if op.staircase else rows.reshape(self.shape)


@dataclass(eq=False)
class Network:
    """Inputs and targets of a program, in order, and the nodes of the model behind them."""

    program: IntegerProgram
    inputs: list[Input]
    targets: list[Target]

    @property
    def populations(self) -> list[Target]:
        """The targets that are populations."""
        return [target for target in self.targets if not isinstance(target.op, Readout)]


class Describer:
    """What users call an op: the node of the model that it comes from."""

    def __init__(self, nodes: Mapping[str, Node]) -> None:
        self.nodes = nodes

    def refusal(self, op: Op, reason: str) -> Refusal:
        """A refusal of an op."""
        name = op.name if isinstance(op, Scan) else op.train.name
        node = self.nodes.get(name)
        return Refusal(name if node is None else node.describe(), reason, () if node is None else node.origin)


def refuse_ops(program: IntegerProgram, nodes: Mapping[str, Node], unroll: bool, functions: bool = False) -> None:
    """Raise `UnsupportedError` for ops that NIR lacks: one line for each reason and node of the model, a scan for all its body.

    A scan that is not to be written out is refused as well, where nothing in it is. `functions` permits these ops.
    """
    work, refusals = Describer(nodes), dict[tuple[str, str], Refusal]()

    def refuse(op: Op, reason: str) -> None:
        made = work.refusal(op, reason)
        refusals.setdefault((made.node, reason), made)

    for op in program.ops:
        inside = op.ops if isinstance(op, Scan) else (op,)
        kinds = (type(each).__name__.lower() for each in inside)
        reasons = dict.fromkeys(_REASONS[kind] for kind in kinds if kind in _REASONS)
        if functions:
            reasons = {}
        for reason in reasons:
            refuse(op, reason)
        if isinstance(op, Scan) and not unroll and not reasons:
            refuse(
                op,
                f"its neurons start afresh in each window of {op.name!r}, and NIR has no windows; write it out element by "
                "element with unroll=True (command line: --unroll)",
            )
    raise_refusals(program, list(refusals.values()))


def raise_refusals(program: IntegerProgram, refusals: Sequence[Refusal], form: str = "NIR form") -> None:
    """Raise `UnsupportedError` listing refusals, if there are any."""
    if refusals:
        lines = "".join(f"\n  {refusal}" for refusal in refusals)
        raise UnsupportedError(f"program {program.name} has no {form}:{lines}", refusals)


def network_of(program: IntegerProgram, nodes: Mapping[str, Node], sums: Mapping[str, int]) -> Network:
    """The network of a program without scans; `sums` are the largest magnitudes of certified sums, by train.

    Raises `UnsupportedError` listing every op that NIR cannot express, each with the reason.
    """
    work = Describer(nodes)
    raise_refusals(program, list(_refused(program, work, sums)))
    wirings: dict[str, Wiring] = {}
    inputs, targets = [], []
    for op in program.ops:
        if isinstance(op, Scan | Accumulator | Function | Settled | Product):
            raise_refusals(program, [work.refusal(op, "it is no population")])
        elif isinstance(op, Route):
            wirings[op.train.name] = _routed(op, wirings)
        else:
            wirings[op.train.name] = Wiring((op,), np.arange(op.train.size))
            if isinstance(op, Input):
                inputs.append(op)
            elif isinstance(op, Population | FewSpikes | Readout):
                targets.append(_target(op, wirings))
    return Network(program, inputs, targets)


def _routed(op: Route, wirings: Mapping[str, Wiring]) -> Wiring:
    """The wiring behind a route, of those emitters only that it takes anything from."""
    emitters: list[Emitter] = []
    parts, base = [], 0
    for source in op.sources:
        inner = wirings[source]
        parts.append(np.where(inner.index >= 0, inner.index + base, -1))
        emitters += inner.emitters
        base += sum(emitter.train.size for emitter in inner.emitters)
    whole, map_ = np.concatenate(parts), op.map.array()
    index = np.where(map_ >= 0, whole[np.maximum(map_, 0)], -1)
    kept: list[tuple[int, Emitter, int]] = []
    found, first, total = np.full(index.shape, -1, np.int64), 0, 0
    for emitter in emitters:
        size = emitter.train.size
        inside = (index >= first) & (index < first + size)
        if inside.any():
            place = next((at for at, other, _ in kept if other is emitter), total)
            found[inside] = index[inside] - first + place
            if place == total:
                kept.append((place, emitter, size))
                total += size
        first += size
    return Wiring(tuple(emitter for _, emitter, _ in kept), found)


def _target(op: Population | FewSpikes | Readout, wirings: Mapping[str, Wiring]) -> Target:
    target = Target(op, op.initial[op.initial_map.array()].reshape(op.train.shape).astype(np.int64))
    for synapse in op.synapses:
        wiring = wirings[synapse.source]
        charged = levels_of_constants(wiring)
        if charged.any():
            target.bias = target.bias + currents(synapse, charged[np.newaxis]).reshape(op.train.shape)
        if any(not isinstance(emitter, Constant) for emitter in wiring.emitters):
            target.currents.append((synapse, wiring))
    return target


def levels_of_constants(wiring: Wiring) -> np.ndarray:
    """What constants charge at the addresses of a train; 0 where others emit, int64 [n]."""
    parts = [op.levels if isinstance(op, Constant) else np.zeros(op.train.size, np.int64) for op in wiring.emitters]
    whole = np.concatenate([np.zeros(0, np.int64), *parts])
    if not whole.size:
        return np.zeros(wiring.index.shape, np.int64)
    return np.where(wiring.index >= 0, whole[np.maximum(wiring.index, 0)], 0)


def matrix_of(synapse: Synapse, wiring: Wiring, emitter: Emitter, target: Target) -> np.ndarray:
    """Weights int64 [neurons, addresses] of a synapse from one emitter.

    Raises `UnsupportedError` naming the synapse where that is more than `MOST_ENTRIES`.
    """
    inputs, outputs = emitter.train.size, math.prod(target.shape)
    if inputs * outputs > MOST_ENTRIES:
        raise UnsupportedError(
            f"{synapse.name}: written as one matrix it takes {outputs} x {inputs} entries, more than {MOST_ENTRIES}; "
            "NIR has nodes only for dense layers and for convolutions with equal padding on both sides and square kernels"
        )
    sources, neurons, weights = to_neurons(synapse)
    first = 0
    for other in wiring.emitters:
        if other is emitter:
            break
        first += other.train.size
    address = wiring.index[sources] - first
    inside = (wiring.index[sources] >= first) & (address < inputs)
    found = np.zeros((outputs, inputs), np.int64)
    np.add.at(found, (neurons[inside], address[inside]), weights[inside])
    return found


def _refused(program: IntegerProgram, work: Describer, sums: Mapping[str, int]) -> Iterator[Refusal]:
    for op in program.ops:
        if isinstance(op, Population | FewSpikes):
            for reason in _unfit(op):
                yield work.refusal(op, reason)
        if isinstance(op, Population | FewSpikes | Readout) and sums[op.train.name] >= _EXACT:
            yield work.refusal(op, f"its sums reach {sums[op.train.name]}, beyond what the floats of NIR hold exactly")
    for output in program.outputs:
        if output.kind == "levels":
            yield Refusal(f"output {output.name}", "it is a spike train; give it out through a readout")


def _unfit(op: Population | FewSpikes) -> Iterator[str]:
    levels = op.train.hi - op.train.lo
    if not levels:
        yield "it has one level only, so it never fires"
    if op.staircase and levels > MOST_LEVELS:
        yield f"a staircase of {levels} levels takes as many Thresholds; at most {MOST_LEVELS}: give it fewer bits (--state-bits)"
