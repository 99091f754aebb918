"""Certify bounds: how many steps a window may take, and how far sums and membranes may swing, transients included."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from snnir.ir import SPIKING, Graph, Node, Quantization, Value
from snnir.ir.ops import (
    Accumulate,
    Bif,
    Conv,
    Dense,
    Diagonal,
    Encode,
    Function,
    Movement,
    Population,
    Readout,
    Scan,
    Sparse,
    Summing,
)
from snnir.ir.phases import FEW_SPIKES, check_phased, neuron_of, phases_of
from snnir.ir.protocols import Delivery, Execution
from snnir.ir.rewrite import Rewriter, rebuild
from snnir.passes.infra import Context, Pass, Result, register
from snnir.passes.properties import CERTIFIED, SCHEDULED

__all__ = ["CertifyBounds", "register_bits", "settling_bounds"]


@register
@dataclass(frozen=True)
class CertifyBounds(Pass):
    """Write the certified bounds into every population and readout.

    1. `accumulator`: the interval of `bias + sum w S` for tracers S anywhere in their levels. It holds at every moment of
       every window, because what a population has received of a source is a tracer value of that source.
    2. `membrane`: the interval of `A + theta//2 - theta S`, for populations with a uniform threshold.
    3. `settle`: the step after which a population is silent, under relay or graded delivery: an encoder speaks at step 0
       only, a relayed state for `max(hi, -lo)` steps, and a population at most `hi - lo` steps from the last input on, or
       `max(hi, -lo)` where all its input comes at step 0. This is for `reset` execution; for `carry`, in which the first
       two hold as they are, see `settling_bounds`.
    """

    name = "certify-bounds"
    takes = gives = SPIKING
    requires = (SCHEDULED,)
    ensures = (CERTIFIED,)

    def run(self, graph: Graph, context: Context) -> Result:
        """Apply the pass."""
        few = neuron_of(graph) == FEW_SPIKES
        settle = {value: phase.end for value, phase in phases_of(graph).of.items()} if few else _Settling(graph, "relay").of

        def rule(rewriter: Rewriter, node: Node, operands: tuple[Value, ...]) -> tuple[Value, ...] | None:
            op = node.op
            if not isinstance(op, Population | Readout | Accumulate):
                return None
            accumulator = _accumulator(node)
            if isinstance(op, Readout | Accumulate):
                certified: Population | Readout | Accumulate = dataclasses.replace(op, accumulator=accumulator)
            else:
                membrane = () if op.staircase else _membrane(node, op.quantization)
                certified = dataclasses.replace(op, accumulator=accumulator, membrane=membrane, settle=settle[node.output])
            return rewriter.copy(node, operands, certified) if certified != op else None

        new, changed = rebuild(graph, rule)
        bits = max(
            (register_bits(node.op.membrane or node.op.accumulator) for _, node in new.walk() if isinstance(node.op, Population)),
            default=0,
        )
        steps = max(settle.values(), default=0)
        takes = "takes at most" if few else "settles within"
        return Result(new, changed > 0, (f"every window {takes} {steps} steps; membranes need {bits} bits",))


def settling_bounds(graph: Graph, delivery: str, lengths: Mapping[str, int], execution: str = "reset") -> dict[str, list[int]]:
    """Certified numbers of steps: for `""` (all nodes outside scans) and each scan (by its first result), per window.

    `lengths` gives the number of elements of each scan. With `replay`, trains may stretch from one element to the next,
    so that the bound grows with the element; with `relay` and `graded` it is the same for all, but for the first one of a
    carried scan: from the second on, tracers may go from any level to any other. For few-spike neurons these are not bounds
    but the steps that every run takes. Raises `UsageError`.
    """
    if neuron_of(graph) == FEW_SPIKES:
        check_phased(delivery, execution)
        windows = phases_of(graph, delivery, lengths).windows
        return {name: [steps] * (lengths[name] if name else 1) for name, steps in windows.items()}
    settling = _Settling(graph, delivery, lengths, execution)
    emitting = (node for node in graph.nodes if not isinstance(node.op, Scan))
    outer = settling._longest(value for node in emitting for value in node.outputs)
    return {"": [outer], **settling.windows}


class _Settling:
    """For every spike train, the number of steps after which it is silent."""

    def __init__(self, graph: Graph, delivery: str, lengths: Mapping[str, int] | None = None, execution: str = "reset") -> None:
        self.delivery = Delivery.of(delivery)
        self.lengths = lengths
        self.carry = Execution.of(execution) == Execution.CARRY
        self.resumed = False
        self.encoded: set[Value] = set()
        self.of: dict[Value, int] = {}
        self.segment: dict[Value, int] = {}
        """The parts of a window that run one after another, each on a clock of its own: functions begin them."""
        self.windows: dict[str, list[int]] = {}
        self._graph(graph)

    def _graph(self, graph: Graph) -> None:
        for node in graph.nodes:
            if isinstance(node.op, Scan):
                self._scan(node, node.op)
                continue
            segment = max((self.segment.get(value, 0) for value in node.operands), default=0)
            # what comes from an earlier segment is charged again at step 0 of this one
            inputs = [self.of.get(value, 0) if self.segment.get(value, 0) == segment else 1 for value in node.operands]
            last = max(inputs, default=0)
            if isinstance(node.op, Accumulate | Function) and _tells_changes(node):
                last = max(last, 0 if self.resumed else 1)  # what it is of zeros comes at step 0
            elif isinstance(node.op, Function):  # it waits for its segment, and charges at step 0 of the next
                segment, last = segment + 1, 1
            self.segment.update(dict.fromkeys(node.outputs, segment))
            if isinstance(node.op, Encode):
                last = 0 if self.resumed and node.operands[0].is_constant else 1
                self.encoded.update(node.outputs)
            elif isinstance(node.op, Bif):
                last = _population_settles(node.op.quantization, last, self.resumed)
            elif isinstance(node.op, Movement) and self.encoded.issuperset(node.operands):
                self.encoded.update(node.outputs)
            self.of.update(dict.fromkeys(node.outputs, last))

    def _longest(self, values: Iterable[Value]) -> int:
        """The steps of a window of these trains: those of its segments, one after another."""
        longest: dict[int, int] = {}
        for value in values:
            segment = self.segment.get(value, 0)
            longest[segment] = max(longest.get(segment, 0), self.of.get(value, 0))
        return sum(longest.values())

    def _scan(self, node: Node, op: Scan) -> None:
        body = node.body
        assert body is not None
        outer = max((self.segment.get(value, 0) for value in node.operands), default=0)
        self.segment.update(dict.fromkeys(node.outputs, outer))
        given = {inner: self.of.get(value, 0) for inner, value in zip(body.inputs, node.operands, strict=True)}
        states, next_states = body.inputs[: op.states], list(body.outputs.values())[: op.states]
        length = 1 if self.lengths is None else self.lengths[node.outputs[0].name]
        different = length if self.delivery == "replay" else min(length, 2) if self.carry else 1
        windows, longest = [], dict.fromkeys(node.outputs, 0)
        delivered = {state: self._delivered(state, given[state]) for state in states}
        for k in range(max(different, 1)):
            self.resumed = self.carry and k > 0
            if k == 1 and self.carry:
                given.update(self._changes(node, op, body))
            self.of.update({**given, **delivered})
            self._graph(body)
            trains = (value for inner in body.nodes for value in inner.outputs)
            windows.append(self._longest([*delivered, *body.inputs[op.states :], *trains]))
            # The outside is told the kept levels of a carried body at step 0.
            for value, inner in zip(node.outputs, body.outputs.values(), strict=True):
                last = windows[-1] if self.segment.get(inner, 0) else self.of[inner]
                longest[value] = max(longest[value], last, self.resumed)
            delivered = {state: self._delivered(state, self.of[value]) for state, value in zip(states, next_states, strict=True)}
            if self.carry:
                delivered = {state: self._changed(state, steps) for state, steps in delivered.items()}
        self.resumed = False
        for value, operand in zip(node.outputs, node.operands[: op.states], strict=False):
            longest[value] = max(longest[value], self.of.get(operand, 0))
        self.windows[node.outputs[0].name] = (windows + windows[-1:] * (length - len(windows)))[:length]
        self.of.update(longest)

    def _delivered(self, state: Value, train: int) -> int:
        """How many steps the delivery of a state takes, whose train in the window before took `train`."""
        if self.delivery == "replay":
            return train
        quantization = state.type.quantization
        assert quantization is not None
        return 1 if self.delivery == "graded" else max(quantization.hi, -quantization.lo)

    def _changed(self, state: Value, steps: int) -> int:
        """The same where a change is delivered; what a state started as is taken back at step 0 of window 1."""
        return max(steps, 1) if self.delivery == "replay" else self._sent(state)

    def _sent(self, value: Value) -> int:
        """How many steps it takes to send any change of a value."""
        quantization = value.type.quantization
        assert quantization is not None
        return 1 if self.delivery == "graded" else quantization.hi - quantization.lo

    def _changes(self, node: Node, op: Scan, body: Graph) -> dict[Value, int]:
        """How long a carried window after the first is sent its elements: encoded ones at step 0, shared values not at all."""
        steps = dict.fromkeys(body.inputs[op.states :], 0)
        for index in range(op.states, op.states + op.elements):
            inner, outer = body.inputs[index], node.operands[index]
            if inner.type.dtype == "spike":
                steps[inner] = 1 if outer in self.encoded else self._sent(inner)
        return steps


def _tells_changes(node: Node) -> bool:
    """Whether a function, or a sum that functions take, tells changes."""
    if isinstance(node.op, Function):
        return node.op.difference
    return any(isinstance(user.op, Function) and user.op.difference for user in node.output.users)


def _population_settles(quantization: Quantization, last: int, resumed: bool) -> int:
    lo, hi = quantization.lo, quantization.hi
    if hi == lo:
        return 0
    if resumed:  # it starts at any level, settled for what it has been told
        return last - 1 + hi - lo if last else 0
    return max(hi, -lo) if last <= 1 else last - 1 + hi - lo


def _intervals(node: Node) -> tuple[np.ndarray, np.ndarray]:
    """Per neuron, the interval of `bias + sum of weight * S`, as arrays that spread over the sample."""
    assert isinstance(node.op, Summing)
    rank, at = node.outputs[0].type.rank - 1, node.op.bias_at
    bias = node.operands[at].array.astype(np.int64)
    low = high = bias.reshape((1,) * (rank - bias.ndim) + bias.shape)
    for current in node.operands[at + 1 :]:
        assert current.producer is not None
        least, most = _swing(current.producer, rank)
        low, high = low + least, high + most
    return low, high


def _accumulator(node: Node) -> tuple[int, int]:
    low, high = _intervals(node)
    return int(low.min(initial=0)), int(high.max(initial=0))


def _membrane(node: Node, quantization: Quantization) -> tuple[int, int]:
    low, high = _intervals(node)
    theta = node.operands[0].array.astype(np.int64)
    start = theta // 2
    return int((low + start - theta * quantization.hi).min()), int((high + start - theta * quantization.lo).max())


def _swing(synapse: Node, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """Least and greatest current that each neuron can have received through a synapse."""
    quantization = synapse.operands[0].type.quantization
    assert quantization is not None
    assert isinstance(synapse.op, Dense | Diagonal | Sparse | Conv)
    weight = synapse.op.expanded(synapse.operands[1].array).astype(np.int64)
    up, down = np.maximum(weight, 0), np.minimum(weight, 0)
    if isinstance(synapse.op, Dense):
        shape = (1,) * (rank - 1) + (-1,)
        up, down = (part.sum(axis=1).reshape(shape) for part in (up, down))
    elif isinstance(synapse.op, Conv):
        shape = (-1,) + (1,) * (rank - 1)
        up, down = (part.reshape(len(part), -1).sum(axis=1).reshape(shape) for part in (up, down))
    elif isinstance(synapse.op, Sparse):
        rows, size = synapse.operands[2].array, int(np.prod(synapse.op.shape))
        up, down = (np.bincount(rows, part, size).astype(np.int64).reshape(synapse.op.shape) for part in (up, down))
    else:
        assert isinstance(synapse.op, Diagonal)
        up, down = (part.reshape((1,) * (rank - part.ndim) + part.shape) for part in (up, down))
    return up * quantization.lo + down * quantization.hi, up * quantization.hi + down * quantization.lo


def register_bits(interval: tuple[int, ...]) -> int:
    """Bits of a two's complement register that holds the interval."""
    return max(int(interval[1]).bit_length(), (~int(interval[0])).bit_length() if interval[0] < 0 else 0) + 1 if interval else 0
