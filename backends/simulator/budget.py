"""How much memory a run may take: what it is known to take beforehand, and what is left for events in each thread."""

from __future__ import annotations

import functools
import os
import time
from dataclasses import dataclass
from pathlib import Path

from snnir.errors import UsageError

__all__ = ["Budget", "free_memory", "size_text"]

_SECONDS = 1.0
"""For so long it is remembered how much memory is free: to ask takes as long as simulating a small network."""

_CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def size_text(size: int) -> str:
    """A number of bytes for people: `1.5 GiB`."""
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size} bytes"


def free_memory() -> int:
    """Bytes that this process can still take: what the machine has available, or less where a control group limits it."""
    return _free(int(time.monotonic() / _SECONDS))


@functools.lru_cache(maxsize=1)
def _free(moment: int) -> int:
    found = [_available()]
    for most, used in _CGROUPS:
        limit, now = _number(most), _number(used)
        if limit is not None and now is not None:
            found.append(limit - now)
    return max(min(found), 0)


def _available() -> int:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable")) * 1024
    except (OSError, StopIteration):
        return int(os.sysconf("SC_PAGE_SIZE")) * int(os.sysconf("SC_PHYS_PAGES"))


def _number(file: str) -> int | None:
    try:
        return int(Path(file).read_text(encoding="ascii"))
    except (OSError, ValueError):  # there is no such group, or its limit is "max"
        return None


@dataclass(frozen=True)
class Budget:
    """Bytes of a run: `limit` in all, of which results and levels of all samples take `known`."""

    limit: int
    known: int

    @classmethod
    def of(cls, limit: int | None, known: int, samples: int) -> Budget:
        """A budget; the limit is half of what is free where None is given. Raises `UsageError` where results alone exceed it."""
        found = free_memory() // 2 if limit is None else limit
        if known >= found:
            raise UsageError(
                f"the results of {samples} samples take {size_text(known)}, and the run may take {size_text(found)} "
                f"({'half of what is free' if limit is None else 'max_memory'}); run fewer samples at once (snnir run --chunk), "
                "ask for less (counts), or allow more (--max-memory)"
            )
        return cls(found, known)

    def share(self, threads: int) -> int:
        """Bytes of events for each of so many threads."""
        return (self.limit - self.known) // threads

    def __str__(self) -> str:
        return f"results take {size_text(self.known)}; events may take up to {size_text(self.limit - self.known)}"
