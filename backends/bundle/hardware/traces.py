"""What arrives at a population in golden vectors: golden events carried through routes and the borders of windows."""

from __future__ import annotations

import numpy as np

from snnir.backends.bundle.golden import Golden
from snnir.errors import UsageError
from snnir.machine.interpreter import Interpreter
from snnir.machine.program import Emitter, FewSpikes, IntegerProgram, Population
from snnir.machine.window import Emission, Window

__all__ = ["Arrivals", "arrivals"]

Arrivals = dict[str, dict[str, list[np.ndarray]]]
"""By population and source: the source's train [N, steps, n] in every window."""


def arrivals(program: IntegerProgram, golden: Golden) -> Arrivals:
    """The trains that every population gets. No neuron is computed: what neurons emit is taken from the golden events."""
    work = _Golden(program, golden)
    work.run()
    return work.arrivals


class _Golden(Interpreter):
    def __init__(self, program: IntegerProgram, golden: Golden) -> None:
        super().__init__(program, golden.inputs, batch=golden.samples)
        self.golden = golden
        self.arrivals: Arrivals = {}

    def emitter(self, op: Emitter, window: Window) -> Emission:
        name = op.train.name
        if isinstance(op, Population | FewSpikes):
            arrived = self.arrivals.setdefault(name, {})
            for source in dict.fromkeys(op.sources):
                arrived.setdefault(source, []).append(window.trains[source].values)
        if not op.counted:
            return op.emit(window)
        nothing = np.zeros((self.batch, op.train.size), np.int64)
        if not op.emits:
            return Emission(np.zeros((self.batch, 0, op.train.size), np.int64), (), nothing)
        if name not in self.golden.events:
            raise UsageError(f"the golden vectors have no events of {name}; make the bundle again with samples")
        events = self.golden.events[name]
        rows = events.rows[events.rows[:, 1] == window.index]
        train = np.zeros((self.batch, events.steps, op.train.size), np.int64)
        train[rows[:, 0], rows[:, 2], rows[:, 3]] = rows[:, 4]
        return Emission(train, (), nothing)
