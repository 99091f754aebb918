"""Files whose format version is newer than the installed ONNX Runtime takes: the comparison runs all the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import snnir
from snnir.cli.main import main
from snnir.frontends.onnx import run_onnxruntime
from tests.models import crnn, data, perceptron
from tests.quantized_models import conv_net, static


def newer(model: onnx.ModelProto) -> onnx.ModelProto:
    found = onnx.ModelProto()
    found.CopyFrom(model)
    found.ir_version = max(onnx.IR_VERSION, 14)
    return found


@pytest.mark.parametrize("kind", ["perceptron", "recurrent", "quantized"])
def test_the_import_is_compared(kind: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    if kind == "quantized":
        x = data(rng, 8, 2, 8, 8)
        model = static(conv_net(rng), x, tmp_path, "QUInt8", "QInt8")
    else:
        model, x = (perceptron(rng), data(rng, 20, 6)) if kind == "perceptron" else (crnn(rng), data(rng, 20, 4, 6))
    expected, new = run_onnxruntime(model, {"x": x}), newer(model)
    onnx.save(new, tmp_path / "new.onnx")
    onnx.save(newer(model), tmp_path / "apart.onnx", save_as_external_data=True, location="apart.bin", size_threshold=0)
    for source in (new, new.SerializeToString(), tmp_path / "new.onnx", tmp_path / "apart.onnx"):
        found = run_onnxruntime(source, {"x": x})
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name], array)
    program = snnir.compile(tmp_path / "new.onnx", calibration=x)
    assert program.facts.import_error is not None
    np.save(tmp_path / "x.npy", x)
    program.save(tmp_path / "p.snnir")
    assert main(["verify", str(tmp_path / "p.snnir"), str(tmp_path / "x.npy"), "--model", str(tmp_path / "new.onnx")]) == 0
