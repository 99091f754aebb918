"""One run of a batch through a spiking graph: value after value, each with its whole train.

A train depends on the trains before it only, so values are computed one after another, each for all of its steps at
once; the steps themselves are those of the clock-driven simulator.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from snnir.backends.torch_spiking.borders import ElementsIn, Sending, StateIn, ValueOut
from snnir.backends.torch_spiking.movement import COMBINED, combine, move
from snnir.backends.torch_spiking.neurons import FewSpikes, Population, Summing
from snnir.backends.torch_spiking.result import Recorder
from snnir.backends.torch_spiking.surrogates import Surrogate
from snnir.backends.torch_spiking.synapses import Synapse
from snnir.backends.torch_spiking.trains import aligned, lengthen, spread, stack
from snnir.errors import UnsupportedError
from snnir.ir.graph import Graph, Node, Value
from snnir.ir.ops import Bif, Encode, Fs, Movement, Product, Readout, Scan
from snnir.ir.phases import Phases
from snnir.machine.host import Host, concrete_shape, fixed_values, window_order

__all__ = ["Run", "Window"]


@dataclass
class Window:
    """One window of a graph: its host (None where nothing is computed in real numbers) and the trains so far.

    `memory` is what a carried body kept of the window before it (None: the window starts afresh), `kept` what it keeps.
    """

    graph: Graph
    host: Host | None
    trains: dict[Value, Tensor]
    constants: Mapping[Value, np.ndarray]
    prefix: str
    name: str
    memory: dict[Value, tuple[Tensor, ...]] | None = None
    kept: dict[Value, tuple[Tensor, ...]] = field(default_factory=dict)

    def before(self, value: Value) -> tuple[Tensor, ...] | None:
        """What `value` kept of the window before."""
        return None if self.memory is None else self.memory[value]


class Run:
    """`parts` are the modules of synapses, populations and readouts; with a `surrogate`, gradients are kept."""

    def __init__(
        self,
        parts: Mapping[Node, nn.Module],
        sizes: Mapping[str, int],
        batch: int,
        device: torch.device,
        recorder: Recorder | None,
        *,
        delivery: str,
        cap: int | None,
        carry: bool = False,
        surrogate: Surrogate | None = None,
        phases: Phases | None = None,
    ) -> None:
        self.parts, self.sizes, self.batch, self.device = parts, sizes, batch, device
        self.recorder, self.cap, self.surrogate = recorder, cap, surrogate
        self.sending = Sending(delivery, carry, cap, recorder, surrogate, phases)
        self.phases = phases
        self.sums: dict[Value, list[Tensor]] = {}
        # rounded once, not in every window
        self.weights = {node: part.integers() for node, part in parts.items() if isinstance(part, Synapse)}
        self._last: dict[int, dict[Node, list[Value]]] = {}

    def window(self, window: Window) -> None:
        """Compute every train of a window, in the order of the graph."""
        fixed = fixed_values(window.graph, window.constants)
        for node in window.graph.nodes:
            op, value = node.op, node.outputs[0]
            if value in fixed or value.type.dtype == "current":
                continue
            if isinstance(op, Encode):
                assert window.host is not None
                levels, before = self._tensor(window.host.levels[value]), window.before(value)
                window.kept[value] = (levels,)
                self._emit(window, value, (levels if before is None else levels - before[0])[None])
            elif isinstance(op, Bif):
                self._emit(window, value, self._population(window, node))
            elif isinstance(op, Fs):
                self._emit(window, value, self._few_spikes(window, node))
            elif isinstance(op, Readout):
                before = window.before(value)
                total = self._start(node) if before is None else before[0]
                # sums are linear: what arrives in all steps goes through the synapses at once
                for current in self._currents(window, node, summed=True):
                    total = total + current[0]
                window.kept[value] = (total,)
                self.sums.setdefault(value, []).append(total)
                if self.recorder is not None:
                    self.recorder.summed(window.prefix + value.name, total)
            elif isinstance(op, Scan):
                self._scan(window, node, op)
            elif value.type.dtype == "spike" and isinstance(op, COMBINED):
                trains = [self.train(window, operand) for operand in node.operands]
                train, window.kept[value] = combine(op, trains, window.before(value))
                if self.phases is not None and isinstance(op, Product):  # one event, of complete levels
                    silent = train.new_zeros((self.phases.of[value].first, *train.shape[1:]))
                    train = torch.cat([silent, train.sum(dim=0, keepdim=True)])
                self._emit(window, value, train)
            elif value.type.dtype == "spike" and isinstance(op, Movement):
                trains = [self.train(window, operand) for operand in node.operands]
                steps = max(len(train) for train in trains)
                window.trains[value] = move(op, [lengthen(train, steps) for train in trains], self.sizes)
            for done in self._released(window.graph).get(node, ()):
                window.trains.pop(done, None)

    def _released(self, graph: Graph) -> Mapping[Node, list[Value]]:
        """The trains that nothing takes any more after a node; those of outputs stay."""
        key = id(graph)
        if key not in self._last:
            last: dict[Value, Node] = {}
            for node in graph.nodes:
                if node.outputs[0].type.dtype == "current":
                    continue  # synapses work when their population does
                producers = [value.producer for value in node.operands if value.type.dtype == "current"]
                last.update(dict.fromkeys((value for producer in producers if producer for value in producer.operands), node))
                last.update(dict.fromkeys(node.operands, node))
            self._last[key] = {}
            for value, node in last.items():
                if value not in graph.outputs.values():
                    self._last[key].setdefault(node, []).append(value)
        return self._last[key]

    def train(self, window: Window, value: Value) -> Tensor:
        """The train of a value; a fixed one charges its levels into every sample."""
        if value not in window.trains:
            assert window.host is not None
            levels, batched = window.host.reals[value], value.type.batch_axis == 0
            sample = levels.shape[1:] if levels.ndim and (batched or levels.shape[0] == 1) else levels.shape
            train = self._tensor(np.broadcast_to(levels, (self.batch, *sample)))[None]
            # once where its receivers keep what they were told
            window.trains[value] = train if window.memory is None else train[:0]
            if self.recorder is not None:
                self.recorder.use(window.name, window.trains[value])
        return window.trains[value]

    def _tensor(self, levels: np.ndarray) -> Tensor:
        return torch.from_numpy(np.array(levels, np.float64)).to(self.device)

    def _emit(self, window: Window, value: Value, train: Tensor) -> None:
        window.trains[value] = train
        if self.recorder is not None:
            self.recorder.emitted(window.prefix + value.name, window.name, train)

    def _synapses(self, node: Node) -> list[tuple[Node, Synapse]]:
        found = []
        for value in node.operands[2:]:
            part = self.parts.get(value.producer) if value.producer is not None else None
            if value.producer is None or not isinstance(part, Synapse):
                raise UnsupportedError(f"{node.describe()}: {value.name} must come from a synapse")
            found.append((value.producer, part))
        return found

    def _start(self, node: Node) -> Tensor:
        """The sum [N, ...] at first: the bias and those of the synapses."""
        part = self.parts[node]
        assert isinstance(part, Summing)
        shape = concrete_shape(node.output.type, self.sizes)
        total = part.start().expand(shape)
        for _, synapse in self._synapses(node):
            bias = synapse.start()
            if bias is not None:
                total = total + bias
        return total

    def _currents(self, window: Window, node: Node, summed: bool = False) -> list[Tensor]:
        """The current [T, N, ...] of each synapse; `summed`: of all steps, as one."""
        currents = []
        for producer, synapse in self._synapses(node):
            train = self.train(window, producer.operands[0])
            currents.append(synapse(train.sum(dim=0, keepdim=True) if summed else train, self.weights[producer]))
        return currents

    def _population(self, window: Window, node: Node) -> Tensor:
        part = self.parts[node]
        assert isinstance(part, Population)
        before = window.before(node.output)
        start, tracer = before or (self._start(node), None)
        currents = aligned(self._currents(window, node))
        total = currents[0]
        for current in currents[1:]:
            total = total + current
        total = total.expand(len(total), *start.shape)
        if self.surrogate is not None:
            assert self.cap is not None
            return part.fire(start, total, self.cap, self.surrogate)
        total = total[: self.cap]
        tracer = torch.zeros_like(start) if tracer is None else tracer
        train, unsettled = part.settle(start, tracer, total, self.cap)
        if self.sending.carry:
            window.kept[node.output] = start + total.sum(dim=0), tracer + train.sum(dim=0)
        if self.recorder is not None:
            self.recorder.unsettled += unsettled
        return train

    def _few_spikes(self, window: Window, node: Node) -> Tensor:
        """The bits of the levels of complete sums, from the step on at which they are complete."""
        part = self.parts[node]
        assert isinstance(part, FewSpikes) and self.phases is not None
        total = self._start(node)
        for current in self._currents(window, node, summed=True):
            total = total + current[0]
        told = part.tell(total, self.surrogate)
        return torch.cat([told.new_zeros((self.phases.of[node.output].first, *told.shape[1:])), told])

    def _scan(self, window: Window, node: Node, op: Scan) -> None:
        body = node.body
        assert body is not None and window.host is not None
        pairs = list(zip(body.inputs, node.operands, strict=True))
        constants = {value: value.array for value in body.constants}
        constants.update({inner: window.constants[outer] for inner, outer in pairs if outer in window.constants})
        outputs = list(body.outputs.values())
        states = [
            StateIn(spread(self.train(window, outer), concrete_shape(inner.type, self.sizes)), self.sending, _bits(inner))
            for inner, outer in pairs[: op.states]
        ]
        crossing = self.sending.crossing
        given = [
            (inner, outer, crossing(outer, self.train(window, outer)))
            for inner, outer in pairs[op.states :]
            if inner.type.dtype == "spike"
        ]
        cut = body.inputs[op.states : op.states + op.elements]
        elements = {inner: ElementsIn(train, encoded(outer), self.sending) for inner, outer, train in given if inner in cut}
        shared = {inner: train for inner, _, train in given if inner not in cut}
        leaving = [
            (value, ValueOut(self.sending), list[Tensor]()) for value in outputs[op.states :] if value.type.dtype == "spike"
        ]
        bodies, name = window.host.windows.get(node), node.outputs[0].name
        length = concrete_shape(node.operands[op.states].type, self.sizes)[op.axis]
        memory = None
        for k, element in enumerate(window_order(op, length)):
            trains = dict(shared)
            if memory is not None:  # receivers still hold what they were told: it does not change
                trains = {inner: train[:0] for inner, train in shared.items()}
            trains.update((inner, sequence.window(element)) for inner, sequence in elements.items())
            trains.update((inner, state.window()) for inner, state in zip(body.inputs, states, strict=False))
            host = bodies[k] if bodies is not None else None
            inside = Window(body, host, trains, constants, f"{name}/", f"{name}[{element}]", memory)
            self.window(inside)
            for state, value in zip(states, outputs, strict=False):
                state.follow(crossing(value, self.train(inside, value)))
            for value, out, rows in leaving:
                rows.append(out.window(crossing(value, self.train(inside, value))))
            memory = inside.kept if self.sending.carry else None
        window.trains.update(zip(node.outputs, (state.final() for state in states), strict=False))
        results = [value for value in node.outputs[op.states :] if value.type.dtype == "spike"]
        for outer, (_, _, rows) in zip(results, leaving, strict=True):
            empty = torch.zeros((0, *concrete_shape(outer.type, self.sizes)), dtype=torch.float64, device=self.device)
            window.trains[outer] = stack(rows[::-1] if op.reverse else rows, empty)


def _bits(value: Value) -> int:
    assert value.type.quantization is not None
    return value.type.quantization.magnitude_bits


def encoded(value: Value) -> bool:
    """Whether nothing but encoders and constants emit a value."""
    node = value.producer
    if node is None or isinstance(node.op, Encode):
        return True
    return isinstance(node.op, Movement) and all(encoded(operand) for operand in node.operands)
