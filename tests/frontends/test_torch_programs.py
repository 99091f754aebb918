"""Exported programs, files, batches and lengths, arguments by name."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import snnir
import snnir.compiler.importing
from snnir.cli.main import main
from snnir.errors import ModelError, UsageError
from tests.frontends.torch_modules import DYNAMIC, Crnn, Function, data, randomised, same


def test_a_saved_program(tmp_path: Path) -> None:
    module, x = randomised(Crnn("gru")), data((8, 6, 3))[0]
    path = tmp_path / "crnn.pt2"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = torch.export.export(module, (x,), dynamic_shapes=({0: torch.export.Dim("samples")},))
        torch.export.save(exported, path)
    for source in (exported, path, str(path)):
        graph = snnir.import_model(source)
        assert str(graph.inputs[0].type) == "Nx6x3:f32"
        assert snnir.compiler.importing.check_import(source, graph, {"x": x.numpy()}) < 1e-5
    np.save(tmp_path / "x.npy", x.numpy())
    arguments = ["compile", str(path), "--calibration", str(tmp_path / "x.npy"), "-o", str(tmp_path / "crnn.snnir"), "--json"]
    assert main(arguments) == 0
    assert main(["verify", str(tmp_path / "crnn.snnir"), str(tmp_path / "x.npy"), "--model", str(path), "--json"]) == 0


def test_a_damaged_or_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "broken.pt2"
    with pytest.raises(ModelError, match="does not exist"):
        snnir.import_model(path)
    path.write_bytes(b"not an archive")
    with pytest.raises(ModelError, match=r"broken.pt2 cannot be read"):
        snnir.import_model(path)


def test_a_fixed_length_and_a_fixed_batch_are_noted() -> None:
    fixed = Function(lambda x: x.reshape(2, 12)).eval()
    graph = snnir.import_model(fixed, example_inputs=torch.randn(2, 3, 4))
    assert any("batch stays fixed" in note for note in graph.notes)
    with pytest.raises(UsageError, match="example_inputs"):
        snnir.import_model(fixed)


def test_a_batch_of_one_and_named_axes() -> None:
    graph = snnir.import_model(nn.Linear(3, 4).eval(), example_inputs=torch.randn(1, 3))
    assert str(graph.inputs[0].type) == "Nx3:f32"
    graph = snnir.import_model(nn.Linear(3, 4).eval(), example_inputs=torch.randn(5, 2, 3), batch_axes={"input": 1})
    assert str(graph.inputs[0].type) == "TxNx3:f32"
    with pytest.raises(ModelError, match="batch_axes names y"):
        snnir.import_model(nn.Linear(3, 4).eval(), example_inputs=torch.randn(5, 3), batch_axes={"y": 0})


def test_arguments_by_name_and_dynamic_shapes() -> None:
    class Two(nn.Module):
        def forward(self, a: torch.Tensor, *, b: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
            return a - b * scale

    module = Two().eval()
    example = {"a": torch.randn(2, 3), "b": torch.randn(2, 3), "scale": 0.5}
    graph = snnir.import_model(module, example_inputs=example)
    assert [value.name for value in graph.inputs] == ["a", "b"]
    same(module, graph, *data((4, 3), (4, 3)), example=example)
    fixed = snnir.import_model(nn.Linear(3, 4).eval(), example_inputs=torch.randn(2, 5, 3), dynamic_shapes=({0: DYNAMIC},))
    assert str(fixed.inputs[0].type) == "Nx5x3:f32"


def exported_of(module: nn.Module, x: torch.Tensor) -> torch.export.ExportedProgram:
    """As a user exports it, with all sizes fixed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.export.export(module, (x,))


@pytest.mark.parametrize("kind", ["gru", "lstm"])
@pytest.mark.parametrize("batch", [1, 2])
def test_a_program_with_a_fixed_batch_takes_any(kind: str, batch: int) -> None:
    module = randomised(Crnn(kind))
    exported = exported_of(module, data((batch, 6, 3))[0])
    graph = snnir.import_model(exported)
    assert str(graph.inputs[0].type) == "Nx6x3:f32"
    assert graph.notes[0] == f"the batch of {batch} that the program was exported with is generalised"
    assert "lengths stay those of the example" in graph.notes[1]
    x = data((5, 6, 3), seed=1)[0]
    same(module, graph, x)
    assert snnir.compiler.importing.check_import(exported, graph, {"x": x.numpy()}) < 1e-5  # the program itself, in pieces
    program = snnir.compile(exported, calibration=x.numpy(), bits=4)
    assert program.verify(x.numpy()).ok


def test_a_program_whose_samples_depend_on_one_another_keeps_its_batch() -> None:
    exported = exported_of(Function(lambda x: x - x.flip(0)).eval(), torch.randn(2, 3))
    graph = snnir.import_model(exported)
    assert str(graph.inputs[0].type) == "2x3:f32"
    assert any("batch stays fixed" in note for note in graph.notes)


def test_open_sizes_of_a_program_stay_open() -> None:
    samples, length = torch.export.Dim("samples"), torch.export.Dim("length")
    module = randomised(nn.Conv1d(3, 4, 3, padding=1))
    exported = torch.export.export(module, (data((2, 3, 8))[0],), dynamic_shapes=({0: samples, 2: length},))
    graph = snnir.import_model(exported)
    assert str(graph.inputs[0].type) == "Nx3xT:f32" and not graph.notes
    same(module, graph, *data((4, 3, 11), seed=2))
