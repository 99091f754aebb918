"""Operator sets before 11: raised by ONNX's converter, and what ONNX Runtime computes with the file as it is."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import pytest

import snnir
from snnir.errors import ModelError, UnsupportedError
from snnir.frontends.onnx import import_onnx, run_onnxruntime, survey
from snnir.ir.execute import execute

RNG = np.random.default_rng(3)


def parsed(body: str, opset: int, **arrays: np.ndarray) -> onnx.ModelProto:
    model = onnx.parser.parse_model(f'<ir_version: 4, opset_import: ["" : {opset}], producer_name: "a maker">\n{body}')
    model.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in arrays.items())
    model.metadata_props.add(key="owner", value="someone")
    return model


OLD = {
    "clip-and-squeeze": (6, "c = Clip <min = -0.5, max = 0.5> (x) s = Unsqueeze <axes = [1]> (c) y = Squeeze <axes = [1]> (s)"),
    "batch-norm": (7, "f = Flatten(x) y = BatchNormalization <epsilon = 0.01> (f, w, w, w, w)"),
    "slice": (9, "y = Slice <axes = [1], starts = [1], ends = [4]> (x)"),
    "upsample": (9, 'i = Unsqueeze <axes = [1, 2]> (x) u = Upsample <mode = "nearest"> (i, scales) y = Flatten(u)'),
    "dropout-and-pad": (10, "d = Dropout <ratio = 0.3> (x) y = Pad <pads = [0, 1, 0, 2]> (d)"),
}


@pytest.mark.parametrize("case", OLD)
def test_old_operator_sets_are_raised(case: str) -> None:
    opset, nodes = OLD[case]
    known = {"w": np.linspace(0.5, 2, 6, dtype=np.float32)} if "w," in nodes else {}
    known |= {"scales": np.array([1, 1, 1, 2], np.float32)} if "scales" in nodes else {}
    model = parsed(f"m (float[N, 6] x) => (float[?, ?] y) {{ {nodes} }}", opset, **known)
    x = RNG.normal(size=(7, 6)).astype(np.float32)
    np.testing.assert_allclose(execute(import_onnx(model), {"x": x})["y"], run_onnxruntime(model, {"x": x})["y"], rtol=1e-5)
    program = snnir.compile(model, calibration=x)
    assert program.verify(x).ok
    told = survey(model)
    assert told.provenance == f"opset 11 (of the file: {opset}), made by a maker"
    assert told.metadata["metadata/owner"] == "someone"


def test_a_model_that_is_not_what_its_operator_set_says_is_refused() -> None:
    with pytest.raises(ModelError, match="not a valid ONNX model of operator set 9"):
        import_onnx(parsed("m (float[N, 6] x, int64[1] a) => (float[?] y) { y = ReduceSum(x, a) }", 9))


def scanning(lengths: str, nodes: str = "", count: int = 1) -> onnx.ModelProto:
    """A cumulated product with a matrix, in operator set 8."""
    return parsed(
        f"m (float[{count}, 5, 3] x, float[{count}, 3] start) => (float[?, ?] last, float[?, ?, ?] all) {{ {nodes} "
        f"last, all = Scan <num_scan_inputs = 1, body = step (float[3] h, float[3] e) => (float[3] n, float[3] y) "
        f"{{ m = MatMul(h, W) n = Add(m, e) y = Tanh(n) }}> ({lengths}, start, x) }}",
        8,
        W=(RNG.normal(size=(3, 3)) * 0.5).astype(np.float32),
    )


def test_a_scan_of_operator_set_8_walks_through_one_sample() -> None:
    model = scanning("")
    x, h = RNG.normal(size=(1, 5, 3)).astype(np.float32), RNG.normal(size=(1, 3)).astype(np.float32)
    weight = onnx.numpy_helper.to_array(model.graph.initializer[0])
    found, rows = execute(import_onnx(model), {"x": x, "start": h}), []
    for k in range(5):
        h = h @ weight + x[:, k]
        rows.append(np.tanh(h))
    np.testing.assert_allclose(found["last"], h, atol=1e-5)
    np.testing.assert_allclose(found["all"], np.stack(rows, axis=1), atol=1e-5)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (scanning("lengths", "lengths = Constant <value: tensor = int64[1] {3}> ()"), "Scan last takes sequence_lens"),
        (scanning("", "u = Upsample <scales = [1.0, 1.0, 1.0]> (x)"), "beside a Scan of operator set 8, Upsample has changed"),
        (scanning("", count=2), "Squeeze"),
    ],
)
def test_other_scans_of_operator_set_8_are_refused(model: onnx.ModelProto, message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        import_onnx(model)
