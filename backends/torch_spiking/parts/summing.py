"""What sums up currents, and sums without neurons: readouts and accumulators."""

from __future__ import annotations

from typing import TypeVar

from torch import Tensor

from snnir.backends.torch_spiking.parts.base import Building, Emission, EmitterPart, runs
from snnir.backends.torch_spiking.parts.synapse import SynapsePart
from snnir.backends.torch_spiking.trains import Places, as_long
from snnir.backends.torch_spiking.window import Window
from snnir.machine.emitters import Accumulator, Readout, Summing

__all__ = ["SummingPart"]

AnySum = TypeVar("AnySum", bound=Summing)


class SummingPart(EmitterPart[AnySum]):
    """Base: what sums up currents."""

    def __init__(self, op: AnySum, building: Building, segment: int) -> None:
        super().__init__(op, building, segment)
        self.node = building.nodes[op.train.name]
        self.initial = Places(op.initial_map, building.device)
        given = zip(op.synapses, building.parameters.synapses(self.node), strict=True)
        self.synapses = [SynapsePart(synapse, weights, building.device) for synapse, weights in given]

    def start(self, window: Window) -> Tensor:
        """The sums [N, n] that it starts with."""
        start = window.run.once((self, "start"), lambda: self.initial.of(self.building.parameters.start(self.node)))
        return start.expand(window.run.batch, -1)

    def arriving(self, window: Window, summed: bool = False) -> Tensor:
        """What arrives [steps, N, n], all synapses together; `summed`: of all steps, as one."""
        currents = []
        for synapse in self.synapses:
            train = window.trains[synapse.synapse.source][: window.run.cap]
            # sums are linear: what arrives in all steps goes through the synapses at once
            train = train.sum(dim=0, keepdim=True) if summed else train
            currents.append(synapse.currents(train, window.run.once(synapse, synapse.prepared)))
        total, *rest = as_long(currents)
        for current in rest:
            total = total + current
        return total

    def total(self, window: Window) -> Tensor:
        """The sum [N, n] after the last step; it goes on from the sum of the window before."""
        before = window.before(self.op.train.name)
        return (self.start(window) if before is None else before[0]) + self.arriving(window, summed=True)[0]


@runs(Accumulator)
class AccumulatorPart(SummingPart[Accumulator]):
    """A sum that functions take."""

    def emit(self, window: Window) -> Emission:
        """Nothing; it keeps the sum."""
        total = self.total(window)
        return Emission(window.run.silent(self.op.train.size), (total,), lambda: total)


@runs(Readout)
class ReadoutPart(SummingPart[Readout]):
    """A sum that the host takes."""

    def emit(self, window: Window) -> Emission:
        """Nothing; the run is given the sum."""
        total = self.total(window)
        window.run.sums.setdefault(self.op.train.name, []).append(total)
        return Emission(window.run.silent(self.op.train.size), (total,), lambda: total)
