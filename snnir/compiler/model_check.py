"""What `snnir check` says of a model: the fate of every node, all refusals, and what the network will cost."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from snnir.compiler.estimates import LayerCost
from snnir.errors import Refusal
from snnir.html import bar, section, table
from snnir.ir import Dimension
from snnir.ir.dims import total

__all__ = ["FATES", "ModelCheck", "NodeFate", "Recurrence"]

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
    populations: tuple[LayerCost, ...]
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
        return total(item.neurons for item in self.populations if item.kind == "population")

    @property
    def synapses(self) -> Dimension:
        """Synapses into all populations and readouts."""
        return total(item.synapses for item in self.populations)

    @property
    def macs(self) -> Dimension:
        """Multiply-accumulates of one sample in the dense network."""
        return total(item.macs for item in self.populations)

    def _repr_html_(self) -> str:
        """What becomes of the nodes, for notebooks: how many of each fate, and all that do not spike."""
        counts, nodes = self.counts, max(len(self.nodes), 1)
        colours = {"spiking": "#2b9479", "folded": "#6d92c4", "host": "#c08327"}
        fates = [[fate, f"{count:,}", bar(count, nodes, colours.get(fate, "#c2253a"))] for fate, count in counts.items()]
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
