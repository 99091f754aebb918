"""`snnir check`: the fate of every node, all refusals at once, what was found and what it will cost."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

import snnir
from snnir.cli.main import main
from snnir.errors import UnsupportedError, UsageError
from snnir.ir.execute import bind_sizes
from snnir.runtime.inputs import as_inputs
from tests.models import crnn, data, model_of, perceptron
from tests.quantized_models import conv_net, static

FIXTURES = Path(__file__).parents[1] / "frontends" / "fixtures"
MODELS = sorted(path for path in FIXTURES.rglob("*.onnx") if path.parent.name != "quantized")


def odd_model() -> onnx.ModelProto:
    """Two operators that snnir does not know, one that only the host computes, and nodes behind them."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv", pads=[1, 1]),
        helper.make_node("Relu", ["c"], ["r"], "relu"),
        helper.make_node("Hardmax", ["r"], ["s"], "root", axis=1),
        helper.make_node("Tanh", ["s"], ["t"], "tanh"),
        helper.make_node("Bernoulli", ["c"], ["d"], "coin"),
        helper.make_node("Multinomial", ["r"], ["m"], "draw"),
        helper.make_node("Add", ["t", "d"], ["y"], "add"),
    ]
    model = model_of(nodes, ["N", 4, 6], {"w": data(np.random.default_rng(0), 5, 4, 3)})
    model.producer_name, model.producer_version = "someone", "1.2"
    return model


def test_every_node_of_a_model_that_converts_has_a_fate() -> None:
    rng = np.random.default_rng(0)
    model, x = crnn(rng), data(rng, 16, 4, 6)
    found = snnir.check(model)
    assert found.ok and not found.certified
    assert {node.name: node.fate for node in found.nodes} == {
        "conv": "spiking",
        "relu": "spiking",
        "to_time": "folded",
        "rnn": "spiking",
        "squeeze": "folded",
        "head": "spiking",
    }
    assert [(item.kind, item.name, item.states, item.length) for item in found.recurrences] == [("RNN layer", "rnn", 1, 6)]
    assert (found.neurons, found.synapses) == (5 * 6 + 5, 30 * 12 + 5 * 10 + 15)
    assert found.macs == 30 * 12 + 6 * 50 + 15
    certified = snnir.check(model, calibration=x)
    assert certified.certified
    assert set(certified.steps) == set(found.steps)
    assert all(certified.steps[name] <= steps for name, steps in found.steps.items())
    program = snnir.compile(model, calibration=x)
    bounds = program.bounds(bind_sizes(program.graph("spiking"), as_inputs(program.graph("spiking"), x)))
    assert certified.steps == {name: max(windows) for name, windows in bounds.items()}


def test_all_refusals_come_at_once_with_where_the_model_came_from() -> None:
    found = snnir.check(odd_model())
    fates = {node.name: node.fate for node in found.nodes}
    assert not found.ok
    assert [name for name, fate in fates.items() if fate == "refused"] == ["root", "tanh", "coin", "draw"]
    assert fates["add"] == "blocked"
    assert found.provenance == "opset 20, made by someone 1.2"
    assert found.steps == {}
    with pytest.raises(UnsupportedError, match=r"opset 20, made by someone 1\.2\) holds 2 nodes") as caught:
        snnir.import_model(odd_model())
    assert [refusal.origins for refusal in caught.value.refusals] == [("Bernoulli coin",), ("Multinomial draw",)]


def test_refusals_of_the_compiler_name_the_model_too() -> None:
    model = odd_model()
    del model.graph.node[4:]
    model.graph.output[0].name = "t"
    with pytest.raises(UnsupportedError, match=r"made by someone 1\.2\): .*\n.*Hardmax root \(op hardmax\): inside the network"):
        snnir.compile(model, calibration=data(np.random.default_rng(0), 4, 4, 6))
    assert snnir.check(model, allow_host=True).ok


_RECURRENT = (
    *("rnn", "gru", "lstm", "fori", "while", "scan", "relu", "two_layers", "cells"),
    *("stacked", "both", "back", "bidir", "convolutions"),
)


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_exported_models_convert_and_show_their_recurrences(path: Path) -> None:
    found = snnir.check(path)
    assert found.ok, found.refusals
    recurrent = any(word in path.stem for word in _RECURRENT)
    assert bool(found.recurrences) == recurrent
    assert found.steps and found.synapses and found.macs
    assert len(found.nodes) >= len(onnx.load(path).graph.node)
    unrolled = path.parent.name == "unrolled" or path.stem == "dynamo_rnn"
    assert unrolled == any(item.kind == "rolled-back steps" for item in found.recurrences)
    assert all(node.fate in ("spiking", "folded", "host") for node in found.nodes)
    assert all(node.reason for node in found.nodes if node.fate in ("folded", "host"))
    assert any(node.fate == "spiking" for node in found.nodes)
    json.dumps(found.facts())


def test_the_command_prints_and_exits_with_1_where_anything_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    rng = np.random.default_rng(0)
    onnx.save(crnn(rng), tmp_path / "good.onnx")
    onnx.save(odd_model(), tmp_path / "odd.onnx")
    np.save(tmp_path / "x.npy", data(rng, 8, 4, 6))
    assert main(["check", str(tmp_path / "good.onnx"), "--all"]) == 0
    printed = capsys.readouterr().out
    assert "every node converts" in printed and "estimated for 4 bits" in printed and "to_time" in printed
    assert main(["check", str(tmp_path / "good.onnx"), "--calibration", str(tmp_path / "x.npy")]) == 0
    assert "(certified)" in capsys.readouterr().out
    assert main(["check", str(tmp_path / "odd.onnx")]) == 1
    printed = capsys.readouterr().out
    assert "operator not supported" in printed and "inside the network" in printed and "made by someone 1.2" in printed
    assert main(["check", str(tmp_path / "odd.onnx"), "--json"]) == 1
    facts = json.loads(capsys.readouterr().out)
    assert facts["ok"] is False
    assert len(facts["refusals"]) == 4
    assert main(["check", str(tmp_path / "none.onnx")]) == 2


