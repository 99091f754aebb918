"""Models that ONNX Runtime's static quantizer wrote: its integers are the import's, and the spiking network's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib.resources import files
from io import BytesIO
from pathlib import Path

import numpy as np
import onnx
import pytest

import snnir
from snnir.compiler.quantized_models import compare_with_runtime
from snnir.errors import CalibrationError, UnsupportedError, UsageError
from snnir.frontends.onnx import import_onnx
from snnir.ir import Graph, Value
from snnir.ir.execute import execute
from snnir.ir.ops import FakeQuantize
from tests.models import data
from tests.quantized_models import conv_net, mixed, static

Record = Callable[[str, object], None]

# activations, weights, integer operators instead of QDQ, per channel, options
KINDS = {
    "u8s8": ("QUInt8", "QInt8", False, True, {}),
    "s8s8 symmetric": ("QInt8", "QInt8", False, False, {"ActivationSymmetric": True}),
    "operators": ("QUInt8", "QInt8", True, False, {}),
    "s8, weights of 4 bits": ("QInt8", "QInt4", False, True, {}),
    "u8, weights of 4 bits": ("QUInt8", "QUInt4", False, False, {}),
    "s16": ("QInt16", "QInt8", False, True, {}),
}
WIDE = ("s16",)
"""For 16 bits ONNX Runtime computes in float32, which is too coarse for sums next to a threshold."""


@pytest.mark.parametrize("kind", KINDS)
def test_the_integers_of_a_conv_net_are_onnx_runtimes(kind: str, tmp_path: Path, record_property: Record) -> None:
    activations, weights, operators, channels, options = KINDS[kind]
    rng = np.random.default_rng(0)
    x = data(rng, 16, 2, 8, 8)
    model = static(conv_net(rng), x[:16], tmp_path, activations, weights, operators, channels, options)
    program = None if kind in WIDE else snnir.compile(model)  # 65,535 levels take as many steps
    counts, _ = compare_with_runtime(model, program.graph("quantized") if program else import_onnx(model), {"x": x})
    compared, differ = sum(item.compared for item in counts), sum(item.differ for item in counts)
    record_property("summary", f"conv net, {kind}: {differ} of {compared} integers differ from ONNX Runtime's")
    assert compared >= 5_000
    assert differ <= (0.005 * compared if kind in WIDE else 0), [item for item in counts if item.differ]
    if program is not None:
        report = program.verify(x[:4])
        assert report.ok
        assert report.mismatches == 0


@pytest.mark.parametrize("weights", ["QInt8", "QInt4"])
def test_the_digits_crnn(weights: str, tmp_path: Path, record_property: Record) -> None:
    """The recurrence is not quantized by ONNX Runtime: it is calibrated. All before it has ONNX Runtime's integers."""
    folder = files("snnir") / "data"
    model = onnx.load_model_from_string((folder / "digits-crnn.onnx").read_bytes())
    with np.load(BytesIO((folder / "digits.npz").read_bytes()), allow_pickle=False) as archive:
        known, x, labels = (archive[name] for name in ("calibration", "test", "labels"))
    x, labels = x[:200].astype(np.float32), labels[:200]
    quantized = static(model, known[:64].astype(np.float32), tmp_path, "QUInt8", weights)
    graph = import_onnx(quantized)
    counts, error = compare_with_runtime(quantized, graph, {graph.inputs[0].name: x})
    compared, differ = sum(item.compared for item in counts), sum(item.differ for item in counts)
    assert compared > 100_000
    assert differ == 0, [item for item in counts if item.differ]
    assert error < 1e-6
    program = snnir.compile(quantized, calibration=known[:128], bits=6)
    inputs = {graph.inputs[0].name: x}
    after, _ = compare_with_runtime(quantized, program.graph("quantized"), inputs)
    behind = _behind_recurrences(graph)
    assert behind == {"state_QuantizeLinear_Output.levels", "logits_QuantizeLinear_Output.levels"}
    before = [item for item in after if f"{item.name}.levels" not in behind]
    assert len(before) == 3
    assert sum(item.differ for item in before) == 0
    _assert_given_levels_kept(graph, program.graph("quantized"), inputs)
    result = program.run(x)
    correct = float((next(iter(result.outputs.values())).argmax(axis=-1) == labels).mean())
    assert correct > 0.9
    report = program.verify(x[:8])
    assert report.mismatches == 0
    record_property(
        "summary",
        f"digits CRNN, {weights}: 0 of {compared} integers differ from ONNX Runtime's; accuracy {100 * correct:.1f} %",
    )


