"""QONNX operators against their definition, over random scales, zero points, widths and roundings, ties included.

The definition is that of the QONNX paper (Pappalardo et al., arXiv:2206.07527) and of the specification beside it
(github.com/fastmachinelearning/qonnx, docs/qonnx-custom-ops), written out here in float64; inputs are multiples of an eighth
of the scale, which is a power of two, so that both are exact.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import snnir
from snnir.errors import UnsupportedError
from snnir.frontends.onnx import import_onnx
from snnir.ir.execute import execute

DOMAIN = "qonnx.custom_op.general"
ROUNDINGS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "ROUND": np.round,
    "HALF_EVEN": np.round,
    "CEIL": np.ceil,
    "FLOOR": np.floor,
    "UP": lambda x: np.sign(x) * np.ceil(np.abs(x)),
    "DOWN": np.fix,
    "HALF_UP": lambda x: np.sign(x) * np.floor(np.abs(x) + 0.5),
    "HALF_DOWN": lambda x: np.sign(x) * np.ceil(np.abs(x) - 0.5),
}
BESIDE_ZERO_POINTS = ("ROUND", "HALF_EVEN", "CEIL", "FLOOR")


def ends(bits: int, signed: bool, narrow: bool) -> tuple[int, int]:
    half = 2 ** (bits - 1)
    return (-half + narrow, half - 1) if signed else (0, 2 * half - 1 - narrow)


def int_quant(x: np.ndarray, scale: float, zero: int, bits: int, signed: bool, narrow: bool, rounding: str) -> np.ndarray:
    integers = ROUNDINGS[rounding](np.clip(x / scale + zero, *ends(bits, signed, narrow)))
    return np.asarray((integers - zero) * scale)


def trunc_1(x: np.ndarray, scale: float, bits: int, left: int, rounding: str) -> np.ndarray:
    return np.asarray(ROUNDINGS[rounding](np.round(x / scale) / 2.0 ** (bits - left)) * scale)


def trunc_2(x: np.ndarray, scale: float, target: float, left: int, signed: bool, narrow: bool, rounding: str) -> np.ndarray:
    coarse = np.round(x / scale) / 2.0 ** np.round(np.log2(target / scale))
    return np.asarray(ROUNDINGS[rounding](np.clip(coarse, *ends(left, signed, narrow))) * target)


def _model(nodes: list[onnx.NodeProto], given: dict[str, Any], size: int = 24) -> onnx.ModelProto:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", size]) for name in "xy")
    constants = [numpy_helper.from_array(np.asarray(array, np.float32), name) for name, array in given.items()]
    graph = helper.make_graph(nodes, "qonnx", [x], [y], constants)
    sets = [helper.make_opsetid("", 20), helper.make_opsetid(DOMAIN, 2)]
    return helper.make_model(graph, opset_imports=sets, ir_version=10, producer_name="someone", producer_version="1.2")


def _node(operator: str, operands: list[str], result: str, name: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, operands, [result], name, domain=DOMAIN, **attributes)


def _inside(operator: str, operands: list[str], **attributes: Any) -> list[onnx.NodeProto]:
    """The operator behind a quantizer of 8 bits with steps of `fine`: what comes in are integers, which neurons stand for."""
    return [
        _node("Quant", ["x", "fine", "none", "eight"], "h", "first", signed=1, narrow=0, rounding_mode="ROUND"),
        _node(operator, ["h", *operands], "y", "op", **attributes),
    ]


def _compare(model: onnx.ModelProto, x: np.ndarray, expected: np.ndarray) -> None:
    graph = import_onnx(model)
    np.testing.assert_array_equal(execute(graph, {"x": x})["y"], expected)
    program = snnir.compile(model, calibration=x)
    assert program.facts.given_levels is not None and program.facts.given_levels["differing"] == 0
    outputs = program.run(x[:6]).outputs["y"]
    np.testing.assert_array_equal(outputs, expected[:6])
    report = program.verify(x[:6])
    assert report.compared > 0
    assert report.mismatches == 0


def _draw(rng: np.random.Generator, fine: float) -> np.ndarray:
    """All levels of 8 bits, shuffled."""
    return (rng.permutation(np.arange(-128, 112)).reshape(-1, 24) * fine).astype(np.float32)


@pytest.mark.parametrize("operator", ["IntQuant", "Quant"])
@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_quantizers(rounding: str, operator: str) -> None:
    rng = np.random.default_rng(sorted(ROUNDINGS).index(rounding))
    for _ in range(3):
        bits, signed, narrow = int(rng.integers(2, 8)), bool(rng.integers(2)), bool(rng.integers(2))
        low, high = ends(bits, signed, narrow)
        zero = int(rng.integers(low, high + 1)) if rounding in BESIDE_ZERO_POINTS else 0
        scale = 2.0 ** int(rng.integers(-4, 3))
        given = {"fine": scale / 8, "none": 0, "eight": 8, "scale": scale, "zero": zero, "bits": bits}
        attributes = {"signed": int(signed), "narrow": int(narrow), "rounding_mode": rounding}
        x = _draw(rng, scale / 8)
        expected = int_quant(x, scale, zero, bits, signed, narrow, rounding)
        operands = ["scale", "zero", "bits"]
        direct = [_node(operator, ["x", *operands], "y", "op", **attributes)]
        _compare(_model(direct, given), x, expected)
        _compare(_model(_inside(operator, operands, **attributes), given), x, expected)


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_truncation(rounding: str) -> None:
    """Both versions; of levels of its own scale, of finer ones (which it rounds to its own first), and of real numbers."""
    rng = np.random.default_rng(sorted(ROUNDINGS).index(rounding))
    for finer in (1, 4):
        scale, bits = 2.0 ** int(rng.integers(-4, 3)), 8
        left, target = int(rng.integers(3, 7)), scale * 2.0 ** int(rng.integers(1, 4))
        x = _draw(rng, scale / finer)
        given = {"fine": scale / finer, "none": 0, "eight": 8, "scale": scale, "bits": bits, "left": left, "target": target}
        older, newer = ["scale", "none", "bits", "left"], ["scale", "none", "bits", "target", "left"]
        expected = trunc_1(x, scale, bits, left, rounding)
        _compare(_model(_inside("Trunc", older, rounding_mode=rounding), given), x, expected)
        _compare(_model([_node("Trunc", ["x", *older], "y", "op", rounding_mode=rounding)], given), x, expected)
        signed, narrow = bool(rng.integers(2)), bool(rng.integers(2))
        attributes = {"signed": int(signed), "narrow": int(narrow), "rounding_mode": rounding}
        expected = trunc_2(x, scale, target, left, signed, narrow, rounding)
        _compare(_model(_inside("Trunc", newer, **attributes), given), x, expected)


@pytest.mark.parametrize("scale", [1.0, 0.25, 0.3])
def test_signs(scale: float) -> None:
    rng = np.random.default_rng(0)
    x = _draw(rng, 0.5)
    single = float(np.float32(scale))
    expected = np.where(x >= 0, single, -single)
    given = {"fine": 0.5, "none": 0, "eight": 8, "scale": scale}
    for nodes in (_inside("BipolarQuant", ["scale"]), [_node("BipolarQuant", ["x", "scale"], "y", "op")]):
        graph = import_onnx(_model(nodes, given))
        np.testing.assert_array_equal(execute(graph, {"x": x})["y"], expected)
        program = snnir.compile(_model(nodes, given))
        np.testing.assert_allclose(program.run(x).outputs["y"], expected, rtol=1e-7)
        assert program.verify(x).mismatches == 0
    # one bit, signed, is the same: as the qonnx package reads it
    one = [_node("IntQuant", ["x", "scale", "none", "bit"], "y", "op", signed=1, narrow=0, rounding_mode="ROUND")]
    np.testing.assert_array_equal(execute(import_onnx(_model(one, given | {"bit": 1})), {"x": x})["y"], expected)


def test_a_mean_that_is_truncated_needs_no_population_of_its_own() -> None:
    """As Brevitas exports its average pooling: the mean, times the number of elements, is whole already."""
    given = {"fine": 0.5, "none": 0, "eight": 8, "bits": 10, "left": 6, "count": 4.0}
    nodes = [
        _node("Quant", ["x", "fine", "none", "eight"], "h", "first", signed=1, narrow=0, rounding_mode="ROUND"),
        helper.make_node("AveragePool", ["h"], ["mean"], "mean", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Mul", ["mean", "count"], ["sum"], "sum"),
        _node("Trunc", ["sum", "fine", "none", "bits", "left"], "y", "op", rounding_mode="FLOOR"),
    ]
    model = _model(nodes, given)
    sizes: tuple[list[int | str], list[int | str]] = (["N", 1, 4, 6], ["N", 1, 2, 3])
    for value, shape in zip((model.graph.input[0], model.graph.output[0]), sizes, strict=True):
        value.CopyFrom(helper.make_tensor_value_info(value.name, TensorProto.FLOAT, shape))
    x = _draw(np.random.default_rng(0), 0.5).reshape(-1, 1, 4, 6)
    sums = x.reshape(-1, 1, 2, 2, 3, 2).sum(axis=(3, 5))
    _compare(model, x, trunc_1(sums, 0.5, 10, 6, "FLOOR"))
    spiking = snnir.compile(model).graph("spiking")
    assert sum(node.op.name == "bif" for node in spiking.nodes) == 1


@pytest.mark.parametrize(
    ("operator", "operands", "attributes", "given", "words"),
    [
        ("IntQuant", ["s", "zero", "bits"], {"rounding_mode": "STOCHASTIC"}, {}, "'STOCHASTIC' is unknown; supported are ROUND"),
        ("IntQuant", ["s", "zero", "bits"], {}, {"bits": 3.5}, "a bit width of 3.5; whole numbers from 1 to 32"),
        ("IntQuant", ["s", "zero", "bits"], {}, {"zero": 0.5}, "its zero point is not a whole number"),
        ("IntQuant", ["s", "zero", "bits"], {"rounding_mode": "UP"}, {"zero": 2}, "'UP' beside a zero point that is not 0"),
        ("IntQuant", ["s", "zero", "bits"], {}, {"s": -0.5}, "its scale is -0.5; scales must be positive"),
        ("IntQuant", ["s", "zero", "bits"], {}, {"zero": 99}, "its zero point 99 is outside of -8..7"),
        ("IntQuant", ["x", "zero", "bits"], {}, {}, "its scale changes with the input; it must be constant"),
        ("Trunc", ["s", "zero", "bits", "left"], {}, {"zero": 1}, "its zero point is 1; only 0 is supported"),
        ("Trunc", ["s", "zero", "bits", "left"], {}, {"s": [0.5] * 24}, "its scale differs between channels"),
        ("BipolarQuant", ["x"], {}, {}, "its scale changes with the input"),
    ],
)
def test_what_is_refused_and_how(
    operator: str, operands: list[str], attributes: dict[str, Any], given: dict[str, Any], words: str
) -> None:
    given = {"s": 0.5, "zero": 0, "bits": 4, "left": 2, **given}
    with pytest.raises(UnsupportedError) as caught:
        import_onnx(_model([_node(operator, ["x", *operands], "y", "op", **attributes)], given))
    for said in (f"op ({operator})", "opset 20", f"{DOMAIN} 2", "made by someone 1.2", words):
        assert said in str(caught.value)
