"""How inputs are charged: whole at step 0 of their window (s-analog), or in portions, one a step (m-analog).

s-analog is the encoding that conversion is exact with, and the default. m-analog is that of earlier conversions (a constant
current at every step), kept for study: Su et al. (arXiv:2408.09403) compare the two. Here its portions add up to the level
after `steps` steps, so that what a capped run gets wrong is what came too late, and nothing else. Biases stay whole.
"""

from __future__ import annotations

import numpy as np

__all__ = ["portions"]


def portions(levels: np.ndarray, steps: int) -> np.ndarray:
    """Levels [N, ...] in `steps` integer portions that differ by 1 at most: int64 [steps, N, ...], summing up to them."""
    size, sign = np.abs(levels.astype(np.int64)), np.sign(levels).astype(np.int64)
    cumulative = [sign * (size * t // steps) for t in range(steps + 1)]
    return np.diff(np.stack(cumulative), axis=0)
