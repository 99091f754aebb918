"""The demo: a real CRNN, real handwritten digits, a spiking network, and not one integer of difference."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np

import snnir
from snnir.cli import report
from snnir.cli.plots import accuracy_in_terminal
from snnir.errors import UsageError
from snnir.runtime.comparison import compare_executions
from snnir.runtime.costs import ENERGY_SOURCE
from snnir.runtime.program import Program
from snnir.views.figures import accuracy_figure, families_figure, raster_figure
from snnir.views.recordings import population_names, recording

__all__ = ["run_demo"]


def run_demo(output: Path, bits: int, weight_bits: int, json: bool) -> bool:
    """Compile, run, verify and print; pictures and the program go to `output`. Returns whether everything was exact."""
    from snnir.frontends.onnx import run_onnxruntime

    with as_file(files("snnir") / "data") as folder:
        model = (folder / "digits-crnn.onnx").read_bytes()
        with np.load(folder / "digits.npz", allow_pickle=False) as archive:
            calibration, x, labels = archive["calibration"], archive["test"], archive["labels"]
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write into {output}: {error.strerror}; give --output a folder that can be made") from error
    with report.progress("compiling", quiet=json) as advance:
        program = snnir.compile(
            model, calibration=calibration, bits=bits, weight_bits=weight_bits, dump_ir=output / "ir", progress=advance
        )
        program.save(output / "digits.snnir")
    graph = program.graph("float")
    name = graph.inputs[0].name
    float_outputs = run_onnxruntime(model, {name: x})
    with report.simulating("simulating", json) as advance:
        advance("simulating", 0, 4)
        result = program.run(x, trace=True)
        advance("verifying", 1, 4)
        verification = program.verify(x)
        carried = program.verify(x, execution="carry")
        advance("cutting windows off", 2, 4)
        comparison = compare_executions(program, {name: x}, known={"reset": result})
        capped = _capped(program, x, labels, verification.bound)
        advance("few-spike neurons", 3, 4)
        families = _families(program, model, calibration, bits, weight_bits, x, labels, capped)
    exact = verification.ok and carried.ok
    traced = next(iter(result.trace.values()))
    curve = [report.accuracy({"y": step}, labels) for step in traced]
    facts: dict[str, object] = {
        **report.run_facts(program, x, result, "relay"),
        "bits": bits,
        "weight_bits": weight_bits,
        "accuracy_float": report.accuracy(float_outputs, labels),
        "accuracy_quantized": report.accuracy(program.reference(x), labels),
        "accuracy_spiking": report.accuracy(result.outputs, labels),
        "compared": verification.compared,
        "mismatches": verification.mismatches,
        "within_bounds": verification.within_bounds,
        "mismatches_carried": carried.mismatches,
        "within_bounds_carried": carried.within_bounds,
        "executions": comparison.facts(),
        "accuracy_by_step": curve,
        "accuracy_by_cap": capped,
        "families": families,
    }
    goal = report.accuracy(float_outputs, labels)
    compared = families_figure(families, goal, output / "neurons.png")
    title = "Handwritten digits: accuracy after each inner step"
    shown = {cap: share for cap, share in capped.items() if cap <= len(curve) + 1}
    picture = accuracy_figure(curve, shown, goal, output / "accuracy.png", title)
    recorded = recording(program, program.run(x[:1], record=population_names(program)))
    raster = raster_figure(recorded, output / "raster.png", "A handwritten digit, as the spikes of all neurons")
    if not json:
        accuracy_in_terminal(curve, capped)
    if json:
        report.print_json(facts)
        return exact
    verdict, carried_verdict = ("exact" if ok else "NOT EXACT" for ok in (verification.ok, carried.ok))
    quantized = f"quantized ({bits}-bit activations, {weight_bits}-bit weights)"
    synops, charges = facts["synops_per_sample"], facts["charges_per_sample"]
    spiking, dense = facts["energy_spiking_nj"], facts["energy_dense_nj"]
    rows = {
        "held-out digits": len(x),
        "accuracy, float (ONNX Runtime)": _percent(facts["accuracy_float"]),
        f"accuracy, {quantized}": _percent(facts["accuracy_quantized"]),
        "accuracy, spiking": _percent(facts["accuracy_spiking"]),
        "mismatches": f"{verification.mismatches} out of {verification.compared:,} integers compared: {verdict}",
        "inner steps per window": f"{facts['steps_mean']:.1f} mean, {facts['steps_max']} most, {facts['steps_bound']} certified",
        "mismatches, neurons carried": f"{carried.mismatches} out of {carried.compared:,}: {carried_verdict}",
        "recurrent layers, per digit": comparison,
        "spikes per digit": f"{facts['spikes_per_sample']:,.1f}",
        "the same with few-spike neurons": _summary(families),
        "synaptic operations per digit": f"{synops:,.0f} ({charges:,.0f} of them charges, which multiply)",
        "dense multiply-accumulates": f"{facts['dense_macs_per_sample']:,}",
        "energy per digit (estimate)": f"{spiking:.1f} nJ spiking, {dense:.1f} nJ dense, both in float32\n{ENERGY_SOURCE}",
        "written": f"{output / 'digits.snnir'}\n{picture}\n{raster}\n{compared}\n{output / 'ir'} (the graph after each pass)",
    }
    report.rows_table("a CRNN for handwritten digits, as a spiking network", rows)
    return exact


def _percent(share: object) -> str:
    return f"{100 * float(str(share)):.2f} %"


def _families(
    program: Program,
    model: bytes,
    calibration: np.ndarray,
    bits: int,
    weight_bits: int,
    x: np.ndarray,
    labels: np.ndarray,
    caps: Iterable[int],
) -> dict[str, list[dict[str, float]]]:
    """Accuracy against spikes and steps: of bif neurons with windows cut off, of few-spike neurons without their last bits."""
    few = [
        snnir.compile(
            model,
            calibration=calibration,
            bits=bits,
            weight_bits=weight_bits,
            neuron="few-spikes",
            omitted_bits=omitted,
            check=False,
        )
        for omitted in range(bits - 1, -1, -1)
    ]
    runs = {"bif": [program.run(x, steps=cap) for cap in caps], "few-spikes": [each.run(x) for each in few]}
    return {
        neuron: [
            {
                "accuracy": report.accuracy(result.outputs, labels),
                "spikes": float(result.total_spikes.mean()),
                "steps": int(result.steps.max(initial=0)),
            }
            for result in results
        ]
        for neuron, results in runs.items()
    }


def _summary(families: dict[str, list[dict[str, float]]]) -> str:
    points = [
        f"{point['spikes']:,.1f} spikes, {point['steps']} steps: {_percent(point['accuracy'])}"
        for point in reversed(families["few-spikes"])
    ]
    left = ["all bits", "without the last bit", *(f"without the last {omitted} bits" for omitted in range(2, len(points)))]
    left = left[: len(points)]
    return "\n".join(f"{text} ({what})" for text, what in zip(points, left, strict=True))


def _capped(program: Program, x: np.ndarray, labels: np.ndarray, bound: int) -> dict[int, float]:
    """Accuracy when every window is cut off after a number of inner steps."""
    caps = sorted({cap for cap in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64) if cap < bound} | {bound})
    return {cap: report.accuracy(program.run(x, steps=cap).outputs, labels) for cap in caps}
