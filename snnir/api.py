"""The Python front door: import a model, compile it, load a compiled program."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from snnir.costs import dense_macs, host_work
from snnir.errors import ModelError, UnsupportedError, UsageError
from snnir.inputs import calibration_data, first_samples, sample_count
from snnir.ir import Graph
from snnir.ir.execute import execute
from snnir.program import Program

if TYPE_CHECKING:
    import onnx

    from snnir.passes import Stage

__all__ = ["check_import", "compile", "import_model", "load"]

IMPORT_TOLERANCE = 1e-4
"""How far the imported graph may be from ONNX Runtime, relative to the output's largest magnitude (float32 rounding)."""
_IMPORT_SAMPLES = 16


def import_model(model: str | Path | bytes | onnx.ModelProto | Graph, *, batch_axes: Mapping[str, int] | None = None) -> Graph:
    """The model as a float-level graph.

    `batch_axes` names the batch axis of inputs where it is not the first. Raises `ModelError` for files that cannot be
    read, `UnsupportedError` listing every node that snnir does not know.
    """
    if isinstance(model, Graph):
        return model
    from snnir.frontends.onnx import import_onnx

    return import_onnx(model, batch_axes=batch_axes)


def compile(  # the field's word for it; shadowing the builtin is confined to this namespace
    model: str | Path | bytes | onnx.ModelProto | Graph,
    *,
    calibration: np.ndarray | Mapping[str, np.ndarray],
    bits: int = 4,
    weight_bits: int = 8,
    input_bits: int = 8,
    state_bits: int = 0,
    value_bits: Mapping[str, int] | None = None,
    allow_host: bool = False,
    method: str = "mse",
    percentile: float = 99.9,
    pipeline: str | None = None,
    batch_axes: Mapping[str, int] | None = None,
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
    scales (`mse`, `percentile`, `minmax`). `pipeline` replaces the default order of passes. With `check` the import is
    compared with ONNX Runtime and every pass is held to its promise on a few samples. `dump_ir` is a folder for the
    graph after each pass. `progress` is called with (what, done, total). Ops without spiking form run on the host before
    and after the network; `allow_host` permits them inside it, with all that they depend on or all that depends on them.

    Raises `CalibrationError`, `ModelError`, `UnsupportedError`, `UsageError`.
    """
    from snnir.passes import Context, default_pipeline, format_pipeline, parse_pipeline, run_pipeline

    values = ";".join(f"{name}={bits}" for name, bits in (value_bits or {}).items())
    passes = (
        default_pipeline(bits, weight_bits, input_bits, state_bits, values, method, percentile, allow_host)
        if pipeline is None
        else parse_pipeline(pipeline)
    )
    graph = import_model(model, batch_axes=batch_axes)
    data = calibration_data(graph, calibration)
    facts: dict[str, object] = {
        "source": str(model) if isinstance(model, str | Path) else graph.name,
        "pipeline": format_pipeline(passes),
        "calibration_samples": sample_count(graph, data),
        "notes": list(graph.notes),
    }
    if not isinstance(model, Graph):
        from snnir.frontends.onnx import survey

        facts["provenance"] = survey(model).provenance
    if check and not isinstance(model, Graph):
        facts["import_error"] = check_import(model, graph, data)
    dump = Path(dump_ir) if dump_ir is not None else None
    try:
        stages = run_pipeline(graph, passes, Context(data, progress), check=check, dump=dump, on_stage=on_stage)
    except UnsupportedError as error:
        made = f"model {graph.name} ({facts['provenance']})" if "provenance" in facts else f"model {graph.name}"
        raise UnsupportedError(f"{made}: {error}", error.refusals) from error
    facts["remarks"] = [f"{stage.pass_.name}: {remark}" for stage in stages for remark in stage.remarks]
    graphs = {"float": graph}
    graphs.update((stage.graph.level, stage.graph) for stage in stages if stage.graph.level != "float")
    if "quantized" in graphs:
        facts["host_nodes"] = host_work(graphs["quantized"])
        facts["spiking_mac_share"] = dense_macs(graphs["quantized"], data).spiking_share
    missing = {"quantized", "spiking"} - set(graphs)
    if missing:
        raise UsageError(f"the pipeline ends before the {' and '.join(sorted(missing))} level; end it with certify-bounds")
    return Program(graphs, facts)


def load(path: str | Path) -> Program:
    """The program that `Program.save` wrote to `path`. Raises `FileFormatError`."""
    return Program.load(path)


def check_import(model: str | Path | bytes | onnx.ModelProto, graph: Graph, data: Mapping[str, np.ndarray]) -> float:
    """The largest relative difference between the imported graph and ONNX Runtime on a few samples.

    Integer outputs (argmax) are compared in shape only: a tie within rounding may fall either way. Raises `ModelError`
    naming the output where a difference exceeds `IMPORT_TOLERANCE`.
    """
    from snnir.frontends.onnx import run_onnxruntime

    few = first_samples(graph, data, _IMPORT_SAMPLES)
    named = {**{value.name: value for value in graph.inputs}, **graph.outputs}
    axes = {name: value.type.batch_axis for name, value in named.items()}
    ours = execute(graph, few)
    theirs = run_onnxruntime(model, few, {name: axis for name, axis in axes.items() if axis is not None})
    worst = 0.0
    for name, expected in theirs.items():
        found = ours[name]
        if found.shape != expected.shape:
            raise ModelError(f"output {name}: the import gives shape {found.shape}, ONNX Runtime {expected.shape}")
        if expected.dtype.kind != "f":
            continue
        span = max(float(np.abs(expected).max(initial=0)), 1e-6)
        difference = float(np.abs(found - expected).max(initial=0)) / span
        if not difference <= IMPORT_TOLERANCE:
            raise ModelError(
                f"output {name}: the import differs from ONNX Runtime by {difference:.3g} of its span "
                f"(allowed {IMPORT_TOLERANCE:g}); please report this model"
            )
        worst = max(worst, difference)
    return worst
