"""The manifest of a bundle: the integer program and all that is certified of it, as JSON and tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from snnir.backends.bundle.combinations import encode_combination
from snnir.backends.bundle.tensors import WIDEST, TensorWriter
from snnir.errors import UnsupportedError
from snnir.machine.emitters import Combining
from snnir.machine.microcode import Step
from snnir.machine.program import (
    Accumulator,
    Clock,
    Constant,
    Difference,
    FewSpikes,
    Function,
    IndexMap,
    Input,
    IntegerProgram,
    IntegrateFire,
    Op,
    Population,
    Readout,
    Route,
    RunningSum,
    Scan,
    Settled,
    Summing,
    Synapse,
    Train,
)
from snnir.machine.ranges import Bounds, Interval, bits_of
from snnir.machine.settling import Settling

__all__ = ["FORMAT", "VERSION", "encode_program"]

FORMAT, VERSION = "snnir-bundle", 5
"""Version 2 has gains, few-spike neurons and functions, version 3 the host's part as graphs, version 4
functions that tell changes, version 5 clocks and integrate-and-fire neurons; readers take all of them."""

Json = dict[str, object]


@dataclass
class _Encoder:
    tensors: TensorWriter
    delivery: str
    bounds: Bounds
    steps: Mapping[str, int]
    weight_bits: int

    def ops(self, ops: Sequence[Op]) -> list[Json]:
        return [self.op(op) for op in ops]

    def op(self, op: Op) -> Json:
        if isinstance(op, Scan):
            return self.scan(op)
        kind = type(op).__name__.lower()
        if isinstance(op, Readout):
            own: Json = {"name": op.train.name, "shape": list(op.train.shape), **self.summing(op)}
            own |= {"scale": self.tensors.reals(op.scale), "scale_map": self.map(op.scale_map)}
            return {"op": kind, **own}
        if isinstance(op, Accumulator):
            return {"op": kind, "name": op.train.name, "shape": list(op.train.shape), **self.summing(op)}
        own = {"train": self.train(op.train)}
        if isinstance(op, Input):
            own |= {"source": op.source, "rounding": "half up"}
        elif isinstance(op, Constant):
            own |= {"levels": self.tensors.integers(op.levels)}
        elif isinstance(op, Route):
            own |= {"sources": list(op.sources), "map": self.map(op.map)}
        elif isinstance(op, Population | FewSpikes):
            own |= {**self.summing(op), "neuron": "staircase" if op.staircase else "uniform"}
            own |= {"theta": self.tensors.integers(op.theta), "theta_map": self.map(op.theta_map)}
            if isinstance(op, FewSpikes):
                kind, own = "few_spikes", own | {"start": op.start_step, "omitted": op.omitted}
        elif isinstance(op, IntegrateFire):
            kind, own = "integrate_fire", own | self.summing(op)
            own |= {"theta": self.tensors.integers(op.theta), "theta_map": self.map(op.theta_map), "reset": op.reset}
            own |= {"start": op.start_potential, "shift": op.shift, "leak": op.leak, "delayed": op.delayed}
        elif isinstance(op, Clock):
            own |= {"source": op.source, "steps": op.steps, "kind": op.kind, "seed": op.seed, "first": op.first}
        elif isinstance(op, RunningSum):
            kind, own = "running_sum", own | self.summing(op)
        elif isinstance(op, Difference):
            own |= {"sources": list(op.names), "code": [self.step(step) for step in op.code]}
        elif isinstance(op, Combining):
            own |= encode_combination(op)
        elif isinstance(op, Settled):
            own |= {"source": op.source, "start": op.start, "segment": op.segment}
        elif isinstance(op, Function):
            own |= {"sources": list(op.names), "start": op.start, "segment": op.segment}
            own |= {"code": [self.step(step) for step in op.code]}
        else:
            raise UnsupportedError(f"{op.train.name}: a bundle of version {VERSION} holds no {kind}")
        return {"op": kind, **own}

    def step(self, step: Step) -> Json:
        found: Json = {"kind": step.kind, "operands": list(step.operands), "size": step.size}
        found["maps"] = [None if map_ is None else self.map(map_) for map_ in step.maps]
        if step.kind in ("sum", "max"):
            found["width"] = step.width
        if step.data is not None:
            found["data"] = self.tensors.integers(step.data, most=WIDEST)
        return found

    def train(self, train: Train) -> Json:
        certified = self.bounds.trains[train.name]
        return {
            "name": train.name,
            "shape": list(train.shape),
            "levels": [train.lo, train.hi],
            "scale": train.scale,
            "tracer": list(certified["tracer"]),
            "events": list(certified["events"]),
            "steps": self.steps[train.name],
        }

    def map(self, index: IndexMap) -> Json:
        if index.table is not None:
            return {"table": self.tensors.integers(index.table)}
        return {"offset": index.offset, "dims": [list(pair) for pair in index.dims]}

    def summing(self, op: Summing) -> Json:
        return {
            "synapses": [self.synapse(synapse) for synapse in op.synapses],
            "initial": self.tensors.integers(op.initial),
            "initial_map": self.map(op.initial_map),
            "registers": {name: _register(interval) for name, interval in self.bounds.registers[op.train.name].items()},
        }

    def synapse(self, synapse: Synapse) -> Json:
        found: Json = {
            "name": synapse.name,
            "source": synapse.source,
            "kind": synapse.kind,
            "weights": self.tensors.integers(synapse.weights, self.weight_bits),
            "inputs": list(synapse.inputs),
            "outputs": list(synapse.outputs),
        }
        if synapse.kind in ("dense", "conv"):
            found["groups"] = synapse.groups
        if synapse.kind == "conv":
            found |= {"stride": list(synapse.stride), "padding": list(synapse.padding), "dilation": list(synapse.dilation)}
        if synapse.weight_map is not None:
            found["weight_map"] = self.map(synapse.weight_map)
        if synapse.rows is not None and synapse.columns is not None:
            names = ("rows", "columns") if synapse.kind == "list" else ("targets", "offsets")
            found |= dict(zip(names, map(self.tensors.integers, (synapse.rows, synapse.columns)), strict=True))
        if synapse.spread is not None:
            found["spread"] = self.map(synapse.spread)
        if synapse.gain is not None:
            found["gain"] = self.tensors.integers(synapse.gain)
        return found

    def scan(self, op: Scan) -> Json:
        return {
            "op": "scan",
            "name": op.name,
            "windows": op.windows,
            "reverse": op.reverse,
            "states": [
                {
                    "input": self.train(state.input),
                    "initial": state.initial,
                    "following": state.following,
                    "final": self.train(state.final),
                    **_first(state.first),
                }
                for state in op.states
            ],
            "elements": [
                {
                    "input": self.train(element.input),
                    "source": element.source,
                    "at_once": element.at_once(self.delivery),
                    **_first(element.first),
                }
                for element in op.elements
            ],
            "shared": [
                {"input": self.train(shared.input), "source": shared.source, **_first(shared.first)} for shared in op.shared
            ],
            "results": [
                {"train": self.train(result.train), "source": result.source, **_first(result.first)} for result in op.results
            ],
            "ops": self.ops(op.ops),
        }


def _first(step: int) -> Json:
    """The step from which on a train crosses a border, where that is not step 0."""
    return {"first": step} if step else {}


def _register(interval: Interval) -> Json:
    return {"range": list(interval), "bits": bits_of(interval)}


def encode_program(
    program: IntegerProgram, bounds: Bounds, settling: Settling, tensors: TensorWriter, weight_bits: int = 2
) -> Json:
    """The manifest's part about a program; its tensors go to `tensors`. Weights take `weight_bits` or more."""
    encoder = _Encoder(tensors, program.delivery, bounds, settling.steps, weight_bits)
    return {
        "format": FORMAT,
        "version": VERSION,
        "name": program.name,
        "delivery": program.delivery,
        "execution": program.execution,
        **({"neuron": program.neuron} if program.neuron != "bif" else {}),
        "program": encoder.ops(program.ops),
        "steps": {"outside": settling.outer, "scans": settling.windows},
        "outputs": [{"name": output.name, "kind": output.kind, "source": output.source} for output in program.outputs],
        "host": list(program.host),
        "provenance": program.provenance,
        "tensors": tensors.facts,
    }
