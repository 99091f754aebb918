"""NIR graphs of others: float graphs where the meaning is exact, refusals by name elsewhere; and files that are damaged."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest

import snnir
from snnir.backends.nir import read_nir
from snnir.backends.nir.synapses import pair
from snnir.errors import FileFormatError, UnsupportedError
from snnir.ir.execute import execute
from snnir.ir.ops import Conv
from tests.backends.nir.interpreter import Interpreter
from tests.backends.nir.test_exact import recurrent


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


CONVOLUTIONS: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "grouped": ((4, 1, 3, 3), {"groups": 2, "padding": 1}),
    "oblong kernel": ((4, 2, 3, 5), {"padding": (1, 2)}),
    "uneven stride and dilation": ((4, 2, 2, 3), {"stride": (2, 1), "dilation": (1, 2), "padding": (0, 1)}),
    "depthwise over one axis": ((2, 1, 3), {"groups": 2, "padding": 1}),
}


@pytest.mark.parametrize("batch", [False, True], ids=["", "batch of 1 in the file"])
@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_convolutions_of_all_shapes_are_read_with_and_without_a_batch(kind: str, batch: bool, tmp_path: Path) -> None:
    """nir's own types are wrong for groups and oblong kernels, and some tools write their batch into the file."""
    shape, given = CONVOLUTIONS[kind]
    rng = np.random.default_rng(0)
    spatial = len(shape) - 2
    options: dict[str, Any] = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1} | given
    op = Conv(
        pair(options["stride"], spatial),
        pair(options["padding"], spatial) * 2,
        pair(options["dilation"], spatial),
        options["groups"],
    )
    x, weight, bias = normal(rng, 6, 2, *(8, 7)[:spatial]), normal(rng, *shape), normal(rng, 4)[: shape[0]]
    y = op.evaluate(x, weight)[0] + bias.reshape(-1, *(1,) * spatial)
    head = normal(rng, 3, y[0].size)
    sample, features = ((1, *array.shape[1:]) if batch else array.shape[1:] for array in (x, y))
    size = x.shape[2] if spatial == 1 else x.shape[2:]
    conv = (nir.Conv1d if spatial == 1 else nir.Conv2d)(
        size, weight, options["stride"], options["padding"], options["dilation"], options["groups"], bias
    )
    nodes = {
        **ends(tuple(sample), (3,)),
        "conv": conv,
        "flatten": nir.Flatten({"input": np.array(features)}, int(batch), -1),
        "head": nir.Linear(head),
    }
    chain = ["input", "conv", "flatten", "head", "output"]
    nir.write(tmp_path / "a.nir", nir.NIRGraph(nodes, list(pairwise(chain)), type_check=False))
    imported = read_nir(tmp_path / "a.nir")
    np.testing.assert_allclose(execute(imported, {"input": x})["output"], y.reshape(len(y), -1) @ head.T, rtol=1e-4, atol=1e-4)
    assert snnir.compile(imported, calibration=x).verify(x).ok


def test_a_network_that_spikes_already_is_compiled_without_data(tmp_path: Path) -> None:
    graph, data = recurrent()
    program = snnir.compile(graph, calibration=data, bits=3)
    snnir.export_nir(program, tmp_path / "a.nir", lengths={"T": 8})
    expected = program.run(data).outputs["logits"]
    again = snnir.compile(snnir.import_nir(tmp_path / "a.nir"))
    np.testing.assert_array_equal(again.run(data).outputs["logits"], expected)
    assert again.levels == ("spiking",) and again.facts.notes is not None and "spiking already" in again.facts.notes[-1]
    again.save(tmp_path / "again.snnir")
    np.testing.assert_array_equal(snnir.load(tmp_path / "again.snnir").run(data).outputs["logits"], expected)
    pytest.importorskip("torch")
    trained = snnir.compile(program.spiking_module().to_graph())
    np.testing.assert_array_equal(trained.run(data).outputs["logits"], expected)


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
