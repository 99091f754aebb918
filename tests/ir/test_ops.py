"""Every op's declaration is consistent: its type rule says what its meaning gives, at each of its levels."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest

from snnir.errors import GraphError
from snnir.ir import FLOAT, LEVELS, OPS, Dim, Graph, TensorType
from snnir.ir.execute import execute, real
from snnir.ir.op import Example, Op
from snnir.ir.ops import Movement
from snnir.ir.parse import parse
from snnir.ir.text import tensors, text
from snnir.ir.types import DTYPES
from snnir.ir.verify import verify

EXAMPLES = [(f"{name}-{index}", example) for name, op in sorted(OPS.items()) for index, example in enumerate(op.examples())]
SIZED_BY_DATA = ("non_max_suppression", "range")
"""Ops whose data says how many elements they give, along axis 0."""
IDS = [name for name, _ in EXAMPLES]
CASES = [example for _, example in EXAMPLES]


def stores(array: np.ndarray, type_: TensorType) -> bool:
    """Whether `array` has the dtype of the type; words may have any length."""
    return array.dtype.kind == "U" if type_.dtype == "str" else array.dtype == DTYPES[type_.dtype]


def one_node(example: Example, level: str) -> Graph:
    """A graph of the example's op on inputs; weights are constants, as where graphs come from."""
    graph = Graph("example", level)
    operands = []
    for index, (type_, array) in enumerate(zip(example.types, example.arrays, strict=True)):
        constant = type_.is_weight or type_.dtype == "f64"
        operands.append(graph.constant(f"c{index}", array) if constant else graph.input(f"x{index}", type_))
    for value in graph.add(example.op, *operands):
        graph.output(f"out {value.name}", value)
    return graph


def test_every_op_without_a_body_has_examples_and_every_op_a_description() -> None:
    assert {name for name, op in OPS.items() if not list(op.examples())} == {"function", "scan"}
    for name, op in OPS.items():
        assert name == op.name
        assert (op.__doc__ or "").strip()
        assert set(op.levels) <= set(LEVELS) and op.levels
        assert isinstance(op.operands, tuple)


@pytest.mark.parametrize("example", CASES, ids=IDS)
def test_types_are_those_of_the_meaning(example: Example) -> None:
    arrays = example.arrays
    if not example.op.stored(example.types):
        arrays = tuple(real(array, type_) for array, type_ in zip(arrays, example.types, strict=True))
    given = [array.copy() for array in arrays]
    results = example.op.evaluate(*arrays)
    inferred = example.op.infer(*example.types)
    assert len(results) == len(inferred)
    for array, type_ in zip(results, inferred, strict=True):
        assert array.ndim == type_.rank
        open_ = [axis for axis, size in enumerate(type_.shape) if isinstance(size, Dim)]
        assert open_ == ([0] if example.op.name in SIZED_BY_DATA else [])
        assert all(axis in open_ or size == array.shape[axis] for axis, size in enumerate(type_.shape))
        assert stores(array, type_), f"{array.dtype} for {type_}"
        if type_.quantization is not None:
            assert type_.quantization.lo <= array.min() and array.max() <= type_.quantization.hi
        if array.dtype.kind == "f" and example.op.name != "masked":  # which gives what a softmax turns into 0
            assert np.isfinite(array).all()
    for before, after in zip(given, arrays, strict=True):
        np.testing.assert_array_equal(before, after, err_msg="operands are left as they are")


@pytest.mark.parametrize("example", CASES, ids=IDS)
def test_one_node_graphs_verify_run_and_read_back(example: Example) -> None:
    for level in example.op.levels:
        graph = one_node(example, level)
        assert parse(text(graph), tensors(graph)) == graph
        if level == FLOAT:
            verify(graph)
        inputs = {value.name: example.arrays[int(value.name[1:])] for value in graph.inputs}
        for array, value in zip(execute(graph, inputs).values(), graph.outputs.values(), strict=True):
            assert stores(array, value.type)


@pytest.mark.parametrize("example", CASES, ids=IDS)
def test_too_few_and_too_many_operands_are_refused(example: Example) -> None:
    least, most = example.op.arity()
    graph = Graph("operands")
    values = [graph.input(f"x{index}", type_) for index, type_ in enumerate(example.types)]
    assert least <= len(values) and (most is None or len(values) <= most)
    with pytest.raises(GraphError, match=rf"{example.op.name}.* takes|needs"):
        graph.add(example.op, *values[: least - 1])
    if most is not None:
        with pytest.raises(GraphError, match="takes"):
            graph.add(example.op, *[*values, *values][: most + 1] + [values[0]] * (most + 1))


@pytest.mark.parametrize("example", CASES, ids=IDS)
def test_wrong_element_types_are_graph_errors(example: Example) -> None:
    """A type rule answers, or refuses with `GraphError`: nothing else escapes it."""
    kinds = ("f32", "f64", "i32", "bool", "str", "acc", "current")
    for position, type_ in enumerate(example.types):
        for changed in [TensorType(type_.shape, kind) for kind in kinds] + [
            type_.with_shape(()),
            type_.with_shape((7, *type_.shape)),
        ]:
            types = [*example.types]
            types[position] = changed
            with suppress(GraphError):
                assert all(isinstance(result, TensorType) for result in example.op.infer(*types))


def test_only_ops_that_move_compare_and_look_up_take_words() -> None:
    taking = set()
    for example in CASES:
        with suppress(GraphError):
            example.op.infer(*(TensorType(type_.shape, "str") for type_ in example.types))
            taking.add(example.op.name)
    moving = {name for name, op in OPS.items() if issubclass(op, Movement)}
    assert taking - moving == {"find", "int_equal"}


def test_ops_are_values() -> None:
    for example in CASES:
        op = example.op
        again = type(op)(**{field.name: getattr(op, field.name) for field in op.attributes()})
        assert again == op and hash(again) == hash(op)


def test_an_op_without_rules_says_so() -> None:
    class Bare(Op):
        name = "bare"
        operands = ()

    with pytest.raises(GraphError, match="bare declares no type rule"):
        Bare().infer()
    with pytest.raises(GraphError, match="bare declares no meaning"):
        Bare().evaluate()
