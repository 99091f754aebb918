"""Check a model before anything is compiled: the fate of every node, all refusals at once, and what the network will cost."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from snnir.compiler.estimates import Population, estimated_steps, populations
from snnir.compiler.open_sizes import OpenSizes, advice
from snnir.compiler.options import ImportOptions
from snnir.errors import GraphError, Refusal, SnnirError, UnsupportedError, unforeseen
from snnir.html import bar, section, table
from snnir.ir import Dimension, Graph, Node
from snnir.ir.ops import Movement, Observe, Recurrent, Scan
from snnir.ir.phases import INTEGRATE_FIRE
from snnir.passes import CompileOptions, Context, Placed, before_calibration, pipeline_for, try_observers
from snnir.passes.clock_neurons import clock_refusals

if TYPE_CHECKING:
    import onnx
    import torch

    from snnir.ir.lowering.survey import Survey

__all__ = ["FATES", "ModelCheck", "NodeFate", "Recurrence", "check"]

_LAYERS = ("RNN", "GRU", "LSTM")
_MOVED = "that change their places"
FATES = ("spiking", "folded", "host", "refused", "blocked")
"""What can become of a node: spikes compute it exactly; it is known while compiling or merged into its neighbours; the host
computes it before or after the network; it is refused; it takes what a refused node gives, so nothing can be said."""


@dataclass(frozen=True)
class NodeFate:
    """What becomes of one node of the user's model, and why."""

    operator: str
    name: str
    fate: str
    reason: str
    inside: str
    """The node whose body it is part of; empty outside of bodies."""


@dataclass(frozen=True)
class Recurrence:
    """A recurrent structure: a layer, an ONNX Scan or Loop, or unrolled steps that were rolled back into one."""

    kind: str
    name: str
    states: int
    length: Dimension


@dataclass(frozen=True)
class ModelCheck:
    """What `snnir check` says. Sizes that the model leaves open are symbols (`T`, or the name in the model)."""

    model: str
    provenance: str
    metadata: Mapping[str, str]
    """What the model says of itself: domain, version, description, the pairs of its maker."""
    nodes: tuple[NodeFate, ...]
    refusals: tuple[Refusal, ...]
    recurrences: tuple[Recurrence, ...]
    populations: tuple[Population, ...]
    steps: Mapping[str, int]
    """Inner time-steps of a window: `""` outside scans, each scan by its first result. Empty where nodes are refused."""
    certified: bool
    """Whether `steps` are the certified bounds of a compiled program; else they are estimates from the graph alone."""
    bits: int
    notes: tuple[str, ...]
    scans: Mapping[str, str]
    """For each scan, by its first result (as `steps` and `populations` name it), the node of the model that it is."""

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} {fate}" for fate, count in self.counts.items())
        return f"<ModelCheck {self.model}: {'ok' if self.ok else 'refused'}; {counts or 'no nodes'}>"

    def place(self, scan: str) -> str:
        """A scan in the user's words; itself where no node of the model is behind it."""
        return self.scans.get(scan, scan)

    @property
    def ok(self) -> bool:
        """Whether nothing is refused."""
        return not self.refusals

    @property
    def counts(self) -> dict[str, int]:
        """Nodes by fate."""
        found = Counter(node.fate for node in self.nodes)
        return {fate: found[fate] for fate in FATES if found[fate]}

    @property
    def neurons(self) -> Dimension:
        """Neurons of all populations; those in the body of a scan count once."""
        return _sum(item.neurons for item in self.populations if item.kind == "population")

    @property
    def synapses(self) -> Dimension:
        """Synapses into all populations and readouts."""
        return _sum(item.synapses for item in self.populations)

    @property
    def macs(self) -> Dimension:
        """Multiply-accumulates of one sample in the dense network."""
        return _sum(item.macs for item in self.populations)

    def _repr_html_(self) -> str:
        """What becomes of the nodes, for notebooks: how many of each fate, and all that do not spike."""
        counts, total = self.counts, max(len(self.nodes), 1)
        colours = {"spiking": "#2b9479", "folded": "#6d92c4", "host": "#c08327"}
        fates = [[fate, f"{count:,}", bar(count, total, colours.get(fate, "#c2253a"))] for fate, count in counts.items()]
        others = [
            [node.operator, node.name, node.fate, node.reason] for node in self.nodes if node.fate not in ("spiking", "folded")
        ]
        size = f"{self.neurons} neurons, {self.synapses} synapses, {self.macs} multiply-accumulates a sample"
        parts = [table(("operator", "node", "fate", "why"), others)] if others else []
        verdict = "converts" if self.ok else f"{len(self.refusals)} refusals"
        return section(f"{self.model}: {verdict}", table(("fate", "nodes", ""), fates, numbers=(1,)), size, *parts)

    def facts(self) -> dict[str, object]:
        """The report for JSON: numbers, or text where a size is open."""
        return {
            "model": self.model,
            "provenance": self.provenance,
            "metadata": dict(self.metadata),
            "ok": self.ok,
            "counts": self.counts,
            "nodes": [dataclasses.asdict(node) for node in self.nodes],
            "refusals": [dataclasses.asdict(refusal) for refusal in self.refusals],
            "recurrences": [{**vars(item), "length": _plain(item.length)} for item in self.recurrences],
            "bits": self.bits,
            "steps": dict(self.steps),
            "steps_are": "certified" if self.certified else "estimated",
            "neurons": _plain(self.neurons),
            "synapses": _plain(self.synapses),
            "macs": _plain(self.macs),
            "populations": [{key: _plain(value) for key, value in vars(item).items()} for item in self.populations],
            "notes": list(self.notes),
            "scans": dict(self.scans),
        }


