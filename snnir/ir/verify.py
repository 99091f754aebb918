"""The verifier: what must hold of every graph, and of graphs of each level."""

from __future__ import annotations

from collections import Counter

import numpy as np

from snnir.errors import GraphError
from snnir.ir.dims import BATCH, dim
from snnir.ir.graph import Graph, Node, Value
from snnir.ir.op import FLOAT, QUANTIZED, SPIKING
from snnir.ir.ops import Bif, Dequantize, Encode, Fs, Function, Summing
from snnir.ir.phases import FEW_SPIKES, neuron_of, phases_of

__all__ = ["verify"]


def verify(graph: Graph) -> None:
    """Raise `GraphError`, naming node and rule, unless all of this holds (bodies included).

    1. Values have unique names, and nodes take only values that are defined before them in their own graph.
    2. Uses list exactly the places where a value is taken.
    3. Result types are what the op infers from its operands.
    4. The op is legal at the graph's level, or it is a float op on real numbers, which the host computes; a body has its
       graph's level.
    5. Real constants are finite.
    6. Quantized: what `quantize` gave becomes real numbers again by `dequantize` only.
    7. Spiking: currents end in populations or readouts; the batch is axis 0 of every spike train and current (of a model
       that takes any batch), except for trains that encode a constant.
    8. Neurons are of one family, and a few-spike population that is scheduled starts at the step at which its input is
       complete (under relay delivery).
    """
    _verify(graph, graph.level)
    if graph.level == SPIKING and neuron_of(graph) == FEW_SPIKES:
        _verify_schedule(graph)


def _verify(graph: Graph, level: str) -> None:
    if graph.level != level:
        raise GraphError(f"graph {graph.name} of level {graph.level} stands in a graph of level {level}")
    defined: set[Value] = {*graph.inputs, *graph.constants}
    batched = any(dim(BATCH) in value.type.shape for value in graph.inputs)
    uses: dict[Value, list[tuple[Node | None, int]]] = {value: [] for value in graph.values.values()}
    for value in graph.constants:
        if value.type.is_real and not np.isfinite(value.array).all():
            raise GraphError(f"constant {value.name} holds NaN or infinite values")
    for node in graph.nodes:
        where = f"{node.describe()} (op {node.op.name})"
        for position, value in enumerate(node.operands):
            if value not in defined:
                raise GraphError(f"{where} takes {value.name!r} before it is defined")
            uses[value].append((node, position))
        if level not in node.op.levels and not _on_host(node):
            raise GraphError(f"{where} is not legal at the {level} level, only at: {', '.join(node.op.levels)}")
        inferred = node.op.body_types([value.type for value in node.operands], node.body)
        if inferred != tuple(value.type for value in node.outputs):
            raise GraphError(f"{where} has results {[str(value.type) for value in node.outputs]}, infers {[*map(str, inferred)]}")
        if node.body is not None:
            _verify(node.body, level)
        defined.update(node.outputs)
        if level != FLOAT:
            _verify_lower(node, level, where, batched)
    for position, (name, value) in enumerate(graph.outputs.items()):
        if value not in defined:
            raise GraphError(f"output {name} is {value.name!r}, which no node gives")
        uses[value].append((None, position))
    for value, places in uses.items():
        if graph.values.get(value.name) is not value:
            raise GraphError(f"two values are called {value.name!r}")
        if Counter(places) != Counter(value.uses):
            raise GraphError(f"the uses of {value.name!r} are not kept true")


def _verify_schedule(graph: Graph) -> None:
    nodes = [node for _, node in graph.walk()]
    for node in nodes:
        if isinstance(node.op, Bif):
            raise GraphError(f"{node.describe()} (op {node.op.name}) stands in a graph of few-spike neurons")
    phases = phases_of(graph)
    for node in nodes:
        if isinstance(node.op, Fs | Function) and node.op.start not in (-1, phases.of[node.outputs[0]].first):
            raise GraphError(
                f"{node.describe()} (op {node.op.name}) starts at step {node.op.start}, but its input is complete at step "
                f"{phases.of[node.outputs[0]].first}"
            )


def _on_host(node: Node) -> bool:
    """Whether all that changes with the input, and there is something, is real numbers."""
    changing = [value.type for value in (*node.operands, *node.outputs) if not value.is_constant]
    return node.body is None and FLOAT in node.op.levels and len(changing) > 1 and all(type_.is_real for type_ in changing)


def _verify_lower(node: Node, level: str, where: str, batched: bool) -> None:
    operands = [value.type for value in node.operands if not value.is_constant]
    result = node.outputs[0].type if node.outputs else None
    mixed = any(type_.is_levels or type_.is_sum for type_ in operands) and result is not None and result.is_real
    if level == QUANTIZED and mixed and node.body is None and not isinstance(node.op, Dequantize):
        raise GraphError(f"{where} makes real numbers out of levels; only dequantize does at the quantized level")
    if level == SPIKING:
        if any(type_.dtype == "current" for type_ in operands) and not isinstance(node.op, Summing):
            raise GraphError(f"{where} takes a current; only populations, readouts and sums for functions do")
        constant = isinstance(node.op, Encode) and node.operands[0].is_constant
        spiking = result is not None and result.dtype in ("spike", "current")
        if batched and result is not None and spiking and result.batch_axis != 0 and not constant:
            raise GraphError(f"{where}: the batch must be axis 0 of a spike train, found {result}")
