"""The exact form: its primitives, run without snnir, send the spikes of the simulator at the same steps; and it reads back."""

from __future__ import annotations

from pathlib import Path

import nir
import numpy as np
import pytest
from sklearn.datasets import load_digits

import snnir
from snnir.backends.nir import NirReport, read_nir
from snnir.backends.nir import write_nir as write_source
from snnir.backends.nir.write import levels_of
from snnir.backends.simulator import Simulator
from snnir.errors import FileFormatError, UnsupportedError
from snnir.export.nir import source_of
from snnir.ir import Graph, TensorType
from snnir.ir.dims import dim
from snnir.ir.execute import bind_sizes, execute
from snnir.ir.ops import AveragePool, Bif, Conv, Fs, Gru, Linear, Lstm, Relu, Reshape, Rnn, Sigmoid
from snnir.machine import interpret
from snnir.machine.interpreter import Execution
from snnir.machine.plain import PlainResult, simulate_plain
from snnir.machine.program import FewSpikes, Population, Readout
from snnir.machine.unrolling import written_out
from snnir.passes import Context, default_pipeline, run_pipeline
from tests.backends.nir.interpreter import Interpreter
from tests.backends.spiking_graphs import random_spiking_graph
from tests.backends.test_carry import recurrent as gated
from tests.test_conversion import compiled
from tests.test_few_spikes import few_spikes

Inputs = dict[str, np.ndarray]


def write_nir(
    graph: Graph,
    path: Path,
    mode: str = "exact",
    data: Inputs | None = None,
    scans: bool = True,
    lengths: dict[str, int] | None = None,
) -> NirReport:
    """Write a spiking graph, for the lengths of `data` or these."""
    sizes = dict(lengths or {}) | ({} if data is None else bind_sizes(graph, data))
    return write_source(source_of(graph, sizes), path, mode, data=data, scans=scans)


def spikes_without_snnir(path: Path, levels: Inputs, steps: int) -> tuple[dict[str, np.ndarray], Inputs]:
    """Trains [steps, N, n] of every population and the last outputs [N, n], by their names, for levels [N, n] of inputs."""
    written = nir.read(path)
    charge = {
        name: levels[node.metadata["value"]].reshape(-1, *node.input_type["input"].tolist())
        for name, node in written.nodes.items()
        if isinstance(node, nir.Input)
    }
    interpreter = Interpreter(written)
    for step in range(steps):
        outputs = interpreter.step({name: array if not step else np.zeros_like(array) for name, array in charge.items()})
    trains = {}
    for name, node in written.nodes.items():
        if node.metadata.get("kind") in ("bif", "fs"):
            train = np.stack(interpreter.seen[f"{name}/output"])
            trains[node.metadata["value"]] = train.reshape(*train.shape[:2], -1)
    found = {written.nodes[source].metadata["value"]: outputs[target] for source, target in written.edges if target in outputs}
    return trains, {name: array.reshape(len(array), -1) for name, array in found.items()}


def nodes_by_value(written: nir.NIRGraph) -> dict[str, nir.NIRNode]:
    return {node.metadata["value"]: node for node in written.nodes.values() if "value" in node.metadata}


def padded(train: np.ndarray, steps: int) -> np.ndarray:
    return np.concatenate([train, np.zeros((steps - len(train), *train.shape[1:]), train.dtype)])


