"""snnir against spiking libraries, ONNX Runtime and the machine, with scaling and memory: one table, one JSON file.

    python -m benchmarks [--json out/bench.json] [--peers .venv-peers/bin/python] [--minutes 8] [--workloads mlp lenet ...]

Sides that are not installed are named and left out. docs/performance.md is filled by `python -m benchmarks.report`.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import snnir
from benchmarks import memory, report, scaling
from benchmarks.bars import median
from benchmarks.driver import ROOT, Crew, compare
from benchmarks.hot_spots import hot_spots
from benchmarks.prepare import prepare
from benchmarks.workloads import WORKLOADS
from snnir.errors import UsageError

__all__ = ["main", "measure"]

EXTRAS = ("scaling", "memory", "profile")
RESERVED = 25.0
"""Seconds kept back for each of the extras when time is shared out among the comparisons."""

LONG = 1.0
"""Seconds of a run that is too long to be profiled as well."""


def _machine() -> dict[str, Any]:
    cpu = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        cpu = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
        flags = next(line for line in lines if line.startswith("flags")).split()
        cpu += ", AVX-512" if "avx512f" in flags else ", AVX2" if "avx2" in flags else ""
    except (OSError, StopIteration):
        pass
    packages = ("numpy", "numba", "onnxruntime")
    return {
        "cpu": cpu,
        "cores": os.cpu_count() or 1,
        "python": platform.python_version(),
        "versions": {"snnir": snnir.__version__, **{name: version(name) for name in packages}},
    }


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """All measurements that the arguments ask for, kept in the JSON file as they come; `report` makes tables of them."""
    started = time.perf_counter()
    end = started + 60 * arguments.minutes
    facts: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "machine": _machine(),
        "load_before": os.getloadavg()[0],
        "threads": arguments.threads,
        "small": arguments.small,
        "workloads": {},
    }

    def keep() -> None:
        facts["load_after"] = os.getloadavg()[0]
        facts["seconds"] = time.perf_counter() - started
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        temporary = arguments.json.with_suffix(".tmp")
        temporary.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        temporary.replace(arguments.json)

    crew = Crew.start(sys.executable, arguments.peers)
    try:
        facts["missing"] = crew.missing
        for module, why in crew.missing.items():
            _say(f"missing: {module}: {why}")
        with tempfile.TemporaryDirectory() as name:
            folders = _prepare_all(arguments, Path(name), facts)
            reserve = RESERVED * sum(part not in arguments.skip for part in EXTRAS)
            left = len(folders) * len(arguments.batches)
            for batch in sorted(arguments.batches, reverse=True):
                for workload, folder in folders.items():
                    seconds = max((end - time.perf_counter() - reserve) / left, 3.0)
                    left -= 1
                    _say(f"{workload}, batch {batch}: up to {seconds:.0f} s")
                    steps = facts["workloads"][workload]["peer_steps"]
                    found = compare(
                        crew,
                        folder,
                        batch,
                        threads=arguments.threads,
                        steps=steps,
                        seconds=seconds,
                        rounds=arguments.rounds,
                        say=_detail,
                    )
                    facts["workloads"][workload].setdefault("batches", {})[str(batch)] = found
                    keep()
            crew.close()
            _extras(arguments, folders, facts, keep)
    finally:
        crew.close()
    return facts


def _prepare_all(arguments: argparse.Namespace, root: Path, facts: dict[str, Any]) -> dict[str, Path]:
    folders = {}
    for name in arguments.workloads:
        _say(f"preparing {name}")
        workload = WORKLOADS[name](max(arguments.batches), arguments.small)
        facts["workloads"][name] = prepare(workload, root / name)
        folders[name] = root / name
    return folders


def _extras(arguments: argparse.Namespace, folders: dict[str, Path], facts: dict[str, Any], keep: Callable[[], None]) -> None:
    if "scaling" not in arguments.skip:
        facts["scaling"] = {}
        for name, points in scaling.SERIES.items():
            _say(f"time against {name}")
            facts["scaling"][name] = scaling.measure(
                points(arguments.small, arguments.threads), RESERVED / len(scaling.SERIES), arguments.rounds
            )
        keep()
    if "memory" not in arguments.skip:
        facts["memory"] = memory.growth(arguments.small, arguments.threads, _say)
        if "digits" in folders:
            facts["start_up"] = memory.start_up(folders["digits"])
        keep()
    if "profile" not in arguments.skip:
        facts["profile"], facts["phases"] = {}, {}
        for name, folder in folders.items():
            program, x = snnir.load(folder / "program.snnir"), np.load(folder / "x.npy")
            for batch in arguments.batches:
                if (median(facts, name, batch, "snnir, 1 thread") or LONG) < LONG:
                    part = x[:batch]
                    facts["profile"][f"{name}, batch {batch}"] = hot_spots(lambda: program.run(part, threads=1), 5)  # noqa: B023
                    facts["phases"][f"{name}, batch {batch}"] = _phases(program, part)
    keep()


def _phases(program: snnir.Program, x: np.ndarray) -> dict[str, float]:
    """Shares of the kernel's cycles; nothing where the processor has no counter for them."""
    (entry,) = program.graph("spiking").inputs
    try:
        return program.simulator.run({entry.name: x}, threads=1, phases=True).phases
    except UsageError:
        return {}


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _detail(line: str) -> None:
    _say(f"    {line}")


def parser() -> argparse.ArgumentParser:
    """The arguments of the command."""
    found = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").split("\n")[0])
    peers = ROOT / ".venv-peers" / "bin" / "python"
    found.add_argument("--json", type=Path, default=Path("out/bench.json"))
    found.add_argument("--plots", type=Path, default=Path("out/bench"), help="folder for PNG files")
    found.add_argument("--peers", default=str(peers) if peers.exists() else None, help="Python of the peers' environment")
    found.add_argument("--minutes", type=float, default=8.0, help="about how long all of it takes")
    found.add_argument("--workloads", nargs="+", choices=list(WORKLOADS), default=list(WORKLOADS))
    found.add_argument("--batches", nargs="+", type=int, default=[1, 64])
    found.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of every side that does not say otherwise")
    found.add_argument("--rounds", type=int, default=15, help="the most rounds of one comparison")
    found.add_argument("--skip", nargs="*", choices=EXTRAS, default=[])
    found.add_argument("--small", action="store_true", help="tiny networks, to try the programs out")
    return found


def main() -> None:
    """Measure, print the tables, write the plots."""
    arguments = parser().parse_args()
    facts = measure(arguments)
    print(report.markdown(facts))
    for path in report.plots(facts, arguments.plots):
        print(path)
    print(arguments.json)


if __name__ == "__main__":
    main()
