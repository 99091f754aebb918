"""The PyTorch frontend: modules, exported programs and `.pt2` files become float-level graphs, by torch.export.

Only this module may be imported without PyTorch; it loads PyTorch when a function is called.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from snnir.errors import UsageError
from snnir.ir import Graph

if TYPE_CHECKING:
    from snnir.frontends.torch.source import Source
    from snnir.ir.lowering.survey import Survey

__all__ = ["import_torch", "requantized", "run_torch", "survey_torch", "torch_conditions", "torch_operators", "torch_refused"]

_HINT = "PyTorch is not installed, and this needs it: pip install 'snnir[torch]'"


def import_torch(
    source: Source,
    *,
    example_inputs: object = None,
    dynamic_shapes: object = None,
    batch_axes: Mapping[str, int] | None = None,
    name: str | None = None,
    dims: Mapping[str, int | str] | None = None,
) -> Graph:
    """The model as a float-level graph; see `snnir.frontends.torch.importer.import_torch`.

    Raises `UsageError` where PyTorch is not installed.
    """
    try:
        from snnir.frontends.torch import importer
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    return importer.import_torch(
        source, example_inputs=example_inputs, dynamic_shapes=dynamic_shapes, batch_axes=batch_axes, name=name, dims=dims
    )


def survey_torch(source: Source) -> Survey:
    """An exported program's nodes and provenance; see `snnir.frontends.torch.survey.survey_torch`.

    Raises `UsageError` where PyTorch is not installed.
    """
    try:
        from snnir.frontends.torch import survey
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    return survey.survey_torch(source)


def run_torch(
    source: Source,
    inputs: Mapping[str, np.ndarray],
    example_inputs: object = None,
    batch_axes: Mapping[str, int] | None = None,
) -> dict[str, np.ndarray]:
    """Outputs of the model itself by the graph's output names; see `snnir.frontends.torch.reference.run_torch`.

    Raises `UsageError` where PyTorch is not installed.
    """
    try:
        from snnir.frontends.torch import reference
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    return reference.run_torch(source, inputs, example_inputs, batch_axes)


def requantized(source: Source) -> tuple[object, int]:
    """A module with real layers in the place of dynamically quantized ones, and how many there are.

    Raises `UsageError` where PyTorch is not installed.
    """
    try:
        from snnir.frontends.torch import requantize
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    return requantize.requantized(source)


def torch_operators() -> dict[str, list[str]]:
    """For each op of the IR, the operators of PyTorch that become it. Raises `UsageError` where PyTorch is not installed."""
    try:
        from snnir.frontends.torch import handlers as handlers
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    from snnir.frontends.torch.registry import operators

    return operators()


def torch_conditions() -> list[tuple[list[str], tuple[str, ...], bool, str]]:
    """Operators of PyTorch, the ops that they become, whether they take complex numbers, and on what conditions.

    Raises `UsageError` where PyTorch is not installed.
    """
    torch_operators()
    from snnir.frontends.torch.registry import conditions

    return conditions()


def torch_refused() -> list[tuple[str, tuple[str, ...]]]:
    """Each reason, and the operators of PyTorch that are refused for it."""
    from snnir.frontends.torch.refused import refused_operators

    return refused_operators()


def _missing(error: ModuleNotFoundError) -> Exception:
    return UsageError(_HINT) if (error.name or "").split(".")[0] == "torch" else error
