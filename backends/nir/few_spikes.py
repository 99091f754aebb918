"""Few-spike neurons as graphs of standard NIR primitives, and back.

With v the sum of all input less theta times all events of the steps before, S the sum of these events, V0 = theta//2 + bias, and
`now_k` 1 in the step of bit k and 0 in all others (a constant 1 that comes later, less one that comes a step later still):

    negative = below 0 in the first step, held
    rise_k   = now_k and not negative and V >= 2^k theta and S + 2^k <= hi
    fall_k   = now_k and negative and V < (1 - 2^k) theta and S - 2^k >= lo;     y = sum of 2^k (rise_k - fall_k)

Staircases compare what is left of the level, lo + (number of j with v + bias >= t[j]) - S, with 2^k: their tables are sorted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snnir.backends.nir.library import NirNode, exact_floats, load_nir
from snnir.backends.nir.neurons import ends, integers, same_graph, single

__all__ = ["FewSpikeNeurons", "few_spikes_graph", "read_few_spikes"]


@dataclass(frozen=True, eq=False)
class FewSpikeNeurons:
    """A population: thresholds int64 [shape] (uniform) or [levels, shape] (staircase), bias int64 [shape], levels lo..hi, the
    step at which the first bit is emitted, and the number of last bits that are left out."""

    staircase: bool
    theta: np.ndarray
    bias: np.ndarray
    lo: int
    hi: int
    start: int
    omitted: int

    @property
    def steps(self) -> dict[int, int]:
        """The step of every bit that is emitted."""
        most = max(self.hi, -self.lo).bit_length() - 1
        return {bit: self.start + most - bit for bit in range(most, self.omitted - 1, -1)}


class _Builder:
    """Nodes and edges of one population under construction; `one` is an array of ones in its shape."""

    def __init__(self, neurons: FewSpikeNeurons) -> None:
        self.neurons, self.nir = neurons, load_nir()
        self.one = np.ones(neurons.bias.shape)
        self.nodes: dict[str, NirNode] = dict(ends(neurons.bias.shape))
        self.edges: list[tuple[str, str]] = []

    def add(self, name: str, node: NirNode, *sources: str) -> str:
        """Add a node behind others."""
        self.nodes[name] = node
        self.edges += [(source, name) for source in sources]
        return name

    def scale(self, name: str, factor: float | np.ndarray, *sources: str) -> str:
        """A multiple of the sum of others."""
        return self.add(name, self.nir.Scale(exact_floats(factor * self.one)), *sources)

    def threshold(self, name: str, level: float | np.ndarray, *sources: str) -> str:
        """1 where the sum of others is greater."""
        return self.add(name, self.nir.Threshold(exact_floats(level * self.one)), *sources)

    def since(self, step: int) -> str:
        """A constant that is 0 before a step and 1 from it on."""
        if "since_0" not in self.nodes:
            self.threshold("since_0", -0.5, self.scale("nothing", 0.0, "input"))
        name = f"since_{step}"
        if name not in self.nodes:
            self.add(name, self.nir.Delay(exact_floats(step * self.one)), "since_0")
        return name

    def now(self, step: int) -> tuple[str, str]:
        """Two nodes whose sum is 1 in a step and 0 in all others."""
        name = f"not_since_{step + 1}"
        if name not in self.nodes:
            self.scale(name, -1.0, self.since(step + 1))
        return self.since(step), name


def few_spikes_graph(neurons: FewSpikeNeurons, metadata: dict[str, object]) -> NirNode:
    """The `nir.NIRGraph` of a population, with one `input` (currents) and one `output` (events of powers of two)."""
    work = _Builder(neurons)
    tracer = work.add("tracer", work.nir.I(exact_floats(work.one)), "delay")
    work.scale("tracer_negated", -1.0, tracer)
    if neurons.staircase:
        above, below = _left_of_staircase(work)
    else:
        above, below = _left_of_uniform(work)
    signed = neurons.lo < 0
    if signed:
        lowest = 1 + neurons.lo - 0.5 if neurons.staircase else neurons.theta // 2 + neurons.bias + 0.5
        work.threshold("below", lowest, below)
        work.threshold("below_first", 1.5, "below", *work.now(neurons.start))
        work.add("held", work.nir.I(exact_floats(work.one)), "below_first")
        work.scale("not_negative", -1.0, "held")
    work.add("delay", work.nir.Delay(exact_floats(work.one)))
    for bit, step in neurons.steps.items():
        _bit(work, bit, step, above, below, signed)
    return work.nir.NIRGraph(work.nodes, work.edges, metadata=metadata)


def _left_of_uniform(work: _Builder) -> tuple[str, str]:
    """v, and -v."""
    feedback = work.add("feedback", work.nir.Scale(exact_floats(-work.neurons.theta)), "delay")
    membrane = work.add("membrane", work.nir.I(exact_floats(work.one)), "input", feedback)
    return membrane, _negated(work, membrane)


def _left_of_staircase(work: _Builder) -> tuple[str, str]:
    """The number of thresholds that are reached less S, and its negative."""
    total = work.add("sum", work.nir.I(exact_floats(work.one)), "input")
    levels = [
        work.threshold(f"level_{index}", row - work.neurons.bias - 0.5, total) for index, row in enumerate(work.neurons.theta)
    ]
    work.scale("difference", 1.0, "tracer_negated", *levels)
    return "difference", _negated(work, "difference")


def _negated(work: _Builder, name: str) -> str:
    """The negative of a node, which only levels below 0 are compared with: NIR makes an output of what nothing reads."""
    return work.scale(f"{name}_negated", -1.0, name) if work.neurons.lo < 0 else ""


def _bit(work: _Builder, bit: int, step: int, above: str, below: str, signed: bool) -> None:
    """The nodes of one bit."""
    neurons, unit = work.neurons, 1 << bit
    start, lo = neurons.theta // 2 + neurons.bias if not neurons.staircase else 0, neurons.lo
    reached = unit - lo - 0.5 if neurons.staircase else unit * neurons.theta - start - 0.5
    work.threshold(f"above_{bit}", reached, above)
    work.threshold(f"under_{bit}", unit - neurons.hi - 0.5, "tracer_negated")
    work.threshold(f"rise_{bit}", 2.5, f"above_{bit}", f"under_{bit}", *work.now(step), *(["not_negative"] if signed else []))
    for place in ("output", "delay"):
        work.edges.append((f"up_{bit}", place))
    work.scale(f"up_{bit}", float(unit), f"rise_{bit}")
    if not signed:
        return
    reached = unit + lo - 0.5 if neurons.staircase else start + (unit - 1) * neurons.theta + 0.5
    work.threshold(f"deep_{bit}", reached, below)
    work.threshold(f"over_{bit}", lo + unit - 0.5, "tracer")
    work.threshold(f"fall_{bit}", 3.5, f"deep_{bit}", f"over_{bit}", "held", *work.now(step))
    work.scale(f"down_{bit}", -float(unit), f"fall_{bit}")
    for place in ("output", "delay"):
        work.edges.append((f"down_{bit}", place))


def read_few_spikes(graph: NirNode) -> FewSpikeNeurons:
    """The population that `few_spikes_graph` wrote, from its primitives alone. Raises `ValueError` where they are not that.

    The bias of a staircase does not follow from its table: it comes back as 0, with the table moved by it.
    """
    nodes = graph.nodes
    try:
        bits = sorted(int(name.removeprefix("rise_")) for name in nodes if name.startswith("rise_"))
        if not bits:
            raise KeyError("rise_0")
        least = 1 << bits[0]
        hi = single(least - nodes[f"under_{bits[0]}"].threshold - 0.5)
        lo = single(nodes[f"over_{bits[0]}"].threshold - least + 0.5) if f"over_{bits[0]}" in nodes else 0
        steps = [int(name.removeprefix("not_since_")) - 1 for name in nodes if name.startswith("not_since_")]
        if "membrane" in nodes:
            theta = integers(-nodes["feedback"].scale)
            start = integers(least * theta - nodes[f"above_{bits[0]}"].threshold - 0.5)
            neurons = FewSpikeNeurons(False, theta, start - theta // 2, lo, hi, min(steps), bits[0])
        else:
            count = sum(name.startswith("level_") for name in nodes)
            table = np.stack([integers(nodes[f"level_{index}"].threshold + 0.5) for index in range(count)])
            bias = np.zeros(table.shape[1:], np.int64)
            neurons = FewSpikeNeurons(True, table, bias, lo, hi, min(steps), bits[0])
    except (KeyError, AttributeError) as error:
        raise ValueError(f"the node {error} of a population is missing or of another kind") from error
    if not same_graph(graph, few_spikes_graph(neurons, {})):
        raise ValueError("its primitives are not those that make up a few-spike neuron")
    return neurons
