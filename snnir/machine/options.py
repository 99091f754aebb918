"""How a spiking network runs: the options of all backends, checked in one place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict, Unpack

from snnir.errors import UsageError
from snnir.ir.dims import BATCH, concrete
from snnir.ir.graph import Graph, Node
from snnir.ir.op import SPIKING
from snnir.ir.ops import Encode, Scan
from snnir.ir.phases import FEW_SPIKES, INTEGRATE_FIRE, check_phased, neuron_of
from snnir.ir.protocols import Delivery, Encoding, Execution
from snnir.plugins import backends

__all__ = ["DELIVERIES", "ENCODINGS", "EXECUTIONS", "RunKeywords", "RunOptions", "batch_size", "check_graph"]

DELIVERIES = tuple(Delivery)
EXECUTIONS = tuple(Execution)
ENCODINGS = tuple(Encoding)


class RunKeywords(TypedDict, total=False):
    """`RunOptions` as keyword arguments; a test holds the two together."""

    steps: int | str | None
    delivery: str
    execution: str
    encoding: str
    trace: bool
    record: Sequence[str]
    counts: bool
    threads: int | None
    max_memory: int | None
    backend: str
    device: str | None


@dataclass(frozen=True)
class RunOptions:
    """How a spiking network runs, for all backends. Raises `UsageError` naming the choices, or what an option needs."""

    steps: int | None = None
    """The most inner time-steps of a window; None (or "auto") runs every window to quiescence, which is exact."""
    delivery: Delivery = Delivery.RELAY
    execution: Execution = Execution.RESET
    encoding: Encoding = Encoding.S_ANALOG
    trace: bool = False
    """Keep the outputs at every inner step."""
    record: tuple[str, ...] = ()
    """Populations, encoders of inputs and maxes whose rasters and membranes are kept."""
    counts: bool = False
    """Keep all settled tracers."""
    threads: int | None = None
    """Threads over samples; None: all cores. The result does not depend on it."""
    max_memory: int | None = None
    """Bytes that results and events of the simulator may take; None: half of what is free. Fewer threads take samples where
    their events are many."""
    backend: str = "simulator"
    device: str | None = None
    """The device of the torch backend; None: `cpu`."""

    @classmethod
    def of(cls, **options: Unpack[RunKeywords]) -> RunOptions:
        """Options as users give them: choices by their names, `steps` "auto" for None."""
        known: dict[str, Any] = dict(options)
        if isinstance(steps := known.get("steps"), str):
            if steps != "auto":
                raise UsageError(f"steps={steps!r}: give a number of inner time-steps, or auto")
            known["steps"] = None
        for name, choice in (("delivery", Delivery), ("execution", Execution), ("encoding", Encoding)):
            if name in known:
                known[name] = choice.of(known[name])
        record = known.get("record", ())
        if isinstance(record, str):
            raise UsageError(f"cannot record {record!r}; give a sequence of names, like [{record!r}]")
        return cls(**known | {"record": tuple(record)})

    def __post_init__(self) -> None:
        if self.steps is not None and self.steps < 1:
            raise UsageError(f"steps is {self.steps}; it must be 1 or more, or None to run until nothing fires")
        if self.threads is not None and self.threads < 1:
            raise UsageError(f"threads is {self.threads}; it must be 1 or more")
        if self.max_memory is not None and self.max_memory < 1:
            raise UsageError(f"max_memory is {self.max_memory}; it must be 1 byte or more")
        if self.encoding == Encoding.M_ANALOG:
            if self.steps is None:
                raise UsageError("m-analog spreads inputs over the steps of a window, so it needs their number: give steps")
            if self.execution != Execution.RESET:
                raise UsageError(
                    f"m-analog is for execution reset, where every window receives whole levels; execution is {self.execution!r}"
                )
        if self.backend == "torch":
            if self.trace or self.threads is not None or self.max_memory is not None:
                raise UsageError(
                    "the torch backend takes neither trace nor threads (torch.set_num_threads sets them) nor max_memory"
                )
            if self.encoding != Encoding.S_ANALOG:
                raise UsageError(
                    f"the torch backend charges inputs as s-analog only; encoding {self.encoding!r} is the simulator's"
                )
        elif self.backend != "simulator":
            if self.backend not in backends():
                raise UsageError(
                    f"backend {self.backend!r} is unknown; choose one of {', '.join(('simulator', 'torch', *backends()))}"
                )
        elif self.device is not None:
            raise UsageError(f"device {self.device!r} is for backend 'torch'; the simulator runs on the processor")

    @property
    def carry(self) -> bool:
        """Whether neurons go on from window to window."""
        return self.execution == Execution.CARRY

    @property
    def in_portions(self) -> bool:
        """Whether inputs are charged in portions."""
        return self.encoding == Encoding.M_ANALOG

    def check(self, graph: Graph, recordable: Iterable[str]) -> None:
        """Raise `UsageError` for what the neurons of a graph do not have, and for names that cannot be recorded."""
        neuron = neuron_of(graph)
        if neuron == INTEGRATE_FIRE and (self.steps is not None or self.in_portions or self.trace or self.carry):
            raise UsageError(
                "integrate-and-fire neurons take the steps of their clock, and what inputs send is compiled into it: leave "
                "steps, trace, encoding and execution away, and compile with other steps (--steps) or another encoder (--encoder)"
            )
        if neuron == FEW_SPIKES:
            check_phased(self.delivery, self.execution)
            if self.steps is not None:
                raise UsageError(
                    f"steps is {self.steps}; few-spike neurons take the steps of their schedule, and none of their levels is "
                    "there before its last one. Leave steps away, or compile with omitted_bits (--omitted-bits), which leaves "
                    "out the last bits of levels"
                )
        names = list(recordable)
        unknown = [name for name in self.record if name not in names]
        if unknown:
            raise UsageError(f"cannot record {', '.join(map(repr, unknown))}; a sequence of these can be: {', '.join(names)}")


def check_graph(graph: Graph) -> None:
    """Raise `UsageError` unless the graph is at the spiking level."""
    if graph.level != SPIKING:
        raise UsageError(f"graph {graph.name} is at the {graph.level} level; the simulator runs the {SPIKING} level")


def batch_size(graph: Graph, sizes: Mapping[str, int]) -> int:
    """The number of samples: the size of the batch dimension, or what a graph of a fixed batch encodes."""
    if BATCH in sizes:
        return sizes[BATCH]

    def first(nodes: Iterable[tuple[Graph, Node]]) -> int:
        for _, node in nodes:
            value = node.outputs[0]
            if isinstance(node.op, Encode | Scan) and not node.operands[0].is_constant and value.type.rank:
                return concrete(value.type.shape[0])
        return 1

    return first(graph.walk())
