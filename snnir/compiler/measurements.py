"""Measurements of a search for mixed bits, in a file: an interrupted search goes on with them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from snnir.errors import UsageError
from snnir.ir import Graph
from snnir.ir.storage import atomic_write

__all__ = ["Measurements"]


class Measurements:
    """Measurements in a JSON file, of one model, data and options; of others they are not taken."""

    def __init__(self, path: str | Path | None, graph: Graph, data: Mapping[str, np.ndarray], options: Mapping[str, Any]) -> None:
        content = hashlib.sha256(repr(sorted(options.items())).encode())
        for value in graph.constants:
            content.update(value.digest.encode())
        for name in sorted(data):
            content.update(np.ascontiguousarray(data[name]).tobytes())
        self.path, self.key = None if path is None else Path(path), content.hexdigest()
        self.numbers: dict[str, float] = {}
        self.points: dict[str, Any] = {}
        if self.path is not None and self.path.exists():
            try:
                found = json.loads(self.path.read_text(encoding="utf-8"))
                if found.get("key") == self.key:
                    self.numbers, self.points = found["numbers"], found["points"]
            except (ValueError, KeyError, AttributeError) as error:
                raise UsageError(f"{self.path} holds no measurements of snnir tune: {error}; remove it") from error

    def number(self, name: str, found: Callable[[], float]) -> float:
        """A measurement, made where the file does not hold it."""
        if name not in self.numbers:
            self.numbers[name] = found()
            self._write()
        return self.numbers[name]

    def keep(self, name: str, point: Mapping[str, Any]) -> None:
        """Enter the facts of a mixture that was compiled and measured."""
        self.points[name] = point
        self._write()

    def _write(self) -> None:
        if self.path is not None:
            content = {"key": self.key, "numbers": self.numbers, "points": self.points}
            atomic_write(self.path, json.dumps(content).encode())
