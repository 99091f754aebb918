"""Synapses: their weights and geometry, and what arrives through them. Integers only.

`currents` is used to run programs, and with the extremes of tracers to bound them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snnir.ir.ops import Conv
from snnir.machine.addresses import IndexMap

__all__ = ["Synapse", "connections", "currents"]

_LARGEST = 1 << 22
"""Events times connections of a list that are computed at once."""


@dataclass(frozen=True, eq=False)
class Synapse:
    """Weights from one train to the neurons of one population.

    `kind`: `dense` (weights [O, I], applied to each of `groups` rows), `conv` (weights [M, C/groups, ...] and geometry),
    `one` (weight `weight_map[i]` of event i), `list` (weight k goes from `columns[k]` to `rows[k]`, rows in order) or `csr`
    (weights offsets[a] .. offsets[a + 1] go from address a to `rows`). Results are currents [outputs]; `spread`, where
    there is one, says which of them each neuron gets.

    `gain` (int64, one for all or one for each `weights[i]`): an event adds `weights[i] 2^gain`; None: there is none.
    """

    name: str
    source: str
    kind: str
    weights: np.ndarray
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    groups: int = 1
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    weight_map: IndexMap | None = None
    rows: np.ndarray | None = None
    columns: np.ndarray | None = None
    spread: IndexMap | None = None
    gain: np.ndarray | None = None

    def expanded(self) -> np.ndarray:
        """What one event of 1 adds: the weights times 2^gain, int64."""
        if self.gain is None:
            return self.weights
        expanded: np.ndarray = self.weights << self.gain.reshape(-1, *(1,) * (self.weights.ndim - 1))
        return expanded


def currents(synapse: Synapse, events: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Currents int64 [rows, neurons] of events int64 [rows, n]; `weights` stands for the synapse's own and their gain."""
    weights = synapse.expanded() if weights is None else weights
    rows = len(events)
    if synapse.kind == "dense":
        inputs = weights.shape[1]
        found = _product(events.reshape(rows * synapse.groups, inputs), weights)
    elif synapse.kind == "conv":
        conv = Conv(synapse.stride, synapse.padding, synapse.dilation, synapse.groups)
        places = events.reshape(rows, *synapse.inputs)
        if _exact_in_float(events, weights, int(np.prod(weights.shape[1:]))):
            found = conv.evaluate(places.astype(np.float64), weights.astype(np.float64))[0].astype(np.int64)
        else:
            found = conv.evaluate(places, weights)[0]
    elif synapse.kind == "one":
        assert synapse.weight_map is not None
        found = events * weights[synapse.weight_map.array()]
    else:
        sources, targets, held = connections(synapse, weights)
        found = np.zeros((rows, int(np.prod(synapse.outputs, dtype=np.int64))), np.int64)
        block = max(_LARGEST // max(held.size, 1), 1)
        for first in range(0, rows, block):
            part = events[first : first + block, sources] * held
            np.add.at(found[first : first + block].T, targets, part.T)
    found = found.reshape(rows, int(np.prod(synapse.outputs, dtype=np.int64)))
    return found if synapse.spread is None else found[:, synapse.spread.array()]


def connections(synapse: Synapse, weights: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Source address, current and weight, gain included, of every synapse of a `list` or `csr`."""
    weights = synapse.expanded() if weights is None else weights
    assert synapse.rows is not None and synapse.columns is not None
    if synapse.kind == "csr":
        return np.repeat(np.arange(len(synapse.columns) - 1), np.diff(synapse.columns)), synapse.rows, weights
    return synapse.columns, synapse.rows, weights


def _exact_in_float(events: np.ndarray, weights: np.ndarray, terms: int) -> bool:
    """Whether every sum is an integer of less than 2^53, which float64 holds exactly and computes faster."""
    return int(np.abs(events).max(initial=0)) * int(np.abs(weights).max(initial=0)) * terms < 1 << 53


def _product(events: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """`events @ weights.T`."""
    if _exact_in_float(events, weights, weights.shape[1]):
        found: np.ndarray = (events.astype(np.float64) @ weights.T.astype(np.float64)).astype(np.int64)
    else:
        found = events @ weights.T
    return found
