"""Functions inside the network: the fast simulator and the plain interpreter, spike for spike, and both against the integers."""

from __future__ import annotations

import functools
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import snnir
from snnir.backends.bundle import Bundle
from snnir.backends.bundle.c_replay import compile_engine, run_file
from snnir.backends.bundle.unpacked import unpacked
from snnir.errors import FileFormatError, UnsupportedError
from snnir.export.bundle import load_bundle
from snnir.export.hardware import emit_bundle
from snnir.export.replay import replay_bundle
from snnir.ir import Graph, TensorType, Value
from snnir.ir.dims import dim
from snnir.ir.ops import (
    Add,
    ArgMax,
    Div,
    Expand,
    Function,
    Gather,
    Linear,
    Lookup,
    MatMul,
    Mul,
    ReduceMean,
    Relu,
    Reshape,
    Scan,
    Softmax,
    Sqrt,
    Sub,
    TakeAlong,
    Tanh,
    TopK,
    Transpose,
)
from snnir.machine.interpreter import interpret
from snnir.machine.lowering import lower
from snnir.machine.ranges import certify
from snnir.machine.settling import settling
from tests.backends.test_bundle import schema_validator

_N = dim("N")
SANITIZED = ("-g", "-O1", "-fsanitize=undefined,address", "-fno-sanitize-recover=all")


def _weight(graph: Graph, generator: np.random.Generator, *shape: int) -> Value:
    array = generator.standard_normal(shape).astype(np.float32) / np.float32(np.sqrt(shape[-1]))
    return graph.constant("w", array)


def _normalised(graph: Graph, x: Value) -> Value:
    axis = (x.type.rank - 1,)
    apart = graph.add1(Sub(), x, graph.add1(ReduceMean(axis), x))
    variance = graph.add1(ReduceMean(axis), graph.add1(Mul(), apart, apart))
    guarded = graph.add1(Add(), variance, graph.constant("epsilon", np.array(1e-3, np.float32)))
    return graph.add1(Div(), apart, graph.add1(Sqrt(), guarded))


def attention(generator: np.random.Generator) -> Graph:
    """A layer, self-attention with a residual stream, normalised, and a layer."""
    graph = Graph("attention", "float")
    x = graph.input("x", TensorType((_N, 4, 5), "f32"))
    stream = graph.add1(Linear(), x, _weight(graph, generator, 6, 5))
    queries, keys, values = (graph.add1(Linear(), stream, _weight(graph, generator, 6, 6)) for _ in range(3))
    scores = graph.add1(MatMul(), queries, graph.add1(Transpose((0, 2, 1)), keys))
    mixed = graph.add1(MatMul(), graph.add1(Softmax(2), scores), values)
    stream = graph.add1(Add(), stream, graph.add1(Linear(), mixed, _weight(graph, generator, 6, 6)))
    hidden = graph.add1(Relu(), graph.add1(Linear(), _normalised(graph, stream), _weight(graph, generator, 7, 6)))
    graph.output("y", graph.add1(Linear(), hidden, _weight(graph, generator, 3, 7)))
    return graph


def recurrent(generator: np.random.Generator) -> Graph:
    """A recurrence whose state is normalised in every element, and a layer behind it that is normalised, too."""
    body = Graph("cell", "float")
    state, element = (body.input(name, TensorType((_N, size), "f32")) for name, size in (("h", 6), ("x", 5)))
    total = body.add1(
        Add(),
        body.add1(Linear(), element, _weight(body, generator, 6, 5)),
        body.add1(Linear(), state, _weight(body, generator, 6, 6)),
    )
    following = body.add1(Tanh(), body.add1(Linear(), _normalised(body, total), _weight(body, generator, 6, 6)))
    body.output("next", following)
    body.output("each", following)
    graph = Graph("recurrent", "float")
    x = graph.input("x", TensorType((_N, 5, 5), "f32"))
    sequence = graph.add1(Relu(), graph.add1(Linear(), x, _weight(graph, generator, 5, 5)))
    start = graph.constant("start", np.zeros((1, 6), np.float32))
    last, each = graph.add(Scan(1, 1, 1), start, sequence, names=("last", "each"), body=body)
    joined = graph.add1(Add(), graph.add1(ReduceMean((1,), False), each), last)
    graph.output("y", graph.add1(Linear(), graph.add1(Relu(), _normalised(graph, joined)), _weight(graph, generator, 3, 6)))
    return graph


