"""From a manifest that its schema allows to the integer program: every size, name and index in it is checked first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from snnir.backends.bundle.combinations import COMBINATIONS, decode_combination
from snnir.backends.bundle.decode_functions import decode_code
from snnir.backends.bundle.decode_parts import PartsDecoder
from snnir.backends.bundle.fields import Fields
from snnir.backends.bundle.tensors import TensorReader
from snnir.machine.program import (
    Accumulator,
    Clock,
    Constant,
    Difference,
    Element,
    Emitter,
    FewSpikes,
    Function,
    IndexMap,
    Input,
    IntegerProgram,
    IntegrateFire,
    Op,
    Output,
    Population,
    Readout,
    Result,
    Route,
    RunningSum,
    Scan,
    Settled,
    Shared,
    State,
    Synapse,
    Train,
)

__all__ = ["decode_program"]

_NONE: dict[str, object] = {}


def decode_program(manifest: Fields, tensors: TensorReader) -> IntegerProgram:
    """The program of a manifest. Raises `FileFormatError`."""
    decoder = _Decoder(tensors, {}, set())
    ops = decoder.ops(manifest.objects("program"))
    outputs = []
    for fields in manifest.objects("outputs"):
        output = Output(fields["name"], fields["kind"], fields["source"])
        known: Mapping[str, object] = _NONE
        if output.kind in ("levels", "real"):
            known = decoder.trains if output.kind == "levels" else decoder.readouts
        elif output.kind == "host":
            known = {"": None}
        if output.source not in known:
            raise fields.error(f"{output.kind!r} of {output.source[:80]!r} is unknown")
        outputs.append(output)
    protocols = manifest["delivery"], manifest["execution"]
    host, provenance, neuron = tuple(manifest["host"]), manifest["provenance"], manifest.get("neuron", "bif")
    return IntegerProgram(manifest["name"], *protocols, ops, tuple(outputs), host, provenance, neuron)


_Neurons = tuple[Train, tuple[Synapse, ...], np.ndarray, IndexMap, np.ndarray, IndexMap, bool]


class _Decoder(PartsDecoder):
    """Reads the ops of one body."""

    def __init__(self, tensors: TensorReader, trains: dict[str, Train], names: set[str]) -> None:
        super().__init__(tensors, trains, names)
        self.readouts: dict[str, object] = {}
        self.accumulators: dict[str, Train] = {}

    def ops(self, found: list[Fields]) -> tuple[Op, ...]:
        """All ops, in order."""
        readers: dict[str, Callable[[Fields], Op]] = {
            "input": lambda fields: Input(self.train(fields.object("train")), fields["source"]),
            "constant": self._constant,
            "route": self._route,
            "population": lambda fields: self._entered(fields, Population(*self._neurons(fields))),
            "few_spikes": self._few_spikes,
            "clock": self._clock,
            "integrate_fire": self._integrate_fire,
            "readout": self._readout,
            "accumulator": self._accumulator,
            "function": self._function,
            "settled": self._settled,
            "difference": self._difference,
            "running_sum": self._running_sum,
            "scan": self._scan,
        }
        readers |= {kind: partial(self._combination, kind) for kind in COMBINATIONS}
        return tuple(readers[fields["op"]](fields) for fields in found)

    def _entered(self, fields: Fields, op: Emitter) -> Emitter:
        """An emitter that is well-formed, whose train may be read from now on."""
        self.fail(fields, op.problems(self.trains))
        self.trains[op.train.name] = op.train
        return op

    def _constant(self, fields: Fields) -> Constant:
        train, levels = self.train(fields.object("train")), self.flat(fields["levels"])
        if levels.size != train.size or (levels.size and not (train.lo <= levels.min() and levels.max() <= train.hi)):
            raise fields.error(f"its levels are not {train.size} integers in {train.lo}..{train.hi}")
        return Constant(train, levels)

    def _route(self, fields: Fields) -> Route:
        sources = tuple(self.known(fields, name).name for name in fields["sources"])
        route = Route(self.train(fields.object("train")), sources, self.map(fields.object("map")))
        self.fail(fields, route.problems(self.trains))
        return route

    def _combination(self, kind: str, fields: Fields) -> Op:
        op = decode_combination(kind, self.train(fields.object("train"), enter=False), fields)
        for source in op.sources:
            self.known(fields, source)
        return self._entered(fields, op)

    def _neurons(self, fields: Fields) -> _Neurons:
        train, theta = self.train(fields.object("train"), enter=False), self.tensors.integers(fields["theta"])
        if not theta.ndim:
            raise fields.error("its thresholds are one number")
        summing, theta_map = self.summing(fields), self.map(fields.object("theta_map"))
        return train, *summing, theta, theta_map, fields["neuron"] == "staircase"

    def _few_spikes(self, fields: Fields) -> Emitter:
        op = FewSpikes(*self._neurons(fields), fields["start"], fields["omitted"])
        if op.omitted > op.train.bits:
            raise fields.error(f"{op.omitted} bits are left out of {op.train.bits}")
        return self._entered(fields, op)

    def _clock(self, fields: Fields) -> Emitter:
        train, source = self.train(fields.object("train"), enter=False), self.known(fields, fields["source"]).name
        return self._entered(fields, Clock(train, source, fields["steps"], fields["kind"], fields["seed"], fields["first"]))

    def _integrate_fire(self, fields: Fields) -> Emitter:
        train, theta = self.train(fields.object("train"), enter=False), self.tensors.integers(fields["theta"])
        summing, theta_map = self.summing(fields), self.map(fields.object("theta_map"))
        own = fields["reset"], fields["start"], fields["shift"], fields["leak"], fields["delayed"]
        return self._entered(fields, IntegrateFire(train, *summing, theta, theta_map, *own))

    def _readout(self, fields: Fields) -> Readout:
        train, summing = self.sums(fields), self.summing(fields)
        scale = self.tensors.reals(fields["scale"]).reshape(-1).astype(np.float64)
        op = Readout(train, *summing, scale, self.map(fields.object("scale_map")))
        self.fail(fields, op.problems(self.trains))
        self.readouts[train.name] = train
        return op

    def _accumulator(self, fields: Fields) -> Accumulator:
        train = self.sums(fields)
        op = Accumulator(train, *self.summing(fields))
        self.fail(fields, op.problems(self.trains))
        self.accumulators[train.name] = train
        return op

    def _settled(self, fields: Fields) -> Settled:
        train = self.train(fields.object("train"))
        source = self.known(fields, fields["source"], train.size).name
        return Settled(train, fields["start"], fields["segment"], source)

    def _function(self, fields: Fields) -> Function:
        train, names = self.train(fields.object("train")), tuple(fields["sources"])
        if not names:
            raise fields.error("a function without sources")
        sums = tuple(name in self.accumulators for name in names)
        sizes = [self.accumulators[name].size if name in self.accumulators else self.known(fields, name).size for name in names]
        return Function(train, fields["start"], fields["segment"], names, sums, decode_code(self, fields, sizes, train.size))

    def _difference(self, fields: Fields) -> Difference:
        train, names = self.train(fields.object("train")), tuple(fields["sources"])
        if not names:
            raise fields.error("a function without sources")
        sizes = [self.known(fields, name).size for name in names]
        return Difference(train, names, decode_code(self, fields, sizes, train.size))

    def _running_sum(self, fields: Fields) -> Emitter:
        train = self.train(fields.object("train"), enter=False)
        return self._entered(fields, RunningSum(train, *self.summing(fields)))

    def _scan(self, fields: Fields) -> Scan:
        windows = fields["windows"]
        inner = _Decoder(self.tensors, {}, self.names)
        started = [(item, inner.train(item.object("input"))) for item in fields.objects("states")]
        elements = []
        for item in fields.objects("elements"):
            train = inner.train(item.object("input"))
            source = self.known(item, item["source"], train.size * windows).name
            elements.append(Element(train, source, item["at_once"], item.get("first", 0)))
        shared = []
        for item in fields.objects("shared"):
            train = inner.train(item.object("input"))
            shared.append(Shared(train, self.known(item, item["source"], train.size).name, item.get("first", 0)))
        ops = inner.ops(fields.objects("ops"))
        states = []
        for item, train in started:
            initial, following = self.known(item, item["initial"], train.size), inner.known(item, item["following"], train.size)
            final = self.train(item.object("final"))
            if final.size != train.size:
                raise item.error("its final state has another size")
            states.append(State(train, initial.name, following.name, final, item.get("first", 0)))
        results = []
        for item in fields.objects("results"):
            train = self.train(item.object("train"))
            if train.size % windows:
                raise item.error(f"{train.size} addresses for {windows} windows")
            source = inner.known(item, item["source"], train.size // windows).name
            results.append(Result(train, source, item.get("first", 0)))
        self.readouts |= inner.readouts
        whole = tuple(states), tuple(elements), tuple(shared), tuple(results), ops
        return Scan(fields["name"], windows, fields["reverse"], *whole)
