"""Silero VAD as an exact spiking network: voice activity detection by a CRNN that nobody here wrote.

The model (MIT licence, PyPI package silero-vad) is compiled as it is: its STFT stays on the host, its four convolutions, LSTM
and output become spikes. The speech of `speech.npz` is synthetic (`make_speech.py`); one half calibrates, the other is
measured. Printed for 8, 6 and 4 bits and each family of neurons: how far the speech probability is from the float model's, how
often both decide alike at 0.5, the mismatches between spiking and integer network, and what `carry` saves against `reset`.
"""

from __future__ import annotations

import argparse
import json
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

import snnir
from snnir.frontends.onnx import run_onnxruntime

HERE = Path(__file__).parent
NEURONS = ("bif", "few-spikes")
CHUNK, CONTEXT, HIDDEN = 512, 64, 128
STATE_AXES = dict.fromkeys(("h", "c", "hn", "cn"), 1)
"""The batch is axis 1 of states."""
INPUT_BITS = 12
"""The STFT's magnitudes span decades. Inputs are charged at step 0, so that their bits cost no steps."""
STATE_EXTRA = 4
"""Bits of the LSTM's cell state beyond those of activations: its rounding adds up over a sequence."""


def find_model() -> Path:
    """`silero_vad_16k_sequence.onnx` of the installed package."""
    try:
        found = Path(str(metadata.distribution("silero-vad").locate_file("silero_vad/data/silero_vad_16k_sequence.onnx")))
    except metadata.PackageNotFoundError:
        sys.exit("the model comes with a package: pip install --no-deps silero-vad==6.2.3, or give --model FILE")
    return found


def read_speech(path: Path) -> np.ndarray:
    """Model inputs float32[sequences, chunks, 576] from 8-bit mu-law: 64 samples of context, then 512 new ones."""
    with np.load(path) as file:
        audio = file["audio"].astype(np.float64) / 127.5 - 1
    sound = np.sign(audio) * np.expm1(np.abs(audio) * np.log(256)) / 255
    chunks = sound.reshape(len(sound), -1, CHUNK)
    context = np.concatenate([np.zeros((len(sound), 1, CONTEXT)), chunks[:, :-1, -CONTEXT:]], axis=1)
    return np.concatenate([context, chunks], axis=2).astype(np.float32)


def feeds(chunks: np.ndarray) -> dict[str, np.ndarray]:
    """The inputs by name, with states of 0."""
    zeros = np.zeros((1, len(chunks), HIDDEN), np.float32)
    return {"input": chunks, "h": zeros, "c": zeros}


def precision(bits: int) -> dict[str, int]:
    """The options of `snnir.compile` that this model wants beside `bits`."""
    return {"input_bits": INPUT_BITS, "state_bits": bits + STATE_EXTRA}


def measure(
    model: Path, chunks: np.ndarray, expected: np.ndarray, calibration: np.ndarray, bits: int, neuron: str, weight_bits: int = 8
) -> dict[str, object]:
    """Compile for `bits` and run; `expected` holds the float model's probabilities."""
    program = snnir.compile(
        model, calibration=feeds(calibration), bits=bits, neuron=neuron, weight_bits=weight_bits, **precision(bits)
    )
    result = program.run(feeds(chunks))
    found = result.outputs["speech_probs"]
    few = neuron == "few-spikes"  # these begin every window anew
    checked = [program.verify(feeds(chunks), execution=execution) for execution in ("reset", "carry")[: 1 if few else 2]]
    return {
        "bits": bits,
        "neuron": neuron,
        "mean absolute difference": float(np.abs(found - expected).mean()),
        "agreement": float(((found > 0.5) == (expected > 0.5)).mean()),
        "mismatches": sum(verification.mismatches for verification in checked),
        "compared": sum(verification.compared for verification in checked),
        "steps_mean": float(result.steps.mean()),
        "steps_max": int(result.steps.max()),
        "spikes_per_chunk": float(result.total_spikes.mean() / chunks.shape[1]),
        "steps_per_chunk": float(result.steps.sum(axis=1).mean() / chunks.shape[1]),
        "carry_ratio": None if few else program.compare_executions(feeds(chunks)).ratio,
        "spiking_mac_share": program.facts["spiking_mac_share"],
        "host": program.facts["host_nodes"],
        "probabilities": found,
    }


