"""A process that prepares and times the sides of one module, in whatever environment it was started.

    PYTHON -m benchmarks.worker MODULE        one JSON request a line on stdin, one JSON answer a line on stdout

It sits still between requests, so that sides of different workers can take turns. Whatever a library prints goes to stderr.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from benchmarks.task import CannotError, Side, Task

LEAST = 0.03
"""Seconds that one turn lasts at least: calls that are shorter are repeated and averaged, after a first one that counts for
nothing, since the other sides have had the caches meanwhile."""


class Worker:
    """Answers requests about the sides of one module."""

    def __init__(self, module: str) -> None:
        warnings.simplefilter("ignore")
        self.failure = ""
        self.factories: dict[str, Any] = {}
        try:
            self.factories = importlib.import_module(module).SIDES
        except ImportError as error:
            self.failure = f"not installed: {error}"
        self.sides: dict[str, Side] = {}
        self.numbers: dict[str, int] = {}

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """One request: `sides`, `prepare` (side, folder, batch, threads, steps), `turn` (side), `forget`."""
        kind = request["do"]
        if kind == "sides":
            return {"sides": list(self.factories), "failure": self.failure}
        if kind == "prepare":
            return self._prepare(request)
        if kind == "turn":
            return {"seconds": self._turn(request["side"])}
        self.sides.clear()
        gc.collect()
        return {}

    def _prepare(self, request: dict[str, Any]) -> dict[str, Any]:
        name = request["side"]
        task = Task(Path(request["folder"]), request["batch"], request["threads"], request["steps"])
        try:
            side = self.factories[name](task)
            started = time.perf_counter()
            agreement = side.agreement(task)
            once = time.perf_counter() - started
        except CannotError as error:
            return {"cannot": str(error)}
        self.sides[name], self.numbers[name] = side, 1
        if once < 1:  # what is faster than that gets a second, warm run to say how often a turn repeats it
            once = self._turn(name)
        self.numbers[name] = min(max(int(LEAST / max(once, 1e-7)), 1), 500)
        return {"seconds": once, "agreement": agreement}

    def _turn(self, name: str) -> float:
        run, number = self.sides[name].run, self.numbers[name]
        if number > 1:
            run()
        started = time.perf_counter()
        for _ in range(number):
            run()
        return (time.perf_counter() - started) / number


def main() -> None:
    """Serve until stdin closes."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    worker = Worker(sys.argv[1])
    for line in sys.stdin:
        try:
            answer = worker.answer(json.loads(line))
        except Exception as error:  # a library that fails is a result of this side, not the end of the run
            answer = {"error": f"{type(error).__name__}: {error}"[:300]}
        answers.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
