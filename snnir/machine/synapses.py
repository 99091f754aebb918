"""Synapses: their weights and geometry, and what arrives through them. Integers only.

`currents` is used to run programs, and with the extremes of tracers to bound them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from snnir.errors import GraphError
from snnir.ir.ops import Conv
from snnir.ir.types import TensorType
from snnir.machine.addresses import IndexMap
from snnir.machine.trains import Train

__all__ = ["Synapse", "connections", "currents", "to_neurons"]

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

    def problems(self, source: Train, neurons: Train) -> Iterator[str]:
        """What is not well-formed between a source and neurons: texts for errors."""
        size, count = math.prod(self.inputs), math.prod(self.outputs)
        if source.size != size:
            yield f"it takes {size} addresses, {source.name!r} has {source.size}"
        if self.spread is None and count != neurons.size:
            yield f"it gives {count} currents to {neurons.size} neurons"
        if self.spread is not None and not self.spread.reaches(neurons.size, 0, count):
            yield f"its {count} currents spread over other than {neurons.size} neurons"
        if self.gain is not None and (self.gain.shape not in ((1,), (len(self.weights),)) or self.gain.min(initial=0) < 0):
            yield f"gains {list(self.gain.shape)} for weights {list(self.weights.shape)}"
        if not self._leads(size, count):
            yield f"{self.kind} weights {list(self.weights.shape)} do not lead from {list(self.inputs)} to {list(self.outputs)}"

    def _leads(self, size: int, count: int) -> bool:
        weights, lists = self.weights, (self.rows, self.columns)
        if self.kind == "dense":
            return weights.ndim == 2 and (self.groups * weights.shape[1], self.groups * weights.shape[0]) == (size, count)
        if self.kind == "conv":
            conv = Conv(self.stride, self.padding, self.dilation, self.groups)
            try:
                types = TensorType((1, *self.inputs), "f32"), TensorType(weights.shape, "f32")
                return bool(conv.infer(*types)[0].shape[1:] == self.outputs)
            except (GraphError, IndexError, ValueError, ZeroDivisionError):
                return False
        if weights.ndim != 1:
            return False
        if self.kind == "one":
            return self.weight_map is not None and size == count and self.weight_map.reaches(count, 0, weights.size)
        rows, columns = lists
        if self.kind not in ("list", "csr") or rows is None or columns is None or rows.shape != weights.shape:
            return False
        if not _in_range(rows, count):
            return False
        if self.kind == "list":
            return columns.shape == weights.shape and _in_range(columns, size) and not (np.diff(rows) < 0).any()
        ends = columns.size == size + 1 and (int(columns[0]), int(columns[-1])) == (0, weights.size)
        return ends and not (np.diff(columns) < 0).any()

    def expanded(self) -> np.ndarray:
        """What one event of 1 adds: the weights times 2^gain, int64."""
        if self.gain is None:
            return self.weights
        expanded: np.ndarray = self.weights << self.gain.reshape(-1, *(1,) * (self.weights.ndim - 1))
        return expanded


def _in_range(index: np.ndarray, count: int) -> bool:
    return not index.size or (int(index.min()) >= 0 and int(index.max()) < count)


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
        sources, targets, held = _listed(synapse, weights)
        found = np.zeros((rows, int(np.prod(synapse.outputs, dtype=np.int64))), np.int64)
        block = max(_LARGEST // max(held.size, 1), 1)
        for first in range(0, rows, block):
            part = events[first : first + block, sources] * held
            np.add.at(found[first : first + block].T, targets, part.T)
    found = found.reshape(rows, int(np.prod(synapse.outputs, dtype=np.int64)))
    return found if synapse.spread is None else found[:, synapse.spread.array()]


def connections(synapse: Synapse) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Source address, current and weight, gain included, of every connection of a synapse."""
    weights = synapse.expanded()
    size, count = (int(np.prod(shape, dtype=np.int64)) for shape in (synapse.inputs, synapse.outputs))
    if synapse.kind in ("list", "csr"):
        return _listed(synapse, weights)
    if synapse.kind == "one":
        assert synapse.weight_map is not None
        return np.arange(size), np.arange(count), weights[synapse.weight_map.array()]
    if synapse.kind == "dense":
        outputs, inputs = weights.shape
        shape = synapse.groups, outputs, inputs
        source = np.broadcast_to(np.arange(size).reshape(synapse.groups, 1, inputs), shape)
        target = np.broadcast_to(np.arange(count).reshape(synapse.groups, outputs, 1), shape)
        return source.reshape(-1), target.reshape(-1), np.broadcast_to(weights, shape).reshape(-1)
    conv = Conv(synapse.stride, synapse.padding, synapse.dilation, synapse.groups)
    places = np.arange(1, size + 1).reshape(1, *synapse.inputs)
    parts = []
    for tap in np.ndindex(weights.shape[1:]):
        one = np.zeros(weights.shape, np.int64)
        one[(slice(None), *tap)] = 1
        held = conv.evaluate(places, one)[0].reshape(weights.shape[0], -1)  # 0: this tap lies in the padding
        target = np.flatnonzero(held)
        parts.append((held.reshape(-1)[target] - 1, target, weights[(slice(None), *tap)][target // held.shape[1]]))
    none = (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64))
    source, target, weight = (np.concatenate(arrays) for arrays in zip(none, *parts, strict=True))
    return source, target, weight


def to_neurons(synapse: Synapse) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Source address, neuron and weight of every connection: a current that is spread over neurons once for each of them."""
    sources, targets, weights = connections(synapse)
    if synapse.spread is None:
        return sources, targets, weights
    held = synapse.spread.array()
    order = np.argsort(held, kind="stable")
    copies = np.bincount(held, minlength=int(np.prod(synapse.outputs, dtype=np.int64)))
    starts = np.cumsum(copies) - copies
    repeats = copies[targets]
    within = np.arange(int(repeats.sum())) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    neurons = order[np.repeat(starts[targets], repeats) + within]
    return np.repeat(sources, repeats), neurons, np.repeat(weights, repeats)


def _listed(synapse: Synapse, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Source address, current and weight of every connection of a `list` or `csr`."""
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
