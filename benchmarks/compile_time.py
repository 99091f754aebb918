"""How long a model of 1,000 nodes and 25 million parameters takes to compile, and how much memory.

    python benchmarks/compile_time.py [--nodes 1000] [--parameters 25e6] [--json FILE]

Calibration is a single sample, and checks are off, so that what is measured is the compiler and not the executor. Each
stage runs in a process of its own, so that its peak memory is its own; the model's size is the bytes of its parameters.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def build(nodes: int, parameters: int) -> onnx.ModelProto:
    """A chain of linear layers with ReLUs and residual additions: `nodes` nodes, about `parameters` parameters."""
    blocks = max(nodes // 5, 1)
    width = max(int((parameters / (2 * blocks)) ** 0.5), 1)
    rng = np.random.default_rng(0)
    graph_nodes, initializers, current = [], [], "x"
    for index in range(blocks):
        for part in ("a", "b"):
            weight = rng.normal(size=(width, width)).astype(np.float32) / np.float32(np.sqrt(width))
            initializers.append(numpy_helper.from_array(weight, f"w{index}{part}"))
            initializers.append(numpy_helper.from_array(np.zeros(width, np.float32), f"b{index}{part}"))
        graph_nodes += [
            helper.make_node("Gemm", [current, f"w{index}a", f"b{index}a"], [f"h{index}"], transB=1),
            helper.make_node("Relu", [f"h{index}"], [f"r{index}"]),
            helper.make_node("Gemm", [f"r{index}", f"w{index}b", f"b{index}b"], [f"g{index}"], transB=1),
            helper.make_node("Add", [f"g{index}", current], [f"s{index}"]),
            helper.make_node("Relu", [f"s{index}"], [f"y{index}"]),
        ]
        current = f"y{index}"
    graph = helper.make_graph(
        graph_nodes,
        "chain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", width])],
        [helper.make_tensor_value_info(current, TensorProto.FLOAT, ["N", width])],
        initializers,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def peak_mb() -> float:
    """The largest resident memory of this process so far, in MiB (Linux; counts from the start of the program)."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def measure(path: str, width: int, compile_it: bool, queue: multiprocessing.Queue[dict[str, float]]) -> None:
    """Import everything, then compile (or only read) the model; report seconds and peak resident memory."""
    import snnir
    import snnir.frontends.onnx
    import snnir.passes

    before = peak_mb()
    started = time.perf_counter()
    if compile_it:
        calibration = np.random.default_rng(1).normal(size=(1, width)).astype(np.float32)
        snnir.compile(path, calibration=calibration, check=False)
    seconds = time.perf_counter() - started
    queue.put({"seconds": seconds, "peak_mb": peak_mb(), "before_mb": before})


def main() -> None:
    """Build the model, measure, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--parameters", type=float, default=25e6)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "chain.onnx")
        model = build(arguments.nodes, int(arguments.parameters))
        onnx.save(model, path)
        size = sum(numpy_helper.to_array(tensor).nbytes for tensor in model.graph.initializer) / 2**20
        count, nodes = sum(np.prod(tensor.dims) for tensor in model.graph.initializer), len(model.graph.node)
        width = model.graph.input[0].type.tensor_type.shape.dim[1].dim_value
        del model
        rows = {}
        for name, compile_it in (("imports only", False), ("compile", True)):
            queue: multiprocessing.Queue[dict[str, float]] = context.Queue()
            process = context.Process(target=measure, args=(path, width, compile_it, queue))
            process.start()
            rows[name] = queue.get()
            process.join()
    extra = rows["compile"]["peak_mb"] - rows["imports only"]["before_mb"]
    facts = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "nodes": nodes,
        "parameters": int(count),
        "model_mb": round(size, 1),
        "compile_seconds": round(rows["compile"]["seconds"], 2),
        "peak_mb": round(rows["compile"]["peak_mb"], 1),
        "peak_above_imports_mb": round(extra, 1),
        "peak_above_imports_over_model": round(extra / size, 2),
        "peak_over_model": round(rows["compile"]["peak_mb"] / size, 2),
    }
    for name, value in facts.items():
        print(f"{name:32} {value}")
    if arguments.json:
        arguments.json.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
