"""Recurrent cells as bodies of ordinary ops, one file a cell."""

from snnir.passes.cells.gru import gru_body
from snnir.passes.cells.lstm import lstm_body
from snnir.passes.cells.rnn import rnn_body

__all__ = ["gru_body", "lstm_body", "rnn_body"]
