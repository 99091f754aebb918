"""Element-wise activations, of modules and functions alike."""

from __future__ import annotations

import math

import numpy as np

from snnir.frontends.torch.call import Call, to_array
from snnir.frontends.torch.registry import RefusalError, handler
from snnir.ir import Op, Value
from snnir.ir.lowering import functions
from snnir.ir.lowering.choose import above, selected, sloped
from snnir.ir.lowering.compose import minus, plus, times
from snnir.ir.lowering.functions import gated
from snnir.ir.ops import (
    Acosh,
    Asin,
    Asinh,
    Atan,
    Atanh,
    Clip,
    Elu,
    Erf,
    Exp,
    GeluGate,
    HardSigmoid,
    LeakyRelu,
    Mul,
    Relu,
    Round,
    Sigmoid,
    Sign,
    Sinh,
    Softplus,
    Softsign,
    Sub,
    Tan,
    Tanh,
    ThresholdedRelu,
)

__all__: list[str] = []

_SAFE_THRESHOLD = 15.0
"""From here on `softplus(x)` and `x` are the same but for float32 rounding."""


def _plain(operator: str, op: Op) -> None:
    @handler(operator, op.name)
    def activation(call: Call) -> Value:
        return call.emit(op, next(call.value(name) for name in ("self", "input") if name in call.arguments))


_plain("aten.relu", Relu())
_plain("aten.relu6", Clip(0.0, 6.0))
_plain("aten.sigmoid", Sigmoid())
_plain("aten.tanh", Tanh())
_plain("aten.hardsigmoid", HardSigmoid(1 / 6, 0.5))
_plain("aten.exp", Exp())
_plain("aten.erf", Erf())
_plain("aten.atan", Atan())
_plain("aten.tan", Tan())
_plain("aten.sinh", Sinh())
_plain("aten.asinh", Asinh())
_plain("aten.asin", Asin())
_plain("aten.atanh", Atanh())
_plain("aten.acosh", Acosh())
_plain("aten.sign", Sign())
_plain("aten.sgn", Sign())
_plain("aten.floor", Round("floor"))
_plain("aten.ceil", Round("ceil"))
_plain("aten.round.default", Round("even"))
_plain("aten.selu", Elu(1.6732632423543772, gamma=1.0507009873554805))


@handler("aten.acos", "asin", "mul", "add")
def acos(call: Call) -> Value:
    """`pi / 2 - asin(x)`."""
    return functions.arc_cosine(call, call.value("self"))


@handler("aten.cosh", "exp", "mul", "add")
def cosh(call: Call) -> Value:
    """`(exp(x) + exp(-x)) / 2`."""
    return functions.hyperbolic_cosine(call, call.value("self"))


@handler("aten.expm1", "exp", "add")
def expm1(call: Call) -> Value:
    """`exp(x) - 1`."""
    return plus(call, call.emit(Exp(), call.value("self"), label="exp"), -1.0)


@handler("aten.exp2", "exp", "mul")
def exp2(call: Call) -> Value:
    """`2^x`."""
    return call.emit(Exp(), times(call, call.value("self"), math.log(2.0), "scaled"))


@handler("aten.erfc", "erf", "mul", "add")
def erfc(call: Call) -> Value:
    """`1 - erf(x)`."""
    return plus(call, minus(call, call.emit(Erf(), call.value("self"), label="erf"), "negated"), 1.0)


@handler("aten.fix", "round", "relu", "mul", "sub")
@handler("aten.trunc", "round", "relu", "mul", "sub")
def trunc(call: Call) -> Value:
    """Towards zero: `floor(relu(x)) - floor(relu(-x))`."""
    return functions.truncated(call, call.value("self"))


@handler("aten.hardtanh", "clip")
def hardtanh(call: Call) -> Value:
    """Bounds min_val and max_val."""
    return call.emit(Clip(call.number("min_val"), call.number("max_val")), call.value("self"))


@handler("aten.clamp_max", "clip")
@handler("aten.clamp_min", "clip")
@handler("aten.clip", "clip")
@handler("aten.clamp", "clip")
def clamp(call: Call) -> Value:
    """Constant bounds, either of which may be missing."""
    low, high = call.number("min", -math.inf), call.number("max", math.inf)
    if low > high:
        raise RefusalError(f"it clips to {low}..{high}, which holds no number")
    return call.emit(Clip(low, high), call.value("self"))


@handler("aten.leaky_relu", "leaky_relu", "relu", "mul", "add")
def leaky_relu(call: Call) -> Value:
    """Any slope; a negative one costs two activations."""
    return sloped(call, call.value("self"), np.array(call.number("negative_slope", 0.01)))


@handler("aten.rrelu", "leaky_relu")
def rrelu(call: Call) -> Value:
    """In evaluation the slope is the middle of its range."""
    if call.flag("training"):
        raise RefusalError("it is in training mode; call eval() on the module")
    return call.emit(LeakyRelu((call.number("lower") + call.number("upper")) / 2), call.value("self"))


@handler("aten.prelu", "leaky_relu", "relu", "mul", "add")
@handler("aten._prelu_kernel", "leaky_relu", "relu", "mul", "add")
def prelu(call: Call) -> Value:
    """One slope for all, or one per channel."""
    x, weight = call.value("self"), call.known("weight", "the slope")
    if weight.dim() == 1 and weight.numel() > 1:
        weight = weight.reshape(-1, *([1] * (x.type.rank - 2)))
    return sloped(call, x, to_array(weight, "the slope"))


