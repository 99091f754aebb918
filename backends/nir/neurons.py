"""Neurons as graphs of standard NIR primitives, and back.

Semantics (docs/nir.md): every node acts within the step, several edges into a node add up, `I` with r = 1 adds its input
and gives the sum, `Threshold` gives 1 where its input is greater, and `Delay(1)` gives what it got one step before, at
first 0. Integers only, so thresholds stand at half-integers. With v the sum of all input and S the sum of all spikes of
the steps before:

    uniform     V = v + V0 - theta S, by feedback of -theta y;  V0 = theta//2 + bias stands in the thresholds
                rise = V >= theta and S < hi;  fall = V < 0 and S > lo;  y = rise - fall
    staircase   level = lo + number of j with v + bias >= t[j];  y = sign(level - S)

The second is the staircase neuron because its table is sorted: `A >= t[S+1]` says level > S, `A < t[S]` says level < S.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snnir.backends.nir.library import NirNode, exact_floats, load_nir

__all__ = ["Neurons", "ends", "integers", "neurons_graph", "read_neurons", "readout_graph", "same_graph", "single"]


@dataclass(frozen=True, eq=False)
class Neurons:
    """A population: thresholds int64 [shape] (uniform) or [levels, shape] (staircase), bias int64 [shape], levels lo..hi."""

    staircase: bool
    theta: np.ndarray
    bias: np.ndarray
    lo: int
    hi: int


def ends(shape: tuple[int, ...]) -> dict[str, NirNode]:
    """The `input` and the `output` of a nested graph."""
    nir = load_nir()
    return {"input": nir.Input({"input": np.array(shape)}), "output": nir.Output({"output": np.array(shape)})}


def neurons_graph(neurons: Neurons, metadata: dict[str, object]) -> NirNode:
    """The `nir.NIRGraph` of a population, with one `input` (currents) and one `output` (spikes)."""
    nodes, edges = (_staircase if neurons.staircase else _uniform)(neurons)
    nir = load_nir()
    shape = neurons.bias.shape
    nodes = {**ends(shape), **nodes, "delay": nir.Delay(exact_floats(np.ones(shape)))}
    nodes["tracer"] = nir.I(exact_floats(np.ones(shape)))
    nodes["fall_negated"] = nir.Scale(exact_floats(-np.ones(shape)))
    edges += [("fall", "fall_negated"), ("delay", "tracer")]
    edges += [(sign, place) for sign in ("rise", "fall_negated") for place in ("output", "delay")]
    return nir.NIRGraph(nodes, edges, metadata=metadata)


def _uniform(neurons: Neurons) -> tuple[dict[str, NirNode], list[tuple[str, str]]]:
    nir, one = load_nir(), np.ones(neurons.bias.shape)
    start = neurons.theta // 2 + neurons.bias
    nodes = {
        "membrane": nir.I(exact_floats(one)),
        "feedback": nir.Scale(exact_floats(-neurons.theta)),
        "above": nir.Threshold(exact_floats(neurons.theta - start - 0.5)),
        "membrane_negated": nir.Scale(exact_floats(-one)),
        "below": nir.Threshold(exact_floats(start + 0.5)),
        "over_least": nir.Threshold(exact_floats((neurons.lo + 0.5) * one)),
        "tracer_negated": nir.Scale(exact_floats(-one)),
        "under_most": nir.Threshold(exact_floats((0.5 - neurons.hi) * one)),
        "rise": nir.Threshold(exact_floats(1.5 * one)),
        "fall": nir.Threshold(exact_floats(1.5 * one)),
    }
    edges = [
        ("input", "membrane"),
        ("delay", "feedback"),
        ("feedback", "membrane"),
        ("membrane", "above"),
        ("membrane", "membrane_negated"),
        ("membrane_negated", "below"),
        ("tracer", "over_least"),
        ("tracer", "tracer_negated"),
        ("tracer_negated", "under_most"),
        ("above", "rise"),
        ("under_most", "rise"),
        ("below", "fall"),
        ("over_least", "fall"),
    ]
    return nodes, edges


def _staircase(neurons: Neurons) -> tuple[dict[str, NirNode], list[tuple[str, str]]]:
    nir, one = load_nir(), np.ones(neurons.bias.shape)
    nodes = {
        "sum": nir.I(exact_floats(one)),
        "tracer_negated": nir.Scale(exact_floats(-one)),
        "difference": nir.Scale(exact_floats(one)),
        "difference_negated": nir.Scale(exact_floats(-one)),
        "rise": nir.Threshold(exact_floats((0.5 - neurons.lo) * one)),
        "fall": nir.Threshold(exact_floats((0.5 + neurons.lo) * one)),
    }
    edges = [
        ("input", "sum"),
        ("tracer", "tracer_negated"),
        ("tracer_negated", "difference"),
        ("difference", "difference_negated"),
        ("difference", "rise"),
        ("difference_negated", "fall"),
    ]
    for index, row in enumerate(neurons.theta):
        nodes[f"level_{index}"] = nir.Threshold(exact_floats(row - neurons.bias - 0.5))
        edges += [("sum", f"level_{index}"), (f"level_{index}", "difference")]
    return nodes, edges


def read_neurons(graph: NirNode) -> Neurons:
    """The population that `neurons_graph` wrote, from its primitives alone. Raises `ValueError` where they are not that.

    The bias of a staircase does not follow from its table: it comes back as 0, with the table moved by it.
    """
    nodes = graph.nodes
    try:
        if "membrane" in nodes:
            start = integers(nodes["below"].threshold - 0.5)
            theta = integers(nodes["above"].threshold + 0.5) + start
            lo = single(nodes["over_least"].threshold - 0.5)
            hi = single(0.5 - nodes["under_most"].threshold)
            neurons = Neurons(False, theta, start - theta // 2, lo, hi)
        else:
            count = sum(name.startswith("level_") for name in nodes)
            table = np.stack([integers(nodes[f"level_{index}"].threshold + 0.5) for index in range(count)])
            lo = single(0.5 - nodes["rise"].threshold)
            neurons = Neurons(True, table, np.zeros(table.shape[1:], np.int64), lo, lo + count)
    except (KeyError, AttributeError) as error:
        raise ValueError(f"the node {error} of a population is missing or of another kind") from error
    if not same_graph(graph, neurons_graph(neurons, {})):
        raise ValueError("its primitives are not those that make up a bipolar neuron")
    return neurons


def integers(array: np.ndarray) -> np.ndarray:
    """Whole numbers int64. Raises `ValueError`."""
    wide = np.asarray(array, np.float64)
    if not np.isfinite(wide).all() or (wide != np.floor(wide)).any():
        raise ValueError("a threshold does not stand at a half-integer")
    return wide.astype(np.int64)


def single(array: np.ndarray) -> int:
    """The one whole number that all elements are. Raises `ValueError`."""
    values = np.unique(integers(array))
    if len(values) != 1:
        raise ValueError("neurons of one population have different bounds")
    return int(values[0])


def same_graph(left: NirNode, right: NirNode) -> bool:
    """Whether two graphs have the same nodes, parameters and edges (order and metadata aside)."""
    if set(left.nodes) != set(right.nodes) or set(left.edges) != set(right.edges) or len(left.edges) != len(right.edges):
        return False
    for name, node in left.nodes.items():
        mine, other = node.to_dict(), right.nodes[name].to_dict()
        keys = {*mine, *other} - {"metadata"}
        if any(key not in mine or key not in other or not np.array_equal(mine[key], other[key]) for key in keys):
            return False
    return True


def readout_graph(scale: np.ndarray, bias: np.ndarray, metadata: dict[str, object]) -> NirNode:
    """The `nir.NIRGraph` of a readout: the sum of all input and of a bias charged at step 0, times scale, f64 [shape].

    The charge is a constant 1 less the same one step later: 1 at step 0 and 0 after.
    """
    nir, shape = load_nir(), bias.shape
    nodes = {**ends(shape), "sum": nir.I(exact_floats(np.ones(shape))), "scale": nir.Scale(exact_floats(scale))}
    edges = [("input", "sum"), ("sum", "scale"), ("scale", "output")]
    if bias.any():
        nodes["nothing"] = nir.Scale(exact_floats(np.zeros(shape)))
        nodes["one"] = nir.Threshold(exact_floats(np.full(shape, -0.5)))
        nodes["one_later"] = nir.Delay(exact_floats(np.ones(shape)))
        nodes["bias"] = nir.Scale(exact_floats(bias))
        nodes["bias_negated"] = nir.Scale(exact_floats(-bias))
        edges += [("input", "nothing"), ("nothing", "one"), ("one", "one_later"), ("one", "bias"), ("bias", "sum")]
        edges += [("one_later", "bias_negated"), ("bias_negated", "sum")]
    return nir.NIRGraph(nodes, edges, metadata=metadata)
