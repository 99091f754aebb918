"""Functions of complete levels and sums."""

from __future__ import annotations

from snnir.backends.torch_spiking.microcode import Microcode
from snnir.backends.torch_spiking.parts.base import Building, Emission, EmitterPart, runs
from snnir.backends.torch_spiking.parts.charged import charge
from snnir.backends.torch_spiking.window import Window
from snnir.machine.emitters import Function

__all__: list[str] = []


@runs(Function)
class FunctionPart(EmitterPart[Function]):
    """Microcode of what its sources settled to."""

    def __init__(self, op: Function, building: Building, segment: int) -> None:
        super().__init__(op, building, segment)
        self.code = Microcode(op.code, building.device)

    def emit(self, window: Window) -> Emission:
        """Its levels; it holds a tracer of every train."""
        before, held = window.before(self.op.train.name), []
        for place, (name, is_sum) in enumerate(zip(self.op.names, self.op.accumulators, strict=True)):
            if is_sum:
                held.append(window.kept[name][0])
                continue
            tracer = window.trains[name].sum(dim=0)
            held.append(tracer if before is None else before[1 + place] + tracer)
        levels = self.code.compute(held).clamp(self.op.train.lo, self.op.train.hi)
        return charge(window.run, self.op.start, levels, before, tuple(held))
