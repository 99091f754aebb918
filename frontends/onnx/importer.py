"""An ONNX model as a graph: its inputs, the walk over its nodes, its outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import onnx

from snnir.errors import GraphError, UnsupportedError
from snnir.frontends.onnx import handlers as handlers  # fills the registry
from snnir.frontends.onnx.batch import REAL, InputPlan, plan_inputs, same_over_sequence, second_axes
from snnir.frontends.onnx.bodies import names_used
from snnir.frontends.onnx.given import with_constants
from snnir.frontends.onnx.model import Source, initializers, load_model, opset_of, provenance
from snnir.frontends.onnx.sequences import Nothing, listed
from snnir.frontends.onnx.sizes import normalised, places_of, with_sizes, written
from snnir.frontends.onnx.stepwise import over_sequence
from snnir.frontends.onnx.stored import Stored, is_quantized
from snnir.frontends.onnx.walk import Scope, walk
from snnir.ir import BATCH, Graph, Value
from snnir.ir.any_batch import same_meaning
from snnir.ir.dims import names_of
from snnir.ir.lowering.finite import Questions, imported
from snnir.ir.lowering.sizes import SizesForcedError
from snnir.ir.ops import FakeQuantize
from snnir.ir.verify import verify

__all__ = ["import_onnx"]

RECURRENT = ("RNN", "GRU", "LSTM")


def import_onnx(
    source: Source,
    *,
    name: str | None = None,
    batch_axes: Mapping[str, int] | None = None,
    batch: bool = True,
    constants: Mapping[str, Any] | None = None,
    dims: Mapping[str, int] | None = None,
) -> Graph:
    """The model as a float-level graph.

    `batch_axes` names the batch axis of inputs where it is not the one found by the rules of `batch.py`; `batch=False`
    imports sizes as they stand, for models without a batch. A model exported with a fixed batch is generalised to any
    batch where its nodes allow it and it then computes the same; the graph's notes say which happened.

    `constants` gives values of inputs that must be known while importing, such as a shape or a trip count; they are inputs
    of the graph no more (`given.py`). `dims` gives numbers for open sizes, by the names of the file or `input:axis`
    (`sizes.py`); sizes that the model itself forces, since its weights and reshapes compute with no others, are found.

    Raises `ModelError` for what cannot be read, and one `UnsupportedError` that lists every node that cannot be imported.
    """
    model, found = load_model(with_constants(source, constants) if constants else source)
    model, notes = with_sizes(normalised(model), dims or {}), list[str]()
    while True:
        try:
            graph = _with_these_sizes(model, name or found, batch_axes, batch)
        except SizesForcedError as error:
            model = _resized(model, error, batch_axes, batch, notes)
        else:
            graph.notes += notes
            return graph


def _resized(
    model: onnx.ModelProto, error: SizesForcedError, batch_axes: Mapping[str, int] | None, batch: bool, notes: list[str]
) -> onnx.ModelProto:
    """The model with the sizes that it turned out to need, each of them noted."""
    plan = plan_inputs(model, initializers(model), batch_axes or {}, batch)
    for name, value in error.sizes.items():
        places = ", ".join(f"axis {axis} of input {entry}" for entry, axis in places_of(plan)[name])
        changed = written(model, plan, name, value)
        assert changed is not None  # scopes offer only names that can be written
        model = changed
        notes.append(f"{name} ({places}) is {value}: {error.node} computes with no other size")
    return model


def _with_these_sizes(model: onnx.ModelProto, graph_name: str, batch_axes: Mapping[str, int] | None, batch: bool) -> Graph:
    stored = initializers(model)
    plan = plan_inputs(model, stored, batch_axes or {}, batch)
    sequences = _over_sequence(model, stored, plan, graph_name) if batch and not batch_axes else None
    if sequences is not None:
        return sequences
    if plan.fixed is None:
        return _import(model, stored, plan, graph_name)
    graph, problem = _any_batch(model, stored, plan, graph_name)
    if graph is not None:
        return graph
    fixed = _import(model, stored, plan.frozen(), graph_name)
    fixed.notes.append(f"the batch stays fixed at {plan.fixed}, as exported: {problem}")
    return fixed


def _any_batch(
    model: onnx.ModelProto, constants: Mapping[str, np.ndarray], plan: InputPlan, name: str
) -> tuple[Graph | None, str]:
    """A model of a fixed batch for any batch; or None, and what stands against it."""
    assert plan.fixed is not None
    fixed = _import(model, constants, plan.frozen(), name)
    try:
        graph = _import(model, constants, plan, name)
        problem = same_meaning(graph, fixed, plan.fixed)
    except SizesForcedError as error:
        if BATCH in set().union(*(names_of(value) for value in error.sizes.values())):
            return None, str(error)  # only because of how it was generalised
        raise
    except (UnsupportedError, GraphError) as error:
        lines = str(error).strip().split("\n")
        problem = next((line.strip() for line in lines if line.startswith("  ")), lines[0])
    if problem:
        return None, problem
    graph.notes.append(f"exported with a fixed batch of {plan.fixed}; generalised to any batch")
    return graph, ""


def _over_sequence(model: onnx.ModelProto, constants: Mapping[str, np.ndarray], plan: InputPlan, name: str) -> Graph | None:
    """A model whose axis 0 is its sequence, over any number of sequences; None where the model is another one."""
    if not any(node.op_type in RECURRENT for node in model.graph.node):
        return None
    stepped: list[str] = []
    try:
        step = _import(model, constants, replace(plan, fixed=None), name, stepped)
    except (UnsupportedError, GraphError, SizesForcedError):
        return None
    if not stepped:
        return None
    second = second_axes(model, constants)
    if second:  # [sequence, 1, ...]: the batch is there, as axis 1
        batched, problem = _any_batch(model, constants, plan_inputs(model, constants, second, True), name)
        if batched is not None:
            return batched
    whole = _import(model, constants, plan_inputs(model, constants, {}, batch=False), name)
    try:
        graph = over_sequence(step, stepped, "sequence")
        problem = same_over_sequence(graph, whole)
    except (UnsupportedError, GraphError) as error:
        problem = str(error)
    if problem:
        whole.notes.append(f"axis 0 is the sequence and there is no batch, as exported: {problem}")
        return whole
    graph.notes.append("exported for one sequence (axis 0) without a batch; generalised to N sequences, [N, sequence, ...]")
    return graph


def _import(
    model: onnx.ModelProto, arrays: Mapping[str, np.ndarray], plan: InputPlan, name: str, stepped: list[str] | None = None
) -> Graph:
    """`stepped` collects recurrent layers whose time axis is called N; without it they are imported like others."""
    return imported(lambda questions: _walked(model, arrays, plan, name, questions, stepped))


def _walked(
    model: onnx.ModelProto,
    arrays: Mapping[str, np.ndarray],
    plan: InputPlan,
    name: str,
    questions: Questions,
    stepped: list[str] | None,
) -> Graph:
    graph = Graph(name)
    scope = Scope(graph, opset_of(model), plan.fixed, names_used(model.graph))
    scope.stepped, scope.questions = stepped, questions
    scope.open_sizes = frozenset(places_of(plan)) - {BATCH}
    scope.names.update(arrays)
    kept = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE)
    stored = [(tensor.name, tensor.data_type) for tensor in model.graph.initializer]
    stored += [(entry.name, entry.type.tensor_type.elem_type) for entry in model.graph.input]
    few = (onnx.TensorProto.INT4, onnx.TensorProto.UINT4, onnx.TensorProto.INT2, onnx.TensorProto.UINT2)
    scope.narrow = {name: kind for name, kind in stored if (kind in REAL and kind not in kept) or kind in few}
    scope.exact = is_quantized(model)
    for entry, type_ in plan.types.items():
        type_ = replace(type_, dtype="f64") if scope.exact and type_.is_real else type_
        scope.names[entry] = value = graph.input(entry, type_)
        if entry in plan.whole:
            scope.whole.add(value)
        if entry in plan.flags:
            scope.flags.add(value)
        if entry in plan.stored:
            scope.stored[value] = Stored(None, None, 0, plan.stored[entry])
    refused = walk(scope, model.graph.node)
    if refused:
        raise UnsupportedError(
            f"model {name} ({provenance(model)}) holds {len(refused)} node{'s' if len(refused) > 1 else ''} "
            "that snnir cannot import:\n" + "\n".join(f"  {line}" for line in refused) + "\n`snnir ops` lists what is supported",
            refused,
            graph,
        )
    for output in model.graph.output:
        for label, result in _given_out(scope, output.name, name):
            graph.output(label, result if isinstance(result, Value) else graph.constant(label, result))
    if scope.exact and not any(isinstance(node.op, FakeQuantize) for _, node in graph.walk()):
        graph.notes.append(
            "the file stores quantized weights, but quantizes no value that changes with the input: they are read as the real "
            "numbers they stand for, and rounded anew like those of any model"
        )
    verify(graph)
    return graph


def _given_out(scope: Scope, output: str, model: str) -> list[tuple[str, Value | np.ndarray]]:
    """Names and tensors of an output: a list is given out as its tensors, an optional value that is not there as none."""
    result = scope.find(output)
    items = listed(result)
    if items is not None:
        scope.note(f"output {output} is a list: its {len(items.items)} tensors are given out as {output}.0, {output}.1 ...")
        return [(f"{output}.{index}", item) for index, item in enumerate(items.items)]
    if isinstance(result, Nothing):
        scope.note(f"output {output} is an optional value that is not there")
        return []
    if not isinstance(result, Value | np.ndarray):
        reason = "is a list whose length is known only at run time" if result else "is not computed by any supported node"
        raise UnsupportedError(f"output {output} of model {model} {reason}")
    return [(output, result)]
