"""The Python front door: import a model, compile it, load a compiled program."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from snnir.compiler.quantized_models import check_levels, integers_kept, is_quantized
from snnir.errors import CalibrationError, ModelError, UnsupportedError, UsageError
from snnir.export.nir import export_nir, import_nir
from snnir.ir import Graph
from snnir.ir.execute import execute
from snnir.ir.phases import neuron_of
from snnir.runtime.costs import dense_macs, host_work
from snnir.runtime.inputs import calibration_data, first_samples, sample_count
from snnir.runtime.program import Program

if TYPE_CHECKING:
    import onnx
    import torch

    from snnir.backends.torch import TrainableModule
    from snnir.passes import Stage

    Model = str | Path | bytes | onnx.ModelProto | torch.nn.Module | torch.export.ExportedProgram | Graph
    """An ONNX file, its bytes or a loaded model; a module of PyTorch, an exported program or its `.pt2` file; a graph."""

__all__ = ["check_import", "compile", "export_nir", "import_model", "import_nir", "load"]

IMPORT_TOLERANCE = 1e-4
"""How far the imported graph may be from the model itself, relative to the output's largest magnitude (float32 rounding)."""
_IMPORT_SAMPLES = 16
_EXAMPLE_SAMPLES = 2


def import_model(
    model: Model,
    *,
    batch_axes: Mapping[str, int] | None = None,
    example_inputs: Any = None,
    dynamic_shapes: Any = None,
    constants: Mapping[str, Any] | None = None,
) -> Graph:
    """The model as a float-level graph.

    `batch_axes` names the batch axis of inputs where it is not the first. `constants` gives values of inputs of an ONNX
    model that must be known while importing (a shape, a trip count, a condition; a list of arrays for a list of tensors,
    None for an optional value that is not there): they are inputs of the graph no more. A module of PyTorch needs
    `example_inputs`, the arguments of one call (a tensor or array, a tuple, or a dict by name); `dynamic_shapes`, as
    `torch.export` takes them, says which sizes are open where those found are not wanted.

    Raises `ModelError` for files that cannot be read, `UnsupportedError` listing every node that snnir does not know,
    `UsageError` for a module without example inputs or where PyTorch is not installed.
    """
    if constants and (isinstance(model, Graph) or _is_torch(model)):
        raise UsageError("constants are for ONNX models; bind arguments of a module of PyTorch before the export")
    if isinstance(model, Graph):
        return model
    if _is_torch(model):
        from snnir.frontends.torch import import_torch

        return import_torch(
            cast("Any", model), example_inputs=example_inputs, dynamic_shapes=dynamic_shapes, batch_axes=batch_axes
        )
    if example_inputs is not None or dynamic_shapes is not None:
        raise UsageError("example_inputs and dynamic_shapes are for modules of PyTorch; an ONNX model needs neither")
    from snnir.frontends.onnx import import_onnx

    return import_onnx(cast("Any", model), batch_axes=batch_axes, constants=constants)


def _is_torch(model: object) -> bool:
    """Whether the model goes through PyTorch, which is looked at only where it was imported already."""
    if isinstance(model, str | Path):
        return Path(model).suffix == ".pt2"
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(model, (torch.nn.Module, torch.export.ExportedProgram))


def _needs_example(model: object) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(model, torch.nn.Module)


def _example_from(calibration: np.ndarray | Mapping[str, np.ndarray]) -> object:
    """Arguments of one call from calibration data: two samples, or all where there is one."""
    if isinstance(calibration, Mapping):
        return {name: np.asarray(array)[:_EXAMPLE_SAMPLES] for name, array in calibration.items()}
    return (np.asarray(calibration)[:_EXAMPLE_SAMPLES],)


