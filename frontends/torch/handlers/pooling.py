"""Pooling and means."""

from __future__ import annotations

from collections.abc import Sequence

from snnir.frontends.torch.call import Call
from snnir.frontends.torch.handlers.enlarge import pooled
from snnir.frontends.torch.registry import Entry, RefusalError, Unknown, handler
from snnir.ir import Value
from snnir.ir.ops import AveragePool, Gather, MaxPool, Mul, ReduceMean

__all__: list[str] = []

_Window = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...], bool]


def _window(call: Call, spatial: int) -> _Window:
    """Kernel, stride (the kernel's where not given), padding, dilation and ceil_mode over `spatial` axes."""

    def each(name: str, default: tuple[int, ...]) -> tuple[int, ...]:
        numbers = call.integers(name) if name in call.arguments else ()
        return (numbers * spatial if len(numbers) == 1 else numbers) or default

    if call.type("self").rank != spatial + 2:
        raise RefusalError(f"its input {call.type('self')} has no batch; give x[N, C, ...]")
    kernel = each("kernel_size", ())
    padding = each("padding", (0,) * spatial)
    return kernel, each("stride", kernel), padding * 2, each("dilation", (1,) * spatial), call.flag("ceil_mode")


def _max_pool(spatial: int) -> None:
    @handler(f"aten.max_pool{spatial}d", "max_pool")
    def pool(call: Call) -> Value:
        return call.emit(MaxPool(*_window(call, spatial)), call.value("self"))

    @handler(f"aten.max_pool{spatial}d_with_indices", "max_pool")
    def pool_with_indices(call: Call) -> list[Entry]:
        return [pool(call), Unknown("it takes the indices of a max pool; only the pooled value is supported")]


def _average_pool(spatial: int) -> None:
    @handler(f"aten.avg_pool{spatial}d", "average_pool", "mul")
    def pool(call: Call) -> Value:
        window = _window(call, spatial)
        divisor = call.arguments.get("divisor_override")
        if divisor is None:
            return call.emit(AveragePool(*window, call.flag("count_include_pad")), call.value("self"))
        if window[-1]:
            raise RefusalError("ceil_mode together with divisor_override")
        elements = 1
        for size in window[0]:
            elements *= size
        mean = call.emit(AveragePool(*window, True), call.value("self"), label="mean")
        return call.emit(Mul(), mean, call.scalar("divisor", elements / int(divisor)))


def _adaptive(spatial: int) -> None:
    def sizes(call: Call) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Sizes of the input and of the result."""
        x = call.type("self")
        if x.rank != spatial + 2:
            raise RefusalError(f"its input {x} has no batch; give x[N, C, ...]")
        found = call.static(x.shape[2:], "adaptive pooling to more than one place")
        targets = call.integers("output_size")
        return found, targets * spatial if len(targets) == 1 else targets

    def equal(found: tuple[int, ...], targets: tuple[int, ...]) -> tuple[int, ...] | None:
        """The kernel of windows of one size that cover the input; None where their sizes differ."""
        pairs = list(zip(found, targets, strict=True))
        return None if any(size % target for size, target in pairs) else tuple(size // target for size, target in pairs)

    @handler(f"aten.adaptive_avg_pool{spatial}d", "reduce_mean", "average_pool", "sparse_linear", "linear")
    @handler(f"aten._adaptive_avg_pool{spatial}d", "reduce_mean", "average_pool", "sparse_linear", "linear")
    def average(call: Call) -> Value:
        x = call.value("self")
        if set(call.integers("output_size")) == {1} and x.type.rank == spatial + 2:
            return call.emit(ReduceMean(tuple(range(2, x.type.rank))), x)
        found, targets = sizes(call)
        kernel = equal(found, targets)
        if kernel is None:
            return pooled(call, targets)
        return call.emit(AveragePool(kernel, kernel, (0,) * (2 * spatial), (1,) * spatial), x)

    @handler(f"aten.adaptive_max_pool{spatial}d", "max_pool", "gather")
    def most(call: Call) -> list[Entry]:
        x, (found, targets) = call.value("self"), sizes(call)
        kernel = equal(found, targets)
        if kernel is None:
            kernel, x = _repeated(call, x, found, targets)
        largest = call.emit(MaxPool(kernel, kernel, (0,) * (2 * spatial), (1,) * spatial), x)
        return [largest, Unknown("it takes the indices of a max pool; only the pooled value is supported")]


def _repeated(call: Call, x: Value, sizes: Sequence[int], targets: Sequence[int]) -> tuple[tuple[int, ...], Value]:
    """`x` with the last element of each smaller window repeated, so that windows have one size, and that size."""
    kernel = []
    for axis, (size, target) in enumerate(zip(sizes, targets, strict=True), 2):
        windows = [range(place * size // target, -(-(place + 1) * size // target)) for place in range(target)]
        most = max(len(window) for window in windows)
        indices = tuple(min(window.start + offset, window.stop - 1) for window in windows for offset in range(most))
        x = call.emit(Gather(axis, indices, (len(indices),)), x, label=f"axis{axis}")
        kernel.append(most)
    return tuple(kernel), x


for _spatial in (1, 2, 3):
    _max_pool(_spatial)
    _average_pool(_spatial)
    _adaptive(_spatial)


@handler("aten.mean", "reduce_mean")
def mean(call: Call) -> Value:
    """Over the axes given, or all."""
    return call.emit(_reduction(call), call.value("self"))


@handler("aten.sum", "reduce_mean", "mul")
def sum_(call: Call) -> Value:
    """The mean times the number of elements, which must be known."""
    x, op = call.value("self"), _reduction(call)
    count = 1
    for size in call.static(tuple(x.type.shape[axis] for axis in op.axes), "a sum"):
        count *= size
    return call.emit(Mul(), call.emit(op, x, label="mean"), call.scalar("count", float(count)))


def _reduction(call: Call) -> ReduceMean:
    return ReduceMean(call.axes("dim"), call.flag("keepdim"))
