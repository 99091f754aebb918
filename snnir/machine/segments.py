"""Segments: the parts of a window that run one after another, each on a clock of its own.

Functions wait until what they read is complete. No analysis knows beforehand when that is among neurons that settle, so what a
function charges begins a new segment, at step 0 of its clock. A train of an earlier segment enters a later one as the levels
it settled to (`Settled`). A window takes the sum of the steps of its segments. Few-spike neurons have a schedule, and functions
among them charge in a step of it: they have one segment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from snnir.machine.emitters import Function, Settled
from snnir.machine.scans import Scan

if TYPE_CHECKING:
    from snnir.machine.program import Op

__all__ = ["segment_of", "segments", "steps_of_segments"]


def segment_of(op: Op, known: Mapping[str, int]) -> int:
    """The segment of an op, given those of the trains that it reads (0 where none is known)."""
    if isinstance(op, Function | Settled):
        return op.segment
    return max((known.get(name, 0) for name in op.sources), default=0)


def segments(ops: Sequence[Op]) -> dict[str, int]:
    """The segment of every train of these ops, those in bodies apart."""
    known: dict[str, int] = {}
    for op in ops:
        segment = segment_of(op, known)
        if isinstance(op, Scan):
            known.update({state.final.name: segment for state in op.states})
            known.update({result.train.name: segment for result in op.results})
        else:
            known[op.train.name] = segment
    return known


def steps_of_segments(steps: Mapping[str, int], of: Mapping[str, int]) -> int:
    """The steps of a window: those of its segments, added up; `steps` are those of its trains."""
    longest: dict[int, int] = {}
    for name, last in steps.items():
        segment = of.get(name, 0)
        longest[segment] = max(longest.get(segment, 0), last)
    return sum(longest.values())
