"""Element-wise activations."""

from __future__ import annotations

import numpy as np

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.compose import plus, real, times
from snnir.frontends.onnx.registry import Result, handler
from snnir.ir import Value
from snnir.ir.lowering import functions
from snnir.ir.lowering.choose import extreme
from snnir.ir.lowering.functions import arc_cosine, gated, hyperbolic_cosine
from snnir.ir.ops import (
    Acosh,
    Asin,
    Asinh,
    Atan,
    Atanh,
    Clip,
    Elementwise,
    Elu,
    Erf,
    Exp,
    GeluGate,
    HardSigmoid,
    LeakyRelu,
    Mul,
    Relu,
    Round,
    Shrink,
    Sigmoid,
    Sign,
    Sinh,
    Softplus,
    Softsign,
    Tanh,
    ThresholdedRelu,
)
from snnir.ir.types import DTYPES

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


def _plain(operator: str, op: Elementwise) -> None:
    @handler(operator, op.name)
    def activation(call: Call) -> list[Result]:
        return [call.emit(op, call.value(0))]


_plain("Softplus", Softplus())
_plain("Softsign", Softsign())
_plain("Exp", Exp())
_plain("Erf", Erf())
_plain("Atan", Atan())
_plain("Sign", Sign())
_plain("Floor", Round("floor"))
_plain("Ceil", Round("ceil"))
_plain("Round", Round("even"))
_plain("Sinh", Sinh())
_plain("Asinh", Asinh())
_plain("Asin", Asin())
_plain("Atanh", Atanh())
_plain("Acosh", Acosh())


@handler("Acos", "asin", "mul", "add")
def acos(call: Call) -> list[Result]:
    """`pi / 2 - asin(x)`."""
    return [arc_cosine(call, call.value(0))]


@handler("Cosh", "exp", "mul", "add")
def cosh(call: Call) -> list[Result]:
    """`(exp(x) + exp(-x)) / 2`."""
    return [hyperbolic_cosine(call, call.value(0))]


@handler("Shrink", "shrink")
def shrink(call: Call) -> list[Result]:
    """lambd must not be less than bias, or the function would not increase."""
    return [call.emit(Shrink(call.number("lambd", 0.5), call.number("bias", 0.0)), call.value(0))]


@handler("Elu", "elu")
def elu(call: Call) -> list[Result]:
    """alpha must not be negative."""
    return [call.emit(Elu(call.number("alpha", 1.0)), call.value(0))]


@handler("Selu", "elu")
def selu(call: Call) -> list[Result]:
    """alpha and gamma must not be negative."""
    alpha, gamma = call.number("alpha", 1.6732632423543772), call.number("gamma", 1.0507009873554805)
    return [call.emit(Elu(alpha, gamma=gamma), call.value(0))]


@handler("Celu", "elu")
def celu(call: Call) -> list[Result]:
    """alpha must be positive."""
    alpha = call.number("alpha", 1.0)
    return [call.emit(Elu(alpha, beta=alpha), call.value(0))]


@handler("ThresholdedRelu", "thresholded_relu")
def thresholded_relu(call: Call) -> list[Result]:
    """alpha must not be negative."""
    return [call.emit(ThresholdedRelu(call.number("alpha", 1.0)), call.value(0))]


@handler("HardSwish", "mul", "hard_sigmoid")
def hard_swish(call: Call) -> list[Result]:
    """`x * hard_sigmoid(x)` with alpha 1/6: a product of two spiking values."""
    return [gated(call, call.value(0), HardSigmoid(1 / 6, 0.5))]


@handler("Swish", "mul", "sigmoid")
def swish(call: Call) -> list[Result]:
    """`x * sigmoid(alpha x)` (SiLU)."""
    x, alpha = call.value(0), call.number("alpha", 1.0)
    steep = x if alpha == 1 else call.emit(Mul(), x, _constant(call, "alpha", alpha), label="steep")
    return [call.emit(Mul(), x, call.emit(Sigmoid(), steep, label="gate"))]


@handler("Mish", "mul", "softplus", "tanh")
def mish(call: Call) -> list[Result]:
    """`x * tanh(softplus(x))`."""
    return [functions.mish(call, call.value(0))]


@handler("Gelu", "mul", "gelu_gate", domains=("com.microsoft",))
def gelu(call: Call) -> list[Result]:
    """`x` times its gate, which increases, exact or approximate."""
    approximate = call.word("approximate", "none") == "tanh"
    return [gated(call, call.value(0), GeluGate(approximate))]


def _constant(call: Call, label: str, number: float) -> Value:
    return call.constant(f"{call.name()}.{label}", np.array(number, DTYPES[call.type(0).dtype]))


@handler("Clip", "clip", "mul", "add")
def clip(call: Call) -> list[Result]:
    """Bounds as operands (opset 11 on), of which either may be missing, or change with the input as in Max and Min; of bounds
    that leave no number the upper one is the result.
    """
    if any(isinstance(call.operands[index], Value) for index in (1, 2) if call.has(index)):
        found = real(call, 0)
        for index, sign in ((1, 1), (2, -1)):
            bound = call.operands[index] if call.has(index) else None
            if isinstance(bound, Value | np.ndarray):
                found = extreme(call, [found, bound], sign)
        return [found]
    low, high = (_bound(call, index, what) for index, what in ((1, "min"), (2, "max")))
    low, high = (-np.inf if low is None else low), (np.inf if high is None else high)
    if low > high:  # ONNX: the upper bound wins
        return [plus(call, times(call, call.value(0), 0.0, "nothing"), high)]
    return [call.emit(Clip(float(low), float(high)), call.value(0))]


def _bound(call: Call, index: int, what: str) -> float | None:
    if not call.has(index):
        return None
    array = call.known(index, f"the {what} of clip")
    limit = float(array.reshape(-1)[0])
    largest = float(np.finfo(np.float32).max)
    return None if abs(limit) >= largest and (limit > 0) == (what == "max") else limit
