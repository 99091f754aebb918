"""A module computes what its graph means: every op, random graphs, both levels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import snnir.torch
from snnir.backends.torch import to_module
from snnir.backends.torch.evaluation import hoisted
from snnir.backends.torch.registry import ELSEWHERE, MEANINGS
from snnir.errors import InputError, UnsupportedError
from snnir.ir import Graph, TensorType
from snnir.ir.dims import dim
from snnir.ir.execute import execute
from snnir.ir.op import FLOAT, OPS, QUANTIZED, SPIKING, Example
from snnir.ir.ops import Find, Lookup, Rnn, Scan
from snnir.passes import Context, default_pipeline, run_pipeline, simplify
from tests.random_graphs import random_graph

torch.set_num_threads(1)

CASES = [
    (example, level)
    for op in OPS.values()
    for example in op.examples()
    for level in op.levels
    if op in MEANINGS and level != SPIKING and not any(type_.dtype in ("spike", "current", "str") for type_ in example.types)
]


def agree(graph: Graph, inputs: dict[str, np.ndarray]) -> None:
    expected = execute(graph, inputs)
    with torch.no_grad():
        found = to_module(graph)(**{name: torch.from_numpy(np.array(array)) for name, array in inputs.items()})
    outputs = {next(iter(expected)): found} if isinstance(found, torch.Tensor) else found
    assert list(outputs) == list(expected)
    for name, array in expected.items():
        y = outputs[name].numpy()
        assert y.shape == array.shape and y.dtype == array.dtype
        if array.dtype.kind in "iub":
            np.testing.assert_array_equal(y, array)
        else:
            finite = np.isfinite(array)  # masked elements are minus infinity
            assert (y[~finite] == array[~finite]).all()
            span = float(np.abs(array[finite]).max(initial=0)) or 1.0
            assert float(np.abs(y[finite] - array[finite]).max(initial=0)) <= 1e-5 * span, name


def test_every_op_has_a_meaning_or_is_declared_elsewhere() -> None:
    missing = [name for name, op in OPS.items() if op not in MEANINGS and name not in ELSEWHERE]
    assert not missing, f"no meaning in torch for {missing}"
    assert not [name for name in ELSEWHERE if name not in OPS or OPS[name] in MEANINGS]
    assert {op.name for op in MEANINGS} <= set(OPS)


@pytest.mark.parametrize(("example", "level"), CASES, ids=[f"{example.op.name}-{level}" for example, level in CASES])
@pytest.mark.parametrize("constant", [False, True])
def test_an_op_means_the_same(example: Example, level: str, constant: bool) -> None:
    graph = Graph("one", level)
    values, inputs = [], {}
    for index, (type_, array) in enumerate(zip(example.types, example.arrays, strict=True)):
        if constant and index and not (type_.is_levels or type_.is_sum):
            values.append(graph.constant(f"x{index}", array))
        else:
            values.append(graph.input(f"x{index}", type_))
            inputs[f"x{index}"] = array
    for index, value in enumerate(graph.add(example.op, *values)):
        graph.output(f"y{index}", value)
    agree(graph, inputs)


def test_words_are_left_out_or_refused_by_name() -> None:
    graph = Graph("labels")
    index = graph.input("index", TensorType((3,), "i64"))
    graph.output("label", graph.add1(Lookup(), graph.constant("words", np.array(["a", "bc"])), index))
    graph.output("place", index)
    module = to_module(graph)
    places = torch.tensor([1, 0, 1])
    assert torch.equal(module(places), places)
    with_places = execute(module.graph(), {"index": places.numpy()})
    np.testing.assert_array_equal(with_places["label"], ["bc", "a", "bc"])
    asks = Graph("asks")
    word = asks.input("word", TensorType((3,), "str"))
    asks.output("place", asks.add1(Find(), word, asks.constant("keys", np.array(["a"]))))
    with pytest.raises(UnsupportedError, match="input word holds words"):
        to_module(asks)
    graph.output("found", graph.add1(Find(), graph.outputs["label"], graph.constant("keys", np.array(["a"]))))
    with pytest.raises(UnsupportedError, match="find node 'find': it computes with words"):
        to_module(graph)


@pytest.mark.parametrize("seed", range(60))
def test_random_graphs_mean_the_same(seed: int) -> None:
    graph, inputs = random_graph(seed)
    agree(graph, inputs)


@pytest.mark.parametrize("seed", range(20))
def test_random_graphs_mean_the_same_as_scans_and_as_integers(seed: int) -> None:
    graph, inputs = random_graph(seed)
    try:
        stages = run_pipeline(graph, default_pipeline()[:-3], Context(inputs), check=False)
    except UnsupportedError:
        pytest.skip("no spiking form")
    agree(stages[len(simplify()) - 1].graph, inputs)
    assert stages[-1].graph.level == QUANTIZED
    final = stages[-1].graph
    expected = execute(final, inputs)
    found = to_module(final)(torch.from_numpy(inputs["x"]))
    outputs = {next(iter(expected)): found} if isinstance(found, torch.Tensor) else found
    for name, array in expected.items():
        span = float(np.abs(array).max(initial=0)) or 1.0
        assert float(np.abs(outputs[name].detach().numpy() - array).max(initial=0)) <= 1e-5 * span


def test_work_that_needs_no_state_leaves_the_loop() -> None:
    example = next(iter(Rnn.examples()))
    graph = Graph("rnn")
    x = graph.input("x", TensorType((dim("N"), 4, 3), "f32"))
    y, _ = graph.add(example.op, x, *(graph.constant("c", array) for array in example.arrays[1:]))
    graph.output("y", y)
    lowered = run_pipeline(graph, simplify(), Context(None), check=False)[-1].graph
    (scan,) = (node for node in lowered.nodes if isinstance(node.op, Scan))
    assert scan.body is not None and isinstance(scan.op, Scan)
    assert [node.op.name for node in hoisted(scan.body, scan.op)] == ["linear"]
    agree(lowered, {"x": example.arrays[0]})


def test_parameters_train_and_are_written_back() -> None:
    graph, inputs = random_graph(4)
    module = to_module(graph)
    x = torch.from_numpy(inputs["x"])
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(0.5)
        found = module(x)
    expected = execute(module.graph(), inputs)
    first = found if isinstance(found, torch.Tensor) else next(iter(found.values()))
    np.testing.assert_allclose(first.numpy(), next(iter(expected.values())), rtol=1e-4, atol=1e-5)
    assert module.graph().level == FLOAT


def test_wrong_uses_are_refused_by_name() -> None:
    graph, inputs = random_graph(4)
    with pytest.raises(InputError, match="takes inputs x"):
        to_module(graph)(y=torch.zeros(1))
    with pytest.raises(InputError, match="expected"):
        to_module(graph)(torch.zeros(1))
    with pytest.raises(UnsupportedError, match="simulator"):
        to_module(Graph("spikes", SPIKING))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        snnir.torch.nonsense  # type: ignore[attr-defined]  # noqa: B018
