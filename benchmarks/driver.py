"""Workers take turns: every side of a workload once in each round, so that all of them see the same machine."""

from __future__ import annotations

import json
import os
import selectors
import signal
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["OWN", "PEERS", "Crew", "WorkerProcess", "compare", "spread"]

ROOT = Path(__file__).parents[1]

OWN = ("benchmarks.sides", "benchmarks.dense_sides", "benchmarks.limit")
PEERS = tuple(f"benchmarks.peers.{name}" for name in ("jelly", "sinabs_iaf", "norse_lif", "snntorch_leaky"))
REST = 0.02
"""Seconds between turns."""


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least, most and number of some measurements."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "count": len(values)}


class WorkerProcess:
    """A worker and the pipe to it. It is started when first asked, and again after it was killed for taking too long.

    Between its answers the process is stopped, threads that wait in loops for more work included.
    """

    def __init__(self, python: str, module: str, timeout: float) -> None:
        self.python, self.module, self.timeout = python, module, timeout
        self.process: subprocess.Popen[str] | None = None

    def ask(self, **request: object) -> dict[str, Any]:
        """One request and its answer; `{"error": ...}` where the worker died or did not answer in time."""
        if self.process is None:
            self._start()
        process = self.process
        assert process is not None and process.stdin is not None and process.stdout is not None
        process.send_signal(signal.SIGCONT)
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
        except BrokenPipeError:
            return self._lost("its process ended")
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            if not selector.select(self.timeout):
                return self._lost(f"no answer in {self.timeout:.0f} s")
        line = process.stdout.readline()
        if not line:
            return self._lost("its process ended")
        process.send_signal(signal.SIGSTOP)
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _start(self) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
        self.process = subprocess.Popen(
            [self.python, "-m", "benchmarks.worker", self.module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
            cwd=ROOT,
        )

    def _lost(self, why: str) -> dict[str, Any]:
        self.close()
        return {"error": why}

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


@dataclass
class Crew:
    """All workers, the sides that each has, and which modules are missing and why."""

    workers: dict[str, WorkerProcess]
    """By module."""
    sides: dict[str, str] = field(default_factory=dict)
    """Module of each side, in the order of the tables."""
    missing: dict[str, str] = field(default_factory=dict)

    @classmethod
    def start(cls, own: str, peers: str | None, timeout: float = 120) -> Crew:
        """Start workers: `own` and `peers` are the Python programs of the two environments."""
        crew = cls({module: WorkerProcess(own, module, timeout) for module in OWN})
        if peers is None:
            crew.missing.update(dict.fromkeys(PEERS, "no environment of peers: make bench-peers"))
        else:
            crew.workers.update({module: WorkerProcess(peers, module, timeout) for module in PEERS})
        for module, worker in crew.workers.items():
            answer = worker.ask(do="sides")
            crew.sides.update(dict.fromkeys(answer.get("sides", ()), module))
            if why := answer.get("failure") or answer.get("error"):
                crew.missing[module] = why
        return crew

    def ask(self, side: str, **request: object) -> dict[str, Any]:
        """Ask the worker of a side."""
        return self.workers[self.sides[side]].ask(side=side, **request)

    def close(self) -> None:
        """End all workers."""
        for worker in self.workers.values():
            worker.close()


def compare(
    crew: Crew,
    folder: Path,
    batch: int,
    *,
    threads: int,
    steps: int,
    seconds: float,
    sides: Sequence[str] = (),
    rounds: int = 15,
    least: int = 3,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Times of all sides on one workload at one batch size, in rounds.

    After each side was prepared and warmed up, rounds go on until there are `rounds` of them or `seconds` are over. A side
    that has used up its share of the seconds sits out, and the first call of a side that takes longer than its share counts
    as a turn. Each side has `least` turns within its share or where twice the seconds allow it, and always one. Each round
    starts with another side. Gives `{"sides": {name: {"seconds": spread, "agreement": ...} or {"cannot": why}}, "rounds": n}`,
    where seconds are those of one call of the whole batch.
    """
    found: dict[str, dict[str, Any]] = {}
    for worker in crew.workers.values():
        worker.ask(do="forget")
    for side in sides or crew.sides:
        answer = crew.ask(side, do="prepare", folder=str(folder), batch=batch, threads=threads, steps=steps)
        found[side] = answer
        say(f"{side}: {answer.get('cannot') or answer.get('error') or format(answer['seconds'], '.3g') + ' s'}")
    started = time.perf_counter()
    calls = {side: answer["seconds"] for side, answer in found.items() if "seconds" in answer}
    share = seconds / max(len(calls), 1)
    times: dict[str, list[float]] = {side: [first] if first > share else [] for side, first in calls.items()}
    done = 0
    while done < rounds:
        passed = time.perf_counter() - started
        quick = {side for side, row in times.items() if sum(row) < share}
        needed = {side: least if side in quick or passed < 2 * seconds else 1 for side in times}
        order = [side for side, row in times.items() if len(row) < needed[side] or (passed < seconds and side in quick)]
        if not order:
            break
        first = done % len(order)
        for side in order[first:] + order[:first]:
            time.sleep(REST)
            answer = crew.ask(side, do="turn")
            if "seconds" in answer:
                times[side].append(answer["seconds"])
            else:
                found[side] = {"error": answer["error"]}
                del times[side]
        done += 1
    results: dict[str, dict[str, Any]] = {}
    for side, answer in found.items():
        if side in times:
            results[side] = {"seconds": spread(times[side]), "agreement": answer["agreement"]}
        else:
            results[side] = {"cannot": answer.get("cannot") or answer.get("error")}
    return {"batch": batch, "rounds": done, "threads": threads, "sides": results}
