"""A run over a data set in chunks: what was done before, what is left, and who does it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from snnir.errors import InputError, UnsupportedError, UsageError
from snnir.ir.dims import BATCH, Dimension
from snnir.runtime.streaming.chunks import Chunk, Options, Results, Runner, simulate_chunk
from snnir.runtime.streaming.sources import Source, digest_of, open_source
from snnir.runtime.streaming.store import Entry, Store, pack
from snnir.runtime.totals import RunTotals, right_answers

if TYPE_CHECKING:
    from snnir.runtime.program import Program

__all__ = ["DEFAULT_CHUNK", "StreamResult", "run_stream"]

DEFAULT_CHUNK = 1024
"""Samples in a chunk."""

_FORMAT = 1
_PARTS = ".parts"


@dataclass(frozen=True)
class StreamResult:
    """What a finished run took, and where its results are."""

    totals: RunTotals
    output: Path
    resumed: int
    """Samples that an earlier, interrupted run had done."""
    accuracy: float | None
    first: dict[str, np.ndarray]
    """The inputs of the first sample: how long sequences are."""


def run_stream(
    program: Program,
    inputs: str | Path,
    output: str | Path,
    options: Options | None = None,
    *,
    chunk: int = DEFAULT_CHUNK,
    labels: np.ndarray | None = None,
    threads: int | None = None,
    max_memory: int | None = None,
    cluster: object | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> StreamResult:
    """Run the data set `inputs` (see `open_source`) in chunks of `chunk` samples, and write results as they come.

    `output` is a folder with a `.npy` file for each array (see `snnir.runtime.streaming.store`), or a `.npz` file, which is put
    together from the folder `<output>.parts` in the end. Called again after an interruption, it goes on where it stopped:
    chunks that were finished are not computed again, and the results are the same bytes. It holds one chunk's inputs and
    results in memory, or with `cluster` as many as are under way.

    `cluster` is a Dask `distributed` client, or what one can be made of: a scheduler's address, a `LocalCluster`.
    `threads` are those of this process, or of one task in a cluster (default there: 1), and `max_memory` (see
    `RunOptions`) is for this process only. `labels` are class indices [N].
    `progress(done, total)` gets numbers of samples. Raises `UsageError` where the output holds a run of another program,
    other inputs or options, `InputError` for data that does not fit, naming the samples.
    """
    options = options or Options()
    if chunk < 1:
        raise UsageError(f"chunk is {chunk}; it must be 1 sample or more")
    _refuse_mixed_batches(program)
    source = open_source(program.graph("spiking"), inputs)
    if labels is not None and labels.shape != (source.samples,):
        raise InputError(f"expected {source.samples} class indices, found shape {list(labels.shape)}")
    output, content = Path(output), program.content()
    folder = _folder_of(output)
    starts = list(range(0, source.samples, chunk)) or [0]
    state = {
        "format": _FORMAT,
        "program": hashlib.sha256(content).hexdigest(),
        "inputs": source.layout,
        "options": asdict(options),
        "chunk": chunk,
        "stamp": source.stamp(),
    }
    with Store(folder) as store:
        _resume(store, state, source, chunk)
        resumed = sum(entry.totals.samples for entry in store.entries.values())
        _run_waiting(
            store, source, chunk, starts, resumed, _runner(program, content, options, threads, max_memory, cluster), progress
        )
        totals = store.finish()
        accuracy = None if labels is None else _accuracy(program, store, labels, chunk)
    if folder != output:
        pack(folder, output)
    return StreamResult(totals, output, resumed, accuracy, source.read(0, min(1, source.samples)))


def _run_waiting(
    store: Store,
    source: Source,
    chunk: int,
    starts: Sequence[int],
    done: int,
    runner: Runner,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Run the chunks that the store does not hold yet, of which `done` samples are there already, and write each."""
    waiting = [number for number in range(len(starts)) if number not in store.entries]
    if progress is not None:
        progress(done, source.samples)
    digests: dict[int, str] = {}

    def chunks() -> Iterator[Chunk]:
        for number in waiting:
            arrays = source.read(starts[number], min(starts[number] + chunk, source.samples))
            digests[number] = digest_of(arrays)
            yield number, arrays

    with closing(runner(chunks())) as results:
        for number, result in results:
            entry = Entry(number, digests.pop(number), result.totals)
            store.write(entry, source.samples, starts[number], result.arrays)
            done += result.totals.samples
            if progress is not None:
                progress(done, source.samples)


