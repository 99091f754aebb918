"""Signal processing before a network and what closes it run on the host; anything between is refused, or allowed by name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import snnir
from snnir.errors import UnsupportedError
from snnir.ir import Graph, TensorType, Value
from snnir.ir.dims import dim
from snnir.ir.ops import (
    Add,
    Clip,
    Conv,
    Div,
    Expand,
    Function,
    Linear,
    Log,
    LogSoftmax,
    Mul,
    Relu,
    Remainder,
    Scan,
    Softmax,
    Sqrt,
    Sub,
    Tanh,
)
from tests.test_conversion import compiled

N = dim("N")


class Draft:
    """A float graph with one input."""

    def __init__(self, *shape: int) -> None:
        self.rng = np.random.default_rng(0)
        self.graph, self.shape = Graph("draft"), shape
        self.x = self.graph.input("x", TensorType((N, *shape), "f32"))

    def weight(self, *shape: int) -> Value:
        return self.graph.constant("w", self.rng.normal(size=shape).astype(np.float32))

    def number(self, number: float) -> Value:
        return self.graph.constant("c", np.array(number, np.float32))

    def dense(self, x: Value, width: int, name: str) -> Value:
        total = self.graph.add1(Linear(), x, self.weight(width, int(str(x.type.shape[-1]))), name=f"{name}.sum")
        return self.graph.add1(Relu(), total, name=name, origin=(f"Relu /{name}",))

    def data(self, samples: int = 16) -> np.ndarray:
        return np.random.default_rng(1).normal(size=(samples, *self.shape)).astype(np.float32)


def log_spectrum(draft: Draft) -> Value:
    """A filter bank, its power, a guard and a logarithm."""
    graph = draft.graph
    bank = graph.add1(Conv((2,), (0, 0), (1,), 1), draft.x, draft.weight(6, 1, 4), name="bank")
    power = graph.add1(Clip(1e-3), graph.add1(Mul(), bank, bank, name="power"), name="guard")
    return graph.add1(Log(), power, name="spectrum", origin=("Log /spectrum",))


def test_signal_processing_before_the_network_stays_real() -> None:
    draft = Draft(1, 16)
    features = log_spectrum(draft)
    draft.graph.output("y", draft.dense(draft.dense(features, 8, "a"), 5, "b"))
    program = snnir.compile(draft.graph, calibration=draft.data(), bits=5, input_bits=10)
    spiking = program.graph("spiking")
    kinds = {node.outputs[0].name: node.op.name for node in spiking.nodes}
    assert [kinds[name] for name in ("bank", "power", "guard", "spectrum")] == ["conv", "mul", "clip", "log"]
    assert sum(node.op.name == "encode" for node in spiking.nodes) == 1
    encoded = next(node for node in spiking.nodes if node.op.name == "encode")
    quantization = encoded.outputs[0].type.quantization
    assert quantization is not None
    assert quantization.hi - quantization.lo == 1023, "what the host computes is an input of the network: input_bits"
    assert program.facts["host_nodes"] == [
        "conv node 'bank' (conv)",
        "mul node 'power' (mul)",
        "clip node 'guard' (clip)",
        "Log /spectrum (log)",
    ]
    share = program.facts["spiking_mac_share"]
    conv, dense = 6 * 7 * 4 + 6 * 7, 6 * 8 * 7 + 6 * 5 * 8
    assert share == pytest.approx(dense / (conv + dense))
    verification = program.verify(draft.data(40))
    assert verification.ok
    np.testing.assert_allclose(program.run(draft.data()).outputs["y"], program.reference(draft.data())["y"])


def test_softmax_and_what_follows_it_close_the_network() -> None:
    draft = Draft(4)
    graph = draft.graph
    scores = graph.add1(Linear(), draft.dense(draft.x, 6, "a"), draft.weight(3, 6), name="scores")
    odds = graph.add1(Softmax(-1), scores, name="odds")
    graph.output("entropy", graph.add1(Mul(), odds, graph.add1(LogSoftmax(-1), scores)))
    program = snnir.compile(graph, calibration=draft.data(), bits=8)
    assert program.verify(draft.data(40)).ok
    expected = program.reference(draft.data(), "float")["entropy"]
    assert np.abs(program.run(draft.data()).outputs["entropy"] - expected).max() < 0.15


def _rest(draft: Draft, x: Value, origin: str) -> Value:
    """An op that has no integer form."""
    return draft.graph.add1(Remainder(), x, draft.number(0.75), name=origin, origin=(f"Mod /{origin}",))


def in_the_middle(draft: Draft) -> None:
    rest = _rest(draft, draft.dense(draft.x, 40, "a"), "rest")
    draft.graph.output("y", draft.dense(draft.dense(rest, 60, "b"), 3, "c"))


def late_in_the_network(draft: Draft) -> None:
    rest = _rest(draft, draft.dense(draft.dense(draft.x, 40, "a"), 40, "b"), "rest")
    draft.graph.output("y", draft.dense(rest, 2, "c"))


def in_the_middle_as_function(draft: Draft) -> None:
    graph = draft.graph
    h = draft.dense(draft.x, 40, "a")
    root = graph.add1(Sqrt(), graph.add1(Add(), h, draft.number(0.5)), name="root", origin=("Sqrt /root",))
    graph.output("y", draft.dense(draft.dense(root, 60, "b"), 3, "c"))


def normalised(draft: Draft) -> None:
    graph = draft.graph
    h = draft.dense(draft.dense(draft.x, 40, "a"), 40, "b")
    size = graph.add1(Add(), graph.add1(Linear(), h, graph.constant("ones", np.ones((1, 40), np.float32))), draft.number(1.0))
    graph.output("y", draft.dense(graph.add1(Div(), h, size, name="share", origin=("Div /share",)), 2, "c"))


@pytest.mark.parametrize("build", [in_the_middle_as_function, normalised])
@pytest.mark.parametrize("allow_host", [False, True])
def test_what_has_an_integer_form_is_a_function_inside_the_network(build: Callable[[Draft], None], allow_host: bool) -> None:
    draft = Draft(8)
    build(draft)
    program = snnir.compile(draft.graph, calibration=draft.data(), allow_host=allow_host, bits=6)
    assert program.facts["host_nodes"] == []
    assert program.facts["spiking_mac_share"] == 1.0
    assert any(isinstance(node.op, Function) for _, node in program.graph("spiking").walk())
    assert program.verify(draft.data(40)).ok


def test_what_a_function_takes_of_constants_alone_is_the_hosts() -> None:
    draft = Draft(6)
    graph = draft.graph
    share = graph.add1(Softmax(1), draft.dense(draft.x, 8, "a"))
    spread = graph.add1(Expand((N, 8)), draft.weight(1, 8))
    known = graph.add1(Mul(), spread, draft.weight(8), name="known")
    total = graph.add1(Tanh(), graph.add1(Add(), share, known))
    graph.output("y", draft.dense(total, 5, "b"))
    program = snnir.compile(graph, calibration=draft.data())
    kinds = {node.outputs[0].name: node.op.name for node in program.graph("spiking").nodes}
    assert (kinds["known"], kinds["known.levels"]) == ("mul", "encode")
    assert program.verify(draft.data(40)).ok


@pytest.mark.parametrize("build", [in_the_middle, late_in_the_network])
def test_host_ops_inside_the_network_are_refused_unless_allowed(build: Callable[[Draft], None]) -> None:
    draft = Draft(8)
    build(draft)
    with pytest.raises(UnsupportedError, match=r"/rest .*only the host computes it; allow_host \(--allow-host\) permits"):
        snnir.compile(draft.graph, calibration=draft.data())
    program = snnir.compile(draft.graph, calibration=draft.data(), allow_host=True, bits=6)
    host = program.facts["host_nodes"]
    assert isinstance(host, list)
    assert any("/rest" in line for line in host)
    share = program.facts["spiking_mac_share"]
    assert isinstance(share, float)
    # the side with fewer operations goes to the host: what is before it, or what is behind it
    assert any("a.sum" in line for line in host) == (build is in_the_middle)
    assert any("c.sum" in line for line in host) == (build is not in_the_middle)
    assert share > 0.85
    assert any(node.op.name in ("bif", "rbif") for _, node in program.graph("spiking").walk())
    assert program.verify(draft.data(40)).ok


def test_host_ops_inside_a_recurrence_are_refused_by_name() -> None:
    draft, body = Draft(5, 3), Graph("body")
    state, element = body.input("s", TensorType((N, 3), "f32")), body.input("e", TensorType((N, 3), "f32"))
    odd = body.add1(
        Remainder(), body.add1(Add(), state, element), body.constant("m", np.array(0.75, np.float32)), origin=("Mod /odd",)
    )
    body.output("s", body.add1(Tanh(), odd))
    start = draft.graph.constant("start", np.zeros((1, 3), np.float32))
    draft.graph.output("y", draft.graph.add(Scan(1, 1, 1), start, draft.x, body=body)[0])
    with pytest.raises(UnsupportedError, match=r"Mod /odd \(op remainder\): inside a recurrence, and only the host computes it"):
        snnir.compile(draft.graph, calibration=draft.data(), allow_host=True)


def test_signal_processing_of_each_element_stays_in_the_body() -> None:
    draft, body = Draft(5, 3), Graph("body")
    state, element = body.input("s", TensorType((N, 4), "f32")), body.input("e", TensorType((N, 3), "f32"))
    size = body.add1(Sqrt(), body.add1(Mul(), element, element), name="size")
    weights = [body.constant("w", draft.rng.normal(size=shape).astype(np.float32) * 0.5) for shape in ((4, 3), (4, 4))]
    feed, back = body.add1(Linear(), size, weights[0]), body.add1(Linear(), state, weights[1])
    after = body.add1(Tanh(), body.add1(Add(), feed, back), name="h")
    body.output("s", after)
    body.output("y", after)
    start = draft.graph.constant("start", np.zeros((1, 4), np.float32))
    draft.graph.output("y", draft.graph.add(Scan(1, 1, 1), start, draft.x, body=body)[1])
    program = snnir.compile(draft.graph, calibration=draft.data(), bits=5)
    for execution in ("reset", "carry"):
        assert program.verify(draft.data(20), execution=execution).ok
    assert program.facts["host_nodes"] == ["mul node 'mul' (mul)", "sqrt node 'size' (sqrt)"]


@pytest.mark.parametrize("seed", range(24))
def test_an_epsilon_beside_a_variance_is_kept_however_coarse_the_grid(seed: int) -> None:
    """A normalisation that closes a model: of samples without variance, too, what comes out is finite, as the model's is."""
    rng = np.random.default_rng(seed)
    graph = Graph("closing")
    width = int(rng.integers(3, 9))
    x = graph.input("x", TensorType((N, width), "f32"))
    weight = graph.constant("w", rng.normal(size=(width, width)).astype(np.float32))
    hidden = graph.add1(Relu(), graph.add1(Linear(), x, weight), name="h")
    mean = graph.constant("m", np.full((width, width), 1 / width, np.float32))
    centred = graph.add1(Sub(), hidden, graph.add1(Linear(), hidden, mean), name="centred")
    epsilon = np.array(10.0 ** rng.uniform(-7, -3), np.float32)
    squares = graph.add1(Mul(), centred, centred)
    if seed % 2:
        bias = graph.constant("eps", np.full(width, epsilon))
        variance = graph.add1(Linear(), squares, mean, bias, name="variance")
    else:
        variance = graph.add1(Add(), graph.add1(Linear(), squares, mean), graph.constant("eps", epsilon), name="variance")
    graph.output("y", graph.add1(Div(), centred, graph.add1(Sqrt(), variance), name="y"))
    data = rng.normal(size=(24, width)).astype(np.float32) * 10
    data[:4] = 0  # nothing varies
    program = snnir.compile(
        graph, calibration=data, bits=2 + seed % 4, weight_bits=3 + seed % 5, neuron=("bif", "few-spikes")[seed // 2 % 2]
    )
    found = program.run(data).outputs["y"]
    assert np.isfinite(found).all()
    assert program.verify(data).ok


@pytest.mark.parametrize("first", range(0, 60, 20))
def test_the_host_weighs_nothing_that_could_spike(first: int) -> None:
    """Random graphs hold functions anywhere, signal processing before them and arg-max behind; layers with weights all spike."""
    for seed in range(first, first + 20):
        graphs, _ = compiled(seed)
        layers = [node for _, node in graphs["spiking"].walk() if isinstance(node.op, Linear | Conv)]
        assert not [node.describe() for node in layers if node.output.type.is_real and not node.operands[0].is_constant], seed
