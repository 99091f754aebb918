"""Complex numbers: their parts and magnitudes, sums and products, and what moves or maps both parts alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from snnir.frontends.torch.call import Call
from snnir.frontends.torch.complex_value import Complex, is_complex
from snnir.frontends.torch.registry import Entry, RefusalError, find, handler
from snnir.ir import Value
from snnir.ir.lowering.compose import minus, reshaped
from snnir.ir.lowering.normalise import p_norm
from snnir.ir.ops import Add, Div, Mul, Sub

__all__: list[str] = []

_ALIKE = (
    *("select", "slice", "narrow", "view.default", "reshape", "_unsafe_view", "flatten", "unflatten", "squeeze", "unsqueeze"),
    *("permute", "transpose", "swapaxes", "swapdims", "moveaxis", "movedim", "t", "numpy_T", "expand", "repeat", "flip", "roll"),
    *("cat", "concat", "stack", "split", "split_with_sizes", "chunk", "unbind", "index_select", "index.Tensor", "gather"),
    *("diagonal", "constant_pad_nd", "neg", "_neg_view", "sum", "mean", "cumsum", "fft_fftshift", "fft_ifftshift"),
)
"""Operators that do the same to real and imaginary parts."""


def _mapped(entry: Entry, call: Call, place: int) -> Entry:
    if isinstance(entry, list | tuple):
        return [_mapped(item, call, place) for item in entry]
    return Complex.of(call, entry, f"operand{place}").parts(call)[place] if is_complex(entry) else entry


def _part(call: Call, function: Callable[[Call], Entry], place: int) -> Any:
    arguments = {name: _mapped(entry, call, place) for name, entry in call.arguments.items()}
    inner = Call(call.scope, call.node, arguments, call.origin[0])
    inner.part = ("real", "imag")[place]
    return function(inner)


def _each(call: Call, operator: str) -> Entry:
    """The handler for real numbers, once for each part."""
    function = find(operator)
    if function is None:
        raise RefusalError(f"{operator} has no form for complex numbers")
    real, imag = (_part(call, function, place) for place in (0, 1))
    if isinstance(real, list):
        return [Complex(f"{call.name()}.{place}", pair) for place, pair in enumerate(zip(real, imag, strict=True))]
    return Complex(call.name(), (real, imag))


def _alike(operator: str) -> None:
    @handler(f"aten.{operator}", real=False, complex=True)
    def alike(call: Call) -> Entry:
        return _each(call, f"aten.{operator}")


for _name in _ALIKE:
    _alike(_name)


def _copy(operator: str) -> None:
    @handler(f"aten.{operator}", real=False, complex=True)
    def copy(call: Call) -> Entry:
        return call.given("self")


for _name in ("clone", "contiguous", "detach", "alias", "resolve_conj", "resolve_neg", "lift_fresh_copy"):
    _copy(_name)


@handler("aten.view_as_real", "concat", "reshape", real=False, complex=True)
def view_as_real(call: Call) -> Value:
    """Both parts along a last axis."""
    return Complex.of(call, call.given("self"), "self").pairs(call)


@handler("aten.view_as_complex")
def view_as_complex(call: Call) -> Complex:
    """A last axis of both parts."""
    return Complex(call.name(), call.value("self"))


@handler("aten.complex")
def complex_(call: Call) -> Complex:
    """Of two real values."""
    return Complex(call.name(), (call.value("real"), call.value("imag")))


@handler("aten.real", "gather", real=False, complex=True)
def real(call: Call) -> Value:
    """The real part."""
    return Complex.of(call, call.given("self"), "self").parts(call)[0]


@handler("aten.imag", "gather", real=False, complex=True)
def imag(call: Call) -> Value:
    """The imaginary part."""
    return Complex.of(call, call.given("self"), "self").parts(call)[1]


@handler("aten.abs", "mul", "linear", "sqrt", real=False, complex=True)
def magnitude(call: Call) -> Value:
    """The root of the sum of squares."""
    pairs = Complex.of(call, call.given("self"), "self").pairs(call)
    return p_norm(call, pairs, (pairs.type.rank - 1,), 2, False)


@handler("aten.conj_physical", "mul", real=False, complex=True)
@handler("aten._conj_physical", "mul", real=False, complex=True)
@handler("aten._conj", "mul", real=False, complex=True)
@handler("aten.conj", "mul", real=False, complex=True)
def conjugate(call: Call) -> Complex:
    """The imaginary part negated."""
    real, imag = Complex.of(call, call.given("self"), "self").parts(call)
    return Complex(call.name(), (real, minus(call, imag, "imag")))


def _sum(operator: str, op: Add | Sub, first: str = "self", second: str = "other") -> None:
    @handler(f"aten.{operator}", op.name, real=False, complex=True)
    def total(call: Call) -> Complex:
        """Of complex values, or of one and a real one."""
        if call.number("alpha", 1.0) != 1:
            raise RefusalError("it scales a complex operand by alpha; multiply it before")
        left, right = call.given(first), call.given(second)
        if is_complex(left) and is_complex(right):
            pairs = zip(Complex.of(call, left, first).parts(call), Complex.of(call, right, second).parts(call), strict=True)
            real, imag = (call.emit(op, *pair, label=label) for pair, label in zip(pairs, ("real", "imag"), strict=True))
        elif is_complex(left):
            real, imag = Complex.of(call, left, first).parts(call)
            real = call.emit(op, real, call.as_value(right, second), label="real")
        else:
            real, imag = Complex.of(call, right, second).parts(call)
            real = call.emit(op, call.as_value(left, first), real, label="real")
            imag = imag if isinstance(op, Add) else minus(call, imag, "imag")
        return Complex(call.name(), (real, imag))


_sum("add", Add())
_sum("sub", Sub())
_sum("rsub", Sub(), "other", "self")


def _scaled(call: Call, op: Mul | Div, entry: Entry, name: str) -> Complex:
    """Both parts multiplied or divided by the real argument `name`."""
    pairs, factor = Complex.of(call, entry, "complex").pairs(call), call.given(name)
    if isinstance(factor, torch.Tensor) and not factor.is_floating_point():
        factor = factor.to(torch.get_default_dtype())
    value = call.as_value(factor, name)
    column = value if value.type.rank == 0 else reshaped(call, value, (*value.type.shape, 1), f"{name}.column")
    return Complex(call.name(), call.emit(op, pairs, column))


@handler("aten.mul", "mul", "add", "sub", real=False, complex=True)
def times(call: Call) -> Entry:
    """Of two complex values, `(a + bi)(c + di)`, or of a complex and a real one."""
    left, right = call.given("self"), call.given("other")
    if not (is_complex(left) and is_complex(right)):
        return _scaled(call, Mul(), *((left, "other") if is_complex(left) else (right, "self")))
    (a, b), (c, d) = (Complex.of(call, entry, name).parts(call) for entry, name in ((left, "self"), (right, "other")))
    factors = {"ac": (a, c), "bd": (b, d), "ad": (a, d), "bc": (b, c)}
    products = {label: call.emit(Mul(), *pair, label=label) for label, pair in factors.items()}
    real = call.emit(Sub(), products["ac"], products["bd"], label="real")
    return Complex(call.name(), (real, call.emit(Add(), products["ad"], products["bc"], label="imag")))


@handler("aten.div", "div", real=False, complex=True)
def over(call: Call) -> Entry:
    """Of a complex value by a real one."""
    if is_complex(call.given("other")):
        raise RefusalError("it divides by complex numbers; multiply by the conjugate and divide by the square of the magnitude")
    if call.arguments.get("rounding_mode") is not None:
        raise RefusalError("it rounds complex numbers")
    return _scaled(call, Div(), call.given("self"), "other")
