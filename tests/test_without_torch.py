"""Without PyTorch everything but PyTorch works, and what needs it says what to install."""

from __future__ import annotations

import subprocess
import sys

_CODE = """
import sys
sys.modules["torch"] = None
from importlib.resources import files
import numpy as np
import snnir, snnir.torch
from snnir.cli.main import main

folder = files("snnir") / "data"
archive = np.load(folder / "digits.npz")
program = snnir.compile((folder / "digits-crnn.onnx").read_bytes(), calibration=archive["calibration"][:64])
x = archive["test"][:4]
assert program.verify(x).ok
assert program.run(x).settled
assert main(["ops"]) == 0
asked = [
    lambda: snnir.torch.trainable,
    lambda: snnir.torch.IndRNN,
    lambda: snnir.torch.to_module,
    lambda: snnir.import_model("model.pt2"),
    lambda: program.run(x, backend="torch"),
    lambda: program.spiking_module(),
]
for ask in asked:
    try:
        ask()
    except snnir.SnnirError as error:
        assert "pip install 'snnir[torch]'" in str(error), error
    else:
        raise AssertionError("it works without PyTorch")
print("done")
"""


def test_without_torch_onnx_models_compile_and_run() -> None:
    result = subprocess.run([sys.executable, "-c", _CODE], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip().endswith("done")