def plot(rows: list[dict[str, object]], expected: np.ndarray, path: Path) -> None:
    """Speech probability over time, one panel a sequence."""
    figure = Figure(figsize=(9, 1.4 * len(expected)), layout="constrained")
    FigureCanvasAgg(figure)
    seconds = np.arange(expected.shape[1]) * CHUNK / 16000
    for index, probabilities in enumerate(expected):
        axes = figure.add_subplot(len(expected), 1, index + 1)
        axes.plot(seconds, probabilities, color="0.5", linewidth=3, label="float")
        for row in rows:
            found = row["probabilities"]
            assert isinstance(found, np.ndarray)
            axes.plot(seconds, found[index], linewidth=1, label=f"spiking, {row['bits']} bits")
        axes.set_ylim(-0.05, 1.05)
    figure.axes[0].legend(ncols=4, fontsize=7)
    figure.axes[-1].set_xlabel("seconds")
    figure.supylabel("speech probability")
    figure.savefig(path, dpi=120)


def main() -> None:
    """Measure, print a table and draw the probabilities."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="the ONNX file, where the package is not installed")
    parser.add_argument("--speech", type=Path, default=HERE / "speech.npz")
    parser.add_argument("--bits", type=int, nargs="+", default=[8, 6, 4])
    parser.add_argument("--weight-bits", type=int, default=8)
    parser.add_argument("--calibrate", type=int, help="sequences to calibrate with, spread over the first half; all by default")
    parser.add_argument("--neuron", nargs="+", choices=NEURONS, default=list(NEURONS), help="both give the same probabilities")
    parser.add_argument("--output", type=Path, default=Path("out/silero"), help="folder for the picture and the JSON file")
    options = parser.parse_args()
    model, chunks = options.model or find_model(), read_speech(options.speech)
    half = len(chunks) // 2
    calibration, chunks = chunks[:half], chunks[half:]
    if options.calibrate is not None:
        calibration = calibration[np.linspace(0, half - 1, options.calibrate).astype(int)]
    expected = run_onnxruntime(model, feeds(chunks), STATE_AXES)["speech_probs"]
    rows = []
    console = Console(stderr=True)
    for bits in options.bits:
        for neuron in options.neuron:
            with console.status(f"{bits} bits, {neuron}: compiling, running, verifying"):
                rows.append(measure(model, chunks, expected, calibration, bits, neuron, options.weight_bits))
    table = Table(title=f"{expected.size} chunks of 32 ms, {100 * (expected > 0.5).mean():.0f} % speech", title_justify="left")
    names = ("bits", "neuron", "mean |difference|", "decisions alike", "mismatches", "steps of a window", "steps a chunk")
    for column in (*names, "spikes a chunk", "carry saves"):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(
            str(row["bits"]),
            str(row["neuron"]),
            f"{row['mean absolute difference']:.4f}",
            f"{100 * float(str(row['agreement'])):.2f} %",
            f"{row['mismatches']:,} of {row['compared']:,}",
            f"{row['steps_mean']:.1f} mean, {row['steps_max']} most",
            f"{row['steps_per_chunk']:,.0f}",
            f"{row['spikes_per_chunk']:,.0f}",
            "" if row["carry_ratio"] is None else f"a factor of {row['carry_ratio']:.2f}",
        )
    Console().print(table)
    print(f"on the host: {', '.join(map(str, rows[0]['host']))}")
    print(f"spiking: {100 * float(str(rows[0]['spiking_mac_share'])):.1f} % of the multiply-accumulates")
    options.output.mkdir(parents=True, exist_ok=True)
    plot([row for row in rows if row["neuron"] == options.neuron[0]], expected, options.output / "probabilities.png")
    facts = [{name: value for name, value in row.items() if name != "probabilities"} for row in rows]
    (options.output / "silero.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    print(f"written: {options.output / 'probabilities.png'}, {options.output / 'silero.json'}")


if __name__ == "__main__":
    main()
