"""The registry of meanings: for each op of the IR, one function on torch tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np
import torch

from snnir.errors import UnsupportedError
from snnir.ir import Graph, Op, Value
from snnir.ir.types import TensorType

__all__ = ["DTYPES", "ELSEWHERE", "MEANINGS", "Meaning", "is_words", "meaning", "meaning_of", "real", "refuse_words", "tensor_of"]

Meaning = Callable[..., tuple[torch.Tensor, ...]]
"""Given the op, with its named sizes bound, and operand tensors: the results."""

MEANINGS: dict[type[Op], Meaning] = {}
"""Meanings by the class of the op, filled by `meaning`."""

ELSEWHERE: Mapping[str, str] = {
    "scan": "a loop over its body: `evaluation.py`",
    "encode": "of the spiking level",
    "dense": "of the spiking level",
    "diagonal": "of the spiking level",
    "sparse": "of the spiking level",
    "bif": "of the spiking level",
    "rbif": "of the spiking level",
    "fs": "of the spiking level",
    "rfs": "of the spiking level",
    "accumulate": "of the spiking level",
    "function": "the integer ops of its body: `functions.py`",
    "readout": "of the spiking level",
    "clock": "of the spiking level",
    "if": "of the spiking level",
}
"""Ops without an entry in `MEANINGS`, and why."""

DTYPES = {
    name: {"f32": torch.float32, "f64": torch.float64, "bool": torch.bool}.get(
        name, getattr(torch, f"{'u' * (name[0] == 'u')}int{name[1:]}") if name[0] in "iu" and name[1:].isdigit() else torch.int64
    )
    for name in ("f32", "f64", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64", "bool", "int", "spike", "acc", "current")
}
"""Torch's dtypes for the element types of the IR."""

_Function = TypeVar("_Function", bound=Meaning)


def meaning(*ops: type[Op]) -> Callable[[_Function], _Function]:
    """Decorator: the function is what `ops` mean."""

    def enter(function: _Function) -> _Function:
        for op in ops:
            assert op not in MEANINGS, f"op {op.name} has two meanings"
            MEANINGS[op] = function
        return function

    return enter


def meaning_of(op: Op) -> Meaning:
    """The meaning of an op. Raises `UnsupportedError` where it has none in torch."""
    if type(op) not in MEANINGS:
        raise UnsupportedError(f"op {op.name} has no meaning in torch: it is {ELSEWHERE.get(op.name, 'unknown')}")
    return MEANINGS[type(op)]


def tensor_of(array: np.ndarray) -> torch.Tensor:
    """A tensor with a copy of `array` (constants of a graph are read-only)."""
    return torch.from_numpy(np.array(array, copy=True, order="C"))


def is_words(value: Value) -> bool:
    """Whether the value holds words, which are no tensors: outputs of words, such as labels, are left out."""
    return value.type.dtype == "str"


def refuse_words(graph: Graph) -> None:
    """Raises `UnsupportedError` where words are more than what the graph gives out: an input, or compared."""
    for value in graph.inputs:
        if is_words(value):
            raise UnsupportedError(f"input {value.name} holds words, which are no tensors of torch")
    for _, node in graph.walk():
        if any(is_words(value) for value in node.operands) and not all(is_words(value) for value in node.outputs):
            raise UnsupportedError(f"{node.describe()}: it computes with words, which are no tensors of torch")


def real(x: torch.Tensor, type_: TensorType) -> torch.Tensor:
    """The real numbers (f32) that levels stand for; anything else as it is."""
    if type_.quantization is None:
        return x
    return (x.double() * type_.quantization.scale).float()
