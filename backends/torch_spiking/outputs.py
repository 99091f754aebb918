"""Outputs with gradients: readouts and settled levels, and what little the host computes behind them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from snnir.backends.torch_spiking.program import Specialised
from snnir.backends.torch_spiking.trains import Places
from snnir.backends.torch_spiking.window import Window
from snnir.errors import UnsupportedError
from snnir.ir.dims import BATCH
from snnir.ir.graph import Node, Value
from snnir.ir.ops import LogSoftmax, Movement, Pad, Readout, Scan, Softmax
from snnir.machine.addresses import IndexMap
from snnir.machine.host import Host, concrete_shape

__all__ = ["TrainedOutputs"]


class TrainedOutputs:
    """The outputs of a run that was computed with gradients."""

    def __init__(self, program: Specialised, host: Host, window: Window) -> None:
        self.program, self.host, self.window, self.run = program, host, window, window.run
        self.sizes = {**program.sizes, BATCH: self.run.batch}

    def of(self, name: str, value: Value) -> Tensor:
        """An output as a float64 tensor [N, ...]. Raises `UnsupportedError` where the host's ops have no gradient here."""
        source = self.program.settled.get(name)
        if source is None:
            return self._value(value)
        return self.window.trains[source.name].sum(dim=0).reshape(self.run.batch, *source.shape)

    def _value(self, value: Value) -> Tensor:
        if value in self.host.reals:
            return torch.as_tensor(self.host.reals[value], dtype=torch.float64, device=self.run.device)
        node = value.producer
        assert node is not None
        op = node.op
        if isinstance(op, Readout):
            return self._read(node)[0]
        if isinstance(op, Scan):
            return self._stacked(node, op, value)
        if isinstance(op, Movement):
            return self._moved(op, [self._value(operand) for operand in node.operands])
        if isinstance(op, Softmax | LogSoftmax):
            function = torch.softmax if isinstance(op, Softmax) else torch.log_softmax
            return function(self._value(node.operands[0]), dim=op.axis)
        raise UnsupportedError(
            f"{node.describe()}: the host computes {op.name}, which has no gradient here; train on what goes into it"
        )

    def _moved(self, op: Movement, operands: list[Tensor]) -> Tensor:
        """Data movement by its own meaning: it is asked where every element comes from."""
        ends = np.cumsum([operand.numel() for operand in operands])
        counted = [np.arange(end - part.numel(), end).reshape(part.shape) for end, part in zip(ends, operands, strict=True)]
        op = op.bind(self.sizes)
        found = op.fill(counted[0], -1) if isinstance(op, Pad) else op.evaluate(*counted)[0]
        places = Places(IndexMap(table=found.reshape(-1)), self.run.device)
        return places.of(torch.cat([operand.reshape(-1) for operand in operands])).reshape(found.shape)

    def _read(self, node: Node) -> list[Tensor]:
        """The real values of a readout in every window."""
        readout = self.program.readouts[node]
        scale = torch.from_numpy(readout.scale[readout.scale_map.array()]).to(self.run.device)
        rows = self.run.sums.get(readout.train.name, [])
        return [(total * scale).reshape(self.run.batch, *readout.train.shape) for total in rows]

    def _stacked(self, node: Node, op: Scan, value: Value) -> Tensor:
        assert node.body is not None
        inner = list(node.body.outputs.values())[value.index]
        if inner.producer is None or not isinstance(inner.producer.op, Readout):
            raise UnsupportedError(f"{node.describe()}: the host computes {inner.name}, which has no gradient here")
        rows = self._read(inner.producer)
        if not rows:
            shape = concrete_shape(value.type, self.sizes)
            return torch.zeros(shape, dtype=torch.float64, device=self.run.device)
        return torch.stack(rows[::-1] if op.reverse else rows, dim=op.axis)
