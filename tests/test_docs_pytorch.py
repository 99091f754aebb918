"""The code of docs/pytorch.md runs as it stands, on small data."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

import snnir
import snnir.torch
from tests.frontends.torch_modules import data, onnx_of, randomised

PAGE = (Path(__file__).parents[1] / "docs" / "pytorch.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


class Recurrent(nn.Module):
    """A layer that may be given the state it starts from."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.head = nn.RNN(3, 4, batch_first=True), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor, h: torch.Tensor | None = None) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.rnn(x, None if h is None else h[None])[0][:, -1])
        return logits


@pytest.mark.filterwarnings("ignore:The tensor attributes self.rnn")
def test_all_code_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    module, (xs, hs) = randomised(Recurrent()), data((16, 3, 3), (16, 4))
    torch.export.save(torch.export.export(module, (xs,)), "model.pt2")
    Path("model.onnx").write_bytes(onnx_of(module, xs, {0: "N"}))
    batches = [(xs, torch.arange(16) % 2)]
    names: dict[str, Any] = {"snnir": snnir, "torch": torch, "F": F, "module": module, "loader": batches}
    names |= {"x": xs.numpy(), "xs": xs.numpy(), "hs": hs.numpy(), "h": hs.numpy()}
    assert len(BLOCKS) == 3
    for block in BLOCKS:
        exec(compile(block, "docs/pytorch.md", "exec"), names)
    program, result = names["program"], names["result"]
    assert np.array_equal(result.outputs["output"], program.reference(xs.numpy())["output"])