def choosing(generator: np.random.Generator) -> Graph:
    """Greedy decoding: a cell takes the token that it chose before, an integer, and two of four experts follow it."""
    body = Graph("cell", "float")
    token = body.input("token", TensorType((_N,), "i64"))
    state, element = (body.input(name, TensorType((_N, size), "f32")) for name, size in (("h", 6), ("x", 5)))
    embedded = body.add1(Lookup(), _weight(body, generator, 7, 6), token)
    fed = body.add1(Add(), body.add1(Linear(), element, _weight(body, generator, 6, 5)), embedded)
    total = body.add1(Add(), fed, body.add1(Linear(), state, _weight(body, generator, 6, 6)))
    following = body.add1(Tanh(), total)
    scores = body.add1(Linear(), following, _weight(body, generator, 7, 6))
    best = body.add1(ArgMax(1, False), scores)
    for name, value in (("next", best), ("state", following), ("token", best), ("each", following)):
        body.output(name, value)
    graph = Graph("choosing", "float")
    x = graph.input("x", TensorType((_N, 5, 5), "f32"))
    starts = graph.constant("start", np.array([2])), graph.constant("zero", np.zeros((1, 6), np.float32))
    _, _, tokens, each = graph.add(Scan(2, 1, 1), *starts, x, names=("last", "state", "tokens", "each"), body=body)
    last = graph.add1(Gather(1, (-1,), ()), each)
    _, chosen = graph.add(TopK(1, 2), graph.add1(Linear(), last, _weight(graph, generator, 4, 6)), names=("best", "chosen"))
    experts = graph.add1(Relu(), graph.add1(Linear(), last, _weight(graph, generator, 12, 6)))
    rows = graph.add1(Reshape((_N, 4, 3)), experts)
    taken = graph.add1(TakeAlong(1), rows, graph.add1(Reshape((_N, 2, 1)), chosen))
    graph.output("y", graph.add1(Linear(), graph.add1(Reshape((_N, 6)), taken), _weight(graph, generator, 3, 6)))
    graph.output("tokens", tokens)
    return graph


MODELS = {"attention": attention, "recurrent": recurrent, "choosing": choosing}
SMOOTH = ("attention", "recurrent")
"""Those with a gradient everywhere: a place has none."""
_RUNS = [
    (neuron, realisation, delivery, execution)
    for neuron, realisation in (("bif", "barrier"), ("bif", "difference"), ("few-spikes", "barrier"))
    for delivery in ("relay", "replay", "graded")
    for execution in ("reset", "carry")
    if neuron == "bif" or (delivery != "replay" and execution == "reset")
]


@functools.cache
def compiled(name: str, neuron: str, realisation: str = "barrier") -> tuple[snnir.Program, np.ndarray]:
    generator = np.random.default_rng(7)
    graph = MODELS[name](generator)
    size = 4 if name == "attention" else 5
    data = generator.standard_normal((40, size, 5)).astype(np.float32)
    return snnir.compile(graph, calibration=data[:32], bits=4, neuron=neuron, functions=realisation), data[32:]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("neuron", "realisation", "delivery", "execution"), _RUNS)
def test_every_integer_equals_the_reference_and_every_spike_the_interpreter(
    name: str, neuron: str, realisation: str, delivery: str, execution: str
) -> None:
    program, x = compiled(name, neuron, realisation)
    verification = program.verify(x, delivery=delivery, execution=execution)
    assert verification.mismatches == 0 and verification.within_bounds
    lowered = lower(program.graph(), {"N": 2}, delivery, execution)
    fast = program.run(x, delivery=delivery, execution=execution, counts=True)
    inputs = {
        train: fast.counts[train].reshape(len(x), -1)
        for train, node in lowered.nodes.items()
        if node.op.name == "encode" and train in fast.counts
    }
    plain = interpret(lowered.program, inputs)
    assert plain.windows == fast.windows and np.array_equal(plain.steps, fast.steps)
    for value, count in plain.counts.items():
        assert np.array_equal(count.reshape(fast.counts[value].shape), fast.counts[value]), value
    for value, spikes in fast.spikes.items():
        assert np.array_equal(plain.spikes[value], spikes), value
    for synapse, operations in fast.synops.items():
        assert np.array_equal(plain.synops[synapse], operations), synapse
        assert np.array_equal(plain.charges[synapse], fast.charges[synapse]), synapse
    bound = settling(lowered.program, certify(lowered.program))
    assert (fast.steps[:, 0] <= bound.outer).all()


