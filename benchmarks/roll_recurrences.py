"""How long it takes to import an unrolled nn.RNN, to roll it back, and to compile what it becomes, for growing lengths.

The files are written directly, node for node as PyTorch's default exporter does (which itself takes minutes for 784 steps).
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console
from rich.table import Table

import snnir
from snnir.ir.ops import Scan
from snnir.passes import Context
from snnir.passes.fold_constants import FoldConstants
from snnir.passes.roll_recurrences import RollRecurrences


def unrolled_rnn(length: int, features: int, hidden: int) -> bytes:
    """What PyTorch's default exporter makes of `nn.RNN(batch_first=True)`, written directly (it takes minutes itself)."""
    rng = np.random.default_rng(0)
    arrays = {
        "W": rng.normal(size=(features, hidden)) / 4,
        "U": rng.normal(size=(hidden, hidden)) / 16,
        "b": rng.normal(size=hidden) / 4,
        "c": rng.normal(size=hidden) / 4,
    }
    constants = [numpy_helper.from_array(array.astype(np.float32), name) for name, array in arrays.items()]
    constants += [numpy_helper.from_array(np.array([place]), f"i{place}") for place in range(length + 1)]
    constants.append(numpy_helper.from_array(np.zeros((1, 1, hidden), np.float32), "h"))
    nodes = [
        helper.make_node("Transpose", ["x"], ["turned"], perm=[1, 0, 2]),
        helper.make_node("MatMul", ["turned", "W"], ["product"]),
        helper.make_node("Add", ["product", "b"], ["fed"]),
    ]
    state = "h"
    for step in range(length):
        nodes += [
            helper.make_node("Slice", ["fed", f"i{step}", f"i{step + 1}", "i0"], [f"cut{step}"]),
            helper.make_node("Squeeze", [f"cut{step}", "i0"], [f"x{step}"]),
            helper.make_node("MatMul", [state, "U"], [f"p{step}"]),
            helper.make_node("Add", [f"p{step}", "c"], [f"l{step}"]),
            helper.make_node("Add", [f"l{step}", f"x{step}"], [f"s{step}"]),
            helper.make_node("Tanh", [f"s{step}"], [f"t{step}"]),
        ]
        state = f"t{step}"
    nodes.append(helper.make_node("Concat", [f"t{step}" for step in range(length)], ["all"], axis=0))
    nodes.append(helper.make_node("Transpose", ["all"], ["y"], perm=[1, 0, 2]))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", length, features])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", length, hidden])
    graph = helper.make_graph(nodes, "rnn", [x], [y], constants)
    model = helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 18)])
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def measure(length: int, hidden: int) -> dict[str, float]:
    """Seconds for one length; compiling includes the import and all checks."""
    content = unrolled_rnn(length, 1, hidden)
    x = np.random.default_rng(1).normal(size=(16, length, 1)).astype(np.float32)
    started = time.perf_counter()
    graph = snnir.import_model(content)
    imported = time.perf_counter()
    folded = FoldConstants().run(graph, Context()).graph
    rolling = time.perf_counter()
    rolled = RollRecurrences().run(folded, Context()).graph
    done = time.perf_counter()
    assert sum(isinstance(node.op, Scan) for node in rolled.nodes) == 1
    program = snnir.compile(content, calibration=x)
    compiled = time.perf_counter()
    assert program.verify(x[:1]).ok
    return {
        "steps": length,
        "nodes": len(graph.nodes),
        "nodes_after": len(rolled.nodes),
        "import_seconds": imported - started,
        "roll_seconds": done - rolling,
        "compile_seconds": compiled - done,
    }


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lengths", type=int, nargs="+", default=[98, 196, 392, 784])
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = [measure(length, options.hidden) for length in options.lengths]
    table = Table(title=f"nn.RNN of {options.hidden} units, unrolled", title_justify="left")
    for column in (*rows[0], "compile, ms a step"):
        table.add_column(column.replace("_", " "), justify="right")
    for row in rows:
        cells = [f"{value:.2f}" if isinstance(value, float) else f"{value:,}" for value in row.values()]
        table.add_row(*cells, f"{1000 * row['compile_seconds'] / row['steps']:.1f}")
    Console().print(table)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
