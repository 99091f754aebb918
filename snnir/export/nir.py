"""Other people's formats for spiking networks: NIR out and in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from snnir.errors import UnsupportedError, UsageError
from snnir.ir import SPIKING, Graph
from snnir.ir.dims import BATCH
from snnir.runtime.inputs import as_inputs, size_names, sizes_given

if TYPE_CHECKING:
    from snnir.backends.nir import NirReport
    from snnir.backends.nir.write import Source
    from snnir.runtime.program import Program

__all__ = ["export_nir", "import_nir", "source_of"]


def export_nir(
    program: Program,
    path: str | Path,
    mode: str = "exact",
    *,
    calibration: np.ndarray | Mapping[str, np.ndarray] | None = None,
    unroll: bool = True,
    lengths: Mapping[str, int] | None = None,
    segments: bool = False,
) -> NirReport:
    """Write the spiking network to a `.nir` file (docs/nir.md), whole or not at all, and say what was written.

    `mode` "exact": each population is a graph of standard NIR primitives that sends the same spikes at the same steps.
    "lossy": each is one `nir.IF`; the report says how far its counts are from the integers on `calibration` (one array, or
    arrays by input name), which it then needs. Recurrent layers are written out element by element, which sends the
    spikes of `delivery="replay"` (`unroll=False` refuses them instead); `lengths` gives open sequence lengths their size, like
    `{"T": 8}`, where `calibration` does not. `segments` cuts the network at its functions (softmax, normalisations): `path` is a
    folder then, with a file for each part and `segments.json`, which says what the functions compute.

    Raises `UnsupportedError` listing by name what NIR cannot express, `UsageError` without the package `nir`, for
    options out of range or a path that cannot be written, `InputError` for data that does not fit.
    """
    from snnir.backends.nir import write_nir, write_segments

    if segments and mode != "exact":
        raise UsageError("segments are written in the exact form only; leave out lossy, or segments")
    graph = program.graph(SPIKING)
    data = as_inputs(graph, calibration) if calibration is not None else None
    source = source_of(graph, sizes_given(graph, lengths, data))
    return write_segments(source, path, unroll) if segments else write_nir(source, path, mode, data=data, scans=unroll)


def source_of(graph: Graph, sizes: Mapping[str, int]) -> Source:
    """What is written of a spiking graph, for sequences of these lengths. Raises `UnsupportedError` where a length is open."""
    from snnir.backends.nir.write import Source
    from snnir.machine import lower
    from snnir.machine.host_graphs import host_graphs

    missing = sorted(size_names(graph) - set(sizes))
    if missing:
        raise UnsupportedError(
            f"program {graph.name} has the open length {missing[0]}, and NIR has no loop; give the length to write it out for, "
            f"lengths={{'{missing[0]}': 8}} (command line: --length {missing[0]}=8)"
        )
    lowered = lower(graph, {name: size for name, size in sizes.items() if name != BATCH}, _delivery(graph))
    levels = [output.name for output in lowered.program.outputs if output.kind == "levels"]
    return Source(lowered.program, host_graphs(graph, sizes, lowered.nodes, levels), lowered.nodes)


def _delivery(graph: Graph) -> str:
    from snnir.ir.phases import FEW_SPIKES, neuron_of

    return "relay" if neuron_of(graph) == FEW_SPIKES else "replay"


def import_nir(path: str | Path) -> Graph:
    """Read a `.nir` file.

    An exact export of snnir comes back as its spiking graph: the same spikes at the same steps. A
    NIR graph without neurons (`Linear`, `Affine`, `Scale`, convolutions, `Flatten`, sum and average pools) becomes a float
    graph. `compile` takes either. Everything else is refused by name. Raises `FileFormatError`, `UnsupportedError`, and
    `UsageError` without the package `nir`.
    """
    from snnir.backends.nir import read_nir

    return read_nir(path)
