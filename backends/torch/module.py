"""A graph as a torch module that computes the same function, with real constants as parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import torch
from torch import nn

import snnir.backends.torch.cells
import snnir.backends.torch.choices
import snnir.backends.torch.curves
import snnir.backends.torch.elementwise
import snnir.backends.torch.integers
import snnir.backends.torch.levels
import snnir.backends.torch.tensors  # noqa: F401 - each fills the registry
from snnir.backends.torch.evaluation import evaluate_nodes
from snnir.backends.torch.functions import function_levels
from snnir.backends.torch.registry import DTYPES, is_words, meaning_of, real, refuse_words, tensor_of
from snnir.errors import InputError, UnsupportedError
from snnir.ir import SPIKING, Dim, Graph, Node, Value
from snnir.ir import ops as ir
from snnir.ir.rewrite import like

__all__ = ["Constants", "GraphModule", "constants_of", "named_inputs", "sizes_of", "to_module", "with_constants"]

Constants = Mapping[str, np.ndarray]
"""Arrays by the names that `constants_of` gives."""


def to_module(graph: Graph) -> GraphModule:
    """The module that computes what `graph` (float or quantized level) computes. Raises `UnsupportedError`."""
    return GraphModule(graph)


def constants_of(graph: Graph, prefix: str = "") -> dict[Value, str]:
    """Every constant of the graph and of its bodies, with a name that torch accepts and that no other has."""
    names: dict[Value, str] = {}
    taken: set[str] = set()

    def enter(inner: Graph, prefix: str) -> None:
        for value in inner.constants:
            name = base = (prefix + value.name).replace(".", "_")
            while name in taken:
                name = f"{base}_{len(taken)}"
            taken.add(name)
            names[value] = name
        for node in inner.nodes:
            if node.body is not None:
                enter(node.body, f"{prefix}{node.outputs[0].name}_")

    enter(graph, prefix)
    return names


def with_constants(graph: Graph, arrays: Constants) -> Graph:
    """The graph (bodies included) with other arrays as constants, by the names of `constants_of`; same shapes and dtypes."""
    names = constants_of(graph)

    def copy(old: Graph) -> Graph:
        new = like(old)
        values = {value: new.input(value.name, value.type) for value in old.inputs}
        for value in old.constants:
            values[value] = new.constant(value.name, arrays.get(names[value], value.array))
        for node in old.nodes:
            body = copy(node.body) if node.body is not None else None
            results = new.copy(node, [values[value] for value in node.operands], body)
            values.update(zip(node.outputs, results, strict=True))
        for name, value in old.outputs.items():
            new.output(name, values[value])
        return new

    return copy(graph)


def named_inputs(graph: Graph, given: Sequence[torch.Tensor], named: Mapping[str, torch.Tensor]) -> dict[Value, torch.Tensor]:
    """Tensors by the graph's inputs, in their order or by name, in the declared dtypes. Raises `InputError`."""
    names = [value.name for value in graph.inputs]
    tensors = {**dict(zip(names, given, strict=False)), **named}
    if len(given) > len(names) or set(tensors) != set(names):
        raise InputError(f"model {graph.name} takes inputs {', '.join(names)}; given were {len(given)} and {', '.join(named)}")
    for value in graph.inputs:
        if tensors[value.name].ndim != value.type.rank:
            raise InputError(f"input {value.name}: expected {value.type}, found shape {list(tensors[value.name].shape)}")
    return {value: tensors[value.name].to(DTYPES[value.type.dtype]) for value in graph.inputs}


def sizes_of(tensors: Mapping[Value, torch.Tensor]) -> dict[str, int]:
    """What each named dimension of the inputs measures."""
    return {
        str(size): int(found)
        for value, x in tensors.items()
        for size, found in zip(value.type.shape, x.shape, strict=True)
        if isinstance(size, Dim)
    }


class GraphModule(nn.Module):
    """A graph of the float or quantized level as a module.

    Constants of real dtype are parameters, all others buffers. `forward` takes the graph's inputs in order or by name, and
    gives the output, or a dict of the outputs where there are several; integers are int64 and have no gradient. Outputs that
    hold words (labels) are left out: they are no tensors.
    """

    def __init__(self, graph: Graph) -> None:
        """Raises `UnsupportedError` naming the first op without a meaning in torch."""
        super().__init__()
        if graph.level == SPIKING:
            raise UnsupportedError("a spiking graph is for the simulator; give the graph of a level before it")
        for _, node in graph.walk():
            if node.body is None:
                meaning_of(node.op)
        refuse_words(graph)
        self.source = graph
        self._names = {value: name for value, name in constants_of(graph).items() if not is_words(value)}
        for value, name in self._names.items():
            tensor = tensor_of(value.array)
            if value.type.is_real:
                self.register_parameter(f"c_{name}", nn.Parameter(tensor))
            else:
                self.register_buffer(f"c_{name}", tensor)

    def graph(self) -> Graph:
        """The graph with the present parameters."""
        arrays = {name: getattr(self, f"c_{name}").detach().cpu().numpy().copy() for name in self._names.values()}
        return with_constants(self.source, arrays)

    def forward(self, *inputs: torch.Tensor, **named: torch.Tensor) -> torch.Tensor | dict[str, torch.Tensor]:
        """The output, or outputs by name. Raises `InputError`."""
        values = named_inputs(self.source, inputs, named)
        constants = {value: getattr(self, f"c_{name}") for value, name in self._names.items()}
        sizes = sizes_of(values)
        evaluate_nodes(self.source, values, constants, sizes, partial(_evaluate, constants))
        values.update(constants)
        outputs = {name: values[value] for name, value in self.source.outputs.items() if not is_words(value)}
        return next(iter(outputs.values())) if len(outputs) == 1 else outputs


def _evaluate(
    constants: Mapping[Value, torch.Tensor], node: Node, operands: Sequence[torch.Tensor], sizes: Mapping[str, int]
) -> tuple[torch.Tensor, ...]:
    if isinstance(node.op, ir.Function):
        return tuple(result.levels for result in function_levels(node, operands, None, constants, sizes))
    types = [value.type for value in node.operands]
    if not node.op.stored(types):
        operands = [real(x, type_) for x, type_ in zip(operands, types, strict=True)]
    op = node.op.bind(sizes)
    results = meaning_of(op)(op, *operands)
    return tuple(x.to(DTYPES[value.type.dtype]) for x, value in zip(results, node.outputs, strict=True))
