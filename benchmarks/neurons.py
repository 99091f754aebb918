"""Both families of neurons on real models: spikes, synaptic operations, steps and time, with the same quantized network.

    python -m benchmarks.neurons pulsevad=pulsevad.onnx,features.npy --bits 4 8

Each model is a name, an ONNX file, inputs (`.npy`, or `.npz` by input name) and perhaps sizes of named dimensions without a
file (`T=16`): inputs are then drawn from a normal distribution, and the table says so. Nothing is downloaded. The first
samples are run; every settled tracer is compared with the integer reference. Operations are those of `snnir.runtime.costs`.
Times are those of the processor, of one thread. `--json FILE` keeps the rows, and takes those of other models that are there;
`--write docs/neurons.md` puts the tables of all of them in their place.
"""

from __future__ import annotations

import argparse
import datetime
import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnxruntime

import snnir
from benchmarks import report
from snnir.backends.simulator import Simulator
from snnir.ir import Graph
from snnir.ir.execute import drawn
from snnir.passes import Context, parse_pipeline, run_pipeline
from snnir.runtime.costs import ENERGY_TABLES, Operations, dense_macs, operations_of
from snnir.runtime.inputs import samples
from snnir.runtime.verification import integer_counts

__all__ = ["Row", "Subject", "energies", "main", "measure", "table"]

_PIPELINE = "substitute-neurons{{neuron={}}},remove-dead-code,schedule-phases"
NEURONS = ("bif", "few-spikes")
BEGIN_TABLE = "<!-- spikes, operations, steps and time: written by python -m benchmarks.neurons -->"
BEGIN_ENERGY = "<!-- energy: written by python -m benchmarks.neurons -->"


@dataclass(frozen=True)
class Subject:
    """A model with its inputs, or the sizes to draw inputs of."""

    name: str
    model: Path
    inputs: Path | None
    sizes: Mapping[str, int]

    @classmethod
    def read(cls, text: str) -> Subject:
        """`NAME=MODEL[,INPUTS][,SIZE=N...]`."""
        name, sign, rest = text.partition("=")
        model, *others = rest.split(",")
        sizes = dict(part.split("=") for part in others if "=" in part)
        files = [Path(part) for part in others if "=" not in part]
        if not sign or len(files) > 1 or not all(size.isdecimal() for size in sizes.values()):
            raise argparse.ArgumentTypeError(f"{text!r}: give NAME=MODEL[,INPUTS][,SIZE=N...]")
        return cls(name, Path(model), files[0] if files else None, {key: int(size) for key, size in sizes.items()})

    def load(self, graph: Graph, count: int) -> dict[str, np.ndarray]:
        """Inputs by name: the file's, or `count` samples of drawn ones."""
        if self.inputs is not None:
            found = np.load(self.inputs)
            return {graph.inputs[0].name: found} if isinstance(found, np.ndarray) else dict(found)
        rng = np.random.default_rng(0)
        sizes = {"N": count, **self.sizes}
        shapes = {value: value.type.substitute(dict(sizes)).static_shape(value.name) for value in graph.inputs}
        return {value.name: drawn(value.type, shape, rng) for value, shape in shapes.items()}


@dataclass(frozen=True)
class Row:
    """One model, number of bits and family of neurons; counts are means over samples."""

    model: str
    bits: int
    neuron: str
    mismatches: int
    spikes: float
    synops_per_mac: float
    charges_per_mac: float
    steps_mean: float
    """Over windows."""
    steps_most: int
    steps_sample: float
    """Of all windows of a sample, one after the other."""
    milliseconds: float
    """Of the processor, a sample, one thread."""
    float_milliseconds: float
    """ONNX Runtime's float pass of a sample, the same."""
    samples: int
    drawn: bool
    arithmetic: dict[str, float]
    """Nanojoules a sample by technology, and of the dense int8 and float32 networks."""
    memory: dict[str, float]
    date: str


def measure(subject: Subject, bits: Sequence[int], count: int, gates: str = "table") -> Iterator[Row]:
    """Rows of one model, both families for each number of bits."""
    date = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d")
    graph = snnir.import_model(subject.model)
    data = subject.load(graph, count)
    few = samples(graph, data, 0, count)
    reference = _float_milliseconds(subject.model, few, count)
    for number in bits:
        program = snnir.compile(subject.model, calibration=data, bits=number, gates=gates, check=False)
        quantized = program.graph("quantized")
        macs = max(dense_macs(quantized, few).spiking, 1)
        for neuron in NEURONS:
            spiking = run_pipeline(quantized, parse_pipeline(_PIPELINE.format(neuron)), Context(few), check=False)[-1].graph
            simulator = Simulator(spiking)
            first = samples(graph, few, 0, 1)
            result, expected = simulator.run(first, counts=True, threads=1), integer_counts(quantized, spiking, first)
            wrong = sum(int((result.counts[name] != levels).sum()) for name, levels in expected.items())
            since = time.process_time()
            result = simulator.run(few, threads=1)
            elapsed = time.process_time() - since
            yield Row(
                subject.name,
                number,
                neuron,
                wrong,
                float(result.total_spikes.mean()),
                float(result.total_synops.mean()) / macs,
                float(result.total_charges.mean()) / macs,
                float(result.steps.mean()),
                int(result.steps.max(initial=0)),
                float(result.steps.sum(axis=1).mean()),
                1e3 * elapsed / len(result.steps),
                reference,
                len(result.steps),
                subject.inputs is None,
                *_energy(operations_of(spiking, few, result), macs),
                date,
            )


