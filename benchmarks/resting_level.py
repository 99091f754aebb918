"""Would tracers that start at the level of a silent neuron save spikes?

A sigmoid gate settles near 0.5 without any input, so that each of its neurons sends half of its levels in every window
that starts afresh. This program counts, from the settled tracers S of all staircase populations, the least number of
spikes from a start at 0, sum |S|, and from a start at the level S0 of zero input, sum |S - S0|; and beside them what
populations send in fact, with `reset` and with `carry` execution. Figures and the decision: docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

import snnir
from snnir.ir import Graph, TensorType
from snnir.ir.dims import dim
from snnir.ir.ops import Bif, Gru, Lstm
from snnir.runtime.program import Program


def sequences(samples: int, length: int, features: int, slow: float, rng: np.random.Generator) -> np.ndarray:
    """Filtered noise [samples, length, features], float32; `slow` is how much of each element is that before it."""
    noise = rng.normal(size=(samples, length, features))
    for k in range(1, length):
        noise[:, k] = slow * noise[:, k - 1] + np.sqrt(1 - slow**2) * noise[:, k]
    return noise.astype(np.float32)


def cell(kind: str, features: int, hidden: int, rng: np.random.Generator) -> Graph:
    """One GRU or LSTM layer with the weights that PyTorch would start with."""
    graph = Graph(kind)
    x = graph.input("x", TensorType((dim("N"), dim("T"), features), "f32"))
    op = Gru(reset_after=True) if kind == "gru" else Lstm()
    rows, states = (3, 1) if kind == "gru" else (4, 2)
    bound = hidden**-0.5
    shapes = [(rows * hidden, features), (rows * hidden, hidden), (4 * hidden,), *[(1, hidden)] * states]
    names = ["W", "R", "B", *["start"] * states]
    arrays = [rng.uniform(-bound, bound, shape) * (name != "start") for name, shape in zip(names, shapes, strict=True)]
    constants = [graph.constant(name, array.astype(np.float32)) for name, array in zip(names, arrays, strict=True)]
    graph.output("y", graph.add(op, x, *constants, names=("y", *["last"] * states))[0])
    return graph


def resting(program: Program) -> dict[str, np.ndarray]:
    """The level of zero input of every staircase population, by name, as it spreads over a sample."""
    levels = {}
    for node in (node for node in program.graph("spiking").nodes if node.body is not None):
        assert node.body is not None
        for inner in node.body.nodes:
            if isinstance(inner.op, Bif) and inner.op.staircase:
                table = inner.operands[0].array
                levels[f"{node.outputs[0].name}/{inner.output.name}"] = inner.op.quantization.lo + (table <= 0).sum(axis=0)
    return levels


def measure(kind: str, slow: float, bits: int) -> dict[str, object]:
    """Spikes per sample of one network on one kind of signal."""
    rng = np.random.default_rng(0)
    x = sequences(32, 40, 12, slow, rng)
    program = snnir.compile(cell(kind, 12, 64, rng), calibration=x, bits=bits)
    reset = program.run(x, counts=True)
    carry = program.run(x, execution="carry")
    silent = resting(program)
    counts = {name: reset.counts[name] for name in silent}
    return {
        "network": kind,
        "signal": f"{slow:g}",
        "bits": bits,
        "sent (reset)": float(reset.total_spikes.mean()),
        "sent (carry)": float(carry.total_spikes.mean()),
        "staircases from 0": sum(float(np.abs(S).sum()) for S in counts.values()) / len(x),
        "staircases from S0": sum(float(np.abs(S - silent[name]).sum()) for name, S in counts.items()) / len(x),
    }


def main() -> None:
    """Measure both cells on slow and fast signals."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = [measure(kind, slow, bits) for kind in ("gru", "lstm") for slow in (0.0, 0.95) for bits in (4, 6)]
    table = Table(title="spikes per sample of 40 elements, 64 units", title_justify="left")
    for column in rows[0]:
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(*(f"{value:,.0f}" if isinstance(value, float) else str(value) for value in row.values()))
    Console().print(table)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
