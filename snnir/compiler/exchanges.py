"""Exchanges of bits: one value gets more, another fewer, judged by the noise of the whole mixture.

The greedy path (`tuning.py`) adds up what each value costs alone. Together values cost more or less than that: their errors meet
in the same sums, and a value that is rounded coarsely hides what is lost before it. Exchanges measure mixtures as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Exchanges"]

_ROUNDS = 12
_TRIED = 10
"""How many exchanges of a round, the most promising first, are measured."""


@dataclass(frozen=True)
class Exchanges:
    """A search around one mixture of bits, by name."""

    choices: Mapping[str, Sequence[int]]
    alone: Mapping[str, Mapping[int, float]]
    """The noise that each name and number of bits causes alone: which exchanges are promising."""
    cost: Callable[[Mapping[str, int]], float]
    joint: Callable[[Mapping[str, int]], float]
    """The noise of a whole mixture."""

    def cheaper(self, mixture: Mapping[str, int]) -> dict[str, int]:
        """A mixture of least cost that is at most as noisy as `mixture`."""
        present, limit = dict(mixture), self.joint(mixture)
        for _ in range(_ROUNDS):
            cost = self.cost(present)
            tried = [item for item in self._neighbours(present) if self.cost(item) < cost]
            tried.sort(key=lambda item: self._added(item, present) / (cost - self.cost(item)))
            found = [item for item in tried[:_TRIED] if self.joint(item) <= limit]
            if not found:
                break
            present = min(found, key=self.cost)
        return present

    def quieter(self, mixture: Mapping[str, int], budget: float) -> dict[str, int]:
        """A mixture of least noise that costs at most `budget`."""
        present = dict(mixture)
        for _ in range(_ROUNDS):
            tried = sorted(
                (item for item in self._neighbours(present) if self.cost(item) <= budget),
                key=lambda item: self._added(item, present),
            )
            best = min(tried[:_TRIED], key=self.joint, default=present)
            if self.joint(best) >= self.joint(present):
                break
            present = best
        return present

    def _added(self, mixture: Mapping[str, int], present: Mapping[str, int]) -> float:
        return sum(self.alone[name][bits] - self.alone[name][present[name]] for name, bits in mixture.items())

    def _neighbours(self, present: Mapping[str, int]) -> Iterator[dict[str, int]]:
        """Mixtures in which one name, or one and another, have the next more or fewer bits."""
        changed = [(name, bits) for name in self.choices for bits in self._next(name, present[name])]
        for index, (first, bits) in enumerate(changed):
            yield {**present, first: bits}
            for second, others in changed[index + 1 :]:
                if second != first:
                    yield {**present, first: bits, second: others}

    def _next(self, name: str, bits: int) -> list[int]:
        choices = sorted(self.choices[name])
        place = choices.index(bits)
        return [choices[other] for other in (place - 1, place + 1) if 0 <= other < len(choices)]
