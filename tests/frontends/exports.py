"""Real exports of several frameworks, and the table that docs/frameworks.md holds: `python -m tests.frontends.exports`.

The files lie in `fixtures`, with the scripts that made them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

import snnir
from snnir.ir.execute import bind_sizes
from snnir.runtime.costs import dense_macs

__all__ = ["EXPORTS", "Export", "Row", "markdown", "verified"]

FIXTURES = Path(__file__).parent / "fixtures"
SAMPLES = 8


@dataclass(frozen=True)
class Export:
    """A stored model: its file, without the ending, and what made it."""

    file: str
    framework: str
    exporter: str
    holds: str

    @property
    def path(self) -> Path:
        """Where it lies."""
        return FIXTURES / f"{self.file}.onnx"


_SKLEARN = ("scikit-learn 1.9.1", "skl2onnx 1.20.0")
_PADDLE = ("PaddlePaddle 3.3.1", "paddle2onnx 2.1.0")
_TORCH = {"torchscript": "TorchScript exporter", "dynamo": "torch.export exporter"}
_KERAS_JAX = ("Keras 3.15.1 on JAX 0.10.2", "jax2onnx 0.17.1")
_KERAS_TENSORFLOW = ("Keras 3.15.1 on TensorFlow 2.21.0", "tf2onnx 1.17.0")
_JAX = ("JAX 0.10.2", "jax2onnx 0.17.1")

EXPORTS = [
    *(
        Export(f"pytorch/{kind}_{name}", "PyTorch 2.13.0", exporter, holds)
        for kind, exporter in _TORCH.items()
        for name, holds in (
            ("images", "depthwise and pointwise Conv2d, BatchNorm2d, SiLU, ReLU6, pooling"),
            ("rnn", "Conv1d, RNN, Linear"),
            ("gru", "Conv1d, GRU, Linear"),
            ("lstm", "Conv1d, LSTM, Linear"),
            ("masked", "where, comparisons, masked_fill"),
        )
    ),
    Export("keras/keras_jax_convolutions", *_KERAS_JAX, "Conv1D, BatchNormalization, MaxPooling1D, LSTM, channels last"),
    Export("keras/keras_jax_images", *_KERAS_JAX, "Conv2D, DepthwiseConv2D, GlobalAveragePooling2D, channels last"),
    Export("keras_jax_gru", *_KERAS_JAX, "GRU, Dense"),
    Export("keras_jax_stacked_cells", *_KERAS_JAX, "RNN of a SimpleRNNCell and a GRUCell"),
    Export("keras_tensorflow_both_directions", *_KERAS_TENSORFLOW, "Bidirectional GRU, Dense"),
    Export("keras_tensorflow_simple_rnn", *_KERAS_TENSORFLOW, "SimpleRNN, Dense"),
    Export("unrolled/keras_lstm", "Keras 3.15.1 on PyTorch 2.13.0", "TorchScript exporter", "LSTM, unrolled by the exporter"),
    Export("jax_scan_any_batch", *_JAX, "lax.scan"),
    Export("jax_while_buffer_any_batch", *_JAX, "lax.while_loop that writes a buffer"),
    *(
        Export(f"sklearn/sklearn_{name}", *_SKLEARN, holds)
        for name, holds in (
            ("mlp_classifier", "StandardScaler, MLPClassifier"),
            ("mlp_words", "MinMaxScaler, MLPClassifier with words as labels"),
            ("mlp_two_classes", "StandardScaler, MLPClassifier of two classes"),
            ("mlp_several_labels", "StandardScaler, MLPClassifier of several labels at once"),
            ("mlp_regressor", "StandardScaler, MLPRegressor"),
            ("mlp_pca", "StandardScaler, PCA, MLPRegressor"),
            ("mlp_svd", "TruncatedSVD, MLPClassifier"),
            ("mlp_normalizer", "Normalizer, MLPClassifier"),
            ("logistic", "StandardScaler, LogisticRegression"),
            ("logistic_two_classes", "StandardScaler, LogisticRegression of two classes"),
            ("linear", "StandardScaler, LinearRegression"),
        )
    ),
    *(
        Export(f"paddle/paddle_{name}", *_PADDLE, holds)
        for name, holds in (
            ("mlp", "Linear, ReLU, Tanh, Softmax"),
            ("convolution", "Conv2D, BatchNorm2D, Hardswish, depthwise Conv2D, Swish, AdaptiveAvgPool2D"),
            ("gru", "GRU, Linear"),
            ("lstm", "LSTM, Linear"),
        )
    ),
]


@dataclass(frozen=True)
class Row:
    """What came of an export: nodes, the operators that the host computes, integers compared, and mismatches among them."""

    nodes: int
    host: tuple[str, ...]
    compared: int
    mismatches: int


def _check_says_what_the_compiler_does(export: Export, program: snnir.Program, x: np.ndarray) -> None:
    """Neurons and operations of `snnir check` are those of the program; its steps are no fewer than those certified."""
    found, inputs = snnir.check(export.path), {program.graph("float").inputs[0].name: x}
    populations = [node for _, node in program.graph("spiking").walk() if node.op.name in ("bif", "rbif", "function")]
    types = [value.type for node in populations for value in node.outputs]
    samples = [type_.with_shape(type_.shape[1:]).static_shape("neurons") for type_ in types]
    assert found.neurons == sum(math.prod(sample) for sample in samples), export.file
    assert found.macs == dense_macs(program.graph("quantized"), inputs).spiking, export.file
    bounds = program.bounds(bind_sizes(program.graph("spiking"), inputs))
    assert bounds.keys() == found.steps.keys(), export.file
    assert all(max(windows, default=0) <= found.steps[name] for name, windows in bounds.items()), (export.file, bounds)


def verified(export: Export) -> Row:
    """The export compiled, its import compared with ONNX Runtime, and its spikes with its integers."""
    (entry,) = snnir.import_model(export.path).inputs
    sample = entry.type.with_shape(entry.type.shape[1:]).static_shape("a sample")
    x = np.random.default_rng(0).normal(size=(SAMPLES, *sample)).astype(np.float32)
    program = snnir.compile(export.path, calibration=x)
    error = program.facts["import_error"]
    assert isinstance(error, float) and error < 1e-5, f"{export.file}: the import is {error} off"
    host = program.facts["host_nodes"]
    assert isinstance(host, list)
    report = program.verify(x)
    _check_says_what_the_compiler_does(export, program, x)
    nodes = len(onnx.load(export.path).graph.node)
    return Row(nodes, tuple(dict.fromkeys(line.split()[0] for line in host)), report.compared, report.mismatches)


def markdown(rows: dict[Export, Row]) -> str:
    """docs/frameworks.md, whole."""
    lines = [
        "# Frameworks",
        "",
        "After looking here you know which exports of your framework are known to convert exactly, and how they were made.",
        "",
        "Generated by `python -m tests.frontends.exports`; a test keeps it true. Each line is a real export, kept with the",
        "script that made it in `tests/frontends/fixtures`. It is imported and compared with ONNX Runtime (within 1e-5 of each",
        f"output's span), compiled to 4 bits, and its spikes are compared with its integers on {SAMPLES} samples of noise. What",
        "`snnir check` says before, neurons and multiply-accumulates, is what the compiler then makes; its estimated steps are",
        "no fewer than those certified.",
        "",
        "| framework | exporter | what it holds | ONNX nodes | on the host | integers | mismatches |",
        "| --- | --- | --- | ---: | --- | ---: | ---: |",
    ]
    for export, row in rows.items():
        cells = (export.framework, export.exporter, export.holds, row.nodes, ", ".join(row.host))
        lines.append(f"| {' | '.join(map(str, cells))} | {row.compared:,} | {row.mismatches} |")
    total = sum(row.compared for row in rows.values())
    frameworks = len({export.framework for export in rows})
    lines += [
        "",
        f"{len(rows)} exports of {frameworks} combinations of framework and backend: {total:,} integers, "
        f"{sum(row.mismatches for row in rows.values())} mismatches.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    print(markdown({export: verified(export) for export in EXPORTS}), end="")
