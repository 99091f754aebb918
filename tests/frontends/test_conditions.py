"""Comparisons, conditions, scattering, spectra, remainders and branches: what ONNX Runtime computes, and exact spikes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import snnir
from snnir.errors import UnsupportedError
from snnir.frontends.onnx import run_onnxruntime
from snnir.frontends.onnx.refused import REFUSED, reason_of
from snnir.frontends.onnx.registry import HANDLERS
from snnir.ir.execute import execute
from tests.models import data, model_of

Weights = dict[str, np.ndarray]
Nodes = tuple[list[onnx.NodeProto], Weights]
Draw = Callable[[np.random.Generator], Nodes]


def node(operator: str, takes: list[str], gives: str = "g", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, takes, [gives], f"{operator.lower()}_{gives}", **attributes)


def weights(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return (rng.normal(size=shape) * 0.6).astype(np.float32)


def other() -> onnx.NodeProto:
    """A second changing value, o, from h."""
    return node("Sigmoid", ["h"], "o")


def _compared(operator: str, known: bool) -> Draw:
    def draw(rng: np.random.Generator) -> Nodes:
        first = [node(operator, ["h", "c" if known else "o"], "f"), node("Where", ["f", "h", "o"])]
        return [other(), *first], {"c": weights(rng, 5)} if known else {}

    return draw


def _logic(operator: str) -> Draw:
    def draw(rng: np.random.Generator) -> Nodes:
        nodes = [other(), node("Greater", ["h", "c"], "p"), node("LessOrEqual", ["h", "o"], "q"), node("Not", ["q"], "n")]
        return [*nodes, node(operator, ["p", "n"], "f"), node("Cast", ["f"], to=TensorProto.FLOAT)], {"c": weights(rng, 5)}

    return draw


def whole_truth(rng: np.random.Generator) -> Nodes:
    """Truth as whole numbers, compared again."""
    nodes = [node("Greater", ["h", "c"], "p"), node("Cast", ["p"], "i", to=TensorProto.INT64)]
    return [*nodes, node("Equal", ["i", "one"], "e"), node("Cast", ["e"], to=TensorProto.FLOAT)], {
        "c": weights(rng, 5),
        "one": np.array(1),
    }


def truth_of_numbers(rng: np.random.Generator) -> Nodes:
    """Numbers as truth."""
    return [
        node("Relu", ["h"], "r"),
        node("Cast", ["r"], "b", to=TensorProto.BOOL),
        node("Cast", ["b"], to=TensorProto.FLOAT),
    ], {}


def _scatter_nd(reduction: str) -> Draw:
    def draw(rng: np.random.Generator) -> Nodes:
        places = np.stack([np.repeat(np.arange(2), 3), np.tile(rng.integers(0, 4, 3), 2)], 1).reshape(2, 3, 2)
        nodes = [node("Slice", ["h", "zero", "three", "axis"], "u"), node("ScatterND", ["h", "places", "u"], reduction=reduction)]
        return nodes, {"places": places, "zero": np.array([0]), "three": np.array([3]), "axis": np.array([1])}

    return draw


def _scatter_elements(reduction: str) -> Draw:
    def draw(rng: np.random.Generator) -> Nodes:
        places = np.broadcast_to(rng.integers(-4, 4, (1, 2, 5)), (2, 2, 5))
        places = np.ascontiguousarray(
            places if reduction != "none" else np.broadcast_to(np.array([[[1]], [[3]]]).reshape(1, 2, 1), (2, 2, 5))
        )
        nodes = [
            node("Slice", ["h", "zero", "two", "axis"], "u"),
            node("ScatterElements", ["h", "places", "u"], axis=1, reduction=reduction),
        ]
        return nodes, {"places": places, "zero": np.array([0]), "two": np.array([2]), "axis": np.array([1])}

    return draw


def spectrum(rng: np.random.Generator) -> Nodes:
    """Short-time Fourier transforms of a flattened sample."""
    nodes = [node("Reshape", ["h", "line"], "l"), node("STFT", ["l", "step", "window", ""], "f"), node("Reshape", ["f", "flat"])]
    known = {
        "flat": np.array([0, 40]),
        "line": np.array([0, 20]),
        "step": np.array(4),
        "window": np.hanning(8).astype(np.float32),
    }
    return nodes, known


def back_and_forth(rng: np.random.Generator) -> Nodes:
    """A Fourier transform of complex numbers, and the inverse of another."""
    nodes = [
        node("Unsqueeze", ["h", "end"], "c"),
        node("DFT", ["c", "", "axis"], "f"),
        node("Relu", ["f"], "r"),
        node("DFT", ["r", "", "axis"], inverse=1),
    ]
    return nodes, {"end": np.array([3]), "axis": np.array(1)}


def columns(rng: np.random.Generator) -> Nodes:
    """4 rows of 5 columns as blocks of 2 x 2 in an image of 6 x 2."""
    return [node("Col2Im", ["h", "image", "block"])], {"image": np.array([6, 2]), "block": np.array([2, 2])}


def products(rng: np.random.Generator) -> Nodes:
    """All of a row."""
    return [other(), node("ReduceProd", ["o", "axes"])], {"axes": np.array([2])}


def remainders(rng: np.random.Generator) -> Nodes:
    """By a known divisor for each column."""
    return [node("Mod", ["h", "d"], fmod=1)], {"d": np.array([0.5, 1, 0.7, -0.6, 2], np.float32)}


def units(rng: np.random.Generator) -> Nodes:
    """A unit matrix of the shape of a known table."""
    return [node("EyeLike", ["t"], "i", k=1), node("MatMul", ["h", "i"])], {"t": weights(rng, 5, 5)}


FORMS: dict[str, Draw] = {
    **{f"{word} {'known' if known else 'changing'}": _compared(word, known)
       for word in ("Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal") for known in (False, True)},
    **{word: _logic(word) for word in ("And", "Or", "Xor")},
    "truth as whole numbers": whole_truth,
    "numbers as truth": truth_of_numbers,
    **{f"scatter rows, {word}": _scatter_nd(word) for word in ("none", "add", "mul", "max", "min")},
    **{f"scatter elements, {word}": _scatter_elements(word) for word in ("none", "add", "max")},
    "STFT": spectrum,
    "DFT": back_and_forth,
    "Col2Im": columns,
    "products": products,
    "remainders": remainders,
    "units": units,
}  # fmt: skip


def _shaped(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with two axes for an output of which ONNX infers no shape (behind STFT)."""
    (output,) = model.graph.output
    if not output.type.tensor_type.HasField("shape"):
        output.CopyFrom(helper.make_tensor_value_info(output.name, TensorProto.FLOAT, [None, None]))
    return model


