"""Operators that give more elements than they take: transposed convolutions and resizing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.compose import plus, real, reshaped
from snnir.frontends.onnx.quantizers import quantize, stored_again, stored_of
from snnir.frontends.onnx.registry import RefusalError, Result, handler
from snnir.frontends.onnx.stored import Stored
from snnir.ir import Dim, Value
from snnir.ir.lowering.enlarge import resized, transposed_conv
from snnir.ir.ops import Expand

__all__: list[str] = []


@handler("ConvTranspose", "conv", "pad", "reshape")
def conv_transpose(call: Call) -> list[Result]:
    """Known weights: zeros between the elements (data movement), then a convolution with the kernel turned around."""
    x, weight = real(call, 0), call.known(1, "the weight")
    kernel, groups = weight.shape[2:], call.integer("group", 1)
    ones = (1,) * len(kernel)
    stride, dilation = call.integers("strides", ones), call.integers("dilations", ones)
    extra = call.integers("output_padding", (0,) * len(kernel))
    spans = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    begins, ends = _cut(call, x, stride, spans, extra)
    bias = call.value(2) if call.has(2) else None
    return [transposed_conv(call, x, weight, bias, stride, dilation, groups, begins, ends, extra)]


def _cut(call: Call, x: Value, stride: Sequence[int], spans: Sequence[int], extra: Sequence[int]) -> tuple[list[int], list[int]]:
    """What is cut off the full result at both ends of each axis (ONNX operator specification, ConvTranspose)."""
    count, mode = len(stride), call.word("auto_pad", "NOTSET")
    wanted = call.integers("output_shape", ())
    if not wanted and mode == "VALID":
        return [0] * count, [0] * count
    if not wanted and mode == "NOTSET":
        pads = list(call.integers("pads", (0,) * (2 * count)))
        return pads[:count], pads[count:]
    begins, ends = [], []
    for axis in range(count):
        (size,) = call.static((x.type.shape[2 + axis],), f"auto_pad {mode}")
        target = wanted[-count:][axis] if wanted else size * stride[axis]
        total = stride[axis] * (size - 1) + extra[axis] + spans[axis] + 1 - target  # below 0 where the result is enlarged
        small, large = total // 2, total - total // 2
        begins.append(small if mode == "SAME_UPPER" else large)
        ends.append(large if mode == "SAME_UPPER" else small)
    return begins, ends


@handler("Upsample", "gather", "sparse_linear")
def upsample(call: Call) -> list[Result]:
    """ONNX's older Resize: known scales, nearest or linear."""
    return [_resized(call)]


@handler("Resize", "gather", "sparse_linear", "linear", "add")
def resize(call: Call) -> list[Result]:
    """Known scales or sizes: nearest is data movement, linear and cubic are linear maps. Of the integers of a quantized model
    ONNX Runtime cuts off what follows the point: a quantizer of its own.
    """
    entry = None if call.word("mode", "nearest") == "nearest" else stored_of(call, call.value(0))
    return [_resized(call) if entry is None else _cut_off(call, entry)]


def _cut_off(call: Call, entry: Stored) -> Value:
    """`trunc` of the resized integers, as levels of the same scale and zero point."""
    assert entry.real is not None and entry.scale is not None
    node = onnx.NodeProto()
    node.CopyFrom(call.node)
    node.output[0] = f"{call.name()}.resized"
    part = call.scope.call(node, [entry.real, *call.operands[1:]])
    part.opset, part.origin = call.opset, call.origin
    found, scale, zero = _resized(part), np.array(entry.scale), np.array(entry.zero)
    if entry.bounds[0] >= 0:
        return quantize(call, found, scale, zero, entry.bounds, "floor")
    if not entry.zero:
        return quantize(call, found, scale, zero, entry.bounds, "to-zero")
    shifted = plus(call, found, np.array(entry.scale * entry.zero), "shifted")  # the integers themselves are cut off
    rounded = quantize(call, shifted, scale, np.zeros((), np.int64), entry.bounds, "to-zero", False, label="levels")
    back = plus(call, rounded, np.array(-entry.scale * entry.zero), "moved")
    return stored_again(call, back, entry)


def _resized(call: Call) -> Value:
    x = real(call, 0)
    scales, sizes = _targets(call, x)
    places = [axis for axis in range(x.type.rank) if scales[axis] != 1 or (sizes[axis] not in (0, x.type.shape[axis]))]
    if x.type.batch_axis in places:
        raise RefusalError("it resizes the batch")
    if call.word("coordinate_transformation_mode", "half_pixel") == _CROP:
        places = [axis for axis in range(x.type.rank) if axis != x.type.batch_axis]
    matrices: dict[int, np.ndarray] = {}
    for axis in places:
        if isinstance(x.type.shape[axis], Dim) and _repeats(call, axis, x.type.rank, scales[axis], sizes[axis]):
            x = _repeated(call, x, axis, int(scales[axis]))
            continue
        (size,) = call.static((x.type.shape[axis],), "resizing")
        matrices[axis] = _matrix(call, axis, x.type.rank, size, scales[axis], sizes[axis])
    found = resized(call, x, matrices)
    filling = call.number("extrapolation_value", 0.0) if call.word("coordinate_transformation_mode", "") == _CROP else 0.0
    return found if filling == 0 else plus(call, found, filling * _outside(found.type.rank, matrices), "filled")


