"""Independently recurrent layers (IndRNN, arXiv:1803.04831)."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from snnir.errors import UsageError
from snnir.torch.recurrence import recurrence

__all__ = ["IndRNN"]


class IndRNN(nn.Module):
    """Layers of neurons that each see only their own state: `h_k = f(W x_k + u * h_{k-1} + b)`.

    x[N, T, input_size] (`batch_first`, else [T, N, input_size]) gives the states of the last layer [N, T, hidden_size] and
    the last state of each layer [num_layers, N, hidden_size]. `first` [num_layers, N, hidden_size] holds initial states,
    zero by default. `f` is `relu` or `tanh`.

    The recurrent weights are kept within `|u| <= maximum^(1/length)`, so that over `length` elements no gradient grows
    beyond `maximum` times; without a `length` within 1. They start uniform in 0 to that bound, those of the last layer in
    `maximum^(-1/length)` to it, so that the last layer remembers the whole sequence. `batch_norm` normalises `input`
    (`W x_k + b` over batch and sequence), `output` (`h` before it leaves a layer), or nothing (None).

    torch.export writes each layer as a `scan`, the TorchScript exporter to ONNX as an `RNN` whose recurrence matrix is
    diagonal; snnir imports both as the same scan with one synapse a neuron. Raises `UsageError` for arguments out of range.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        nonlinearity: str = "relu",
        bias: bool = True,
        batch_first: bool = True,
        batch_norm: str | None = None,
        length: int | None = None,
        maximum: float = 2.0,
    ) -> None:
        super().__init__()
        if min(input_size, hidden_size, num_layers) < 1 or (length is not None and length < 1):
            raise UsageError("IndRNN: input_size, hidden_size, num_layers and length must be 1 or more")
        if nonlinearity not in ("relu", "tanh"):
            raise UsageError(f"IndRNN: nonlinearity {nonlinearity!r}; choose relu or tanh")
        if batch_norm not in (None, "input", "output"):
            raise UsageError(f"IndRNN: batch_norm {batch_norm!r}; choose input, output or None")
        if maximum < 1:
            raise UsageError(f"IndRNN: maximum {maximum}; it must be 1 or more")
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.nonlinearity, self.batch_first, self.batch_norm = nonlinearity, batch_first, batch_norm
        self.length, self.maximum = length, maximum
        self.inputs = nn.ModuleList(
            nn.Linear(hidden_size if layer else input_size, hidden_size, bias) for layer in range(num_layers)
        )
        self.recurrent = nn.ParameterList(nn.Parameter(torch.empty(hidden_size)) for _ in range(num_layers))
        self.norms = nn.ModuleList(nn.BatchNorm1d(hidden_size) for _ in range(num_layers if batch_norm else 0))
        self.reset_parameters()

    @property
    def bound(self) -> float:
        """The largest magnitude of a recurrent weight."""
        return 1.0 if self.length is None else float(self.maximum ** (1 / self.length))

    def reset_parameters(self) -> None:
        """Initialise all weights as the paper does: recurrent ones uniform, those of the last layer near the bound."""
        for layer, (linear, weight) in enumerate(zip(self.inputs, self.recurrent, strict=True)):
            assert isinstance(linear, nn.Linear)
            nn.init.kaiming_uniform_(linear.weight, nonlinearity="relu" if self.nonlinearity == "relu" else "tanh")
            if linear.bias is not None:
                nn.init.zeros_(linear.bias)
            last = layer == self.num_layers - 1 and self.length is not None
            nn.init.uniform_(weight, 1 / self.bound if last else 0.0, self.bound)

    def constrain(self) -> None:
        """Bring the recurrent weights back within their bound; every forward pass in training mode does."""
        with torch.no_grad():
            for weight in self.recurrent:
                weight.clamp_(-self.bound, self.bound)

    def extra_repr(self) -> str:
        """What `repr` says of the layer."""
        return f"{self.input_size}, {self.hidden_size}, num_layers={self.num_layers}, nonlinearity={self.nonlinearity!r}"

    def forward(self, x: torch.Tensor, first: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """The states of the last layer, and the last state of each layer."""
        if not self.batch_first:
            x = x.transpose(0, 1)
        if self.training:
            self.constrain()
        lasts = []
        for layer in range(self.num_layers):
            start = first[layer] if first is not None else x.new_zeros((x.shape[0], self.hidden_size))
            y, last = self._layer(layer, x, start)
            lasts.append(last)
            x = self._normalised(layer, y) if self.batch_norm == "output" else y
        return (x if self.batch_first else x.transpose(0, 1)), torch.stack(lasts)

    def _layer(self, layer: int, x: torch.Tensor, start: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.training and torch.onnx.is_in_onnx_export() and not torch.compiler.is_exporting():
            return self._as_node(layer, x, start)
        if not self.training and torch.compiler.is_exporting():
            return self._as_scan(layer, x, start)
        z = self.inputs[layer](x)
        if self.batch_norm == "input":
            z = self._normalised(layer, z)
        y = recurrence(z, self.recurrent[layer], start, self.nonlinearity)
        return y, y[:, -1]

    def _normalised(self, layer: int, x: torch.Tensor) -> torch.Tensor:
        """Batch norm over batch and sequence; in training seen as pictures with channels last, several times as fast."""
        norm = self.norms[layer]
        if self.training:
            assert isinstance(norm, nn.BatchNorm1d) and norm.num_batches_tracked is not None and norm.momentum is not None
            norm.num_batches_tracked += 1
            numbers = (norm.running_mean, norm.running_var, norm.weight, norm.bias, True, norm.momentum, norm.eps)
            return functional.batch_norm(x.transpose(1, 2).unsqueeze(2), *numbers).squeeze(2).transpose(1, 2)
        result: torch.Tensor = norm(x.transpose(1, 2))
        return result.transpose(1, 2)

    def _folded(self, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Weight and bias of the input with its batch norm, as evaluation applies it, folded in."""
        linear = self.inputs[layer]
        assert isinstance(linear, nn.Linear)
        weight = linear.weight
        bias = linear.bias if linear.bias is not None else torch.zeros_like(weight[:, 0])
        if self.batch_norm == "input":
            norm = self.norms[layer]
            assert isinstance(norm, nn.BatchNorm1d) and norm.running_mean is not None and norm.running_var is not None
            scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            return weight * scale.unsqueeze(1), (bias - norm.running_mean) * scale + norm.bias
        return weight, bias

    def _as_scan(self, layer: int, x: torch.Tensor, start: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        from torch._higher_order_ops.scan import scan

        weight, bias = self._folded(layer)
        u, relu = self.recurrent[layer], self.nonlinearity == "relu"

        def step(state: torch.Tensor, element: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            total = functional.linear(element, weight, bias) + state * u
            state = torch.relu(total) if relu else torch.tanh(total)
            return state, state.clone()

        last, y = scan(step, start, x, dim=1)
        return y, last

    def _as_node(self, layer: int, x: torch.Tensor, start: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # weights are meant to become constants of the file
            weight, bias = (torch.from_numpy(tensor.detach().cpu().numpy().copy()) for tensor in self._folded(layer))
            matrix = torch.from_numpy(np.diag(self.recurrent[layer].detach().cpu().numpy()))
        both = torch.cat([bias, torch.zeros_like(bias)])
        y, last = _Node.apply(  # type: ignore[no-untyped-call]
            x.transpose(0, 1), weight.unsqueeze(0), matrix.unsqueeze(0), both.unsqueeze(0), start.unsqueeze(0), self.nonlinearity
        )
        return y.squeeze(1).transpose(0, 1), last.squeeze(0)


class _Node(torch.autograd.Function):
    """ONNX's `RNN` with a diagonal recurrence matrix, in its layout."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        x: torch.Tensor,
        weight: torch.Tensor,
        matrix: torch.Tensor,
        bias: torch.Tensor,
        start: torch.Tensor,
        word: str,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = weight.shape[1]
        z = functional.linear(x, weight[0], bias[0, :hidden]).transpose(0, 1)
        y = recurrence(z, matrix[0].diagonal().contiguous(), start[0], word)
        return y.transpose(0, 1).unsqueeze(1), y[:, -1].unsqueeze(0)

    @staticmethod
    def symbolic(
        g: Any, x: torch.Value, weight: Any, matrix: torch.Value, bias: torch.Value, start: torch.Value, word: str
    ) -> tuple[torch.Value, torch.Value]:
        """The node."""
        empty = g.op("prim::Constant")
        empty.setType(torch._C.NoneType.get())
        hidden = weight.type().sizes()[1]
        activations = [word.capitalize()]
        operands = (x, weight, matrix, bias, empty, start)
        found: tuple[torch.Value, torch.Value] = g.op(
            "RNN", *operands, hidden_size_i=hidden, activations_s=activations, outputs=2
        )
        return found
