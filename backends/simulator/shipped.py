"""Compiled functions that come with the package: made ahead for a family of processors, and loaded where the processor fits.

A wheel may hold a folder `compiled/` beside this file, with a folder for each Python, Numba and target. Each names in
`target.json` the platform and the features of the processor that its code needs; where they are not all there, and where a
function is missing, the simulator compiles as it does without.
"""

from __future__ import annotations

import functools
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from snnir.backends.simulator.kernels import SOURCE, source_digest
from snnir.errors import UsageError

__all__ = ["SHIPPED", "folder", "make"]

SHIPPED = Path(__file__).parent / "compiled"


def _needs() -> tuple[str, list[str], list[str]]:
    """The platform that code is now made for, the features that it may use, and the versions that must be the same."""
    from snnir.backends.simulator.kernels.numba_compat import target

    platform, _, features, *versions = target()
    used = sorted(name[1:] for name in features.split(",") if name.startswith("+"))
    return platform, used, [SOURCE, *versions, *map(str, sys.version_info[:2]), str(sys.implementation.cache_tag)]


@functools.cache
def folder() -> Path | None:
    """The folder of functions that this processor and these versions run; None where there is none."""
    if not SHIPPED.is_dir() or source_digest() != SOURCE:
        return None
    platform, features, versions = _needs()
    fitting: list[tuple[int, Path]] = []
    for path in SHIPPED.glob("*/target.json"):
        facts = json.loads(path.read_text(encoding="utf-8"))
        if facts["platform"] == platform and facts["versions"] == versions and set(facts["features"]) <= set(features):
            fitting.append((len(facts["features"]), path.parent))
    return max(fitting)[1] if fitting else None


def make(into: Path, names: Sequence[str]) -> list[Path]:
    """Compile functions into a folder of `into`, for the processor that Numba compiles for; the files written.

    `NUMBA_CPU_NAME` and `NUMBA_CPU_FEATURES` choose another processor of the platform, such as `x86-64-v3` and what it has.
    Raises `UsageError` where nothing can be written.
    """
    from snnir.backends.simulator.kernels.routines import NATIVE

    platform, features, versions = _needs()
    made = into / hashlib.sha256(repr((platform, features, versions)).encode()).hexdigest()[:20]
    try:
        made.mkdir(parents=True, exist_ok=True)
        for name in names:
            NATIVE[name].compile(made)
        facts = {"platform": platform, "features": features, "versions": versions}
        (made / "target.json").write_text(json.dumps(facts) + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write into {into}: {error.strerror}; name a folder that can be made") from error
    return sorted(path for path in made.iterdir() if path.name != "target.json")
