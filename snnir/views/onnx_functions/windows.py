"""Bodies of pools and means. Standard pools are for real numbers; levels are read as float64, which holds them exactly."""

from __future__ import annotations

from typing import Any

from snnir.ir.ops import AveragePool, MaxPool, MaxPoolPlaces, ReduceMean
from snnir.views.onnx_functions.body import F64, I64, Body, Term, writes

__all__: list[str] = []


def _window(op: MaxPool | MaxPoolPlaces | AveragePool) -> dict[str, Any]:
    return {
        "kernel_shape": list(op.kernel),
        "strides": list(op.stride),
        "pads": list(op.padding) if len(op.padding) == 2 * len(op.kernel) else list(op.padding) * len(op.kernel),
        "dilations": list(op.dilation),
        "ceil_mode": int(op.ceil),
    }


@writes("max_pool")
def _max_pool(body: Body, op: MaxPool, x: Term) -> Term:
    return (x if x.dtype.kind == "f" else x.cast(F64)).do("MaxPool", **_window(op))


@writes("max_pool_places")
def _max_pool_places(body: Body, op: MaxPoolPlaces, x: Term) -> Term:
    return body.applied("MaxPool", 2, x, dtypes=[x.dtype, I64], storage_order=int(op.columns), **_window(op))[1]


@writes("average_pool")
def _average_pool(body: Body, op: AveragePool, x: Term) -> Term:
    return x.do("AveragePool", count_include_pad=int(op.count_padding), **_window(op))


@writes("reduce_mean")
def _reduce_mean(body: Body, op: ReduceMean, x: Term) -> Term:
    return x.reduced("ReduceMean", op.axes, op.keep)
