"""Bodies of ops with weights: linear maps, convolutions, batch norm. Integer weights have a gain, a power of two."""

from __future__ import annotations

import numpy as np

from snnir.ir.ops import BatchNorm, Conv, Linear, Mul, SparseLinear
from snnir.ir.ops.affine import Weighted
from snnir.views.onnx_functions.body import F64, I64, Body, Term, writes

__all__: list[str] = []


def _expanded(body: Body, op: Weighted, weight: Term, kind: np.dtype) -> Term:
    """`weight * 2^gain` in the element type `kind`; what is wider than it is rounded to it only in the end."""
    if not any(op.gain):
        return weight.cast(kind)
    gains = op.gains(body.node.operands[1].type)
    return (weight.cast(I64) * body.constant(np.left_shift(np.int64(1), gains))).cast(kind)


def _common(*terms: Term) -> np.dtype:
    """The element type in which operands are computed with: that of real ones, i64 for integers."""
    wide = np.result_type(*(term.dtype for term in terms))
    return wide if wide.kind == "f" else I64


@writes("linear", "dense")
def _linear(body: Body, op: Linear, x: Term, weight: Term, *bias: Term) -> Term:
    kind = _common(x, weight, *bias)
    turned = _expanded(body, op, weight, kind).do("Transpose", perm=[1, 0])
    y = x.cast(kind).do("MatMul", turned)
    return y + bias[0].cast(kind) if bias else y


@writes("mul", "diagonal")
def _mul(body: Body, op: Mul, a: Term, b: Term) -> Term:
    kind = _common(a, b)
    return a.cast(kind) * _expanded(body, op, b, kind)


@writes("conv")
def _conv(body: Body, op: Conv, x: Term, weight: Term, *bias: Term) -> Term:
    """`Conv`, which standard operators have for real numbers only: of integers in float64, exact below 2^53."""
    kind = _common(x, weight, *bias)
    inner = kind if kind.kind == "f" else F64
    operands = [_expanded(body, op, weight, inner), *(term.cast(inner) for term in bias)]
    kernel = [size for size in body.node.operands[1].type.shape[2:] if isinstance(size, int)]
    pads, strides, dilations = list(op.padding), list(op.stride), list(op.dilation)
    return x.cast(inner).do(
        "Conv", *operands, kernel_shape=kernel, pads=pads, strides=strides, dilations=dilations, group=op.groups
    )


@writes("sparse_linear", "sparse")
def _sparse(body: Body, op: SparseLinear, x: Term, weight: Term, rows: Term, cols: Term) -> Term:
    """Every weight times its source, added up where its row stands."""
    kind = _common(x, weight)
    flat = x.cast(kind).reshaped(0, -1) if body.node.operands[0].type.rank > 1 else x.cast(kind).unsqueezed(1)
    products = flat.do("Gather", cols, axis=1) * _expanded(body, op, weight, kind)
    batch, count = x.size(0), int(np.prod(op.shape))
    zeros = body.like(0, kind).do("Expand", batch.do("Concat", body.integers([count]), axis=0))
    places = rows.do("Expand", products.do("Shape", dtype=I64))
    sums = zeros.do("ScatterElements", places, products, axis=1, reduction="add")
    return sums.do("Reshape", batch.do("Concat", body.integers(op.shape), axis=0) if op.shape else batch)


@writes("batch_norm")
def _batch_norm(body: Body, op: BatchNorm, *operands: Term) -> Term:
    kind = _common(*operands)
    x, *parameters = (term.cast(kind) for term in operands)
    if body.node.operands[0].type.rank > 1:
        return x.do("BatchNormalization", *parameters, epsilon=op.epsilon)
    scale, bias, mean, variance = parameters
    return (x - mean) / (variance + op.epsilon).do("Sqrt") * scale + bias