@pytest.mark.parametrize("form", FORMS)
def test_forms_compute_what_onnx_runtime_does_and_spike_exactly(form: str) -> None:
    rng = np.random.default_rng(len(form))
    nodes, known = FORMS[form](rng)
    known = {**known, "first": weights(rng, 6, 5)}
    nodes = [node("MatMul", ["x", "first"], "h"), *nodes]
    inner = _shaped(model_of(nodes, [2, 4, 6], known, output="g"))
    probe = run_onnxruntime(inner, {"x": np.zeros((2, 4, 6), np.float32)})["g"]
    known["second"] = weights(rng, int(np.prod(probe.shape[1:])), 3)
    nodes += [node("Flatten", ["g"], "rows"), node("MatMul", ["rows", "second"], "y")]
    x = data(rng, 6, 4, 6)
    program = snnir.compile(_shaped(model_of(nodes, [2, 4, 6], known)), calibration=x, bits=3, weight_bits=6)
    error = program.facts["import_error"]
    assert isinstance(error, float) and error < 1e-5
    assert program.facts["host_nodes"] == []
    report = program.verify(x)
    assert report.ok and report.compared > 0, report


def branching(chosen: bool) -> onnx.ModelProto:
    """An If whose condition is a constant, and whose branches take a value from around."""
    graphs = {}
    for name, operator in (("then_branch", "Tanh"), ("else_branch", "Relu")):
        give = helper.make_tensor_value_info(f"{name}.y", TensorProto.FLOAT, None)
        graphs[name] = helper.make_graph([helper.make_node(operator, ["h"], [f"{name}.y"], operator)], name, [], [give])
    nodes = [node("MatMul", ["x", "w"], "h"), helper.make_node("If", ["c"], ["y"], "branch", **graphs)]
    return model_of(nodes, [2, 6], {"w": weights(np.random.default_rng(0), 6, 4), "c": np.array(chosen)})


@pytest.mark.parametrize("chosen", [True, False])
def test_a_known_condition_chooses_its_branch(chosen: bool) -> None:
    x = data(np.random.default_rng(0), 8, 6)
    program = snnir.compile(branching(chosen), calibration=x)
    assert program.verify(x).ok
    kinds = {each.op.name for each in program.graph("float").nodes}
    assert ("tanh" if chosen else "relu") in kinds


