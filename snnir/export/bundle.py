"""Bundles at the front door: a program as integers with golden vectors, and a bundle as a program again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from snnir.errors import UsageError
from snnir.ir.dims import BATCH, Dim
from snnir.ir.execute import bind_sizes, check_inputs
from snnir.runtime.inputs import as_inputs, first_samples, sample_count
from snnir.version import __version__

if TYPE_CHECKING:
    from snnir.backends.bundle import Bundle, Golden
    from snnir.machine import IntegerProgram
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

    graph = program.graph("spiking")
    known = dict(sizes or {})
    data = None
    if x is not None:
        if samples < 1:
            raise UsageError(f"samples is {samples}; golden vectors need one or more")
        inputs = as_inputs(graph, x)
        data = check_inputs(graph, first_samples(graph, inputs, samples))
        found = {name: size for name, size in bind_sizes(graph, data).items() if name != BATCH}
        wrong = [name for name, size in known.items() if found.get(name, size) != size]
        if wrong:
            raise UsageError(f"sizes gives {wrong[0]}={known[wrong[0]]}, the samples have {found[wrong[0]]}")
        known |= found
    needed = {str(size) for value in graph.inputs for size in value.type.shape if isinstance(size, Dim)} - {BATCH}
    if needed - set(known):
        raise UsageError(
            f"a bundle is for samples of one size: give samples, or the size of {', '.join(sorted(needed - set(known)))}"
        )
    provenance = {"snnir": __version__, **{key: program.facts[key] for key in _FACTS if key in program.facts}}
    made = narrowed(lower(graph, known, delivery, execution, provenance).program)
    if unroll:
        made = unrolled(made)
    golden = make_golden(program, made, data) if data is not None else None
    return Bundle(made, golden)


_FACTS = ("source", "pipeline", "provenance")


def load_bundle(path: str | Path) -> Bundle:
    """The bundle in a `.snnb` file or folder. Raises `FileFormatError`."""
    from snnir.backends.bundle import Bundle

    return Bundle.load(path)


def make_golden(program: Program, made: IntegerProgram, data: Mapping[str, np.ndarray]) -> Golden:
    """What the simulator says of samples: levels of inputs, settled counts and every event."""
    from snnir.backends.bundle import Events, Golden
    from snnir.machine.program import Input, Readout, emitting

    known = emitting(made)
    record = [name for name, (op, _) in known.items() if not isinstance(op, Readout)]
    result = program.simulator.run(data, delivery=made.delivery, execution=made.execution, counts=True, record=record)
    samples = len(result.steps)
    golden = Golden(samples)
    reals = _reals(program, data)
    for name, (op, windows) in known.items():
        shape = (samples, *(() if windows is None else (windows,)), op.train.size)
        counts = result.counts[name].reshape(shape)
        golden.counts[name] = counts
        if isinstance(op, Input):
            golden.inputs[name] = counts
            golden.reals[name] = reals[name].reshape(shape)
        if not isinstance(op, Readout):
            rows = result.rasters[name]
            golden.events[name] = Events(rows, windows or 1, int(rows[:, 2].max(initial=-1)) + 1)
    return golden


def _reals(program: Program, data: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What every encoder of inputs rounds, by the encoder's name: [N, ...], or [N, windows, ...] in order of processing."""
    from snnir.ir.execute import execute
    from snnir.ir.ops import Encode

    graph = program.graph("spiking")
    seen: dict[object, list[np.ndarray]] = {}
    execute(graph, data, lambda value, array: seen.setdefault(value, []).append(array))
    samples = sample_count(graph, data)
    found = {}
    for node in graph.nodes:
        if isinstance(node.op, Encode) and node.operands[0] in seen:
            found[node.output.name] = _whole(seen[node.operands[0]][0], samples)
        if node.body is not None:
            for inner in node.body.nodes:
                if isinstance(inner.op, Encode) and inner.operands[0] in seen:
                    windows = [_whole(array, samples) for array in seen[inner.operands[0]]]
                    found[f"{node.outputs[0].name}/{inner.output.name}"] = np.stack(windows, axis=1)
    return found


def _whole(array: np.ndarray, samples: int) -> np.ndarray:
    return np.broadcast_to(array, (samples, *array.shape[1:]))


def bundle_to_program(made: IntegerProgram) -> Program:
    """A bundle's program as a `Program` of the spiking level alone: it runs and saves, and has no other level to verify."""
    from snnir.backends.bundle import to_graph
    from snnir.ir.verify import verify
    from snnir.passes.certify_bounds import CertifyBounds
    from snnir.passes.infra import Context
    from snnir.runtime.program import Program

    graph = to_graph(made)
    verify(graph)
    graph = CertifyBounds().run(graph, Context({})).graph
    facts = {**made.provenance, "delivery": made.delivery, "execution": made.execution}
    return Program({"spiking": graph}, facts)
