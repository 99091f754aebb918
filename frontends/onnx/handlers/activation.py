"""Element-wise activations."""

from __future__ import annotations

import numpy as np

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.registry import RefusalError, Result, handler
from snnir.ir.ops import Clip, HardSigmoid, LeakyRelu, Relu, Sigmoid, Tanh

__all__: list[str] = []


@handler("Relu", "relu")
def relu(call: Call) -> list[Result]:
    """max(x, 0)."""
    return [call.emit(Relu(), call.value(0))]


@handler("Sigmoid", "sigmoid")
def sigmoid(call: Call) -> list[Result]:
    """Logistic function."""
    return [call.emit(Sigmoid(), call.value(0))]


@handler("Tanh", "tanh")
def tanh(call: Call) -> list[Result]:
    """Hyperbolic tangent."""
    return [call.emit(Tanh(), call.value(0))]


@handler("LeakyRelu", "leaky_relu")
def leaky_relu(call: Call) -> list[Result]:
    """alpha must not be negative, or the function would not increase."""
    return [call.emit(LeakyRelu(call.number("alpha", 0.01)), call.value(0))]


@handler("HardSigmoid", "hard_sigmoid")
def hard_sigmoid(call: Call) -> list[Result]:
    """alpha must not be negative."""
    return [call.emit(HardSigmoid(call.number("alpha", 0.2), call.number("beta", 0.5)), call.value(0))]


@handler("Clip", "clip")
def clip(call: Call) -> list[Result]:
    """Bounds as operands (opset 11 on); either may be missing."""
    low, high = (_bound(call, index, what) for index, what in ((1, "min"), (2, "max")))
    low, high = (-np.inf if low is None else low), (np.inf if high is None else high)
    if low > high:
        raise RefusalError(f"it clips to {low}..{high}, which holds no number")
    return [call.emit(Clip(float(low), float(high)), call.value(0))]


def _bound(call: Call, index: int, what: str) -> float | None:
    if not call.has(index):
        return None
    array = call.known(index, f"the {what} of clip")
    limit = float(array.reshape(-1)[0])
    largest = float(np.finfo(np.float32).max)
    return None if abs(limit) >= largest and (limit > 0) == (what == "max") else limit
