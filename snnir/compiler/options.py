"""What `snnir.compile` and `snnir.import_model` take besides the model: options of the import, and of compiling.

Options of compiling are declared in `snnir.passes.options`, those of the import here: a field of `ImportOptions` and its line in
`ImportKeywords`. Signatures follow from both.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, TypedDict, TypeVar

from snnir.passes.options import CompileKeywords, CompileOptions

__all__ = ["ImportKeywords", "ImportOptions", "Keywords", "keywords_of", "split"]


class ImportKeywords(TypedDict, total=False):
    """`ImportOptions` as keyword arguments; a test holds the two together."""

    batch_axes: Mapping[str, int | None] | None
    example_inputs: object
    dynamic_shapes: object
    constants: Mapping[str, object] | None
    dims: Mapping[str, int | str] | None
    requantize: bool


@dataclass(frozen=True)
class ImportOptions:
    """How a model becomes a graph."""

    batch_axes: Mapping[str, int | None] | None = None
    """The batch axis of inputs where it is not the one that is found, by their names; None: the input has no batch."""
    example_inputs: Any = None
    """Arguments of one call of a module of PyTorch: a tensor or array, a tuple, or a dict by name."""
    dynamic_shapes: Any = None
    """Which sizes of a module of PyTorch are open, as `torch.export` takes them."""
    constants: Mapping[str, Any] | None = None
    """Values of inputs of an ONNX model that must be known while importing it, by their names."""
    dims: Mapping[str, int | str] | None = None
    """Numbers, or upper ends like `"<=512"`, for open sizes of inputs, by their names in the model or as `input:axis`."""
    requantize: bool = False
    """Whether what is quantized dynamically is read as real numbers, and calibrated like a float model."""


class Keywords(CompileKeywords, ImportKeywords, total=False):
    """All options of `snnir.compile`."""


def split(options: Mapping[str, Any]) -> tuple[ImportOptions, dict[str, Any]]:
    """The options of the import, and the others by name."""
    names = {item.name for item in fields(ImportOptions)}
    return (
        ImportOptions(**{name: value for name, value in options.items() if name in names}),
        {name: value for name, value in options.items() if name not in names},
    )


F = TypeVar("F", bound=Callable[..., object])


def keywords_of(*declarations: type[CompileOptions | ImportOptions]) -> Callable[[F], F]:
    """Decorator: `inspect.signature` and `help` show the options that `**options` of the function stands for."""

    def show(function: F) -> F:
        signature = inspect.signature(function)
        own = [each for each in signature.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
        named = [
            inspect.Parameter(
                item.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=None if item.default is MISSING else item.default,
                annotation=item.type,
            )
            for each in declarations
            for item in fields(each)
        ]
        function.__signature__ = signature.replace(parameters=[*own, *named])  # type: ignore[attr-defined]
        return function

    return show