def compile(  # the field's word for it; shadowing the builtin is confined to this namespace
    model: Model | TrainableModule,
    *,
    calibration: np.ndarray | Mapping[str, np.ndarray] | None = None,
    bits: int = 4,
    weight_bits: int = 8,
    input_bits: int = 8,
    state_bits: int = 0,
    value_bits: Mapping[str, int] | None = None,
    allow_host: bool = False,
    method: str = "mse",
    percentile: float = 99.9,
    rounding: str = "exact",
    neuron: str = "bif",
    pipeline: str | None = None,
    batch_axes: Mapping[str, int] | None = None,
    example_inputs: Any = None,
    dynamic_shapes: Any = None,
    constants: Mapping[str, Any] | None = None,
    check: bool = True,
    dump_ir: str | Path | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    on_stage: Callable[[Stage], None] | None = None,
) -> Program:
    """Compile a trained model into an exact spiking program.

    `calibration` holds inputs like those the model will see (one array, or arrays by input name). `bits` (2 to 8) is for
    activations, `input_bits` (2 to 16) for the model's inputs and what the host computes from them, `state_bits` (2 to 16)
    for states that add to what they were, such as the cell state of an LSTM (0: two more than `bits`), `value_bits` for
    single values by their names in the calibrated graph, `weight_bits` (2 to 16) for weights; `method` chooses
    scales (`mse`, `percentile`, `minmax`). `neuron` is the family of neurons: `bif` (one level a spike) or `few-spikes`
    (the level's bits). `pipeline` replaces the default order of passes. `batch_axes`, `example_inputs`, `dynamic_shapes`
    and `constants` are those of `import_model`; the example of a module of PyTorch whose batch is axis 0 is
    taken from the calibration data where it is not given. With `check` the import is compared with ONNX Runtime, or with
    the module itself, and every pass is held to its promise on a few samples. `dump_ir` is a folder for the
    graph after each pass. `progress` is called with (what, done, total). Ops without spiking form run on the host before
    and after the network; `allow_host` permits them inside it, with all that they depend on or all that depends on them.

    A model that is quantized already (ONNX QuantizeLinear and DequantizeLinear, integer operators, QONNX) keeps its own
    scales, bounds and roundings, and needs no calibration data where it quantizes every value that neurons stand for.
    `rounding` is for its quantizers whose sums can lie halfway between two levels and that no constant V(0) rounds as the
    model does: `exact` gives them staircases of thresholds, `half-up` rounds up and counts the integers that differ on the
    calibration data, `refuse` refuses. docs/quantized-models.md says more.

    A module that `snnir.torch.trainable` made brings its calibration data and its options with it: of those here, only
    `pipeline` (from quantize-weights on), `check`, `dump_ir`, `progress` and `on_stage` count for it. The float graph of
    the program is then the trained one, with levels instead of real activations.

    Raises `CalibrationError`, `ModelError`, `UnsupportedError`, `UsageError`.
    """
    from snnir.passes import Context, check_samples, default_pipeline, format_pipeline, parse_pipeline, run_pipeline

    values = ";".join(f"{name}={bits}" for name, bits in (value_bits or {}).items())
    passes = (
        default_pipeline(bits, weight_bits, input_bits, state_bits, values, method, percentile, allow_host, rounding, neuron)
        if pipeline is None
        else parse_pipeline(pipeline)
    )
    trained = _trained(model)
    if trained is not None:
        from snnir.compiler.training import passes_after_training

        model, calibration = trained.trained_graph(), trained.calibration
        passes = passes_after_training(trained.weight_bits) if pipeline is None else passes
    if example_inputs is None and _needs_example(model) and calibration is not None:
        example_inputs = _example_from(calibration)
    graph = import_model(
        model, batch_axes=batch_axes, example_inputs=example_inputs, dynamic_shapes=dynamic_shapes, constants=constants
    )
    own = is_quantized(graph)
    if calibration is None and not own:
        raise CalibrationError("compile needs calibration data: give inputs like those the model will see")
    known = None if calibration is None else calibration_data(graph, calibration)
    data = check_samples(graph, None) if known is None else known
    facts: dict[str, object] = {
        "source": str(model) if isinstance(model, str | Path) else graph.name,
        "pipeline": format_pipeline(passes),
        "calibration_samples": 0 if known is None else sample_count(graph, known),
        "notes": list(graph.notes),
    }
    if not isinstance(model, Graph) and not _is_torch(model):
        from snnir.frontends.onnx import survey

        surveyed = survey(cast("Any", model))
        facts["provenance"], facts["metadata"] = surveyed.provenance, dict(surveyed.metadata)
    if check and not isinstance(model, Graph):
        if own and not _is_torch(model):
            facts |= check_levels(_with(model, constants), graph, first_samples(graph, data, _IMPORT_SAMPLES))
        else:
            facts["import_error"] = check_import(model, graph, data, example_inputs, constants)
    dump = Path(dump_ir) if dump_ir is not None else None
    try:
        stages = run_pipeline(graph, passes, Context(known, progress), check=check, dump=dump, on_stage=on_stage)
    except UnsupportedError as error:
        made = f"model {graph.name} ({facts['provenance']})" if "provenance" in facts else f"model {graph.name}"
        raise UnsupportedError(f"{made}: {error}", error.refusals) from error
    facts["remarks"] = [f"{stage.pass_.name}: {remark}" for stage in stages for remark in stage.remarks]
    if own:
        facts |= integers_kept(graph, stages, data)
    graphs = {"float": graph}
    graphs.update((stage.graph.level, stage.graph) for stage in stages if stage.graph.level != "float")
    if "spiking" in graphs:
        facts["neuron"] = neuron_of(graphs["spiking"])
    if "quantized" in graphs:
        facts["host_nodes"] = host_work(graphs["quantized"])
        facts["spiking_mac_share"] = dense_macs(graphs["quantized"], data).spiking_share
    missing = {"quantized", "spiking"} - set(graphs)
    if missing:
        raise UsageError(f"the pipeline ends before the {' and '.join(sorted(missing))} level; end it with certify-bounds")
    return Program(graphs, facts)


