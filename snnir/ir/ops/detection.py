"""What the host does with detections: of overlapping boxes the best are kept."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from snnir.errors import GraphError
from snnir.ir.dims import dim
from snnir.ir.op import FLOAT, QUANTIZED, SPIKING, Example, Op, register
from snnir.ir.ops.rules import example
from snnir.ir.types import TensorType

__all__ = ["NonMaxSuppression"]


@register
@dataclass(frozen=True)
class NonMaxSuppression(Op):
    """Indices [selected, 3] (sample, class, box) of boxes that overlap no better one, ONNX `NonMaxSuppression`.

    boxes[N, B, 4] are two opposite corners (y, x, y, x), or with `center` (x, y, width, height); scores[N, C, B]. In each sample
    and class, boxes are taken by falling score, of equal ones the first; a box is kept if its score is above `least` and its
    intersection over union with every box kept before is at most `overlap`, until `count` are kept.
    """

    name = "non_max_suppression"
    operands = ("boxes", "scores")
    levels = (FLOAT, QUANTIZED, SPIKING)
    host = True

    count: int = 1
    overlap: float = 0.0
    least: float = float("-inf")
    center: bool = False

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        boxes, scores = types
        fits = boxes.rank == scores.rank == 3 and boxes.shape[2] == 4 and boxes.shape[1] == scores.shape[2]
        fits = fits and boxes.is_real and scores.is_real
        if not fits or boxes.shape[0] != scores.shape[0]:
            raise GraphError(f"{self.name} needs boxes[N, B, 4] and scores[N, C, B], found {boxes} and {scores}")
        return (TensorType((dim("selected"), 3), "i64"),)

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        boxes, scores = self._corners(arrays[0].astype(np.float64)), arrays[1]
        rows = [
            (sample, kind, box)
            for sample in range(scores.shape[0])
            for kind in range(scores.shape[1])
            for box in self._kept(boxes[sample], scores[sample, kind])
        ]
        return (np.array(rows, np.int64).reshape(-1, 3),)

    def _corners(self, boxes: np.ndarray) -> np.ndarray:
        """Least corner, then greatest."""
        if self.center:
            middle, half = boxes[..., :2], boxes[..., 2:] / 2
            return np.concatenate([middle - half, middle + half], axis=-1)
        first, second = boxes[..., :2], boxes[..., 2:]
        return np.concatenate([np.minimum(first, second), np.maximum(first, second)], axis=-1)

    def _kept(self, boxes: np.ndarray, scores: np.ndarray) -> list[int]:
        kept: list[int] = []
        areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
        for box in np.argsort(-scores, kind="stable"):
            if len(kept) == self.count or not scores[box] > self.least:
                break
            sides = np.minimum(boxes[kept, 2:], boxes[box, 2:]) - np.maximum(boxes[kept, :2], boxes[box, :2])
            shared = np.prod(np.maximum(sides, 0), axis=1)
            if (shared <= self.overlap * (areas[kept] + areas[box] - shared)).all():
                kept.append(int(box))
        return kept

    @classmethod
    def examples(cls) -> Iterable[Example]:
        boxes = np.array([[[0, 0, 1, 1], [0, 0.1, 1, 1.1], [0, 3, 1, 2], [0, 0, 1, 1]]], np.float32)
        scores = np.array([[[0.9, 0.75, 0.6, 0.9], [0.1, 0.2, 0.3, 0.4]]], np.float32)
        yield example(cls(3, 0.5), boxes, scores)
        yield example(cls(2, 0.3, 0.25, True), boxes, scores)
