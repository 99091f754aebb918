"""Models exported in training mode: statistics of the batch are computed, what is drawn at random is refused."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import snnir
from snnir.errors import UnsupportedError
from snnir.frontends.onnx import import_onnx
from snnir.ir.execute import execute

RNG = np.random.default_rng(2)
KNOWN = {name: RNG.uniform(0.5, 2, 3).astype(np.float32) for name in ("scale", "bias", "mean", "var")}


def trained(shape: list[int | str]) -> onnx.ModelProto:
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)]
    outputs += [helper.make_tensor_value_info(name, TensorProto.FLOAT, [3]) for name in ("new_mean", "new_var")]
    names = [output.name for output in outputs]
    node = helper.make_node("BatchNormalization", ["x", *KNOWN], names, "norm", training_mode=1, momentum=0.75, epsilon=0.01)
    graph = helper.make_graph(
        [node],
        "trained",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        outputs,
        [onnx.numpy_helper.from_array(array, name) for name, array in KNOWN.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)


@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 5), (2, 3, 4, 3)])
def test_statistics_of_the_batch(shape: tuple[int, ...]) -> None:
    x = RNG.normal(1, 2, shape).astype(np.float32)
    axes, each = (0, *range(2, len(shape))), (-1, *[1] * (len(shape) - 2))
    mean, variance = x.mean(axis=axes), x.var(axis=axes)
    scale, bias = KNOWN["scale"].reshape(each), KNOWN["bias"].reshape(each)
    wanted = {
        "y": (x - mean.reshape(each)) / np.sqrt(variance.reshape(each) + 0.01) * scale + bias,
        "new_mean": 0.75 * KNOWN["mean"] + 0.25 * mean,
        "new_var": 0.75 * KNOWN["var"] + 0.25 * variance,
    }
    model = trained(list(shape))
    graph = import_onnx(model)
    assert any("norm is in training mode" in note for note in graph.notes)
    for name, array in execute(graph, {"x": x}).items():
        np.testing.assert_allclose(array, wanted[name], rtol=1e-4, atol=1e-5)
    assert snnir.compile(model, calibration=x).verify(x).ok


def test_statistics_of_an_open_batch_are_refused() -> None:
    x = RNG.normal(size=(6, 3, 5)).astype(np.float32)
    with pytest.raises(UnsupportedError, match="mix the samples.*\\n  BatchNormalization norm .*puts samples together"):
        snnir.compile(trained(["N", 3, 5]), calibration=x, check=False)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("operator", ["Bernoulli", "RandomNormalLike", "Multinomial", "Dropout"])
def test_what_is_drawn_at_random_is_refused_of_constants_too(operator: str, known: bool) -> None:
    operands = ["c" if known else "x", *(["ratio", "yes"] if operator == "Dropout" else [])]
    nodes = [helper.make_node(operator, operands, ["d"], "draw"), helper.make_node("Cast", ["d"], ["f"], to=1)]
    nodes.append(helper.make_node("Add", ["x", "f"], ["y"]))
    constants = {"c": np.full((2, 4), 0.5, np.float32), "ratio": np.array(0.5, np.float32), "yes": np.array(True)}
    graph = helper.make_graph(
        nodes,
        "drawn",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 4])],
        [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    with pytest.raises(UnsupportedError, match=rf"draw \({operator}\): .*random"):
        import_onnx(model)
