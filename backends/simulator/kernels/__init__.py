"""The compiled part of the simulator: functions on arrays, compiled by Numba on first use and kept in a cache.

`constants.py` needs no Numba. `types.py` says what the compiled part reads and writes. `routines.py` lists the functions that
are compiled on their own, each when a network first needs it; all others are parts of these. `numba_compat.py` is the only
module that touches the insides of Numba and llvmlite.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

__all__ = ["SOURCE", "source_digest"]


def source_digest() -> str:
    """A digest of all files of this package."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


SOURCE = source_digest()
"""That of the files when this process first imported one of them."""
