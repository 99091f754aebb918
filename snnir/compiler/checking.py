"""Check a model before anything is compiled: the fate of every node, all refusals at once, and what the network will cost."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from snnir.compiler.estimates import LayerCost, estimated_steps, layer_costs
from snnir.compiler.fates import computed, fates
from snnir.compiler.model_check import ModelCheck, Recurrence
from snnir.compiler.open_sizes import OpenSizes, advice
from snnir.compiler.options import ImportOptions
from snnir.errors import GraphError, Refusal, SnnirError, UnsupportedError, unforeseen
from snnir.ir import Graph, Node
from snnir.ir.ops import Recurrent, Scan
from snnir.ir.phases import INTEGRATE_FIRE
from snnir.passes import CompileOptions, Context, before_calibration, pipeline_for, try_observers
from snnir.passes.clock_neurons import clock_refusals

if TYPE_CHECKING:
    import onnx
    import torch

    from snnir.ir.lowering.survey import Survey

__all__ = ["check"]

_LAYERS = ("RNN", "GRU", "LSTM")


def check(
    model: str | Path | bytes | onnx.ModelProto | torch.export.ExportedProgram,
    *,
    calibration: np.ndarray | Mapping[str, np.ndarray] | None = None,
    bits: int = 4,
    neuron: str = "bif",
    steps: int = 32,
    allow_host: bool = False,
    batch_axes: Mapping[str, int | None] | None = None,
    constants: Mapping[str, object] | None = None,
    dims: Mapping[str, int | str] | None = None,
    requantize: bool = False,
) -> ModelCheck:
    """What would become of a model, without compiling it.

    With `calibration` (inputs like those to come) the model is compiled, where nothing is refused, and the steps are its
    certified bounds; else they are estimated from `bits`. `neuron`, `steps`, `allow_host`, `batch_axes`, `constants`, `dims` and
    `requantize` are those of `snnir.compile`; open sizes that a refused node may need get the numbers of the calibration data.
    Raises `ModelError` for what cannot be read; what snnir does not support is part of the report.
    """
    from snnir.compiler.importing import as_read
    from snnir.frontends.onnx import with_constants

    pipeline_for(CompileOptions(bits=bits, neuron=neuron, steps=steps))  # raises for what is out of range
    if constants:
        model = with_constants(cast("Any", model), constants)
    model, notes = as_read(model, ImportOptions(requantize=requantize))
    sizes = OpenSizes(dims, calibration)
    sizes.notes += notes
    while True:
        found, graph = _checked(model, calibration, bits, (neuron, steps), allow_host, batch_axes, sizes)
        if found.ok or not sizes.take(found.refusals, graph):
            hint = "" if found.ok else advice(found.refusals, graph)
            return dataclasses.replace(found, notes=(*found.notes, hint)) if hint else found


def _surveyed(model: object) -> Survey:
    from snnir.compiler.importing import is_torch

    if is_torch(model):
        from snnir.frontends.torch import survey_torch

        return survey_torch(cast("Any", model))
    from snnir.frontends.onnx import survey

    return survey(cast("Any", model))


def _checked(
    model: str | Path | bytes | onnx.ModelProto | torch.export.ExportedProgram,
    calibration: np.ndarray | Mapping[str, np.ndarray] | None,
    bits: int,
    neuron: tuple[str, int],
    allow_host: bool,
    batch_axes: Mapping[str, int | None] | None,
    sizes: OpenSizes,
) -> tuple[ModelCheck, Graph]:
    """The check with the sizes that are known so far; and the graph, as far as it could be imported."""
    known = _surveyed(model)
    graph, refused = _imported(model, known.name, ImportOptions(batch_axes=batch_axes, dims=sizes.dims), calibration)
    imported = {origin for _, node in graph.walk() for origin in node.origin}
    simple, recurrences, late = _simplified(graph)
    refused += [item for item in late if item.node not in {earlier.node for earlier in refused}]
    costs: tuple[LayerCost, ...] = ()
    spiking, hosts, scans, steps = set[str](), dict[str, str](), dict[str, str](), dict[str, int]()
    try:
        placed = try_observers(simple, allow_host)
        refused += [item for item in placed.refused if item.node not in {earlier.node for earlier in refused}]
        if neuron[0] == INTEGRATE_FIRE:
            refused += [item for item in clock_refusals(placed.graph) if item.node not in {earlier.node for earlier in refused}]
        spiking, hosts = computed(placed)
        costs = layer_costs(placed)
        scans = {node.outputs[0].name: _label(node) for _, node in placed.graph.walk() if isinstance(node.op, Scan)}
        steps = {} if refused else estimated_steps(placed, bits, *neuron)
    except Exception as error:  # where nodes are refused already, what is left of the graph need not make sense
        if not refused:
            reason, trace = unforeseen(error)
            refused.append(Refusal(known.name, reason, (), frozenset(), trace))
    every = tuple(fates(known, refused, imported, spiking, hosts))
    certified = False
    if calibration is not None and not refused:
        steps, certified = _certified(model, calibration, bits, neuron, allow_host, batch_axes, sizes.dims), True
    found = ModelCheck(
        known.name,
        known.provenance,
        known.metadata,
        every,
        tuple(refused),
        tuple(recurrences),
        costs,
        steps,
        certified,
        bits,
        (*graph.notes, *sizes.notes),
        scans,
    )
    return found, graph


def _imported(
    model: str | Path | bytes | onnx.ModelProto | torch.export.ExportedProgram,
    name: str,
    options: ImportOptions,
    calibration: np.ndarray | Mapping[str, np.ndarray] | None,
) -> tuple[Graph, list[Refusal]]:
    """The graph, as far as the model can be imported, and what was refused."""
    from snnir.compiler.importing import import_for

    try:
        return import_for(model, options, calibration), []
    except UnsupportedError as error:
        graph = _as_far_as_it_goes(error.partial) if isinstance(error.partial, Graph) else Graph(name)
        return graph, [*(error.refusals or (Refusal(name, str(error)),))]
    except Exception as error:
        if isinstance(error, SnnirError) and not isinstance(error, GraphError):
            raise
        reason, trace = (str(error), "") if isinstance(error, SnnirError) else unforeseen(error)
        return Graph(name), [Refusal(name, reason, (), frozenset(), trace)]


def _as_far_as_it_goes(graph: Graph) -> Graph:
    """A graph whose import stopped, with all that nothing takes as its outputs."""
    for node in list(graph.nodes):
        for value in node.outputs:
            if not value.uses:
                graph.output(value.name, value)
    return graph


def _label(node: Node) -> str:
    first, *more = node.origin or (node.outputs[0].name,)
    return f"{first} and {len(more)} more" if more else first


def _simplified(graph: Graph) -> tuple[Graph, list[Recurrence], list[Refusal]]:
    """The passes before calibration, going on behind a refusal; and the recurrent structures that they meet."""
    met = (item for _, node in graph.walk() if (item := _recurrence(node)) is not None)
    named: dict[str, Recurrence] = {}
    for item in met:  # a layer that steps inside a scan made of it counts once, as that scan
        named.setdefault(item.name, item)
    found, names = list(named.values()), set(named)
    refused: list[Refusal] = []
    for pass_ in before_calibration(CompileOptions()):
        try:
            graph = pass_.run(graph, Context()).graph
        except UnsupportedError as error:
            refused += error.refusals or (Refusal(pass_.name, str(error)),)
        except Exception as error:  # the checks that follow say more than one failure
            reason, trace = unforeseen(error)
            refused.append(Refusal(pass_.name, reason, (), frozenset(), trace))
        if pass_.name == "roll-recurrences":
            later = [item for _, node in graph.walk() if (item := _recurrence(node)) is not None]
            found += [dataclasses.replace(item, kind="rolled-back steps") for item in later if item.name not in names]
    return graph, found, refused


def _recurrence(node: Node) -> Recurrence | None:
    """What a node is as a recurrent structure; None for all others."""
    op, label = node.op, node.describe()
    operator, _, name = label.partition(" ")
    if isinstance(op, Recurrent):
        return Recurrence(f"{op.name.upper()} layer", name, op.STATES, node.operands[0].type.shape[1])
    if isinstance(op, Scan):
        named = operator in ("Scan", "Loop", *_LAYERS) and len(node.origin) == 1
        layer = f"{operator} layer" if operator in _LAYERS else operator
        length = node.operands[op.states].type.shape[op.axis]
        return Recurrence(layer if named else "scan", name if named else label, op.states, length)
    return None


def _certified(
    model: str | Path | bytes | onnx.ModelProto | torch.export.ExportedProgram,
    calibration: np.ndarray | Mapping[str, np.ndarray],
    bits: int,
    neuron: tuple[str, int],
    allow_host: bool,
    batch_axes: Mapping[str, int | None] | None,
    dims: Mapping[str, int | str],
) -> dict[str, int]:
    """The longest window outside scans and of each scan, of the compiled program."""
    from snnir.compiler.compile import compile
    from snnir.ir.execute import bind_sizes
    from snnir.runtime.inputs import as_inputs

    program = compile(
        model,
        calibration=calibration,
        bits=bits,
        neuron=neuron[0],
        steps=neuron[1],
        allow_host=allow_host,
        batch_axes=batch_axes,
        dims=dims,
        check=False,
    )
    spiking = program.graph("spiking")
    bounds = program.bounds(bind_sizes(spiking, as_inputs(spiking, calibration)))
    return {name: max(windows, default=0) for name, windows in bounds.items()}
