"""Records that many graphs share, each kept once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

__all__ = ["Pool"]


class Pool:
    """Records by number: equal ones have the same number, so that whoever compares two graphs compares numbers."""

    def __init__(self) -> None:
        self.records: list[object] = []
        self._numbers: dict[str, int] = {}

    def number(self, record: Mapping[str, object] | Sequence[object]) -> int:
        """The number of a record that JSON can hold."""
        text = json.dumps(record, sort_keys=True)
        if text not in self._numbers:
            self._numbers[text] = len(self.records)
            self.records.append(record)
        return self._numbers[text]