def _plain(value: Dimension | str) -> int | str:
    return value if isinstance(value, int) else str(value)


def _sum(values: Iterable[Dimension]) -> Dimension:
    total: Dimension = 0
    for value in values:
        total = total + value
    return total


def check(
    model: str | Path | bytes | onnx.ModelProto | torch.export.ExportedProgram,
    *,
    calibration: np.ndarray | Mapping[str, np.ndarray] | None = None,
    bits: int = 4,
    neuron: str = "bif",
    steps: int = 32,
    allow_host: bool = False,
    batch_axes: Mapping[str, int | None] | None = None,
    constants: Mapping[str, object] | None = None,
    dims: Mapping[str, int | str] | None = None,
    requantize: bool = False,
) -> ModelCheck:
    """What would become of a model, without compiling it.

    With `calibration` (inputs like those to come) the model is compiled, where nothing is refused, and the steps are its
    certified bounds; else they are estimated from `bits`. `neuron`, `steps`, `allow_host`, `batch_axes`, `constants`, `dims` and
    `requantize` are those of `snnir.compile`; open sizes that a refused node may need get the numbers of the calibration data.
    Raises `ModelError` for what cannot be read; what snnir does not support is part of the report.
    """
    from snnir.compiler.importing import as_read
    from snnir.frontends.onnx import with_constants

    pipeline_for(CompileOptions(bits=bits, neuron=neuron, steps=steps))  # raises for what is out of range
    if constants:
        model = with_constants(cast("Any", model), constants)
    model, notes = as_read(model, ImportOptions(requantize=requantize))
    sizes = OpenSizes(dims, calibration)
    sizes.notes += notes
    while True:
        found, graph = _checked(model, calibration, bits, (neuron, steps), allow_host, batch_axes, sizes)
        if found.ok or not sizes.take(found.refusals, graph):
            hint = "" if found.ok else advice(found.refusals, graph)
            return dataclasses.replace(found, notes=(*found.notes, hint)) if hint else found


def _surveyed(model: object) -> Survey:
    from snnir.compiler.importing import is_torch

    if is_torch(model):
        from snnir.frontends.torch import survey_torch

        return survey_torch(cast("Any", model))
    from snnir.frontends.onnx import survey

    return survey(cast("Any", model))


