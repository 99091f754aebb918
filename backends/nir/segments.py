"""One NIR file for each part between functions, and a manifest that says what the functions compute."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

from snnir.backends.nir.network import refuse_ops
from snnir.backends.nir.report import NirReport
from snnir.backends.nir.write import Source, write_nir
from snnir.errors import UsageError
from snnir.ir.dims import BATCH, dim
from snnir.ir.graph import Graph
from snnir.ir.op import SPIKING
from snnir.ir.storage import atomic_write
from snnir.ir.types import TensorType
from snnir.machine.addresses import IndexMap
from snnir.machine.cutting import Cut, Part, cut
from snnir.machine.host_graphs import HostGraphs
from snnir.machine.microcode import Step
from snnir.machine.program import Function, Input, Readout, Scan
from snnir.machine.unrolling import written_out

__all__ = ["MANIFEST", "write_segments"]

MANIFEST = "segments.json"
FORMAT, VERSION = "snnir-nir-segments", 1


def write_segments(source: Source, folder: str | Path, scans: bool = True) -> NirReport:
    """Write `segment0.nir`, `segment1.nir` ... and `segments.json` into a folder; the report has one for each file.

    Raises `UsageError` where the folder cannot be made, and `UnsupportedError` listing by name what NIR cannot express.
    """
    folder = Path(folder)
    refuse_ops(source.program, source.nodes, scans, functions=True)
    flat = written_out(source.program)
    nodes = {**source.nodes, **{name: source.nodes[base] for name, (base, _) in flat.copies.items() if base in source.nodes}}
    found = cut(flat.program)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write {folder}: {error.strerror}; choose a folder that can be made") from error
    reports = []
    for number, part in enumerate(found.parts):
        own = Source(part.program, _host(part), nodes)
        reports.append(write_nir(own, folder / f"segment{number}.nir"))
    content = json.dumps(_manifest(source, found, reports, flat.copies), indent=1, sort_keys=True)
    atomic_write(folder / MANIFEST, content.encode())
    return dataclasses.replace(
        reports[0],
        path=folder,
        nodes=sum(report.nodes for report in reports),
        populations=sum(report.populations for report in reports),
        neurons=sum(report.neurons for report in reports),
        unrolled_scans=tuple(f"{op.name}: {op.windows} elements" for op in source.program.ops if isinstance(op, Scan)),
        host=source.program.host,
        float32=all(report.float32 for report in reports),
        segments=tuple(reports),
    )


def _host(part: Part) -> HostGraphs:
    """A part takes what its encoders round, and gives what its readouts sum up, under their own names."""
    before, after = Graph(part.program.name, SPIKING), Graph(part.program.name, SPIKING)
    for op in part.program.ops:
        if isinstance(op, Input | Readout):
            graph = before if isinstance(op, Input) else after
            name = op.train.name
            graph.output(name, graph.input(name, TensorType((dim(BATCH), *op.train.shape), "f32")))
    return HostGraphs(before, after)


def _manifest(source: Source, found: Cut, reports: list[NirReport], copies: Mapping[str, tuple[str, int]]) -> dict[str, object]:
    segments = []
    for part, report in zip(found.parts, reports, strict=True):
        trains = {op.train.name: op.train for op in part.program.ops if isinstance(op, Input)}
        inputs = [
            {"node": node, "value": name, "from": part.given[name], **_element(name, copies), "shape": list(trains[name].shape)}
            | {"scale": scale, "lo": lo, "hi": hi}
            for (node, scale, lo, hi), name in zip(report.inputs, trains, strict=True)
        ]
        outputs = [
            {"node": node, "value": part.asked.get(name, name), "for": "functions" if name in part.asked else "model"}
            | _element(part.asked.get(name, name), copies)
            for node, name in report.outputs
        ]
        segments.append({"file": report.path.name, "inputs": inputs, "outputs": outputs})
    functions = [_function(op, following) for op, following in found.functions]
    return {
        "format": FORMAT,
        "version": VERSION,
        "name": source.program.name,
        "neuron": source.program.neuron,
        "segments": segments,
        "functions": functions,
        "constants": {op.train.name: op.levels.tolist() for op in found.constants},
        "host": list(source.program.host),
    }


def _element(name: str, copies: Mapping[str, tuple[str, int]]) -> dict[str, object]:
    """Of what stood in the body of a scan: what it was called there, and the element that it is for."""
    return {} if name not in copies else {"body_value": copies[name][0], "element": copies[name][1]}


def _function(op: Function, following: int) -> dict[str, object]:
    return {
        "value": op.train.name,
        "shape": list(op.train.shape),
        "before_segment": following,
        "sources": list(op.names),
        "levels": [op.train.lo, op.train.hi],
        "scale": op.train.scale,
        "code": [_step(step) for step in op.code],
    }


def _step(step: Step) -> dict[str, object]:
    """A step of microcode as docs/bundle.md describes it, with its maps and integers written out."""
    found: dict[str, object] = {"kind": step.kind, "operands": list(step.operands), "size": step.size}
    found["maps"] = [_map(map_) for map_ in step.maps]
    if step.kind in ("sum", "max"):
        found["width"] = step.width
    if step.data is not None:
        found["data"] = step.data.tolist()
    return found


def _map(map_: IndexMap | None) -> list[int] | None:
    return None if map_ is None else map_.array().tolist()
