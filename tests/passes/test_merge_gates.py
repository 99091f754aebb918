"""Activations that are products of a value with a function of it, as tables of the complete sum."""

from __future__ import annotations

import numpy as np
import pytest

import snnir
from snnir.ir import Graph, Op, TensorType, Value
from snnir.ir.dims import dim
from snnir.ir.execute import execute
from snnir.ir.ops import Abs, Add, Clip, Gated, GeluGate, HardSigmoid, Linear, Mul, Product, Sigmoid, Softplus, Tanh
from snnir.passes import Context, parse_pipeline, run_pipeline

LINKS: dict[str, tuple[Op | float, ...]] = {
    "silu": (Sigmoid(),),
    "hard swish": (HardSigmoid(1 / 6, 0.5),),
    "hard swish in parts": (3.0, Clip(0.0, 6.0)),
    "gelu": (GeluGate(),),
    "gelu, approximate": (GeluGate(True),),
    "mish": (Softplus(), Tanh()),
}


def network(links: tuple[Op | float, ...], of_itself: bool = True) -> tuple[Graph, dict[str, np.ndarray]]:
    """Two layers, between them x times links of x (or of another layer's sum)."""
    rng = np.random.default_rng(3)
    graph = Graph("gated")
    x = graph.input("x", TensorType((dim("N"), 6), "f32"))

    def layer(value: Value, name: str, outputs: int) -> Value:
        weight = rng.normal(size=(outputs, int(str(value.type.shape[1])))).astype(np.float32)
        return graph.add1(Linear(), value, graph.constant(f"{name}.weight", weight), name=name)

    h = layer(x, "h", 8)
    gate = h if of_itself else layer(x, "other", 8)
    for index, link in enumerate(links):
        if isinstance(link, float):
            gate = graph.add1(Add(), gate, graph.constant(f"number{index}", np.array(link, np.float32)), name=f"link{index}")
        else:
            gate = graph.add1(link, gate, name=f"link{index}")
    graph.output("y", layer(graph.add1(Mul(), h, gate, name="product"), "y", 3))
    return graph, {"x": rng.normal(size=(40, 6)).astype(np.float32)}


def gates_in(graph: Graph) -> int:
    return sum(isinstance(node.op, Gated) for _, node in graph.walk())


@pytest.mark.parametrize("kind", LINKS)
def test_gates_become_one_function(kind: str) -> None:
    graph, data = network(LINKS[kind])
    merged = run_pipeline(graph, parse_pipeline("merge-gates"), Context(data))[-1].graph
    assert gates_in(merged) == 1 and not any(isinstance(node.op, Mul) for node in merged.nodes)
    np.testing.assert_allclose(execute(merged, data)["y"], execute(graph, data)["y"], rtol=1e-4, atol=1e-5)


def test_other_products_stay() -> None:
    graph, data = network((Sigmoid(),), of_itself=False)
    merged = run_pipeline(graph, parse_pipeline("merge-gates"), Context(data))[-1].graph
    assert not gates_in(merged) and merged == graph


@pytest.mark.parametrize("neuron", ["bif", "few-spikes"])
@pytest.mark.parametrize("kind", LINKS)
def test_tables_are_exact_and_take_few_steps(kind: str, neuron: str) -> None:
    graph, data = network(LINKS[kind])
    product, table = (
        snnir.compile(graph, calibration=data, bits=6, neuron=neuron, gates=gates) for gates in ("product", "table")
    )
    for program in (product, table):
        assert program.verify(data).ok
    results = [program.run(data) for program in (product, table)]
    assert results[1].steps.max() < results[0].steps.max()
    reference = table.reference(data, "float")["y"]
    errors = [float(np.square(result.outputs["y"] - reference).mean()) for result in results]
    assert errors[1] < errors[0]


@pytest.mark.parametrize("neuron", ["bif", "few-spikes"])
def test_a_signed_square_is_one_population_and_no_product(neuron: str) -> None:
    graph, data = network((Abs(),))
    product, one = (snnir.compile(graph, calibration=data, bits=6, neuron=neuron, gates=gates) for gates in ("product", "table"))
    kinds = [[type(node.op) for node in program.graph("spiking").nodes] for program in (product, one)]
    assert Product in kinds[0] and Product not in kinds[1]
    assert one.verify(data).ok
    spikes = [float(program.run(data).total_spikes.mean()) for program in (product, one)]
    assert 3 * spikes[1] < spikes[0]
