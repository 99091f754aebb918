"""A model of PyTorch as a graph: export, inputs, the walk over its nodes, outputs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind
from torch.utils import _pytree as pytree

from snnir.errors import GraphError, Refusal, UnsupportedError, UsageError
from snnir.frontends.torch import handlers as handlers  # fills the registry
from snnir.frontends.torch.call import Call
from snnir.frontends.torch.decompose import decomposed
from snnir.frontends.torch.export import (
    Example,
    attempts,
    batch_axis_of,
    example_of,
    fixed_program,
    functional,
    half_type,
    reexported,
)
from snnir.frontends.torch.inputs import exported_batch_axes, input_types, upper_ends, user_inputs
from snnir.frontends.torch.quantized import with_levels
from snnir.frontends.torch.registry import RefusalError
from snnir.frontends.torch.scope import Scope, import_nodes
from snnir.frontends.torch.source import Source, loaded, named
from snnir.ir import BATCH, Dimension, Graph, Value
from snnir.ir.any_batch import same_meaning
from snnir.ir.lifting import for_any_batch
from snnir.ir.lowering.finite import Questions, imported
from snnir.ir.verify import verify

__all__ = ["import_torch"]


def import_torch(
    source: Source,
    *,
    example_inputs: Any = None,
    dynamic_shapes: Any = None,
    batch_axes: Mapping[str, int] | None = None,
    name: str | None = None,
    dims: Mapping[str, int | str] | None = None,
) -> Graph:
    """The model as a float-level graph.

    A module needs `example_inputs`: a tensor or array, a tuple of arguments, or a dict of arguments by name. Batch and
    sequence lengths are left open where the module allows it, unless `dynamic_shapes` says (as for `torch.export`) which
    sizes are; the graph's notes say what stays fixed. `batch_axes` names the batch axis of inputs where it is neither the
    first nor fixed by a recurrent layer. `dims` gives numbers for sizes that are left open, by their names (`T`, `T2`) or
    `input:axis`.

    Raises `UsageError` without example inputs, `ModelError` for a file that cannot be read, and one `UnsupportedError`
    that lists every node that cannot be imported, by module path and source line.
    """
    model = loaded(source)
    if isinstance(model, ExportedProgram):
        return _exported(model, name or _named_after(source), batch_axes or {}, dims)
    if isinstance(model, torch.jit.ScriptModule):
        raise UnsupportedError(
            f"{type(model).__name__} is TorchScript (torch.jit.trace or torch.jit.script), which torch.export does not take; "
            "give the module that it was made from"
        )
    if example_inputs is None:
        raise UsageError(f"importing {type(model).__name__} needs example_inputs=..., the arguments of one call")
    title, refusal = name or type(model).__name__, None
    model = with_levels(model)
    example = example_of(example_inputs).stored_as(half_type(model))
    for program, note in attempts(model, example, dynamic_shapes, batch_axes or {}):
        try:
            graph = _program_up_to(program, title, batch_axes or {}, dims, example)
        except (UnsupportedError, GraphError) as error:
            refusal = refusal or error
            continue
        if dynamic_shapes is None and graph.inputs and not any(holds_batch(value) for value in graph.inputs):
            each = _for_any_batch(model, example, title, batch_axes or {}, dims)
            if each is not None:
                if any(_size_of(value, each) == 1 for value in graph.inputs):
                    graph = _of_two(model, example, title, batch_axes or {}, dims) or graph
                _refuse_mixing(each, graph, refusal)
                return each
        if note:
            graph.notes.append(note)
        elif dynamic_shapes is None:
            graph.notes += _fixed_lengths(graph)
        return graph
    assert refusal is not None
    raise refusal


def holds_batch(value: Value) -> bool:
    """Whether a value has a batch axis."""
    return value.type.batch_axis is not None


def _for_any_batch(
    module: torch.nn.Module, example: Example, name: str, batch_axes: Mapping[str, int], dims: Mapping[str, int | str] | None
) -> Graph | None:
    """A module that fixes its batch, as it is for one sample, computed for any number of them; None where that cannot be."""
    one = example.first_sample(lambda tensor: batch_axis_of(module, tensor, batch_axes))
    try:
        program = fixed_program(module, one)
        graph = _program(program, name, batch_axes, dims)
    except (UnsupportedError, GraphError):
        return None
    axes = exported_batch_axes(program, batch_axes)
    if any(value.type.shape[axes[value.name]] != 1 for value in graph.inputs if value.name in axes):
        return None
    each = for_any_batch(graph, {value.name: axes.get(value.name) for value in graph.inputs})
    if each is not None:
        each.notes = [*graph.notes[1:], "the module fixes its batch; each sample is computed by itself"]
    return each


def _size_of(value: Value, each: Graph) -> Dimension | None:
    """The batch that an input was exported with, where `each` has it for any."""
    axis = each.values[value.name].type.batch_axis
    return None if axis is None else value.type.shape[axis]


def _of_two(
    module: torch.nn.Module, example: Example, name: str, batch_axes: Mapping[str, int], dims: Mapping[str, int | str] | None
) -> Graph | None:
    """The module for two samples, of an example of one; None where it takes no two."""
    two = example.repeated(lambda tensor: batch_axis_of(module, tensor, batch_axes))
    try:
        return _program(fixed_program(module, two), name, batch_axes, dims)
    except (UnsupportedError, GraphError):
        return None


def _refuse_mixing(each: Graph, fixed: Graph, refusal: Exception | None) -> None:
    """Raise `UnsupportedError` where the module computes for two samples other than for each of them."""
    (size, *others) = {size for value in fixed.inputs if (size := _size_of(value, each)) is not None} or {0}
    if others or not isinstance(size, int) or size < 2:
        return
    problem = same_meaning(each, fixed, size)
    if problem:
        nodes = refusal.refusals if isinstance(refusal, UnsupportedError) else ()
        about = "".join(f"\n  {node}" for node in nodes)
        raise UnsupportedError(
            f"model {fixed.name} mixes the samples of the batch: {problem}; keep samples apart, or give what belongs together as "
            f"one sample{'. These nodes cannot take samples one by one:' if about else ''}{about}",
            nodes,
            fixed,
        )


def _program_up_to(
    program: ExportedProgram,
    name: str,
    batch_axes: Mapping[str, int],
    dims: Mapping[str, int | str] | None,
    example: Example,
) -> Graph:
    """The program's graph; where nodes are refused whose open sizes have no upper end, with those of the example."""
    try:
        return _program(program, name, batch_axes, dims)
    except UnsupportedError as error:
        graph = error.partial
        if not isinstance(graph, Graph):
            raise
        names = {size for refused in error.refusals for size in refused.sizes} - {BATCH, *graph.limits}
        ends, notes = dict[str, str](), list[str]()
        for value, tensor in zip(graph.inputs, example.tensors(), strict=False):
            for axis, size in enumerate(value.type.shape):
                if str(size) in names and tensor.dim() == value.type.rank:
                    ends[f"{value.name}:{axis}"] = f"<={tensor.shape[axis]}"
                    where, why = f"{size} (axis {axis} of input {value.name})", f"{error.refusals[0].node} needs an upper end"
                    notes.append(f"{where} is at most {tensor.shape[axis]}, the length of the example, since {why}")
        if not ends:
            raise
        try:
            found = _program(program, name, batch_axes, {**(dims or {}), **ends})
        except (UnsupportedError, GraphError):
            raise error from None
        found.notes += notes
        return found


