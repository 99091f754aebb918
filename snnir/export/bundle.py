"""Bundles at the front door: a program as integers with golden vectors, and a bundle as a program again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from snnir.errors import InputError, UsageError
from snnir.ir.execute import check_inputs
from snnir.runtime.inputs import as_inputs, first_samples, sample_count, size_names, sizes_given
from snnir.version import __version__

if TYPE_CHECKING:
    from snnir.backends.bundle import Bundle, Golden
    from snnir.machine import IntegerProgram
    from snnir.machine.host_graphs import HostGraphs
    from snnir.runtime.program import Program

__all__ = ["bundle", "bundle_to_program", "load_bundle", "make_golden"]

GOLDEN_SAMPLES = 4
"""Samples of golden vectors where nothing else is asked for."""


def bundle(
    program: Program,
    x: np.ndarray | Mapping[str, np.ndarray] | None = None,
    *,
    samples: int = GOLDEN_SAMPLES,
    sizes: Mapping[str, int] | None = None,
    delivery: str = "relay",
    execution: str = "reset",
    unroll: bool = False,
) -> Bundle:
    """The spiking part of a program as a fixed-point bundle; `.save(path)` writes it.

    `x` are inputs as for `Program.run`; the first `samples` of them become golden vectors, and their sizes those of the
    bundle. Without them give `sizes`, the length of every open dimension by its name. `delivery` and `execution` are those
    of `Program.run`: a bundle has one of each. `unroll` writes every synapse as an entry of an address-event list instead
    of convolution geometry and matrices. Raises `UnsupportedError`, `UsageError`, `InputError`.
    """
    from snnir.backends.bundle import Bundle, unrolled
    from snnir.machine import lower, narrowed
    from snnir.machine.host_graphs import host_graphs

    graph = program.graph("spiking")
    data = None
    if x is not None:
        if samples < 1:
            raise UsageError(f"samples is {samples}; golden vectors need one or more")
        inputs = as_inputs(graph, x)
        data = check_inputs(graph, first_samples(graph, inputs, samples))
        if not sample_count(graph, data):
            raise InputError("the data hold 0 samples, and golden vectors need at least one")
    known = sizes_given(graph, sizes, data)
    missing = sorted(size_names(graph) - set(known))
    if missing:
        raise UsageError(f"a bundle is for samples of one size: give samples, or the size of {', '.join(missing)}")
    provenance = {"snnir": __version__, **{key: program.facts[key] for key in _FACTS if key in program.facts}}
    lowered = lower(graph, known, delivery, execution, provenance)
    made = narrowed(lowered.program)
    if unroll:
        made = unrolled(made)
    host = host_graphs(graph, known, lowered.nodes, [output.name for output in made.outputs if output.kind == "levels"])
    golden = make_golden(program, made, data, host) if data is not None else None
    return Bundle(made, golden, host=host)


_FACTS = ("source", "pipeline", "provenance")


def load_bundle(path: str | Path) -> Bundle:
    """The bundle in a `.snnb` file or folder. Raises `FileFormatError`."""
    from snnir.backends.bundle import Bundle

    return Bundle.load(path)


def make_golden(program: Program, made: IntegerProgram, data: Mapping[str, np.ndarray], host: HostGraphs) -> Golden:
    """What the simulator says of samples: levels of inputs, settled counts and every event."""
    from snnir.backends.bundle import Events, Golden
    from snnir.machine.program import Input, Readout, emitting

    known = emitting(made)
    record = [name for name, (op, _) in known.items() if not isinstance(op, Readout)]
    result = program.simulator.run(data, delivery=made.delivery, execution=made.execution, counts=True, record=record)
    samples = len(result.steps)
    golden = Golden(samples)
    reals = host.reals(data, made)
    for name, (op, windows) in known.items():
        shape = (samples, *(() if windows is None else (windows,)), op.train.size)
        counts = result.counts[name].reshape(shape)
        golden.counts[name] = counts
        if isinstance(op, Input):
            golden.inputs[name] = counts
            golden.reals[name] = reals[name]
        if not isinstance(op, Readout):
            rows = result.rasters[name]
            golden.events[name] = Events(rows, windows or 1, int(rows[:, 2].max(initial=-1)) + 1)
    return golden


def bundle_to_program(made: IntegerProgram, host: HostGraphs | None = None) -> Program:
    """A bundle's program as a `Program` of the spiking level alone: it runs and saves, and has no other level to verify.

    It takes and gives what the model does; without `host`, as in old files, it takes what encoders round and gives readouts.
    """
    from snnir.backends.bundle import to_graph
    from snnir.ir.verify import verify
    from snnir.runtime.program import Program

    graph = to_graph(made, host)
    verify(graph)
    facts = {**made.provenance, "delivery": made.delivery, "execution": made.execution}
    return Program({"spiking": graph}, facts)
