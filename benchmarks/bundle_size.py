"""How large the bundle of a network with a million parameters is, and how long it takes to write.

    python benchmarks/bundle_size.py [--json]

A perceptron of 1024 inputs and layers of 640, 512 and 10 at 8-bit weights; the size is compared with parameters x bits / 8,
golden vectors apart.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import numpy as np

import snnir
from snnir.ir import Graph, TensorType
from snnir.ir.dims import dim
from snnir.ir.ops import Linear, Relu


def perceptron(rng: np.random.Generator) -> Graph:
    """1024 inputs, layers of 640, 512 and 10: 988 thousand weights."""
    graph = Graph("perceptron")
    value = graph.input("x", TensorType((dim("N"), 1024), "f32"))
    sizes = (1024, 640, 512, 10)
    for index, (inputs, outputs) in enumerate(pairwise(sizes)):
        weight = graph.constant(f"w{index}", (rng.normal(size=(outputs, inputs)) / np.sqrt(inputs)).astype(np.float32))
        bias = graph.constant(f"b{index}", np.zeros(outputs, np.float32))
        value = graph.add1(Linear(), value, weight, bias, name=f"z{index}")
        if index < len(sizes) - 2:
            value = graph.add1(Relu(), value, name=f"h{index}")
    graph.output("y", value)
    return graph


def main() -> None:
    """Compile, write, read, and print."""
    rng = np.random.default_rng(0)
    graph = perceptron(rng)
    x = rng.normal(size=(8, 1024)).astype(np.float32)
    program = snnir.compile(graph, calibration=x, bits=4, weight_bits=8, check=False)
    parameters = graph.parameter_count()
    program.run(x[:1])  # the simulator's kernels are compiled when they first run
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.snnb"
        start = time.perf_counter()
        made = snnir.bundle(program, x, samples=4)
        made.save(path)
        written = time.perf_counter() - start
        start = time.perf_counter()
        snnir.load_bundle(path)
        read = time.perf_counter() - start
        whole = path.stat().st_size
    golden = len(made.members()["golden.safetensors"])
    least = parameters * 8 / 8
    found = {
        "parameters": parameters,
        "write_seconds": round(written, 2),
        "read_seconds": round(read, 2),
        "bytes": whole,
        "golden_bytes": golden,
        "bytes_without_golden_over_parameters": round((whole - golden) / least, 4),
    }
    print(json.dumps(found, indent=1) if "--json" in sys.argv else "\n".join(f"{key}: {value}" for key, value in found.items()))


if __name__ == "__main__":
    main()
