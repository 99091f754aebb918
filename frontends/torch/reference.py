"""The model itself as the reference for what it computes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.utils import _pytree as pytree

from snnir.errors import ModelError
from snnir.frontends.torch.export import as_stored, example_of, half_type
from snnir.frontends.torch.inputs import user_inputs
from snnir.frontends.torch.source import Source, loaded, named

__all__ = ["run_torch"]


def run_torch(
    source: Source,
    inputs: Mapping[str, np.ndarray],
    example_inputs: object = None,
    batch_axes: Mapping[str, int] | None = None,
) -> dict[str, np.ndarray]:
    """Outputs by name, in evaluation mode. `inputs` stand in the order of the graph's inputs; `example_inputs` say how a
    module takes them where that is not one after another. An exported program that fixes its batch runs in pieces of that
    size, which are joined again along `batch_axes` (of inputs and outputs by name; else axis 0). Raises `ModelError` where the
    model cannot take the inputs.
    """
    model = loaded(source)
    try:
        with torch.no_grad():
            if isinstance(model, ExportedProgram):
                return _run_pieces(model, inputs, dict(batch_axes or {}))
            try:
                result = _run_module(model, list(inputs.values()), example_inputs)
            except Exception:  # a module for one sample raises anything over several
                samples = _run_samples(model, inputs, example_inputs, dict(batch_axes or {}))
                if samples is None:
                    raise
                return samples
    except Exception as error:  # a module may raise anything
        raise ModelError(f"the model itself cannot take the data: {str(error).strip().splitlines()[0]}") from error
    return _arrays(result)


def _arrays(result: object) -> dict[str, np.ndarray]:
    tensors = {name: item.detach().cpu() for name, item in named(result).items() if isinstance(item, torch.Tensor)}
    plain = {name: tensor.float() if tensor.dtype == torch.bfloat16 else tensor for name, tensor in tensors.items()}
    return {name: np.asarray(tensor.resolve_neg().numpy()) for name, tensor in plain.items()}


def _run_pieces(program: ExportedProgram, inputs: Mapping[str, np.ndarray], axes: Mapping[str, int]) -> dict[str, np.ndarray]:
    """What the program gives, piece by piece where it fixes a batch that is not the given one."""

    def cut(rows: np.ndarray) -> dict[str, np.ndarray]:
        return _arrays(_run_program(program, {name: array.take(rows, axes.get(name, 0)) for name, array in inputs.items()}))

    shapes = {name: node.meta["val"].shape for name, node in user_inputs(program).items() if name in inputs}
    if shapes and all(inputs[name].ndim == len(shape) + 1 for name, shape in shapes.items()):  # samples in groups
        count = len(inputs[next(iter(shapes))])
        groups = [_arrays(_run_program(program, {name: inputs[name][n] for name in shapes})) for n in range(count)]
        return {name: np.stack([group[name] for group in groups]) for name in groups[0]}
    batched = {name: shape[axes.get(name, 0)] for name, shape in shapes.items() if len(shape) > axes.get(name, 0)}
    fixed = {size for size in batched.values() if isinstance(size, int)}
    given = {inputs[name].shape[axes.get(name, 0)] for name in batched}
    if len(fixed) != 1 or len(given) != 1 or fixed == given or not all(isinstance(size, int) for size in batched.values()):
        return _arrays(_run_program(program, inputs))
    (size,), (total,) = fixed, given
    # the last piece is filled up with the last sample
    pieces = [cut(np.minimum(np.arange(start, start + size), total - 1)) for start in range(0, total, size)]
    joined = {name: np.concatenate([piece[name] for piece in pieces], axes.get(name, 0)) for name in pieces[0]}
    return {name: array.take(range(total), axes.get(name, 0)) for name, array in joined.items()}


def _run_samples(
    model: torch.nn.Module, inputs: Mapping[str, np.ndarray], example_inputs: object, axes: Mapping[str, int]
) -> dict[str, np.ndarray] | None:
    """What a module gives for each sample alone, joined; None where inputs hold one sample, or different numbers of them."""
    counts = {array.shape[axes[name]] for name, array in inputs.items() if name in axes}
    if len(counts) != 1 or counts == {1}:
        return None
    (count,) = counts
    parts = []
    for n in range(count):
        one = [array.take([n], axes[name]) if name in axes else array for name, array in inputs.items()]
        parts.append(_arrays(_run_module(model, one, example_inputs)))
    return {name: np.concatenate([part[name] for part in parts], axes.get(name, 0)) for name in parts[0]}


def _run_module(model: torch.nn.Module, arrays: list[np.ndarray], example_inputs: object) -> object:
    if example_inputs is None:
        device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
        return model(*(as_stored(torch.from_numpy(np.array(array)), half_type(model)).to(device) for array in arrays))
    example = example_of(example_inputs).stored_as(half_type(model))
    remaining = iter(arrays)
    leaves, spec = pytree.tree_flatten((example.args, dict(example.kwargs)))
    filled = [_like(next(remaining), leaf) if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves]
    args, kwargs = pytree.tree_unflatten(filled, spec)
    return model(*args, **kwargs)


def _like(array: np.ndarray, tensor: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(np.array(array)).to(tensor)


def _run_program(program: ExportedProgram, inputs: Mapping[str, np.ndarray]) -> object:
    nodes = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    leaves = []
    for spec in program.graph_signature.input_specs:
        if spec.kind == InputKind.USER_INPUT:
            name = spec.arg.name
            leaves.append(_like(inputs[name], nodes[name].meta["val"]) if name in inputs else getattr(spec.arg, "value", None))
    args, kwargs = pytree.tree_unflatten(leaves, program.call_spec.in_spec)
    return program.module(check_guards=False)(*args, **kwargs)
