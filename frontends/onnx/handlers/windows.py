"""Window attributes that convolution and pooling share."""

from __future__ import annotations

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.registry import RefusalError
from snnir.ir import Dim, Dimension, Shape, Value
from snnir.ir.ops import Extend, Pad

__all__ = ["filled", "padding"]


def filled(
    call: Call, x: Value, kernel: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...], mode: str | None
) -> tuple[Value, tuple[int, ...]]:
    """`x` and the padding of windows over it. Where `auto_pad` depends on sizes that are open, `x` is filled up before, by as
    much as they ask for in each run: with zeros, or (`mode` edge) with its own border, which no maximum tells from none.
    """
    spatial, sizes = len(kernel), x.type.shape[2:]
    auto = call.word("auto_pad", "NOTSET")
    spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    ready = not any(isinstance(size, Dim) and step > 1 for size, step in zip(sizes, stride, strict=True))
    if ready or auto not in ("SAME_UPPER", "SAME_LOWER"):
        return x, padding(call, sizes, kernel, stride, dilation)
    if any(span < step for span, step in zip(spans, stride, strict=True)) or (mode is not None and max(dilation) > 1):
        return x, padding(call, sizes, kernel, stride, dilation)  # refuses it
    begins: list[Dimension] = [0, 0]
    ends: list[Dimension] = [0, 0]
    for size, step, span in zip(sizes, stride, spans, strict=True):
        total = ((size + (step - 1)) // step - 1) * step + (span - size)  # 0 or more: the window is no shorter than a step
        small = total // 2
        begins.append(small if auto == "SAME_UPPER" else total - small)
        ends.append(total - small if auto == "SAME_UPPER" else small)
    amounts = (*begins, *ends)
    op = Pad(amounts) if mode is None else Extend(amounts, mode)
    return call.emit(op, x, label="filled"), (0,) * (2 * spatial)


def padding(
    call: Call, sizes: Shape, kernel: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]
) -> tuple[int, ...]:
    """Begins, then ends, from `pads` or `auto_pad` (ONNX operator specification, Conv)."""
    spatial = len(kernel)
    mode = call.word("auto_pad", "NOTSET")
    if mode == "NOTSET":
        return call.integers("pads", (0,) * (2 * spatial))
    if mode == "VALID":
        return (0,) * (2 * spatial)
    if mode not in ("SAME_UPPER", "SAME_LOWER"):
        raise RefusalError(f"auto_pad {mode!r} is not one of NOTSET, VALID, SAME_UPPER, SAME_LOWER")
    begins, ends = [], []
    for axis, size in enumerate(sizes):
        span = dilation[axis] * (kernel[axis] - 1) + 1
        if isinstance(size, Dim):
            if stride[axis] != 1:
                raise RefusalError(f"auto_pad {mode} with stride {stride[axis]} along an axis of unknown size")
            total = span - 1
        else:
            total = max((-(-size // stride[axis]) - 1) * stride[axis] + span - size, 0)
        small, large = total // 2, total - total // 2
        begins.append(small if mode == "SAME_UPPER" else large)
        ends.append(large if mode == "SAME_UPPER" else small)
    return (*begins, *ends)
