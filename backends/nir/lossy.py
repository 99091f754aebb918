"""The lossy form: each population is one `nir.IF`, and how far that is from the integers is measured.

`nir.IF` sends no negative spike, has no least and greatest count and starts at 0. The usual form of a converted network
is the nearest: T steps, every input held for all of them, every bias (and theta//2, which rounds) added in each, and one
spike a level when T is the greatest level:

    v += T sum of w s(t) + sum of w x + bias + theta//2;   z = v > T theta - d,   d = 1 / (2 T + 2)

Where a spike subtracts the threshold, v is an integer plus less than 1/2 in all T steps, so that it never lies at the threshold.
Everything is divided by T theta - d, so that every threshold is 1, as simulators expect. A readout is the last layer itself:
its weights and bias hold its scale (and 1 / T where inputs are held), so that outputs summed over T steps are the model's.
Files hold `Input`, `Affine`, `Linear`, `Conv`, `Flatten`, `IF` and `Output` only: snnTorch and SpikingJelly refuse other nodes,
and others leave them out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from snnir.backends.nir.connections import Connection, Flatten, Layer
from snnir.backends.nir.library import NirNode, load_nir
from snnir.backends.nir.network import Describer, Network, Target, raise_refusals
from snnir.backends.nir.report import Mismatch
from snnir.ir.ops import Conv
from snnir.machine.program import FewSpikes, Population, Readout

__all__ = ["measure", "rate_layers", "rate_neurons", "rate_steps", "refuse_lossy"]

_ROUNDING = 1e-6


def refuse_lossy(network: Network, work: Describer) -> None:
    """Raise `UnsupportedError` naming staircases, for `nir.IF` has one threshold, and few-spike neurons."""
    refusals = []
    for target in network.populations:
        if isinstance(target.op, FewSpikes):
            reason = "nir.IF sends one spike a level; compile with neuron='bif' (--neuron bif), or export it exactly"
            refusals.append(work.refusal(target.op, reason))
        elif isinstance(target.op, Population) and target.op.staircase:
            reason = "its levels are a staircase, and nir.IF has one threshold; export it exactly"
            refusals.append(work.refusal(target.op, reason))
    raise_refusals(network.program, refusals, "lossy NIR form")


def rate_steps(network: Network) -> int:
    """T: the greatest level of any population."""
    return max((target.op.train.hi for target in network.populations), default=1) or 1


def _rate_bias(target: Target) -> np.ndarray:
    """What is added in every step, in integers, int64 [shape]."""
    return target.bias + (0 if isinstance(target.op, Readout) else target.parameter // 2)


def _factors(target: Target, steps: int) -> np.ndarray:
    """What every neuron's sum is multiplied by in the file, f64 [shape]: to a threshold of 1, or to the real output."""
    if isinstance(target.op, Readout):
        return target.parameter / steps
    found: np.ndarray = 1 / _thresholds(target, steps)
    return found


def _thresholds(target: Target, steps: int) -> np.ndarray:
    """What the sum of every neuron must be greater than, f64 [shape]: no sum is equal to it."""
    found: np.ndarray = steps * target.parameter - 1 / (2 * steps + 2)
    return found


def rate_layers(connection: Connection, target: Target, steps: int) -> tuple[Flatten | Layer, ...]:
    """The layers of a connection as they stand in the file: weights of spikes are times T, weights of held inputs are not."""
    factor = 1 if connection.held else steps
    scaled = _factors(target, steps)
    layers: list[Flatten | Layer] = []
    for layer in connection.layers:
        if isinstance(layer, Layer):
            rows = scaled.reshape(len(layer.weight), -1)[:, 0] if layer.kind == "conv" else scaled.reshape(-1)
            weight = layer.weight * factor * rows.reshape(-1, *(1,) * (layer.weight.ndim - 1))
            layer = replace(layer, weight=weight.astype(np.float32))
        layers.append(layer)
    return tuple(layers)


