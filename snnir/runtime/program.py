"""A compiled program: the model at three levels, ready to run, verify and save."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from snnir.errors import FileFormatError, GraphError, UsageError
from snnir.html import section, table
from snnir.ir import BATCH, LEVELS, Dim, Graph
from snnir.ir.execute import bind_sizes, check_inputs, execute
from snnir.ir.phases import INTEGRATE_FIRE, neuron_of
from snnir.machine.clipping import clipped_counts, clipped_shares, clipping_text, too_many
from snnir.machine.host import Host
from snnir.machine.options import RunKeywords, RunOptions
from snnir.plugins import backends
from snnir.runtime.facts import CompileFacts
from snnir.runtime.groups import apart
from snnir.runtime.inputs import as_inputs, by_name
from snnir.version import __version__

if TYPE_CHECKING:
    from snnir.backends.simulator import SimulationResult, Simulator
    from snnir.backends.torch_spiking import SpikingModule
    from snnir.machine import IntegerProgram
    from snnir.runtime.accuracy import Diagnostic, Distance
    from snnir.runtime.comparison import Comparison
    from snnir.runtime.stream import Stream
    from snnir.runtime.verification import Verification

__all__ = ["Program"]

_KIND = "snnir-program"
_LOG = logging.getLogger("snnir")


class Program:
    """A model as `float`, `quantized` and `spiking` graph, with `facts` about how it was compiled.

    A program that was made of a bundle or of a spiking graph has the spiking graph only."""

    def __init__(self, graphs: Mapping[str, Graph], facts: Mapping[str, object]) -> None:
        self._graphs = dict(graphs)
        self.facts = facts if isinstance(facts, CompileFacts) else CompileFacts.of(facts)
        self._simulator: Simulator | None = None
        self._modules: dict[str, SpikingModule] = {}
        self._warned: set[str] = set()
        self._lowered: tuple[tuple[tuple[tuple[str, int], ...], str, str], IntegerProgram] | None = None

    def __repr__(self) -> str:
        graph = self._graphs["spiking"]
        taken = ", ".join(f"{value.name} {value.type}" for value in graph.inputs)
        given = ", ".join(f"{name} {value.type}" for name, value in graph.outputs.items())
        return f"<Program {graph.name}: {taken} -> {given}; {self.facts.neuron or neuron_of(graph)} neurons>"

    def summary(self) -> str:
        """What the program is, in a few lines: inputs and outputs, populations, steps, what was lost, notes and warnings."""
        from snnir.runtime.summary import program_summary

        return program_summary(self)

    def _repr_html_(self) -> str:
        """Levels, distances and warnings, for notebooks."""
        rows = []
        for level in self.levels:
            graph = self.graph(level)
            rows.append([level, f"{sum(1 for _ in graph.walk()):,}", f"{graph.parameter_count():,}"])
        known = {name: self.facts.get(name) for name in ("source", "neuron", "calibration_samples", "pipeline")}
        said = [f"{name.replace('_', ' ')}: {value}" for name, value in known.items() if value is not None]
        said += [f"distance to float: {item.name}: {item}" for item in self.distances]
        said += [f"warning: {item}" for item in self.warnings]
        parts = table(("level", "nodes", "parameters"), rows, numbers=(1, 2))
        return section(f"program {self.graph('spiking').name}", parts, *said)

    @property
    def levels(self) -> tuple[str, ...]:
        """The levels that it has: `float`, `quantized`, `spiking`; from a bundle or a spiking graph the last alone."""
        return tuple(level for level in LEVELS if level in self._graphs)

    def graph(self, level: str = "spiking") -> Graph:
        """The graph at `level`: `float` (as imported), `quantized` or `spiking`. Raises `UsageError`."""
        if level not in self._graphs:
            if level in LEVELS:
                raise UsageError(
                    f"this program has no {level} level: what it came from (a bundle, a NIR file or a spiking graph) holds the "
                    "spiking one only; use the program that this was made of"
                )
            raise UsageError(f"unknown level {level!r}; choose one of {', '.join(LEVELS)}")
        return self._graphs[level]

    @property
    def distances(self) -> list[Distance]:
        """How far each output was from the float model's on calibration data; none where there were no such data."""
        from snnir.runtime.accuracy import Distance

        return [Distance.read(item) for item in self.facts.distances or ()]

    @property
    def warnings(self) -> list[Diagnostic]:
        """What the compiler warned of: accuracy that was lost, suspect data and weights."""
        from snnir.runtime.accuracy import Diagnostic

        return [Diagnostic(**item) for item in self.facts.warnings or ()]

    @property
    def simulator(self) -> Simulator:
        """The event-driven simulator of the spiking graph."""
        if self._simulator is None:
            from snnir.backends.simulator import Simulator

            self._simulator = Simulator(self.graph("spiking"))
        return self._simulator

    def spiking_module(self, device: str = "cpu") -> SpikingModule:
        """The spiking graph as a PyTorch module on `device`. Raises `UsageError` without PyTorch, or without the device."""
        if device not in self._modules:
            from snnir.backends.torch_spiking import SpikingModule, usable_device

            found = usable_device(device)
            self._modules[device] = SpikingModule(self.graph("spiking")).to(found)
        return self._modules[device]

    def run(
        self,
        x: np.ndarray | Mapping[str, np.ndarray],
        *,
        progress: Callable[[int, int], None] | None = None,
        **options: Unpack[RunKeywords],
    ) -> SimulationResult:
        """Simulate the spiking network, event by event.

        `steps` None or "auto" runs every window to quiescence, which is exact; a number caps the inner time-steps of each
        window, and the result says whether it settled. `delivery` of recurrent spikes: `relay`, `replay` or `graded`.
        `execution` of scans: with `reset` neurons start afresh at every sequence element, with `carry` they keep their
        sums and tracers and send changes only: the same integers, fewer spikes where signals vary slowly. `encoding` of
        inputs: charged whole at step 0 (`s-analog`), or, for study and with `steps`, in as many portions (`m-analog`).
        `trace` keeps the outputs at every inner step, `record` rasters and membranes of the named populations, `counts` all
        settled tracers. `backend="torch"` runs the same spikes as dense tensors on `device` (default: `cpu`); it
        keeps no trace and no membranes, and counts no synaptic operations. Raises `InputError`,
        `UsageError`.

        Inputs beyond the range of the calibration data saturate: `result.clipped` has their share, and the logger `snnir` warns
        once for each input of which more than 1 % do, beyond those of the calibration data.
        """
        chosen = RunOptions.of(**options)
        graph = self.graph("spiking")
        inputs = by_name(graph, x)
        result = self._run(inputs, chosen, progress)  # both backends check the inputs
        result.outputs.update(apart(graph, result.outputs, x))
        for name, share in too_many(result.clipped_counts, self.facts.clipped_inputs).items():
            if name not in self._warned:
                self._warned.add(name)
                _LOG.warning(clipping_text(name, share))
        return result

    def _run(
        self, inputs: Mapping[str, np.ndarray], chosen: RunOptions, progress: Callable[[int, int], None] | None
    ) -> SimulationResult:
        if chosen.backend == "torch":
            module = self.spiking_module(chosen.device or "cpu")
            result = module.run(
                inputs,
                steps=chosen.steps,
                delivery=chosen.delivery,
                execution=chosen.execution,
                record=chosen.record,
                counts=chosen.counts,
            )
            if progress is not None:
                progress(len(result.steps), len(result.steps))
            result.clipped_counts.update(self._clipped(inputs))
            return result
        if chosen.backend != "simulator":
            found: SimulationResult = backends()[chosen.backend].run(self.graph("spiking"), inputs, chosen)
            return found
        return self.simulator.execute(inputs, chosen, count_clipped=True, progress=progress)

    def clipped(self, x: np.ndarray | Mapping[str, np.ndarray]) -> dict[str, float]:
        """For each input: the share of its numbers beyond the levels that calibration gave its encoder, which saturate.

        More than about 1 % (`snnir run` warns then) says that calibration data were not like these.
        """
        return clipped_shares(self._clipped(by_name(self.graph("spiking"), x)))

    def _clipped(self, inputs: Mapping[str, np.ndarray]) -> dict[str, tuple[int, int]]:
        graph = self.graph("spiking")
        arrays = check_inputs(graph, inputs)
        return clipped_counts(Host(graph, bind_sizes(graph, arrays), {value: arrays[value.name] for value in graph.inputs}, {}))

    def stream(self, states: Mapping[str, str] | None = None, **options: Any) -> Stream:
        """A stream of calls: the states that one call gives out are what the next one starts from, integer for integer.

        `states` names the output that gives the next value of each input that is a state; they are found where recurrences
        tell. `options` are those of `run`. Raises `UsageError` where the model has no states among inputs and outputs.
        """
        from snnir.runtime.stream import Stream

        return Stream(self, states, **options)

    def reference(self, x: np.ndarray | Mapping[str, np.ndarray], level: str = "quantized") -> dict[str, np.ndarray]:
        """Outputs by the reference executor at `level`: real numbers (float), or int64 arithmetic (quantized)."""
        graph = self.graph(level)
        return apart(graph, execute(graph, as_inputs(graph, x)), x)

    def verify(
        self,
        x: np.ndarray | Mapping[str, np.ndarray],
        *,
        delivery: str = "relay",
        execution: str = "reset",
        threads: int | None = None,
        max_memory: int | None = None,
        progress: Callable[[int, int], None] | None = None,
        model: Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]] | None = None,
    ) -> Verification:
        """Compare every settled tracer and readout with the integer reference, element by element.

        Outputs are compared with the float network's as well: with those that `model` gives for inputs by name, or else with
        the float graph's. Of neurons on a clock spikes are compared with the plain interpreter's, step by step.
        """
        from snnir.runtime.clocked_verification import verify_clocked
        from snnir.runtime.verification import verify_program

        inputs = as_inputs(self.graph("spiking"), x)
        if neuron_of(self.graph("spiking")) == INTEGRATE_FIRE:
            return verify_clocked(self, inputs, threads, progress, model, max_memory)
        return verify_program(self, inputs, delivery, execution, threads, progress, model, max_memory)

    def compare_executions(
        self,
        x: np.ndarray | Mapping[str, np.ndarray],
        *,
        delivery: str = "relay",
        steps: int | None = None,
        threads: int | None = None,
        max_memory: int | None = None,
    ) -> Comparison:
        """Run `x` with both executions: spikes and synaptic operations of each, and their ratio."""
        from snnir.runtime.comparison import compare_executions

        return compare_executions(self, as_inputs(self.graph("spiking"), x), delivery, steps, threads, max_memory=max_memory)

    def bounds(
        self, sizes: Mapping[str, int] | None = None, delivery: str = "relay", execution: str = "reset"
    ) -> dict[str, list[int]]:
        """Certified steps per window: `""` for all outside scans, and per scan (by its first result) one per element.

        `sizes` measures the open dimensions of the inputs, by their names; the batch does not matter. For few-spike neurons
        these are not bounds but the steps of every run. Raises `UsageError` naming a size that is missing.
        """
        from snnir.machine import settling

        found = settling(self._machine_program(sizes or {}, delivery, execution))
        return {"": [found.outer], **found.windows}

    def event_ranges(
        self, sizes: Mapping[str, int] | None = None, delivery: str = "relay", execution: str = "reset"
    ) -> dict[str, tuple[int, int]]:
        """Certified inclusive range of what each encoder, population, max and product emits in one step, by its name.

        Arguments and errors as those of `bounds`.
        """
        from snnir.machine import certify, emitting

        made = self._machine_program(sizes or {}, delivery, execution)
        trains = certify(made).trains
        return {name: trains[name]["events"] for name, (op, _) in emitting(made).items() if op.emits}

    def _machine_program(self, sizes: Mapping[str, int], delivery: str, execution: str) -> IntegerProgram:
        """The integer program for samples of these sizes; the last one is kept."""
        from snnir.machine import lower

        graph = self.graph("spiking")
        names = {str(size) for value in graph.inputs for size in value.type.shape if isinstance(size, Dim)} - {BATCH}
        if missing := sorted(names - set(sizes)):
            raise UsageError(f"bounds are those of samples of one size: give the size of {', '.join(missing)}")
        key = tuple(sorted((name, sizes[name]) for name in names)), delivery, execution
        if self._lowered is None or self._lowered[0] != key:
            self._lowered = key, lower(graph, dict(key[0]), delivery, execution).program
        return self._lowered[1]

    def save(self, path: str | Path) -> None:
        """Write the program to one file, whole or not at all. Raises `UsageError` where the path cannot be written."""
        from snnir.ir.storage import atomic_write

        atomic_write(Path(path), self.content())

    def content(self) -> bytes:
        """What `save` writes; the same program gives the same bytes."""
        from snnir.ir.storage import archive
        from snnir.ir.text import tensors, text

        data: dict[str, np.ndarray] = {}
        for graph in self._graphs.values():
            data.update(tensors(graph))
        texts = {level: text(graph) for level, graph in self._graphs.items()}
        return archive(texts, data, {"kind": _KIND, "snnir": __version__, "facts": dict(self.facts)})

    @classmethod
    def load(cls, path: str | Path) -> Program:
        """Read what `save` wrote. Raises `FileFormatError`."""
        from snnir.ir.parse import parse
        from snnir.ir.storage import read_archive
        from snnir.ir.verify import verify

        texts, data, manifest = read_archive(Path(path))
        facts = manifest.get("facts")
        if (
            manifest.get("kind") != _KIND
            or "spiking" not in texts
            or not set(texts) <= set(LEVELS)
            or not isinstance(facts, dict)
        ):
            raise FileFormatError(f"{path} is a snnir archive, but not a program; write one with `snnir compile`")
        try:
            graphs = {level: parse(source, data) for level, source in texts.items()}
            for level, graph in graphs.items():
                verify(graph)
                if graph.level != level:
                    raise FileFormatError(f"its {level} graph is of the {graph.level} level")
        except GraphError as error:
            raise FileFormatError(f"{path} holds a graph that does not hold together: {error}") from error
        try:
            return cls(graphs, facts)
        except ValueError as error:
            raise FileFormatError(f"{path} holds facts that snnir does not write: {error}") from error
