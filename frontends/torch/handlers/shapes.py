"""Sizes of tensors, and tensors made from sizes."""

from __future__ import annotations

import math

import torch

from snnir.frontends.torch.call import Call
from snnir.frontends.torch.registry import Entry, RefusalError, Spread, Steps, handler
from snnir.ir import Dim, Dimension, Shape

__all__: list[str] = []


@handler("aten.sym_size")
def sym_size(call: Call) -> Dimension:
    """The size along an axis."""
    shape = call.type("self").shape
    return shape[call.axis(call.integer("dim"), len(shape))]


@handler("aten.sym_numel")
def sym_numel(call: Call) -> Dimension:
    """The number of elements."""
    total: Dimension = 1
    for size in call.type("self").shape:
        total = total * size
    return total


def filled(call: Call, shape: Shape, number: float) -> Entry:
    """A tensor of one number: known, or known up to the sizes that follow from the input only."""
    dtype = getattr(call.node.meta.get("val"), "dtype", torch.float32)
    array = torch.full([1 if isinstance(size, Dim) else size for size in shape], number, dtype=dtype)
    return Spread(array, shape) if any(isinstance(size, Dim) for size in shape) else array


def _like(operator: str, number: float | None, sizes: str) -> None:
    @handler(f"aten.{operator}", "expand")
    def make(call: Call) -> Entry:
        shape = tuple(call.sizes(sizes)) if sizes != "self" else call.type("self").shape
        chosen = number
        if chosen is None:
            chosen = call.number("fill_value")
        if not math.isfinite(chosen):
            raise RefusalError(f"it is filled with {chosen}")
        return filled(call, shape, chosen)


for _name, _number in (("zeros", 0.0), ("ones", 1.0), ("full", None), ("empty", 0.0)):
    _like(f"{_name}.{'memory_format' if _name == 'empty' else 'default'}", _number, "size")
    _like(f"new_{_name}", _number, "size")
    _like(f"{_name}_like", _number, "self")


@handler("aten.fill.Tensor", "expand")
@handler("aten.fill.Scalar", "expand")
def fill(call: Call) -> Entry:
    """A tensor of the same size that holds one known number."""
    return filled(call, call.type("self").shape, call.number("value"))


@handler("aten.arange")
def arange(call: Call) -> Steps:
    """Up to a size that follows from the input only: the offsets of bags of one size."""
    start, step = (call.given(name) if call.has(name) else default for name, default in (("start", 0), ("step", 1)))
    return Steps(start, call.given("end"), step)
