"""ONNX's Scan: the import computes what ONNX Runtime computes, and becomes an exact spiking network."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import pytest
from numpy.testing import assert_allclose

import snnir
from snnir.errors import UnsupportedError
from snnir.frontends.onnx import import_onnx, run_onnxruntime
from snnir.ir import Graph
from snnir.ir.execute import execute

OPSET = 'ir_version: 8, opset_import: ["" : 17]'
LENGTH, WIDTH, HIDDEN = 6, 4, 5


def model(text: str, **arrays: np.ndarray) -> onnx.ModelProto:
    """A model in ONNX's text form, with more initializers."""
    parsed = onnx.parser.parse_model(f"<{OPSET}>\n{text}")
    parsed.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in arrays.items())
    onnx.checker.check_model(parsed)
    return parsed


def weights(seed: int) -> dict[str, np.ndarray]:
    """W, R and b of a plain cell."""
    rng = np.random.default_rng(seed)
    shapes = {"W": (WIDTH, HIDDEN), "R": (HIDDEN, HIDDEN), "b": (HIDDEN,)}
    return {name: (rng.normal(size=shape) * 0.5).astype(np.float32) for name, shape in shapes.items()}


def agrees(source: onnx.ModelProto, x: np.ndarray, batch: int = 0) -> Graph:
    """Import, compare with ONNX Runtime within 1e-5, and require one scan."""
    graph = import_onnx(source, batch_axes={"x": batch})
    assert sum(node.op.name == "scan" for _, node in graph.walk()) == 1, graph.notes
    ours = execute(graph, {"x": x})
    axes = {name: value.type.batch_axis or 0 for name, value in graph.outputs.items()} | {"x": batch}
    theirs = run_onnxruntime(source, {"x": x}, axes)
    for name, expected in theirs.items():
        assert ours[name].shape == expected.shape
        assert_allclose(ours[name], expected, rtol=0, atol=1e-5 * max(1.0, float(np.abs(expected).max())))
    return graph


def is_exact(source: onnx.ModelProto, x: np.ndarray, batch: int = 0) -> None:
    """Compile, and verify with no mismatch."""
    report = snnir.compile(source, calibration=x, batch_axes={"x": batch}).verify(x)
    assert report.ok, report
    assert report.compared > 500


CELL = """
    xw = MatMul(e, W)
    xb = Add(xw, b)
    hr = MatMul(h, R)
    s = Add(xb, hr)
    n = Relu(s)
    y = Identity(n)
"""
BODY = f"(float[N, {HIDDEN}] h, float[N, {WIDTH}] e) => (float[N, {HIDDEN}] n, float[N, {HIDDEN}] y) {{ {CELL} }}"


def scanned(x: str, attributes: str = "", outputs: str = "last, Y", signature: str = "") -> str:
    """A model of one scan, with weights captured from around it."""
    return f"""
    m (float[{x}] x) => ({signature or "float[N, 5] last, float[?, ?, 5] Y"})
    <float[1] zero = {{0.25}}> {{
        shape = Shape(x)
        at = Constant <value_ints = [BATCH]> ()
        batch = Gather <axis = 0> (shape, at)
        hidden = Constant <value_ints = [{HIDDEN}]> ()
        full = Concat <axis = 0> (batch, hidden)
        h0 = Expand(zero, full)
        {outputs} = Scan <num_scan_inputs = 1, body = step {BODY} {attributes}> (h0, x)
    }}"""


@pytest.mark.parametrize("direction", [0, 1])
@pytest.mark.parametrize("out_direction", [0, 1])
@pytest.mark.parametrize("out_axis", [0, 1, 2, -1])
def test_batch_first_sequences(direction: int, out_direction: int, out_axis: int) -> None:
    attributes = (
        f", scan_input_axes = [1], scan_input_directions = [{direction}], "
        f"scan_output_axes = [{out_axis}], scan_output_directions = [{out_direction}]"
    )
    signature = "float[N, 5] last, float[?, ?, ?] Y"
    source = model(scanned(f"N, {LENGTH}, {WIDTH}", attributes, signature=signature).replace("BATCH", "0"), **weights(0))
    x = np.random.default_rng(1).normal(size=(3, LENGTH, WIDTH)).astype(np.float32)
    agrees(source, x)


@pytest.mark.parametrize("size", ["T", str(LENGTH)])
def test_time_major_sequences(size: str) -> None:
    source = model(scanned(f"{size}, N, {WIDTH}").replace("BATCH", "1"), **weights(1))
    x = np.random.default_rng(2).normal(size=(LENGTH, 16, WIDTH)).astype(np.float32)
    agrees(source, x, 1)


