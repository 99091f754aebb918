"""Thresholds of staircases no wider than the sums that are compared with them."""

from __future__ import annotations

import dataclasses

import numpy as np

from snnir.machine.program import IntegerProgram, Op, Population, Scan, walk
from snnir.machine.ranges import Bounds, certify

__all__ = ["narrowed"]


def narrowed(program: IntegerProgram) -> IntegerProgram:
    """The program with every threshold of a staircase moved into `least sum .. greatest sum + 1`.

    A level that no sum reaches has a threshold far beyond all sums; one more than the greatest says the same. Every
    comparison with a sum that can be reached comes out as before.
    """
    if not any(isinstance(op, Population) and op.staircase for op, _ in walk(program.ops)):
        return program
    bounds = certify(program)
    return dataclasses.replace(program, ops=tuple(_op(op, bounds) for op in program.ops))


def _op(op: Op, bounds: Bounds) -> Op:
    if isinstance(op, Scan):
        return dataclasses.replace(op, ops=tuple(_op(inner, bounds) for inner in op.ops))
    if isinstance(op, Population) and op.staircase:
        low, high = bounds.registers[op.train.name]["sum"]
        return dataclasses.replace(op, theta=np.clip(op.theta, low, high + 1))
    return op