def layer_bias(target: Target, connection: Connection, steps: int) -> np.ndarray:
    """The bias of a target as the layer with weights of its first connection takes it, float32."""
    bias = _rate_bias(target) * _factors(target, steps)
    (layer,) = [layer for layer in connection.layers if isinstance(layer, Layer)]
    rows = bias.reshape(len(layer.weight), -1)
    return np.asarray(rows[:, 0] if layer.kind == "conv" else bias.reshape(-1), np.float32)


def rate_neurons(shape: tuple[int, ...], metadata: dict[str, object]) -> NirNode:
    """The `nir.IF` of a population."""
    one = np.ones(shape, np.float32)
    return load_nir().IF(one, one.copy(), np.zeros_like(one), metadata=metadata)


def measure(
    network: Network,
    connections: Mapping[str, list[Connection]],
    steps: int,
    expected: Mapping[str, np.ndarray],
) -> list[Mismatch]:
    """Every population and readout against its settled levels or sums [N, n] by name, under both resets."""
    found = []
    held = {op.train.name: expected[op.train.name] for op in network.inputs}
    for reset in ("v_reset", "subtract"):
        counts = _run(network, connections, steps, held, reset)
        for target in network.targets:
            wanted = expected[target.name].astype(np.float64)
            if isinstance(target.op, Readout):
                wanted = wanted * target.parameter.reshape(-1)
            distance = np.abs(counts[target.name] - wanted)
            span = _ROUNDING * float(np.abs(wanted).max(initial=0)) if isinstance(target.op, Readout) else 0.5
            different = int((distance > span).sum())
            mean = float(distance.mean()) if distance.size else 0.0
            found.append(Mismatch(target.name, reset, distance.size, different, mean, float(distance.max(initial=0))))
    return found


def _run(
    network: Network,
    connections: Mapping[str, list[Connection]],
    steps: int,
    held: Mapping[str, np.ndarray],
    reset: str,
) -> dict[str, np.ndarray]:
    """Spikes of every population, and the sum of every output, after `steps` steps, [N, n]; in integers, as T theta v."""
    totals: dict[str, np.ndarray] = {}
    membranes: dict[str, np.ndarray] = {}
    for _ in range(steps):
        sent = dict(held)
        for target, current in _currents(network, connections, steps, sent):
            parameter = target.parameter.reshape(-1)
            if isinstance(target.op, Readout):
                totals[target.name] = totals.get(target.name, 0) + current * (parameter / steps)
                continue
            threshold = _thresholds(target, steps).reshape(-1)
            membrane = membranes.get(target.name, 0) + current
            spikes = membrane > threshold
            membranes[target.name] = np.where(spikes, membrane - threshold if reset == "subtract" else 0.0, membrane)
            totals[target.name] = totals.get(target.name, 0) + spikes
            sent[target.name] = spikes.astype(np.int64)
    return totals


def _currents(
    network: Network, connections: Mapping[str, list[Connection]], steps: int, sent: Mapping[str, np.ndarray]
) -> Iterator[tuple[Target, np.ndarray]]:
    """What reaches each target in one step, [N, n]; `sent` grows as the caller adds spikes."""
    for target in network.targets:
        total = _rate_bias(target).reshape(1, -1)
        for connection in connections[target.name]:
            signal = sent[connection.emitter]
            for layer in connection.layers:
                if isinstance(layer, Layer):
                    signal = _through(layer, signal)
            total = total + (signal * (1 if connection.held else steps)).reshape(len(signal), -1)
        yield target, total


def _through(layer: Layer, signal: np.ndarray) -> np.ndarray:
    if layer.kind == "conv":
        op = Conv(layer.stride, (*layer.padding, *layer.padding), layer.dilation)
        return op.evaluate(signal.reshape(len(signal), layer.weight.shape[1], *layer.input_shape), layer.weight)[0]
    return np.asarray(signal.reshape(len(signal), -1) @ layer.weight.T)
