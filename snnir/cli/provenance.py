"""Where a model came from, in short: who made it, and what it says of itself."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["origin_rows"]

_LONGEST = 100
"""Characters of one entry; `--json` has all of them."""


def origin_rows(facts: Mapping[str, object]) -> dict[str, str]:
    """Lines for people, from `provenance` and `metadata` of a check or a program; none for what a model does not say."""
    rows = {}
    if facts.get("provenance"):
        rows["made with"] = str(facts["provenance"])
    metadata = facts.get("metadata")
    if isinstance(metadata, Mapping) and metadata:
        rows["metadata"] = "\n".join(f"{key}: {_short(str(value))}" for key, value in metadata.items())
    return rows


def _short(value: str) -> str:
    line = " ".join(value.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"
