"""What cannot be imported is refused by module path and source line."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import snnir
import snnir.compiler.importing
from snnir.errors import UnsupportedError
from tests.frontends.torch_modules import Function


def test_training_mode_is_refused() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5))
    with pytest.raises(UnsupportedError, match=r"training mode.*Dropout /1.*call eval\(\)"):
        snnir.import_model(module, example_inputs=torch.randn(2, 3))


def test_a_branch_on_values_is_refused() -> None:
    module = Function(lambda x: x + 1 if x.sum() > 0 else x - 1).eval()
    with pytest.raises(UnsupportedError, match="branches on the values of its input"):
        snnir.import_model(module, example_inputs=torch.randn(2, 3))


def test_all_unknown_operators_are_listed_with_path_and_line() -> None:
    module = nn.Sequential(nn.Linear(3, 4), Function(lambda x: x.logcumsumexp(1)), Function(lambda x: torch.mode(x, 1)[0])).eval()
    with pytest.raises(UnsupportedError) as caught:
        snnir.import_model(module, example_inputs=torch.randn(2, 3))
    text = str(caught.value)
    assert "holds 2 nodes" in text
    for part in ("aten.logcumsumexp.default in Function /1", "aten.mode.default in Function /2", "torch_modules.py, line"):
        assert part in text


def test_integers_that_nothing_computes_with_are_refused() -> None:
    x = torch.tensor([[1, 2], [3, 4]])
    with pytest.raises(UnsupportedError, match=r"aten.matmul.* it computes with i64; of this operator only real numbers"):
        snnir.import_model(Function(lambda x: x @ x.t()).eval(), example_inputs=x)
    with pytest.raises(UnsupportedError, match=r"torch.uint16; real numbers, integers and truth are supported"):
        snnir.import_model(Function(lambda x: x.float()).eval(), example_inputs=x.to(torch.uint16))


def test_packed_sequences_and_projections_are_refused_by_name() -> None:
    gru = nn.GRU(3, 4, batch_first=True).eval()
    packed = Function(lambda x: gru(nn.utils.rnn.pack_padded_sequence(x, torch.tensor([5, 3]), batch_first=True))[1], gru)
    with pytest.raises(UnsupportedError) as caught:
        snnir.import_model(nn.Sequential(nn.Linear(3, 3), packed).eval(), example_inputs=torch.randn(2, 5, 3))
    assert str(caught.value).startswith("Function /1 (torch_modules.py, line ")
    for part in ("packs sequences (pack_padded_sequence)", "supported for padded sequences", "give the layer the padded tensor"):
        assert part in str(caught.value)
    with pytest.raises(UnsupportedError, match="proj_size"):
        snnir.import_model(nn.LSTM(3, 4, proj_size=2).eval(), example_inputs=torch.randn(5, 2, 3))


def test_torchscript_is_refused_with_what_to_give_instead() -> None:
    x = torch.zeros(2, 3)
    with pytest.deprecated_call():
        traced = torch.jit.trace(torch.nn.Linear(3, 2), x)  # type: ignore[no-untyped-call]
    with pytest.raises(UnsupportedError, match="is TorchScript .*give the module that it was made from"):
        snnir.import_model(traced, example_inputs=(x,))
