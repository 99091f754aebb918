"""A machine program as flat tables, which one compiled call runs: instructions, and the arrays that they take."""

from __future__ import annotations

import numpy as np

from snnir.backends.simulator.instructions import Cache, Instructions
from snnir.backends.simulator.kernels.constants import SPARE
from snnir.backends.simulator.pool import flat
from snnir.backends.simulator.segment import SEGMENT
from snnir.backends.simulator.segments import Segments
from snnir.backends.simulator.tables import (
    CLOCKED,
    COMBINATION,
    ELEMENT,
    EMITTER,
    ENCODER,
    FUNCTION,
    FUNCTION_SOURCE,
    GATHERED,
    INSTRUCTION,
    MICROCODE,
    PART,
    POPULATION,
    ROUNDING,
    SETTLED,
    SHARED,
    STACKED,
    STATE,
    WINDOWS,
    Layout,
    Tables,
)
from snnir.backends.simulator.windowed import keep_cut
from snnir.machine import Lowered
from snnir.machine.program import FewSpikes, IntegrateFire, Population, Summing

__all__ = ["assemble"]


def assemble(lowered: Lowered, cache: Cache) -> tuple[Tables, Layout]:
    """The tables of a machine program, and where its results stand.

    Raises `UnsupportedError` naming the node whose events are too large, or an emitter that the kernels lack.
    """
    written = Instructions(lowered, cache)
    outputs, settles = _outputs(written)
    layout = _layout(written, outputs, settles)
    tables = _tables(written, layout)
    keep_cut(tables)
    return tables, layout


def _outputs(written: Instructions) -> tuple[list[tuple[str, tuple[int, ...], int]], int]:
    """The outputs that are levels: their names, shapes and places among settled levels; and how many levels they are."""
    outputs, settles = [], 0
    for output in written.lowered.program.outputs:
        if output.kind == "levels":
            train = written.slots.trains[output.source]
            written.rows.add(SETTLED, written.slots.read([output.source], written.top), train.size, settles)
            outputs.append((output.name, train.shape, settles))
            settles += train.size
    return outputs, settles


def _layout(written: Instructions, outputs: list[tuple[str, tuple[int, ...], int]], settles: int) -> Layout:
    sizes, nodes = written.rows.sizes, written.lowered.nodes
    return Layout(
        emitters=tuple(written.emitters),
        segments=tuple(written.segment_names),
        readouts=tuple(written.readouts),
        outputs=tuple(outputs),
        encoders=tuple(written.encoders),
        windows=written.windows,
        columns_of=written.columns_of,
        columns=written.columns,
        counts=sizes["counts"],
        sums=sizes["sums"],
        settles=settles,
        levels=sizes["levels"],
        values={op.train.name: nodes[op.train.name].output for op, _, _ in written.readouts},
    )


def _code(written: Instructions) -> tuple[np.ndarray, np.ndarray]:
    """All instructions, those of bodies behind the outermost ones; and the rows of scans, which name where theirs stand."""
    code, windows = list(written.top), written.rows.table(WINDOWS)
    for row in windows:
        body = written.bodies[row["body"]]
        row["body"], row["body_end"] = len(code), len(code) + len(body)
        code += body
    return np.array(code, np.int64).reshape(-1, 2).copy().view(INSTRUCTION).reshape(-1), windows


def _tables(written: Instructions, layout: Layout) -> Tables:
    rows, slots, functions = written.rows, written.slots, written.microprogram
    code, windows = _code(written)
    populations = [own for _, own in written.populations]
    weights8, weights16, weights64, index, bias32, bias64 = written.cache.pool.of(populations)
    return Tables(
        top=len(written.top),
        slots=slots.slot_count,
        few=written.lowered.program.few,
        instructions=code,
        gathers=rows.table(GATHERED),
        parts=rows.table(PART),
        maps=flat(slots.maps, np.int64),
        emitters=rows.table(EMITTER),
        encoders=rows.table(ENCODER),
        roundings=np.array(written.roundings, ROUNDING),
        factors=np.concatenate([np.zeros(0, np.float32), *written.factors]),
        populations=rows.table(POPULATION),
        segments=np.concatenate([np.zeros(0, SEGMENT), *written.segment_rows]),
        inputs=np.array(written.inputs, np.int64),
        weights8=weights8,
        weights16=weights16,
        weights64=weights64,
        indices=index,
        bias32=bias32,
        bias64=bias64,
        parameter=flat([*(_parameters(op, own) for op, own in written.populations), np.zeros(SPARE, np.int32)], np.int32),
        layout=flat([own.layout for own in populations], np.int32),
        thresholds=flat(written.thresholds, np.int64),
        potentials=flat(written.potentials, np.int64),
        clocks=rows.table(CLOCKED),
        combinations=rows.table(COMBINATION),
        members=flat(written.members, np.int32),
        windows=windows,
        elements=rows.table(ELEMENT),
        states=rows.table(STATE),
        shared=rows.table(SHARED),
        stacked=rows.table(STACKED),
        settled=rows.table(SETTLED),
        functions=rows.table(FUNCTION),
        function_sources=rows.table(FUNCTION_SOURCE),
        microcode=np.array(functions.rows, MICROCODE),
        register_maps=functions.register_maps(),
        registers=functions.registers(),
        results=np.array(layout.results[:-1], np.int64),
        kept=np.array(list(rows.kept.values()), np.int64),
    )


def _parameters(op: Summing, segments: Segments) -> np.ndarray:
    """The row of thresholds of each neuron, in their order of storage (int32)."""
    if not isinstance(op, Population | FewSpikes | IntegrateFire):
        return np.zeros(op.train.size, np.int32)
    rows: np.ndarray = op.theta_map.array().astype(np.int32)[segments.layout]
    return rows