@handler("aten.elu", "elu")
def elu(call: Call) -> Value:
    """`scale (exp(input_scale x) - 1) alpha` below zero."""
    alpha, scale, steep = call.number("alpha", 1.0), call.number("scale", 1.0), call.number("input_scale", 1.0)
    return call.emit(Elu(alpha, 1 / steep, scale), call.value("self"))


@handler("aten.celu", "elu")
def celu(call: Call) -> Value:
    """alpha must be positive."""
    alpha = call.number("alpha", 1.0)
    return call.emit(Elu(alpha, beta=alpha), call.value("self"))


@handler("aten.softplus", "softplus", "mul")
def softplus(call: Call) -> Value:
    """`softplus(beta x) / beta`; beyond the threshold PyTorch takes `x`, which is the same there."""
    beta, threshold = call.number("beta", 1.0), call.number("threshold", 20.0)
    if threshold < _SAFE_THRESHOLD or beta <= 0:
        raise RefusalError(f"beta {beta} and threshold {threshold}: beta must be positive, threshold {_SAFE_THRESHOLD:g} or more")
    if beta == 1:
        return call.emit(Softplus(), call.value("self"))
    steep = call.emit(Mul(), call.value("self"), call.scalar("beta", beta), label="steep")
    return call.emit(Mul(), call.emit(Softplus(), steep, label="scaled"), call.scalar("scale", 1 / beta))


@handler("aten.softsign", "softsign")
def softsign(call: Call) -> Value:
    """`x / (1 + |x|)`."""
    return call.emit(Softsign(), call.value("self"))


@handler("aten.threshold", "thresholded_relu", "clip", "step", "relu", "mul", "add", "sub")
def threshold(call: Call) -> Value:
    """`x` above the threshold, else a constant; any of both."""
    x, limit, other = call.value("self"), call.number("threshold"), call.number("value")
    if limit == other:
        return call.emit(Clip(low=limit), x)
    if other == 0 and limit >= 0:
        return call.emit(ThresholdedRelu(limit), x)
    return selected(call, above(call, x, np.array(limit), "mask"), x, call.scalar("value", other))


@handler("aten.log_sigmoid", "softplus", "mul")
def log_sigmoid(call: Call) -> Value:
    """`-softplus(-x)`."""
    inner = call.emit(Softplus(), _negative(call, call.value("self")), label="softplus")
    return call.emit(Mul(), inner, call.scalar("minus", -1.0))


@handler("aten.softshrink", "relu", "add", "sub")
def softshrink(call: Call) -> Value:
    """`relu(x - l) - relu(-x - l)`."""
    x, limit = call.value("self"), call.scalar("lambda", call.number("lambd", 0.5))
    above = call.emit(Relu(), call.emit(Sub(), x, limit, label="above"), label="above.relu")
    below = call.emit(Relu(), call.emit(Sub(), _negative(call, x), limit, label="below"), label="below.relu")
    return call.emit(Sub(), above, below)


@handler("aten.hardshrink", "thresholded_relu", "sub")
def hardshrink(call: Call) -> Value:
    """`x` beyond the limits, 0 between them."""
    x, op = call.value("self"), ThresholdedRelu(call.number("lambd", 0.5))
    return call.emit(Sub(), call.emit(op, x, label="above"), call.emit(op, _negative(call, x), label="below"))


@handler("aten.tanhshrink", "tanh", "sub")
def tanhshrink(call: Call) -> Value:
    """`x - tanh(x)`."""
    x = call.value("self")
    return call.emit(Sub(), x, call.emit(Tanh(), x, label="tanh"))


@handler("aten.hardswish", "mul", "hard_sigmoid")
def hardswish(call: Call) -> Value:
    """`x hard_sigmoid(x)`: a product of two spiking values."""
    return gated(call, call.value("self"), HardSigmoid(1 / 6, 0.5))


@handler("aten.silu", "mul", "sigmoid")
def silu(call: Call) -> Value:
    """`x sigmoid(x)`."""
    return gated(call, call.value("self"), Sigmoid())


@handler("aten.gelu", "mul", "gelu_gate")
def gelu(call: Call) -> Value:
    """`x` times its gate, exact or approximate."""
    return gated(call, call.value("self"), GeluGate(call.given("approximate") == "tanh"))


@handler("aten.mish", "mul", "softplus", "tanh")
def mish(call: Call) -> Value:
    """`x tanh(softplus(x))`."""
    return functions.mish(call, call.value("self"))


@handler("aten.glu", "mul", "sigmoid", "slice")
def glu(call: Call) -> Value:
    """The first half times the sigmoid of the second."""
    from snnir.ir.ops import Slice

    x = call.value("self")
    axis = call.axis(call.integer("dim", -1), x.type.rank)
    (size,) = call.static((x.type.shape[axis],), "the axis of glu")
    first = call.emit(Slice(axis, 0, size // 2), x, label="first")
    second = call.emit(Slice(axis, size // 2, size), x, label="second")
    return call.emit(Mul(), first, call.emit(Sigmoid(), second, label="gate"))


def _negative(call: Call, x: Value) -> Value:
    return call.emit(Mul(), x, call.scalar("minus", -1.0), label="negative")
