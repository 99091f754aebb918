"""`snnir run` in chunks: killed and resumed, and spread over a Dask cluster that loses a worker; compared byte by byte.

    python benchmarks/large_runs.py [--samples 10000] [--chunk 100] [--kills 3] [--json FILE]

The 784-512-512-10 perceptron of simulator_speed.py. Prints the time of an uninterrupted run in chunks and of the same run
all at once, the largest memory of each process, what `kill -9` at random moments cost, and whether any byte differs.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import distributed
import numpy as np
from simulator_speed import build

import snnir
from snnir.streaming import run_stream


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def finished(folder: Path) -> int:
    """Chunks in the journal."""
    journal = folder / "journal.jsonl"
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


def command(folder: Path, *options: str) -> list[str]:
    """`snnir run` of the program on the data set."""
    return [sys.executable, "-m", "snnir", "run", str(folder / "p.snnir"), str(folder / "x.npy"), "--json", *options]


def timed(arguments: list[str]) -> tuple[float, int]:
    """Seconds and largest resident MiB of a process, its start included."""
    start = time.perf_counter()
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return time.perf_counter() - start, usage.ru_maxrss >> 10


def kill_and_resume(folder: Path, chunk: int, chunks: int, kills: int) -> int:
    """Run until the end, killed `kills` times on the way; returns the samples that the last process found done."""
    rng = random.Random(0)
    for kill in range(kills):
        process = subprocess.Popen(
            command(folder, "--chunk", str(chunk), "-o", str(folder / "killed")), stdout=subprocess.DEVNULL
        )
        while finished(folder / "killed") < chunks * (kill + 1) / (kills + 1):
            assert process.poll() is None
            time.sleep(0.001)
        time.sleep(rng.random() * 0.02)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    arguments = command(folder, "--chunk", str(chunk), "-o", str(folder / "killed"))
    facts = json.loads(subprocess.run(arguments, capture_output=True, text=True, check=True).stdout)
    return int(facts["resumed_samples"])


def lose_a_worker(folder: Path, chunk: int, chunks: int) -> float:
    """Run on two workers and kill one in the middle; returns the seconds it took."""
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        killed: list[int] = []

        def kill(done: int, total: int) -> None:
            if not killed and done >= chunk * chunks // 2:
                killed.append(next(iter(client.run(os.getpid).values())))
                os.kill(killed[0], signal.SIGKILL)

        start = time.perf_counter()
        program = snnir.load(folder / "p.snnir")
        run_stream(program, folder / "x.npy", folder / "cluster", chunk=chunk, cluster=client, progress=kill)
        assert killed
        return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--chunk", type=int, default=100)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    chunks = -(-arguments.samples // arguments.chunk)
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        x = np.maximum(rng.normal(size=(arguments.samples, 784)).astype(np.float32) - 0.8, 0)
        np.save(folder / "x.npy", x)
        program = snnir.compile(build([784, 512, 512, 10], rng), calibration=x[:256])
        program.save(folder / "p.snnir")
        program.run(x[:1])  # compiles the kernels, if this is the first time
        whole = timed(command(folder, "-o", str(folder / "once.npz")))
        parts = timed(command(folder, "--chunk", str(arguments.chunk), "-o", str(folder / "parts")))
        resumed = kill_and_resume(folder, arguments.chunk, chunks, arguments.kills)
        seconds = lose_a_worker(folder, arguments.chunk, chunks)
        expected = contents(folder / "parts")
        with np.load(folder / "once.npz") as once:
            equal = all(
                np.array_equal(once[entry], np.load(folder / "parts" / facts["file"]))
                for entry, facts in json.loads(expected["arrays.json"]).items()
            )
        facts = {
            "samples": arguments.samples,
            "chunks": chunks,
            "at once, seconds": round(whole[0], 2),
            "at once, largest memory in MiB": whole[1],
            "in chunks, seconds": round(parts[0], 2),
            "in chunks, largest memory in MiB": parts[1],
            "arrays equal to those of the run at once": equal,
            f"killed {arguments.kills} times: samples the last process found done": resumed,
            "killed: files that differ from the uninterrupted run's": differing(expected, contents(folder / "killed")),
            "cluster of 2 workers, one killed: seconds": round(seconds, 2),
            "cluster: files that differ": differing(expected, contents(folder / "cluster")),
            "this process, largest memory in MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
        }
    for key, value in facts.items():
        print(f"{key:<68} {value}")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(facts, indent=2), encoding="utf-8")


def differing(expected: dict[str, bytes], found: dict[str, bytes]) -> int:
    """Files that one side lacks or that hold other bytes."""
    return sum(expected.get(name) != found.get(name) for name in {*expected, *found})


if __name__ == "__main__":
    main()
