"""The model itself as the reference for what it computes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.utils import _pytree as pytree

from snnir.errors import ModelError
from snnir.frontends.torch.export import example_of
from snnir.frontends.torch.source import Source, loaded, named

__all__ = ["run_torch"]


def run_torch(source: Source, inputs: Mapping[str, np.ndarray], example_inputs: Any = None) -> dict[str, np.ndarray]:
    """Outputs by name, in evaluation mode. `inputs` stand in the order of the graph's inputs; `example_inputs` say how a
    module takes them where that is not one after another. Raises `ModelError` where the model cannot take them.
    """
    model = loaded(source)
    try:
        with torch.no_grad():
            if isinstance(model, ExportedProgram):
                result = _run_program(model, inputs)
            else:
                result = _run_module(model, list(inputs.values()), example_inputs)
    except Exception as error:  # a module may raise anything
        raise ModelError(f"the model itself cannot take the data: {str(error).strip().splitlines()[0]}") from error
    return {
        name: np.asarray(item.detach().cpu().numpy()) for name, item in named(result).items() if isinstance(item, torch.Tensor)
    }


def _run_module(model: torch.nn.Module, arrays: list[np.ndarray], example_inputs: Any) -> Any:
    if example_inputs is None:
        device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
        return model(*(torch.from_numpy(np.array(array)).to(device) for array in arrays))
    example = example_of(example_inputs)
    remaining = iter(arrays)
    leaves, spec = pytree.tree_flatten((example.args, dict(example.kwargs)))
    filled = [_like(next(remaining), leaf) if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves]
    args, kwargs = pytree.tree_unflatten(filled, spec)
    return model(*args, **kwargs)


def _like(array: np.ndarray, tensor: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(np.array(array)).to(tensor)


def _run_program(program: ExportedProgram, inputs: Mapping[str, np.ndarray]) -> Any:
    nodes = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    leaves = []
    for spec in program.graph_signature.input_specs:
        if spec.kind == InputKind.USER_INPUT:
            name = spec.arg.name
            leaves.append(_like(inputs[name], nodes[name].meta["val"]) if name in inputs else getattr(spec.arg, "value", None))
    args, kwargs = pytree.tree_unflatten(leaves, program.call_spec.in_spec)
    return program.module(check_guards=False)(*args, **kwargs)
