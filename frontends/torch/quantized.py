"""Modules that torch.ao quantized to integers (eager mode and FX graph mode), as modules that torch.export takes.

Their layers hold packed integer weights and give `torch.quint8` tensors, which torch.export cannot take. Each is replaced by the
layer that it stands for, with the numbers that its integers stand for, and a quantizer to the scale and zero point of what it
gives; so the module's own levels are kept. Layers that are quantized dynamically have no levels of their own
(`requantize.py`).
"""

from __future__ import annotations

import copy
import operator
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch

from snnir.errors import Refusal, UnsupportedError

__all__ = ["with_levels"]

QuantizedModule = Any
"""A module of `torch.ao` or of PyTorch's old quantization, none of which declares what it holds."""

_DYNAMIC = (
    "its inputs are quantized anew in every call: read its weights as real numbers and calibrate its activations "
    "(--requantize; requantize=True), or give the float module"
)
_UNKNOWN = "torch.export takes no such layer, and snnir does not know it: give the float module, or export the model to ONNX"


class Levels(torch.nn.Module):
    """A quantizer: `scale (clip(round(x / scale) + zero) - zero)`."""

    def __init__(self, scale: float, zero: int, dtype: torch.dtype = torch.quint8) -> None:
        super().__init__()
        self.scale, self.zero = float(scale), int(zero)
        self.low, self.high = (0, 255) if dtype == torch.quint8 else (-128, 127)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.fake_quantize_per_tensor_affine(x, self.scale, self.zero, self.low, self.high)


