"""The data of the explorer: what every pass made of a graph, what values hold, and what the spikes of a few samples cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from snnir.compiler.compile import compile
from snnir.compiler.importing import import_model
from snnir.compiler.losses import measure_losses
from snnir.compiler.quantized_models import is_quantized
from snnir.compiler.sensitivity import Partial, QuantizationSteps, quantization_steps, rounded_weights
from snnir.errors import UsageError
from snnir.export.load import load
from snnir.ir import FLOAT, LEVELS, SPIKING, Graph
from snnir.ir.execute import bind_sizes
from snnir.passes import Context, Stage, default_pipeline, format_pipeline, parse_pipeline, run_pipeline
from snnir.runtime.costs import dense_macs
from snnir.runtime.inputs import calibration_data, first_samples, sample_count
from snnir.runtime.program import Program
from snnir.version import __version__
from snnir.views.graph_records import line_records, node_records
from snnir.views.page import Page
from snnir.views.pool import Pool
from snnir.views.statistics import value_statistics

__all__ = ["SAMPLES", "explore", "explore_data"]

SAMPLES = 8
"""Calibration samples on which values are looked at."""
_WORK = 400_000_000
"""Multiply-accumulates that one execution of a graph may take: of larger networks fewer samples are looked at."""
_SENSITIVITY_WORK = 20_000_000_000
"""Multiply-accumulates up to which every value is quantized alone without being asked for."""

Progress = Callable[[str, int, int], None]


@dataclass
class _Compiled:
    """What is shown: the graph as imported, the stages of its pipeline, and the program at its end, where there is one."""

    first: Graph
    stages: Sequence[Stage]
    program: Program | None
    data: dict[str, np.ndarray] | None
    pipeline: str
    note: str = ""


def explore(
    source: str | Path | Program | Graph | Any, calibration: np.ndarray | Mapping[str, np.ndarray] | None = None, **options: Any
) -> Page:
    """The explorer of a model or program as a page: the graph after every pass, with what its values hold.

    Takes what `explore_data` takes. Raises what `snnir.compile` raises.
    """
    data = explore_data(source, calibration, **options)
    return Page("explore", f"snnir explore: {data['model']}", data)


def explore_data(
    source: str | Path | Program | Graph | Any,
    calibration: np.ndarray | Mapping[str, np.ndarray] | None = None,
    *,
    samples: int = SAMPLES,
    sensitivity: bool | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> dict[str, object]:
    """Everything that `snnir explore` shows, for JSON.

    `source` is a program or whatever `snnir.compile` takes. Without `calibration` a program shows its three levels, and a
    model the passes before the first one that needs data. `sensitivity` executes the network once for every value that is
    quantized (None: where that is cheap). `options` are those of `snnir.compile`. Raises what `snnir.compile` raises.
    """
    compiled = _compiled(source, calibration, progress, options)
    pool_nodes, pool_lines, pool_stats = Pool(), Pool(), Pool()
    graphs: list[dict[str, object]] = []
    data = compiled.data
    sizes = _sizes(compiled.first, data)
    most = samples
    if compiled.program is not None and data is not None:
        macs = dense_macs(compiled.program.graph("quantized"), data)
        most = max(1, min(samples, _WORK // max(macs.spiking + macs.host, 1)))

    def enter(graph: Graph, number: int, total: int) -> int:
        if progress is not None:
            progress(f"looking at {graph.after or 'the import'}", number, total)
        stats = {} if data is None else value_statistics(graph, data, most)
        graphs.append(
            {
                "level": graph.level,
                "nodes": [pool_nodes.number(record) for record in node_records(graph, sizes)],
                "lines": [pool_lines.number(record) for record in line_records(graph)],
                "statistics": {name: pool_stats.number(item) for name, item in stats.items()},
            }
        )
        return len(graphs) - 1

    shown = enter(compiled.first, 0, len(compiled.stages))
    passes: list[dict[str, object]] = [_import_record(compiled.first, shown)]
    for stage in compiled.stages:
        if stage.changed or stage.graph.level != graphs[shown]["level"]:
            shown = enter(stage.graph, stage.number, len(compiled.stages))
        passes.append(_pass_record(stage, shown))
    return {
        "kind": "snnir-explore",
        "snnir": __version__,
        "model": compiled.first.name,
        "source": _name(source),
        "pipeline": compiled.pipeline,
        "note": compiled.note,
        "samples": 0 if data is None else min(most, sample_count(compiled.first, data)),
        "passes": passes,
        "graphs": graphs,
        "nodes": pool_nodes.records,
        "lines": pool_lines.records,
        "statistics": pool_stats.records,
        **_losses(compiled, most, sensitivity, progress),
        "run": _run(compiled, most),
        "facts": _facts(compiled.program),
    }


def _facts(program: Program | None) -> dict[str, object]:
    known = {} if program is None else dict(program.facts)
    return {name: Path(value).name if name == "source" and isinstance(value, str) else value for name, value in known.items()}


def _name(source: object) -> str:
    """The file's name or the kind of object; never a folder of the machine that made the page."""
    if isinstance(source, str | Path):
        return Path(source).name
    return source.name if isinstance(source, Graph) else type(source).__name__