def _exported(program: ExportedProgram, name: str, batch_axes: Mapping[str, int], dims: Mapping[str, int | str] | None) -> Graph:
    """The graph of a user's program. A batch that was fixed is left open where the result provably treats samples alike:
    open, the program takes two batches for one and gives for each what it gives alone. Lengths stay as exported.
    """
    whole = functional(program)
    fixed = _program(whole, name, batch_axes, dims)
    if not fixed.inputs or any(value.type.batch_axis is not None for value in fixed.inputs):
        fixed.notes += _fixed_lengths(fixed)
        return fixed
    axes = exported_batch_axes(whole, batch_axes)
    fixed.fixed_batch = dict(axes)
    (size, *others) = {value.type.shape[axes[value.name]] for value in fixed.inputs if value.name in axes} or {0}
    reopened = None if others or not isinstance(size, int) else reexported(program, axes)
    if reopened is None:
        return fixed
    try:
        graph = _program(reopened, name, batch_axes, dims)
    except (UnsupportedError, GraphError):
        return fixed
    assert isinstance(size, int)
    if any(value.type.batch_axis is None for value in graph.inputs) or same_meaning(graph, fixed, size):
        return fixed
    graph.notes += [f"the batch of {size} that the program was exported with is generalised", *_fixed_lengths(graph)]
    return graph