def changing(yes: list[onnx.NodeProto], no: list[onnx.NodeProto], decides: list[onnx.NodeProto], *shape: int) -> onnx.ModelProto:
    """An If whose condition c `decides` from x; its branches take h."""
    graphs = {
        name: helper.make_graph(nodes, name, [], [helper.make_empty_tensor_value_info(nodes[-1].output[0])])
        for name, nodes in (("then_branch", yes), ("else_branch", no))
    }
    nodes = [node("MatMul", ["x", "w"], "h"), *decides, helper.make_node("If", ["c"], ["y"], "branch", **graphs)]
    rng = np.random.default_rng(0)
    known = {"w": weights(rng, 6, 4), "t": np.array(0, np.float32), "k": weights(rng, 3, 4), "one": np.array([1])}
    model = model_of(nodes, list(shape), known)
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, ["a", "b"]))
    del model.graph.value_info[:]
    for each in graphs:
        attribute = next(item for item in model.graph.node[-1].attribute if item.name == each)
        for output in attribute.g.output:
            output.type.tensor_type.ClearField("shape")
        del attribute.g.value_info[:]
    return model


DECIDES = [node("ReduceMax", ["x"], "m", keepdims=0), node("ReduceMin", ["x"], "l", keepdims=0)]
DECIDES += [node("Add", ["m", "l"], "s"), node("Greater", ["s", "t"], "c")]


def test_a_condition_that_changes_chooses_between_the_results_of_both_branches() -> None:
    model = changing([node("Tanh", ["h"], "a")], [node("Relu", ["h"], "b"), node("Add", ["b", "b"], "d")], DECIDES, 3, 6)
    graph = snnir.import_model(model)
    rng, taken = np.random.default_rng(0), set()
    for _ in range(8):
        x = data(rng, 3, 6)
        taken.add(bool(x.max() + x.min() > 0))
        np.testing.assert_allclose(execute(graph, {"x": x})["y"], run_onnxruntime(model, {"x": x})["y"], atol=1e-5)
        program = snnir.compile(model, calibration=x)
        assert program.facts["host_nodes"] == [] and program.verify(x).ok
    assert taken == {True, False}


FOUR = helper.make_node("Constant", [], ["four"], value_ints=[4])
APART: dict[str, tuple[list[onnx.NodeProto], list[onnx.NodeProto], str]] = {
    "infinities": ([node("Log", ["h"], "a")], DECIDES, "Log .* may give infinities or NaN in the branch that is not taken"),
    "shapes": (
        [node("Slice", ["h", "one", "four", "one"], "a")],
        [FOUR, *DECIDES],
        "its branches give 3x3:f32 and 3x4:f32; they must agree",
    ),
    "elements": (
        [node("Relu", ["h"], "a")],
        [node("Greater", ["x", "t"], "c")],
        "its condition is 3x6:f32; it must be one element",
    ),
}


@pytest.mark.parametrize("case", APART)
def test_branches_that_cannot_both_be_computed_are_refused(case: str) -> None:
    yes, decides, message = APART[case]
    with pytest.raises(UnsupportedError, match=rf"branch \(If\): .*{message}"):
        snnir.import_model(changing(yes, [node("Relu", ["h"], "b")], decides, 3, 6))


@pytest.mark.parametrize("operator", sorted(REFUSED))
def test_the_table_of_refusals_says_why_and_names_nothing_that_is_imported(operator: str) -> None:
    assert operator not in HANDLERS
    assert REFUSED[operator] in reason_of(operator)


def test_an_operator_of_nobody_is_refused_by_its_domain() -> None:
    nodes = [helper.make_node("Fancy", ["x"], ["y"], "fancy", domain="com.someone")]
    model = model_of([node("Relu", ["x"], "y")], ["N", 6], {})
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.opset_import.append(helper.make_opsetid("com.someone", 1))
    with pytest.raises(UnsupportedError, match=r"com\.someone 1.*\n.*fancy \(Fancy\): operator of domain 'com\.someone'"):
        snnir.import_model(model)


def test_gated_units_are_written_out_under_the_names_of_their_nodes() -> None:
    rng = np.random.default_rng(0)
    nodes = [
        node("MatMul", ["x", "a"], "p"),
        node("MatMul", ["x", "b"], "q"),
        helper.make_node("SwiGLU", ["p", "q"], ["g"], "glu"),
        node("MatMul", ["g", "c"], "y"),
    ]
    constants = {"a": weights(rng, 6, 4), "b": weights(rng, 6, 4), "c": weights(rng, 4, 3)}
    model = model_of(nodes, ["N", 6], constants, opset=28)
    found = snnir.check(model)
    assert found.ok
    assert any(each.name.startswith("SwiGLU glu/") and each.fate == "spiking" for each in found.nodes)
    x = data(rng, 8, 6)
    assert snnir.compile(model, calibration=x, check=False).verify(x).ok
