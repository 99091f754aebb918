"""Functions inside the network: their integers are within a level of the real function, and the same at both levels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from snnir.errors import UnsupportedError
from snnir.ir import Graph, Node, TensorType, Value
from snnir.ir.dims import dim
from snnir.ir.execute import execute
from snnir.ir.ops import (
    Abs,
    Accumulate,
    Add,
    ArgMax,
    Clip,
    Cos,
    Div,
    Exp,
    Function,
    Linear,
    Log,
    LogSoftmax,
    Lookup,
    Masked,
    Mul,
    Pow,
    Reciprocal,
    ReduceMean,
    Reshape,
    Saturate,
    Sin,
    Softmax,
    Sqrt,
    Sub,
    TakeAlong,
    Tanh,
    TopK,
    Transpose,
)
from snnir.ir.parse import parse
from snnir.ir.text import tensors, text
from snnir.ir.verify import verify
from snnir.passes import Context, default_pipeline, run_pipeline
from snnir.passes.functions.fixed import Arithmetic, Fixed

_N = dim("N")
Build = Callable[[Graph, Value, np.random.Generator], Value]


def _constant(graph: Graph, name: str, number: float) -> Value:
    return graph.constant(name, np.array(number, np.float32))


def _normalised(graph: Graph, x: Value, axes: tuple[int, ...], center: bool = True) -> Value:
    mean = graph.add1(ReduceMean(axes), x)
    apart = graph.add1(Sub(), x, mean) if center else x
    variance = graph.add1(ReduceMean(axes), graph.add1(Mul(), apart, apart))
    root = graph.add1(Sqrt(), graph.add1(Add(), variance, _constant(graph, "epsilon", 1e-5)))
    return graph.add1(Div(), apart, root)


def _positive(graph: Graph, x: Value) -> Value:
    return graph.add1(Add(), graph.add1(Abs(), x), _constant(graph, "offset", 0.1))


def _masked_softmax(graph: Graph, x: Value, generator: np.random.Generator) -> Value:
    keep = np.ones((4, 6), np.float32)
    keep[np.triu_indices(4, 1)] = 0
    return graph.add1(Softmax(2), graph.add1(Masked(), x, graph.constant("keep", keep)))


def _square(graph: Graph, x: Value, generator: np.random.Generator) -> Value:
    """Turned, so that data movement stands inside the function."""
    turned = graph.add1(Transpose((0, 2, 1)), graph.add1(Softmax(2), x))
    return graph.add1(Reshape((_N, 4, 6)), graph.add1(Sqrt(), turned))


def _top(graph: Graph, x: Value, axis: int, count: int, largest: bool = True) -> tuple[Value, Value]:
    values, places = graph.add(TopK(axis, count, largest), x, names=("top", "places"))
    return values, places


def _winners(graph: Graph, x: Value, generator: np.random.Generator) -> Value:
    """The two largest elements of a line, the others as 0."""
    hot = graph.add1(Lookup(), graph.constant("unit", np.eye(6, dtype=np.float32)), _top(graph, x, 2, 2)[1])
    twice = graph.add1(Mul(), graph.add1(ReduceMean((2,), False), hot), _constant(graph, "two", 2.0))
    return graph.add1(Mul(), x, twice)


def _row(last: bool) -> Build:
    """The row of a table at the place of the largest element; of equal ones, which levels often are, the first or the last."""

    def build(graph: Graph, x: Value, generator: np.random.Generator) -> Value:
        table = graph.constant("table", np.random.default_rng(4).standard_normal((6, 6)).astype(np.float32))
        return graph.add1(Lookup(), table, graph.add1(ArgMax(2, False, last), x))

    return build


def _routed(graph: Graph, x: Value, generator: np.random.Generator) -> Value:
    """Elements taken from where the least three of each column stand."""
    return graph.add1(TakeAlong(1), x, _top(graph, x, 1, 3, False)[1])


FUNCTIONS: dict[str, Build] = {
    "softmax": lambda graph, x, _: graph.add1(Softmax(2), x),
    "softmax over another axis": lambda graph, x, _: graph.add1(Softmax(1), x),
    "log_softmax": lambda graph, x, _: graph.add1(LogSoftmax(2), x),
    "masked softmax": _masked_softmax,
    "layer norm": lambda graph, x, _: _normalised(graph, x, (2,)),
    "norm over two axes": lambda graph, x, _: _normalised(graph, x, (1, 2)),
    "rms norm": lambda graph, x, _: _normalised(graph, x, (2,), center=False),
    "quotient": lambda graph, x, _: graph.add1(Div(), x, _positive(graph, x)),
    "reciprocal": lambda graph, x, _: graph.add1(Reciprocal(), _positive(graph, x)),
    "logarithm": lambda graph, x, _: graph.add1(Log(), _positive(graph, x)),
    "root": lambda graph, x, _: graph.add1(Sqrt(), _positive(graph, x)),
    "sine": lambda graph, x, _: graph.add1(Sin(), x),
    "cosine": lambda graph, x, _: graph.add1(Cos(), x),
    "square": lambda graph, x, _: graph.add1(Sqrt(), graph.add1(Pow(), x, _constant(graph, "two", 2.0))),
    "power": lambda graph, x, _: graph.add1(Pow(), _positive(graph, x), _constant(graph, "exponent", 1.7)),
    "inverse root": lambda graph, x, _: graph.add1(Pow(), _positive(graph, x), _constant(graph, "exponent", -0.5)),
    "exponential of a root": lambda graph, x, _: graph.add1(Exp(), graph.add1(Sqrt(), _positive(graph, x))),
    "tanh of a quotient": lambda graph, x, _: graph.add1(Tanh(), graph.add1(Div(), x, _positive(graph, x))),
    "clip of a sine": lambda graph, x, _: graph.add1(Clip(-0.5, 0.25), graph.add1(Sin(), x)),
    "magnitude of a sine": lambda graph, x, _: graph.add1(Abs(), graph.add1(Sin(), x)),
    "moved": _square,
    "row of a table": _row(False),
    "row of a table, last of equals": _row(True),
    "winners": _winners,
    "ordered": lambda graph, x, _: _top(graph, x, 2, 6)[0],
    "least of another axis": lambda graph, x, _: _top(graph, x, 1, 2, False)[0],
    "routed": _routed,
}
"""Functions of x [N, 4, 6], each between two layers."""


def model(build: Build, seed: int) -> tuple[Graph, dict[str, np.ndarray], Value]:
    """A layer, levels, the function and a layer; data; and the function's value."""
    generator = np.random.default_rng(seed)
    graph = Graph("model", "float")
    x = graph.input("x", TensorType((_N, 4, 5), "f32"))
    before = graph.constant("before", generator.standard_normal((6, 5)).astype(np.float32))
    inner = graph.add1(Linear(), x, before, name="inner")
    levels = graph.add1(Clip(-3.0, 3.0), inner, name="levels")
    result = build(graph, levels, generator)
    after = graph.constant("after", generator.standard_normal((3, int(str(result.type.shape[-1])))).astype(np.float32))
    graph.output("y", graph.add1(Tanh(), graph.add1(Linear(), result, after, name="last")))
    return graph, {"x": generator.standard_normal((48, 4, 5)).astype(np.float32)}, result


