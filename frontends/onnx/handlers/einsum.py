"""Einsum (`snnir.ir.lowering.einsum`)."""

from __future__ import annotations

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.compose import real
from snnir.frontends.onnx.registry import Result, handler
from snnir.ir.lowering.einsum import einsum as lowered

__all__: list[str] = []


@handler("Einsum", "matmul", "transpose", "linear", "reshape", "gather")
def einsum(call: Call) -> list[Result]:
    """One or two operands; a letter that stands twice takes a diagonal."""
    return [lowered(call, call.word("equation", ""), [real(call, index) for index in range(len(call.operands))])]
