"""Window attributes that convolution and pooling share."""

from __future__ import annotations

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.registry import RefusalError
from snnir.ir import Dim, Shape

__all__ = ["padding"]


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