@pytest.mark.parametrize("recurrent", ["RNN", "GRU", "LSTM"])
def test_calibration_is_asked_for_where_the_file_quantizes_nothing(recurrent: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    x = data(rng, 8, 4, 6)
    model = static(mixed(rng, recurrent), x, tmp_path, "QUInt8", "QInt8")
    with pytest.raises(CalibrationError, match="does not quantize itself"):
        snnir.compile(model)
    program = snnir.compile(model, calibration=x, bits=4)
    kinds = ("requantize", "multi_threshold")
    neurons = [node for _, node in program.graph("quantized").walk() if node.op.name in kinds]
    assert any("QuantizeLinear" in node.output.name for node in neurons)
    assert any("QuantizeLinear" not in node.output.name for node in neurons)
    report = program.verify(x)
    assert report.compared > 500
    assert report.mismatches == 0


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("recurrent", ["RNN", "GRU", "LSTM"])
def test_given_quantizers_are_kept_on_both_sides_of_a_calibrated_recurrence(recurrent: str, seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    x = data(rng, 8, 4, 6)
    model = static(mixed(rng, recurrent), x, tmp_path, "QUInt8", "QInt8")
    graph, quantized = import_onnx(model), snnir.compile(model, calibration=x, bits=4).graph("quantized")
    counts, _ = compare_with_runtime(model, quantized, {"x": x})
    behind = _behind_recurrences(graph)
    assert len(behind) == 2
    before = [item for item in counts if f"{item.name}.levels" not in behind]
    assert len(before) == 2
    assert sum(item.differ for item in before) == 0
    _assert_given_levels_kept(graph, quantized, {"x": x})


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("exclude", ["c1", "c2 a r2", "c1 r1 p c2 a r2 both", "c1 r1 p c2 a r2 both g"])
def test_given_quantizers_are_kept_where_the_rest_is_calibrated(exclude: str, seed: int, tmp_path: Path) -> None:
    """Channels of very different ranges, for which calibrated values get scales of their own: given ones keep theirs."""
    rng = np.random.default_rng(seed)
    x, model = data(rng, 48, 2, 8, 8), conv_net(rng)
    factors = np.geomspace(1, 0.02, 6).astype(np.float32)
    for tensor in model.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        if tensor.name in ("w1", "b1"):
            array = np.ascontiguousarray((array.T * factors).T)
        elif tensor.name == "w2":
            array = array / factors[:, np.newaxis, np.newaxis]
        tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    model = static(model, x, tmp_path, "QUInt8", "QInt8", exclude=exclude.split())
    program = snnir.compile(model, calibration=x, bits=4)
    graph, quantized = import_onnx(model), program.graph("quantized")
    given = {node.output.name: node.op.quantization for node in graph.nodes if isinstance(node.op, FakeQuantize)}
    kept = {name: quantized.values[name].type.quantization for name in given if name in quantized.values}
    assert len(kept) >= max(len(given) - 1, 2)  # the concatenation may hold one quantizer for two
    assert kept == {name: given[name] for name in kept}
    if exclude.endswith("g"):  # a calibrated value between others is divided
        assert "p.back.factor.int" in quantized.values
    assert program.verify(x[:4]).mismatches == 0


def _behind_recurrences(graph: Graph) -> set[str]:
    """The names of the model's own quantizers whose values depend on a recurrence."""
    reached: set[Value] = set()
    for node in graph.nodes:
        if node.op.name in ("rnn", "gru", "lstm") or any(operand in reached for operand in node.operands):
            reached.update(node.outputs)
    return {value.name for value in reached if value.producer and isinstance(value.producer.op, FakeQuantize)}


def _assert_given_levels_kept(graph: Graph, quantized: Graph, inputs: Mapping[str, np.ndarray]) -> None:
    """The model's own quantizers, behind a calibrated recurrence too, keep their names, ranges of levels and scales, and give
    the integers that they give in the imported graph, where the first of them behind the recurrence gives the same.
    """
    seen: dict[Value, np.ndarray] = {}
    execute(quantized, inputs, seen.__setitem__)
    behind = _behind_recurrences(graph)
    given = {node.output: node.op for node in graph.nodes if isinstance(node.op, FakeQuantize)}
    first = next(value for value in given if value.name in behind)
    ours = {value: quantized.values[value.name] for value in given if value.name in quantized.values}
    assert len(ours) >= len(given) - 1  # a transpose has two quantizers alike: one is enough
    assert all(value.type.quantization == given[imported].quantization for imported, value in ours.items())

    levels = next(value for value in _chain_before(ours[first]) if value.type.is_levels)
    assert levels.type.quantization is not None
    expected = given[first].levels_of(seen[levels] * levels.type.quantization.scale)
    np.testing.assert_array_equal(seen[ours[first]], expected.reshape(seen[ours[first]].shape))

    theirs: dict[Value, np.ndarray] = {}
    execute(graph, inputs, theirs.__setitem__, known={first: expected * given[first].quantization.scale})
    for imported, value in ours.items():
        integers = np.rint(theirs[imported] / given[imported].quantization.scale)
        np.testing.assert_array_equal(seen[value], integers, err_msg=value.name)


def _chain_before(value: Value) -> Iterator[Value]:
    while value.producer is not None:
        value = value.producer.operands[0]
        yield value


def test_no_calibration_data_are_needed_and_data_change_nothing(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    x = data(rng, 8, 2, 8, 8)
    model = static(conv_net(rng), x, tmp_path, "QUInt8", "QInt8")
    without, with_data = snnir.compile(model), snnir.compile(model, calibration=x)
    assert without.graph("quantized") == with_data.graph("quantized")
    assert without.facts["calibration_samples"] == 0
    assert without.facts.import_levels is not None and without.facts.import_levels["differing"] == 0


def test_check_knows_the_fate_of_quantized_nodes(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    x = data(rng, 8, 2, 8, 8)
    found = snnir.check(static(conv_net(rng), x, tmp_path, "QUInt8", "QInt8"))
    assert found.ok
    fates = {(node.operator, node.fate) for node in found.nodes}
    assert ("QuantizeLinear", "spiking") in fates
    assert ("Conv", "spiking") in fates
    assert not any(fate in ("refused", "blocked") for _, fate in fates)
    assert "onnx.quantize" in found.provenance


def test_a_scale_that_changes_with_the_input_is_refused() -> None:
    from onnx import helper

    from tests.models import model_of

    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"], name="dynamic"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], name="back"),
    ]
    with pytest.raises(UnsupportedError, match="quantize the float model statically"):
        import_onnx(model_of(nodes, ["N", 4], {}))


def test_a_quantized_model_is_not_trained(tmp_path: Path) -> None:
    from snnir.torch import trainable

    rng = np.random.default_rng(4)
    x = data(rng, 8, 2, 8, 8)
    with pytest.raises(UsageError, match="quantized already"):
        trainable(static(conv_net(rng), x, tmp_path, "QUInt8", "QInt8"), calibration=x)
