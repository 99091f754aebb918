"""The exact form: its primitives, run without snnir, send the spikes of the simulator at the same steps; and it reads back."""

from __future__ import annotations

from pathlib import Path

import nir
import numpy as np
import pytest
from sklearn.datasets import load_digits

from snnir.backends.nir import NirReport, read_nir, write_nir
from snnir.backends.nir.unroll import unroll
from snnir.backends.simulator import Simulator
from snnir.errors import FileFormatError, UnsupportedError
from snnir.ir import Graph, TensorType
from snnir.ir.dims import dim
from snnir.ir.execute import bind_sizes, execute
from snnir.ir.ops import AveragePool, Bif, Conv, Linear, Relu, Reshape, Rnn, Sigmoid
from snnir.machine.plain import PlainResult, simulate_plain
from snnir.passes import Context, default_pipeline, parse_pipeline, run_pipeline
from tests.backends.nir.interpreter import Interpreter
from tests.backends.spiking_graphs import random_spiking_graph
from tests.test_conversion import compiled

Inputs = dict[str, np.ndarray]


def spikes_without_snnir(path: Path, graph: Graph, data: Inputs, steps: int) -> tuple[dict[str, np.ndarray], Inputs]:
    """Trains [steps, N, ...] of every population and the last outputs, by the names in `graph`."""
    written = nir.read(path)
    levels: dict[str, np.ndarray] = {}
    execute(graph, data, lambda value, array: levels.update({value.name: array}))
    inputs = {name: node for name, node in written.nodes.items() if isinstance(node, nir.Input)}
    charge = {
        name: levels[node.metadata["value"]].reshape(-1, *node.input_type["input"].tolist()) for name, node in inputs.items()
    }
    interpreter = Interpreter(written)
    for step in range(steps):
        outputs = interpreter.step({name: array if not step else np.zeros_like(array) for name, array in charge.items()})
    trains = {}
    for name, node in written.nodes.items():
        if node.metadata.get("kind") == "bif":
            train = np.stack(interpreter.seen[f"{name}/output"])
            trains[node.metadata["value"]] = train.reshape(*train.shape[:2], *_shape(node))
    found = {written.nodes[source].metadata["value"]: outputs[target] for source, target in written.edges if target in outputs}
    return trains, {name: array.reshape(len(array), *_shape(nodes_by_value(written)[name])) for name, array in found.items()}


def _shape(node: nir.NIRNode) -> tuple[int, ...]:
    return tuple(int(size) for size in node.metadata["shape"].split(",") if size)


def nodes_by_value(written: nir.NIRGraph) -> dict[str, nir.NIRNode]:
    return {node.metadata["value"]: node for node in written.nodes.values() if "value" in node.metadata}


def padded(train: np.ndarray, steps: int) -> np.ndarray:
    return np.concatenate([train, np.zeros((steps - len(train), *train.shape[1:]), train.dtype)])


def check(path: Path, graph: Graph, data: Inputs, unrolled: bool = False) -> tuple[NirReport, int, PlainResult]:
    """Export, run both ways, read back; returns the report, the number of values compared, and snnir's own result."""
    lengths = {name: size for name, size in bind_sizes(graph, data).items() if name != "N"}
    report = write_nir(graph, path, scans=unrolled, lengths=lengths)
    flat, _ = unroll(graph, lengths)
    plain = simulate_plain(flat, data)
    steps = int(plain.steps.max(initial=0)) + 2
    trains, outputs = spikes_without_snnir(path, flat, data, steps)
    populations = [node.output.name for node in flat.nodes if isinstance(node.op, Bif)]
    assert set(trains) == set(populations)
    compared = 0
    for name in populations:
        np.testing.assert_array_equal(trains[name], padded(plain.trains[name], steps), err_msg=name)
        compared += trains[name].size
    settled: dict[str, np.ndarray] = {}
    execute(flat, data, lambda value, array: settled.update({value.name: array}))
    for name, array in outputs.items():
        np.testing.assert_array_equal(array.astype(np.float32), settled[name], err_msg=name)
    back = read_nir(path)
    again = simulate_plain(back, data)
    for name in populations:
        np.testing.assert_array_equal(again.trains[name], plain.trains[name], err_msg=f"{name} read back")
        np.testing.assert_array_equal(again.counts[name], settled[name], err_msg=f"{name} read back")
    assert list(again.outputs) == list(plain.outputs)
    for name, array in plain.outputs.items():
        np.testing.assert_array_equal(again.outputs[name], array, err_msg=name)
    return report, compared, plain


@pytest.mark.parametrize("first", range(0, 48, 16))
def test_compiled_random_graphs_spike_alike_and_read_back(first: int, tmp_path: Path) -> None:
    written, reasons = 0, set[str]()
    for seed in range(first, first + 16):
        graphs, data = compiled(seed)
        graph = graphs["spiking"]
        if any(isinstance(node.op, Bif) and node.op.staircase and _levels(node.op) > 31 for _, node in graph.walk()):
            continue  # a Threshold for each level: the same again, and seconds to write
        recurrent = any(node.body is not None for node in graph.nodes)
        try:
            _, _, plain = check(tmp_path / "a.nir", graph, data, unrolled=recurrent)
        except UnsupportedError as error:
            reasons.update(refusal.reason.split(";")[0].split(" (")[0] for refusal in error.refusals)
            continue
        written += 1
        expected = execute(graphs["quantized"], data)
        for name, array in plain.outputs.items():
            np.testing.assert_array_equal(array, expected[name], err_msg=f"seed {seed}")
        if recurrent:  # the copies of a body send what a simulation with replay sends, window by window
            windows = simulate_plain(graph, data, delivery="replay")
            matched = replayed(windows, plain)
            assert matched, f"seed {seed}"
    assert written >= 4
    assert reasons <= {"NIR has no maximum", "NIR has no product of two signals"}


