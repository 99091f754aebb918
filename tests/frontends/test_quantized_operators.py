"""Quantized operators one by one: ONNX Runtime's own against ONNX Runtime, over all pairs of 8-bit integers where there are
two operands; and in spikes.

Scales come in three kinds. Of powers of two float32 decides nothing: every integer must be the same, ties (which are many)
included. Decimal fractions are ties in float32 and next to ties in real numbers: what differs must be next to a tie. Random
ones meet hardly any.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import snnir
from snnir.compiler.quantized_models import compare_with_runtime
from snnir.errors import UnsupportedError
from snnir.frontends.onnx import import_onnx, run_onnxruntime
from snnir.ir import Graph
from snnir.ir.execute import execute

Record = Callable[[str, object], None]
DOMAIN = "com.microsoft"


@dataclass(frozen=True)
class Form:
    """An operator: how many quantized operands, attributes, the shape of one sample."""

    operator: str
    operands: int = 1
    attributes: Mapping[str, Any] = field(default_factory=dict)
    shape: tuple[int, ...] = (16,)
    one: bool = False
    """Whether a result is a function of one integer, which snnir computes in float32 as the file does."""


IMAGE = (2, 4, 4)
FORMS = {
    "add": Form("QLinearAdd", 2),
    "mul": Form("QLinearMul", 2),
    "concat": Form("QLinearConcat", 2, {"axis": 1}, one=True),
    "sigmoid": Form("QLinearSigmoid"),
    "leaky relu": Form("QLinearLeakyRelu", 1, {"alpha": 0.1}, one=True),
    "leaky relu of 1/8": Form("QLinearLeakyRelu", 1, {"alpha": 0.125}, one=True),
    "average": Form("QLinearAveragePool", 1, {"kernel_shape": [2, 2], "strides": [2, 2]}, IMAGE),
    "average at borders": Form("QLinearAveragePool", 1, {"kernel_shape": [3, 3], "pads": [1] * 4}, IMAGE),
    "average with padding": Form(
        "QLinearAveragePool", 1, {"kernel_shape": [3, 3], "pads": [1] * 4, "count_include_pad": 1}, IMAGE
    ),
    "global average": Form("QLinearGlobalAveragePool", 1, {}, IMAGE),
}


def _scale(rng: np.random.Generator, kind: str, result: bool) -> float:
    if kind == "powers":  # sums of odd multiples, so that ties go both ways
        return 2.0 ** int(rng.integers(-5, 0)) if result else float(rng.choice([1, 3, 5])) * 2.0 ** int(rng.integers(-6, -2))
    return float(rng.choice([0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.4]) if kind == "decimal" else rng.uniform(0.004, 0.1))


def _model(
    nodes: list[onnx.NodeProto], given: dict[str, np.ndarray], inputs: list[str], shape: list[int | str]
) -> onnx.ModelProto:
    entries = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in inputs]
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", *(f"d{n}" for n in range(len(shape) - 1))])
    constants = [numpy_helper.from_array(np.asarray(array), name) for name, array in given.items()]
    graph = helper.make_graph(nodes, "operator", entries, [result], constants)
    sets = [helper.make_opsetid("", 20), helper.make_opsetid(DOMAIN, 1)]
    return helper.make_model(graph, opset_imports=sets, ir_version=10, producer_name="someone", producer_version="1.2")


def _draw(
    form: Form, rng: np.random.Generator, kind: str, dtype: type[np.integer[Any]]
) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """The operator between quantizers, and inputs that are worth every integer (every pair) of its type."""
    ends = np.iinfo(dtype)
    inputs = ["a", "b"][: form.operands]
    given: dict[str, np.ndarray] = {}
    for name in (*inputs, "c"):
        given[f"{name}s"] = np.array(_scale(rng, kind, name == "c"), np.float32)
        given[f"{name}z"] = np.array(int(rng.integers(ends.min, ends.max + 1)), dtype)
    if form.operator == "QLinearSigmoid":
        given["cs"], given["cz"] = np.array(1 / 256, np.float32), np.array(ends.min + int(rng.integers(2)), dtype)
    quantized = [[f"{name}q", f"{name}s", f"{name}z"] for name in inputs]
    operands = [word for words in quantized for word in words]
    operands = ["cs", "cz", *operands] if form.operator == "QLinearConcat" else [*operands, "cs", "cz"]
    nodes = [
        helper.make_node("QuantizeLinear", [name, *words[1:]], [words[0]], f"{name}_in")
        for name, words in zip(inputs, quantized, strict=True)
    ]
    nodes.append(helper.make_node(form.operator, operands, ["cq"], "op", domain=DOMAIN, **form.attributes))
    nodes.append(helper.make_node("DequantizeLinear", ["cq", "cs", "cz"], ["y"], "out"))
    every = np.arange(ends.min, ends.max + 1)
    if form.shape == IMAGE:
        integers = [rng.integers(ends.min, ends.max + 1, (200, *IMAGE))]
    elif form.operands == 1:
        integers = [every.reshape(-1, 16)]
    else:
        integers = [pair.reshape(-1, 16) for pair in np.meshgrid(every, every)]
    x = {
        name: ((array - int(given[f"{name}z"])) * given[f"{name}s"].astype(np.float64)).astype(np.float32)
        for name, array in zip(inputs, integers, strict=True)
    }
    return _model(nodes, given, inputs, ["N", *form.shape]), x


def _set(model: onnx.ModelProto, name: str, array: np.ndarray) -> None:
    next(item for item in model.graph.initializer if item.name == name).CopyFrom(numpy_helper.from_array(array, name))


@pytest.mark.parametrize("kind", ["powers", "decimal", "random"])
@pytest.mark.parametrize("name", FORMS)
def test_integers_are_those_of_onnx_runtime(name: str, kind: str, record_property: Record) -> None:
    form, compared, differ, near = FORMS[name], 0, 0, 0
    for seed in range(8):
        model, x = _draw(form, np.random.default_rng(seed), kind, (np.uint8, np.int8)[seed % 2])
        counts, _ = compare_with_runtime(model, import_onnx(model), x)
        assert {item.name for item in counts} == {"cq", *(f"{word}q" for word in x)}
        compared += sum(item.compared for item in counts)
        differ += sum(item.differ for item in counts)
        near += sum(item.near for item in counts)
        assert max(item.most for item in counts) <= 1
    assert differ == near
    assert differ <= (0 if kind == "powers" or form.one else 0.05 * compared if kind == "decimal" else 1e-5 * compared)
    record_property("summary", f"{form.operator} ({name}), scales {kind}: {differ} of {compared} differ, all next to a tie")


def _values(graph: Graph, x: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    execute(graph, x, lambda value, array: found.update({value.name: array}))
    return found


@pytest.mark.parametrize("operator", ["Add", "Mul"])
def test_operators_that_onnx_runtime_fuses_differ_at_ties_alone(operator: str) -> None:
    """Between DequantizeLinear and QuantizeLinear the zero point is added after rounding; ONNX Runtime's one operator adds it
    before. Beside an even zero point they are the same; node by node, as integers are compared, they are the same in any case.
    """
    for zero in (200, 201):
        model, x = _draw(FORMS["add" if operator == "Add" else "mul"], np.random.default_rng(0), "powers", np.uint8)
        _set(model, "cz", np.array(zero, np.uint8))
        for name, scale in (("as", 0.25), ("bs", 0.5), ("cs", 0.5)):
            _set(model, name, np.array(scale, np.float32))
        place = next(n for n, node in enumerate(model.graph.node) if node.name == "op")
        parts = [helper.make_node("DequantizeLinear", [f"{name}q", f"{name}s", f"{name}z"], [f"{name}r"]) for name in "ab"]
        parts.append(helper.make_node(operator, ["ar", "br"], ["h"], "op"))
        parts.append(helper.make_node("QuantizeLinear", ["h", "cs", "cz"], ["cq"], "result"))
        nodes = [*model.graph.node[:place], *parts, *model.graph.node[place + 1 :]]
        del model.graph.node[:]
        model.graph.node.extend(nodes)
        graph = import_onnx(model)
        counts, worst = compare_with_runtime(model, graph, x)
        assert {item.name for item in counts} == {"aq", "bq", "cq"}
        assert all(item.differ == 0 and item.compared == 2**16 for item in counts) and worst == 0
        apart = execute(graph, x)["y"] != run_onnxruntime(model, x)["y"]
        assert apart.any() == (zero % 2 == 1)
        ratio = _values(graph, x)["h"] / 0.5
        assert np.all(ratio[apart] - np.floor(ratio[apart]) == 0.5)


@pytest.mark.parametrize("kind", ["powers", "random"])
@pytest.mark.parametrize("name", FORMS)
def test_the_grid_changes_no_integer_and_the_spikes_are_exact(name: str, kind: str) -> None:
    for seed in (2, 5):
        model, x = _draw(FORMS[name], np.random.default_rng(seed), kind, (np.uint8, np.int8)[seed % 2])
        few = {word: array[:: max(1, len(array) // 24)] for word, array in x.items()}
        program = snnir.compile(model, calibration=x)
        assert program.facts.given_levels is not None and program.facts.given_levels["differing"] == 0
        before, _ = compare_with_runtime(model, import_onnx(model), x)
        after, _ = compare_with_runtime(model, program.graph("quantized"), x)
        assert [(item.name, item.differ) for item in before] == [(item.name, item.differ) for item in after]
        report = program.verify(few)
        assert report.compared > 100
        assert report.mismatches == 0


def test_ties_beside_an_odd_zero_point_are_rounded_up_or_refused_where_the_user_says_so() -> None:
    """ONNX Runtime rounds products after it added the zero point: halves go to the odd level where that is odd."""
    model, x = _draw(FORMS["mul"], np.random.default_rng(0), "powers", np.uint8)
    _set(model, "cz", np.array(201, np.uint8))
    exact, rounded = snnir.compile(model, calibration=x), snnir.compile(model, calibration=x, rounding="half-up")
    assert rounded.facts.given_levels is not None and exact.facts.import_levels is not None
    changed = rounded.facts.given_levels["differing"]
    assert exact.facts.import_levels["differing"] == 0
    assert changed > 0
    counts, _ = compare_with_runtime(model, rounded.graph("quantized"), x)
    assert sum(item.differ for item in counts) == changed
    with pytest.raises(UnsupportedError, match=r"QLinearMul op.*halfway"):
        snnir.compile(model, rounding="refuse")


def test_scales_that_float32_makes_ties_do_not_stop_the_compiler() -> None:
    """9 % of the sums differ, next to ties all of them: either integer is right in float32."""
    form = FORMS["add"]
    model, x = _draw(form, np.random.default_rng(0), "powers", np.uint8)
    for name, value in (("as", 0.2), ("bs", 0.1), ("cs", 0.6)):
        _set(model, name, np.array(value, np.float32))
    counts, _ = compare_with_runtime(model, import_onnx(model), x)
    result = next(item for item in counts if item.name == "cq")
    assert 0 < result.differ == result.near
    chosen = {word: array[::256] for word, array in x.items()}
    program = snnir.compile(model, calibration=chosen)
    levels = program.facts.import_levels
    assert levels is not None and (levels["next_to_a_tie"] or not levels["differing"])


@pytest.mark.parametrize(("dtype", "lowest"), [(np.uint8, 0), (np.int8, -128)])
@pytest.mark.parametrize("separate", [False, True])
def test_a_quantized_softmax_is_the_hosts(dtype: type[np.integer[Any]], lowest: int, separate: bool) -> None:
    """As one operator, and between QuantizeLinear and DequantizeLinear."""
    rng = np.random.default_rng(3)
    given: dict[str, np.ndarray] = {"wq": rng.integers(-100, 100, (6, 5)).astype(np.int8), "wz": np.array(0, np.int8)}
    scales = {"x": 0.05, "w": 0.0101, "h": 0.031, "y": 1 / 256}
    given |= {f"{name}s": np.array(scale, np.float32) for name, scale in scales.items()}
    given |= {f"{name}z": np.array(shift, dtype) for name, shift in (("x", 3), ("h", 7), ("y", lowest))}
    nodes = [
        helper.make_node("QuantizeLinear", ["a", "xs", "xz"], ["xq"], "in"),
        helper.make_node("QLinearMatMul", ["xq", "xs", "xz", "wq", "ws", "wz", "hs", "hz"], ["hq"], "product"),
    ]
    if separate:
        nodes.append(helper.make_node("DequantizeLinear", ["hq", "hs", "hz"], ["h"], "back"))
        nodes.append(helper.make_node("Softmax", ["h"], ["s"], "softmax"))
        nodes.append(helper.make_node("QuantizeLinear", ["s", "ys", "yz"], ["yq"], "again"))
    else:
        words = ["hq", "hs", "hz", "ys", "yz"]
        nodes.append(helper.make_node("QLinearSoftmax", words, ["yq"], "softmax", domain=DOMAIN, axis=-1, opset=13))
    nodes.append(helper.make_node("DequantizeLinear", ["yq", "ys", "yz"], ["y"], "out"))
    model = _model(nodes, given, ["a"], ["N", 6])
    x = {"a": rng.normal(size=(64, 6)).astype(np.float32)}
    counts, _ = compare_with_runtime(model, import_onnx(model), x)
    assert sum(item.differ for item in counts) == 0
    fates = {node.name: node.fate for node in snnir.check(model).nodes}
    assert (fates["softmax"], fates["product"]) == ("host", "spiking")
    program = snnir.compile(model, calibration=x)
    report = program.verify(x)
    assert report.mismatches == 0
    levels = program.run(x).outputs["y"] * 256
    np.testing.assert_array_equal(levels, np.rint(levels))


def _dynamic(operator: str) -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    given: dict[str, np.ndarray] = {"ws": np.array(0.01, np.float32), "w": rng.integers(-9, 9, (6, 6)).astype(np.int8)}
    nodes = [helper.make_node(operator, ["a", "w", "ws"], ["y"], "dynamic", domain=DOMAIN)]
    if operator == "DynamicQuantizeLSTM":
        given = {
            "w": rng.integers(-9, 9, (1, 6, 8)).astype(np.int8),
            "r": rng.integers(-9, 9, (1, 2, 8)).astype(np.int8),
            "s": np.array([0.01], np.float32),
            "z": np.array([0], np.int8),
        }
        words = ["a", "w", "r", "", "", "", "", "", "s", "z", "s", "z"]
        nodes = [helper.make_node(operator, words, ["y"], "dynamic", domain=DOMAIN, hidden_size=2)]
    if operator == "DynamicQuantizeLinear":
        nodes = [
            helper.make_node(operator, ["a"], ["q", "s", "z"], "dynamic"),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], "back"),
        ]
    return _model(nodes, given, ["a"], ["N", 6] if operator != "DynamicQuantizeLSTM" else ["T", "N", 6])


@pytest.mark.parametrize("operator", ["DynamicQuantizeLinear", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM"])
def test_scales_that_follow_the_input_are_refused(operator: str) -> None:
    with pytest.raises(UnsupportedError) as caught:
        import_onnx(_dynamic(operator))
    said = str(caught.value)
    for words in (
        f"dynamic ({operator})",
        "opset 20",
        "com.microsoft 1",
        "made by someone 1.2",
        "quantize the float model statically (",
    ):
        assert words in said


def _integer(operator: str, *, zero: str = "z", channels: bool = False) -> onnx.ModelProto:
    """An operator of integers; `zero` names the zero point of its left side, `changing` being one that the model computes."""
    rng = np.random.default_rng(0)
    given: dict[str, np.ndarray] = {
        "xs": np.array(0.05, np.float32),
        "xz": np.array(3, np.uint8),
        "z": np.array([3] * 6 if channels else 3, np.uint8),
        "s": np.array(0.02, np.float32),
        "w": rng.integers(-9, 9, (6, 6)).astype(np.int8),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["a", "xs", "xz"], ["q"], "in"),
        helper.make_node("QuantizeLinear", ["a", "xs", "xz"], ["changing"], "zero"),
        helper.make_node(operator, ["q", "w", zero], ["sum"], "product"),
        helper.make_node("Cast", ["sum"], ["y"], "real", to=TensorProto.FLOAT),
    ]
    return _model(nodes, given, ["a"], ["N", 6])


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (_integer("MatMulInteger", zero="changing"), ("product (MatMulInteger)", "the zero point of a changes with the input")),
        (_integer("MatMulInteger", channels=True), ("product (MatMulInteger)", "a has a scale or zero point for each row")),
    ],
)
def test_zero_points_that_no_threshold_holds_are_refused(model: onnx.ModelProto, words: tuple[str, ...]) -> None:
    with pytest.raises(UnsupportedError) as caught:
        import_onnx(model)
    for word in (*words, "opset 20", "made by someone 1.2"):
        assert word in str(caught.value)


def test_operators_that_onnx_runtime_alone_knows_are_refused_by_name() -> None:
    nodes = [helper.make_node("QLinearReduceMean", ["a"], ["y"], "mean", domain=DOMAIN)]
    with pytest.raises(UnsupportedError, match=r"mean \(QLinearReduceMean\): operator of domain 'com.microsoft'"):
        import_onnx(_model(nodes, {}, ["a"], ["N", 6]))


@pytest.mark.parametrize("operator", ["DynamicQuantizeMatMul", "DynamicQuantizeLSTM"])
def test_what_such_an_operator_gives_a_sample_depends_on_its_company(operator: str) -> None:
    """The reason to refuse: the scale is that of the whole batch, so that there are no integers of a sample to be exact to."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(_dynamic(operator).SerializeToString(), options, ["CPUExecutionProvider"])
    rng, axis = np.random.default_rng(0), int(operator == "DynamicQuantizeLSTM")
    shape = (5, 1, 6) if axis else (1, 6)
    x, other = (factor * rng.normal(size=shape).astype(np.float32) for factor in (1, 20))
    alone = session.run(None, {"a": x})[0]
    together = session.run(None, {"a": np.concatenate([x, other], axis)})[0]
    company = together[:, :, :1] if axis else together[:1]
    assert float(np.abs(alone - company).max()) > 0.05 * float(np.abs(alone).max())


