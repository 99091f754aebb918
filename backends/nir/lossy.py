"""The lossy form: each population is one `nir.IF`, and how far that is from the integers is measured.

`nir.IF` sends no negative spike, has no least and greatest count and starts at 0. The usual form of a converted network
is the nearest: T steps, every input held for all of them, every bias (and theta//2, which rounds) added in each, and one
spike a level when T is the greatest level. To stay with integers, weights of spikes and thresholds are times T:

    v += T sum of w s(t) + sum of w x + bias + theta//2;   z = v > T theta - 1/2

Summed over T steps a readout's `Scale(scale / T)` gives the output.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from snnir.backends.nir.connections import Connection, Flatten, Layer
from snnir.backends.nir.library import exact_floats, load_nir
from snnir.backends.nir.network import Network, Target
from snnir.backends.nir.report import Mismatch
from snnir.errors import Refusal, UnsupportedError
from snnir.ir.execute import execute
from snnir.ir.graph import Value
from snnir.ir.ops import Bif, Conv, Encode

__all__ = ["bias_nodes", "layer_bias", "measure", "rate_bias", "rate_layers", "rate_neurons", "rate_steps", "refuse_lossy"]

_ROUNDING = 1e-6


def refuse_lossy(network: Network) -> None:
    """Raise `UnsupportedError` naming staircases: `nir.IF` has one threshold."""
    refusals = [
        Refusal(target.node.describe(), "its levels are a staircase, and nir.IF has one threshold; export it exactly")
        for target in network.populations
        if isinstance(target.op, Bif) and target.op.staircase
    ]
    if refusals:
        lines = "".join(f"\n  {refusal}" for refusal in refusals)
        raise UnsupportedError(f"program {network.graph.name} has no lossy NIR form:{lines}", refusals)


def rate_steps(network: Network) -> int:
    """T: the greatest level of any population."""
    return max((target.op.quantization.hi for target in network.populations if isinstance(target.op, Bif)), default=1) or 1


def rate_bias(target: Target) -> np.ndarray:
    """What is added in every step, int64 [shape]."""
    return target.bias + (target.parameter // 2 if isinstance(target.op, Bif) else 0)


def rate_layers(connection: Connection, steps: int) -> tuple[Flatten | Layer, ...]:
    """The layers of a connection; weights of spikes are times T, weights of held inputs are not."""
    producer = connection.emitter.producer
    assert producer is not None
    factor = 1 if isinstance(producer.op, Encode) else steps
    return tuple(
        replace(layer, weight=layer.weight * factor) if isinstance(layer, Layer) else layer for layer in connection.layers
    )


def layer_bias(layers: tuple[Flatten | Layer, ...], bias: np.ndarray) -> np.ndarray | None:
    """The bias [shape] as the last dense or convolutional layer takes it; None where that has no place for it."""
    layer = [layer for layer in layers if isinstance(layer, Layer)][-1]
    if layer.kind == "linear":
        return bias.reshape(layer.weight.shape[:-1])
    if layer.kind == "conv":
        rows = bias.reshape(len(layer.weight), -1)
        return rows[:, 0] if (rows == rows[:, :1]).all() else None
    return None


def bias_nodes(bias: np.ndarray) -> list[tuple[str, Any]]:
    """A constant of any shape from a signal of that shape: times 0, a 1 from a threshold below 0, times the bias."""
    nir, shape = load_nir(), bias.shape
    return [
        ("nothing", nir.Scale(exact_floats(np.zeros(shape)))),
        ("one", nir.Threshold(exact_floats(np.full(shape, -0.5)))),
        ("bias", nir.Scale(exact_floats(bias))),
    ]


def rate_neurons(target: Target, shape: tuple[int, ...], steps: int, metadata: dict[str, object]) -> Any:
    """The `nir.IF` of a population."""
    threshold = exact_floats((steps * target.parameter - 0.5).reshape(shape))
    return load_nir().IF(np.ones_like(threshold), threshold, np.zeros_like(threshold), metadata=metadata)


def measure(
    network: Network, connections: Mapping[Target, list[Connection]], steps: int, data: Mapping[str, np.ndarray]
) -> tuple[list[Mismatch], int]:
    """Every population and readout against the integer reference, under both resets, and the number of samples."""
    wanted = {node.output for node in network.encoders} | {target.value for target in network.targets}
    expected: dict[Value, np.ndarray] = {}

    def observe(value: Value, array: np.ndarray) -> None:
        if value in wanted:
            expected[value] = array

    execute(network.graph, data, observe)
    samples = len(expected[network.encoders[0].output])
    found = []
    for reset in ("v_reset", "subtract"):
        counts = _run(network, connections, steps, {node.output: expected[node.output] for node in network.encoders}, reset)
        for target in network.targets:
            distance = np.abs(counts[target.value] - expected[target.value].astype(np.float64))
            span = 0.5 if isinstance(target.op, Bif) else _ROUNDING * float(np.abs(expected[target.value]).max(initial=0))
            different = int((distance > span).sum())
            mean = float(distance.mean()) if distance.size else 0.0
            largest = float(distance.max(initial=0))
            found.append(Mismatch(target.value.name, reset, distance.size, different, mean, largest))
    return found, samples


def _run(
    network: Network,
    connections: Mapping[Target, list[Connection]],
    steps: int,
    held: Mapping[Value, np.ndarray],
    reset: str,
) -> dict[Value, np.ndarray]:
    """Spikes of every population, and the sum of every output, after `steps` steps."""
    totals: dict[Value, np.ndarray] = {}
    membranes: dict[Value, np.ndarray] = {}
    for _ in range(steps):
        sent = dict(held)
        for target, current in _currents(network, connections, steps, sent):
            if not isinstance(target.op, Bif):
                totals[target.value] = totals.get(target.value, 0) + current * (target.parameter / steps)
                continue
            threshold = steps * target.parameter - 0.5
            membrane = membranes.get(target.value, 0) + current
            spikes = membrane > threshold
            membranes[target.value] = np.where(spikes, membrane - threshold if reset == "subtract" else 0.0, membrane)
            totals[target.value] = totals.get(target.value, 0) + spikes
            sent[target.value] = spikes.astype(np.int64)
    return totals


def _currents(
    network: Network, connections: Mapping[Target, list[Connection]], steps: int, sent: Mapping[Value, np.ndarray]
) -> Iterator[tuple[Target, np.ndarray]]:
    """What reaches each target in one step; `sent` grows as the caller adds spikes."""
    for target in network.targets:
        total = rate_bias(target)[np.newaxis]
        for connection in connections[target]:
            signal = sent[connection.emitter]
            for layer in rate_layers(connection, steps):
                signal = signal.reshape(len(signal), -1) if isinstance(layer, Flatten) else _through(layer, signal)
            total = total + signal.reshape(len(signal), *target.shape)
        yield target, total


def _through(layer: Layer, signal: np.ndarray) -> np.ndarray:
    if layer.kind == "scale":
        return np.asarray(signal.reshape(len(signal), *layer.weight.shape) * layer.weight)
    if layer.kind == "conv":
        op = Conv(layer.stride, (*layer.padding, *layer.padding), layer.dilation)
        return op.evaluate(signal, layer.weight)[0]
    signal = signal.reshape(len(signal), *layer.weight.shape[:-2], layer.weight.shape[-1])
    return np.asarray((layer.weight @ signal[..., np.newaxis])[..., 0])
