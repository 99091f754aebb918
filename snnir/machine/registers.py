"""Registers: what `membrane`, `current` and `tracer` of summing ops hold while a program runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

__all__ = ["Observed", "Registers", "Widths"]

Widths = Mapping[str, Mapping[str, int]]
"""Bits of the registers `membrane`, `current` and `tracer` of populations and readouts by name."""


@dataclass
class Observed:
    """The least and greatest integer that each register of a population held."""

    ranges: dict[str, list[int]] = field(default_factory=dict)

    def see(self, register: str, values: np.ndarray) -> None:
        """Widen the range of a register."""
        if values.size:
            low, high = int(values.min()), int(values.max())
            held = self.ranges.setdefault(register, [low, high])
            held[0], held[1] = min(held[0], low), max(held[1], high)


@dataclass
class Registers:
    """The registers of a run. With `widths`, each one is a two's complement register of that many bits, which wraps around
    where it overflows."""

    widths: Widths | None = None
    observed: dict[str, Observed] = field(default_factory=dict)

    def see(self, name: str, register: str, values: np.ndarray) -> None:
        """Note what a register was to hold."""
        self.observed.setdefault(name, Observed()).see(register, values)

    def wrap(self, name: str, register: str, values: np.ndarray) -> np.ndarray:
        """A register's values as it holds them."""
        if self.widths is None:
            return values
        half = 1 << (self.widths[name][register] - 1)
        return (values + half) % (2 * half) - half

    def hold(self, name: str, register: str, values: np.ndarray) -> np.ndarray:
        """A register's values, noted, as it holds them."""
        self.see(name, register, values)
        return self.wrap(name, register, values)
