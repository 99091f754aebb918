"""Outputs with gradients: readouts and settled levels, and what little the host computes behind them."""

from __future__ import annotations

import torch
from torch import Tensor

from snnir.backends.torch_spiking.movement import move
from snnir.backends.torch_spiking.run import Run, Window
from snnir.errors import UnsupportedError
from snnir.ir.graph import Node, Value
from snnir.ir.ops import LogSoftmax, Movement, Readout, Scan, Softmax
from snnir.machine.host import concrete_shape

__all__ = ["TrainedOutputs"]


class TrainedOutputs:
    """The values of a run that was computed with gradients."""

    def __init__(self, run: Run, window: Window) -> None:
        self.run, self.window = run, window

    def of(self, value: Value) -> Tensor:
        """A value as a float64 tensor [N, ...]. Raises `UnsupportedError` where the host's ops have no gradient here."""
        assert self.window.host is not None
        if value.type.dtype == "spike":
            return self.run.train(self.window, value).sum(dim=0)
        if value in self.window.host.reals:
            return torch.as_tensor(self.window.host.reals[value], dtype=torch.float64, device=self.run.device)
        node = value.producer
        assert node is not None
        op = node.op
        if isinstance(op, Readout):
            return self._read(node, self.run.sums[value][0])
        if isinstance(op, Scan):
            return self._stacked(node, op, value)
        if isinstance(op, Movement):
            return move(op, [self.of(operand)[None] for operand in node.operands], self.run.sizes)[0]
        if isinstance(op, Softmax | LogSoftmax):
            function = torch.softmax if isinstance(op, Softmax) else torch.log_softmax
            return function(self.of(node.operands[0]), dim=op.axis)
        raise UnsupportedError(
            f"{node.describe()}: the host computes {op.name}, which has no gradient here; train on what goes into it"
        )

    def _read(self, node: Node, total: Tensor) -> Tensor:
        scale = self.run.parts[node].grid
        assert isinstance(scale, Tensor)
        return total * scale

    def _stacked(self, node: Node, op: Scan, value: Value) -> Tensor:
        assert node.body is not None
        inner = list(node.body.outputs.values())[value.index]
        if inner.producer is None or not isinstance(inner.producer.op, Readout):
            raise UnsupportedError(f"{node.describe()}: the host computes {inner.name}, which has no gradient here")
        rows = [self._read(inner.producer, total) for total in self.run.sums.get(inner, [])]
        if not rows:
            shape = concrete_shape(value.type, self.run.sizes)
            return torch.zeros(shape, dtype=torch.float64, device=self.run.device)
        return torch.stack(rows[::-1] if op.reverse else rows, dim=op.axis)
