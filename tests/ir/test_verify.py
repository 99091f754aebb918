"""The verifier finds every kind of damage; the builder refuses most of it from the start."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from snnir.errors import GraphError
from snnir.ir import Graph, Quantization, TensorType
from snnir.ir.dims import dim
from snnir.ir.graph import Value
from snnir.ir.op import FLOAT, LEVELS, OPS, QUANTIZED, SPIKING
from snnir.ir.ops import Add, Bif, Dense, Encode, Linear, Quantize, Readout, Relu, Scan, Softmax, Transpose
from snnir.ir.verify import verify
from snnir.passes import Context, default_pipeline, run_pipeline
from tests.random_graphs import random_graph

N = dim("N")
Q = Quantization(0.5, 0, 15)


def small() -> Graph:
    graph = Graph("small")
    x = graph.input("x", TensorType((N, 3), "f32"))
    w = graph.constant("w", np.ones((2, 3), np.float32))
    z = graph.add1(Linear(), x, w, name="z", origin=("Gemm /fc",))
    graph.output("y", graph.add1(Relu(), z, name="r"))
    return graph


def spiking() -> Graph:
    graph = Graph("spiking", SPIKING)
    x = graph.input("x", TensorType((N, 3), "f32"))
    w = graph.constant("w", np.ones((3, 3), np.int8))
    theta, bias = graph.constant("theta", np.full(3, 4, np.int32)), graph.constant("bias", np.zeros(3, np.int32))
    scale = graph.constant("scale", np.array(0.25))
    s = graph.add1(Encode(Q), x, name="s")
    b = graph.add1(Bif(Q), theta, bias, graph.add1(Dense(), s, w, name="i"), name="b")
    graph.output("y", graph.add1(Readout(), scale, bias, graph.add1(Dense(), b, w, name="j"), name="out"))
    return graph


def recurrent() -> Graph:
    graph, body = Graph("recurrent"), Graph("body")
    x, start = graph.input("x", TensorType((N, 4, 3), "f32")), graph.constant("start", np.zeros(3, np.float32))
    state, element = body.input("s", TensorType((N, 3), "f32")), body.input("e", TensorType((N, 3), "f32"))
    body.output("s", body.add1(Add(), state, element, name="total"))
    graph.output("last", graph.add(Scan(1, 1, 1), start, x, names=("last",), body=body)[0])
    return graph


def test_what_is_built_verifies() -> None:
    for graph in (small(), spiking(), recurrent()):
        verify(graph)


@pytest.mark.parametrize("seed", range(0, 60, 3))
def test_every_stage_of_a_conversion_verifies(seed: int) -> None:
    graph, data = random_graph(seed)
    for stage in run_pipeline(graph, default_pipeline(4, 14), Context(data), check=False):
        verify(stage.graph)


def swap_nodes(graph: Graph) -> None:
    graph.nodes.reverse()


def drop_use(graph: Graph) -> None:
    graph.values["z"].uses.clear()


def double_use(graph: Graph) -> None:
    graph.values["z"].uses.append(graph.values["z"].uses[0])


def change_type(graph: Graph) -> None:
    graph.values["z"].type = TensorType((N, 4), "f32")


def change_operand_type(graph: Graph) -> None:
    graph.values["x"].type = TensorType((N, 5), "f32")


def poison(graph: Graph) -> None:
    graph.values["w"].data = np.full((2, 3), np.nan, np.float32)


def poison_infinite(graph: Graph) -> None:
    graph.values["w"].data = np.full((2, 3), np.inf, np.float32)


def rename(graph: Graph) -> None:
    graph.values["z"].name = "r"


def foreign(graph: Graph) -> None:
    stranger = Value("stranger", TensorType((N, 3), "f32"))
    node = graph.nodes[0]
    node.operands = (stranger, node.operands[1])


def wrong_output(graph: Graph) -> None:
    graph._outputs["y"] = Value("nowhere", TensorType((N, 2), "f32"))


def wrong_op(graph: Graph) -> None:
    graph.nodes[1].op = Bif(Q)


def unknown_body(graph: Graph) -> None:
    graph.nodes[0].body = Graph("body")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (swap_nodes, "takes 'z' before it is defined"),
        (drop_use, "the uses of 'z' are not kept true"),
        (double_use, "the uses of 'z' are not kept true"),
        (change_type, "Gemm /fc .*has results .*infers"),
        (change_operand_type, "linear needs"),
        (poison, "constant w holds NaN"),
        (poison_infinite, "constant w holds NaN or infinite"),
        (rename, "two values are called 'r'"),
        (foreign, "takes 'stranger' before it is defined"),
        (wrong_output, "output y is 'nowhere', which no node gives"),
        (wrong_op, "not legal at the float level, only at: spiking"),
        (unknown_body, "takes no body graph"),
    ],
)
def test_damage_is_found(damage: Callable[[Graph], None], message: str) -> None:
    graph = small()
    damage(graph)
    with pytest.raises(GraphError, match=message):
        verify(graph)


def test_damage_inside_a_body_is_found() -> None:
    graph = recurrent()
    body = graph.nodes[0].body
    assert body is not None
    body.values["total"].type = TensorType((N, 4), "f32")
    with pytest.raises(GraphError, match="continues as Nx4:f32"):
        verify(graph)
    graph = recurrent()
    body = graph.nodes[0].body
    assert body is not None
    body.values["total"].uses.pop()
    with pytest.raises(GraphError, match="the uses of 'total' are not kept true"):
        verify(graph)
    graph = recurrent()
    body = graph.nodes[0].body
    assert body is not None
    body.level = QUANTIZED
    with pytest.raises(GraphError, match="graph body of level quantized stands in a graph of level float"):
        verify(graph)
    graph = recurrent()
    graph.nodes[0].body = None
    with pytest.raises(GraphError, match="scan needs a body graph"):
        verify(graph)


@pytest.mark.parametrize("name", sorted(OPS))
def test_ops_are_legal_only_at_their_levels_or_on_real_numbers(name: str) -> None:
    for level in set(LEVELS) - set(OPS[name].levels):
        for example in OPS[name].examples():
            graph = Graph("level", level)
            operands = [graph.input(f"x{index}", type_) for index, type_ in enumerate(example.types)]
            results = graph.add(example.op, *operands)
            if "float" in OPS[name].levels and all(value.type.is_real for value in (*operands, *results)):
                verify(graph)  # the host computes it
                continue
            with pytest.raises(GraphError, match=f"is not legal at the {level} level"):
                verify(graph)


def test_levels_become_real_numbers_by_dequantize_only() -> None:
    graph = Graph("mixed", QUANTIZED)
    levels = graph.add1(Quantize(Q), graph.input("x", TensorType((N, 3), "f32")))
    graph.output("y", graph.add1(Softmax(), levels))
    with pytest.raises(GraphError, match="makes real numbers out of levels; only dequantize does"):
        verify(graph)


def test_currents_end_in_populations() -> None:
    graph = spiking()
    graph.add1(Transpose((0, 1)), graph.values["i"], name="moved")
    with pytest.raises(GraphError, match="takes a current; only populations, readouts and sums for functions do"):
        verify(graph)


def test_the_batch_is_axis_0_of_spikes() -> None:
    graph = spiking()
    graph.add1(Transpose((1, 0)), graph.values["s"], name="turned")
    with pytest.raises(GraphError, match="the batch must be axis 0 of a spike train, found 3xN:spike"):
        verify(graph)


def test_the_builder_refuses() -> None:
    graph, other = small(), small()
    x = graph.values["x"]
    with pytest.raises(GraphError, match="does not belong to graph small"):
        graph.add(Relu(), other.values["x"])
    with pytest.raises(GraphError, match="output 'o': value 'x' does not belong"):
        graph.output("o", other.values["x"])
    with pytest.raises(GraphError, match="two outputs called 'y'"):
        graph.output("y", x)
    with pytest.raises(GraphError, match="two values called 'x'"):
        graph.input("x", x.type)
    with pytest.raises(GraphError, match=r"relu takes 1 operands \(x\), not 2"):
        graph.add(Relu(), x, x)
    with pytest.raises(GraphError, match=r"mine: .*broadcast.* \(op add on x Nx3:f32, z Nx2:f32\)"):
        graph.add(Add(), x, graph.values["z"], origin=("mine",))
    with pytest.raises(GraphError, match="unknown level 'analog'"):
        Graph("g", "analog")
    with pytest.raises(GraphError, match="value x is not a constant"):
        _ = x.array
    verify(graph)  # a refusal leaves the graph as it was
    assert graph == small()
    assert graph.level == FLOAT


def test_names_are_made_unique_and_uses_are_kept() -> None:
    graph = small()
    x = graph.values["x"]
    values = [graph.add1(Relu(), x, name="r") for _ in range(2)] + [graph.constant("w", np.zeros(2, np.float32))]
    assert [value.name for value in values] == ["r.1", "r.2", "w.1"]
    twice = graph.add1(Add(), x, x)
    assert [node.outputs[0].name for node in x.users] == ["z", "r.1", "r.2", twice.name]
    assert len(x.uses) == 5
    verify(graph)


def test_constants_are_read_only_and_equal_by_content() -> None:
    graph = small()
    with pytest.raises(ValueError, match="read-only"):
        graph.values["w"].array[0, 0] = 5
    assert graph == small()
    changed = Graph("small")
    x, w = changed.input("x", TensorType((N, 3), "f32")), changed.constant("w", np.full((2, 3), 2, np.float32))
    changed.output("y", changed.add1(Relu(), changed.add1(Linear(), x, w, name="z", origin=("Gemm /fc",)), name="r"))
    assert changed != graph
    assert graph != "graph"
