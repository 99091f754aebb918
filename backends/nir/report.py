"""What an export says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["MODES", "Mismatch", "NirReport"]

MODES = ("exact", "lossy")
"""`exact`: each population is a graph of standard primitives; `lossy`: each is one `nir.IF`."""


@dataclass(frozen=True)
class Mismatch:
    """How one value of a lossy export compares with the integer reference, under one kind of reset."""

    name: str
    """The population, or the output."""
    reset: str
    """`v_reset`: as NIR defines `IF`; `subtract`: by the threshold, as several simulators do."""
    compared: int
    """Values compared: neurons times samples."""
    different: int
    """How many are not equal (outputs: beyond rounding)."""
    mean: float
    """Mean distance: levels for a population, real units for an output."""
    largest: float
    """Largest distance."""

    @property
    def share(self) -> float:
        """The share of values that differ."""
        return self.different / self.compared if self.compared else 0.0


@dataclass(frozen=True)
class NirReport:
    """What was written, and what a user of the file must know."""

    path: Path
    mode: str
    nodes: int
    """Nodes of the NIR graph, nested ones included."""
    populations: int
    neurons: int
    inputs: tuple[tuple[str, float, int, int], ...]
    """(NIR node, scale, lo, hi) of every input: it is given `clip(floor(x / scale + 1/2), lo, hi)`."""
    outputs: tuple[tuple[str, str], ...]
    """(NIR node, readout) of every output."""
    steps: int
    """`exact`: 0, the caller runs until nothing fires; `lossy`: the number of steps that counts mean levels for."""
    unrolled_scans: tuple[str, ...] = ()
    """Scans written out element by element."""
    unrolled_synapses: tuple[str, ...] = ()
    """Synapses written as one matrix, each with the reason."""
    host: tuple[str, ...] = ()
    """Ops that the host computes before or after the network, which the NIR graph does not hold."""
    float32: bool = True
    """Whether float32 arithmetic holds every sum exactly (certified ranges below 2^23)."""
    mismatches: tuple[Mismatch, ...] = ()
    """Of a lossy export: every population and output, under both resets."""
    segments: tuple[NirReport, ...] = ()
    """One for each file, where the program was cut at its functions."""
    samples: int = 0
    """Samples that the mismatch was measured on."""