def _two_parts(second: float, zeros: list[int]) -> onnx.ModelProto:
    """Two quantized values, the second of scale `second` and with a zero point per channel, joined and multiplied."""
    given: dict[str, np.ndarray] = {
        "s": np.array(0.1, np.float32),
        "t": np.array([second] * len(zeros) if len(zeros) > 1 else second, np.float32),
        "z": np.array(0, np.int8),
        "u": np.array(zeros if len(zeros) > 1 else zeros[0], np.int8),
        "w": np.ones((12, 2), np.float32),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["a", "s", "z"], ["q"], "first"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["f"], "first_back"),
        helper.make_node("QuantizeLinear", ["a", "t", "u"], ["r"], "second", axis=1),
        helper.make_node("DequantizeLinear", ["r", "t", "u"], ["g"], "second_back", axis=1),
        helper.make_node("Concat", ["f", "g"], ["both"], "both", axis=1),
        helper.make_node("MatMul", ["both", "w"], ["y"], "product"),
    ]
    return _model(nodes, given, ["a"], ["N", 6])


def test_levels_of_different_worth_that_meet_are_refused() -> None:
    assert snnir.check(_two_parts(0.1, [0])).ok
    found = snnir.check(_two_parts(0.2, [0]))
    (refusal,) = found.refusals
    assert "first" in refusal.node and "quantize what they become by one scale" in refusal.reason
    with pytest.raises(UnsupportedError, match=r"opset 20, com.microsoft 1, made by someone 1.2\).*\n.*QuantizeLinear first"):
        snnir.compile(_two_parts(0.2, [0]))