def _levels(op: Bif) -> int:
    return op.quantization.hi - op.quantization.lo


def replayed(windows: PlainResult, flat: PlainResult) -> int:
    """Compare the trains of every window with those of the copy that stands for it; the number compared."""
    compared = 0
    for name, trains in windows.trains.items():
        if name in flat.trains:
            continue
        elements = [window[window.rindex("[") :] for window in windows.windows if window.startswith(f"{name.rsplit('/', 1)[0]}[")]
        for element, train in zip(elements, trains, strict=True):
            if f"{name}{element}" not in flat.trains:
                continue  # it comes from constants only, and is charged with the bias
            other = flat.trains[f"{name}{element}"]
            steps = max(len(other), len(train))
            np.testing.assert_array_equal(padded(train, steps), padded(other, steps), err_msg=f"{name}{element}")
            compared += train.size
    return compared


def test_random_spiking_graphs_of_every_synapse_and_movement(tmp_path: Path) -> None:
    written, reasons = 0, set[str]()
    for seed in range(30):
        graph, data = random_spiking_graph(np.random.default_rng(seed), scans=0)
        graph = certified(graph)
        try:
            check(tmp_path / "a.nir", graph, data)
            written += 1
        except UnsupportedError as error:
            reasons.update(refusal.reason.split(";")[0].split(" (")[0] for refusal in error.refusals)
    assert reasons <= {"NIR has no maximum", "it is a spike train", "its axis 0 is not the batch"}
    assert written >= 9


def certified(graph: Graph) -> Graph:
    return run_pipeline(graph, parse_pipeline("certify-bounds"), Context({}), check=False)[-1].graph


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
    report, compared, _ = check(tmp_path / "a.nir", spiking(perceptron(smooth), data), data)
    assert report.neurons == 36
    assert report.unrolled_synapses == ()
    assert report.float32
    assert compared >= 40 * 36 * 3


def test_a_convolutional_network_on_digits_keeps_its_geometry(tmp_path: Path) -> None:
    data = {"x": digits()[:, np.newaxis]}
    report, _, _ = check(tmp_path / "a.nir", spiking(convolutional(), data), data)
    assert report.unrolled_synapses == ()
    kinds = {type(node).__name__ for node in nir.read(tmp_path / "a.nir").nodes.values()}
    assert {"Conv2d", "Flatten", "Linear", "NIRGraph"} <= kinds


def recurrent() -> tuple[Graph, Inputs]:
    rng = np.random.default_rng(3)
    graph = Graph("recurrent")
    x = graph.input("x", TensorType((dim("N"), dim("T"), 8), "f32"))
    shapes = ((12, 8), (12, 12), (12,), (1, 12))
    weights = [graph.constant("w", (rng.normal(size=shape) * 0.4).astype(np.float32)) for shape in shapes]
    _, last = graph.add(Rnn("relu"), x, *weights, names=["all", "last"])
    head = graph.constant("w", rng.normal(size=(10, 12)).astype(np.float32))
    graph.output("logits", graph.add1(Linear(), last, head, name="logits"))
    return graph, {"x": digits()[:8]}


def test_windows_are_refused_by_name_unless_written_out(tmp_path: Path) -> None:
    graph, data = recurrent()
    program = spiking(graph, data)
    with pytest.raises(UnsupportedError, match=r"NIR has no windows; write it out element by element with unroll=True"):
        write_nir(program, tmp_path / "a.nir")
    with pytest.raises(UnsupportedError, match=r"open length T, and NIR has no loop; give the length"):
        write_nir(program, tmp_path / "a.nir", scans=True)
    assert not (tmp_path / "a.nir").exists()
    report, _, plain = check(tmp_path / "a.nir", program, data, unrolled=True)
    assert [line.rsplit(": ", 1)[1] for line in report.unrolled_scans] == ["8 elements"]
    assert replayed(simulate_plain(program, data, delivery="replay"), plain) > 0
    fast = Simulator(program).run(data)
    np.testing.assert_array_equal(plain.outputs["logits"], fast.outputs["logits"])


def test_a_second_export_of_what_was_read_is_the_same_network(tmp_path: Path) -> None:
    data = {"x": digits()}
    write_nir(spiking(perceptron(), data), tmp_path / "a.nir")
    graph = certified(read_nir(tmp_path / "a.nir"))
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
        ("version", "format version 99, this snnir reads version 1"),
        ("metadata", "KeyError: 'scale'"),
    ],
)
def test_a_file_that_was_changed_is_refused(change: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.nir"
    write_nir(spiking(perceptron(), {"x": digits()}), path)
    changed(path, change)
    with pytest.raises(FileFormatError, match=message):
        read_nir(path)
