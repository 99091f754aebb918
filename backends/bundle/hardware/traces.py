"""What arrives at a population in golden vectors: golden events carried through routes and the borders of windows."""

from __future__ import annotations

import numpy as np

from snnir.backends.bundle.golden import Golden
from snnir.backends.bundle.program import Input, IntegerProgram, Max, Population, Product, Readout
from snnir.backends.bundle.replay import Run, Window
from snnir.errors import UsageError

__all__ = ["Arrivals", "arrivals"]

Arrivals = dict[str, dict[str, list[np.ndarray]]]
"""By population and source: the source's train [N, steps, n] in every window."""


def arrivals(program: IntegerProgram, golden: Golden) -> Arrivals:
    """The trains that every population gets. No neuron is computed: what neurons emit is taken from the golden events."""
    work = _Golden(program, golden)
    work.ops(program.ops, {}, None)
    return work.found


class _Golden(Run):
    def __init__(self, program: IntegerProgram, golden: Golden) -> None:
        super().__init__(program, golden.inputs, None)
        self.batch, self.golden = golden.samples, golden
        self.found: Arrivals = {}

    def emitter(
        self, op: Input | Population | Readout | Max | Product, trains: dict[str, np.ndarray], window: Window | None
    ) -> None:
        name = op.train.name
        if window is not None:
            window.kept[name] = ()
        if isinstance(op, Population):
            arrived = self.found.setdefault(name, {})
            for source in dict.fromkeys(synapse.source for synapse in op.synapses):
                arrived.setdefault(source, []).append(trains[source])
        if isinstance(op, Readout):
            trains[name] = np.zeros((self.batch, 0, op.train.size), np.int64)
            return
        if name not in self.golden.events:
            raise UsageError(f"the golden vectors have no events of {name}; make the bundle again with samples")
        events = self.golden.events[name]
        rows = events.rows[events.rows[:, 1] == (0 if window is None else window.k)]
        train = np.zeros((self.batch, events.steps, op.train.size), np.int64)
        train[rows[:, 0], rows[:, 2], rows[:, 3]] = rows[:, 4]
        trains[name] = train