def test_channels_with_different_zero_points_are_refused() -> None:
    words = r"second_back \(DequantizeLinear\): channels with different zero points, of a value that changes"
    with pytest.raises(UnsupportedError, match=words):
        import_onnx(_two_parts(0.1, [0, 0, 0, 1, 0, 0]))


def test_formats_of_floating_point_are_refused() -> None:
    zero = helper.make_tensor("z", TensorProto.FLOAT8E4M3FN, [], [0.0])
    nodes = [
        helper.make_node("QuantizeLinear", ["a", "s", "z"], ["q"], "in"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], "out"),
    ]
    model = _model(nodes, {"s": np.array(0.1, np.float32)}, ["a"], ["N", 6])
    model.graph.initializer.append(zero)
    with pytest.raises(
        UnsupportedError, match=r"out \(DequantizeLinear\): its operand is quantized to floating point; integers of 2 to 16 bits"
    ):
        import_onnx(model)


@pytest.mark.parametrize("kind", ["INT2", "UINT2", "INT4", "UINT4"])
def test_few_bits(kind: str) -> None:
    """Of a result too: levels in the bounds of the type."""
    element = getattr(TensorProto, kind)
    nodes = [
        helper.make_node("QuantizeLinear", ["a", "s", "z"], ["q"], "in"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], "out"),
    ]
    model = _model(nodes, {"s": np.array(0.5, np.float32)}, ["a"], ["N", 6])
    model.graph.initializer.append(helper.make_tensor("z", element, [], [1]))
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("", 25 if "2" in kind else 21))
    model.ir_version = 13 if "2" in kind else 10
    low, high = {"INT2": (-2, 1), "UINT2": (0, 3), "INT4": (-8, 7), "UINT4": (0, 15)}[kind]
    x = np.linspace(-9, 9, 60).reshape(10, 6).astype(np.float32)
    expected = (np.clip(np.rint(x / np.float32(0.5)) + 1, low, high) - 1) * 0.5
    np.testing.assert_array_equal(execute(import_onnx(model), {"a": x})["y"], expected)
    program = snnir.compile(model, check="2" not in kind)  # which ONNX Runtime does not know
    np.testing.assert_array_equal(program.run(x).outputs["y"], expected)
