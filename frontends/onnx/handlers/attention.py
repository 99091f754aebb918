"""Attention and embeddings as ONNX Runtime's optimiser for transformers writes them: one node for a block of many.

Operators of com.microsoft (docs/ContribOperators.md of ONNX Runtime): Attention, MultiHeadAttention, QAttention,
EmbedLayerNormalization, BiasSoftmax, BiasAdd. Masks hide what they hide: minus infinity stands where ONNX Runtime adds -10000.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.handlers.fused import via
from snnir.frontends.onnx.handlers.integer_operators import dequantized
from snnir.frontends.onnx.refused import reason_of
from snnir.frontends.onnx.registry import Known, RefusalError, Result, handler
from snnir.ir import Dimension, Value
from snnir.ir.lowering.compose import reshaped, times, transposed
from snnir.ir.ops import Add

__all__: list[str] = []

_MICROSOFT = ("com.microsoft",)
_BECOMES = ("matmul", "add", "softmax", "masked", "reshape", "transpose")


@handler("Attention", *_BECOMES, domains=_MICROSOFT)
def attention(call: Call) -> list[Result]:
    """ONNX Runtime's own: one matrix for queries, keys and values, masks of every form, a mask of what comes later, and a bias of
    the scores; no past. ONNX's operator of that name is written out before.
    """
    if call.node.domain not in _MICROSOFT:
        raise RefusalError(reason_of("Attention"))
    _refuse(call, {4: "past keys and values", 6: "a past of known length"})
    if call.integer("do_rotary", 0):
        raise RefusalError("it turns queries and keys (do_rotary); export the model before ONNX Runtime's optimisation")
    x = call.value(0)
    product = via(call, "MatMul", x, _operand(call, 1), label="product")
    return [_whole(call, product, 2, 3, 5)]


@handler("QAttention", *_BECOMES, "fake_quantize", domains=_MICROSOFT, quantizing=True)
def quantized_attention(call: Call) -> list[Result]:
    """The same with a matrix of integers and an input that is quantized before by a known scale."""
    _refuse(call, {8: "past keys and values"})
    x, weight = dequantized(call, 0, 3, 6, "x"), dequantized(call, 1, 4, 7, "weight", -1)
    return [_whole(call, via(call, "MatMul", x, weight, label="product"), 2, 5, -1)]


def _refuse(call: Call, operands: dict[int, str]) -> None:
    for index, what in operands.items():
        if call.has(index):
            raise RefusalError(f"it takes {what}; export the model without a cache (use_cache=False)")


def _operand(call: Call, index: int) -> Value | Known:
    operand = call.operands[index]
    assert isinstance(operand, Value | np.ndarray)
    return operand


def _whole(call: Call, product: Value, bias: int, mask: int, scores: int) -> Value:
    """Attention from the product that holds queries, keys and values side by side."""
    if call.has(bias):
        product = via(call, "Add", product, _operand(call, bias), label="projected")
    (total,) = call.static((product.type.shape[-1],), "the size of queries, keys and values")
    sizes = call.integers("qkv_hidden_sizes", (total // 3,) * 3)
    parts, start = [], 0
    for size, word in zip(sizes, ("query", "key", "value"), strict=True):
        ends = (np.array([start]), np.array([start + size]), np.array([-1]))
        parts.append(via(call, "Slice", product, *ends, label=word))
        start += size
    return _attended(call, parts, mask, scores, bool(call.integer("unidirectional", 0)))


@handler("MultiHeadAttention", *_BECOMES, domains=_MICROSOFT)
def multi_head_attention(call: Call) -> list[Result]:
    """Queries, keys and values [N, S, D] apart, or keys and values that are split already ([N, heads, L, d]); no past."""
    _refuse(call, {6: "past keys", 7: "past values", 8: "a past of known length"})
    if not (call.has(1) and call.has(2)):
        raise RefusalError("its queries, keys and values are packed into one tensor; export the model before the optimisation")
    parts = [call.value(index) for index in range(3)]
    if call.has(3):
        bias, sizes = call.known(3, "the bias"), [_hidden(call, part) for part in parts]
        ends = np.cumsum([0, *sizes])
        for index, part in enumerate(parts):
            if part.type.rank == 3:
                added = call.array(f"bias{index}", bias[ends[index] : ends[index + 1]])
                parts[index] = call.emit(Add(), part, added, label=f"biased{index}")
    return [_attended(call, parts, 4, 5, bool(call.integer("unidirectional", 0)))]


def _hidden(call: Call, part: Value) -> int:
    sizes = part.type.shape[-1:] if part.type.rank == 3 else (part.type.shape[1], part.type.shape[3])
    return int(np.prod(call.static(tuple(sizes), "the size of the heads")))


def _attended(call: Call, parts: Sequence[Value], mask: int, scores: int, causal: bool) -> Value:
    """`softmax(q k^T scale + bias) v` for each head (arXiv:1706.03762, equation 1), and the heads side by side again."""
    heads = call.integer("num_heads", 1)
    query, key, value = (_split(call, part, heads, word) for part, word in zip(parts, ("q", "k", "v"), strict=True))
    (size,) = call.static((query.type.shape[3],), "the size of a head")
    scaled = times(call, query, call.number("scale", 0.0) or 1 / float(np.sqrt(size)), "scaled")
    found = via(call, "MatMul", scaled, transposed(call, key, (0, 1, 3, 2), "turned"), label="scores")
    if scores >= 0 and call.has(scores):
        found = via(call, "Add", found, _operand(call, scores), label="shifted")
    seen = _seen(call, mask, found) if call.has(mask) else None
    if seen is not None:
        found = via(call, "Where", seen, found, np.array(-np.inf, np.float32), label="masked")
    if causal:
        steps, length = call.static(found.type.shape[2:], "a mask of what comes later")
        earlier = np.tri(steps, length, length - steps, dtype=bool)
        found = via(call, "Where", earlier, found, np.array(-np.inf, np.float32), label="causal")
    weights = via(call, "Softmax", found, axis=-1, label="weights")
    heard = via(call, "MatMul", weights, value, label="heard")
    batch, _, steps_, width = heard.type.shape
    merged: tuple[Dimension, ...] = (batch, steps_, width * heads)
    return reshaped(call, transposed(call, heard, (0, 2, 1, 3), "joined"), merged)


def _split(call: Call, part: Value, heads: int, word: str) -> Value:
    """[N, S, heads d] as [N, heads, S, d]."""
    if part.type.rank == 4:
        return part
    batch, steps, width = part.type.shape
    (size,) = call.static((width,), "the size of the heads")
    apart: tuple[Dimension, ...] = (batch, steps, heads, size // heads)
    return transposed(call, reshaped(call, part, apart, f"{word}.apart"), (0, 2, 1, 3), f"{word}.heads")


def _seen(call: Call, index: int, scores: Value) -> Value | Known:
    """Which keys each query sees, as truth that spreads over the scores [N, heads, S, L]."""
    mask = _operand(call, index)
    rank = mask.type.rank if isinstance(mask, Value) else mask.ndim
    if rank == 1:  # how many keys are no padding
        (length,) = call.static((scores.type.shape[3],), "a mask by lengths")
        column = _either(call, "Unsqueeze", mask, np.array([1]), label="lengths")
        mask, rank = _either(call, "Greater", column, np.arange(length, dtype=np.int32)[None], label="mask"), 2
    else:
        mask = _either(call, "Cast", mask, to=onnx.TensorProto.BOOL, label="mask")
    if rank == 4:
        return mask
    return _either(call, "Unsqueeze", mask, np.array([1, 2] if rank == 2 else [1]), label="seen")


def _either(call: Call, operator: str, *operands: Value | Known, label: str, **attributes: object) -> Value | Known:
    """`via`, or what the operator gives where all operands are known."""
    if any(isinstance(operand, Value) for operand in operands):
        return via(call, operator, *operands, label=label, **attributes)
    array = np.asarray(operands[0])
    if operator == "Cast":
        return array.astype(bool)
    if operator == "Greater":
        return np.asarray(array > operands[1])
    return np.expand_dims(array, tuple(int(axis) for axis in np.asarray(operands[1])))


@handler("EmbedLayerNormalization", "lookup", "gather", "add", "reduce_mean", "sub", "mul", "sqrt", "div", domains=_MICROSOFT)
def embed_layer_normalization(call: Call) -> list[Result]:
    """Words, places and kinds of tokens looked up, summed and normalised; how many tokens are no padding; and the sum."""
    words = _looked_up(call, 2, call.operands[0], "words")
    steps = call.static((words.type.shape[1],), "places of tokens")[0] if not call.has(8) else 0
    places = _operand(call, 8) if call.has(8) else np.arange(steps)[None]
    total = via(call, "Add", words, _gathered(call, 3, places, "places"), label="placed")
    if call.has(4):
        kinds = _operand(call, 1) if call.has(1) else np.zeros((1, 1), np.int64)
        total = via(call, "Add", total, _gathered(call, 4, kinds, "kinds"), label="told")
    scale, shift = _operand(call, 5), _operand(call, 6)
    found = via(call, "LayerNormalization", total, scale, shift, epsilon=call.number("epsilon", 1e-12))
    results: list[Result] = [found]
    if len(call.node.output) > 1 and call.node.output[1]:
        results.append(_lengths(call))
    return [*results, *([total] if len(call.node.output) > 2 else [])]


def _looked_up(call: Call, table: int, index: object, label: str) -> Value:
    found = _gathered(call, table, index, label)
    if not isinstance(found, Value):
        raise RefusalError("its tokens are known while importing")
    return found


def _gathered(call: Call, table: int, index: object, label: str) -> Value | Known:
    rows = call.known(table, f"the table of {label}")
    if isinstance(index, np.ndarray):
        return np.asarray(rows[index.astype(np.int64)])
    assert isinstance(index, Value)
    return via(call, "Gather", rows, index, axis=0, label=label)


def _lengths(call: Call) -> Value | Known:
    """How many tokens of each sample the mask keeps; 0 without a mask."""
    if not call.has(7):
        return np.zeros(1, np.int32)
    mask = _operand(call, 7)
    if isinstance(mask, np.ndarray):
        return np.asarray(mask.sum(1, dtype=np.int32))
    return via(call, "ReduceSum", mask, np.array([1]), keepdims=0, label="lengths")


@handler("BiasSoftmax", "add", "softmax", domains=_MICROSOFT)
def bias_softmax(call: Call) -> list[Result]:
    """Softmax of a sum, over the axes from `axis` on merged."""
    x = via(call, "Add", call.value(0), _operand(call, 1), label="sum")
    axis = call.axis(call.integer("axis", 1), x.type.rank)
    if axis != x.type.rank - 1:
        raise RefusalError(f"it normalises all axes from {axis} on merged; save the model with less optimisation")
    return [via(call, "Softmax", x, axis=axis)]


@handler("BiasAdd", "add", domains=_MICROSOFT)
def bias_add(call: Call) -> list[Result]:
    """The sum of what it takes, a bias and what is skipped."""
    return [call.emit(Add(), via(call, "Add", call.value(0), _operand(call, 1), label="biased"), call.value(2))]