def _fixed_lengths(graph: Graph) -> list[str]:
    """A note for each input with three axes of which only the batch is open."""
    whole = [value for value in graph.inputs if value.type.rank == 3 and value.type.batch_axis is not None]
    fixed = [value for value in whole if sum(not isinstance(size, int) for size in value.type.shape) == 1]
    return [f"input {value.name}: lengths stay those of the example, {value.type}" for value in fixed]


def _named_after(source: Source) -> str:
    return Path(source).stem if isinstance(source, str | Path) else "model"


def _program(
    program: ExportedProgram, name: str, batch_axes: Mapping[str, int], dims: Mapping[str, int | str] | None = None
) -> Graph:
    """The program's graph; operators that no handler knows are taken apart where that helps."""
    try:
        return imported(lambda questions: _import(program, name, batch_axes, questions, dims))
    except UnsupportedError:
        simpler = decomposed(program)
        if simpler is None:
            raise
        try:
            return imported(lambda questions: _import(simpler, name, batch_axes, questions, dims))
        except (UnsupportedError, GraphError):
            pass
        raise


def _import(
    program: ExportedProgram,
    name: str,
    batch_axes: Mapping[str, int],
    questions: Questions,
    dims: Mapping[str, int | str] | None,
) -> Graph:
    types, notes = input_types(program, batch_axes, dims)
    graph = Graph(name, notes=notes)
    graph.limits.update(upper_ends(types, dims))
    scope = Scope(graph)
    scope.questions = questions
    _known(scope, program)
    for entry, node in user_inputs(program).items():
        scope.entries[node] = graph.input(entry, types[entry])
    refused = [
        Refusal("output", f"it writes to {spec.target}, which would have to be kept from call to call")
        for spec in program.graph_signature.output_specs
        if spec.kind not in (OutputKind.USER_OUTPUT, OutputKind.TOKEN, OutputKind.USER_INPUT_MUTATION)
    ]
    refused += import_nodes(scope, list(program.graph.nodes))
    if refused:
        raise UnsupportedError(
            f"model {name} holds {len(refused)} node{'s' if len(refused) > 1 else ''} that snnir cannot import:\n"
            + "\n".join(f"  {line}" for line in refused)
            + "\n`snnir ops` lists what is supported",
            refused,
            graph,
        )
    _outputs(scope, program, name)
    verify(graph)
    return graph


def _known(scope: Scope, program: ExportedProgram) -> None:
    """Enter parameters, buffers, constants and plain arguments."""
    signature = program.graph_signature
    nodes = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    for spec in signature.input_specs:
        node = nodes[spec.arg.name]
        if spec.kind == InputKind.USER_INPUT:
            scope.entries[node] = getattr(spec.arg, "value", None)
        elif spec.target is not None:
            state = program.state_dict if spec.target in program.state_dict else program.constants
            tensor = state[spec.target].detach()
            scope.entries[node] = tensor
            scope.names[id(tensor)] = spec.target
    for node in program.graph.nodes:
        if node.op == "get_attr" and isinstance(getattr(program.graph_module, str(node.target), None), torch.Tensor):
            scope.entries[node] = getattr(program.graph_module, str(node.target))


def _outputs(scope: Scope, program: ExportedProgram, name: str) -> None:
    (end,) = (node for node in program.graph.nodes if node.op == "output")
    specs = program.graph_signature.output_specs
    leaves = [item for item, spec in zip(end.args[0], specs, strict=True) if spec.kind == OutputKind.USER_OUTPUT]
    result = pytree.tree_unflatten([_Leaf(item) for item in leaves], program.call_spec.out_spec)
    for output, leaf in named(result).items():
        entry = scope.find(leaf.item)
        if entry is None:
            continue
        try:
            value = Call(scope, end, {"value": entry}, f"output /{output}").value("value")
        except RefusalError as error:
            raise UnsupportedError(f"output {output} of model {name}: {error}") from error
        scope.graph.output(output, value)


class _Leaf:
    """What stands in the place of a tensor in the structure that the model returns."""

    def __init__(self, item: object) -> None:
        self.item = item