def check(path: Path, graph: Graph, data: Inputs) -> tuple[NirReport, int, Execution, Graph]:
    """Export, run both ways, read back; the report, the number of values compared, the program's own run, and what was read."""
    source = source_of(graph, bind_sizes(graph, data))
    report = write_source(source, path)
    flat = written_out(source.program)
    levels = levels_of(source, flat, data)
    plain = interpret(flat.program, levels)
    steps = max((train.shape[-2] for train in plain.trains.values()), default=0) + 2
    trains, outputs = spikes_without_snnir(path, levels, steps)
    populations = [op.train.name for op in flat.program.ops if isinstance(op, Population | FewSpikes)]
    assert set(trains) == set(populations)
    compared = 0
    for name in populations:
        np.testing.assert_array_equal(trains[name], padded(np.moveaxis(plain.trains[name], 0, 1), steps), err_msg=name)
        compared += trains[name].size
    for op in flat.program.ops:
        if isinstance(op, Readout):
            real = (plain.counts[op.train.name] * op.scale[op.scale_map.array()]).astype(np.float32)
            np.testing.assert_array_equal(outputs[op.train.name].astype(np.float32), real, err_msg=op.train.name)
    back = read_nir(path)
    again = simulate_plain(back, data)
    for name in populations:
        np.testing.assert_array_equal(flat_samples(again.trains[name], 2), np.moveaxis(plain.trains[name], 0, 1), err_msg=name)
        np.testing.assert_array_equal(flat_samples(again.counts[name], 1), plain.counts[name], err_msg=f"{name} read back")
    expected = execute(graph, data)
    assert list(again.outputs) == list(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(again.outputs[name], array, err_msg=name)
    return report, compared, plain, back


def flat_samples(array: np.ndarray, lead: int) -> np.ndarray:
    """The axes of a sample as one."""
    return array.reshape(*array.shape[:lead], -1)


@pytest.mark.parametrize("first", range(0, 48, 16))
def test_compiled_random_graphs_spike_alike_and_read_back(first: int, tmp_path: Path) -> None:
    written, reasons = 0, set[str]()
    for seed in range(first, first + 16):
        graphs, data = compiled(seed)
        graph = graphs["spiking"]
        if any(isinstance(node.op, Bif) and node.op.staircase and _levels(node.op) > 31 for _, node in graph.walk()):
            continue  # a Threshold for each level: the same again, and seconds to write
        try:
            _, _, plain, _ = check(tmp_path / "a.nir", graph, data)
        except UnsupportedError as error:
            reasons.update(refusal.reason.split(";")[0].split(" (")[0].split(": ")[0] for refusal in error.refusals)
            continue
        written += 1
        if any(node.body is not None for node in graph.nodes):
            # the copies of a body send what a simulation with replay sends, window by window
            assert replayed(simulate_plain(graph, data, delivery="replay"), plain), f"seed {seed}"
    assert written >= 4
    assert reasons <= REASONS


REASONS = {
    "NIR has no maximum",
    "NIR has no product of two signals",
    "NIR has no functions of complete levels",
}


def _levels(op: Bif | Fs) -> int:
    return op.quantization.hi - op.quantization.lo


def replayed(windows: PlainResult, flat: Execution) -> int:
    """Compare the trains of every window with those of the copy that stands for it; the number compared."""
    compared = 0
    for name, trains in windows.trains.items():
        if name in flat.trains:
            continue
        elements = [window[window.rindex("[") :] for window in windows.windows if window.startswith(f"{name.rsplit('/', 1)[0]}[")]
        for element, train in zip(elements, trains, strict=True):
            if f"{name}{element}" not in flat.trains:
                continue  # it comes from constants only, and is charged with the bias
            other, mine = np.moveaxis(flat.trains[f"{name}{element}"], 0, 1), flat_samples(train, 2)
            steps = max(len(other), len(mine))
            np.testing.assert_array_equal(padded(mine, steps), padded(other, steps), err_msg=f"{name}{element}")
            compared += train.size
    return compared


def test_random_spiking_graphs_of_every_synapse_and_movement(tmp_path: Path) -> None:
    written, reasons = 0, set[str]()
    for seed in range(30):
        graph, data = random_spiking_graph(np.random.default_rng(seed), scans=0)
        try:
            check(tmp_path / "a.nir", graph, data)
            written += 1
        except UnsupportedError as error:
            reasons.update(refusal.reason.split(";")[0].split(" (")[0] for refusal in error.refusals)
    assert reasons <= {*REASONS, "it is a spike train"}
    assert written >= 9


def digits() -> np.ndarray:
    return np.asarray(load_digits().images[:40] / 16, np.float32)


def spiking(graph: Graph, data: Inputs, bits: int = 4) -> Graph:
    return run_pipeline(graph, default_pipeline(bits, 8, 4), Context(data))[-1].graph


def perceptron(smooth: bool = False) -> Graph:
    rng = np.random.default_rng(1)
    graph = Graph("perceptron")
    x = graph.input("x", TensorType((dim("N"), 8, 8), "f32"))
    h = graph.add1(Reshape((dim("N"), 64)), x)
    for index, (inputs, outputs) in enumerate(((64, 20), (20, 16))):
        weight = graph.constant("w", (rng.normal(size=(outputs, inputs)) / np.sqrt(inputs)).astype(np.float32))
        bias = graph.constant("b", (rng.normal(size=outputs) * 0.1).astype(np.float32))
        h = graph.add1(Linear(), h, weight, bias, name=f"dense{index}")
        h = graph.add1(Sigmoid() if smooth and index else Relu(), h, name=f"act{index}")
    weight = graph.constant("w", rng.normal(size=(10, 16)).astype(np.float32))
    bias = graph.constant("b", rng.normal(size=10).astype(np.float32))
    graph.output("logits", graph.add1(Linear(), h, weight, bias, name="logits"))
    return graph


def convolutional() -> Graph:
    rng = np.random.default_rng(2)
    graph = Graph("convolutional")
    x = graph.input("x", TensorType((dim("N"), 1, 8, 8), "f32"))
    first = graph.constant("w", (rng.normal(size=(4, 1, 3, 3)) / 3).astype(np.float32))
    h = graph.add1(Conv((1, 1), (1, 1, 1, 1), (1, 1)), x, first, name="conv")
    h = graph.add1(AveragePool((2, 2), (2, 2), (0, 0, 0, 0), (1, 1)), graph.add1(Relu(), h, name="relu"), name="pool")
    second = graph.constant("w", (rng.normal(size=(6, 2, 3, 3)) / 4).astype(np.float32))
    h = graph.add1(Relu(), graph.add1(Conv((2, 2), (1, 1, 1, 1), (1, 1), 2), h, second, name="grouped"), name="relu2")
    head = graph.constant("w", rng.normal(size=(10, 24)).astype(np.float32))
    graph.output("logits", graph.add1(Linear(), graph.add1(Reshape((dim("N"), 24)), h), head, name="logits"))
    return graph


@pytest.mark.parametrize("smooth", [False, True])
def test_a_perceptron_on_digits(smooth: bool, tmp_path: Path) -> None:
    data = {"x": digits()}
    report, compared, _, _ = check(tmp_path / "a.nir", spiking(perceptron(smooth), data), data)
    assert report.neurons == 36
    assert report.unrolled_synapses == ()
    assert report.float32
    assert compared >= 40 * 36 * 3


def test_a_convolutional_network_on_digits_keeps_its_geometry(tmp_path: Path) -> None:
    data = {"x": digits()[:, np.newaxis]}
    report, *_ = check(tmp_path / "a.nir", spiking(convolutional(), data), data)
    assert report.unrolled_synapses == ()
    kinds = {type(node).__name__ for node in nir.read(tmp_path / "a.nir").nodes.values()}
    assert {"Conv2d", "Flatten", "Linear", "NIRGraph"} <= kinds


def recurrent(activation: str = "relu") -> tuple[Graph, Inputs]:
    rng = np.random.default_rng(3)
    graph = Graph("recurrent")
    x = graph.input("x", TensorType((dim("N"), dim("T"), 8), "f32"))
    shapes = ((12, 8), (12, 12), (12,), (1, 12))
    weights = [graph.constant("w", (rng.normal(size=shape) * 0.4).astype(np.float32)) for shape in shapes]
    _, last = graph.add(Rnn(activation), x, *weights, names=["all", "last"])
    head = graph.constant("w", rng.normal(size=(10, 12)).astype(np.float32))
    graph.output("logits", graph.add1(Linear(), last, head, name="logits"))
    return graph, {"x": digits()[:8]}


def test_recurrent_layers_are_written_out(tmp_path: Path) -> None:
    graph, data = recurrent()
    program = spiking(graph, data)
    with pytest.raises(UnsupportedError, match=r"NIR has no windows; write it out element by element with unroll=True"):
        write_nir(program, tmp_path / "a.nir", data=data, scans=False)
    with pytest.raises(UnsupportedError, match=r"open length T, and NIR has no loop; give the length"):
        write_nir(program, tmp_path / "a.nir")
    assert not (tmp_path / "a.nir").exists()
    report, _, plain, _ = check(tmp_path / "a.nir", program, data)
    assert [line.rsplit(": ", 1)[1] for line in report.unrolled_scans] == ["8 elements"]
    assert replayed(simulate_plain(program, data, delivery="replay"), plain) > 0
    fast = Simulator(program).run(data)
    np.testing.assert_array_equal(execute(program, data)["logits"], fast.outputs["logits"])


@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize("omitted", [0, 1])
def test_few_spike_neurons_send_their_bits(smooth: bool, omitted: int, tmp_path: Path) -> None:
    """Signed and unsigned levels, uniform and staircase, in their steps, with and without their last bits."""
    for graph, data in (
        (perceptron(smooth), {"x": digits()}),
        (convolutional(), {"x": digits()[:, np.newaxis]}),
        recurrent("tanh" if smooth else "relu"),
    ):
        pipeline = default_pipeline(4, 8, 4, neuron="few-spikes", omitted_bits=omitted)
        program = run_pipeline(graph, pipeline, Context(data))[-1].graph
        report, compared, _, back = check(tmp_path / "a.nir", program, data)
        assert compared > 1000 and report.populations > 1
        fs = [node.op for node in back.nodes if isinstance(node.op, Fs)]
        assert len(fs) == report.populations and all(op.omitted == omitted for op in fs)


def test_random_few_spike_networks(tmp_path: Path) -> None:
    written, reasons = 0, set[str]()
    for seed in range(12):
        _, graph, data = few_spikes(seed)
        if any(isinstance(node.op, Fs) and node.op.staircase and _levels(node.op) > 31 for _, node in graph.walk()):
            continue
        try:
            check(tmp_path / "a.nir", graph, data)
            written += 1
        except UnsupportedError as error:
            reasons.update(refusal.reason.split(";")[0].split(" (")[0].split(": ")[0] for refusal in error.refusals)
    assert written >= 3
    assert reasons <= REASONS


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_gates_are_refused_once_with_what_to_use(cell: str, tmp_path: Path) -> None:
    """The same for every option: writing a gated layer out would not help."""
    x = np.random.default_rng(0).normal(size=(6, 5, 3)).astype(np.float32)
    gates, states = (3, 1) if cell == "gru" else (4, 2)
    program = snnir.compile(gated(Gru() if cell == "gru" else Lstm(), gates, states), calibration=x, bits=3, check=False)
    for unroll in (False, True):
        with pytest.raises(UnsupportedError) as caught:
            snnir.export_nir(program, tmp_path / "a.nir", unroll=unroll, lengths={"T": 5})
        (refusal,) = caught.value.refusals
        assert "no product of two signals" in refusal.reason and "snnir bundle" in refusal.reason
        assert "unroll" not in str(caught.value)


def test_a_second_export_of_what_was_read_is_the_same_network(tmp_path: Path) -> None:
    data = {"x": digits()}
    write_nir(spiking(perceptron(), data), tmp_path / "a.nir")
    graph = read_nir(tmp_path / "a.nir")
    write_nir(graph, tmp_path / "b.nir")
    first, second = (nir.read(tmp_path / name) for name in ("a.nir", "b.nir"))
    assert first.to_dict().keys() == second.to_dict().keys()
    for name, node in first.nodes.items():
        other = second.nodes[name]
        if isinstance(node, nir.Linear):
            np.testing.assert_array_equal(node.weight, other.weight)


def changed(path: Path, change: str) -> None:
    graph = nir.read(path)
    population = next(node for node in graph.nodes.values() if node.metadata.get("kind") == "bif")
    if change == "threshold":
        population.nodes["above"].threshold[0] += 0.25
    elif change == "tracer":
        population.nodes["tracer"].r[0] = 2
    elif change == "edge":
        for signal, sign, other in (("above", "rise", "fall"), ("below", "fall", "rise")):
            population.edges.remove((signal, sign))
            population.edges.append((signal, other))
    elif change == "weight":
        next(node for node in graph.nodes.values() if isinstance(node, nir.Linear)).weight[0, 0] += 0.5
    elif change == "version":
        graph.metadata["version"] = 99
    elif change == "metadata":
        del population.metadata["scale"]
    nir.write(path, graph)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("threshold", "does not stand at a half-integer"),
        ("tracer", "not those that make up a bipolar neuron"),
        ("edge", "not those that make up a bipolar neuron"),
        ("weight", "a weight is no integer"),
        ("version", "format version 99, this snnir reads versions 1 to 2"),
        ("metadata", "KeyError: 'scale'"),
    ],
)
def test_a_file_that_was_changed_is_refused(change: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.nir"
    write_nir(spiking(perceptron(), {"x": digits()}), path)
    changed(path, change)
    with pytest.raises(FileFormatError, match=message):
        read_nir(path)
