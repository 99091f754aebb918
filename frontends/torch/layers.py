"""Recurrent layers while exporting: operators that keep the length of the sequence unknown.

torch.export evaluates `aten.gru.input` and its like by unrolling them over the example, which fixes the length. While a
module is exported, calls of the four functions become operators of snnir's own, which take the same arguments and whose
rule for shapes looks at no element. They compute what PyTorch's functions compute.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from snnir.errors import UnsupportedError

__all__ = ["LAYERS", "KeepLayers"]

LAYERS = ("rnn_tanh", "rnn_relu", "gru", "lstm")
"""The functions of `torch` that compute whole recurrent layers."""

_FLAGS = "bool has_biases, int num_layers, float dropout, bool train, bool bidirectional, bool batch_first"
_LIBRARY = torch.library.Library("snnir", "FRAGMENT")  # type: ignore[no-untyped-call]


def _define(name: str) -> Callable[..., Any]:
    function: Callable[..., Any] = getattr(torch, name)
    many = name == "lstm"
    states = "Tensor[] hx" if many else "Tensor hx"
    results = "Tensor, Tensor, Tensor" if many else "Tensor, Tensor"
    _LIBRARY.define(f"{name}(Tensor input, {states}, Tensor[] params, {_FLAGS}) -> ({results})")  # type: ignore[no-untyped-call]

    def shapes(
        input: torch.Tensor,
        hx: torch.Tensor | list[torch.Tensor],
        params: list[torch.Tensor],
        has_biases: bool,
        num_layers: int,
        dropout: float,
        train: bool,
        bidirectional: bool,
        batch_first: bool,
    ) -> tuple[torch.Tensor, ...]:
        initial = list(hx) if isinstance(hx, list | tuple) else [hx]
        width = initial[0].shape[-1] * (2 if bidirectional else 1)
        y = input.new_empty((*input.shape[:-1], width))
        return (y, *(torch.empty_like(state) for state in initial))

    _LIBRARY.impl(name, lambda *arguments: function(*arguments), "CompositeExplicitAutograd")  # type: ignore[no-untyped-call]
    torch.library.register_fake(f"snnir::{name}", shapes, lib=_LIBRARY)
    operator: Callable[..., Any] = getattr(torch.ops.snnir, name)
    return operator


_OPERATORS = {name: _define(name) for name in LAYERS}
_REPLACED = {getattr(torch._VF, name): operator for name, operator in _OPERATORS.items()}
_REPLACED |= {getattr(torch, name): operator for name, operator in _OPERATORS.items()}
_REPLACED |= {getattr(torch.ops.aten, name).input: operator for name, operator in _OPERATORS.items()}


_QUANTIZER = torch.fake_quantize_per_tensor_affine
"""Quantizers, which torch.export takes apart into an operator without a rule for shapes."""


def _define_quantizer(kind: str, number: str, whole: str) -> None:
    name = f"fake_quantize.{kind}"
    _LIBRARY.define(  # type: ignore[no-untyped-call]
        f"{name}(Tensor self, {number} scale, {whole} zero_point, int quant_min, int quant_max) -> Tensor"
    )
    _LIBRARY.impl(name, lambda *arguments: _QUANTIZER(*arguments), "CompositeExplicitAutograd")  # type: ignore[no-untyped-call]
    torch.library.register_fake(f"snnir::{name}", lambda self, *rest: torch.empty_like(self), lib=_LIBRARY)


_define_quantizer("number", "float", "int")
_define_quantizer("tensor", "Tensor", "Tensor")


def _softshrink(x: torch.Tensor, lambd: float = 0.5) -> torch.Tensor:
    return torch.relu(x - lambd) - torch.relu(-x - lambd)


def _hardshrink(x: torch.Tensor, lambd: float = 0.5) -> torch.Tensor:
    return torch.threshold(x, lambd, 0.0) - torch.threshold(-x, lambd, 0.0)


_SHRINKS: dict[Any, Callable[..., torch.Tensor]] = {torch._C._nn.softshrink: _softshrink, torch.hardshrink: _hardshrink}
"""Functions that torch.export takes apart into comparisons, as differences of functions that increase."""


_PADDED = (
    "recurrent layers are supported for padded sequences, x[N, T, I] or x[T, N, I]: give the layer the padded tensor itself. "
    "Where lengths differ within a batch, give samples one by one, or export to ONNX, which keeps the lengths"
)


class KeepLayers(TorchFunctionMode):
    """While it is entered, recurrent layers of padded sequences become snnir's operators; packed ones are refused, by their
    place in `module`.
    """

    def __init__(self, module: torch.nn.Module | None = None) -> None:
        super().__init__()
        self._module = module

    def _place(self) -> str:
        """The innermost of the user's modules that is running, and the line that runs in it."""
        paths = {id(item): path for path, item in self._module.named_modules()} if self._module is not None else {}
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            item = frame.f_locals.get("self")
            if isinstance(item, torch.nn.Module) and id(item) in paths and "/torch/" not in frame.f_code.co_filename:
                file = frame.f_code.co_filename.rsplit("/", 1)[-1]
                return f"{type(item).__name__} /{paths[id(item)]} ({file}, line {frame.f_lineno})"
            frame = frame.f_back
        return "the model"

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        """Replace a call of a recurrent layer."""
        if func in _REPLACED and len(args) == 9 and isinstance(args[3], bool):
            return _REPLACED[func](*args)
        if getattr(func, "__name__", "") == "_pack_padded_sequence":
            raise UnsupportedError(f"{self._place()} packs sequences (pack_padded_sequence); {_PADDED}")
        if func is _QUANTIZER:
            return torch.ops.snnir.fake_quantize(*args, **(kwargs or {}))
        if func in _SHRINKS:
            return _SHRINKS[func](*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))