def _energy(spiking: Operations, macs: int) -> tuple[dict[str, float], dict[str, float]]:
    arithmetic, memory = {}, {}
    for name, costs in ENERGY_TABLES.items():
        for kind, operations in (("spiking", spiking), ("int8", Operations.dense(macs))):
            arithmetic[f"{kind}, {name}"] = operations.arithmetic(costs)
            memory[f"{kind}, {name}"] = operations.memory(costs)
        arithmetic[f"float32, {name}"] = macs * costs.float_mac / 1e3
    return arithmetic, memory


def energies(rows: Sequence[Row]) -> str:
    """A Markdown table of energy a sample in microjoules: arithmetic + memory accesses."""
    kinds = [f"{kind}, {name}" for name in ENERGY_TABLES for kind in ("spiking", "int8", "float32")]
    head = "| model | bits | neuron | " + " | ".join(kinds) + " |"
    lines = [head, re.sub(r"[^|]+", " --- ", head)]
    for row in rows:
        cells = [
            _number(row.arithmetic[kind] / 1e3) + (f" + {_number(row.memory[kind] / 1e3)}" if kind in row.memory else "")
            for kind in kinds
        ]
        lines.append(f"| {row.model} | {row.bits} | {row.neuron} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _number(value: float) -> str:
    """Three digits, and all those before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _float_milliseconds(model: Path, inputs: Mapping[str, np.ndarray], count: int) -> float:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    given = {value.name: inputs[value.name] for value in session.get_inputs() if value.name in inputs}
    try:
        session.run(None, given)
        since = time.process_time()
        session.run(None, given)
    except Exception:  # a model of a fixed batch, or with inputs that snnir knows otherwise: no time to compare with
        return float("nan")
    return 1e3 * (time.process_time() - since) / count


def table(rows: Sequence[Row]) -> str:
    """A Markdown table."""
    head = (
        "| model | bits | neuron | spikes a sample | fewer | synaptic operations per MAC (of these multiply) "
        "| steps of a window, mean (most) | steps of all windows | ms | of a float pass |"
    )
    lines = [head, re.sub(r"[^|]+", " --- ", head)]
    for row in rows:
        pair = next(other for other in rows if (other.model, other.bits, other.neuron) == (row.model, row.bits, "bif"))
        fewer = f"{pair.spikes / max(row.spikes, 1):.1f}x" if row.neuron != "bif" else ""
        name = f"{row.model} (drawn inputs)" if row.drawn else row.model
        cells = [name, row.bits, row.neuron, f"{row.spikes:,.0f}", fewer, f"{row.synops_per_mac:.2f} ({row.charges_per_mac:.2f})"]
        cells += [f"{row.steps_mean:.1f} ({row.steps_most})", f"{row.steps_sample:,.0f}", _number(row.milliseconds)]
        known = row.float_milliseconds == row.float_milliseconds  # else it could not be run as it is: no number
        cells += [f"{_number(row.milliseconds / row.float_milliseconds)}x" if known else "-"]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.neurons", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("subjects", nargs="*", type=Subject.read, metavar="NAME=MODEL[,INPUTS][,SIZE=N]")
    parser.add_argument("--bits", nargs="+", type=int, default=[4, 8])
    parser.add_argument("--samples", type=int, default=2)
    parser.add_argument("--gates", choices=("table", "product"), default="table")
    parser.add_argument("--json", type=Path, help="the rows of all models, those measured before included")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="replace the tables of a Markdown page")
    given = parser.parse_args(arguments)
    kept = json.loads(given.json.read_text(encoding="utf-8")) if given.json is not None and given.json.exists() else []
    rows = [Row(**row) for row in kept]
    for subject in given.subjects:
        for row in measure(subject, given.bits, given.samples, given.gates):
            rows = [other for other in rows if _key(other) != _key(row)] + [row]
            print(f"{row.model} {row.bits} {row.neuron}: {row.mismatches} mismatches, {row.spikes:,.0f} spikes", flush=True)
            if given.json is not None:
                given.json.write_text(json.dumps([asdict(row) for row in rows], indent=1), encoding="utf-8")
    print(table(rows))
    print("Microjoules a sample, arithmetic + memory accesses:")
    print(energies(rows))
    if given.write is not None:
        report.write(given.write, f"{_about(rows)}\n\n{table(rows)}", BEGIN_TABLE)
        report.write(given.write, energies(rows), BEGIN_ENERGY)
    return 1 if any(row.mismatches for row in rows) else 0


def _key(row: Row) -> tuple[str, int, str]:
    return row.model, row.bits, row.neuron


def _about(rows: Sequence[Row]) -> str:
    wrong, dates = sum(row.mismatches for row in rows), sorted({row.date for row in rows})
    return f"{wrong} mismatches in all rows. Measured on {' and '.join(dates)}; times are of the processor, one thread."


if __name__ == "__main__":
    raise SystemExit(main())
