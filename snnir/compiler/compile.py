"""Compile a model: import it, run the passes, hold both to what they promise."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack, cast

import numpy as np

from snnir.compiler.diagnostics import loss_facts
from snnir.compiler.importing import (
    IMPORT_SAMPLES,
    as_read,
    check_import,
    example_from,
    import_for,
    is_torch,
    needs_example,
    plugin_import,
    requantization_distance,
    with_constants,
)
from snnir.compiler.open_sizes import OpenSizes, with_numbers
from snnir.compiler.options import ImportOptions, Keywords, keywords_of, split
from snnir.compiler.quantized_models import check_levels, integers_kept, is_quantized
from snnir.errors import CalibrationError, NoReferenceError, UnsupportedError, UsageError
from snnir.ir import SPIKING, Graph
from snnir.ir.lifting import in_groups
from snnir.ir.phases import neuron_of
from snnir.passes.options import CompileOptions
from snnir.runtime.costs import dense_macs, host_work
from snnir.runtime.facts import CompileFacts
from snnir.runtime.inputs import calibration_data, first_samples, sample_count
from snnir.runtime.program import Program

if TYPE_CHECKING:
    from snnir.backends.torch import TrainableModule
    from snnir.compiler.importing import Model
    from snnir.passes import Pass, Stage

__all__ = ["compile"]

_CLIPPED_SAMPLES = 1024
"""Calibration samples in which it is counted what saturates."""


@keywords_of(CompileOptions, ImportOptions)
def compile(  # the field's word for it; shadowing the builtin is confined to this namespace
    model: Model | TrainableModule,
    *,
    calibration: np.ndarray | Mapping[str, np.ndarray] | None = None,
    pipeline: str | None = None,
    check: bool = True,
    dump_ir: str | Path | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    on_stage: Callable[[Stage], None] | None = None,
    **options: Unpack[Keywords],
) -> Program:
    """Compile a trained model into an exact spiking program.

    `calibration` holds inputs like those the model will see (one array, or arrays by input name). `options` are those of
    `snnir.passes.CompileOptions`: `bits` (2 to 8) for activations, `weight_bits` (2 to 16), `input_bits` (2 to 16; 0: as many as
    the rest needs) for the model's inputs and what the host computes from them, `state_bits` (2 to 16) for states that add to
    what they were, such as the cell state of an LSTM (0: two more than `bits`), `value_bits` for single
    values by the names that `verify` and `run` print, `method` of choosing scales (`mse`, `percentile`, `minmax`), `neuron` for
    the family of neurons (`bif`: one level
    a spike, `few-spikes`: the level's bits), and so on; and those of `import_model`. The example of a module of PyTorch
    whose batch is axis 0 is taken from the calibration data where it is not given. Where the model needs a number for a size
    that is still open, it gets that of the calibration data, and a note says so. `pipeline` replaces the default order of
    passes. With `check` the import is compared with ONNX Runtime, or with the module itself, and every pass is held to its
    promise on a few samples. `dump_ir` is a folder for the graph after each pass. `progress` is called with (what, done,
    total). Ops without spiking form run on the host before and after the network; `allow_host` permits them inside it, with
    all that they depend on or all that depends on them.

    A model that is quantized already (ONNX QuantizeLinear and DequantizeLinear, integer operators, QONNX) keeps its own
    scales, bounds and roundings, and needs no calibration data where it quantizes every value that neurons stand for.
    `rounding` is for its quantizers whose sums can lie halfway between two levels and that no constant V(0) rounds as the
    model does: `exact` gives them staircases of thresholds, `half-up` rounds up and counts the integers that differ on the
    calibration data, `refuse` refuses. docs/quantized-models.md says more.

    A graph of the spiking level (`import_nir` of an exact export, `SpikingModule.to_graph()`) needs nothing more: its bounds are
    certified, and options and data do not count for it.

    A module that `snnir.torch.trainable` made brings its calibration data and its options with it: of those here, only
    `pipeline` (from quantize-weights on), `check`, `dump_ir`, `progress` and `on_stage` count for it. The float graph of
    the program is then the trained one, with levels instead of real activations.

    What quantization costs is measured on calibration data: `program.distances` says how far each output is from the float
    model's, `program.warnings` where that is too far, or data or weights are suspect, and what to do about it.

    Raises `CalibrationError`, `ModelError`, `UnsupportedError`, `UsageError`.
    """
    from snnir.passes import parse_pipeline, pipeline_for

    if isinstance(model, Graph) and model.level == SPIKING:
        return _spiking_program(model)
    imports, rest = split(options)
    chosen = CompileOptions.of(rest)
    passes = pipeline_for(chosen) if pipeline is None else parse_pipeline(pipeline)
    trained = _trained(model)
    if trained is not None:
        from snnir.compiler.training import passes_after_training

        model, calibration = trained.trained_graph(), trained.calibration
        passes = passes_after_training(trained.weight_bits) if pipeline is None else passes
    if imports.example_inputs is None and needs_example(model) and calibration is not None:
        imports = dataclasses.replace(imports, example_inputs=example_from(calibration, imports.batch_axes))

    build = partial(
        _compiled,
        model,
        passes,
        calibration,
        imports=imports,
        options=chosen.facts() if pipeline is None and trained is None else None,
        check=check,
        dump_ir=dump_ir,
        progress=progress,
        on_stage=on_stage,
    )
    return with_numbers(build, OpenSizes(imports.dims, calibration))


def _compiled(
    model: Model,
    passes: Sequence[Pass],
    calibration: np.ndarray | Mapping[str, np.ndarray] | None,
    sizes: OpenSizes,
    *,
    imports: ImportOptions,
    options: Mapping[str, object] | None,
    check: bool,
    dump_ir: str | Path | None,
    progress: Callable[[str, int, int], None] | None,
    on_stage: Callable[[Stage], None] | None,
) -> Program:
    """The program with the sizes that are known so far. Raises `UnsupportedError`, with the graph as far as it was imported."""
    source = model
    model = plugin_import(model, imports) or model
    model, notes = as_read(model, imports)
    graph = import_for(model, dataclasses.replace(imports, dims=sizes.dims, requantize=False), calibration)
    graph.notes += [*notes, *sizes.notes]
    build = partial(
        _passed,
        source,
        model,
        passes=passes,
        calibration=calibration,
        imports=imports,
        options=options,
        check=check,
        dump_ir=dump_ir,
        progress=progress,
        on_stage=on_stage,
    )
    groups = in_groups(graph) if graph.fixed_batch else None
    if groups is None:
        return build(graph)
    try:
        return build(groups)
    except UnsupportedError as refused:
        try:
            return build(graph)  # what the fixed batch makes possible, for one group at a time
        except CalibrationError:
            raise refused from None


def _passed(
    source: Model,
    model: Model,
    graph: Graph,
    *,
    passes: Sequence[Pass],
    calibration: np.ndarray | Mapping[str, np.ndarray] | None,
    imports: ImportOptions,
    options: Mapping[str, object] | None,
    check: bool,
    dump_ir: str | Path | None,
    progress: Callable[[str, int, int], None] | None,
    on_stage: Callable[[Stage], None] | None,
) -> Program:
    """The program of an imported graph."""
    from snnir.passes import Context, check_samples, format_pipeline, run_pipeline

    own = is_quantized(graph)
    if calibration is None and not own:
        raise CalibrationError("compile needs calibration data: give inputs like those the model will see")
    known = None if calibration is None else calibration_data(graph, calibration)
    data = check_samples(graph, None) if known is None else known
    facts = CompileFacts(
        source=str(source) if isinstance(source, str | Path) else graph.name,
        pipeline=format_pipeline(passes),
        options=options,
        checked=check,
        calibration_samples=0 if known is None else sample_count(graph, known),
        notes=list(graph.notes),
    )
    if not isinstance(model, Graph) and not is_torch(model):
        from snnir.frontends.onnx import survey

        surveyed = survey(cast("Any", model))
        facts |= {"provenance": surveyed.provenance, "metadata": dict(surveyed.metadata)}
    if check and not isinstance(model, Graph):
        if own and not is_torch(model):
            facts |= check_levels(with_constants(model, imports.constants), graph, first_samples(graph, data, IMPORT_SAMPLES))
        else:
            try:
                facts |= {"import_error": check_import(model, graph, data, imports.example_inputs, imports.constants)}
            except NoReferenceError as error:
                graph.notes.append(f"the import is compared with nothing: {error}")
                facts |= {"notes": list(graph.notes)}
        if imports.requantize and model is not source:
            distance = requantization_distance(source, model, graph, data, imports)
            graph.notes.append(
                f"as the file quantizes dynamically, its outputs are {distance:.3g} of their span from that reading"
            )
            facts |= {"notes": list(graph.notes)}
    dump = Path(dump_ir) if dump_ir is not None else None
    try:
        stages = run_pipeline(graph, passes, Context(known, progress), check=check, dump=dump, on_stage=on_stage)
    except UnsupportedError as error:
        made = f"model {graph.name} ({facts.provenance})" if facts.provenance is not None else f"model {graph.name}"
        raise UnsupportedError(f"{made}: {error}", error.refusals, graph) from error
    facts |= {"remarks": [f"{stage.pass_.name}: {remark}" for stage in stages for remark in stage.remarks]}
    if own:
        facts |= integers_kept(graph, stages, data)
    graphs = {"float": graph}
    graphs.update((stage.graph.level, stage.graph) for stage in stages if stage.graph.level != "float")
    missing = {"quantized", "spiking"} - set(graphs)
    if missing:
        raise UsageError(f"the pipeline ends before the {' and '.join(sorted(missing))} level; end it with substitute-neurons")
    macs = dense_macs(graphs["quantized"], data)
    facts = dataclasses.replace(
        facts,
        neuron=neuron_of(graphs["spiking"]),
        host_nodes=host_work(graphs["quantized"]),
        spiking_mac_share=macs.spiking_share,
    )
    if known is not None:
        facts |= loss_facts(graph, graphs["quantized"], stages, known, macs.spiking + macs.host)
        shares = Program(graphs, facts).clipped(first_samples(graph, known, _CLIPPED_SAMPLES))
        facts |= {"clipped_inputs": {name: share for name, share in shares.items() if share} or None}
    return Program(graphs, facts)


def _spiking_program(graph: Graph) -> Program:
    """A network that spikes already (from a NIR file, or of a `SpikingModule`), with a note that says so."""
    from snnir.ir.rewrite import extend, like

    note = "the network was spiking already: its levels and weights are what they were"
    new = like(graph)
    extend(new, graph, {value: new.input(value.name, value.type) for value in graph.inputs})
    new.notes.append(note)
    return Program({SPIKING: new}, CompileFacts(source=graph.name, notes=[note], neuron=neuron_of(new)))


def _trained(model: object) -> TrainableModule | None:
    """The model where it is a trainable module, found out without importing torch."""
    return cast("TrainableModule", model) if hasattr(model, "trained_graph") else None
