"""What quantization costs real models: snnir at several numbers of bits beside ONNX Runtime's static int8 quantizer.

    python -m benchmarks.accuracy captcha=captcha.onnx,calibration.npy,held-back.npy --bits 4 8

Each model is a name, an ONNX file, calibration inputs, held-back inputs and, where the first output is scores of classes, labels.
Inputs are `.npy` files, or `.npz` files by input name. Nothing is downloaded. The table compares every output of the held-back
samples with ONNX Runtime's float output. Beside snnir stands `onnxruntime.quantization.quantize_static` (QDQ, per channel,
MinMax) with the same calibration data.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import logging
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

import snnir
from snnir.ir import Graph, Value
from snnir.ir.execute import execute
from snnir.ir.ops import MultiThreshold, Requantize
from snnir.runtime.accuracy import Distance, Meter
from snnir.runtime.inputs import as_inputs, sample_count, samples

__all__ = ["Row", "Subject", "main", "measure", "table"]

_CHUNK = 16


@dataclass(frozen=True)
class Subject:
    """A model with its data."""

    name: str
    model: Path
    calibration: Path
    held_back: Path
    labels: Path | None = None

    @classmethod
    def read(cls, text: str) -> Subject:
        """`NAME=MODEL,CALIBRATION,HELD_BACK[,LABELS]`."""
        name, sign, rest = text.partition("=")
        paths = [Path(part) for part in rest.split(",")]
        if not sign or len(paths) not in (3, 4):
            raise argparse.ArgumentTypeError(f"{text!r}: give NAME=MODEL,CALIBRATION,HELD_BACK or NAME=MODEL,...,LABELS")
        return cls(name, *paths)


@dataclass(frozen=True)
class Row:
    """One output of one model, quantized one way, against the float model on held-back samples."""

    model: str
    method: str
    output: str
    sqnr: float
    correlation: float | None
    agreement: float | None
    accuracy: float | None
    float_accuracy: float | None
    seconds: float
    """To quantize the model."""
    spikes: float | None = None
    """Spikes of a sample at least: the magnitudes of all levels, summed up."""


def _arrays(path: Path) -> np.ndarray | dict[str, np.ndarray]:
    found = np.load(path)
    return found if isinstance(found, np.ndarray) else dict(found)


def measure(subject: Subject, bits: Sequence[int], weight_bits: int, options: Mapping[str, Any], other: bool) -> Iterator[Row]:
    """The rows of one model: snnir for each of `bits`, and ONNX Runtime's quantizer where `other` says so."""
    from snnir.frontends.onnx import run_onnxruntime

    calibration, held_back = _arrays(subject.calibration), _arrays(subject.held_back)
    graph = snnir.import_model(subject.model)
    data = as_inputs(graph, held_back)
    axes = {name: value.type.batch_axis or 0 for name, value in _named(graph).items()}
    expected = run_onnxruntime(subject.model, data, axes)
    labels = None if subject.labels is None else np.load(subject.labels)
    for number in bits:
        started = time.perf_counter()
        program = snnir.compile(
            subject.model, calibration=calibration, bits=number, weight_bits=weight_bits, check=False, **options
        )
        seconds = time.perf_counter() - started
        found, spikes = _quantized(program.graph("quantized"), data)
        yield from _rows(subject.name, f"snnir, {number} bits", graph, expected, found, labels, seconds, spikes)
    if other:
        started = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            target = _static(subject.model, as_inputs(graph, calibration), graph, Path(folder))
            seconds = time.perf_counter() - started
            found = run_onnxruntime(target, data, axes)
        yield from _rows(subject.name, "ONNX Runtime, 8 bits", graph, expected, found, labels, seconds)


def _named(graph: Graph) -> dict[str, Value]:
    return {**{value.name: value for value in graph.inputs}, **graph.outputs}


def _quantized(graph: Graph, data: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], float]:
    """The quantized network: what the spiking one settles to (`snnir verify`); and the least spikes of a sample."""
    total, parts, spikes = sample_count(graph, data), [], 0

    def count(value: Value, levels: np.ndarray) -> None:
        nonlocal spikes
        if value.producer is not None and isinstance(value.producer.op, Requantize | MultiThreshold):
            spikes += int(np.abs(levels).sum())

    for start in range(0, total, _CHUNK):
        parts.append(execute(graph, samples(graph, data, start, min(start + _CHUNK, total)), count))
    found = {
        name: np.concatenate([part[name] for part in parts], value.type.batch_axis or 0) for name, value in graph.outputs.items()
    }
    return found, spikes / total


