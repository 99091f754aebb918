"""The benchmark, with snnir alone (no torch): the committed teachers as exact spiking networks on MNIST's test images.

    python -m examples.smnist.evaluate [--model smnist psmnist] [--images 10000] [--side 1000] [--data out/mnist]

For each teacher: accuracy of the float, the quantized and the spiking network, every integer compared, steps against their
certified bounds, spikes, synaptic operations and energy, on `--images` test images. Then, on the first `--side` of them:
caps on steps, all deliveries and executions, and other numbers of bits, converted as it is and, where committed, trained for
them.
Stop at any time and give the same command again to go on. Written: results.json and pictures in `--output`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import snnir
from examples.smnist.measure import Line, measure, summary
from examples.smnist.mnist import DEFAULT_FOLDER, as_sequence, read_split
from examples.smnist.plots import plot_bits, plot_caps, plot_curve, plot_propagation
from examples.smnist.propagation import propagation
from snnir import Program
from snnir.frontends.onnx import run_onnxruntime

ARTEFACTS = Path(__file__).parent / "artefacts"
CALIBRATION = 512
"""How many training images set the scales of networks that are converted, not trained for their bits."""
CAPS = (1, 2, 4, 8, 16, 32, 64, 128)
BITS = (2, 3, 4, 6, 8)
MAIN = 4
"""The bits of the network that all of the images are run through."""

Row = dict[str, Any]


def teachers() -> dict[str, tuple[Path, dict[int, Path]]]:
    """The committed teachers by task: the float network, and those trained for few bits (`<name>-<bits>bit.snnir`)."""
    found = {}
    for path in sorted(ARTEFACTS.glob("*.onnx")):
        programs = {int(file.stem.rpartition("-")[2][:-3]): file for file in sorted(ARTEFACTS.glob(f"{path.stem}-*bit.snnir"))}
        found[path.stem.removesuffix("-crnn")] = (path, programs)
    return found


def digest(*parts: object) -> str:
    """What tells one program from another: files by their bytes, options by their text."""
    return sha256(b"".join(part.read_bytes() if isinstance(part, Path) else repr(part).encode() for part in parts)).hexdigest()


def side_lines(program: Program, source: str) -> Iterator[Line]:
    """Every delivery with every execution."""
    for delivery in ("relay", "replay", "graded"):
        for execution in ("reset", "carry"):
            yield Line(f"{delivery}-{execution}", program, source, delivery=delivery, execution=execution)


def float_accuracy(path: Path, x: np.ndarray, labels: np.ndarray) -> float:
    """The teacher as ONNX Runtime computes it."""
    right = 0
    for start in range(0, len(x), 500):
        (logits,) = run_onnxruntime(path, {"x": x[start : start + 500]}, {"x": 0, "logits": 0}).values()
        right += int((logits.argmax(1) == labels[start : start + 500]).sum())
    return right / len(x)


def evaluate(name: str, arguments: argparse.Namespace, console: Console) -> Row:
    """All measurements of one teacher."""
    onnx, trained = teachers()[name]
    path = trained[MAIN]
    test, train = read_split("test", arguments.data), read_split("train", arguments.data)
    x, labels = as_sequence(test.images[: arguments.images], name), test.labels[: arguments.images]
    few, answers = x[: arguments.side], labels[: arguments.side]
    program, source = snnir.load(path), digest(path)
    folder = arguments.output / name

    def run(line: Line, x: np.ndarray, labels: np.ndarray) -> Row:
        with console.status(f"{name}, {line.name}") as status:

            def progress(done: int, total: int) -> None:
                status.update(f"{name}, {line.name}: {done:,} of {total:,} images")

            row = summary(line, measure(line, x, labels, folder, arguments.threads, progress), x)
        console.print(f"{name}, {line.name}: {100 * row['spiking']:.2f} %, {row['seconds']} s")
        return row

    results: Row = {"float": float_accuracy(onnx, x, labels), "program": path.name, "images": len(x)}
    results["main"] = run(Line("main", program, source), x, labels)
    results["caps"] = [run(Line(f"cap-{cap}", program, source, steps=cap, verify=False), few, answers) for cap in arguments.caps]
    results["executions"] = [run(line, few, answers) for line in side_lines(program, source)]
    rows = []
    calibration = as_sequence(train.images[:CALIBRATION], name)
    for bits in arguments.bits:
        converted = snnir.compile(onnx, calibration=calibration, bits=bits)
        line = Line(f"converted-{bits}bit", converted, digest(onnx, bits, CALIBRATION))
        rows.append({"bits": bits, "trained": False} | run(line, few, answers))
    for bits, file in trained.items():
        line = Line(f"trained-{bits}bit", snnir.load(file), digest(file))
        rows.append({"bits": bits, "trained": True} | run(line, few, answers))
    results["bits"] = rows
    results["propagation"] = propagation(program, few[: arguments.propagation])
    return results


def tables(name: str, results: Row) -> Iterator[Table]:
    """What is printed of one teacher."""
    main = results["main"]
    accuracies = (results["float"], main["quantized"], main["spiking"])
    table = Table("what", "value", title=f"{name}: {results['program']}, {results['images']:,} test images", title_justify="left")
    table.add_row("accuracy: float, quantized, spiking", " ".join(f"{100 * v:.2f} %" for v in accuracies))
    table.add_row("mismatches", f"{main['mismatches']:,} of {main['compared']:,} integers")
    table.add_row("steps an element: mean, most, certified", f"{main['steps_mean']:.2f}, {main['steps_max']}, {main['bound']}")
    table.add_row("within certified bounds", "all" if main["within_bounds"] else "NO")
    table.add_row("spikes an image", f"{main['spikes']:,.0f}")
    table.add_row("synaptic operations an image (of them charges)", f"{main['synops']:,.0f} ({main['charges']:,.0f})")
    table.add_row("dense multiply-accumulates", f"{main['macs']:,}")
    table.add_row("energy estimate, spiking, dense", f"{main['energy_spiking_nj']:,.0f} nJ, {main['energy_dense_nj']:,.0f} nJ")
    table.add_row("time: simulation, all", f"{main['simulation_seconds']} s, {main['seconds']} s")
    yield table
    table = Table(
        "cap on steps",
        "accuracy",
        "neurons unsettled an image",
        "spikes",
        title="caps on steps (first images)",
        title_justify="left",
    )
    for row in results["caps"]:
        table.add_row(str(row["cap"]), f"{100 * row['spiking']:.2f} %", f"{row['unsettled']:,.1f}", f"{row['spikes']:,.0f}")
    yield table
    title = "deliveries and executions; bits, converted as it is and trained for them (wrong: mismatches)"
    columns = ("line", "images", "quantized", "spiking", "wrong", "steps: mean, most, bound", "spikes", "synops")
    table = Table(*columns, title=title, title_justify="left")
    for row in [*results["executions"], *results["bits"]]:
        table.add_row(
            str(row["line"]),
            f"{row['images']:,}",
            f"{100 * row['quantized']:.2f} %",
            f"{100 * row['spiking']:.2f} %",
            f"{row['mismatches']:,}",
            f"{row['steps_mean']:.1f}, {row['steps_max']}, {row['bound']}",
            f"{row['spikes']:,.0f}",
            f"{row['synops']:,.0f}",
        )
    yield table


def main() -> None:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", nargs="+", choices=list(teachers()), default=list(teachers()))
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--side", type=int, default=1_000)
    parser.add_argument("--propagation", type=int, default=200, help="images of the error-propagation experiment")
    parser.add_argument("--caps", type=int, nargs="*", default=list(CAPS))
    parser.add_argument("--bits", type=int, nargs="*", default=list(BITS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--data", type=Path, default=DEFAULT_FOLDER)
    parser.add_argument("--output", type=Path, default=Path("out/smnist-evaluation"))
    arguments = parser.parse_args()
    console = Console()
    arguments.output.mkdir(parents=True, exist_ok=True)
    curves = {name: json.loads((ARTEFACTS / f"{name}-crnn.curve.json").read_text(encoding="utf-8")) for name in teachers()}
    plot_curve(curves, arguments.output / "curve.png")
    wrong = 0
    for name in arguments.model:
        results = evaluate(name, arguments, console)
        (arguments.output / f"{name}.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        plot_caps(results, arguments.output / f"{name}-caps.png")
        plot_bits(results, arguments.output / f"{name}-bits.png")
        plot_propagation(results["propagation"], arguments.output / f"{name}-propagation.png")
        for table in tables(name, results):
            console.print(table)
        wrong += int(results["main"]["mismatches"]) + int(not results["main"]["within_bounds"])
    console.print(f"written: {arguments.output}")
    if wrong:
        sys.exit("the spiking network is not the quantized one: please report this")


if __name__ == "__main__":
    main()
