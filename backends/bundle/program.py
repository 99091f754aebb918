"""The integer program of a bundle: what a machine that can only add, compare and multiply integers has to do.

A program is a list of ops in order of evaluation. An op reads the trains of ops before it and writes one of its own (a
readout writes none). A train has one event, an integer, for every address and inner step. docs/bundle.md says what each
op does; `replay.py` does it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

__all__ = [
    "Constant",
    "Element",
    "IndexMap",
    "Input",
    "IntegerProgram",
    "Max",
    "Op",
    "Output",
    "Population",
    "Product",
    "Readout",
    "Result",
    "Route",
    "Scan",
    "Shared",
    "State",
    "Summing",
    "Synapse",
    "Train",
    "outside",
    "walk",
]


@dataclass(frozen=True, eq=False)
class IndexMap:
    """Integers m[0], m[1], ...: `offset` plus digit times stride along `dims` (size, stride), or a `table` (-1: none)."""

    dims: tuple[tuple[int, int], ...] = ()
    offset: int = 0
    table: np.ndarray | None = None

    @staticmethod
    def of(index: np.ndarray) -> IndexMap:
        """The map of an array, by strides where it has any."""
        dims: list[tuple[int, int]] = []
        offset = int(index.reshape(-1)[0]) if index.size else 0
        for axis, size in enumerate(index.shape):
            if size == 1:
                continue
            at = [0] * index.ndim
            at[axis] = 1
            stride = int(index[tuple(at)]) - offset if index.size else 0
            if dims and dims[-1][1] == stride * size:
                dims[-1] = dims[-1][0] * size, stride
            else:
                dims.append((size, stride))
        found = IndexMap(tuple(dims), offset)
        if index.size and offset >= 0 and np.array_equal(found.array(), index.reshape(-1)):
            return found
        return IndexMap(table=index.reshape(-1).astype(np.int64))

    @property
    def size(self) -> int:
        """How many integers."""
        return int(np.prod([size for size, _ in self.dims], dtype=np.int64)) if self.table is None else self.table.size

    def array(self) -> np.ndarray:
        """The integers, int64."""
        if self.table is not None:
            return self.table
        found = np.full(1, self.offset, np.int64)
        for size, stride in self.dims:
            found = (found[:, np.newaxis] + np.arange(size, dtype=np.int64) * stride).reshape(-1)
        return found


@dataclass(frozen=True, eq=False)
class Train:
    """What a value emits; `shape` is only for people, addresses count through it in C order. The tracer stays in lo..hi;
    one level is worth `scale` in real units."""

    name: str
    shape: tuple[int, ...]
    lo: int
    hi: int
    scale: float

    @property
    def size(self) -> int:
        """Number of addresses."""
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True, eq=False)
class Input:
    """Levels that the host gives, `clip(floor(x / scale + 1/2), lo, hi)` of real values `source`; charged at step 0.

    Inside a scan there is one set of levels for each window, in order of processing."""

    train: Train
    source: str


@dataclass(frozen=True, eq=False)
class Constant:
    """Levels that never change, charged at step 0 (of the first window only, where a scan is carried)."""

    train: Train
    levels: np.ndarray


@dataclass(frozen=True, eq=False)
class Route:
    """Addresses: y[i] is event map[i] of the sources, one after another; -1 is silent."""

    train: Train
    sources: tuple[str, ...]
    map: IndexMap


@dataclass(frozen=True, eq=False)
class Synapse:
    """Weights from one train to the neurons of one population.

    `kind`: `dense` (weights [O, I], applied to each of `groups` rows), `conv` (weights [M, C/groups, ...] and geometry),
    `one` (weight `weight_map[i]` of event i), `list` (weight k goes from `columns[k]` to `rows[k]`, rows in order) or `csr`
    (weights offsets[a] .. offsets[a + 1] go from address a to `rows`). Results are currents [outputs]; `spread`, where
    there is one, says which of them each neuron gets.
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


@dataclass(frozen=True, eq=False)
class Summing:
    """What sums up currents: `initial[initial_map[i]]` is the sum that neuron i starts with."""

    train: Train
    synapses: tuple[Synapse, ...]
    initial: np.ndarray
    initial_map: IndexMap


@dataclass(frozen=True, eq=False)
class Population(Summing):
    """Neurons: `theta` [parameters] or, with `staircase`, [parameters, hi - lo]; neuron i has row `theta_map[i]`."""

    theta: np.ndarray
    theta_map: IndexMap
    staircase: bool


@dataclass(frozen=True, eq=False)
class Readout(Summing):
    """An exact sum; its real value is `sum * scale[scale_map[i]]`, float64, given as float32. Its train is never emitted."""

    scale: np.ndarray
    scale_map: IndexMap


@dataclass(frozen=True, eq=False)
class Max:
    """The change of the largest tracer among every `width` neighbouring addresses of the source."""

    train: Train
    source: str
    width: int


@dataclass(frozen=True, eq=False)
class Product:
    """The change of the product of the tracers of two sources, address by address."""

    train: Train
    sources: tuple[str, str]


@dataclass(frozen=True, eq=False)
class State:
    """A state: the body's train `input` starts as the outer train `initial` and goes on as the body's `following`; outside
    it is known as `final`."""

    input: Train
    initial: str
    following: str
    final: Train


@dataclass(frozen=True, eq=False)
class Element:
    """A sequence [windows, n] outside, one row of which is the body's `input`. `at_once`: a change is sent at step 0."""

    input: Train
    source: str
    at_once: bool


@dataclass(frozen=True, eq=False)
class Shared:
    """A train that every window takes."""

    input: Train
    source: str


@dataclass(frozen=True, eq=False)
class Result:
    """A body's train `source`, all windows side by side: `train` [windows, n]."""

    train: Train
    source: str


@dataclass(frozen=True, eq=False)
class Scan:
    """A body that runs once for each window; window k takes element k, or windows - 1 - k where it is `reverse`."""

    name: str
    windows: int
    reverse: bool
    states: tuple[State, ...]
    elements: tuple[Element, ...]
    shared: tuple[Shared, ...]
    results: tuple[Result, ...]
    ops: tuple[Op, ...]


Op = Input | Constant | Route | Population | Readout | Max | Product | Scan


@dataclass(frozen=True, eq=False)
class Output:
    """What the model gives out as `name`: settled tracers of a train (`levels`), a readout (`real`), or what the host
    computes from these (`host`, without a source)."""

    name: str
    kind: str
    source: str


@dataclass(frozen=True, eq=False)
class IntegerProgram:
    """A spiking network for samples of one size; `host` lists what the bundle does not hold."""

    name: str
    delivery: str
    execution: str
    ops: tuple[Op, ...]
    outputs: tuple[Output, ...]
    host: tuple[str, ...] = ()
    provenance: dict[str, object] = field(default_factory=dict)

    @property
    def carry(self) -> bool:
        """Whether the bodies of scans go on from window to window."""
        return self.execution == "carry"


def walk(ops: Sequence[Op], windows: int | None = None) -> Iterator[tuple[Op, int | None]]:
    """Every op in order, scans before what is in them, with the number of windows it runs in (None: outside scans)."""
    for op in ops:
        yield op, windows
        if isinstance(op, Scan):
            yield from walk(op.ops, op.windows)


def outside(ops: Sequence[Op]) -> Iterator[Train]:
    """Every train outside scans, results of scans included."""
    for op in ops:
        if isinstance(op, Scan):
            yield from (state.final for state in op.states)
            yield from (result.train for result in op.results)
        else:
            yield op.train