class Functional(torch.nn.Module):
    """`torch.ao.nn.quantized.QFunctional` on real numbers."""

    def __init__(self, levels: Levels) -> None:
        super().__init__()
        self.levels = levels

    def add(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.levels(x + y)
        return found

    add_scalar = torch.add

    def mul(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.levels(x * y)
        return found

    mul_scalar = torch.mul

    def cat(self, x: Sequence[torch.Tensor], dim: int = 0) -> torch.Tensor:
        found: torch.Tensor = self.levels(torch.cat(list(x), dim))
        return found

    def add_relu(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.levels(torch.relu(x + y))
        return found


def with_levels(model: torch.nn.Module) -> torch.nn.Module:
    """A copy of a statically quantized module with real layers and quantizers; any other module as it is.

    Raises `UnsupportedError` naming the layers that stand for no real one.
    """
    if not any(_kind(module) for module in model.modules()):
        return model
    refused: list[Refusal] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = _replaced(model, "", refused)
        if not refused and found is None:
            found = copy.deepcopy(model)
            _replace(found, "", refused)
    if refused:
        lines = "".join(f"\n  {item}" for item in refused)
        raise UnsupportedError(f"{type(model).__name__} holds layers of torch.ao that cannot be imported:{lines}", refused)
    assert found is not None
    return found.eval()


def _kind(module: torch.nn.Module) -> str:
    """The kind of a quantized layer; empty for all others. Packed parameters belong to the layer that holds them."""
    home, name = type(module).__module__, type(module).__name__
    return name if ".quantized." in f"{home}." and home.startswith("torch.ao.") and "PackedParams" not in name else ""


def _replace(module: torch.nn.Module, path: str, refused: list[Refusal]) -> None:
    for name, child in list(module.named_children()):
        real = _replaced(child, f"{path}/{name}", refused)
        if real is not None:
            setattr(module, name, real)
        else:
            _replace(child, f"{path}/{name}", refused)
    if isinstance(module, torch.fx.GraphModule):
        _calls(module)


def _replaced(module: torch.nn.Module, path: str, refused: list[Refusal]) -> torch.nn.Module | None:
    kind = _kind(module)
    if not kind:
        return None
    if ".dynamic." in type(module).__module__:
        refused.append(Refusal(f"{kind} {path or '/'}", _DYNAMIC))
        return torch.nn.Identity()
    if kind not in _LAYERS:
        refused.append(Refusal(f"{kind} {path or '/'}", _UNKNOWN))
        return torch.nn.Identity()
    return _LAYERS[kind](module)


def _real(tensor: torch.Tensor | None) -> torch.Tensor | None:
    return None if tensor is None else torch.nn.Parameter(tensor.dequantize() if tensor.is_quantized else tensor.float())


def _filled(real: Any, module: QuantizedModule) -> Any:
    real.weight, real.bias = _real(module.weight()), _real(module.bias())
    return real


def _linear(module: QuantizedModule) -> torch.nn.Module:
    return _filled(torch.nn.Linear(module.in_features, module.out_features), module)  # type: ignore[no-any-return]


def _conv(kind: Callable[..., torch.nn.Module]) -> Callable[[QuantizedModule], torch.nn.Module]:
    def layer(module: QuantizedModule) -> torch.nn.Module:
        real = kind(
            module.in_channels,
            module.out_channels,
            module.kernel_size,
            module.stride,
            module.padding,
            dilation=module.dilation,
            groups=module.groups,
            padding_mode=module.padding_mode,
        )
        return _filled(real, module)  # type: ignore[no-any-return]

    return layer


def _norm(kind: Callable[..., torch.nn.Module]) -> Callable[[QuantizedModule], torch.nn.Module]:
    def layer(module: QuantizedModule) -> torch.nn.Module:
        real: Any = kind(module.num_features, module.eps)
        real.weight, real.bias = _real(module.weight), _real(module.bias)
        real.running_mean, real.running_var = module.running_mean, module.running_var
        return real  # type: ignore[no-any-return]

    return layer


def _embedding(module: QuantizedModule) -> torch.nn.Module:
    weight = _real(module.weight())
    assert weight is not None
    real = torch.nn.Embedding(*weight.shape)
    real.weight = torch.nn.Parameter(weight)
    return real


def _levelled(
    make: Callable[[QuantizedModule], torch.nn.Module], *after: torch.nn.Module
) -> Callable[[QuantizedModule], torch.nn.Module]:
    return lambda module: torch.nn.Sequential(make(module), *after, _levels(module))


def _levels(module: QuantizedModule) -> Levels:
    names = ("output_scale", "output_zero_point") if hasattr(module, "output_scale") else ("scale", "zero_point")
    scale, zero = (getattr(module, name) for name in names)
    return Levels(float(scale), int(zero), getattr(module, "dtype", torch.quint8))


_CONVS: dict[str, Callable[[QuantizedModule], torch.nn.Module]] = {
    f"Conv{rank}d": _conv(getattr(torch.nn, f"Conv{rank}d")) for rank in (1, 2, 3)
}
_RELU = torch.nn.ReLU()
_LAYERS: dict[str, Callable[[QuantizedModule], torch.nn.Module]] = {
    "Quantize": _levels,
    "DeQuantize": lambda module: torch.nn.Identity(),
    "Dropout": lambda module: torch.nn.Identity(),
    "QFunctional": lambda module: Functional(_levels(module)),
    "Linear": _levelled(_linear),
    "LinearReLU": _levelled(_linear, _RELU),
    "LinearTanh": _levelled(_linear, torch.nn.Tanh()),
    "LinearLeakyReLU": lambda module: torch.nn.Sequential(
        _linear(module), torch.nn.LeakyReLU(module.negative_slope), _levels(module)
    ),
    **{name: _levelled(make) for name, make in _CONVS.items()},
    **{name.replace("Conv", "ConvReLU"): _levelled(make, _RELU) for name, make in _CONVS.items()},
    "BatchNorm2d": _levelled(_norm(torch.nn.BatchNorm2d)),
    "BatchNorm3d": _levelled(_norm(torch.nn.BatchNorm3d)),
    "BNReLU2d": _levelled(_norm(torch.nn.BatchNorm2d), _RELU),
    "BNReLU3d": _levelled(_norm(torch.nn.BatchNorm3d), _RELU),
    "ReLU6": lambda module: torch.nn.ReLU6(),
    "Hardswish": _levelled(lambda module: torch.nn.Hardswish()),
    "ELU": _levelled(lambda module: torch.nn.ELU(module.alpha)),
    "LeakyReLU": _levelled(lambda module: torch.nn.LeakyReLU(module.negative_slope)),
    "Sigmoid": _levelled(lambda module: torch.nn.Sigmoid()),
    "Softmax": _levelled(lambda module: torch.nn.Softmax(module.dim)),
    "Embedding": _embedding,
}


def _calls(module: torch.fx.GraphModule) -> None:
    """Put real functions in the place of those on quantized tensors that FX graph mode writes."""
    functions = {
        torch.ops.quantized.add: operator.add,
        torch.ops.quantized.mul: operator.mul,
        torch.ops.quantized.add_relu: lambda x, y: torch.relu(x + y),
        torch.ops.quantized.mul_relu: lambda x, y: torch.relu(x * y),
        torch.ops.quantized.cat: torch.cat,
    }
    for node in module.graph.nodes:
        if node.op == "call_method" and node.target == "dequantize":
            node.replace_all_uses_with(node.args[0])
        elif node.op == "call_function" and node.target is torch.quantize_per_tensor:
            node.target, (x, scale, zero, dtype) = _quantized, node.args
            node.args = (x, _number(module, scale), _number(module, zero), dtype)
        elif node.op == "call_function" and node.target in functions:
            *given, scale, zero = node.args
            with module.graph.inserting_before(node):
                plain = module.graph.call_function(functions[node.target], tuple(given))
            node.target, node.args = _quantized, (plain, _number(module, scale), _number(module, zero), torch.quint8)
    module.graph.eliminate_dead_code()
    module.recompile()


def _quantized(x: torch.Tensor, scale: float, zero: int, dtype: torch.dtype) -> torch.Tensor:
    low, high = (0, 255) if dtype == torch.quint8 else (-128, 127)
    return torch.fake_quantize_per_tensor_affine(x, scale, zero, low, high)


def _number(module: torch.nn.Module, given: Any) -> float | int:
    """A scale or zero point: a number, or the attribute that a node reads."""
    if not isinstance(given, torch.fx.Node):
        return given  # type: ignore[no-any-return]
    found: Any = module
    for part in str(given.target).split("."):
        found = getattr(found, part)
    number: float | int = found.item() if isinstance(found, torch.Tensor) else found
    return number
