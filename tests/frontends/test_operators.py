"""Operators that are imported as compositions: the import is what ONNX Runtime computes, and the spikes are exact."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

import snnir
from snnir.frontends.onnx import run_onnxruntime
from snnir.ir.execute import execute
from tests.models import data, model_of

Weights = dict[str, np.ndarray]
Nodes = tuple[list[onnx.NodeProto], Weights]
Draw = Callable[[np.random.Generator, tuple[int, ...]], Nodes]


def weights(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return (rng.normal(size=shape) * 0.6).astype(np.float32)


def integers(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def node(operator: str, *more: str, **attributes: Any) -> onnx.NodeProto:
    """From h (and what else it takes) to g."""
    return helper.make_node(operator, ["h", *more], ["g"], operator.lower(), **attributes)


def _simple(operator: str, **attributes: Any) -> Draw:
    return lambda rng, shape: ([node(operator, **attributes)], {})


def _axes(operator: str) -> Draw:
    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> Nodes:
        axes = sorted(rng.choice(np.arange(1, len(shape)), rng.integers(1, len(shape)), replace=False).tolist())
        return [node(operator, "axes", keepdims=int(rng.integers(2)))], {"axes": integers(*axes)}

    return draw


def _two(operator: str) -> Draw:
    """Of h, of a part of it turned around, and of a known tensor."""

    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> Nodes:
        other = helper.make_node("LeakyRelu", ["h"], ["o"], "other", alpha=0.3)
        known = {"c": weights(rng, *shape[1:])} if rng.integers(2) else {}
        return [other, node(operator, "o", *known)], dict(known)

    return draw


def _known(operator: str) -> Draw:
    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> Nodes:
        return [node(operator, "c")], {"c": weights(rng, *(shape[1:] if rng.integers(2) else ()))}

    return draw


def prelu(rng: np.random.Generator, shape: tuple[int, ...]) -> Nodes:
    return [node("PRelu", "slope")], {"slope": weights(rng, shape[1], *([1] * (len(shape) - 2)))}


def where(rng: np.random.Generator, shape: tuple[int, ...]) -> Nodes:
    nodes = [helper.make_node("Sigmoid", ["h"], ["o"]), helper.make_node("Where", ["c", "h", "o"], ["g"], "where")]
    return nodes, {"c": rng.integers(0, 2, shape[1:]).astype(bool)}


def tile(rng: np.random.Generator, shape: tuple[int, ...]) -> Nodes:
    return [node("Tile", "counts")], {"counts": integers(1, *rng.integers(1, 3, len(shape) - 1).tolist())}


def cumsum(rng: np.random.Generator, shape: tuple[int, ...]) -> Nodes:
    flags = {"exclusive": int(rng.integers(2)), "reverse": int(rng.integers(2))}
    return [node("CumSum", "axis", **flags)], {"axis": np.array(int(rng.integers(1, len(shape))))}


def conv_transpose(rng: np.random.Generator, shape: tuple[int, ...]) -> Nodes:
    groups = int(rng.choice([1, 2]))
    spatial = len(shape) - 2
    stride = rng.integers(1, 4, spatial).tolist()
    attributes = {
        "strides": stride,
        "dilations": rng.integers(1, 3, spatial).tolist(),
        "pads": rng.integers(0, 2, 2 * spatial).tolist(),
        "output_padding": [int(rng.integers(step)) for step in stride],
        "group": groups,
    }
    kernel = rng.integers(2, 4, spatial).tolist()
    return [node("ConvTranspose", "w", "b", **attributes)], {
        "w": weights(rng, shape[1], 2, *kernel),
        "b": weights(rng, 2 * groups),
    }


def resize(rng: np.random.Generator, shape: tuple[int, ...]) -> Nodes:
    spatial = len(shape) - 2
    mode = str(rng.choice(["nearest", "linear"]))
    way = str(rng.choice(["half_pixel", "asymmetric", "align_corners"]))
    scales = np.array([1, 1, *rng.choice([1.5, 2.0, 3.0], spatial).tolist()], np.float32)
    return [node("Resize", "", "scales", mode=mode, coordinate_transformation_mode=way)], {"scales": scales}


def depth(rng: np.random.Generator, shape: tuple[int, ...]) -> Nodes:
    mode = str(rng.choice(["DCR", "CRD"]))
    return [node("DepthToSpace", blocksize=2, mode=mode)], {}


def trilu(rng: np.random.Generator, shape: tuple[int, ...]) -> Nodes:
    return [node("Trilu", "k", upper=int(rng.integers(2)))], {"k": np.array(int(rng.integers(-1, 2)))}


def compress(rng: np.random.Generator, shape: tuple[int, ...]) -> Nodes:
    axis = int(rng.integers(1, len(shape)))
    chosen = rng.integers(0, 2, shape[axis]).astype(bool)
    chosen[0] = True
    return [node("Compress", "c", axis=axis)], {"c": chosen}


FORMS: dict[str, tuple[Draw, int]] = {
    "max": (_two("Max"), 3),
    "min": (_two("Min"), 3),
    "max of known": (_known("Max"), 3),
    "min of known": (_known("Min"), 3),
    "sum": (_two("Sum"), 3),
    "mean": (_two("Mean"), 3),
    "neg": (_simple("Neg"), 3),
    "abs": (_simple("Abs"), 3),
    "prelu": (prelu, 3),
    "where": (where, 3),
    "tile": (tile, 3),
    "cumsum": (cumsum, 3),
    "trilu": (trilu, 3),
    "compress": (compress, 3),
    "transposed convolution": (conv_transpose, 3),
    "transposed convolution of images": (conv_transpose, 4),
    "resize": (resize, 3),
    "resize of images": (resize, 4),
    "depth to space": (depth, 4),
    "space to depth": (_simple("SpaceToDepth", blocksize=2), 4),
    "global max": (_simple("GlobalMaxPool"), 4),
    **{word: (_axes(word), 3) for word in ("ReduceSum", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceSumSquare", "ReduceMean")},
}


def network(form: str, rng: np.random.Generator) -> tuple[onnx.ModelProto, tuple[int, ...]]:
    """A convolution to h, the nodes from h to g, a dense layer; and the shape of the input x."""
    draw, rank = FORMS[form]
    shape = (2, 4, *[2 * int(size) for size in rng.integers(2, 4, rank - 2)])
    nodes, known = draw(rng, shape)
    ones = [1] * (rank - 2)
    before = helper.make_node("Conv", ["x", "first"], ["h"], "first", pads=[*ones, *ones])
    known["first"] = weights(rng, 4, 3, *([3] * (rank - 2)))
    inner = model_of([before, *nodes], ["N", 3, *shape[2:]], known, output="g")
    probe = run_onnxruntime(inner, {"x": np.zeros((2, 3, *shape[2:]), np.float32)})["g"]
    known["second"] = weights(rng, int(np.prod(probe.shape[1:])), 3)
    after = [helper.make_node("Flatten", ["g"], ["f"], "flat"), helper.make_node("MatMul", ["f", "second"], ["y"], "second")]
    return model_of([before, *nodes, *after], ["N", 3, *shape[2:]], known), (3, *shape[2:])


@pytest.mark.parametrize("form", FORMS)
def test_compositions_compute_what_onnx_runtime_does_and_spike_exactly(form: str) -> None:
    for seed in range(3):
        rng = np.random.default_rng(seed)
        model, shape = network(form, rng)
        x = data(rng, 6, *shape)
        program = snnir.compile(model, calibration=x, bits=3, weight_bits=6)
        error = program.facts["import_error"]
        assert isinstance(error, float) and error < 1e-5, f"seed {seed}"
        report = program.verify(x)
        assert report.ok and report.compared > 0, f"seed {seed}: {report}"
        assert not program.facts["host_nodes"], f"seed {seed}: {program.facts['host_nodes']}"
        graph = program.graph("float")
        found = execute(graph, {"x": x})["y"]
        np.testing.assert_allclose(found, run_onnxruntime(model, {"x": x})["y"], atol=1e-4)