def _compiled(
    source: Any, calibration: np.ndarray | Mapping[str, np.ndarray] | None, progress: Progress | None, options: dict[str, Any]
) -> _Compiled:
    if isinstance(source, str | Path) and Path(source).suffix in (".snnir", ".snnb"):
        source = load(source)
    if isinstance(source, Program):
        return _of_program(source, calibration, progress)
    if calibration is not None:
        stages: list[Stage] = []
        program = compile(source, calibration=calibration, check=False, on_stage=stages.append, progress=progress, **options)
        first = program.graph("float")
        return _Compiled(first, stages, program, calibration_data(first, calibration), program.facts.pipeline or "")
    graph = source if isinstance(source, Graph) else import_model(source, **options)
    if is_quantized(graph):
        stages = []
        program = compile(graph, check=False, on_stage=stages.append, **options)
        note = "Give --calibration to see what values hold."
        return _Compiled(graph, stages, program, None, program.facts.pipeline or "", note)
    passes = list(default_pipeline())
    passes = passes[: next((place for place, item in enumerate(passes) if item.name == "calibrate"), len(passes))]
    found = run_pipeline(graph, passes, Context(None, progress), check=False)
    note = "Without calibration data the passes from calibrate on cannot run: give --calibration to see them."
    return _Compiled(graph, found, None, None, format_pipeline(passes), note)


def _of_program(
    program: Program, calibration: np.ndarray | Mapping[str, np.ndarray] | None, progress: Progress | None
) -> _Compiled:
    pipeline = program.facts.pipeline or ""
    levels = [level for level in LEVELS if level in program.levels]
    first = program.graph(levels[0])
    if calibration is not None and pipeline and levels[0] == FLOAT:
        data = calibration_data(first, calibration)
        try:
            passes = parse_pipeline(pipeline)
        except UsageError as error:
            return _levels(program, levels, data, f"The passes of this program cannot run again: {error}")
        stages = run_pipeline(first, passes, Context(data, progress), check=False)
        last = stages[-1].graph if stages else first
        note = ""
        if last != program.graph("spiking"):
            note = "The passes were run again with the given calibration data, which are not those of the program: scales differ."
            graphs = {FLOAT: first, **{stage.graph.level: stage.graph for stage in stages if stage.graph.level != FLOAT}}
            program = Program(graphs, program.facts)
        return _Compiled(first, stages, program, data, pipeline, note)
    note = "A program keeps three levels: give --calibration to run its passes again and see each of them."
    return _levels(program, levels, None, note)


def _levels(program: Program, levels: Sequence[str], data: dict[str, np.ndarray] | None, note: str) -> _Compiled:
    """The levels of a program, without the passes between them."""
    stages = [_stage(number, program.graph(level)) for number, level in enumerate(levels[1:], 1)]
    return _Compiled(program.graph(levels[0]), stages, program, data, program.facts.pipeline or "", note)


def _stage(number: int, graph: Graph) -> Stage:
    """A level of a program, which stands for all passes up to it."""
    (last,) = parse_pipeline("substitute-neurons" if graph.level == SPIKING else "quantize-weights")
    return Stage(number, last, graph, True, 0.0, (), {})


def _sizes(graph: Graph, data: Mapping[str, np.ndarray] | None) -> dict[str, int]:
    """Numbers for open sizes: those of the data with a batch of 1, else 1 for the batch alone."""
    return {"N": 1} if data is None else {**bind_sizes(graph, data), "N": 1}


