"""Transposed convolutions, and resizing by PyTorch's own weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from snnir.frontends.torch.call import Call, to_array
from snnir.frontends.torch.registry import RefusalError, handler
from snnir.ir import Value
from snnir.ir.lowering.enlarge import resized, transposed_conv

__all__ = ["pooled", "transposed"]


def transposed(call: Call) -> Value:
    """A transposed convolution of x[N, C, ...] with a known weight."""
    x, weight = call.value("input"), to_array(call.known("weight", "the weight"), "the weight")
    count = weight.ndim - 2
    if x.type.rank != weight.ndim:
        raise RefusalError(f"its input {x.type} has no batch; give x[N, C, ...]")
    padding = _each(call, "padding", count)
    bias = call.value("bias") if call.has("bias") else None
    stride, dilation, extra = (_each(call, name, count) for name in ("stride", "dilation", "output_padding"))
    return transposed_conv(call, x, weight, bias, stride, dilation, call.integer("groups", 1), padding, padding, extra)


def _each(call: Call, name: str, count: int) -> tuple[int, ...]:
    numbers = call.integers(name)
    return numbers * count if len(numbers) == 1 else numbers


for _axes in (1, 2, 3):
    handler(f"aten.conv_transpose{_axes}d", "conv", "pad", "reshape")(transposed)


def response(size: int, function: Callable[[torch.Tensor], torch.Tensor]) -> np.ndarray:
    """The matrix [out, in] of a linear map along one axis: what it makes of each unit vector, which it gets as a sample."""
    with torch.no_grad():
        columns: np.ndarray = function(torch.eye(size, dtype=torch.float64)[:, None]).numpy()[:, 0]
    return columns.T


_WIDE = 4
"""Elements along the other axes. PyTorch computes antialiased weights of images that are one element wide differently."""


def _resize(operator: str, spatial: int, *becomes: str) -> None:
    function = getattr(torch.ops.aten, operator).vec

    @handler(f"aten.{operator}.vec", *becomes)
    def resize(call: Call) -> Value:
        x = call.value("input")
        scales = call.given("scale_factors")
        given = None if scales is None else [float(scale) for scale in scales]
        targets = call.integers("output_size") if call.has("output_size") else None
        options: dict[str, object] = {"align_corners": call.flag("align_corners")} if "align_corners" in call.arguments else {}
        matrices = {}
        for place in range(spatial):
            (size,) = call.static((x.type.shape[2 + place],), "resizing")

            def along(eye: torch.Tensor, place: int = place, size: int = size) -> torch.Tensor:
                """Resizes one axis; along the others all elements are alike and stay."""
                shape = [size if axis == place else _WIDE for axis in range(spatial)]
                line = eye.reshape(size, 1, *(size if axis == place else 1 for axis in range(spatial)))
                wanted = None if targets is None else [targets[place] if axis == place else _WIDE for axis in range(spatial)]
                factors = None if given is None else [given[place] if axis == place else 1.0 for axis in range(spatial)]
                whole = line.expand(size, 1, *shape).contiguous()
                result: torch.Tensor = function(whole, output_size=wanted, scale_factors=factors, **options)
                return result.movedim(2 + place, -1).reshape(size, _WIDE ** (spatial - 1), -1)[:, :1]

            matrices[2 + place] = response(size, along)
        return resized(call, x, matrices)


for _name, _count in (("nearest1d", 1), ("nearest2d", 2), ("nearest3d", 3)):
    _resize(f"upsample_{_name}", _count, "gather")
    _resize(f"_upsample_nearest_exact{_name[-2:]}", _count, "gather")
for _name, _count in (("linear1d", 1), ("bilinear2d", 2), ("trilinear3d", 3), ("bicubic2d", 2)):
    _resize(f"upsample_{_name}", _count, "sparse_linear", "linear")
for _name in ("bilinear2d", "bicubic2d"):
    _resize(f"_upsample_{_name}_aa", 2, "sparse_linear", "linear")


def pooled(call: Call, targets: Sequence[int]) -> Value:
    """Means over windows of unequal sizes (`adaptive_avg_pool`), as a linear map."""
    x = call.value("self")
    sizes = call.static(x.type.shape[2:], "adaptive pooling to more than one place")
    matrices = {
        axis: response(size, lambda eye, target=target: torch.nn.functional.adaptive_avg_pool1d(eye, target))  # type: ignore[misc]
        for axis, (size, target) in enumerate(zip(sizes, targets, strict=True), 2)
    }
    return resized(call, x, matrices)
