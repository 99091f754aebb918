"""NaN and infinities: inputs that may hold them, and inputs that must not, at every level."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from snnir.errors import InputError
from snnir.ir import OPS, Graph, Op, TensorType
from snnir.ir.dims import dim
from snnir.ir.execute import check_inputs, execute
from snnir.ir.finite import needs_finite
from snnir.ir.ops import (
    Abs,
    Add,
    ArgMax,
    Cast,
    Concat,
    IntNot,
    IsInf,
    IsNan,
    Log,
    Movement,
    Mul,
    Narrow,
    Reciprocal,
    Remainder,
    Reshape,
    Sin,
    Softmax,
    Sqrt,
    Transpose,
)
from snnir.ir.parse import parse
from snnir.ir.rewrite import rebuild
from snnir.ir.text import tensors, text
from snnir.passes import Context, default_pipeline, run_pipeline
from snnir.passes.remove_dead_code import remove_dead_code
from tests.random_graphs import random_graph

N = dim("N")
WRONG = np.array([np.nan, np.inf, -np.inf, -1.5, 0.0, 2.5], np.float32)
FREE: list[Op] = [
    Reshape((N, 3, 2)), Transpose((1, 0)), Cast("f64"), Cast("bool"), Narrow(), Sqrt(), Log(), Reciprocal(), Sin(), IsNan(),
    IsInf(),
]  # fmt: skip
BOUND: list[Op] = [Abs(), Cast("i32"), Softmax(), ArgMax(), Narrow(0, 127, 2.0**127, rounding="up")]


def of(op: Op, *, twice: bool = False) -> Graph:
    graph = Graph("one")
    x = graph.input("x", TensorType((N, 6), "f32"))
    graph.output("y", graph.add1(op, x, *((x,) if twice else ()), name="y"))
    return graph


@pytest.mark.parametrize("op", FREE, ids=lambda op: op.name)
def test_what_only_the_host_computes_takes_any_number(op: Op) -> None:
    with np.errstate(all="ignore"):
        found = execute(of(op), {"x": WRONG[None]})["y"]
        np.testing.assert_array_equal(found, op.bind({"N": 1}).evaluate(WRONG[None])[0])


@pytest.mark.parametrize("op", BOUND, ids=lambda op: op.name)
def test_other_ops_are_named(op: Op) -> None:
    with pytest.raises(InputError, match=rf"input x holds 3 NaN or infinite values, and {op.name} node 'y'.* takes none"):
        execute(of(op), {"x": WRONG[None]})


def test_only_ops_of_the_host_and_movement_take_any_number() -> None:
    for op in OPS.values():
        for example in op.examples():
            assert not example.op.takes_any() or op.host or issubclass(op, Movement), op.name


@pytest.mark.parametrize("seed", range(0, 60, 3))
def test_networks_take_finite_numbers_at_every_level(seed: int) -> None:
    graph, data = random_graph(seed)
    wrong = {name: array.copy() for name, array in data.items()}
    stages = [graph, *(stage.graph for stage in run_pipeline(graph, default_pipeline(3, 10), Context(data), check=False))]
    for value in graph.inputs:
        if not value.type.is_real:
            continue
        wrong[value.name].flat[0] = np.nan
        for stage in stages:
            (entry,) = (entry for entry in stage.inputs if entry.name == value.name)
            if entry.uses and any(node is not None for node, _ in entry.uses):
                assert needs_finite(stage, entry)
                with pytest.raises(InputError, match=f"input {value.name} holds 1 NaN or infinite"):
                    execute(stage, wrong)
        wrong[value.name] = data[value.name]


def test_truth_about_them_is_finite() -> None:
    """What NaN cannot reach is computed as ever, also behind the answer to a question."""
    graph = Graph("asked")
    x, y = (graph.input(name, TensorType((N, 6), "f32")) for name in "xy")
    known = graph.add1(Cast("f32"), graph.add1(IntNot(), graph.add1(IsNan(), x)))
    graph.output("z", graph.add1(Mul(), known, y))
    found = execute(graph, {"x": WRONG[None], "y": np.full((1, 6), 3, np.float32)})["z"]
    np.testing.assert_array_equal(found, [[0, 3, 3, 3, 3, 3]])
    with pytest.raises(InputError, match="input y holds 3 NaN or infinite values, and mul node .* takes none"):
        execute(graph, {"x": WRONG[None], "y": WRONG[None]})


def test_one_path_that_needs_finite_numbers_is_enough() -> None:
    graph = Graph("paths")
    x, y = (graph.input(name, TensorType((N, 6), "f32")) for name in "xy")
    both = graph.add1(Concat(1), x, graph.add1(Sqrt(), y))
    graph.output("a", graph.add1(IsInf(), both))
    graph.output("b", graph.add1(Add(), x, x, name="sum"))
    assert "sum" in needs_finite(graph, x) and not needs_finite(graph, y)


def test_what_was_taken_for_granted_stays_with_the_graph() -> None:
    graph = of(Sqrt())
    graph.finite.add("x")
    again = parse(text(graph), tensors(graph))
    assert again == graph and again.finite == {"x"} and graph != of(Sqrt())
    for kept in (again, rebuild(graph, lambda *_: None)[0], remove_dead_code(graph)):
        with pytest.raises(InputError, match="the import answered a question for such numbers with no"):
            check_inputs(kept, {"x": WRONG[None]})


@pytest.mark.parametrize("kind", ["float16", "float64", "float128", "bfloat16", "float8_e4m3fn", "float8_e5m2"])
def test_every_type_of_real_numbers_is_looked_at(kind: str) -> None:
    dtype = getattr(ml_dtypes, kind) if hasattr(ml_dtypes, kind) else getattr(np, kind)
    given = np.array([[1, np.nan, 0, 0, 0, 0]]).astype(dtype)
    with pytest.raises(InputError, match="input x holds 1 NaN or infinite values, and add node"):
        execute(of(Add(), twice=True), {"x": given})
    assert execute(of(IsNan()), {"x": given})["y"].tolist() == [[False, True, False, False, False, False]]


@pytest.mark.parametrize("op", [Add(), Remainder()])
def test_numbers_beyond_float32_are_no_infinities(op: Op) -> None:
    with pytest.raises(InputError, match="input x holds 2 values beyond the range of float32"):
        execute(of(op, twice=True), {"x": np.array([[1e300, -1e39, np.nan, 0, 0, 0]])})


@pytest.mark.parametrize("dividend", [False, True])
def test_remainders_of_all_pairs(dividend: bool) -> None:
    """The definitions of C's fmod, and of the remainder with the sign of the divisor."""
    x, y = (array.astype(np.float64).ravel() for array in np.meshgrid(WRONG, np.array([np.nan, np.inf, -np.inf, 0, 2, -1.25])))
    (found,) = Remainder(dividend).evaluate(x, y)
    for a, b, result in zip(x, y, found, strict=True):
        if np.isnan(a) or np.isnan(b) or np.isinf(a) or b == 0:
            assert np.isnan(result)
        elif np.isinf(b):
            assert result == (a if dividend or a == 0 or (a > 0) == (b > 0) else b)
        else:
            assert result == a - b * (np.trunc(a / b) if dividend else np.floor(a / b))