def _folder_of(output: Path) -> Path:
    """The folder that a run writes: `output`, or the parts of which a `.npz` file is made in the end. Raises `UsageError`."""
    packed = output.suffix == ".npz"
    if (packed and output.is_dir()) or (not packed and output.exists() and not output.is_dir()):
        raise UsageError(f"cannot write {output}: give a folder, or the name of a .npz file")
    return output.with_name(output.name + _PARTS) if packed else output


def _refuse_mixed_batches(program: Program) -> None:
    """An output such as [2*N, ...], or one whose size depends on the data, has no rows that belong to one sample."""
    graph = program.graph("spiking")
    shared = {name for value in graph.inputs for size in value.type.shape for name in _names(size)} - {BATCH}
    for name, value in graph.outputs.items():
        if value.type.batch_axis is None and any(_names(size) - shared for size in value.type.shape):
            raise UnsupportedError(
                f"output {name} has type {value.type}: its rows do not belong to single samples, so it cannot be written in "
                "chunks; run the program on the whole data set"
            )


def _names(size: Dimension) -> set[str]:
    return set(re.findall(r"[A-Za-z_]\w*", str(size)))


def _runner(
    program: Program,
    content: bytes,
    options: Options,
    threads: int | None,
    max_memory: int | None,
    cluster: object | None,
) -> Runner:
    if cluster is not None:
        if max_memory is not None:
            raise UsageError(
                "max_memory (--max-memory) is for a run in this process; limit the workers of a cluster when they start"
            )
        try:
            from snnir.runtime.streaming.cluster import cluster_runner
        except ModuleNotFoundError as error:
            if error.name not in ("dask", "distributed"):
                raise
            raise UsageError("a cluster needs Dask's distributed; install it with: pip install snnir[cluster]") from None
        return cluster_runner(cluster, content, options, threads or 1)

    def here(chunks: Iterator[Chunk]) -> Results:
        for number, arrays in chunks:
            yield number, simulate_chunk(program, arrays, options, threads, max_memory)

    return here


def _resume(store: Store, state: dict[str, object], source: Source, chunk: int) -> None:
    """Begin, or go on with a run of the same state. Raises `UsageError` naming what differs."""
    earlier = store.state()
    if earlier is None or not store.entries:
        store.begin(state)
        return
    advice = f"give another --output, or delete {store.folder} to start again"
    for key, what in (
        ("format", "format of the folder"),
        ("program", "program"),
        ("inputs", "shapes or dtypes of the inputs"),
        ("options", "options"),
        ("chunk", "size of the chunks"),
    ):
        if earlier.get(key) != state[key]:
            raise UsageError(
                f"{store.folder} holds results of another run: its {what} differs (there {_short(earlier.get(key))}, "
                f"now {_short(state[key])}); {advice}"
            )
    if earlier.get("stamp") == state["stamp"]:
        return
    for number, entry in sorted(store.entries.items()):  # files were written or copied since: compare what they hold
        start = number * chunk
        stop = min(start + chunk, source.samples)
        if digest_of(source.read(start, stop)) != entry.inputs:
            raise UsageError(
                f"{store.folder} holds results of another run: samples {start} to {stop - 1} of {source.path} are not what "
                f"they were; {advice}"
            )
    store.begin(state)


def _short(value: object) -> str:
    return f"{value[:12]}..." if isinstance(value, str) and len(value) == 64 else str(value)


def _accuracy(program: Program, store: Store, labels: np.ndarray, chunk: int) -> float:
    """As `snnir run` computes it, chunk by chunk where samples are the first axis."""
    if not len(labels):
        return float("nan")
    name, value = next(iter(program.graph("spiking").outputs.items()))
    outputs, right = store.array(f"output/{name}"), 0
    size = chunk if value.type.batch_axis == 0 else len(labels)
    for start in range(0, len(labels), size):
        part = outputs[start : start + size] if value.type.batch_axis == 0 else outputs
        right += right_answers({name: np.array(part)}, labels[start : start + size])
    return right / len(labels)