def _import_record(graph: Graph, shown: int) -> dict[str, object]:
    return {
        "number": 0,
        "name": "import",
        "text": "import",
        "level": graph.level,
        "exact": True,
        "error": "",
        "changed": True,
        "seconds": 0.0,
        "nodes": sum(1 for _ in graph.walk()),
        "rewrites": {},
        "remarks": list(graph.notes),
        "summary": "The model as the frontend imports it.",
        "graph": shown,
    }


def _pass_record(stage: Stage, shown: int) -> dict[str, object]:
    return {
        "number": stage.number,
        "name": stage.pass_.name,
        "text": str(stage.pass_),
        "level": stage.graph.level,
        "exact": not stage.pass_.error,
        "error": stage.pass_.error,
        "changed": stage.changed,
        "seconds": round(stage.seconds, 6),
        "nodes": sum(1 for _ in stage.graph.walk()),
        "rewrites": dict(stage.rewrites),
        "remarks": list(stage.remarks),
        "summary": stage.pass_.summary(),
        "graph": shown,
    }


def _losses(compiled: _Compiled, most: int, sensitivity: bool | None, progress: Progress | None) -> dict[str, object]:
    """What quantization cost: of every value that became levels (by name), of every weight, and of the outputs."""
    program, data = compiled.program, compiled.data
    empty: dict[str, object] = {"losses": {}, "weights": [], "distances": [], "warnings": []}
    if program is None:
        return empty
    known = {
        "distances": [item.facts() for item in program.distances],
        "warnings": [asdict(item) for item in program.warnings],
    }
    steps = quantization_steps(compiled.stages)
    if steps is None or data is None:
        return {**empty, **known}
    losses = measure_losses(steps.calibrated, steps.quantized, data, most)
    macs = dense_macs(program.graph("quantized"), data)
    rounded = rounded_weights(steps)
    executions = len(losses.activations) + len(rounded)
    work = executions * min(most, 4) * max(macs.spiking + macs.host, 1)
    wanted = work <= _SENSITIVITY_WORK if sensitivity is None else sensitivity
    outputs = _alone(steps, data, losses.activations, rounded, progress) if wanted else {}
    found = {}
    for loss in losses.activations:
        facts = {key: value for key, value in vars(loss).items() if key != "levels"}
        levels = {"scale": loss.levels.scale, "lo": loss.levels.lo, "hi": loss.levels.hi}
        found[loss.name] = {**facts, **levels, "output_db": outputs.get(("value", loss.name))}
    weights = [{**asdict(loss), "output_db": outputs.get(("weight", loss.name))} for loss in losses.weights]
    return {**known, "losses": found, "weights": weights}


def _alone(
    steps: QuantizationSteps,
    data: Mapping[str, np.ndarray],
    activations: Sequence[Any],
    rounded: Mapping[str, np.ndarray],
    progress: Progress | None,
) -> dict[tuple[str, str], float]:
    """The SQNR of the worst output in dB where one value, or one weight, alone is quantized."""
    partial = Partial(steps.calibrated, data, 4)
    found: dict[tuple[str, str], float] = {}
    total = len(activations) + len(rounded)
    for loss in activations:
        found["value", loss.name] = partial.sqnr({loss.observed: loss.levels})
        if progress is not None:
            progress("one value at a time", len(found), total)
    for name, array in rounded.items():
        found["weight", name] = partial.sqnr({}, {name: array})
    return found


def _run(compiled: _Compiled, most: int) -> dict[str, object]:
    """Spikes, operations and steps of the spiking network on the samples that values were looked at on, as means."""
    if compiled.program is None or compiled.data is None:
        return {}
    inputs = first_samples(compiled.program.graph("spiking"), compiled.data, most)
    result = compiled.program.run(inputs)
    return {
        "samples": len(result.steps),
        "settled": result.settled,
        "spikes": {name: float(array.mean()) for name, array in result.spikes.items()},
        "synops": {name: float(array.mean()) for name, array in result.synops.items()},
        "windows": list(result.windows),
        "steps": [int(steps) for steps in result.steps.max(axis=0)],
        "bounds": compiled.program.bounds(bind_sizes(compiled.program.graph("spiking"), inputs)),
    }
