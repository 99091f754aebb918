"""The event-driven simulator against the clock-driven one and ONNX Runtime, on one network, in one run.

    python benchmarks/simulator_speed.py [--layers 784 512 512 10] [--batch 64] [--repeats 15] [--json FILE]

A multilayer perceptron with random weights, 4-bit activations and 8-bit weights; inputs are sparse like images. The
repeats of all sides are interleaved, and medians are printed with their spread. Synaptic operations count every weight
that is added or multiplied.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

import snnir
from snnir.machine.plain import simulate_plain


def build(layers: list[int], rng: np.random.Generator) -> onnx.ModelProto:
    """Linear layers with ReLUs between them."""
    nodes, weights, current = [], [], "x"
    for index, (inputs, outputs) in enumerate(itertools.pairwise(layers)):
        matrix = rng.normal(size=(outputs, inputs)).astype(np.float32) * np.float32(np.sqrt(2 / inputs))
        weights.append(numpy_helper.from_array(matrix, f"w{index}"))
        last = index == len(layers) - 2
        nodes.append(helper.make_node("Gemm", [current, f"w{index}"], ["y" if last else f"h{index}"], transB=1))
        if not last:
            nodes.append(helper.make_node("Relu", [f"h{index}"], [f"r{index}"]))
        current = f"r{index}"
    graph = helper.make_graph(
        nodes,
        "mlp",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", layers[0]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", layers[-1]])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--layers", type=int, nargs="+", default=[784, 512, 512, 10])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    model = build(arguments.layers, rng)
    x = np.maximum(rng.normal(size=(arguments.batch, arguments.layers[0])) - 0.8, 0).astype(np.float32)
    program = snnir.compile(model, calibration=x)
    result = program.run(x)
    assert result.settled
    assert np.array_equal(result.outputs["y"], program.reference(x)["y"])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = os.cpu_count() or 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # its threads would take the next side's time
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    sides: dict[str, Callable[[], object]] = {
        "event-driven, all cores": lambda: program.run(x),
        "event-driven, one thread": lambda: program.run(x, threads=1),
        "clock-driven NumPy": lambda: simulate_plain(program.graph("spiking"), {"x": x}),
        "ONNX Runtime, float32": lambda: session.run(None, {"x": x}),
    }
    times: dict[str, list[float]] = {name: [] for name in sides}
    for repeat in range(arguments.repeats + 1):
        for name, side in sides.items():
            if name == "clock-driven NumPy" and repeat > 3:
                continue
            if name != "clock-driven NumPy":
                side()  # the other sides have had the caches
            started = time.perf_counter()
            side()
            if repeat:  # the first round compiles and warms up
                times[name].append((time.perf_counter() - started) / arguments.batch * 1e6)
    synops = float(result.total_synops.mean())
    base = statistics.median(times["event-driven, all cores"])
    facts: dict[str, object] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "layers": arguments.layers,
        "batch": arguments.batch,
        "synops_per_sample": synops,
        "spikes_per_sample": float(result.total_spikes.mean()),
        "giga_synops_per_second": synops / base / 1e3,
        "microseconds_per_sample": {
            name: {"median": statistics.median(values), "min": min(values), "max": max(values)} for name, values in times.items()
        },
        "ratio_to_event_driven": {name: statistics.median(values) / base for name, values in times.items()},
    }
    print(f"{'-'.join(map(str, arguments.layers))}, batch {arguments.batch}, {facts['machine']}")
    rate = synops / base / 1e3
    print(f"{synops:,.0f} synaptic operations and {facts['spikes_per_sample']:,.0f} spikes a sample, {rate:.2f} GSynOp/s")
    for name, values in times.items():
        median = statistics.median(values)
        print(f"{name:28} {median:10.1f} us a sample ({min(values):.1f} to {max(values):.1f}), ratio {median / base:.2f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
