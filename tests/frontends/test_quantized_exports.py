"""Exports of Brevitas (QCDQ and QONNX), of qonnx and of PyTorch's PT2E flow, kept beside the scripts that made them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import snnir
from snnir.compiler.quantized_models import compare_with_runtime
from snnir.errors import UnsupportedError
from snnir.frontends.onnx import import_onnx
from snnir.ir import Graph, Value
from snnir.ir.execute import execute
from snnir.ir.ops import FakeQuantize

FIXTURES = Path(__file__).parent / "fixtures" / "quantized"
EXPORTS = sorted(path.stem for pattern in ("brevitas_*", "qonnx_*", "pt2e_*") for path in FIXTURES.glob(f"{pattern}.onnx"))
NEAR = 2e-6
"""Outputs are sums in float32, in another order."""


def _levels(graph: Graph, x: np.ndarray) -> dict[str, np.ndarray]:
    """What every quantizer of the model gives, as real numbers, by the name of its result."""
    seen: dict[str, np.ndarray] = {}

    def observe(value: Value, array: np.ndarray) -> None:
        if value.producer is not None and isinstance(value.producer.op, FakeQuantize):
            seen.setdefault(value.name, array)
        elif value.type.quantization is not None:
            seen.setdefault(value.name, array * value.type.quantization.scale)

    execute(graph, {graph.inputs[0].name: x}, observe)
    return seen


def _output(graph: Graph, x: np.ndarray) -> np.ndarray:
    (name, value), *_ = graph.outputs.items()
    result = execute(graph, {graph.inputs[0].name: x})[name]
    return result if value.type.quantization is None else result * value.type.quantization.scale


def test_there_are_exports_of_every_kind() -> None:
    for kind in ("brevitas", "qonnx", "pt2e"):
        assert any(name.startswith(kind) for name in EXPORTS)
    assert sum("qcdq" in name for name in EXPORTS) >= 2
    assert sum(name.endswith("qonnx") for name in EXPORTS) >= 2


@pytest.mark.parametrize("name", EXPORTS)
def test_an_export_gives_what_its_own_tool_says(name: str, record_property: Callable[[str, object], None]) -> None:
    path = FIXTURES / f"{name}.onnx"
    with np.load(path.with_suffix(".npz"), allow_pickle=False) as archive:
        stored = {key: archive[key] for key in archive}
    x, expected = stored["x"], stored["expected"]
    assert snnir.check(path).ok
    program = snnir.compile(path)
    compared = differ = 0
    for graph in (import_onnx(path), program.graph("quantized")):
        span = float(np.abs(expected).max())
        assert float(np.abs(_output(graph, x) - expected).max()) <= NEAR * span
        found = _levels(graph, x)
        for key, target in stored.items():
            label = key.removeprefix("level.")
            if key.startswith("level.") and label in found:
                compared += target.size
                differ += int((np.abs(found[label] - target) > 1e-4 * max(float(np.abs(target).max()), 1e-6)).sum())
    if "qcdq" in name or name.startswith("pt2e"):
        counts, _ = compare_with_runtime(path, program.graph("quantized"), {program.graph("float").inputs[0].name: x})
        compared += sum(item.compared for item in counts)
        differ += sum(item.differ for item in counts)
    assert compared > 0
    assert differ == 0
    report = program.verify(x)
    assert report.ok
    assert report.mismatches == 0
    record_property("summary", f"{name}: {differ} of {compared} integers differ; {report.compared} spiking ones, 0 mismatches")


def test_the_files_roundings_become_thresholds_and_membranes() -> None:
    """Uniform thresholds where a constant V(0) rounds as the file does: FLOOR V(0) = 0, CEIL V(0) = theta - 1."""
    graph = snnir.compile(FIXTURES / "qonnx_rounding_modes.onnx").graph("spiking")
    neurons = {node.output.name: node for node in graph.nodes if node.op.name == "bif"}
    starts = {}
    for name, node in neurons.items():
        theta, bias = (value.array.astype(np.int64) for value in node.operands[:2])
        if not getattr(node.op, "staircase", True):
            starts[name] = (theta // 2 + bias).reshape(-1), theta.reshape(-1)
    assert set(starts) == {"q_FLOOR", "q_CEIL"}
    assert (starts["q_FLOOR"][0] == 0).all()
    assert (starts["q_CEIL"][0] == starts["q_CEIL"][1] - 1).all()


def test_ties_are_kept_or_rounded_up_and_counted_or_refused() -> None:
    path = FIXTURES / "qonnx_rounding_modes.onnx"
    with np.load(path.with_suffix(".npz"), allow_pickle=False) as archive:
        x = archive["x"]
    exact = snnir.compile(path, calibration=x)
    assert exact.facts.given_levels is not None and exact.facts.given_levels["differing"] == 0
    rounded = snnir.compile(path, calibration=x, rounding="half-up")
    assert rounded.facts.given_levels is not None
    changed = rounded.facts.given_levels["differing"]
    assert changed > 0
    assert changed == int((_output(exact.graph("quantized"), x) != _output(rounded.graph("quantized"), x)).sum())
    assert all(not node.op.staircase for node in rounded.graph("spiking").nodes if node.op.name == "bif")  # type: ignore[attr-defined]
    assert rounded.verify(x).mismatches == 0
    with pytest.raises(UnsupportedError, match="quant_ROUND") as refusal:
        snnir.compile(path, rounding="refuse")
    assert "quant_FLOOR" not in str(refusal.value)


def test_ties_that_no_sum_can_meet_are_no_reason_to_refuse() -> None:
    """Scales that are no powers of two: no sum lies halfway between two levels, and that is proven."""
    program = snnir.compile(FIXTURES / "pt2e_conv.onnx", rounding="refuse")
    assert program.graph("quantized") == snnir.compile(FIXTURES / "pt2e_conv.onnx").graph("quantized")


def test_quantizers_that_mean_nothing_here_are_refused_by_name() -> None:
    model = onnx.load(FIXTURES / "qonnx_rounding_modes.onnx")
    node = next(node for node in model.graph.node if node.name == "quant_FLOOR")
    next(item for item in node.attribute if item.name == "rounding_mode").s = b"STOCHASTIC"
    with pytest.raises(UnsupportedError, match=r"quant_FLOOR \(Quant\).*STOCHASTIC"):
        import_onnx(model)


def test_weights_alone_that_are_quantized_are_said_to_be_rounded_anew() -> None:
    rng = np.random.default_rng(0)
    stored = rng.integers(-127, 128, (3, 4)).astype(np.int8)
    nodes = [
        helper.make_node("DequantizeLinear", ["stored", "scale"], ["weight"]),
        helper.make_node("Gemm", ["x", "weight"], ["sums"], transB=1),
        helper.make_node("Relu", ["sums"], ["y"]),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", size]) for name, size in (("x", 4), ("y", 3))]
    constants = [numpy_helper.from_array(stored, "stored"), numpy_helper.from_array(np.array(0.01, np.float32), "scale")]
    graph = helper.make_graph(nodes, "weights", values[:1], values[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    x = rng.normal(size=(20, 4)).astype(np.float32)
    program = snnir.compile(model, calibration=x)
    assert "rounded anew" in str(program.facts["notes"])
    assert program.verify(x).ok
