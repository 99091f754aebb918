"""Where the time of a run goes, on one thread: own time of functions, by the profiler of Python, and phases of the kernel.

The compiled kernel is one function here, `thread_pool.py:run`; `SimulationResult.phases` says what it does meanwhile.
"""

from __future__ import annotations

import cProfile
import pstats
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["hot_spots"]

SHOWN = 8


def hot_spots(call: Callable[[], object], repeats: int) -> list[dict[str, Any]]:
    """The functions with the largest share of own time over some calls, largest first."""
    call()
    profile = cProfile.Profile()
    profile.enable()
    for _ in range(repeats):
        call()
    profile.disable()
    rows: list[dict[str, Any]] = []
    stats: dict[tuple[str, int, str], tuple[int, int, float, float, object]] = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    total = sum(own for _, _, own, _, _ in stats.values())
    for (file, _, function), (_, calls, own, _, _) in stats.items():
        place = f"{Path(file).name}:{function}" if file != "~" else function
        rows.append({"function": place, "share": own / total, "calls": calls / repeats})
    return sorted(rows, key=lambda row: -row["share"])[:SHOWN]
