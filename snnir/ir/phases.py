"""Phases: when each value of a spiking graph of few-spike neurons is sent, known before the first run.

A few-spike population waits until its input is complete, so that every value has a first step and a step at which it is
complete, the same for every input.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from snnir.errors import UsageError
from snnir.ir.graph import Graph, Node, Value
from snnir.ir.op import Trait
from snnir.ir.ops import Accumulate, Clock, Encode, Fs, Function, If, Population, Product, Readout, Scan

__all__ = ["FEW_SPIKES", "INTEGRATE_FIRE", "NEURONS", "Phase", "Phases", "check_phased", "neuron_of", "phases_of"]

FEW_SPIKES, INTEGRATE_FIRE = "few-spikes", "if"
NEURONS = ("bif", FEW_SPIKES, INTEGRATE_FIRE)
"""The families of neurons: bipolar integrate-and-fire with a tracer, few-spike neurons, and integrate-and-fire on a clock."""


class Phase(NamedTuple):
    """The events of a value lie in the steps first..end-1 of its window; from step `end` on it is complete."""

    first: int
    end: int

    @property
    def steps(self) -> int:
        """How many steps events may lie in."""
        return self.end - self.first


_CHARGED = Phase(0, 1)
"""What encoders and constants charge."""


@dataclass
class Phases:
    """The schedule of a graph: the phases of its spike trains, and how many steps its windows take.

    `windows[""]` is the window outside of scans; the others are those of scans, by their first results.
    """

    of: dict[Value, Phase] = field(default_factory=dict)
    windows: dict[str, int] = field(default_factory=dict)

    def complete(self, values: Iterable[Value]) -> int:
        """The step from which on all of these values are complete."""
        return max((self.of[value].end for value in values if value in self.of), default=0)


def neuron_of(graph: Graph) -> str:
    """The family of neurons of a graph: `few-spikes` where a population is of few-spike neurons, `if` on a clock, else `bif`."""
    ops = [node.op for _, node in graph.walk()]
    if any(isinstance(op, Fs) for op in ops):
        return FEW_SPIKES
    return INTEGRATE_FIRE if any(isinstance(op, If | Clock) for op in ops) else "bif"


def check_phased(delivery: str, execution: str) -> None:
    """Raise `UsageError` for what few-spike neurons do not have."""
    if delivery == "replay":
        raise UsageError(
            "delivery 'replay' is for bif neurons: a few-spike train that is sent again from step 0 is the bits of its level, "
            "which is what 'relay' sends; choose relay or graded"
        )
    if delivery not in ("relay", "graded"):
        raise UsageError(f"delivery {delivery!r} is unknown; few-spike neurons have relay and graded")
    if execution != "reset":
        raise UsageError(
            f"execution {execution!r} is for bif neurons: a few-spike neuron tells the whole level of every window, so that "
            "nothing is left to carry; choose reset"
        )


def phases_of(graph: Graph, delivery: str = "relay", lengths: Mapping[str, int] | None = None) -> Phases:
    """The schedule of a spiking graph of few-spike neurons, scans in `reset` execution. Raises `UsageError`.

    `lengths` gives the number of elements of scans, by their first results: a scan without elements leaves its states as they
    came. Where it does not say, there are some.

    1. An encoder charges at step 0: [0, 1).
    2. A population starts when all its sources are complete, and takes a step for each bit: [s, s + b).
    3. A product of two values is one event, in the last step before both are complete: [e - 1, e).
    4. A function charges its levels in the step after all that it takes is complete: [e, e + 1).
    5. A maximum, and what is moved or joined, is there when its parts are: [first of all, end of all).
    6. What crosses the border of a scan's windows begins there at step 0: an element, a value shared by all windows, a result.
       A state of the window before comes as its bits ([0, b), `relay`) or at once ([0, 1), `graded`).
    """
    check_phased(delivery, "reset")
    found = Phases(windows={"": 0})
    found.windows[""] = _walk(graph, delivery, found, lengths or {})
    return found


def _walk(graph: Graph, delivery: str, found: Phases, lengths: Mapping[str, int]) -> int:
    """Enter the phases of a graph; the number of steps of its window."""
    last = 0
    for node in graph.nodes:
        if isinstance(node.op, Scan):
            _scan(node, node.op, delivery, found, lengths)
            continue
        inputs = [found.of[value] for value in node.operands if value in found.of]
        phase = _phase(node, inputs)
        if phase is None:
            continue
        if not isinstance(node.op, Readout):
            found.of.update(dict.fromkeys(node.outputs, phase))
        # what is only moved takes no step
        if node.op.has(Trait.EMITS) or isinstance(node.op, Readout | Accumulate):
            last = max(last, phase.end)
    return last


def _phase(node: Node, inputs: list[Phase]) -> Phase | None:
    op, end = node.op, max((phase.end for phase in inputs), default=0)
    if isinstance(op, Encode):
        return _CHARGED
    if isinstance(op, Fs):
        return Phase(end, end + op.steps)
    if isinstance(op, Population):
        raise UsageError(f"{node.describe()}: {op.name} neurons have no schedule; a graph is of one family of neurons")
    if isinstance(op, Function):
        return Phase(end, end + 1)
    if isinstance(op, Product):
        return Phase(max(end - 1, 0), end)
    return Phase(min(phase.first for phase in inputs), end) if inputs else None


def _scan(node: Node, op: Scan, delivery: str, found: Phases, lengths: Mapping[str, int]) -> None:
    body = node.inner
    for index, (inner, outer) in enumerate(zip(body.inputs, node.operands, strict=True)):
        if inner.type.dtype != "spike":
            continue
        found.of[inner] = _delivered(inner, delivery) if index < op.states else Phase(0, found.of.get(outer, _CHARGED).steps)
    entering = [found.of[value].end for value in body.inputs if value in found.of]
    found.windows[node.outputs[0].name] = max([_walk(body, delivery, found, lengths), *entering])
    empty = lengths.get(node.outputs[0].name, 1) == 0
    for index, (outer, inner) in enumerate(zip(node.outputs, body.outputs.values(), strict=True)):
        if inner in found.of:
            steps = 0 if empty else found.of[inner].steps
            if empty and index < op.states:
                steps = found.of.get(node.operands[index], _CHARGED).end
            found.of[outer] = Phase(0, steps)


def _delivered(state: Value, delivery: str) -> Phase:
    return Phase(0, 1 if delivery == "graded" else state.type.levels.magnitude_bits)
