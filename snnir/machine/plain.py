"""A spiking graph in the plain interpreter: lowered, run and named again. It is the oracle of all backends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from snnir.ir.execute import bind_sizes, check_inputs
from snnir.ir.graph import Graph, Node, Value
from snnir.machine.host import Host
from snnir.machine.interpreter import interpret
from snnir.machine.lowering import Lowered, lower
from snnir.machine.options import RunOptions, batch_size, check_graph
from snnir.machine.plain_result import PlainResult
from snnir.machine.program import Emitter, Input, Readout, Scan, emitting

__all__ = ["PlainResult", "charged_levels", "simulate_plain"]


def simulate_plain(
    graph: Graph,
    inputs: Mapping[str, np.ndarray],
    *,
    steps: int | None = None,
    delivery: str = "relay",
    execution: str = "reset",
    encoding: str = "s-analog",
    record: Sequence[str] = (),
) -> PlainResult:
    """Simulate a spiking graph step by step; options as in `Simulator.run`.

    Raises `InputError`, `UsageError`, and `UnsupportedError` where the graph has no machine program.
    """
    check_graph(graph)
    arrays = check_inputs(graph, inputs)
    sizes = bind_sizes(graph, arrays)
    options = RunOptions.of(steps=steps, delivery=delivery, execution=execution, encoding=encoding, record=record)
    lowered = lower(graph, sizes, delivery, execution)
    known = emitting(lowered.program)
    options.check(graph, [name for name, (op, _) in known.items() if op.emits])
    host = Host(graph, sizes, {value: arrays[value.name] for value in graph.inputs}, {})
    batch = batch_size(graph, sizes)
    levels = charged_levels(lowered, host, batch)
    found = interpret(lowered.program, levels, batch=batch, cap=steps, spread=options.in_portions, record=record)

    def shaped(name: str, array: np.ndarray) -> np.ndarray:
        """An array [..., n] as [..., *sample]."""
        return array.reshape(*array.shape[:-1], *known[name][0].train.shape)

    result = PlainResult(
        spikes=found.spikes,
        synops=found.synops,
        charges=found.charges,
        windows=found.windows,
        steps=found.steps,
        unsettled=found.unsettled,
        undelivered=found.undelivered,
        membranes={name: shaped(name, sums) for name, sums in found.sums.items()},
        arrivals=found.arrivals,
    )
    readouts: dict[Value, np.ndarray] = {}
    for name, counts in found.counts.items():
        if isinstance(known[name][0], Readout):
            readouts[lowered.nodes[name].output] = result.sums[name] = shaped(name, counts)
            continue
        result.counts[name] = shaped(name, counts)
        trains = shaped(name, found.trains[name])  # [N, (windows,) steps, ...]
        result.trains[name] = np.moveaxis(trains, 0, 1) if known[name][1] is None else np.moveaxis(trains, 0, 2)
    reals = host.finish(readouts)
    sources = {output.name: output.source for output in lowered.program.outputs if output.kind == "levels"}
    for name, value in graph.outputs.items():
        result.outputs[name] = found.settled[sources[name]] if name in sources else reals[value]
    return result


def charged_levels(lowered: Lowered, host: Host, batch: int) -> dict[str, np.ndarray]:
    """The levels of every input, int64 [N, n] or, inside a scan, [N, windows, n]."""
    found = {}
    scans = [(op, op.ops) for op in lowered.program.ops if isinstance(op, Scan)]
    for scan, ops in [(None, lowered.program.ops), *scans]:
        for op in ops:
            if isinstance(op, Input):
                found[op.train.name] = _charged(lowered, host, op, None if scan is None else lowered.nodes[scan.name], batch)
    return found


def _charged(lowered: Lowered, host: Host, op: Emitter, scan: Node | None, batch: int) -> np.ndarray:
    value, size = lowered.nodes[op.train.name].output, op.train.size
    rows = [
        np.broadcast_to(body.levels[value], (batch, *op.train.shape)).reshape(batch, size).astype(np.int64)
        for body in ([host] if scan is None else host.windows[scan])
    ]
    if scan is None:
        return rows[0]
    return np.stack(rows, axis=1) if rows else np.zeros((batch, 0, size), np.int64)