def compiled(graph: Graph, data: dict[str, np.ndarray], bits: int = 8) -> dict[str, Graph]:
    stages = run_pipeline(graph, default_pipeline(bits=bits, input_bits=bits), Context(data))
    return {stage.graph.level: stage.graph for stage in stages}


def function_of(graph: Graph) -> Node:
    (found,) = [node for _, node in graph.walk() if isinstance(node.op, Function)]
    return found


@pytest.mark.parametrize("name", FUNCTIONS)
def test_integers_are_within_a_level_of_the_real_function(name: str) -> None:
    graph, data, _ = model(FUNCTIONS[name], 3)
    levels = compiled(graph, data)
    node = function_of(levels["quantized"])
    seen: dict[Value, np.ndarray] = {}
    execute(levels["quantized"], data, lambda value, array: seen.__setitem__(value, array))
    (taken,), (result,) = node.operands, node.outputs
    assert taken.type.quantization is not None and result.type.quantization is not None
    real = Graph("real", "float")
    x = real.input("x", TensorType((_N, 4, 6), "f64"))
    real.output("y", FUNCTIONS[name](real, x, np.random.default_rng(3)))
    (expected,) = execute(real, {"x": seen[taken] * taken.type.quantization.scale}).values()
    quantization = result.type.quantization
    wanted = np.clip(expected / quantization.scale, quantization.lo, quantization.hi)
    # the real function is rounded nowhere: half a level is the rounding of the result itself
    assert np.abs(seen[result] - wanted).max() <= 0.51


@pytest.mark.parametrize("name", FUNCTIONS)
def test_both_levels_give_the_same(name: str) -> None:
    graph, data, _ = model(FUNCTIONS[name], 5)
    levels = compiled(graph, data, 4)
    first, second = (execute(levels[level], data)["y"] for level in ("quantized", "spiking"))
    assert np.array_equal(first, second)
    for each in levels.values():
        verify(each)
        assert parse(text(each), tensors(each)) == each


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_beyond_what_calibration_saw_saturate_alike(name: str) -> None:
    """Calibration sees a twentieth of the data, the network then all of it, and far more."""
    graph, data, _ = model(FUNCTIONS[name], 5)
    little = {key: array / 20 for key, array in data.items()}
    stages = run_pipeline(graph, default_pipeline(bits=6, input_bits=6), Context(little))
    assert any(isinstance(node.op, Saturate) for stage in stages for _, node in stage.graph.walk())
    levels = {stage.graph.level: stage.graph for stage in stages}
    for inputs in (little, data, {key: array * 20 for key, array in data.items()}):
        first, second = (execute(levels[level], inputs)["y"] for level in ("quantized", "spiking"))
        assert np.array_equal(first, second)