def _rows(
    model: str,
    method: str,
    graph: Graph,
    expected: Mapping[str, np.ndarray],
    found: Mapping[str, np.ndarray],
    labels: np.ndarray | None,
    seconds: float,
    spikes: float | None = None,
) -> Iterator[Row]:
    for position, (name, value) in enumerate(graph.outputs.items()):
        meter = Meter(name, value.type)
        meter.add(expected[name], found[name])
        distance: Distance = meter.distance()
        right: tuple[float | None, float | None] = (None, None)
        if labels is not None and position == 0:
            shares = [float((array[name].argmax(axis=-1) == labels).mean()) for array in (found, expected)]
            right = (shares[0], shares[1])
        yield Row(
            model,
            method,
            name,
            distance.sqnr,
            distance.correlation,
            distance.agreement,
            *right,
            seconds,
            spikes,
        )


class _Reader:
    """Calibration data one sample at a time, as ONNX Runtime's quantizer takes them."""

    def __init__(self, graph: Graph, data: Mapping[str, np.ndarray]) -> None:
        self.pieces = iter([samples(graph, data, start, start + 1) for start in range(sample_count(graph, data))])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.pieces, None)


def _static(model: Path, data: Mapping[str, np.ndarray], graph: Graph, folder: Path) -> Path:
    """The model quantized by ONNX Runtime: 8 bits, weights per channel."""
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quant_pre_process, quantize_static

    raised, prepared, target = folder / "raised.onnx", folder / "prepared.onnx", folder / "quantized.onnx"
    loaded = onnx.load(model)
    versions = [entry.version for entry in loaded.opset_import if entry.domain in ("", "ai.onnx")]
    if max(versions) < 13:  # per-channel QuantizeLinear came with operator set 13
        loaded = onnx.version_converter.convert_version(loaded, 13)
    onnx.save(loaded, raised)
    logging.disable(logging.WARNING)
    with contextlib.redirect_stdout(io.StringIO()):
        quant_pre_process(str(raised), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(target),
            _Reader(graph, data),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
    logging.disable(logging.NOTSET)
    return target


def table(rows: Sequence[Row]) -> str:
    """The rows in Markdown."""
    lines = ["| model | output | quantized by | SQNR (dB) | correlation | arg-max agreement | accuracy (float) | spikes |"]
    lines.append("| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |")
    for row in rows:
        correlation = "" if row.correlation is None else f"{row.correlation:.4f}"
        agreement = "" if row.agreement is None else f"{100 * row.agreement:.1f} %"
        right = "" if row.accuracy is None else f"{100 * row.accuracy:.2f} % ({100 * (row.float_accuracy or 0):.2f} %)"
        spikes = "" if row.spikes is None else f"{row.spikes:,.0f}"
        numbers = f"{row.sqnr:.1f} | {correlation} | {agreement} | {right} | {spikes}"
        lines.append(f"| {row.model} | {row.output} | {row.method} | {numbers} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the models that `arguments` name, and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accuracy", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("subjects", nargs="+", type=Subject.read, metavar="NAME=MODEL,CALIBRATION,HELD_BACK[,LABELS]")
    parser.add_argument("--bits", nargs="+", type=int, default=[4, 8])
    parser.add_argument("--weight-bits", type=int, default=8)
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="an option of snnir.compile")
    parser.add_argument("--snnir-only", action="store_true", help="leave ONNX Runtime's quantizer out")
    parser.add_argument("--json", type=Path, help="a file for the rows")
    given = parser.parse_args(arguments)
    options = {name: _value(text) for name, _, text in (item.partition("=") for item in given.option)}
    rows: list[Row] = []
    for subject in given.subjects:
        print(subject.name, file=sys.stderr)
        rows += measure(subject, given.bits, given.weight_bits, options, not given.snnir_only)
    print(table(rows))
    if given.json is not None:
        given.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")
    return 0


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


if __name__ == "__main__":
    sys.exit(main())
