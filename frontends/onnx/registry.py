"""Which function imports which ONNX operator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from snnir.ir import Value
from snnir.ir.lowering import RefusalError

if TYPE_CHECKING:
    from snnir.frontends.onnx.call import Call

__all__ = [
    "BECOMES",
    "FAMILIAR",
    "HANDLERS",
    "INTEGERS",
    "WORDS",
    "Known",
    "Marker",
    "RefusalError",
    "Result",
    "conditions",
    "handler",
    "integer_handler",
    "onnx_operators",
]

Known = np.ndarray
"""A tensor known while importing; of dtype object where it holds named dimensions."""


class Marker:
    """Something that a name stands for inside a loop and that is no tensor, such as a buffer written at one index."""

    def misuse(self) -> str:
        """Why a node cannot take it."""
        return "it takes part of a loop's bookkeeping as a tensor"


Result = Value | Known | Marker
Handler = Callable[["Call"], Sequence[Result]]


HANDLERS: dict[str, Handler] = {}
INTEGERS: dict[str, Handler] = {}
"""Operators that mean something of their own where an operand that changes with the input holds integers or truth."""
FAMILIAR = (
    "ArrayFeatureExtractor", "Attention", "BitCast", "Cast", "CastLike", "CenterCropPad", "Compress", "Concat",
    "ConstantOfShape", "DepthToSpace", "Dropout", "EmbedLayerNormalization", "Expand", "EyeLike", "Flatten", "GRU", "Gather",
    "GatherElements", "GatherND", "Identity", "If", "LSTM", "LabelEncoder", "Loop", "MultiHeadAttention", "QAttention",
    "QuantizeLinear", "RNN", "Range", "Reshape", "ReverseSequence", "Scan", "Shape", "Size", "Slice", "SpaceToDepth", "Split",
    "Scatter", "ScatterElements", "Squeeze", "Tile", "TopK", "Transpose", "Unsqueeze", "ZipMap",
)  # fmt: skip
"""Operators whose handlers take integers as they take real numbers."""
WORDS = (
    "ArrayFeatureExtractor", "Concat", "Equal", "Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Identity", "If",
    "LabelEncoder", "Loop", "Reshape", "Shape", "Size", "Slice", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze",
)  # fmt: skip
"""Operators that take words."""
DOMAINS: dict[str, set[str]] = {"": set(), "ai.onnx": set()}
"""Operators with a handler by domain; those of ONNX's own domain are all the others, too."""
QUANTIZING: set[str] = set()
"""Operators of quantized models. They are handled where their operands are known, too: what they give is exact."""
BECOMES: dict[str, tuple[str, ...]] = {}
"""The ops of the IR that each operator becomes; none where it vanishes. The package fills the tables when it is imported."""


def handler(operator: str, *becomes: str, domains: Sequence[str] = (), quantizing: bool = False) -> Callable[[Handler], Handler]:
    """Decorator: the function imports ONNX `operator`, which becomes the named ops of the IR (none: it vanishes).

    `domains` are those that the operator may come from besides, or instead of, ONNX's own.
    """

    def enter(function: Handler) -> Handler:
        HANDLERS[operator] = function
        BECOMES[operator] = tuple(dict.fromkeys((*becomes, *BECOMES.get(operator, ()))))
        for domain in domains:
            DOMAINS.setdefault(domain, set()).add(operator)
        if quantizing:
            QUANTIZING.add(operator)
        return function

    return enter


def integer_handler(operator: str, *becomes: str) -> Callable[[Handler], Handler]:
    """Decorator: the function imports ONNX `operator` where an operand that changes with the input has an integer type.

    What only integers have, such as a shift of bits, is registered as the operator's handler too.
    """

    def enter(function: Handler) -> Handler:
        INTEGERS[operator] = function
        HANDLERS.setdefault(operator, function)
        BECOMES[operator] = tuple(dict.fromkeys((*BECOMES.get(operator, ()), *becomes)))
        return function

    return enter


def onnx_operators() -> dict[str, list[str]]:
    """For each op of the IR, the ONNX operators that become it."""
    table: dict[str, list[str]] = {}
    for operator, ops in sorted(BECOMES.items()):
        for op in ops:
            table.setdefault(op, []).append(operator)
    return table


def conditions() -> list[tuple[str, tuple[str, ...], str]]:
    """Each ONNX operator that becomes ops of the IR, those ops, and on what conditions, as its handler says."""
    rows = []
    for operator, ops in sorted(BECOMES.items()):
        if ops:
            said = " ".join((HANDLERS[operator].__doc__ or "").split())
            whole = INTEGERS.get(operator, HANDLERS[operator])
            if whole is not HANDLERS[operator]:
                said = f"{said} Of integers: {' '.join((whole.__doc__ or '').split())}".strip()
            rows.append((operator, ops, said))
    return rows
