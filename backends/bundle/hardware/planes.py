"""Which events of a population's sources are spikes of one bit, and in which step each source sends its last bit.

A receiver of few spikes doubles what it has received for each bit, and adds rows (Horner). It has to know for every address in
which step the last bit comes: the schedule says so. What is charged at once has no bits, and is multiplied.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from snnir.backends.bundle.golden import Golden
from snnir.backends.bundle.hardware.traces import Arrivals
from snnir.errors import UsageError
from snnir.machine.interpreter import Interpreter
from snnir.machine.program import Emitter, FewSpikes, IntegerProgram
from snnir.machine.window import Emission, Window

__all__ = ["last_bits", "plane_events"]


def last_bits(program: IntegerProgram, golden: Golden) -> dict[str, dict[str, np.ndarray]]:
    """By population and source: the step after the last bit of every address, int64 [n]; 0 where events are graded.

    A trial run finds it: every few-spike neuron emits its last bit alone, and nothing else anything.
    """
    trial = _Trial(program, golden)
    trial.run()
    found: dict[str, dict[str, np.ndarray]] = {}
    for name, sources in trial.arrivals.items():
        found[name] = {}
        for source, windows in sources.items():
            ends = np.stack([_ends(train[0]) for train in windows])
            most = ends.max(axis=0)
            agree = ((ends == 0) | (ends == most)).all(axis=0)
            found[name][source] = np.where(agree & (most > 1), most, 0)
    return found


def _ends(train: np.ndarray) -> np.ndarray:
    """One more than the step of the only event of each address of a train [steps, n]; 0 where there is none, or several."""
    steps = np.arange(1, len(train) + 1)[:, np.newaxis]
    one = (train == 1).sum(axis=0) == 1
    return np.where(one & ((train != 0).sum(axis=0) == 1), (steps * (train == 1)).sum(axis=0), 0)


def plane_events(name: str, events: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values of events (sample, window, step, address, value) as the core takes them, and the step after their last bit.

    Raises `UsageError` where an event is no bit of its step.
    """
    last, values = ends[events[:, 3]], events[:, 4]
    planes = last > 0
    unit = np.left_shift(1, np.where(planes, last - 1 - events[:, 2], 0))
    if (np.abs(values[planes]) != unit[planes]).any():
        raise UsageError(f"{name}: the value of an event is not the bit of its step; write memory images (--emit hex) instead")
    return np.where(planes, np.sign(values), values), last


class _Trial(Interpreter):
    """The program with one sample, in which few-spike neurons emit their last bit, and others nothing."""

    def __init__(self, program: IntegerProgram, golden: Golden) -> None:
        inputs: Mapping[str, np.ndarray] = {name: np.zeros_like(levels[:1]) for name, levels in golden.inputs.items()}
        super().__init__(program, inputs, batch=1)
        self.arrivals: Arrivals = {}

    def emitter(self, op: Emitter, window: Window) -> Emission:
        size = op.train.size
        if not isinstance(op, FewSpikes):
            nothing = np.zeros((1, size), np.int64)
            return Emission(np.zeros((1, 0, size), np.int64), (), nothing)
        arrived = self.arrivals.setdefault(op.train.name, {})
        for source in dict.fromkeys(op.sources):
            arrived.setdefault(source, []).append(window.trains[source].values)
        end = op.start_step + op.train.bits
        train = np.zeros((1, end, size), np.int64)
        train[:, end - 1] = 1
        return Emission(train, (), np.ones((1, size), np.int64))