_CROP = "tf_crop_and_resize"
_TRIED = 7


def _repeats(call: Call, axis: int, rank: int, scale: float, target: int) -> bool:
    """Whether resizing repeats each element along an axis, whatever its size: by a whole factor, to the nearest element."""
    if target or scale != int(scale) or scale < 1 or call.word("mode", "nearest") != "nearest":
        return False
    return np.array_equal(_matrix(call, axis, rank, _TRIED, scale, 0), np.eye(_TRIED).repeat(int(scale), axis=0))


def _repeated(call: Call, x: Value, axis: int, count: int) -> Value:
    shape = x.type.shape
    apart = reshaped(call, x, (*shape[: axis + 1], 1, *shape[axis + 1 :]), f"axis{axis}.apart")
    copies = call.emit(Expand((*shape[: axis + 1], count, *shape[axis + 1 :])), apart, label=f"axis{axis}.copies")
    return reshaped(call, copies, (*shape[:axis], shape[axis] * count, *shape[axis + 1 :]), f"axis{axis}.repeated")


def _outside(rank: int, matrices: Mapping[int, np.ndarray]) -> np.ndarray:
    """1 where a result lies outside what is resized: along some axis it takes no element."""
    inside = np.ones((1,) * rank)
    for axis, matrix in matrices.items():
        inside = inside * matrix.any(1).reshape([-1 if place == axis else 1 for place in range(rank)])
    return np.asarray(1 - inside)


def _targets(call: Call, x: Value) -> tuple[list[float], list[int]]:
    """The scale of each axis, and its size where that is given (else 0)."""
    rank = x.type.rank
    axes = [call.axis(axis, rank) for axis in call.integers("axes", tuple(range(rank)))]
    scales, sizes = [1.0] * rank, [0] * rank
    place = 1 if call.node.op_type == "Upsample" or call.opset < 11 else 2
    if call.has(3) and call.known(3, "the sizes").size:
        policy = call.word("keep_aspect_ratio_policy", "stretch")
        known = call.known(3, "the sizes").reshape(-1).tolist()
        if policy != "stretch":
            found = call.static(tuple(x.type.shape[axis] for axis in axes), f"keep_aspect_ratio_policy {policy}")
            ratios = [int(number) / size for number, size in zip(known, found, strict=True)]
            scale = min(ratios) if policy == "not_larger" else max(ratios)  # one for all axes (ONNX operator specification)
            for axis, length in zip(axes, found, strict=True):
                scales[axis], sizes[axis] = scale, int(np.floor(scale * length + 0.5))
            return scales, sizes
        for axis, number in zip(axes, known, strict=True):
            size = x.type.shape[axis]
            if number == size or (axis == x.type.batch_axis and number == call.fixed_batch):
                continue
            if isinstance(number, Dim) or isinstance(size, Dim):
                raise RefusalError(f"it resizes {size} elements to {number}; both must be known")
            sizes[axis], scales[axis] = int(number), int(number) / size
        return scales, sizes
    given = call.known(place, "the scales").reshape(-1).tolist()
    for axis, number in zip(axes, given, strict=True):
        scales[axis] = float(number)
    return scales, sizes


def _matrix(call: Call, axis: int, rank: int, size: int, scale: float, target: int) -> np.ndarray:
    """The map along one axis, [out, in], asked of ONNX's reference evaluator: its response to each element."""
    from onnx.reference import ReferenceEvaluator

    names = ("mode", "coordinate_transformation_mode", "nearest_mode", "cubic_coeff_a", "exclude_outside", "antialias")
    attributes: dict[str, Any] = {name: call.attribute(name) for name in names if call.attribute(name) is not None}
    roi = call.known(1, "the region") if call.node.op_type == "Resize" and call.has(1) and call.operands[1] is not None else None
    axes = [call.axis(place, rank) for place in call.integers("axes", tuple(range(rank)))]
    feeds = {"scales": np.array([scale], np.float32)} if not target else {"sizes": np.array([target], np.int64)}
    if roi is not None and roi.size and axis in axes:
        place = axes.index(axis)
        feeds["roi"] = np.array([roi[place], roi[place + len(axes)]], np.float32)
    inputs = ["x", *(name if name in feeds else "" for name in ("roi", "scales", "sizes"))]
    node = onnx.helper.make_node("Resize", inputs, ["y"], **attributes)
    infos = [onnx.helper.make_empty_tensor_value_info(name) for name in ("x", *feeds)]
    graph = onnx.helper.make_graph([node], "axis", infos, [onnx.helper.make_empty_tensor_value_info("y")])
    opset = onnx.helper.make_opsetid("", max(call.opset, 18))
    evaluator = ReferenceEvaluator(onnx.helper.make_model(graph, opset_imports=[opset]))
    if call.word("mode", "nearest") == "nearest":  # one question: which element does each take?
        (order,) = evaluator.run(None, {"x": np.arange(1, size + 1, dtype=np.float32), **feeds})
        return np.asarray(np.asarray(order).reshape(-1, 1) == np.arange(1, size + 1), dtype=np.float64)
    columns = [np.asarray(next(iter(evaluator.run(None, {"x": unit, **feeds})))) for unit in np.eye(size, dtype=np.float32)]
    return np.stack(columns, 1).astype(np.float64)
