"""How much of what encoders take lies beyond their levels: calibration saw no such values, and they saturate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from snnir.ir.execute import apply
from snnir.ir.graph import Node, Value
from snnir.ir.ops import Encode, Movement, Mul, Scan
from snnir.ir.types import Quantization
from snnir.machine.host import Host

__all__ = ["MOST_CLIPPED", "clipped_counts", "clipped_shares", "clipping_text", "too_many"]

MOST_CLIPPED = 0.01
"""A larger share gets a warning."""
_BY_CHANCE = 4.0
"""Standard deviations by which the share may be above it in data of so many numbers."""


def clipped_counts(host: Host) -> dict[str, tuple[int, int]]:
    """How many numbers saturate at the lowest or highest level, of how many, by the input that an encoder takes.

    What the host makes of inputs before it is encoded counts under its own name, but where it only moves or scales an input.
    Where several encoders take one value, its numbers count for each.
    """
    found: dict[str, tuple[int, int]] = {}
    for name, beyond, total in _encoded(host, {}):
        before = found.get(name, (0, 0))
        found[name] = before[0] + beyond, before[1] + total
    return found


def clipped_shares(counts: Mapping[str, tuple[int, int]]) -> dict[str, float]:
    """`clipped_counts` as shares."""
    return {name: beyond / total if total else 0.0 for name, (beyond, total) in counts.items()}


def too_many(counts: Mapping[str, tuple[int, int]], calibration: Mapping[str, float] | None) -> dict[str, float]:
    """The shares that are worth a warning: `MOST_CLIPPED` more than the calibration data had themselves, beyond chance."""
    usual, found = calibration or {}, clipped_shares(counts)
    limits = {name: MOST_CLIPPED + _BY_CHANCE * (MOST_CLIPPED / max(total, 1)) ** 0.5 for name, (_, total) in counts.items()}
    return {name: share for name, share in found.items() if share > limits[name] + usual.get(name, 0.0)}


def clipping_text(name: str, share: float) -> str:
    """What is said of an input of which more than `MOST_CLIPPED` saturates."""
    return (
        f"{share:.1%} of input {name} lies beyond the levels that calibration found for it, and saturates; scale it as the "
        "calibration data were, or compile with calibration data like these"
    )


def _encoded(host: Host, outside: Mapping[Value, Value]) -> Iterator[tuple[str, int, int]]:
    """The name of what each encoder takes, how many numbers of it are beyond its levels, and how many there are.

    `outside` gives, for inputs of a scan's body, what they are outside of it.
    """
    for node in host.encoders.values():
        value = node.operands[0]
        array = host.reals[value] if value in host.reals else _product(host, value)
        yield _name(value, outside), _beyond(array, node.expect(Encode).quantization), array.size
    for scan, windows in host.windows.items():
        if windows:
            yield from _inside(host, scan, windows)


def _inside(host: Host, scan: Node, windows: list[Host]) -> Iterator[tuple[str, int, int]]:
    """The encoders of a scan's body, all windows together: at once, where they take elements of a sequence as they are."""
    op, body = scan.expect(Scan), scan.inner
    outside = dict(zip(body.inputs, scan.operands, strict=True))
    elements = set(body.inputs[op.states : op.states + op.elements])
    for output, node in windows[0].encoders.items():
        value, levels = node.operands[0], node.expect(Encode).quantization
        if value in elements:
            array = host.reals[outside[value]]
            yield _name(value, outside), _beyond(array, levels), array.size
            continue
        beyond = total = 0
        for window in windows:
            taken = window.encoders[output].operands[0]
            array = window.reals[taken] if taken in window.reals else _product(window, taken)
            beyond, total = beyond + _beyond(array, levels), total + array.size
        yield _name(value, outside), beyond, total


def _product(host: Host, value: Value) -> np.ndarray:
    """A product that the backend computes while it rounds, and the host does not."""
    node = value.producer
    assert node is not None
    return apply(node, [host.reals[operand] for operand in node.operands], host.sizes)[0]


def _beyond(array: np.ndarray, levels: Quantization) -> int:
    """How many numbers round to levels that there are not."""
    if not array.size:
        return 0
    least, most = (levels.lo - 0.5) * levels.scale, (levels.hi + 0.5) * levels.scale
    if array.min() >= least and array.max() <= most:  # the common case, without an array in between
        return 0
    return int(np.count_nonzero(array < least)) + int(np.count_nonzero(array > most))


def _name(value: Value, outside: Mapping[Value, Value]) -> str:
    """The name of the input that a value is, moved or times a constant; else its own."""
    source = value
    while True:
        if source in outside:
            source = outside[source]
        made = source.producer
        if made is None:
            return source.name
        changing = [operand for operand in made.operands if not operand.is_constant]
        if not isinstance(made.op, Movement | Mul) or len(changing) != 1:
            return value.name
        (source,) = changing