def _checked(
    model: str | Path | bytes | onnx.ModelProto | torch.export.ExportedProgram,
    calibration: np.ndarray | Mapping[str, np.ndarray] | None,
    bits: int,
    neuron: tuple[str, int],
    allow_host: bool,
    batch_axes: Mapping[str, int | None] | None,
    sizes: OpenSizes,
) -> tuple[ModelCheck, Graph]:
    """The check with the sizes that are known so far; and the graph, as far as it could be imported."""
    known = _surveyed(model)
    graph, refused = _imported(model, known.name, batch_axes, sizes)
    imported = {origin for _, node in graph.walk() for origin in node.origin}
    simple, recurrences, late = _simplified(graph)
    refused += [item for item in late if item.node not in {earlier.node for earlier in refused}]
    costs: tuple[Population, ...] = ()
    spiking, hosts, scans, steps = set[str](), dict[str, str](), dict[str, str](), dict[str, int]()
    try:
        placed = try_observers(simple, allow_host)
        refused += [item for item in placed.refused if item.node not in {earlier.node for earlier in refused}]
        if neuron[0] == INTEGRATE_FIRE:
            refused += [item for item in clock_refusals(placed.graph) if item.node not in {earlier.node for earlier in refused}]
        spiking, hosts = _origins(placed)
        costs = populations(placed)
        scans = {node.outputs[0].name: _label(node) for _, node in placed.graph.walk() if isinstance(node.op, Scan)}
        steps = {} if refused else estimated_steps(placed, bits, *neuron)
    except Exception as error:  # where nodes are refused already, what is left of the graph need not make sense
        if not refused:
            reason, trace = unforeseen(error)
            refused.append(Refusal(known.name, reason, (), frozenset(), trace))
    fates = tuple(_fates(known, refused, imported, spiking, hosts))
    certified = False
    if calibration is not None and not refused:
        steps, certified = _certified(model, calibration, bits, neuron, allow_host, batch_axes, sizes.dims), True
    found = ModelCheck(
        known.name,
        known.provenance,
        known.metadata,
        fates,
        tuple(refused),
        tuple(recurrences),
        costs,
        steps,
        certified,
        bits,
        (*graph.notes, *sizes.notes),
        scans,
    )
    return found, graph


def _imported(
    model: str | Path | bytes | onnx.ModelProto | torch.export.ExportedProgram,
    name: str,
    batch_axes: Mapping[str, int | None] | None,
    sizes: OpenSizes,
) -> tuple[Graph, list[Refusal]]:
    """The graph, as far as the model can be imported, and what was refused."""
    from snnir.compiler.importing import import_model

    try:
        return import_model(model, batch_axes=batch_axes, dims=sizes.dims), []
    except UnsupportedError as error:
        graph = _as_far_as_it_goes(error.partial) if isinstance(error.partial, Graph) else Graph(name)
        return graph, [*(error.refusals or (Refusal(name, str(error)),))]
    except Exception as error:
        if isinstance(error, SnnirError) and not isinstance(error, GraphError):
            raise
        reason, trace = (str(error), "") if isinstance(error, SnnirError) else unforeseen(error)
        return Graph(name), [Refusal(name, reason, (), frozenset(), trace)]


def _as_far_as_it_goes(graph: Graph) -> Graph:
    """A graph whose import stopped, with all that nothing takes as its outputs."""
    for node in list(graph.nodes):
        for value in node.outputs:
            if not value.uses:
                graph.output(value.name, value)
    return graph


def _label(node: Node) -> str:
    first, *more = node.origin or (node.outputs[0].name,)
    return f"{first} and {len(more)} more" if more else first


def _simplified(graph: Graph) -> tuple[Graph, list[Recurrence], list[Refusal]]:
    """The passes before calibration, going on behind a refusal; and the recurrent structures that they meet."""
    met = (item for _, node in graph.walk() if (item := _recurrence(node)) is not None)
    named: dict[str, Recurrence] = {}
    for item in met:  # a layer that steps inside a scan made of it counts once, as that scan
        named.setdefault(item.name, item)
    found, names = list(named.values()), set(named)
    refused: list[Refusal] = []
    for pass_ in before_calibration(CompileOptions()):
        try:
            graph = pass_.run(graph, Context()).graph
        except UnsupportedError as error:
            refused += error.refusals or (Refusal(pass_.name, str(error)),)
        except Exception as error:  # the checks that follow say more than one failure
            reason, trace = unforeseen(error)
            refused.append(Refusal(pass_.name, reason, (), frozenset(), trace))
        if pass_.name == "roll-recurrences":
            later = [item for _, node in graph.walk() if (item := _recurrence(node)) is not None]
            found += [dataclasses.replace(item, kind="rolled-back steps") for item in later if item.name not in names]
    return graph, found, refused