def _with(model: Model, constants: Mapping[str, Any] | None) -> Any:
    """An ONNX model with what was given while importing it."""
    from snnir.frontends.onnx import with_constants

    return with_constants(cast("Any", model), constants) if constants else model


def _trained(model: object) -> TrainableModule | None:
    """The model where it is a trainable module: told without importing torch."""
    return cast("TrainableModule", model) if hasattr(model, "trained_graph") else None


def load(path: str | Path) -> Program:
    """The program that `Program.save` wrote to `path`, or that of a bundle: its spiking level alone. Raises `FileFormatError`."""
    if Path(path).suffix == ".snnb" or Path(path).is_dir():
        from snnir.export.bundle import bundle_to_program, load_bundle

        return bundle_to_program(load_bundle(path).program)
    return Program.load(path)


def check_import(
    model: Model,
    graph: Graph,
    data: Mapping[str, np.ndarray],
    example_inputs: Any = None,
    constants: Mapping[str, Any] | None = None,
) -> float:
    """The largest relative difference between the imported graph and ONNX Runtime, or the module itself, on a few samples.

    Integer outputs (argmax) are compared in shape only: a tie within rounding may fall either way. Raises `ModelError`
    naming the output where a difference exceeds `IMPORT_TOLERANCE`.
    """
    few = first_samples(graph, data, _IMPORT_SAMPLES)
    model = _with(model, constants)
    if is_quantized(graph) and not _is_torch(model):
        report = check_levels(cast("Any", model), graph, few)
        if "import_error" not in report:
            raise UsageError(f"the import of model {graph.name} was {report['import_levels']}")
        return float(str(report["import_error"]))
    ours = execute(graph, few)
    named = {**{value.name: value for value in graph.inputs}, **graph.outputs}
    axes = {name: value.type.batch_axis for name, value in named.items() if value.type.batch_axis is not None}
    if _is_torch(model):
        from snnir.frontends.torch import run_torch

        reference, theirs = "the model itself", run_torch(cast("Any", model), few, example_inputs, axes)
    else:
        from snnir.frontends.onnx import run_onnxruntime

        reference, theirs = "ONNX Runtime", run_onnxruntime(cast("Any", model), few, axes)
    worst = 0.0
    for name, expected in theirs.items():
        found = ours[name]
        if found.shape != expected.shape:
            raise ModelError(f"output {name}: the import gives shape {found.shape}, {reference} {expected.shape}")
        if expected.dtype.kind != "f":
            continue
        difference = _apart(expected, found)
        if not difference <= IMPORT_TOLERANCE:
            raise ModelError(
                f"output {name}: the import differs from {reference} by {difference:.3g} of its span "
                f"(allowed {IMPORT_TOLERANCE:g}); please report this model"
            )
        worst = max(worst, difference)
    return worst


def _apart(expected: np.ndarray, found: np.ndarray) -> float:
    """The largest difference in shares of the largest magnitude; NaN and infinities are the same only as themselves."""
    finite = np.isfinite(expected)
    if not np.array_equal(expected[~finite], found[~finite], equal_nan=True):
        return float("inf")
    span = max(float(np.abs(expected[finite]).max(initial=0)), 1e-6)
    return float(np.abs(found[finite] - expected[finite]).max(initial=0)) / span
