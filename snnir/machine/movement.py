"""Where the elements of a spiking value come from: movement ops as address maps.

A root is a value that emits events itself: an encoder, a population, a max, a scan's result, a body's input. Every
other spiking value only moves roots' events to other addresses, so it is described by an array of its own shape that
holds, for each element, the root's address that it is, or -1 for none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from snnir.errors import UnsupportedError
from snnir.ir.graph import Node, Value
from snnir.ir.ops import Movement, Pad

__all__ = ["Wiring", "move"]


@dataclass(frozen=True)
class Wiring:
    """`index` (int64, the shape of one sample) counts through the addresses of all `roots`, one root after another."""

    roots: tuple[Value, ...]
    sizes: tuple[int, ...]
    index: np.ndarray

    @staticmethod
    def root(value: Value, shape: Sequence[int]) -> Wiring:
        """The wiring of a value that emits its own events."""
        size = int(np.prod(shape))
        return Wiring((value,), (size,), np.arange(size).reshape(tuple(shape)))


def move(node: Node, operands: Sequence[Wiring], sizes: Mapping[str, int], batch: int) -> Wiring:
    """The wiring of a movement op's result; `batch` is the size of axis 0 for which the op is tried.

    Raises `UnsupportedError` where the op moves elements from sample to sample.
    """
    op = node.expect(Movement)
    op = op.bind(dict(sizes))
    roots: list[Value] = []
    root_sizes: list[int] = []
    total = sum(sum(operand.sizes) for operand in operands)
    arrays = []
    for operand in operands:
        first = sum(root_sizes)
        roots.extend(operand.roots)
        root_sizes.extend(operand.sizes)
        samples = np.arange(batch).reshape((batch,) + (1,) * operand.index.ndim) * total
        arrays.append(np.where(operand.index >= 0, operand.index + first + samples, -1))
    moved = op.fill(arrays[0], -1) if isinstance(op, Pad) else op.evaluate(*arrays)[0]
    fits = moved.ndim > 0 and moved.shape[0] == batch
    for sample in range(batch if fits else 0):
        own = (moved[sample] >= sample * total) & (moved[sample] < (sample + 1) * total)
        fits = fits and bool((own | (moved[sample] == -1)).all())
        fits = fits and np.array_equal(np.where(moved[sample] < 0, -1, moved[sample] - sample * total), moved[0])
    if not fits:
        raise UnsupportedError(
            f"{node.describe()}: {op.name} moves spikes along the batch axis (axis 0); the simulator supports movement "
            "within a sample only. Keep the batch as axis 0 behind the encoders"
        )
    return Wiring(tuple(roots), tuple(root_sizes), moved[0])
