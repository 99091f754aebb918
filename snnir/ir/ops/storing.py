"""Integers as a file stores them, rounded on the host by scales that no threshold could have."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from snnir.errors import GraphError, InputError
from snnir.ir.op import FLOAT, QUANTIZED, SPIKING, Example, Op, Trait, register
from snnir.ir.ops.rules import broadcast, example, is_number
from snnir.ir.types import DTYPES, TensorType

__all__ = ["DynamicStore", "Store"]


@register
@dataclass(frozen=True)
class Store(Op):
    """ONNX `QuantizeLinear`: `clip(round(x / scale) + zero, lo, hi)`, in float32, halves to the even one, as integers `to`.

    Scale and zero point spread over `x`; they may change with the input, or differ from channel to channel.
    """

    name = "store"
    traits = frozenset({Trait.BROADCASTING})
    operands = ("x", "scale", "zero")
    levels = (FLOAT, QUANTIZED, SPIKING)
    host = True

    to: str = "u8"
    lo: int = 0
    hi: int = 255

    def __post_init__(self) -> None:
        if self.to not in ("i8", "u8", "i16", "u16") or not (
            np.iinfo(DTYPES[self.to]).min <= self.lo < self.hi <= np.iinfo(DTYPES[self.to]).max
        ):
            raise GraphError(f"store as {self.to} from {self.lo} to {self.hi}")

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        x, scale, zero = types
        if not (is_number(x) and is_number(scale) and zero.is_weight):
            raise GraphError(f"store takes real numbers, real scales and integer zero points, found {x}, {scale}, {zero}")
        if broadcast(x.shape, scale.shape, zero.shape) != x.shape:
            raise GraphError(f"scale {scale} and zero point {zero} do not spread over {x}")
        return (TensorType(x.shape, self.to),)

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        x, scale, zero = arrays
        if not (scale > 0).all():
            raise InputError(f"it quantizes by a scale of {scale.min()}; scales must be positive")
        with np.errstate(over="ignore"):
            ratio = np.rint(x.astype(np.float32) / scale.astype(np.float32)).astype(np.float64)
        return (np.clip(ratio + zero, self.lo, self.hi).astype(DTYPES[self.to]),)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        x = np.linspace(-4, 4, 12, dtype=np.float32).reshape(3, 4)
        yield example(cls(), x, np.array(0.1, np.float32), np.array(3, np.uint8))
        channels = np.array([[0.1], [0.5], [2.0]], np.float32), np.array([[0], [3], [-7]], np.int8)
        yield example(cls("i8", -8, 7), x, *channels)


@register
@dataclass(frozen=True)
class DynamicStore(Op):
    """ONNX `DynamicQuantizeLinear`: the integers of the whole of `x`, 0 to 255, with the scale and zero point found for it.

    `scale = (max(x, 0) - min(x, 0)) / 255`, or 1 where all is 0, and `zero = round(-min(x, 0) / scale)`, in float32.
    One scale for all samples would make each depend on the others, so a batch is refused.
    """

    name = "dynamic_store"
    operands = ("x",)
    levels = (FLOAT, QUANTIZED, SPIKING)
    host = True

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        (x,) = types
        if not is_number(x):
            raise GraphError(f"dynamic_store takes real numbers, found {x}")
        if x.batch_axis is not None:
            raise GraphError("it finds one scale for all samples of a batch, so that each would depend on the others")
        return TensorType(x.shape, "u8"), TensorType((), "f32"), TensorType((), "u8")

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        x = arrays[0].astype(np.float32)
        low, high = np.float32(x.min(initial=0)), np.float32(x.max(initial=0))
        scale = (high - low) / np.float32(255) if high > low else np.float32(1)
        zero = np.rint(np.clip(-low / scale, 0, 255))
        stored = np.clip(np.rint(x / scale) + zero, 0, 255)
        return stored.astype(np.uint8), np.asarray(scale, np.float32), np.asarray(zero, np.uint8)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield example(cls(), np.array([[0, 2, -3], [-2.5, 1.34, 0.5]], np.float32))
        yield example(cls(), np.zeros((2, 2), np.float32))
