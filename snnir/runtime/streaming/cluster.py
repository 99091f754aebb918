"""Chunks spread over the workers of a Dask `distributed` cluster, which is there already.

The program goes to each worker once, as a worker plugin: Dask sets it up on the workers there are and on those that join or
come back later. A chunk's inputs travel with its task and stay with the scheduler until it is done, so a worker that is
lost takes nothing with it: the scheduler gives its tasks to others. Results come back in any order and have their places.
"""

from __future__ import annotations

import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from typing import TYPE_CHECKING

import dask
import distributed
import numpy as np
from distributed.comm import CommClosedError
from distributed.diagnostics.plugin import WorkerPlugin
from distributed.scheduler import KilledWorker

from snnir.errors import UsageError
from snnir.ir import LEVELS
from snnir.runtime.program import Program
from snnir.runtime.streaming.chunks import simulate_chunk
from snnir.version import __version__

if TYPE_CHECKING:
    from snnir.runtime.streaming.chunks import Chunk, ChunkResult, Options, Results, Runner

__all__ = ["cluster_runner"]

_AHEAD = 2
"""Tasks under way for each thread of the cluster: the next chunk is there when one is done."""

_PATIENCE = 300
"""Seconds to wait for a worker where none is left."""

_CONNECT = "10s"


class _Carrier(WorkerPlugin):  # type: ignore[misc]
    """The program on one worker. Each of its threads has a simulator of its own; they share the graphs."""

    def __init__(self, content: bytes, version: str) -> None:
        self.name = f"snnir-{uuid.uuid4().hex}"
        self._content, self._version = content, version
        self._refusal: str | None = None

    def setup(self, worker: distributed.Worker) -> None:
        """Read the program, once a worker."""
        if __version__ != self._version:
            self._refusal = f"worker {worker.address} has snnir {__version__}, this is {self._version}; install the same"
            raise UsageError(self._refusal)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "program.snnir"
            path.write_bytes(self._content)
            self._program = Program.load(path)
        self._content = b""
        self._local = threading.local()

    def program(self) -> Program:
        """The program of the calling thread. Raises `UsageError` on a worker that joined late, with another snnir."""
        if self._refusal is not None:
            raise UsageError(self._refusal)
        if not hasattr(self._local, "program"):
            graphs = {level: self._program.graph(level) for level in LEVELS}
            self._local.program = Program(graphs, self._program.facts)
        found: Program = self._local.program
        return found


def _task(name: str, arrays: dict[str, np.ndarray], options: Options, threads: int) -> ChunkResult:
    carrier = distributed.get_worker().plugins[name]
    return simulate_chunk(carrier.program(), arrays, options, threads)


def cluster_runner(cluster: object, content: bytes, options: Options, threads: int) -> Runner:
    """What runs chunks on `cluster`: a client, a scheduler's address or file, or what a client can be made of.

    Raises `UsageError` where nothing answers, or where no worker is left.
    """

    def run(chunks: Iterator[Chunk]) -> Results:
        try:
            yield from connected(chunks)
        except (CommClosedError, CancelledError) as error:
            raise UsageError(
                f"the scheduler at {cluster} was lost ({error}); run the same command again: what is done is kept"
            ) from error

    def connected(chunks: Iterator[Chunk]) -> Results:
        if isinstance(cluster, distributed.Client):
            yield from _spread(cluster, chunks, content, options, threads)
            return
        file = str(cluster) if str(cluster).endswith(".json") else None
        try:
            client = distributed.Client(None if file else cluster, scheduler_file=file, timeout=_CONNECT, set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            raise UsageError(
                f"no Dask scheduler answers at {cluster} ({error}); start one with `dask scheduler`, workers with `dask worker`"
            ) from error
        with client:
            yield from _spread(client, chunks, content, options, threads)

    return run


def _spread(client: distributed.Client, chunks: Iterator[Chunk], content: bytes, options: Options, threads: int) -> Results:
    carrier = _Carrier(content, __version__)
    _threads(client)
    running: dict[distributed.Future, int] = {}
    with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 TiB"}):  # a task carries its chunk
        try:
            client.register_plugin(carrier)
            while True:
                wanted = max(1, _AHEAD * _threads(client))
                while len(running) < wanted and (chunk := next(chunks, None)) is not None:
                    number, arrays = chunk
                    key = f"{carrier.name}-{number}"
                    running[client.submit(_task, carrier.name, arrays, options, threads, key=key, pure=False)] = number
                if not running:
                    return
                try:
                    with client.as_current():
                        done = distributed.wait(list(running), timeout=5, return_when="FIRST_COMPLETED").done
                except TimeoutError:
                    continue
                for future in done:
                    number = running.pop(future)
                    yield number, _result(future, number)
        except ModuleNotFoundError as error:
            raise UsageError(f"a worker of the cluster lacks {error.name}; install snnir[cluster] on all of them") from error
        finally:
            for future in running:
                future.cancel()
            client.unregister_worker_plugin(carrier.name)


def _threads(client: distributed.Client) -> int:
    """Threads of all workers; waits for the first. Raises `UsageError` where none comes."""
    deadline = time.monotonic() + _PATIENCE
    while not (found := sum(int(threads) for threads in client.nthreads().values())):
        if time.monotonic() > deadline:
            raise UsageError(
                f"the cluster at {client.scheduler.address} has had no worker for {_PATIENCE} s; start some with `dask worker`, "
                "and run the same command again: what is done is kept"
            )
        time.sleep(0.2)
    return found


def _result(future: distributed.Future, number: int) -> ChunkResult:
    try:
        found: ChunkResult = future.result()
        return found
    except KilledWorker as error:
        raise UsageError(
            f"chunk {number} took down every worker that tried it ({error}); give the workers more memory or a smaller --chunk"
        ) from error