def test_few_spike_neurons_and_functions_take_the_steps_of_their_schedule() -> None:
    generator = np.random.default_rng(1)
    data = generator.standard_normal((40, 4, 5)).astype(np.float32)
    program = snnir.compile(attention(generator), calibration=data, bits=4, neuron="few-spikes")
    assert len(np.unique(program.run(data).steps)) == 1


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("neuron", "realisation"), [("bif", "barrier"), ("few-spikes", "barrier"), ("bif", "difference")])
def test_a_bundle_holds_functions_and_both_replays_run_them(name: str, neuron: str, realisation: str, tmp_path: Path) -> None:
    program, x = compiled(name, neuron, realisation)
    execution = "carry" if neuron == "bif" else "reset"
    made = snnir.bundle(program, x[:3], samples=3, execution=execution)
    made.save(tmp_path / "model.snnb")
    validator = schema_validator()
    if validator is not None:
        validator.validate(json.loads(made.members()["manifest.json"]))
    read = load_bundle(tmp_path / "model.snnb")
    assert read.members() == made.members()
    replayed = replay_bundle(read)
    assert replayed.ok and replayed.compared and replayed.events
    assert read.golden is not None
    again = snnir.load(tmp_path / "model.snnb").run(x[:3], execution=execution, record=list(read.golden.events))
    for key, array in program.run(x[:3], execution=execution).outputs.items():
        np.testing.assert_array_equal(again.outputs[key], array)
    for key, events in read.golden.events.items():
        np.testing.assert_array_equal(again.rasters[key], events.rows, err_msg=key)
    if any(map(shutil.which, (os.environ.get("CC", "cc"), "gcc", "clang"))):
        (tmp_path / "model.snnu").write_bytes(unpacked(read))
        engine = compile_engine(tmp_path, SANITIZED)
        for apart in (False, True):
            run = run_file(engine, tmp_path / "model.snnu", apart)
            assert run.ok, run.error
            assert run.counts["microcode_operations"] > 0


def test_a_damaged_function_is_refused_by_name(tmp_path: Path) -> None:
    program, x = compiled("attention", "bif")
    members = dict(snnir.bundle(program, x[:1], samples=1).members())
    text = members["manifest.json"].decode()
    for found, damaged in (
        ('"kind":"floor_div"', '"kind":"divide"'),
        ('"operands":[0', '"operands":[9999'),
        ('"code":[{', '"code":[{"odd":1,'),
    ):
        assert found in text
        with pytest.raises(FileFormatError, match="its manifest"):
            Bundle.read({**members, "manifest.json": text.replace(found, damaged, 1).encode()})


def test_other_backends_refuse_functions_by_name(tmp_path: Path) -> None:
    program, x = compiled("attention", "bif")
    with pytest.raises(UnsupportedError, match="function"):
        snnir.export_nir(program, tmp_path / "model.nir")


def test_memory_images_hold_the_microcode_of_a_sequencer(tmp_path: Path) -> None:
    program, x = compiled("attention", "bif")
    emit_bundle(snnir.bundle(program, x[:1], samples=1), "hex", tmp_path)
    names = [path.name for path in tmp_path.iterdir()]
    for part in ("constants", "code", "maps"):
        assert sum(name.endswith(f".{part}.memh") for name in names) == sum(
            len(node.outputs) for _, node in program.graph().walk() if isinstance(node.op, Function)
        )


@pytest.mark.parametrize("length", [4, None])
@pytest.mark.parametrize(("neuron", "realisation"), [("bif", "barrier"), ("few-spikes", "barrier"), ("bif", "difference")])
def test_functions_of_constants_have_the_sizes_of_what_they_meet(neuron: str, realisation: str, length: int | None) -> None:
    """A softmax of a constant, and one of what a weight of 0 leaves of the input, at known and at open lengths."""
    generator = np.random.default_rng(0)
    graph, size = Graph("constant", "float"), dim("T") if length is None else length
    x = graph.input("x", TensorType((_N, size, 5), "f32"))
    stream = graph.add1(Linear(), x, _weight(graph, generator, 6, 5))
    same = graph.constant("same", generator.standard_normal((1, 1, 6)).astype(np.float32))
    first = graph.add1(Softmax(2), graph.add1(Expand((_N, size, 6)), same))
    nothing = graph.add1(Mul(), stream, graph.constant("zero", np.zeros((), np.float32)))
    second = graph.add1(Softmax(2), graph.add1(Add(), nothing, same))
    hidden = graph.add1(Tanh(), graph.add1(Add(), graph.add1(Add(), stream, first), second))
    graph.output("y", graph.add1(Linear(), hidden, _weight(graph, generator, 3, 6)))
    data = generator.standard_normal((20, 4, 5)).astype(np.float32)
    program = snnir.compile(graph, calibration=data, neuron=neuron, functions=realisation)
    assert program.verify(data[:4]).mismatches == 0
    if length is None:
        assert program.verify(generator.standard_normal((3, 7, 5)).astype(np.float32)).mismatches == 0


def test_tokens_that_a_cell_chooses_are_integers_again_behind_the_network() -> None:
    program, x = compiled("choosing", "bif")
    tokens = program.run(x).outputs["tokens"]
    assert tokens.dtype == np.int64 and set(np.unique(tokens)) <= set(range(7))
    np.testing.assert_array_equal(tokens, program.reference(x)["tokens"])
    assert program.facts["host_nodes"] == ["cast node 'tokens.integer' (cast)"]
    assert program.facts["spiking_mac_share"] == 1.0
