"""Other people's formats for spiking networks: NIR out and in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from snnir.ir import SPIKING, Graph
from snnir.runtime.inputs import as_inputs

if TYPE_CHECKING:
    from snnir.backends.nir import NirReport
    from snnir.runtime.program import Program

__all__ = ["export_nir", "import_nir"]


def export_nir(
    program: Program,
    path: str | Path,
    mode: str = "exact",
    *,
    calibration: np.ndarray | Mapping[str, np.ndarray] | None = None,
    unroll: bool = False,
    lengths: Mapping[str, int] | None = None,
) -> NirReport:
    """Write the spiking network to a `.nir` file (docs/nir.md), whole or not at all, and say what was written.

    `mode` "exact": each population is a graph of standard NIR primitives that sends the same spikes at the same steps.
    "lossy": each is one `nir.IF`; the report says how far its counts are from the integers on `calibration` (one array, or
    arrays by input name), which it then needs. `unroll` writes recurrent layers out element by element, which sends the
    spikes of `delivery="replay"`; `lengths` gives open sequence lengths their size, like `{"T": 8}`.

    Raises `UnsupportedError` listing by name what NIR cannot express, `UsageError` without the package `nir`, for
    options out of range or a path that cannot be written, `InputError` for data that does not fit.
    """
    from snnir.backends.nir import write_nir

    graph = program.graph(SPIKING)
    data = as_inputs(graph, calibration) if calibration is not None else None
    return write_nir(graph, path, mode, data=data, scans=unroll, lengths=lengths)


def import_nir(path: str | Path) -> Graph:
    """Read a `.nir` file.

    An exact export of snnir comes back as its spiking graph, bounds certified anew: the same spikes at the same steps. A
    NIR graph without neurons (`Linear`, `Affine`, `Scale`, convolutions, `Flatten`, sum and average pools) becomes a float
    graph, which `compile` takes. Everything else is refused by name. Raises `FileFormatError`, `UnsupportedError`, and
    `UsageError` without the package `nir`.
    """
    from snnir.backends.nir import read_nir

    graph = read_nir(path)
    if graph.level != SPIKING:
        return graph
    from snnir.passes import Context, parse_pipeline, run_pipeline

    return run_pipeline(graph, parse_pipeline("certify-bounds"), Context({}), check=False)[-1].graph
