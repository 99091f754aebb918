"""Operators that close a model and stay on the host."""

from __future__ import annotations

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.registry import RefusalError, Result, handler
from snnir.ir import Op
from snnir.ir.dims import product
from snnir.ir.ops import ArgMax, LogSoftmax, Reshape, Softmax

__all__: list[str] = []


def _normalised(operator: str, op: type[Softmax] | type[LogSoftmax]) -> None:
    @handler(operator, op.name)
    def softmax(call: Call) -> list[Result]:
        x = call.value(0)
        rank = x.type.rank
        axis = call.axis(call.integer("axis", -1 if call.opset >= 13 else 1), rank)
        if call.opset >= 13 or axis == rank - 1:
            return [call.emit(op(axis), x)]
        # before opset 13 all axes from `axis` on are normalised together
        flat = call.emit(Reshape((*x.type.shape[:axis], product(x.type.shape[axis:]))), x, label="flat")
        return [call.emit(Reshape(x.type.shape), call.emit(op(axis), flat, label="flat.normalised"))]


_normalised("Softmax", Softmax)
_normalised("LogSoftmax", LogSoftmax)


@handler("ArgMax", "argmax")
def argmax(call: Call) -> list[Result]:
    """The index of the largest element."""
    x = call.value(0)
    axis = call.axis(call.integer("axis", 0), x.type.rank)
    if not x.type.is_real:
        raise RefusalError(f"argmax of {x.type.dtype}; only real numbers are supported")
    op: Op = ArgMax(axis, bool(call.integer("keepdims", 1)), bool(call.integer("select_last_index", 0)))
    return [call.emit(op, x)]
