"""NIR graphs of others: float graphs where the meaning is exact, refusals by name elsewhere; and files that are damaged."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import h5py
import nir
import numpy as np
import pytest

import snnir
from snnir.backends.nir import read_nir
from snnir.errors import FileFormatError, UnsupportedError
from snnir.ir.execute import execute
from tests.backends.nir.interpreter import Interpreter


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.normal(size=shape).astype(np.float32)


def ends(first: tuple[int, ...], last: tuple[int, ...]) -> dict[str, nir.NIRNode]:
    return {"input": nir.Input({"input": np.array(first)}), "output": nir.Output({"output": np.array(last)})}


def test_a_network_without_neurons_becomes_a_float_graph(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    nested = nir.NIRGraph({**ends((12,), (12,)), "scale": nir.Scale(normal(rng, 12))}, [("input", "scale"), ("scale", "output")])
    nodes = {
        **ends((2, 6, 6), (5,)),
        "conv": nir.Conv2d((6, 6), normal(rng, 3, 2, 3, 3), 2, 1, 1, 1, normal(rng, 3)),
        "flatten": nir.Flatten({"input": np.array([3, 3, 3])}, 0, -1),
        "affine": nir.Affine(normal(rng, 12, 27), normal(rng, 12)),
        "nested": nested,
        "linear": nir.Linear(normal(rng, 5, 12)),
        "other": nir.Linear(normal(rng, 5, 12)),
    }
    chain = ["input", "conv", "flatten", "affine", "nested", "linear", "output"]
    graph = nir.NIRGraph(nodes, [*pairwise(chain), ("affine", "other"), ("other", "output")])
    nir.write(tmp_path / "a.nir", graph)
    x = normal(rng, 4, 2, 6, 6)
    imported = read_nir(tmp_path / "a.nir")
    assert imported.level == "float"
    expected = Interpreter(graph).step({"input": x})["output"]
    np.testing.assert_allclose(execute(imported, {"input": x})["output"], expected, rtol=1e-4, atol=1e-5)
    program = snnir.compile(imported, calibration=x)
    assert program.verify(x).ok


@pytest.mark.parametrize("kind", ["sum", "average"])
def test_pools(kind: str, tmp_path: Path) -> None:
    options = np.array([2, 2]), np.array([2, 2]), np.array([1, 0])
    pool = nir.SumPool2d(*options) if kind == "sum" else nir.AvgPool2d(*options)
    nodes = {**ends((1, 4, 4), (1, 3, 2)), "pool": pool}
    nir.write(tmp_path / "a.nir", nir.NIRGraph(nodes, [("input", "pool"), ("pool", "output")]))
    x = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    sums = np.pad(x[0, 0], [(1, 1), (0, 0)]).reshape(3, 2, 2, 2).sum(axis=(1, 3))
    expected = sums if kind == "sum" else sums / 4
    np.testing.assert_array_equal(execute(read_nir(tmp_path / "a.nir"), {"input": x})["output"][0, 0], expected)


def one(value: float = 1.0) -> np.ndarray:
    return np.full(3, value, np.float32)


@pytest.mark.parametrize(
    ("node", "reason"),
    [
        (nir.IF(one(), one(), one(0)), r"IF neuron: it resets to v_reset and sends no negative spikes"),
        (nir.LIF(one(), one(), one(0), one(), one(0)), r"LIF neuron: it leaks"),
        (nir.I(one()), r"I neuron: it integrates over time"),
        (nir.Threshold(one()), r"Threshold neuron: its step"),
        (nir.Delay(one()), r"Delay neuron: a delay has a meaning in time only"),
        (nir.Linear(np.ones((3, 1, 1), np.float32)), None),
    ],
)
def test_what_has_no_exact_meaning_is_refused_by_name(node: nir.NIRNode, reason: str | None, tmp_path: Path) -> None:
    if reason is None:
        nodes, reason = {**ends((3, 1), (3, 1)), "neuron": node}, r"Linear neuron: its weight has the shape \[3, 1, 1\]"
    else:
        nodes = {**ends((3,), (3,)), "neuron": node}
    nir.write(tmp_path / "a.nir", nir.NIRGraph(nodes, [("input", "neuron"), ("neuron", "output")]))
    with pytest.raises(UnsupportedError, match=reason):
        read_nir(tmp_path / "a.nir")


def test_a_cycle_is_refused(tmp_path: Path) -> None:
    nodes = {**ends((3,), (3,)), "scale": nir.Scale(one()), "back": nir.Scale(one())}
    edges = [("input", "scale"), ("scale", "output"), ("scale", "back"), ("back", "scale")]
    nir.write(tmp_path / "a.nir", nir.NIRGraph(nodes, edges))
    with pytest.raises(UnsupportedError, match="they form a cycle"):
        read_nir(tmp_path / "a.nir")


def test_files_that_are_no_nir_graph(tmp_path: Path) -> None:
    path = tmp_path / "a.nir"
    with pytest.raises(FileFormatError, match="cannot be read"):
        read_nir(path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(FileFormatError, match="is not a file that nir"):
        read_nir(path)
    nir.write(path, nir.Scale(one()))
    with pytest.raises(FileFormatError, match="is not a file that"):
        read_nir(path)
    nir.write(path, nir.NIRGraph({**ends((3,), (3,)), "scale": nir.Scale(one())}, [("input", "scale"), ("scale", "output")]))
    whole = path.read_bytes()
    for length in range(0, len(whole), 1 + len(whole) // 20):
        path.write_bytes(whole[:length])
        with pytest.raises(FileFormatError, match="is not a file that nir"):
            read_nir(path)


def test_a_file_that_declares_more_than_it_can_hold_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.nir"
    with h5py.File(path, "w") as file:
        file.create_dataset("version", data="1.0.8", dtype=h5py.string_dtype())
        node = file.create_group("node")
        node.create_dataset("type", data="Linear", dtype=h5py.string_dtype())
        node.create_dataset("weight", shape=(1 << 20, 1 << 20), dtype="f4", chunks=(1024, 1024), compression="gzip")
    with pytest.raises(FileFormatError, match="claims 4398046511104 bytes, which the file cannot hold"):
        read_nir(path)
