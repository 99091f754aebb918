"""Import a model of any kind as a float-level graph, and compare the graph with the model itself."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack, cast

import numpy as np

from snnir.compiler.float_rounding import ROUNDINGS, summed_magnitudes
from snnir.compiler.options import ImportKeywords, ImportOptions, keywords_of
from snnir.compiler.quantized_models import FARTHEST, IMPORT_TOLERANCE, check_levels, is_quantized
from snnir.errors import ImportMismatchError, UnsupportedError, UsageError
from snnir.ir import FLOAT, Dimension, Graph
from snnir.ir.execute import execute
from snnir.ir.verify import verify
from snnir.plugins import frontend_of
from snnir.runtime.facts import import_levels_text
from snnir.runtime.inputs import first_samples

if TYPE_CHECKING:
    import onnx
    import torch

    Model = str | Path | bytes | onnx.ModelProto | torch.nn.Module | torch.export.ExportedProgram | Graph
    """An ONNX file, its bytes or a loaded model; a module of PyTorch, an exported program or its `.pt2` file; a graph."""

__all__ = [
    "as_read",
    "check_import",
    "example_from",
    "import_for",
    "import_model",
    "import_with",
    "is_torch",
    "model_outputs",
    "needs_example",
    "plugin_import",
    "requantization_distance",
    "with_constants",
]

_HALF_TOLERANCE = {"float16": 5e-3, "bfloat16": 4e-2}
"""The same for a model that computes in 16 bits: some roundings of 11 and of 8 bits, one behind the other."""
IMPORT_SAMPLES = 16
"""Samples on which an import is compared with the model itself."""
_EXAMPLE_SAMPLES = 2


@keywords_of(ImportOptions)
def import_model(model: Model, **options: Unpack[ImportKeywords]) -> Graph:
    """The model as a float-level graph.

    `batch_axes` names the batch axis of inputs where it is not the one that is found; None: the input has no batch.
    `constants` gives values of inputs of an ONNX model that must be known while importing (a shape, a trip count, a
    condition; a list of arrays for a list of tensors, None for an optional value that is not there): they are inputs of the
    graph no more. A module of PyTorch needs `example_inputs`, the arguments of one call (a tensor or array, a tuple, or a
    dict by name); `dynamic_shapes`, as `torch.export` takes them, says which sizes are open where those found are not wanted.
    `dims` gives numbers for sizes of inputs that are open, by their names (ONNX's `dim_param`, `T` of a module) or `input:axis`.
    `requantize` reads dynamically quantized operators and layers as real ones, with the weights that their integers stand for.

    Raises `ModelError` for files that cannot be read, `UnsupportedError` listing every node that snnir does not know,
    `UsageError` for a module without example inputs or where PyTorch is not installed.
    """
    return import_with(model, ImportOptions(**options))


def import_with(model: Model, options: ImportOptions) -> Graph:
    """`import_model` with its options as one value."""
    if options.requantize:
        model, notes = as_read(model, options)
        graph = import_with(model, dataclasses.replace(options, requantize=False))
        graph.notes += notes
        return graph
    if options.constants and (isinstance(model, Graph) or is_torch(model)):
        raise UsageError("constants are for ONNX models; bind arguments of a module of PyTorch before the export")
    model = plugin_import(model, options) or model
    if isinstance(model, Graph):
        if options.dims:
            raise UsageError("dims are for models that are imported; a graph has its sizes")
        return model
    if is_torch(model):
        from snnir.frontends.torch import import_torch

        axes = {name: axis for name, axis in (options.batch_axes or {}).items() if axis is not None}
        return import_torch(
            cast("Any", model),
            example_inputs=options.example_inputs,
            dynamic_shapes=options.dynamic_shapes,
            batch_axes=axes,
            dims=options.dims,
        )
    if options.example_inputs is not None or options.dynamic_shapes is not None:
        raise UsageError("example_inputs and dynamic_shapes are for modules of PyTorch; an ONNX model needs neither")
    from snnir.frontends.onnx import import_onnx

    return import_onnx(cast("Any", model), batch_axes=options.batch_axes, constants=options.constants, dims=options.dims)


def import_for(model: Model, options: ImportOptions, calibration: np.ndarray | Mapping[str, np.ndarray] | None) -> Graph:
    """`import_with`; inputs of an ONNX model for which the data have one axis more than it declares have no batch of their own.

    What the caller says of an input's batch stands, and so does an axis that the file calls a batch. Raises what `import_with`
    raises.
    """
    model = plugin_import(model, options) or model
    graph = import_with(model, options)
    if calibration is None or isinstance(model, Graph) or is_torch(model):
        return graph
    named = calibration if isinstance(calibration, Mapping) else dict.fromkeys([graph.inputs[0].name], calibration)
    whole = [
        value.name
        for value in graph.inputs
        if value.name in named and value.name not in graph.stacked and _one_axis_more(named[value.name], value.type.shape)
    ]
    if not whole or any(name in (options.batch_axes or {}) for name in whole):
        return graph
    from snnir.frontends.onnx import batch_names

    if any(name in batch_names(cast("Any", model)) for name in whole):
        return graph
    try:
        found = import_with(
            model, dataclasses.replace(options, batch_axes={**(options.batch_axes or {}), **dict.fromkeys(whole)})
        )
    except UnsupportedError:
        return graph  # whose inputs the data do not fit
    more = ", ".join(whole)
    found.notes.append(f"the calibration data have one axis more than the model declares for {more}: it stands for samples")
    return found


def _one_axis_more(array: np.ndarray, shape: Sequence[Dimension]) -> bool:
    """Whether the data have an axis before those of the model; samples stacked with a batch of 1 each are joined (`by_name`)."""
    sizes = np.shape(array)
    fit = all(not isinstance(size, int) or size == given for size, given in zip(shape[1:], sizes[2:], strict=False))
    return len(sizes) == len(shape) + 1 and sizes[1] != 1 and fit


def as_read(model: Model, options: ImportOptions) -> tuple[Any, list[str]]:
    """The model with real numbers in place of dynamic quantization, where the options ask for that; and notes on it."""
    if not options.requantize or isinstance(model, Graph):
        return model, []
    if is_torch(model):
        from snnir.frontends.torch import requantized as requantized_module

        read, count = requantized_module(cast("Any", model))
        what = "layers"
    else:
        from snnir.frontends.onnx import requantized

        read, count = requantized(cast("Any", model))
        what = "nodes"
    if not count:
        return read, ["nothing in the model is quantized dynamically: requantize changes nothing"]
    return read, [
        f"{count} dynamically quantized {what} are read as real ones, with the weights that their integers stand for; "
        "activations are calibrated as for a float model"
    ]


def plugin_import(model: object, options: ImportOptions) -> Graph | None:
    """The graph of a file that a plugin's frontend imports; None for anything else. Raises what the frontend raises."""
    if not isinstance(model, str | Path) or Path(model).suffix in ("", ".onnx", ".pt2"):
        return None
    frontend = frontend_of(Path(model).suffix)
    if frontend is None:
        return None
    if any((options.batch_axes, options.constants, options.dims, options.dynamic_shapes)):
        raise UsageError(f"options of the import are for ONNX and PyTorch; the plugin {frontend.name} takes none for {model}")
    graph = frontend.import_model(Path(model))
    if not isinstance(graph, Graph) or graph.level != FLOAT:
        raise UsageError(f"the frontend {frontend.name} gave {graph!r} for {model}, not a graph of the float level")
    verify(graph)
    graph.notes.append(f"imported by the plugin {frontend.name}; the import was not compared with the model itself")
    return graph


def is_torch(model: object) -> bool:
    """Whether the model goes through PyTorch, which is looked at only where it was imported already."""
    if isinstance(model, str | Path):
        return Path(model).suffix == ".pt2"
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(model, (torch.nn.Module, torch.export.ExportedProgram))


def needs_example(model: object) -> bool:
    """Whether the model is a module of PyTorch, which is exported on the arguments of one call."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(model, torch.nn.Module)


def example_from(
    calibration: np.ndarray | Mapping[str, np.ndarray], batch_axes: Mapping[str, int | None] | None = None
) -> object:
    """Arguments of one call from calibration data: two samples, or all where there is one.

    Samples stand along the axis that `batch_axes` names, else along the first that is as long as axis 0 of the first input
    with a batch there: states of recurrent layers have theirs behind the layers.
    """
    if not isinstance(calibration, Mapping):
        return (_first(np.asarray(calibration), (batch_axes or {}).get("", 0)),)
    arrays = {name: np.asarray(array) for name, array in calibration.items()}
    given = dict(batch_axes or {})
    counts = [
        array.shape[given.get(name) or 0] for name, array in arrays.items() if array.ndim and given.get(name, 0) is not None
    ]
    count = next((size for size in counts if all(size in array.shape for array in arrays.values() if array.ndim > 1)), None)
    example = {}
    for name, array in arrays.items():
        axis = given.get(name, array.shape.index(count) if count in array.shape else 0)
        example[name] = _first(array, axis)
    return example


def _first(array: np.ndarray, axis: int | None) -> np.ndarray:
    return array if axis is None or not array.ndim else array.take(range(min(_EXAMPLE_SAMPLES, array.shape[axis])), axis)


def with_constants(model: Model, constants: Mapping[str, Any] | None) -> Any:
    """An ONNX model with what was given while importing it."""
    from snnir.frontends import onnx

    return onnx.with_constants(cast("Any", model), constants) if constants else model


def model_outputs(
    model: Model,
    graph: Graph,
    data: Mapping[str, np.ndarray],
    example_inputs: Any = None,
    constants: Mapping[str, object] | None = None,
) -> dict[str, np.ndarray]:
    """The outputs of the model itself, by ONNX Runtime or PyTorch; `graph` is its import."""
    named = {**{value.name: value for value in graph.inputs}, **graph.outputs}
    axes = {name: value.type.batch_axis for name, value in named.items() if value.type.batch_axis is not None}
    model = with_constants(model, constants)
    if is_torch(model):
        from snnir.frontends.torch import run_torch

        return run_torch(cast("Any", model), data, example_inputs, axes)
    from snnir.frontends.onnx import run_onnxruntime

    ranks = {name: value.type.rank for name, value in graph.outputs.items()}
    return run_onnxruntime(cast("Any", model), data, axes, ranks)


def check_import(
    model: Model,
    graph: Graph,
    data: Mapping[str, np.ndarray],
    example_inputs: Any = None,
    constants: Mapping[str, object] | None = None,
) -> float:
    """The largest relative difference between the imported graph and ONNX Runtime, or the module itself, on a few samples.

    Integer outputs (argmax) are compared in shape only: a tie within rounding may fall either way. Raises `ModelError`
    naming the output where a difference exceeds `IMPORT_TOLERANCE`, or what a model in float16 or bfloat16 rounds, and
    `NoReferenceError` where nothing can run the model.
    """
    few = first_samples(graph, data, IMPORT_SAMPLES)
    model = with_constants(model, constants)
    if is_quantized(graph) and not is_torch(model):
        report = check_levels(cast("Any", model), graph, few)
        if "import_error" not in report:
            raise UsageError(f"the import of model {graph.name} was {import_levels_text(cast('Any', report['import_levels']))}")
        return float(str(report["import_error"]))
    ours = execute(graph, few)
    reference = "the model itself" if is_torch(model) else "ONNX Runtime"
    theirs = model_outputs(model, graph, few, example_inputs)
    allowed = max((_HALF_TOLERANCE[kind] for kind in _half_types(model)), default=IMPORT_TOLERANCE)
    allowed = max(allowed, FARTHEST) if is_quantized(graph) else allowed  # a tie that float32 decides moves one level
    worst, scales = 0.0, dict[str, float]()
    for name, expected in theirs.items():
        found = ours[name]
        if found.shape != expected.shape:
            raise ImportMismatchError(f"output {name}: the import gives shape {found.shape}, {reference} {expected.shape}")
        if expected.dtype.kind != "f":
            continue
        difference = _apart(expected, found)
        if not difference <= allowed:  # small beside the numbers that it is computed from?
            scales = scales or summed_magnitudes(graph, few)
            difference = _apart(expected, found, scales[name] * ROUNDINGS / allowed)
        if not difference <= allowed:
            raise ImportMismatchError(
                f"output {name}: the import differs from {reference} by {difference:.3g} of its span "
                f"(allowed {allowed:g}); please report this model, or leave the comparison out (check=False, --no-check)"
            )
        worst = max(worst, difference)
    return worst


def _half_types(model: Model) -> set[str]:
    """The element types of 16 bits that the model computes in, where snnir computes in float32."""
    if not is_torch(model):
        from snnir.frontends.onnx import half_types

        return half_types(cast("Any", model))
    torch = sys.modules["torch"]
    parameters = cast("Any", model).parameters() if isinstance(model, torch.nn.Module) else ()
    return {str(each.dtype).removeprefix("torch.") for each in parameters} & set(_HALF_TOLERANCE)


def requantization_distance(
    model: Model, read: Model, graph: Graph, data: Mapping[str, np.ndarray], options: ImportOptions
) -> float:
    """How far outputs of a dynamically quantized model are from those of the real-valued reading, relative to their span."""
    few = first_samples(graph, data, IMPORT_SAMPLES)
    own, real = (model_outputs(each, graph, few, options.example_inputs, options.constants) for each in (model, read))
    return max((_apart(real[name], own[name]) for name in real if real[name].dtype.kind == "f"), default=0.0)


def _apart(expected: np.ndarray, found: np.ndarray, least: float = 0.0) -> float:
    """The largest difference in shares of the largest magnitude, or of `least`; NaN and infinities are the same only as
    themselves.
    """
    finite = np.isfinite(expected)
    if not np.array_equal(expected[~finite], found[~finite], equal_nan=True):
        return float("inf")
    span = max(float(np.abs(expected[finite]).max(initial=0)), least)
    off = float(np.abs(found[finite] - expected[finite]).max(initial=0))
    return off / span if span else (float("inf") if off else 0.0)