def test_a_scan_becomes_an_exact_spiking_network() -> None:
    source = model(
        scanned(f"N, {LENGTH}, {WIDTH}", ", scan_input_axes = [1], scan_output_axes = [1]").replace("BATCH", "0"), **weights(2)
    )
    is_exact(source, np.random.default_rng(3).normal(size=(24, LENGTH, WIDTH)).astype(np.float32))


def test_time_major_scans_become_exact_spiking_networks() -> None:
    source = model(scanned(f"{LENGTH}, N, {WIDTH}").replace("BATCH", "1"), **weights(2))
    is_exact(source, np.random.default_rng(3).normal(size=(LENGTH, 24, WIDTH)).astype(np.float32), 1)


def test_a_fixed_batch_is_generalised() -> None:
    text = f"""
    m (float[2, {LENGTH}, {WIDTH}] x) => (float[2, {HIDDEN}] last, float[2, {LENGTH}, {HIDDEN}] Y)
    <float[2, {HIDDEN}] h0 = {{{", ".join(["0.5"] * 2 * HIDDEN)}}}> {{
        last, Y = Scan <num_scan_inputs = 1, body = step {BODY.replace("N", "2")},
                        scan_input_axes = [1], scan_output_axes = [1]> (h0, x)
    }}"""
    graph = agrees(model(text, **weights(3)), np.random.default_rng(4).normal(size=(8, LENGTH, WIDTH)).astype(np.float32))
    assert graph.inputs[0].type.batch_axis == 0


def test_two_sequences_shared_activations_and_a_state_with_leading_axis() -> None:
    """Different axes and directions; the body takes an activation of the outer graph and computes with it alone too."""
    text = f"""
    m (float[N, {LENGTH}, {WIDTH}] x)
        => (float[1, N, {HIDDEN}] last, float[{LENGTH}, N, {HIDDEN}] Y, float[N, {LENGTH}, {HIDDEN}] Z)
    <float[1] zero = {{0}}, int64[1] one = {{1}}> {{
        late = Transpose <perm = [1, 0, 2]> (x)
        mean = ReduceMean <axes = [1], keepdims = 0> (x)
        shape = Shape(mean)
        at = Constant <value_int = 0> ()
        batch = Gather <axis = 0> (shape, at)
        row = Unsqueeze(batch, zeroth)
        hidden = Constant <value_ints = [{HIDDEN}]> ()
        full = Concat <axis = 0> (one, row, hidden)
        h0 = Expand(zero, full)
        last, Y, Z = Scan <num_scan_inputs = 2, scan_input_axes = [1, 0], scan_input_directions = [0, 1],
                           scan_output_axes = [0, 1], scan_output_directions = [0, 1], body = step
            (float[1, N, {HIDDEN}] h3, float[N, {WIDTH}] a, float[N, {WIDTH}] c)
            => (float[1, N, {HIDDEN}] n3, float[N, {HIDDEN}] y, float[N, {HIDDEN}] z) {{
                h = Squeeze(h3, zeroth)
                both = Add(a, c)
                context = MatMul(mean, W)
                xw = MatMul(both, W)
                hr = MatMul(h, R)
                s = Add(xw, hr)
                t = Add(s, context)
                y = Tanh(t)
                n3 = Unsqueeze(y, zeroth)
                z = Relu(s)
            }}> (h0, x, late)
    }}"""
    source = model(text, zeroth=np.array([0], np.int64), **weights(5))
    agrees(source, np.random.default_rng(6).normal(size=(3, LENGTH, WIDTH)).astype(np.float32))
    is_exact(source, np.random.default_rng(6).normal(size=(24, LENGTH, WIDTH)).astype(np.float32))


def test_a_body_with_an_unknown_operator_is_refused_by_name() -> None:
    source = model(
        scanned(f"N, {LENGTH}, {WIDTH}", ", scan_input_axes = [1]").replace("BATCH", "0").replace("Relu(s)", "Det(s)"),
        **weights(0),
    )
    with pytest.raises(UnsupportedError, match=r"\(Scan\): in its body, n \(Det\): operator not supported"):
        import_onnx(source)


def test_cutting_the_batch_is_refused() -> None:
    source = model(scanned(f"N, {LENGTH}, {WIDTH}").replace("BATCH", "1"), **weights(0))
    with pytest.raises(UnsupportedError, match="read as the batch"):
        import_onnx(source, batch_axes={"x": 0})
