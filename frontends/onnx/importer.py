"""An ONNX model as a graph: its inputs, the walk over its nodes, its outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx

from snnir.errors import GraphError, UnsupportedError
from snnir.frontends.onnx import handlers as handlers  # fills the registry
from snnir.frontends.onnx.batch import REAL, InputPlan, plan_inputs, second_axes, states_of_one
from snnir.frontends.onnx.element_types import INT2, UINT2
from snnir.frontends.onnx.known_inputs import with_constants
from snnir.frontends.onnx.model import Source, initializers, load_model, opset_of, provenance
from snnir.frontends.onnx.scope import Scope, import_nodes
from snnir.frontends.onnx.sequences import Nothing, listed
from snnir.frontends.onnx.sizes import Place, normalised, places_of, with_limits, with_sizes, written
from snnir.frontends.onnx.sorted_batches import in_given_order
from snnir.frontends.onnx.stored import Stored, is_quantized
from snnir.frontends.onnx.subgraph_names import used_names
from snnir.ir import BATCH, Graph, Value
from snnir.ir.any_batch import same_meaning, samples_apart
from snnir.ir.batch import batch_places
from snnir.ir.dims import names_of
from snnir.ir.lifting import for_any_batch
from snnir.ir.lowering.finite import Questions, imported
from snnir.ir.lowering.sizes import SizesForcedError, split_dims
from snnir.ir.ops import FakeQuantize
from snnir.ir.verify import verify

__all__ = ["import_onnx"]


def import_onnx(
    source: Source,
    *,
    name: str | None = None,
    batch_axes: Mapping[str, int | None] | None = None,
    batch: bool = True,
    constants: Mapping[str, object] | None = None,
    dims: Mapping[str, int | str] | None = None,
) -> Graph:
    """The model as a float-level graph.

    `batch_axes` names the batch axis of inputs where it is not the one found by the rules of `batch.py`; None: the input has
    no batch (is the same for all samples; where no input has one, the model is computed for N samples, one as the other).
    `batch=False` imports sizes as they stand, 0 too, which else means a size that the file leaves open. A model exported with a
    fixed batch is generalised to any where its nodes allow it and it then computes the same, or computes sample by sample what
    it does for one; the notes say which.

    `constants` gives values of inputs that must be known while importing, such as a shape or a trip count; they are inputs
    of the graph no more (`known_inputs.py`). `dims` gives numbers, or upper ends like "<=512", for open sizes, by the names of
    the file or `input:axis` (`sizes.py`); sizes that the model itself forces, since its weights compute with no others, are
    found.

    Raises `ModelError` for what cannot be read, and one `UnsupportedError` that lists every node that cannot be imported.
    """
    model, found = load_model(with_constants(source, constants) if constants else source)
    numbers, upper = split_dims(dims)
    model, notes = with_sizes(in_given_order(normalised(model, empty=not batch)), numbers), list[str]()
    limits = with_limits(model, upper)
    while True:
        try:
            graph = _with_these_sizes(model, name or found, batch_axes, batch, limits)
        except SizesForcedError as error:
            model = _resized(model, error, batch_axes, batch, notes)
        else:
            graph.notes += notes
            return graph


def _resized(
    model: onnx.ModelProto, error: SizesForcedError, batch_axes: Mapping[str, int | None] | None, batch: bool, notes: list[str]
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


def _with_these_sizes(
    model: onnx.ModelProto,
    graph_name: str,
    batch_axes: Mapping[str, int | None] | None,
    batch: bool,
    limits: Mapping[Place, int],
) -> Graph:
    reading = _Reading(model, initializers(model), graph_name, limits, batch_axes or {})
    plan = plan_inputs(model, reading.constants, batch_axes or {}, batch)
    if batch and plan.without_batch:
        return reading.without_batch(plan) or reading.imported(plan)
    return reading.fixed(plan) if plan.fixed is not None else reading.open(plan)


@dataclass(frozen=True)
class _Reading:
    """One model, read with its batch in one place or another until it holds together."""

    model: onnx.ModelProto
    constants: Mapping[str, np.ndarray]
    name: str
    limits: Mapping[Place, int]
    """Upper ends of open sizes."""
    batch_axes: Mapping[str, int | None]
    """Those that the caller names."""

    def imported(self, plan: InputPlan) -> Graph:
        """The model as the plan says, and nothing else tried."""
        return imported(lambda questions: _walked(self.model, self.constants, plan, self.name, questions, self.limits))

    def open(self, plan: InputPlan) -> Graph:
        """A model whose batch is open. Where axis 0 follows from its place alone, the batch may be axis 1, of size 1, or none."""
        graph: Graph | None = None
        error: Exception | None = None
        try:
            graph = self.imported(plan)
        except (UnsupportedError, GraphError) as problem:
            error = problem
        except SizesForcedError as problem:
            if not _by_batch(problem):
                raise
            error = problem
        states = [name for name in states_of_one(self.model, plan) if name not in self.batch_axes]
        if states or (graph is None and not self.takes(plan, 2)):
            only = f"{', '.join(states)} is a state of one sample" if states else _first_line(error)
            other = self.of_one(plan, only)
            if other is not None:
                return other
        if graph is not None and not (plan.guessed and batch_places(graph)[1]):
            return graph
        second = second_axes(self.model, self.constants)
        if plan.guessed and second:  # [sequence, 1, ...]
            other, _ = self.any_batch(plan_inputs(self.model, self.constants, second, True))
            if other is not None:
                return other
        other = self.without_batch(plan) if plan.guessed else None
        if other is not None:
            return other
        if graph is None:
            assert error is not None
            raise error
        return graph

    def of_one(self, plan: InputPlan, reason: str) -> Graph | None:
        """The model with an open batch read as one of 1, as it computes for `reason` with no other; None where that fails too."""
        model = written(self.model, plan, BATCH, 1) if BATCH in places_of(plan) and not plan.guessed else None
        if model is None:
            return None
        try:
            inner = plan_inputs(model, self.constants, self._axes(plan), True)
            graph = replace(self, model=model).fixed(inner) if inner.fixed == 1 else None
        except (UnsupportedError, GraphError, SizesForcedError):
            return None
        if graph is not None:
            graph.notes.append(f"its open batch is 1: {reason}")
        return graph

    def takes(self, plan: InputPlan, size: int) -> bool:
        """Whether the model can be read with its open batch fixed at this size."""
        model = written(self.model, plan, BATCH, size) if BATCH in places_of(plan) else None
        if model is None:
            return False
        try:
            replace(self, model=model).imported(plan_inputs(model, self.constants, self._axes(plan), True).frozen())
        except (UnsupportedError, GraphError, SizesForcedError):
            return False
        return True

    def _axes(self, plan: InputPlan) -> dict[str, int | None]:
        return {name: axis for name, axis in plan.axes.items() if axis is not None} | dict(self.batch_axes)

    def without_batch(self, plan: InputPlan) -> Graph | None:
        """The model for N inputs, each as the model takes one; None where it cannot be read so."""
        whole = plan_inputs(self.model, self.constants, {}, batch=False)
        try:
            one = self.imported(whole)
        except (UnsupportedError, GraphError, SizesForcedError):
            return None
        axes = {name: axis if axis is not None and type_.shape[axis] == 1 else None for name, type_, axis in plan.guesses(whole)}
        graph = for_any_batch(one, axes)
        if graph is not None:
            graph.notes.append("exported for one sample, without a batch; generalised to N samples")
        return graph

    def fixed(self, plan: InputPlan) -> Graph:
        """A model that was exported with a batch of one size, for any number of samples."""
        found = self.imported(plan.frozen())
        graph, problem = self.any_batch(plan)
        if graph is not None:
            return graph
        ones = plan if plan.fixed == 1 else None
        single = second_axes(self.model, self.constants)
        second = single or second_axes(self.model, self.constants, ones=False)
        if plan.guessed and second:  # [sequence, batch, ...]
            mixed = not samples_apart(found, plan.axes)
            other = plan_inputs(self.model, self.constants, second, True)
            graph, _ = self.any_batch(other) if mixed or single else (None, "")
            if graph is not None:
                return graph
            ones = ones or (other if mixed and other.fixed == 1 else None)
        graph = None if ones is None else for_any_batch(found, ones.axes)
        if graph is not None:
            graph.notes.append("exported with a fixed batch of 1; each sample is computed by itself")
            return graph
        found.fixed_batch = {name: axis for name, axis in plan.axes.items() if axis is not None}
        found.notes.append(f"the batch stays fixed at {plan.fixed}, as exported: {problem}")
        return found

    def any_batch(self, plan: InputPlan) -> tuple[Graph | None, str]:
        """The model for any batch, with the exported size read as any; or None, and what stands against it."""
        assert plan.fixed is not None
        try:
            graph = self.imported(plan)
            mixing = batch_places(graph)[1]
            problem = f"{mixing[0].node.describe()}: {mixing[0].reason}" if mixing else ""
            problem = problem or same_meaning(graph, self.imported(plan.frozen()), plan.fixed)
        except SizesForcedError as error:
            if not _by_batch(error):
                raise
            problem = str(error)
        except (UnsupportedError, GraphError) as error:
            problem = _first_line(error)
        if problem:
            return None, problem
        graph.notes.append(f"exported with a fixed batch of {plan.fixed}; generalised to any batch")
        return graph, ""


def _first_line(error: BaseException | None) -> str:
    """The first node that an import refused, or what else an error says first."""
    lines = str(error).strip().split("\n")
    return next((line.strip() for line in lines if line.startswith("  ")), lines[0])


def _by_batch(error: SizesForcedError) -> bool:
    """Whether sizes are forced only by what was taken for the batch."""
    return BATCH in set().union(*(names_of(value) for value in error.sizes.values()))


def _walked(
    model: onnx.ModelProto,
    arrays: Mapping[str, np.ndarray],
    plan: InputPlan,
    name: str,
    questions: Questions,
    limits: Mapping[Place, int],
) -> Graph:
    graph = Graph(name)
    for size, places in places_of(plan).items():
        ends = [limits[place] for place in places if place in limits]
        graph.limits.update({size: min(ends)} if ends and size != BATCH else {})
    scope = Scope(graph, opset_of(model), plan.fixed, used_names(model.graph))
    scope.questions = questions
    scope.open_sizes = frozenset(places_of(plan)) - {BATCH}
    scope.names.update(arrays)
    kept = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE)
    stored = [(tensor.name, tensor.data_type) for tensor in model.graph.initializer]
    stored += [(entry.name, entry.type.tensor_type.elem_type) for entry in model.graph.input]
    few = (onnx.TensorProto.INT4, onnx.TensorProto.UINT4, INT2, UINT2)
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
    refused = import_nodes(scope, model.graph.node)
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
