"""One name per value: what verify, run, recorded populations, bundles and the table of losses print, `value_bits` takes."""

from __future__ import annotations

import numpy as np
import pytest

import snnir
from snnir.compiler.losses import graphs_by_prefix, measure_losses
from snnir.compiler.sensitivity import quantization_steps
from snnir.errors import UsageError
from snnir.ir import Graph, Op, TensorType, Value
from snnir.ir.dims import dim
from snnir.ir.ops import Gru, Linear, Lstm, Quantize, Relu
from snnir.machine import emitting
from snnir.passes import Context, Stage
from snnir.passes.quantize_activations import QuantizeActivations

X = np.random.default_rng(0).normal(size=(6, 5, 3)).astype(np.float32)
GATES: dict[type[Op], int] = {Lstm: 4, Gru: 3}


def two_layers(op: Op) -> Graph:
    """Two recurrent layers of one kind, whose bodies name their values alike."""
    rng = np.random.default_rng(1)

    def weights(*shape: int) -> Value:
        return graph.constant("w", (rng.normal(size=shape) * 0.4).astype(np.float32))

    graph = Graph("layers")
    value = graph.input("x", TensorType((dim("N"), dim("T"), 3), "f32"))
    for inputs, units in ((3, 4), (4, 4)):
        gates = GATES[type(op)] * units
        states = [weights(1, units) for _ in range(2 if isinstance(op, Lstm) else 1)]
        operands = [weights(gates, inputs), weights(gates, units), weights(4 * units), *states]
        value, *_ = graph.add(op, value, *operands, names=["all", "last", "cell"][: 1 + len(states)])
    head = graph.add1(Relu(), graph.add1(Linear(), value, weights(2, 4), name="head"), name="head.relu")
    graph.output("y", head)
    return graph


def bits_of(calibrated: Graph, **values: int) -> dict[str, int]:
    """Bits of every value with levels, by its whole name, when `values` have bits of their own."""
    text = ";".join(f"{name}={bits}" for name, bits in values.items())
    quantized = QuantizeActivations(bits=3, values=text).run(calibrated, Context({})).graph
    return {
        f"{prefix}{node.output.name}": int(node.op.quantization.hi - node.op.quantization.lo).bit_length()
        for prefix, graph in graphs_by_prefix(quantized)
        for node in graph.nodes
        if isinstance(node.op, Quantize)
    }


@pytest.mark.parametrize("op", [Lstm(), Gru()], ids=["lstm", "gru"])
def test_every_printed_name_is_unique_and_taken(op: Op) -> None:
    graph = two_layers(op)
    program = snnir.compile(graph, calibration=X, bits=3, check=False)
    verified = [name for name, _, _ in program.verify(X).values]
    counts = program.run(X, counts=True).counts
    assert len(set(verified)) == len(verified)
    assert set(verified) == set(counts) == set(emitting(snnir.bundle(program, X).program))
    recorded = [name for name in verified if not name.endswith(".real")]  # what readouts sum up is no train
    assert set(program.run(X, record=recorded).rasters) == set(recorded)
    stages: list[Stage] = []
    snnir.compile(graph, calibration=X, bits=3, check=False, on_stage=stages.append)
    steps = quantization_steps(stages)
    assert steps is not None
    losses = measure_losses(steps.calibrated, steps.quantized, {"x": X}, 2).activations
    assert all(loss.name in verified or loss.name.startswith("w.") for loss in losses), "all but states to start from"
    before = bits_of(steps.calibrated)
    for loss in (loss for loss in losses if "/" in loss.name):
        for name in {loss.name, loss.option}:
            after = bits_of(steps.calibrated, **{name: 7})
            changed = {key.rpartition("/")[0] for key in after if after[key] != before[key] and "/" in key}
            assert changed == {loss.name.rpartition("/")[0]}, f"{name} is a value of one layer"


def test_a_name_of_two_layers_is_asked_for_whole() -> None:
    graph = two_layers(Lstm())
    with pytest.raises(UsageError, match=r"f is the name of several values: (\S+)/f, (\S+)/f; give the whole name of one"):
        snnir.compile(graph, calibration=X, value_bits={"f": 6})
    with pytest.raises(UsageError, match=r"no value nobody/f becomes levels; those that do are head.relu, last.1/c, last.1/"):
        snnir.compile(graph, calibration=X, value_bits={"nobody/f": 6})
