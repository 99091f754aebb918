"""Rows of tables by token, and bags of them."""

from __future__ import annotations

import numpy as np
import torch

from snnir.frontends.torch.call import Call
from snnir.frontends.torch.registry import Entry, RefusalError, Steps, Unknown, handler
from snnir.ir import Dimension, Value
from snnir.ir.dims import product
from snnir.ir.lowering.compose import along_axis, largest_over, reshaped, sum_over
from snnir.ir.ops import Concat, Lookup, Mul, ReduceMean, Slice

__all__: list[str] = []


@handler("aten.embedding", "lookup")
def embedding(call: Call) -> Value:
    """Rows of a known table by tokens."""
    table = call.known("weight", "the table")
    return call.emit(Lookup(), call.constant("weight", table), call.value("indices"))


@handler("aten.one_hot", "lookup")
def one_hot(call: Call) -> Value:
    """Rows of the unit matrix, of a known number of classes."""
    classes = call.integer("num_classes", -1)
    if classes < 1:
        raise RefusalError("its number of classes depends on the input; name num_classes")
    return call.emit(Lookup(), call.array("unit", np.eye(classes, dtype=np.float32)), call.value("self"))


_SUM, _MEAN, _MAX = range(3)


@handler("aten.embedding_bag", "lookup", "linear", "reduce_mean", "max_pool", "mul", "reshape")
def embedding_bag(call: Call) -> list[Entry]:
    """Sums, means or maxima of rows of a known table, in bags of one size or at constant offsets."""
    table, mode = call.known("weight", "the table"), call.integer("mode")
    padding = call.integer("padding_idx", -1) if call.has("padding_idx") else -1
    if padding >= 0:
        if mode != _SUM:
            raise RefusalError("it leaves out tokens (padding_idx), of which there may be any number; only sums do without them")
        table = table.clone()
        table[padding] = 0
    tokens, offsets = call.value("indices"), call.given("offsets")
    if isinstance(offsets, Steps):
        bags, size = _bags(tokens, offsets)
        tokens = reshaped(call, tokens, (bags, size), "bags")
    rows = call.emit(Lookup(), call.constant("weight", table), tokens, label="rows")
    if call.has("per_sample_weights"):
        weights = call.value("per_sample_weights")
        column = reshaped(call, weights, (*tokens.type.shape, 1), "weights")
        rows = call.emit(Mul(), rows, column, label="weighted")
    whole = _of_one_size(call, rows, mode) if isinstance(offsets, Steps) else _at_offsets(call, rows, offsets, mode)
    unused = Unknown("it takes the bookkeeping of an embedding bag; only its rows are supported")
    return [whole, unused, unused, unused]


def _bags(tokens: Value, offsets: Steps) -> tuple[Dimension, Dimension]:
    """How many bags there are, and of how many tokens: offsets 0, size, 2 size, ... up to all tokens."""
    total = product(tokens.type.shape)
    if offsets.start != 0 or offsets.stop != total:
        raise RefusalError("its bags do not divide the tokens into parts of one size")
    return total // offsets.step, offsets.step


def _of_one_size(call: Call, rows: Value, mode: int) -> Value:
    """Over axis 1 of rows[bags, size, width]."""
    call.static(rows.type.shape[1:2], "an embedding bag")
    if mode == _MEAN:
        return call.emit(ReduceMean((1,), False), rows)
    return (sum_over if mode == _SUM else largest_over)(call, rows, (1,), False)


def _at_offsets(call: Call, rows: Value, offsets: Entry, mode: int) -> Value:
    """Of rows[tokens, width], in bags that begin at constant offsets; an empty bag gives 0."""
    if not isinstance(offsets, torch.Tensor):
        raise RefusalError("its offsets change with the input; give tokens[N, T], or constant offsets")
    (count,) = call.static((rows.type.shape[0],), "an embedding bag with offsets")
    starts = [int(start) for start in offsets.tolist()]
    last = call.flag("include_last_offset")
    starts, ends = (starts[:-1], starts[1:]) if last else (starts, [*starts[1:], count])
    matrix = np.zeros((len(starts), count))
    for place, (start, end) in enumerate(zip(starts, ends, strict=True)):
        matrix[place, start:end] = 1 / max(end - start, 1) if mode == _MEAN else 1
    if mode != _MAX:
        return along_axis(call, rows, 0, matrix)
    if any(end <= start for start, end in zip(starts, ends, strict=True)):
        raise RefusalError("it takes the maximum of a bag without tokens")
    most = []
    for place, (start, end) in enumerate(zip(starts, ends, strict=True)):
        bag = call.emit(Slice(0, start, end), rows, label=f"bag{place}")
        most.append(largest_over(call, bag, (0,), True, f"bag{place}.largest"))
    return call.emit(Concat(0), *most)
