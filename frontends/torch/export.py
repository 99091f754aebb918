"""From a module and example inputs to an exported program that leaves batch and sequence lengths open."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.export import Dim, ExportedProgram
from torch.utils import _pytree as pytree

from snnir.errors import UnsupportedError, UsageError
from snnir.frontends.torch.composites import few_composites
from snnir.frontends.torch.layers import KeepLayers

__all__ = [
    "Example",
    "as_stored",
    "attempts",
    "batch_axis_of",
    "example_of",
    "fixed_program",
    "functional",
    "half_type",
    "reexported",
]


@dataclass(frozen=True)
class Example:
    """Arguments of one call of a module."""

    args: tuple[object, ...]
    kwargs: Mapping[str, object]

    def bound(self, module: torch.nn.Module) -> dict[str, Any]:
        """The arguments by the names of `forward`'s parameters. Raises `UsageError` where they do not fit."""
        try:
            return dict(inspect.signature(module.forward).bind(*self.args, **self.kwargs).arguments)
        except TypeError as error:
            raise UsageError(f"example_inputs do not fit {type(module).__name__}.forward: {error}") from error

    def tensors(self) -> list[torch.Tensor]:
        """All tensors, in order."""
        return [leaf for leaf in pytree.tree_leaves((self.args, dict(self.kwargs))) if isinstance(leaf, torch.Tensor)]

    def first_sample(self, axis_of: Callable[[torch.Tensor], int]) -> Example:
        """The same with the first sample along an axis of every tensor alone."""

        def first(item: Any) -> Any:
            known = isinstance(item, torch.Tensor) and item.dim() > axis_of(item)
            return item.narrow(axis_of(item), 0, 1) if known else item

        return Example(pytree.tree_map(first, self.args), pytree.tree_map(first, dict(self.kwargs)))

    def stored_as(self, kind: torch.dtype | None) -> Example:
        """The same with real numbers in the type that the module computes in."""

        def cast(item: object) -> object:
            return as_stored(item, kind) if isinstance(item, torch.Tensor) else item

        return Example(pytree.tree_map(cast, self.args), pytree.tree_map(cast, dict(self.kwargs)))

    def repeated(self, axis_of: Callable[[torch.Tensor], int]) -> Example:
        """The same with two samples for one along an axis of every tensor; torch.export takes a size of 1 for fixed."""

        def twice(item: object) -> object:
            return (
                torch.cat([item, item], axis_of(item)) if isinstance(item, torch.Tensor) and item.dim() > axis_of(item) else item
            )

        return Example(pytree.tree_map(twice, self.args), pytree.tree_map(twice, dict(self.kwargs)))


def half_type(module: torch.nn.Module) -> torch.dtype | None:
    """The element type of 16 bits that all real parameters of a module have; None where they have another."""
    kinds = {parameter.dtype for parameter in module.parameters() if parameter.is_floating_point()}
    return kinds.pop() if len(kinds) == 1 and kinds <= {torch.float16, torch.bfloat16} else None


def as_stored(tensor: torch.Tensor, kind: torch.dtype | None) -> torch.Tensor:
    """Real numbers in the type that a module computes in; others as they are."""
    return tensor.to(kind) if kind is not None and tensor.is_floating_point() else tensor


def example_of(inputs: object) -> Example:
    """One tensor or array, a tuple or list of arguments, or a mapping of arguments by name, as the arguments of a call."""

    def tensor(item: object) -> object:
        return torch.from_numpy(np.array(item)) if isinstance(item, np.ndarray) else item

    inputs = pytree.tree_map(tensor, dict(inputs) if isinstance(inputs, Mapping) else inputs)
    if isinstance(inputs, dict):
        return Example((), inputs)
    return Example(tuple(inputs), {}) if isinstance(inputs, tuple | list) else Example((inputs,), {})


def attempts(
    module: torch.nn.Module, example: Example, dynamic_shapes: object, batch_axes: Mapping[str, int]
) -> Iterator[tuple[ExportedProgram, str]]:
    """Exported programs, with a note each, from the most general one on.

    1. The batch and, of inputs with three axes (two, of tokens), the axes behind it are left open; torch.export says which
       of them the module fixes. 2. Only the batch is left open. 3. All sizes are those of the example.

    Raises `UnsupportedError` where the module cannot be exported at all, for the first reason found.
    """
    _refuse_training(module)
    if dynamic_shapes is not None:
        yield functional(_export(module, example, dynamic_shapes)), ""
        return
    reason: Exception | None = None
    some = False
    wide = _widened(module, example, batch_axes)
    for sequences, note in ((True, ""), (False, "sequence lengths stay those of the example")):
        try:
            program = functional(_export(module, wide, _open(module, wide, batch_axes, sequences)))
        except UnsupportedError as error:
            reason = reason or error
            continue
        some = True
        yield program, note
    try:
        program = functional(_export(module, example, None))
    except UnsupportedError as error:
        if some:
            return
        raise reason or error from None
    yield program, "all sizes stay those of the example"


