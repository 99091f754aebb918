"""Function bodies of standard ONNX operators compute what snnir's ops compute: by example, over drawn graphs, on every level.

onnx writes the calls out (its inliner), and onnx's own reference evaluator runs what comes of it.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper
from onnx.inliner import inline_local_functions
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from snnir.ir import Graph, TensorType
from snnir.ir.dims import dim
from snnir.ir.execute import apply, execute
from snnir.ir.op import OPS, Example
from snnir.ir.ops import Cast, Expand, Pad, Range, Reshape, SequenceMask
from snnir.passes import Context, default_pipeline, run_pipeline
from snnir.views.onnx_file import onnx_model
from snnir.views.onnx_functions import DOMAIN, OPSET, WITHOUT, WRITERS, Functions, info
from tests.random_graphs import random_graph
from tests.views.conftest import Digits


class MaxPool(OpRun):
    """ONNX Runtime's: the reference evaluator of onnx 1.23 takes the paddings of an image in another order than ONNX has them."""

    def _run(self, x: np.ndarray, **attributes: Any) -> tuple[np.ndarray, ...]:
        kind = helper.np_dtype_to_tensor_dtype(x.dtype)
        names = list(self.onnx_node.output)
        node = helper.make_node(
            "MaxPool", ["x"], names, **{name: value for name, value in attributes.items() if value is not None}
        )
        given = [helper.make_tensor_value_info("x", kind, x.shape)]
        kinds = [kind, onnx.TensorProto.INT64]
        results = [helper.make_tensor_value_info(*item, None) for item in zip(names, kinds, strict=False)]
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(helper.make_graph([node], "pool", given, results), opset_imports=opsets, ir_version=10)
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        return tuple(np.asarray(array) for array in session.run(None, {"x": x}))


def _evaluate(model: onnx.ModelProto, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    onnx.checker.check_model(model, full_check=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy's, of what the reference evaluator computes where another branch is taken
        return [np.asarray(array) for array in _run(inline_local_functions(model), inputs)]


def _run(model: onnx.ModelProto, inputs: Mapping[str, np.ndarray]) -> Any:
    return ReferenceEvaluator(model, new_ops=[MaxPool]).run(None, dict(inputs))


def _same(found: np.ndarray, wanted: np.ndarray) -> None:
    assert found.shape == wanted.shape
    if wanted.dtype.kind == "f":
        assert found.dtype == wanted.dtype
        np.testing.assert_allclose(
            found, wanted, rtol=1e-5, atol=1e-6 * max(1.0, float(np.abs(wanted[np.isfinite(wanted)]).max(initial=0)))
        )
    else:
        assert found.dtype == wanted.dtype or wanted.dtype.kind == "U"
        assert (found == wanted).all()


def _examples() -> Iterator[object]:
    for name, op in OPS.items():
        if name not in WITHOUT:
            for place, each in enumerate(op.examples()):
                yield pytest.param(each, id=f"{name}-{place}")


@pytest.mark.parametrize("each", list(_examples()))
def test_a_body_computes_what_the_op_computes(each: Example) -> None:
    graph = Graph("one", each.op.levels[0])
    operands = [graph.input(f"in{place}", type_) for place, type_ in enumerate(each.types)]
    node = graph.add(each.op, *operands, names=["out"])[0].node
    functions = Functions((), lambda node, made, prefix: None)
    call = functions.call(node, "").node
    assert functions.protos
    given, results = ([info(value.name, value.type) for value in values] for values in (operands, node.outputs))
    model = helper.make_model(
        helper.make_graph([call], "one", given, results),
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)],
        functions=functions.protos,
        ir_version=10,
    )
    arrays = [array.astype(object) if array.dtype.kind == "U" else array for array in each.arrays]
    found = _evaluate(model, {value.name: array for value, array in zip(operands, arrays, strict=True)})
    for array, wanted in zip(found, apply(node, each.arrays, {}), strict=True):
        _same(array, wanted)


def test_every_op_has_a_body_or_a_reason() -> None:
    builtin = {name for name, op in OPS.items() if op.__module__.startswith("snnir.")}
    assert set(WRITERS) | set(WITHOUT) >= builtin
    assert not set(WRITERS) & set(WITHOUT)
    assert set(WITHOUT) == {"bit_cast"}
    assert all(len(reason.split()) > 5 for reason in WITHOUT.values())


@pytest.mark.parametrize("seed", [*range(24), 151, 181])
def test_a_drawn_graph_computes_the_same_in_standard_operators(seed: int) -> None:
    graph, inputs = random_graph(seed)
    model = onnx_model(graph)
    found = _evaluate(model, {name: np.asarray(array) for name, array in inputs.items()})
    for array, wanted in zip(found, execute(graph, inputs).values(), strict=True):
        _same(array, wanted)


def test_sizes_that_no_operand_tells_are_measured_at_the_inputs() -> None:
    graph, length = Graph("open"), dim("T")
    x = graph.input("x", TensorType((dim("N"), length, 3), "f32"))
    flat = graph.add1(Reshape((dim("N") * length, 3)), x)
    apart = graph.add1(Reshape((dim("N"), length, 3)), flat)
    graph.output("y", graph.add1(Pad((0, 0, 0, 0, 8 - length, 0)), apart))
    model = onnx_model(graph)
    assert [node.output[0] for node in model.graph.node if node.op_type == "Shape"] == ["size N", "size T"]
    for shape in ((2, 5, 3), (1, 8, 3)):
        data = {"x": np.random.default_rng(0).normal(size=shape).astype(np.float32)}
        _same(_evaluate(model, data)[0], execute(graph, data)["y"])


def test_a_size_that_follows_from_the_data_leaves_an_op_without_a_body() -> None:
    graph = Graph("counted")
    numbers = [graph.input(name, TensorType((), "i64")) for name in ("start", "limit", "delta")]
    counted = graph.add1(Range(), *numbers)
    graph.output("y", graph.add1(Expand((2, dim("range"))), counted))
    assert {function.name for function in onnx_model(graph).functions} == {"range", "expand"}  # it is there already
    lengths = graph.add1(Cast("f32"), counted)
    graph.output("mask", graph.add1(SequenceMask(dim("elsewhere")), lengths))
    model = onnx_model(graph)
    assert {function.name for function in model.functions} == {"range", "expand", "cast"}
    (without,) = [node for node in model.graph.node if node.op_type == "sequence_mask"]
    assert "no standard operators" in {item.key for item in without.metadata_props}


@pytest.mark.parametrize("neuron", ["bif", "few-spikes"])
@pytest.mark.parametrize("seed", range(6))
def test_quantized_and_spiking_graphs_compute_the_same_in_standard_operators(seed: int, neuron: str) -> None:
    graph, inputs = random_graph(seed)
    stages = run_pipeline(graph, default_pipeline(4 + seed % 5, 8, neuron=neuron), Context(inputs))
    levels = {stage.graph.level: stage.graph for stage in stages}
    for level in ("quantized", "spiking"):
        found = _evaluate(onnx_model(levels[level]), {name: np.asarray(array) for name, array in inputs.items()})
        for array, wanted in zip(found, execute(levels[level], inputs).values(), strict=True):
            _same(array, wanted)


@pytest.mark.parametrize("level", ["float", "quantized", "spiking"])
def test_every_level_of_a_crnn_computes_the_same_in_standard_operators(digits: Digits, level: str) -> None:
    graph = digits.program.graph(level)
    (name,) = [value.name for value in graph.inputs]
    (found,) = _evaluate(onnx_model(graph), {name: digits.x[:3]})
    _same(found, next(iter(execute(graph, {name: digits.x[:3]}).values())))
