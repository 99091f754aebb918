"""Ways to round to whole numbers, and what each means for thresholds.

Every way is a non-decreasing function, so a staircase of thresholds can stand for it, ties included: level j is reached
from `c` on, or beyond it, where `c` is j, j - 1/2 or j - 1. An integrate-and-fire neuron with a uniform threshold does
`half-up` (V(0) = theta/2) and `floor` (V(0) = 0) as it is.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from snnir.errors import GraphError

__all__ = ["ROUNDINGS", "check_rounding", "reached_from", "round_by"]


def _away(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.copysign(np.ceil(np.abs(x)), x))


def _odd(x: np.ndarray) -> np.ndarray:
    below = np.floor(x)
    return np.asarray(np.where(x - below == 0.5, below + (below % 2 == 0), np.rint(x)))  # x - floor(x) is exact


def _half_away(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.copysign(np.floor(np.abs(x) + 0.5), x))


def _half_to_zero(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.copysign(np.ceil(np.abs(x) - 0.5), x))


def _sign(x: np.ndarray) -> np.ndarray:
    return np.where(x >= 0, np.ones_like(x), -np.ones_like(x))


ROUNDINGS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "half-up": lambda x: np.floor(x + 0.5),
    "half-down": lambda x: np.ceil(x - 0.5),
    "even": np.rint,
    "odd": _odd,
    "half-away": _half_away,
    "half-to-zero": _half_to_zero,
    "floor": np.floor,
    "ceil": np.ceil,
    "to-zero": np.trunc,
    "away": _away,
    "bipolar": _sign,
}
"""The functions, by name. `even` (to the nearest, halves to the even one) is that of ONNX; `odd` is the same for levels of a
file that rounds after it added an odd zero point; `bipolar` gives -1 or 1."""


def check_rounding(rounding: str) -> None:
    """Raise `GraphError` for a way that is not known."""
    if rounding not in ROUNDINGS:
        raise GraphError(f"rounding {rounding!r} is unknown; choose one of {', '.join(ROUNDINGS)}")


def round_by(rounding: str, x: np.ndarray) -> np.ndarray:
    """`x` as whole numbers, in the same dtype."""
    return ROUNDINGS[rounding](x)


def reached_from(rounding: str, level: int) -> tuple[int, bool]:
    """`(c2, beyond)`: `round(x) >= level` iff `2 x >= c2`, or, where `beyond`, iff `2 x > c2`."""
    positive = level >= 1
    middle = 2 * level - 1
    rules = {
        "half-up": (middle, False),
        "half-down": (middle, True),
        "even": (middle, level % 2 == 1),
        "odd": (middle, level % 2 == 0),
        "half-away": (middle, not positive),
        "half-to-zero": (middle, positive),
        "floor": (2 * level, False),
        "ceil": (2 * level - 2, True),
        "to-zero": (2 * level, False) if positive else (2 * level - 2, True),
        "away": (2 * level - 2, True) if positive else (2 * level, False),
        "bipolar": (0, False),
    }
    return rules[rounding]