def test_a_normalisation_in_parts_is_one_function_that_takes_the_sum() -> None:
    graph = Graph("model", "float")
    x = graph.input("x", TensorType((_N, 5), "f32"))
    generator = np.random.default_rng(0)
    weights = [
        graph.constant(f"w{index}", generator.standard_normal(shape).astype(np.float32))
        for index, shape in enumerate([(6, 5), (3, 6)])
    ]
    inner = graph.add1(Linear(), x, weights[0])
    graph.output("y", graph.add1(Linear(), _normalised(graph, inner, (1,)), weights[1]))
    levels = compiled(graph, {"x": generator.standard_normal((32, 5)).astype(np.float32)})
    node = function_of(levels["spiking"])
    assert len(node.operands) == 1 and isinstance(node.operands[0].producer and node.operands[0].producer.op, Accumulate)


def test_a_residual_stream_is_charged_with_the_bits_of_an_input() -> None:
    graph = Graph("model", "float")
    generator = np.random.default_rng(0)
    x = graph.input("x", TensorType((_N, 6), "f32"))
    weights = [graph.constant(f"w{index}", generator.standard_normal((6, 6)).astype(np.float32)) for index in range(4)]
    first = graph.add1(Linear(), x, weights[0])
    left, right = (graph.add1(Linear(), graph.add1(Tanh(), first), weight) for weight in weights[1:3])
    stream = graph.add1(Add(), left, right, name="stream")
    branch = graph.add1(Linear(), _normalised(graph, stream, (1,)), weights[3])
    graph.output("y", graph.add1(Linear(), graph.add1(Tanh(), graph.add1(Add(), stream, branch)), weights[0]))
    levels = compiled(graph, {"x": generator.standard_normal((32, 6)).astype(np.float32)}, 4)
    node = function_of(levels["quantized"])
    assert len(node.outputs) == 2  # the stream itself, and what is normalised


def test_what_has_no_integer_form_is_still_refused() -> None:
    graph, data, _ = model(lambda graph, x, _: graph.add1(Pow(), _positive(graph, x), x), 1)
    with pytest.raises(UnsupportedError, match="pow.*inside the network, and only the host computes it"):
        compiled(graph, data)


_REALS = st.floats(-1e3, 1e3, allow_nan=False, width=32)


@settings(max_examples=60, deadline=None)
@example([0.0] * 4, [0.0, 0.0, 0.0, 2.0**-126], "sum")
@example([1.0] * 4, [0.0, 0.0, 0.0, 2.0**-126], "sum")
@given(
    st.lists(_REALS, min_size=4, max_size=4),
    st.lists(_REALS, min_size=4, max_size=4),
    st.sampled_from(["sum", "product", "quotient", "root", "scale"]),
)
def test_fixed_point_arithmetic_is_as_fine_as_float32(left: list[float], right: list[float], what: str) -> None:
    body = Graph("body", "quantized")
    arithmetic = Arithmetic(body)
    inputs, integers = [], {}
    for name, numbers in (("a", left), ("b", right)):
        scale = (max(map(abs, numbers)) or 1.0) / 2**28
        whole = np.rint(np.array(numbers) / scale).astype(np.int64)
        value = body.input(name, TensorType((4,), "i64"))
        inputs.append(Fixed(value, scale, int(whole.min()), int(whole.max())))
        integers[name] = whole
    a, b = (integers[name] * each.scale for name, each in zip("ab", inputs, strict=True))
    x, y = inputs
    if what == "sum":
        found, expected = arithmetic.sum(x, y), a + b
    elif what == "product":
        found, expected = arithmetic.product(x, y), a * b
    elif what == "quotient":
        y = arithmetic.clamped(y, 1 << 20, None)
        b = np.maximum(integers["b"], 1 << 20) * y.scale
        found, expected = arithmetic.quotient(x, y), a / b
    elif what == "root":
        found, expected = arithmetic.root(x), np.sqrt(np.maximum(a, 0))
    else:
        found, expected = arithmetic.rescaled(x, x.scale * 3.7), a
    body.output("y", found.value)
    result = execute(body, integers)["y"]
    assert found.lo <= result.min() and result.max() <= found.hi and found.bits <= 63
    assert np.abs(result * found.scale - expected).max() <= max(np.abs(expected).max(), 1e-30) * 2.0**-22 + found.scale


@pytest.mark.parametrize(("weight", "inside"), [(1.0, False), (2.0, True)])
def test_a_sum_of_weight_1_that_closes_a_model_is_no_layer(weight: float, inside: bool) -> None:
    """A softmax that is only added up stays the host's; one that a layer with weights follows is a function."""
    generator = np.random.default_rng(0)
    graph = Graph("model", "float")
    x = graph.input("x", TensorType((_N, 5), "f32"))
    inner = graph.add1(Linear(), x, graph.constant("w", generator.standard_normal((6, 5)).astype(np.float32)))
    total = graph.constant("total", np.full((1, 6), weight, np.float32))
    graph.output("y", graph.add1(Linear(), graph.add1(Softmax(1), inner), total))
    levels = compiled(graph, {"x": generator.standard_normal((40, 5)).astype(np.float32)})
    assert any(isinstance(node.op, Function) for node in levels["spiking"].nodes) == inside
