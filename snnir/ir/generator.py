"""Random numbers that are the same integers everywhere: splitmix64 as a function of a key and a counter.

The output function is that of Steele, Lea and Flood, *Fast splittable pseudorandom number generators* (OOPSLA 2014), with the
constants of Vigna's splitmix64; number n of a stream needs none of those before it. All arithmetic is that of unsigned integers
of 64 bits, which wraps around.
"""

from __future__ import annotations

import numpy as np

__all__ = ["GOLDEN", "MIX_A", "MIX_B", "spikes_of", "splitmix"]

GOLDEN, MIX_A, MIX_B = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def splitmix(key: int, counter: np.ndarray) -> np.ndarray:
    """Numbers uint64 of `counter` (uint64) in the stream of `key`: the state is key + (counter + 1) GOLDEN."""
    z = np.uint64(key & (1 << 64) - 1) + (counter + np.uint64(1)) * np.uint64(GOLDEN)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(MIX_A)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(MIX_B)
    return np.asarray(z ^ (z >> np.uint64(31)))


def spikes_of(levels: np.ndarray, first: int, step: int, steps: int, seed: int) -> np.ndarray:
    """Bernoulli spikes in one step of levels q int64 [samples, n], with the probability |q| / steps: their signs, int64.

    The counter is `(sample n + address) steps + step`, with samples counted from `first`; a spike is sent where
    `(u >> 32) steps >> 32 < |q|` of its number u.
    """
    samples, size = levels.shape
    place = np.arange(first * size, (first + samples) * size, dtype=np.uint64).reshape(samples, size)
    drawn = splitmix(seed, place * np.uint64(steps) + np.uint64(step)) >> np.uint64(32)
    below = (drawn * np.uint64(steps) >> np.uint64(32)).astype(np.int64) < np.abs(levels)
    return np.where(below, np.sign(levels), 0)
