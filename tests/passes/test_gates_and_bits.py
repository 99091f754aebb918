"""Activations that do not increase become products; bits of inputs, states and single values are what was asked for."""

from __future__ import annotations

import re

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import snnir
from snnir.errors import UsageError
from snnir.ir import Graph, TensorType
from snnir.ir.dims import dim
from snnir.ir.ops import Gru, Lstm, Product
from snnir.ir.text import text

RNG = np.random.default_rng(0)


def gated(nodes: list[onnx.NodeProto]) -> onnx.ModelProto:
    """Linear, `nodes` from h to g, linear."""
    weights = {"A": RNG.normal(size=(6, 5)), "B": RNG.normal(size=(5, 3)), "half": np.array(0.5), "one": np.array(1.0)}
    weights["root"] = np.array(2.0**0.5)
    all_nodes = [
        helper.make_node("MatMul", ["x", "A"], ["h"], "first"),
        *nodes,
        helper.make_node("MatMul", ["g", "B"], ["y"], "second"),
    ]
    graph = helper.make_graph(
        all_nodes,
        "gated",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 24)], ir_version=10)


FORMS = {
    "swish": [helper.make_node("Swish", ["h"], ["g"])],
    "steep swish": [helper.make_node("Swish", ["h"], ["g"], alpha=1.7)],
    "swish in parts": [helper.make_node("Sigmoid", ["h"], ["s"]), helper.make_node("Mul", ["h", "s"], ["g"])],
    "gelu": [helper.make_node("Gelu", ["h"], ["g"])],
    "gelu by tanh": [helper.make_node("Gelu", ["h"], ["g"], approximate="tanh")],
    "gelu in parts": [
        helper.make_node("Div", ["h", "root"], ["a"]),
        helper.make_node("Erf", ["a"], ["b"]),
        helper.make_node("Add", ["b", "one"], ["c"]),
        helper.make_node("Mul", ["h", "c"], ["d"]),
        helper.make_node("Mul", ["d", "half"], ["g"]),
    ],
    "hard swish": [helper.make_node("HardSwish", ["h"], ["g"])],
    "mish": [helper.make_node("Mish", ["h"], ["g"])],
    "square": [helper.make_node("Pow", ["h", "two"], ["g"])],
}


@pytest.mark.parametrize("form", FORMS)
def test_activations_that_do_not_increase_become_exact_products(form: str) -> None:
    model = gated(FORMS[form])
    if form == "square":
        model.graph.initializer.append(numpy_helper.from_array(np.array(2.0, np.float32), "two"))
    x = RNG.normal(size=(64, 6)).astype(np.float32)
    if form in ("swish", "steep swish"):  # newer than the installed ONNX Runtime
        program = snnir.compile(snnir.import_model(model), calibration=x, bits=8, weight_bits=12, gates="product")
    else:
        program = snnir.compile(model, calibration=x, bits=8, weight_bits=12, gates="product")
    assert any(isinstance(node.op, Product) for node in program.graph("spiking").nodes)
    unseen = RNG.normal(size=(40, 6)).astype(np.float32) * 1.5
    assert program.verify(unseen).ok
    expected, found = program.reference(x, "float")["y"], program.run(x).outputs["y"]
    assert np.abs(found - expected).max() < 0.05 * np.abs(expected).max()


def cell(kind: str) -> Graph:
    graph, hidden = Graph(kind), 4
    x = graph.input("x", TensorType((dim("N"), dim("T"), 3), "f32"))
    op = Gru(reset_after=True) if kind == "gru" else Lstm()
    rows, states = (3, 1) if kind == "gru" else (4, 2)
    arrays = [RNG.normal(size=(rows * hidden, 3)), RNG.normal(size=(rows * hidden, hidden)), np.zeros(4 * hidden)]
    arrays += [np.zeros((1, hidden))] * states
    constants = [graph.constant("w", array.astype(np.float32)) for array in arrays]
    graph.output("y", graph.add(op, x, *constants, names=("y", "last", "cell"))[0])
    return graph


def bits_of(program: snnir.Program) -> dict[str, int]:
    found = {}
    for _, node in program.graph("quantized").walk():
        for value in node.outputs:
            if value.type.quantization is not None:
                found[value.name] = (value.type.quantization.hi - value.type.quantization.lo + 1).bit_length() - 1
    return found


X = RNG.normal(size=(16, 9, 3)).astype(np.float32)


def test_states_that_add_up_get_more_bits_than_gates() -> None:
    program = snnir.compile(cell("lstm"), calibration=X, bits=4)
    bits = bits_of(program)
    assert [bits[name] for name in ("i", "f", "o", "c", "cell.next.levels", "x.levels")] == [4, 4, 4, 4, 6, 8]
    assert "cell.next.levels" in text(program.graph("quantized"))
    assert re.search(r"cell.next.levels .*:(s6|int\[-\d+\.\.\d+\])\*", text(program.graph("quantized"))), "types hold the levels"
    assert bits_of(snnir.compile(cell("gru"), calibration=X, bits=4))["y.levels"] == 6
    assert program.verify(X).ok


def test_bits_of_inputs_states_and_single_values_are_options() -> None:
    program = snnir.compile(cell("lstm"), calibration=X, bits=3, input_bits=12, state_bits=9, value_bits={"f": 6, "c": 5})
    bits = bits_of(program)
    assert [bits[name] for name in ("i", "f", "o", "c", "cell.next.levels", "x.levels")] == [3, 6, 3, 5, 9, 12]
    assert "quantize-activations{bits=3 input-bits=12 state-bits=9 values=f=6;c=5}" in str(program.facts["pipeline"])
    again = snnir.compile(cell("lstm"), calibration=X, pipeline=str(program.facts["pipeline"]))
    assert bits_of(again) == bits
    for execution in ("reset", "carry"):
        assert program.verify(X, execution=execution).ok


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"value_bits": {"nobody": 5}}, "no value nobody becomes levels; those that do are"),
        ({"value_bits": {"f": 17}}, "f=17 is out of range: it takes 2 to 16 bits"),
        ({"state_bits": 1}, "state-bits=1 is out of range"),
        ({"input_bits": 17}, "input-bits=17 is out of range: it takes 2 to 16 bits"),
        ({"bits": 9}, "bits=9 is out of range: it takes 2 to 8 bits"),
    ],
)
def test_bits_out_of_range_and_unknown_values_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        snnir.compile(cell("lstm"), calibration=X, **options)  # type: ignore[arg-type]