def _refuse_training(module: torch.nn.Module) -> None:
    training = [f"{type(item).__name__} /{path}" for path, item in module.named_modules() if item.training]
    if training:
        raise UnsupportedError(
            f"{len(training)} modules are in training mode ({', '.join(training[:5])}{', ...' if len(training) > 5 else ''}); "
            "call eval() on the model"
        )


def _time_major(module: torch.nn.Module) -> bool:
    return any(isinstance(item, torch.nn.RNNBase) and not item.batch_first for item in module.modules())


def batch_axis_of(module: torch.nn.Module, tensor: torch.Tensor, batch_axes: Mapping[str, int]) -> int:
    """Along which axis samples stand: the one that is named for all inputs, axis 1 behind time, else axis 0."""
    axes = set(batch_axes.values())
    return axes.pop() if len(axes) == 1 else 1 if _time_major(module) and tensor.dim() == 3 else 0


def fixed_program(module: torch.nn.Module, example: Example) -> ExportedProgram:
    """The module exported for the sizes of the example. Raises `UnsupportedError`."""
    return functional(_export(module, example, None))


def _widened(module: torch.nn.Module, example: Example, batch_axes: Mapping[str, int]) -> Example:

    def axis_of(tensor: torch.Tensor) -> int:
        return batch_axis_of(module, tensor, batch_axes)

    tensors = [tensor for tensor in example.tensors() if tensor.dim() > axis_of(tensor) >= 0]
    return example.repeated(axis_of) if tensors and all(tensor.shape[axis_of(tensor)] == 1 for tensor in tensors) else example


def _open(module: torch.nn.Module, example: Example, batch_axes: Mapping[str, int], sequences: bool) -> dict[str, object]:
    """For each argument which axes are left open; torch.export fixes those that the module needs fixed."""
    other = 1 if _time_major(module) else 0

    def axes(name: str, tensor: torch.Tensor) -> dict[int, object]:
        rank = tensor.dim()
        batch = {batch_axes[name] % rank} if name in batch_axes and rank else {0, other if rank == 3 else 0}
        if tensor.dim() == 3 and sequences:
            batch |= {0, 1, 2}
        if tensor.dim() == 2 and sequences and not tensor.is_floating_point():
            batch |= {0, 1}  # tokens
        return {axis: Dim.AUTO for axis in sorted(batch) if axis < rank}

    def spec(name: str, item: object) -> object:
        return pytree.tree_map(lambda leaf: axes(name, leaf) if isinstance(leaf, torch.Tensor) else None, item)

    return {name: spec(name, item) for name, item in example.bound(module).items()}


def _export(module: torch.nn.Module, example: Example, dynamic_shapes: Any) -> ExportedProgram:
    try:
        with warnings.catch_warnings(), torch.no_grad(), KeepLayers(module):
            warnings.simplefilter("ignore")
            program: ExportedProgram = torch.export.export(
                module, example.args, dict(example.kwargs), dynamic_shapes=dynamic_shapes
            )
            return program
    except UnsupportedError:
        raise
    except Exception as error:  # torch.export lets through whatever the module raises
        raise UnsupportedError(f"torch.export cannot export {type(module).__name__}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    text = str(error).strip()
    first = next((line for line in text.splitlines() if line.strip()), type(error).__name__)
    if "data-dependent" in text or "GuardOnDataDependentSymNode" in type(error).__name__:
        places = [line.strip() for line in text.splitlines() if ".py:" in line or line.strip().startswith("File ")]
        place = f" ({places[-1]})" if places else ""
        return f"it branches on the values of its input{place}; {first}"
    return first


def functional(program: ExportedProgram) -> ExportedProgram:
    """The program without operators that change tensors in place; composite operators stay whole."""
    with warnings.catch_warnings(), KeepLayers(), few_composites(program):
        warnings.simplefilter("ignore")
        result: ExportedProgram = program.run_decompositions({})
    return result


def reexported(program: ExportedProgram, axes: Mapping[str, int]) -> ExportedProgram | None:
    """The program exported again with the batch left open along `axes` (by input name); None where that is impossible, or
    where the program keeps no example inputs.
    """
    if program.example_inputs is None or not axes:
        return None
    args, kwargs = program.example_inputs
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module, example = program.module(check_guards=False), Example(tuple(args), dict(kwargs))
    if len(set(axes.values())) == 1:
        axis = next(iter(axes.values()))
        example = example.repeated(lambda _: axis)  # torch.export takes a size of 1 for fixed
    remaining = iter(axes.values())

    def spec(item: object) -> object:
        open_ = isinstance(item, torch.Tensor) and item.dim()
        return {next(remaining): Dim.AUTO} if open_ else None

    try:
        shapes = {name: pytree.tree_map(spec, item) for name, item in example.bound(module).items()}
        return functional(_export(module, example, shapes))
    except (UnsupportedError, UsageError):
        return None
