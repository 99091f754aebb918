"""Lists of tensors whose places are known become data movement; unknown operators are refused with what to do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

import snnir
from snnir.errors import UnsupportedError
from snnir.frontends.onnx import import_onnx, run_onnxruntime
from snnir.frontends.onnx.refused import reason_of
from snnir.ir.execute import execute

node = helper.make_node
X = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)


def model_of(nodes: list[NodeProto], constants: dict[str, object], shape: Sequence[str | int], *domains: str) -> ModelProto:
    graph = helper.make_graph(
        nodes,
        "lists",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.array(array), name) for name, array in constants.items()],
    )
    sets = [helper.make_opsetid("", 17), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=sets, ir_version=8)


PARTS = [node("SplitToSequence", ["x", "sizes"], ["l"], axis=1)]
CASES: dict[str, tuple[list[NodeProto], dict[str, object], Sequence[str | int]]] = {
    "reading parts of different sizes": (
        [
            *PARTS,
            node("SequenceAt", ["l", "i"], ["a"]),
            node("SequenceAt", ["l", "j"], ["b"]),
            node("Concat", ["a", "b"], ["y"], axis=1),
        ],
        {"sizes": [1, 2, 3], "i": -1, "j": 0},
        ["N", 4],
    ),
    "taking one away": (
        [*PARTS, node("SequenceErase", ["l", "i"], ["m"]), node("ConcatFromSequence", ["m"], ["y"], axis=1)],
        {"sizes": 4, "i": 1},
        ["N", 4],
    ),
    "stacking what was put together": (
        [
            node("Relu", ["x"], ["r"]),
            node("SequenceConstruct", ["x", "r"], ["l"]),
            node("SequenceInsert", ["l", "r", "i"], ["m"]),
            node("ConcatFromSequence", ["m"], ["y"], axis=1, new_axis=1),
        ],
        {"i": 0},
        ["N", 3, 6],
    ),
    "from an empty list": (
        [
            node("SequenceEmpty", [], ["l"]),
            node("SequenceInsert", ["l", "x"], ["m"]),
            node("SequenceLength", ["m"], ["n"]),
            node("Sub", ["n", "i"], ["last"]),
            node("SequenceAt", ["m", "last"], ["y"]),
        ],
        {"i": 1},
        ["N", 6],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_lists_are_data_movement(name: str) -> None:
    model = model_of(*CASES[name])
    np.testing.assert_array_equal(execute(import_onnx(model), {"x": X})["y"], run_onnxruntime(model, {"x": X})["y"])
    assert snnir.compile(model, calibration=X).verify(X).ok


def test_a_position_outside_a_list_is_refused() -> None:
    model = model_of([*PARTS, node("SequenceAt", ["l", "i"], ["y"])], {"sizes": 2, "i": 3}, ["N", 2])
    with pytest.raises(UnsupportedError, match=r"y \(SequenceAt\): position 3 in a list of 3"):
        import_onnx(model)


def test_an_unknown_operator_is_refused_with_what_to_do() -> None:
    model = model_of([node("Softmx", ["x"], ["y"], domain="my.ops", name="/head")], {}, ["N", 6], "my.ops")
    model.producer_name = "a maker"
    with pytest.raises(UnsupportedError) as refusal:
        import_onnx(model)
    for part in (
        "opset 17, my.ops 1, made by a maker",
        "/head (Softmx)",
        "domain 'my.ops'",
        "nearest that snnir knows is Softmax",
    ):
        assert part in str(refusal.value)
    assert "export the model with an older operator set" in reason_of("Nothing")
