"""One chunk of a run over a data set: what it is computed with, and what it gives."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from snnir.machine.options import RunOptions
from snnir.runtime.totals import RunTotals

if TYPE_CHECKING:
    from snnir.backends.simulator import SimulationResult
    from snnir.runtime.program import Program

__all__ = ["Chunk", "ChunkResult", "Options", "Results", "Runner", "simulate_chunk"]


@dataclass(frozen=True)
class Options:
    """What a result depends on besides program and inputs; meanings and errors as in `Program.run`."""

    steps: int | None = None
    delivery: str = "relay"
    execution: str = "reset"
    backend: str = "simulator"
    device: str | None = None

    def __post_init__(self) -> None:
        RunOptions.of(**asdict(self))


@dataclass(frozen=True)
class ChunkResult:
    """The arrays of a chunk by name with the axis of their samples, and its totals."""

    arrays: dict[str, tuple[int | None, np.ndarray]]
    totals: RunTotals


Chunk = tuple[int, dict[str, np.ndarray]]
Results = Generator[tuple[int, ChunkResult], None, None]
Runner = Callable[[Iterator[Chunk]], Results]


def simulate_chunk(
    program: Program, arrays: Mapping[str, np.ndarray], options: Options, threads: int | None, max_memory: int | None = None
) -> ChunkResult:
    """Run one chunk, and name its arrays as `snnir run` does."""
    result = program.run(arrays, **asdict(options), threads=threads, max_memory=max_memory)
    return ChunkResult(_named(program, result), RunTotals.of(result))


def _named(program: Program, result: SimulationResult) -> dict[str, tuple[int | None, np.ndarray]]:
    types = {name: value.type for name, value in program.graph("spiking").outputs.items()}
    arrays = {f"output/{name}": (types[name].batch_axis, array) for name, array in result.outputs.items()}
    arrays |= {f"spikes/{name}": (0, array) for name, array in result.spikes.items()}
    arrays |= {f"synops/{name}": (0, array) for name, array in result.synops.items()}
    return arrays | {"steps": (0, result.steps)}
