"""Lossy files in simulators of others, where they are installed: they load, and compute what the report says, or more exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

import snnir
from snnir.ir import Graph, TensorType
from snnir.ir.dims import dim
from snnir.ir.ops import AveragePool, Conv, Linear, Relu, Reshape

torch = pytest.importorskip("torch")
SIMULATORS = {
    "snntorch": "snntorch.import_nir",
    "spikingjelly": "spikingjelly.activation_based.nir_exchange",
    "sinabs": "sinabs.nir",
    "norse": "norse.torch",
}


def convolutional() -> tuple[Graph, np.ndarray]:
    rng = np.random.default_rng(0)
    graph = Graph("convolutional")
    x = graph.input("x", TensorType((dim("N"), 1, 8, 8), "f32"))

    def weight(*shape: int) -> Any:
        return graph.constant("w", (rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32))

    h = graph.add1(Relu(), graph.add1(Conv((1, 1), (0, 0, 0, 0), (1, 1)), x, weight(4, 1, 3, 3), weight(4)))
    h = graph.add1(AveragePool((2, 2), (2, 2), (0, 0, 0, 0), (1, 1), False, True), h)
    h = graph.add1(Relu(), graph.add1(Linear(), graph.add1(Reshape((dim("N"), 36)), h), weight(8, 36), weight(8)))
    graph.output("y", graph.add1(Linear(), h, weight(3, 8), weight(3)))
    return graph, rng.uniform(0, 1, size=(16, 1, 8, 8)).astype(np.float32)


def run(name: str, module: Any, written: nir.NIRGraph, levels: Any, steps: int) -> np.ndarray | None:
    """Outputs summed over the steps [N, 3]; None of simulators that are only asked to load the file."""
    if name == "snntorch":
        module.import_from_nir(written)
        return None
    if name == "spikingjelly":
        module.import_from_nir(written, dt=1.0)
        return None
    with torch.no_grad():
        if name == "sinabs":
            network = module.from_nir(written, batch_size=len(levels))
            found = network(levels.unsqueeze(1).repeat(1, steps, 1, 1, 1).flatten(0, 1))
            found = found[0] if isinstance(found, tuple) else found
            return np.asarray(found.reshape(len(levels), steps, -1).sum(1).numpy())
        network, rows = module.from_nir(written), []
        for sample in levels:
            state, total = None, 0
            for _ in range(steps):
                y, state = network(sample, state)
                total = total + y
            rows.append(np.asarray(total).reshape(-1))
        return np.stack(rows)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SIMULATORS)
def test_a_lossy_file_loads_and_agrees(name: str, tmp_path: Path) -> None:
    module = pytest.importorskip(SIMULATORS[name], reason=f"{name} is not installed")
    graph, x = convolutional()
    program = snnir.compile(graph, calibration=x, bits=4)
    report = snnir.export_nir(program, tmp_path / "a.nir", mode="lossy", calibration=x)
    ((_, scale, lo, hi),) = report.inputs
    levels = torch.from_numpy(np.clip(np.floor(x / scale + 0.5), lo, hi).astype(np.float32))
    found = run(name, module, nir.read(tmp_path / "a.nir"), levels, report.steps)
    if found is None:
        return
    promised = max(item.largest for item in report.mismatches if item.name == report.outputs[0][1])
    assert np.abs(found - program.run(x).outputs["y"]).max() <= promised * 1.01
