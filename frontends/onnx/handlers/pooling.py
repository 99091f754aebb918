"""Pooling and means."""

from __future__ import annotations

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.handlers.windows import filled, padding
from snnir.frontends.onnx.registry import Result, handler
from snnir.ir import Dim
from snnir.ir.lowering.compose import largest_over
from snnir.ir.ops import AveragePool, MaxPool, MaxPoolPlaces, ReduceMean

__all__ = ["window"]

_Window = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...], bool]


def window(call: Call) -> _Window:
    """Kernel, stride, padding, dilation and whether sizes are rounded up."""
    kernel = call.integers("kernel_shape", ())
    ones = (1,) * len(kernel)
    stride, dilation = call.integers("strides", ones), call.integers("dilations", ones)
    pads = padding(call, call.type(0).shape[2:], kernel, stride, dilation)
    return kernel, stride, pads, dilation, bool(call.integer("ceil_mode", 0))


@handler("MaxPool", "max_pool", "max_pool_places")
def max_pool(call: Call) -> list[Result]:
    """Its Indices count through the whole tensor, the batch too, so its sizes must be known; the host finds them."""
    x, sizes = call.value(0), window(call) if call.wants(1) else ()
    if not sizes:
        kernel = call.integers("kernel_shape", ())
        ones = (1,) * len(kernel)
        stride, dilation = call.integers("strides", ones), call.integers("dilations", ones)
        x, pads = filled(call, x, kernel, stride, dilation, "edge")
        return [call.emit(MaxPool(kernel, stride, pads, dilation, bool(call.integer("ceil_mode", 0))), x)]
    pooled = call.emit(MaxPool(*sizes), x)
    if not call.wants(1):
        return [pooled]
    call.static(x.type.shape, "the Indices output, which counts through all samples,")
    return [pooled, call.emit(MaxPoolPlaces(*sizes, bool(call.integer("storage_order", 0))), x, output=1)]


@handler("GlobalMaxPool", "max_pool")
def global_max_pool(call: Call) -> list[Result]:
    """One window over everything; the size must be known, or have an upper end."""
    x = call.value(0)
    if any(isinstance(size, Dim) for size in x.type.shape[2:]):
        return [largest_over(call, x, tuple(range(2, x.type.rank)), True)]
    kernel = call.static(x.type.shape[2:], "a global max pool")
    ones = (1,) * len(kernel)
    return [call.emit(MaxPool(kernel, ones, (0,) * (2 * len(kernel)), ones), call.value(0))]


@handler("AveragePool", "average_pool")
def average_pool(call: Call) -> list[Result]:
    """ceil_mode and count_include_pad included."""
    return [call.emit(AveragePool(*window(call), bool(call.integer("count_include_pad", 0))), call.value(0))]


@handler("GlobalAveragePool", "reduce_mean")
def global_average_pool(call: Call) -> list[Result]:
    """The mean over all spatial axes, kept as axes of size 1."""
    return [call.emit(ReduceMean(tuple(range(2, call.type(0).rank))), call.value(0))]


@handler("ReduceMean", "reduce_mean")
def reduce_mean(call: Call) -> list[Result]:
    """Axes as attribute or operand."""
    rank = call.type(0).rank
    axes = call.known_integers(1, "the axes") if call.has(1) else call.integers("axes", ())
    if not axes and call.integer("noop_with_empty_axes", 0):
        return [call.value(0)]
    chosen = tuple(sorted({call.axis(axis, rank) for axis in axes or range(rank)}))
    return [call.emit(ReduceMean(chosen, bool(call.integer("keepdims", 1))), call.value(0))]
