"""Data that are too small for a convolution or a pool are refused by name everywhere, with the least size that fits."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import onnx
import pytest
from onnx import helper

import snnir
from snnir.errors import InputError, ModelError, UnsupportedError
from tests.models import data, model_of

RNG = np.random.default_rng(0)


def network(kind: str, height: int | str = "H") -> onnx.ModelProto:
    """Two windowed layers of x[N, 2, height, 6]."""
    weights = {"w": data(RNG, 3, 2, 3, 3), "v": data(RNG, 3, 3, 3, 1)}
    second = {
        "conv": helper.make_node("Conv", ["r"], ["c"], name="second"),
        "max": helper.make_node("MaxPool", ["r"], ["c"], name="second", kernel_shape=[3, 1]),
        "average": helper.make_node("AveragePool", ["r"], ["c"], name="second", kernel_shape=[3, 1], strides=[2, 1]),
        "dilated": helper.make_node("Conv", ["r"], ["c"], name="second", dilations=[2, 1]),
        "padded": helper.make_node("Conv", ["r"], ["c"], name="second", pads=[1, 0, 0, 0]),
    }[kind]
    if second.op_type == "Conv":
        second.input.append("v")
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], name="first"),
        helper.make_node("Relu", ["a"], ["r"], name="relu"),
        second,
        helper.make_node("Relu", ["c"], ["y"], name="last"),
    ]
    return model_of(nodes, ["N", 2, height, 6], weights)


LEAST = {"conv": 5, "max": 5, "average": 5, "dilated": 7, "padded": 4}


@pytest.mark.parametrize("kind", LEAST)
def test_open_sizes_that_are_too_small_are_named_with_what_is_needed(kind: str) -> None:
    model, least = network(kind), LEAST[kind]
    program = snnir.compile(model, calibration=data(RNG, 8, 2, 9, 6))
    assert program.verify(data(RNG, 2, 2, least, 6)).ok
    for height in range(1, least):
        small = data(RNG, 4, 2, height, 6)
        name = "first" if height < 3 else "second"
        says = rf"the data are too small: \w+ {name} has a window of \d and finds \d.*; H is {height} and must be {least} or more"
        for call in (
            program.run,
            program.verify,
            program.reference,
            lambda x: program.run(x, backend="torch" if find_spec("torch") else "simulator"),
            lambda x: snnir.compile(model, calibration=x),
            lambda x: snnir.bundle(program, x),
        ):
            with pytest.raises(InputError, match=says):
                call(small)


def test_a_fixed_size_that_is_too_small_is_refused_by_the_import() -> None:
    with pytest.raises((ModelError, UnsupportedError), match=r"second.*a window of 3 does not fit into 1"):
        snnir.import_model(network("conv", 3))