def test_what_a_model_says_of_itself_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Short for people, whole in JSON; by check, compile and inspect, of a model and of its program."""
    monkeypatch.setenv("COLUMNS", "200")
    rng = np.random.default_rng(0)
    model = crnn(rng)
    model.producer_name, model.producer_version, model.domain, model.model_version = "someone", "1.2", "org.example", 3
    model.doc_string = "Counts [things].\n" + "It is described at length. " * 20
    model.metadata_props.add(key="author", value="a [bold] person")
    paths = [tmp_path / name for name in ("told.onnx", "told.snnir")]
    onnx.save(model, paths[0])
    np.save(tmp_path / "x.npy", data(rng, 8, 4, 6))
    commands = [
        ["check", str(paths[0])],
        ["compile", str(paths[0]), "--calibration", str(tmp_path / "x.npy"), "-o", str(paths[1])],
        ["inspect", str(paths[0])],
        ["inspect", str(paths[1])],
    ]
    for command in commands:
        assert main(command) == 0
        printed = capsys.readouterr().out
        for words in ("opset 20, made by someone 1.2", "org.example", "author: a [bold] person", "Counts [things]. It is"):
            assert words in printed, command
        assert "…" in printed and printed.count("described at length") < 5
        assert main([*command, "--json"]) == 0
        facts = json.loads(capsys.readouterr().out)
        assert facts["provenance"] == "opset 20, made by someone 1.2"
        assert facts["metadata"]["doc_string"] == model.doc_string
        assert facts["metadata"]["metadata/author"] == "a [bold] person"
    assert snnir.load(paths[1]).facts["metadata"] == dict(snnir.check(paths[0]).metadata)


def test_operator_sets_are_named_once() -> None:
    assert snnir.check(FIXTURES / "sklearn" / "sklearn_linear.onnx").provenance.count("opset") == 1


def test_reasons_tell_what_is_known_from_what_is_merged_and_from_what_spikes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    found = snnir.check(static(conv_net(rng), data(rng, 8, 2, 8, 8), tmp_path, "QUInt8", "QInt8"))
    fates = {node.name: (node.fate, node.reason) for node in found.nodes}
    assert fates["w1_DequantizeLinear"] == ("folded", "known while compiling")
    assert fates["x_DequantizeLinear"] == ("folded", "nothing is left to compute")
    assert fates["p"] == ("spiking", "")
    assert fates["both"] == ("spiking", "")


def test_recurrences_are_named_as_in_the_model(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    onnx.save(crnn(np.random.default_rng(0)), tmp_path / "model.onnx")
    assert main(["check", str(tmp_path / "model.onnx")]) == 0
    printed = capsys.readouterr().out
    assert "outside recurrences: " in printed and "RNN rnn: " in printed and "(in RNN rnn)" in printed


def test_a_sum_that_several_outputs_come_from_is_read_out_once() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], "sum"),
        helper.make_node("Softmax", ["h"], ["y"], "share"),
        helper.make_node("ArgMax", ["h"], ["label"], "label", axis=1),
    ]
    model = model_of(nodes, ["N", 4], {"w": data(np.random.default_rng(0), 4, 3)})
    model.graph.output.append(helper.make_tensor_value_info("label", onnx.TensorProto.INT64, ["N", 1]))
    found = snnir.check(model)
    assert found.ok
    assert (found.synapses, found.macs) == (12, 12)


def test_open_sizes_stay_symbols() -> None:
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], "time_first", perm=[1, 0, 2]),
        helper.make_node("GRU", ["t", "W", "R"], ["y"], "gru", hidden_size=3),
    ]
    rng = np.random.default_rng(0)
    model = model_of(nodes, ["N", "T", 2], {"W": data(rng, 1, 9, 2), "R": data(rng, 1, 9, 3)})
    found = snnir.check(model)
    assert found.ok
    assert str(found.macs).endswith("T")
    assert str(found.recurrences[0].length) == "T"


def test_an_exported_program_is_checked_node_by_node(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    module = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)).eval()
    path = tmp_path / "net.pt2"
    torch.export.save(torch.export.export(module, (torch.zeros(2, 6),)), path)
    found = snnir.check(path)
    assert found.ok and found.model == "net" and found.provenance.startswith("torch.export")
    assert found.counts["spiking"] >= 2
    assert all(node.fate in ("spiking", "folded") for node in found.nodes)
    with pytest.raises(UsageError, match=r"torch\.export\.export"):
        snnir.check(module)


def test_options_out_of_range_are_refused_before_anything_is_read() -> None:
    for options in ({"bits": 77}, {"bits": 0}, {"neuron": "lif"}):
        with pytest.raises(UsageError):
            snnir.check("missing.onnx", **options)


def test_what_is_no_model_says_what_to_give() -> None:
    with pytest.raises(UsageError, match=r"dict is no model.*load_state_dict"):
        snnir.compile({"0.weight": 1}, calibration=np.zeros((2, 6), np.float32))  # type: ignore[arg-type]


def test_calibration_data_of_zeros_are_warned_of() -> None:
    rng = np.random.default_rng(0)
    program = snnir.compile(perceptron(rng), calibration=np.zeros((8, 6), np.float32))
    assert "constant-calibration" in {item.name for item in program.warnings}