def _recurrence(node: Node) -> Recurrence | None:
    """What a node is as a recurrent structure; None for all others."""
    op, label = node.op, node.describe()
    operator, _, name = label.partition(" ")
    if isinstance(op, Recurrent):
        return Recurrence(f"{op.name.upper()} layer", name, op.STATES, node.operands[0].type.shape[1])
    if isinstance(op, Scan):
        named = operator in ("Scan", "Loop", *_LAYERS) and len(node.origin) == 1
        layer = f"{operator} layer" if operator in _LAYERS else operator
        length = node.operands[op.states].type.shape[op.axis]
        return Recurrence(layer if named else "scan", name if named else label, op.states, length)
    return None


def _origins(placed: Placed) -> tuple[set[str], dict[str, str]]:
    """Origins of nodes that spikes compute, and of those of the host with where they stand."""
    spiking: set[str] = set()
    hosts: dict[str, str] = {}
    for _, node in placed.graph.walk():
        if isinstance(node.op, Observe):  # it carries the origin of what it observes
            continue
        if node not in placed.host:
            spiking.update(node.origin)
            continue
        place = "before the network" if placed.raw.issuperset(node.outputs) else "after the network"
        what = f"only the host computes {node.op.name}" if node.op.host else "it goes with what only the host computes"
        type_ = node.outputs[0].type
        kind = "words" if type_.dtype == "str" else "integers" if type_.is_exact else "real numbers"
        what = f"{kind} {_MOVED}" if isinstance(node.op, Movement) else what
        hosts.update((origin, f"{place}: {what}") for origin in node.origin)
    return spiking, hosts


def _fates(
    known: Survey, refused: list[Refusal], imported: set[str], spiking: set[str], hosts: Mapping[str, str]
) -> Iterator[NodeFate]:
    reasons: dict[str, list[str]] = {}
    for refusal in refused:
        for origin in refusal.origins:
            reasons.setdefault(origin, []).append(refusal.reason)
    constant = known.constant()
    blocked = known.behind({origin for origin in reasons if origin not in imported})
    for node in known.nodes:
        if node.origin in reasons:
            fate, reason = "refused", "; ".join(dict.fromkeys(reasons[node.origin]))
        elif node.origin in blocked and node.origin not in imported:
            fate, reason = "blocked", "it takes what a refused node gives"
        elif node.origin in spiking:
            part = hosts.get(node.origin, "")
            fate, reason = "spiking", f"but for a part {part}" if part and not part.endswith(_MOVED) else ""
        elif node.origin in hosts:
            fate, reason = "host", hosts[node.origin]
        elif node.origin in imported:
            fate, reason = "folded", "merged into its neighbours"
        elif node.origin in constant:
            fate, reason = "folded", "known while compiling"
        else:
            fate, reason = "folded", "nothing is left to compute"
        yield NodeFate(node.operator, node.name, fate, reason, node.inside)


def _certified(
    model: str | Path | bytes | onnx.ModelProto | torch.export.ExportedProgram,
    calibration: np.ndarray | Mapping[str, np.ndarray],
    bits: int,
    neuron: tuple[str, int],
    allow_host: bool,
    batch_axes: Mapping[str, int | None] | None,
    dims: Mapping[str, int | str],
) -> dict[str, int]:
    """The longest window outside scans and of each scan, of the compiled program."""
    from snnir.compiler.compile import compile
    from snnir.ir.execute import bind_sizes
    from snnir.runtime.inputs import as_inputs

    program = compile(
        model,
        calibration=calibration,
        bits=bits,
        neuron=neuron[0],
        steps=neuron[1],
        allow_host=allow_host,
        batch_axes=batch_axes,
        dims=dims,
        check=False,
    )
    spiking = program.graph("spiking")
    bounds = program.bounds(bind_sizes(spiking, as_inputs(spiking, calibration)))
    return {name: max(windows, default=0) for name, windows in bounds.items()}
