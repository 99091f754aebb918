"""The data of a report: what programs did on a data set, how well, how soon, and at what price."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

import numpy as np

from snnir.compiler.importing import model_outputs
from snnir.compiler.losses import measure_losses
from snnir.compiler.sensitivity import Partial, quantization_steps, rounded_weights
from snnir.errors import SnnirError, UsageError
from snnir.ir import FLOAT
from snnir.ir.execute import bind_sizes, execute
from snnir.ir.phases import FEW_SPIKES, INTEGRATE_FIRE
from snnir.machine.results import SimulationResult
from snnir.passes import Context, parse_pipeline, run_pipeline
from snnir.runtime.accuracy import Meter, worst_sqnr
from snnir.runtime.costs import ACCUMULATE_PJ, ENERGY_SOURCE, ENERGY_TABLES, MAC_PJ, dense_macs, operations_of
from snnir.runtime.inputs import as_inputs, first_samples, sample_count
from snnir.runtime.program import Program
from snnir.runtime.summary import run_facts
from snnir.runtime.totals import right_answers
from snnir.version import __version__
from snnir.views.page import Page
from snnir.views.recordings import layers, neuron_spikes, population_names, populations, recording

__all__ = ["CAPS", "report", "report_data"]

CAPS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
"""Inner steps after which every window is cut off, as far as they are below the certified bound."""
_SENSITIVITY_WORK = 20_000_000_000
"""Multiply-accumulates up to which every value is quantized alone."""
_LOSS_SAMPLES = 8
_CALIBRATION_SAMPLES = 256
_WORK = 400_000_000

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class _Data:
    inputs: Mapping[str, np.ndarray]
    labels: np.ndarray | None
    model: Any
    sample: int
    traced: Mapping[str, Collection[int]]


def report(
    programs: Program | Mapping[str, Program],
    x: np.ndarray | Mapping[str, np.ndarray],
    labels: np.ndarray | None = None,
    **options: Any,
) -> Page:
    """The report of one program, or of several by name, on a data set as a page. Takes what `report_data` takes."""
    named = {programs.graph("spiking").name: programs} if isinstance(programs, Program) else programs
    return Page("report", f"snnir report: {', '.join(named)}", report_data(named, x, labels, **options))


def report_data(
    programs: Mapping[str, Program],
    x: np.ndarray | Mapping[str, np.ndarray],
    labels: np.ndarray | None = None,
    *,
    model: Any = None,
    deliveries: Sequence[str] = ("relay",),
    executions: Sequence[str] = ("reset",),
    sample: int = 0,
    losses: bool = True,
    traced: Mapping[str, Collection[int]] | None = None,
    progress: Progress | None = None,
) -> dict[str, object]:
    """Everything that `snnir report` shows, for JSON.

    `programs` by the names to show them under, all of which take `x`; `labels` are class indices or words, [N]. `model` is
    the model itself, with which the outputs are compared in place of the float graph. Every program runs with each delivery
    and execution; `sample` is the one whose spikes are drawn. `losses` measures what quantization cost, value by value. `traced`
    are addresses of neurons, by population, whose membranes are wanted beside those of the neurons that fire most. Raises
    `InputError`, `UsageError`.
    """
    if not programs:
        raise UsageError("a report needs at least one program")
    variants: list[dict[str, object]] = []
    kinds = list(product(programs, deliveries, executions))
    for place, (name, delivery, execution) in enumerate(kinds):
        program = programs[name]
        inputs = as_inputs(program.graph("spiking"), x)
        total = sample_count(program.graph("spiking"), inputs)
        if not 0 <= sample < total:
            raise UsageError(f"sample {sample} is not among the {total} that were given; choose one from 0 to {total - 1}")
        for population, addresses in (traced or {}).items():
            _known(program, population, addresses)
        if progress is not None:
            progress(f"running {name}", place, len(kinds))
        variants.append(_variant(name, program, _Data(inputs, labels, model, sample, traced or {}), delivery, execution, losses))
    return {
        "kind": "snnir-report",
        "snnir": __version__,
        "labels": labels is not None,
        "sample": sample,
        "energy": {
            "float_mac": MAC_PJ,
            "float_add": ACCUMULATE_PJ,
            "source": ENERGY_SOURCE,
            "tables": {name: asdict(table) for name, table in ENERGY_TABLES.items()},
        },
        "variants": variants,
    }


def _variant(name: str, program: Program, data: _Data, delivery: str, execution: str, losses: bool) -> dict[str, object]:
    inputs, labels = data.inputs, data.labels
    how: dict[str, Any] = {"delivery": delivery, "execution": execution}
    result = program.run(inputs, trace=program.facts.neuron != INTEGRATE_FIRE, **how)
    own = _own(program, data.model)
    verification = program.verify(inputs, model=own, **how)
    one = {key: array.take([data.sample], axis=_axis(program, key)) for key, array in inputs.items()}
    recorded = program.run(one, record=population_names(program), **how)
    options = program.facts.options or {}
    bound = program.bounds(bind_sizes(program.graph("spiking"), inputs), delivery, execution)
    found: dict[str, object] = {
        "name": name,
        "label": _label(name, delivery, execution),
        "delivery": delivery,
        "execution": execution,
        "neuron": program.facts.neuron or "",
        "options": {key: options[key] for key in ("bits", "weight_bits", "neuron") if key in options},
        "facts": run_facts(program, inputs, result, delivery, execution),
        "accuracy": None if labels is None else _share(result.outputs, labels),
        "accuracy_float": None if labels is None else _share(_float_outputs(program, data, own), labels),
        "verification": {
            "compared": verification.compared,
            "mismatches": verification.mismatches,
            "within_bounds": verification.within_bounds,
            "steps": verification.steps,
            "bound": verification.bound,
            "distances": [item.facts() for item in verification.distances],
        },
        "windows": _windows(result, bound),
        "curve": _curve(result, labels),
        "caps": _caps(program, data, result, max(max(each, default=0) for each in bound.values()), how),
        "layers": layers(program, result),
        "neurons": neuron_spikes(program, inputs, one, how),
        "recording": recording(program, recorded, data.traced),
        "operations": asdict(operations_of(program.graph("spiking"), inputs, result)),
        "macs": asdict(dense_macs(program.graph("quantized"), inputs)),
    }
    if losses and (delivery, execution) == ("relay", "reset"):
        found["losses"] = _losses(program, inputs)
    return found


def _known(program: Program, population: str, addresses: Collection[int]) -> None:
    """Raise `UsageError` for neurons that the program does not have."""
    nodes = populations(program.graph("spiking"))
    if population not in nodes:
        raise UsageError(f"no population {population!r} to trace; there are {', '.join(nodes)}")
    size = int(np.prod([size for size in nodes[population].output.type.shape if isinstance(size, int)], initial=1))
    wrong = [address for address in addresses if not 0 <= address < size]
    if wrong:
        raise UsageError(f"population {population} has no neuron {wrong[0]}; choose one from 0 to {size - 1}")


def _label(name: str, delivery: str, execution: str) -> str:
    more = [word for word, usual in ((delivery, "relay"), (execution, "reset")) if word != usual]
    return f"{name} ({', '.join(more)})" if more else name


def _axis(program: Program, name: str) -> int:
    (value,) = [value for value in program.graph("spiking").inputs if value.name == name]
    return value.type.batch_axis or 0


def _own(program: Program, model: Any) -> Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]] | None:
    if model is None:
        return None
    return lambda chunk: model_outputs(model, program.graph("float"), chunk)


def _float_outputs(program: Program, data: _Data, own: Any) -> Mapping[str, np.ndarray]:
    found: Mapping[str, np.ndarray] = own(data.inputs) if own is not None else execute(program.graph("float"), data.inputs)
    return found


def _share(outputs: Mapping[str, np.ndarray], labels: np.ndarray) -> float:
    return right_answers(outputs, labels) / len(labels)


def _windows(result: SimulationResult, bounds: Mapping[str, Sequence[int]]) -> list[dict[str, object]]:
    """For all outside scans, and for each scan: how many windows took how many steps, and the certified bound of any."""
    groups: dict[str, list[int]] = {}
    for column, name in enumerate(result.windows):
        scan = name.rpartition("[")[0]
        groups.setdefault(scan if scan in bounds else "", []).append(column)
    found: list[dict[str, object]] = []
    for scan, columns in groups.items():
        steps = result.steps[:, columns]
        counts = np.bincount(steps.reshape(-1)).tolist() if steps.size else []
        found.append({"scan": scan, "windows": len(columns), "bound": max(bounds.get(scan, [0])), "counts": counts})
    return found


def _curve(result: SimulationResult, labels: np.ndarray | None) -> list[float]:
    """The share of right answers after each inner step of the last window, all windows before it settled."""
    if labels is None or not result.trace:
        return []
    name, steps = next(iter(result.trace.items()))
    return [_share({name: step}, labels) for step in steps]


def _caps(
    program: Program, data: _Data, settled: SimulationResult, bound: int, how: Mapping[str, Any]
) -> list[dict[str, object]]:
    """What a run gives when every window is cut off after some steps; few-spike neurons, and those on a clock, cannot be."""
    if program.facts.neuron in (FEW_SPIKES, INTEGRATE_FIRE):
        return []
    longest = int(settled.steps.max(initial=0))
    found: list[dict[str, object]] = []
    for cap in (*(cap for cap in CAPS if cap < longest), bound):
        result = settled if cap == bound else program.run(data.inputs, steps=cap, **how)
        found.append(
            {
                "cap": cap,
                "accuracy": None if data.labels is None else _share(result.outputs, data.labels),
                "sqnr_db": _distance(program, settled.outputs, result.outputs),
                "spikes": float(result.total_spikes.mean()),
                "synops": float(result.total_synops.mean()),
                "settled": result.settled,
                "unsettled": result.unsettled,
            }
        )
    return found


def _distance(program: Program, settled: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray]) -> float:
    meters = [Meter(name, value.type) for name, value in program.graph("spiking").outputs.items()]
    for meter in meters:
        meter.add(np.asarray(settled[meter.name]), np.asarray(found[meter.name]))
    return worst_sqnr([meter.distance() for meter in meters])


def _losses(program: Program, inputs: Mapping[str, np.ndarray]) -> dict[str, object]:
    """What each value costs: the SQNR of it with all before it quantized, of its own rounding, and of the worst output where
    it alone is quantized.

    The passes of the program run again with the first samples of the data as calibration data: only the graphs between them
    have float values and levels that stand for one another, since calibration balances the channels of layers.
    """
    try:
        graph, passes = program.graph(FLOAT), parse_pipeline(program.facts.pipeline or "")
        data = first_samples(graph, inputs, _CALIBRATION_SAMPLES)
        steps = quantization_steps(run_pipeline(graph, passes, Context(data), check=False))
    except SnnirError as error:
        return {"values": [], "why": f"the passes do not run on these data: {error}"}
    if steps is None:
        return {"values": [], "why": "the program's pipeline does not quantize activations and weights one after the other"}
    macs = dense_macs(program.graph("quantized"), inputs)
    work = max(macs.spiking + macs.host, 1)
    most = max(1, min(_LOSS_SAMPLES, _WORK // work))
    losses = measure_losses(steps.calibrated, steps.quantized, data, most)
    cheap = work * most * len(losses.activations) <= _SENSITIVITY_WORK
    partial = Partial(steps.calibrated, data, most) if cheap else None
    values = []
    for loss in losses.activations:
        values.append(
            {
                "name": loss.name,
                "option": loss.option,
                "bits": (loss.levels_available - 1).bit_length(),
                "levels": str(loss.levels),
                "sqnr_db": loss.sqnr,
                "alone_db": loss.alone,
                "output_db": None if partial is None else partial.sqnr({loss.observed: loss.levels}),
                "clipped": loss.clipped,
                "used": loss.used,
                "available": loss.levels_available,
            }
        )
    weights = {} if partial is None else rounded_weights(steps)
    return {
        "samples": losses.samples,
        "values": values,
        "weights_db": partial.sqnr({}, weights) if partial is not None and weights else None,
        "values_db": None if partial is None else partial.sqnr({loss.observed: loss.levels for loss in losses.activations}),
    }
