"""From a manifest back to the integer program. Nothing in it is believed: every size, name and index is checked first."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from snnir.backends.bundle.combinations import COMBINATIONS, decode_combination
from snnir.backends.bundle.fields import LARGEST_TRAIN, Fields
from snnir.backends.bundle.tensors import TensorReader
from snnir.errors import GraphError
from snnir.ir.ops import Conv
from snnir.ir.ops.affine import MOST_GAIN
from snnir.ir.protocols import Delivery, Execution
from snnir.ir.types import Quantization, TensorType
from snnir.machine.microcode import KINDS, Step
from snnir.machine.program import (
    Accumulator,
    Constant,
    Difference,
    Element,
    FewSpikes,
    Function,
    IndexMap,
    Input,
    IntegerProgram,
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

_LARGEST_LEVEL = 1 << 40

_NONE: dict[str, object] = {}


def decode_program(manifest: Fields, tensors: TensorReader) -> IntegerProgram:
    """The program of a manifest, whose fields are taken out. Raises `FileFormatError`."""
    name, delivery, execution = (manifest.get(key, str) for key in ("name", "delivery", "execution"))
    if delivery not in tuple(Delivery) or execution not in tuple(Execution):
        raise manifest.error(f"delivery {delivery!r} and execution {execution!r} are unknown")
    neuron = manifest.get("neuron", str) if manifest.has("neuron") else "bif"
    if neuron not in ("bif", "few-spikes"):
        raise manifest.error(f"neuron {neuron!r} is unknown")
    decoder = _Decoder(tensors, {}, set())
    ops = decoder.ops(manifest.objects("program"))
    manifest.get("steps", dict)
    outputs = []
    for fields in manifest.objects("outputs"):
        output = Output(fields.get("name", str), fields.get("kind", str), fields.get("source", str))
        known: Mapping[str, object] = _NONE
        if output.kind in ("levels", "real"):
            known = decoder.trains if output.kind == "levels" else decoder.readouts
        elif output.kind == "host":
            known = {"": None}
        if output.source not in known:
            raise fields.error(f"{output.kind!r} of {output.source!r} is unknown")
        fields.done()
        outputs.append(output)
    host, provenance = manifest.names("host"), manifest.get("provenance", dict)
    return IntegerProgram(name, delivery, execution, ops, tuple(outputs), host, provenance, neuron)


class _Decoder:
    """Reads the ops of one body; `trains` are those that ops may read, `names` all that are taken."""

    def __init__(self, tensors: TensorReader, trains: dict[str, Train], names: set[str]) -> None:
        self.tensors, self.trains, self.names = tensors, trains, names
        self.readouts: dict[str, object] = {}
        self.accumulators: dict[str, Train] = {}

    def ops(self, found: list[Fields]) -> tuple[Op, ...]:
        readers: dict[str, Callable[[Fields], Op]] = {
            "input": lambda fields: Input(*self._input(fields)),
            "constant": self._constant,
            "route": self._route,
            "population": lambda fields: Population(*self._neurons(fields)),
            "few_spikes": self._few_spikes,
            "readout": self._readout,
            "accumulator": self._accumulator,
            "function": self._function,
            "settled": self._settled,
            "difference": self._difference,
            "running_sum": self._running_sum,
            "scan": self._scan,
        }
        readers |= {kind: partial(self._combination, kind) for kind in COMBINATIONS}
        ops = []
        for fields in found:
            kind = fields.get("op", str)
            if kind not in readers:
                raise fields.error(f"op {kind!r} is unknown; this snnir knows {', '.join(readers)}")
            ops.append(readers[kind](fields))
            fields.done()
        return tuple(ops)

    def _name(self, fields: Fields) -> str:
        name = fields.get("name", str)
        if name in self.names:
            raise fields.error(f"two things are called {name[:80]!r}")
        self.names.add(name)
        return name

    def _train(self, fields: Fields, enter: bool = True) -> Train:
        name, shape = self._name(fields), fields.integers("shape")
        if math.prod(shape) > LARGEST_TRAIN:
            raise fields.error(f"shape {list(shape)} has more than {LARGEST_TRAIN} addresses")
        levels = fields.integers("levels", -_LARGEST_LEVEL, _LARGEST_LEVEL)
        scale = fields.get("scale", float)
        for key in ("tracer", "events"):
            fields.integers(key, -_LARGEST_LEVEL, _LARGEST_LEVEL)
        fields.count("steps", 0, _LARGEST_LEVEL)
        fields.done()
        try:
            lo, hi = levels
            quantization = Quantization(scale, lo, hi)
        except (ValueError, GraphError) as error:
            raise fields.error(str(error)) from error
        train = Train(name, shape, quantization.lo, quantization.hi, quantization.scale)
        if enter:
            self.trains[name] = train
        return train

    def _known(self, fields: Fields, name: str, size: int | None = None) -> Train:
        if name not in self.trains:
            raise fields.error(f"train {name[:80]!r} is not there yet")
        if size is not None and self.trains[name].size != size:
            raise fields.error(f"train {name[:80]!r} has {self.trains[name].size} addresses, not {size}")
        return self.trains[name]

    def _map(self, fields: Fields, size: int, least: int, most: int) -> IndexMap:
        """A map of `size` integers, all of them in least..most."""
        if fields.has("table"):
            name = fields.get("table", str)
            if self.tensors.size(name) != size:
                raise fields.error(f"a map of {self.tensors.size(name)} entries; {size} are needed")
            index = IndexMap(table=self.tensors.integers(name).reshape(-1))
            low, high = int(index.array().min(initial=least)), int(index.array().max(initial=least))
        else:
            offset = fields.count("offset")
            dims: list[tuple[int, int]] = []
            low = high = offset
            for pair in fields.get("dims", list):
                if not (isinstance(pair, list) and len(pair) == 2 and all(type(item) is int for item in pair)):
                    raise fields.error("'dims' is no list of pairs of size and stride")
                count, stride = pair
                if not 0 <= count <= LARGEST_TRAIN or abs(stride) > LARGEST_TRAIN or len(dims) > 32:
                    raise fields.error(f"size {count} with stride {stride} is not possible")
                dims.append((count, stride))
                low, high = low + min(stride * (count - 1), 0), high + max(stride * (count - 1), 0)
            index = IndexMap(tuple(dims), offset)
            if math.prod(count for count, _ in dims) != size:
                raise fields.error(f"a map of {math.prod(count for count, _ in dims)} entries; {size} are needed")
        fields.done()
        if size and not least <= low <= high < most:
            raise fields.error(f"a map to {low}..{high}; {least}..{most - 1} are there")
        return index

    def _input(self, fields: Fields) -> tuple[Train, str]:
        train = self._train(fields.object("train"))
        if fields.get("rounding", str) != "half up":
            raise fields.error("the only rounding is 'half up'")
        return train, fields.get("source", str)

    def _constant(self, fields: Fields) -> Constant:
        train = self._train(fields.object("train"))
        levels = self.tensors.integers(fields.get("levels", str)).reshape(-1)
        if levels.size != train.size or (levels.size and not (train.lo <= levels.min() and levels.max() <= train.hi)):
            raise fields.error(f"its levels are not {train.size} integers in {train.lo}..{train.hi}")
        return Constant(train, levels)

    def _route(self, fields: Fields) -> Route:
        sources = fields.names("sources")
        total = sum(self._known(fields, name).size for name in sources)
        train = self._train(fields.object("train"))
        if not sources:
            raise fields.error("a route without sources")
        return Route(train, sources, self._map(fields.object("map"), train.size, -1, total))

    def _combination(self, kind: str, fields: Fields) -> Op:
        train = self._train(fields.object("train"), enter=False)
        op = decode_combination(kind, train, fields)
        for source in op.sources:
            self._known(fields, source)
        for problem in op.problems(self.trains):
            raise fields.error(problem)
        self.trains[train.name] = train
        return op

    def _summing(self, fields: Fields, size: int) -> tuple[tuple[Synapse, ...], np.ndarray, IndexMap]:
        synapses = tuple(self._synapse(item, size) for item in fields.objects("synapses"))
        initial = self.tensors.integers(fields.get("initial", str)).reshape(-1)
        initial_map = self._map(fields.object("initial_map"), size, 0, initial.size)
        registers = fields.object("registers")
        for name in sorted(registers.value):
            register = registers.object(name)
            register.integers("range", -(1 << 62), 1 << 62)
            register.count("bits", 1, 64)
            register.done()
        return synapses, initial, initial_map

    def _neurons(self, fields: Fields) -> tuple[Train, tuple[Synapse, ...], np.ndarray, IndexMap, np.ndarray, IndexMap, bool]:
        read = fields.object("train")
        size = math.prod(_shape_of(read))
        summing = self._summing(fields, size)
        train = self._train(read)
        neuron = fields.get("neuron", str)
        theta = self.tensors.integers(fields.get("theta", str))
        if neuron not in ("uniform", "staircase") or theta.ndim != 1 + (neuron == "staircase"):
            raise fields.error(f"neuron {neuron!r} with thresholds {list(theta.shape)}")
        if neuron == "staircase" and (theta.shape[1] != train.hi - train.lo or (np.diff(theta, axis=1) < 0).any()):
            raise fields.error(f"thresholds {list(theta.shape)} are no sorted tables for the levels {train.lo}..{train.hi}")
        if neuron == "uniform" and theta.min(initial=1) < 1:
            raise fields.error("a threshold is less than 1")
        theta_map = self._map(fields.object("theta_map"), train.size, 0, len(theta))
        return train, *summing, theta, theta_map, neuron == "staircase"

    def _few_spikes(self, fields: Fields) -> FewSpikes:
        neurons = self._neurons(fields)
        return FewSpikes(*neurons, fields.count("start", 0, _LARGEST_LEVEL), fields.count("omitted", 0, neurons[0].bits))

    def _readout(self, fields: Fields) -> Readout:
        name, shape = self._name(fields), fields.integers("shape")
        if math.prod(shape) > LARGEST_TRAIN:
            raise fields.error(f"shape {list(shape)} has more than {LARGEST_TRAIN} addresses")
        train = Train(name, shape, 0, 0, 1.0)
        summing = self._summing(fields, train.size)
        scale = self.tensors.reals(fields.get("scale", str)).reshape(-1).astype(np.float64)
        scale_map = self._map(fields.object("scale_map"), train.size, 0, scale.size)
        self.readouts[name] = train
        return Readout(train, *summing, scale, scale_map)

    def _accumulator(self, fields: Fields) -> Accumulator:
        name, shape = self._name(fields), fields.integers("shape")
        if math.prod(shape) > LARGEST_TRAIN:
            raise fields.error(f"shape {list(shape)} has more than {LARGEST_TRAIN} addresses")
        train = Train(name, shape, 0, 0, 1.0)
        summing = self._summing(fields, train.size)
        self.accumulators[name] = train
        return Accumulator(train, *summing)

    def _settled(self, fields: Fields) -> Settled:
        train = self._train(fields.object("train"))
        source = self._known(fields, fields.get("source", str), train.size).name
        return Settled(train, fields.count("start"), fields.count("segment"), source)

    def _function(self, fields: Fields) -> Function:
        train, names = self._train(fields.object("train")), fields.names("sources")
        sums = tuple(name in self.accumulators for name in names)
        sizes = [
            self.accumulators[name].size if is_sum else self._known(fields, name).size
            for name, is_sum in zip(names, sums, strict=True)
        ]
        code = self._code(fields, train, sizes)
        return Function(train, fields.count("start"), fields.count("segment"), names, sums, code)

    def _difference(self, fields: Fields) -> Difference:
        train, names = self._train(fields.object("train")), fields.names("sources")
        return Difference(train, names, self._code(fields, train, [self._known(fields, name).size for name in names]))

    def _running_sum(self, fields: Fields) -> RunningSum:
        train = self._train(fields.object("train"))
        return RunningSum(train, *self._summing(fields, train.size))

    def _code(self, fields: Fields, train: Train, sizes: list[int]) -> tuple[Step, ...]:
        """The microcode of a function whose sources have these sizes."""
        if not sizes:
            raise fields.error("a function without sources")
        code = []
        for item in fields.objects("code"):
            code.append(self._step(item, sizes))
            sizes.append(code[-1].size)
        if sizes[-1] != train.size:
            raise fields.error(f"its last step gives {sizes[-1]} integers for {train.size} addresses")
        return tuple(code)

    def _step(self, fields: Fields, sizes: list[int]) -> Step:
        """One step of microcode, whose operands are registers of these sizes."""
        kind, size = fields.get("kind", str), fields.count("size")
        operands = fields.integers("operands", 0, len(sizes) - 1)
        count = {"constant": 0, **dict.fromkeys(("table", "sqrt", "bit_length", "sum", "max"), 1)}.get(kind, 2)
        if kind not in KINDS or (len(operands) != count if kind != "join" else not operands):
            raise fields.error(f"a step {kind!r} of {len(operands)} operands is unknown")
        width = fields.count("width", 1) if kind in ("sum", "max") else 1
        read, extents = size * width, [sizes[operand] for operand in operands]
        if kind == "join":
            extents = [sum(extents)]
        maps: list[IndexMap | None] = []
        given = fields.get("maps", list)
        if len(given) != len(extents):
            raise fields.error(f"{len(given)} maps for {len(extents)} operands")
        for place, extent in enumerate(extents):
            if given[place] is None:
                if extent != read:
                    raise fields.error(f"an operand of {extent} integers, and no map; {read} are read")
                maps.append(None)
            else:
                least = -1 if kind == "join" else 0
                maps.append(self._map(Fields(given[place], f"{fields.what}, map {place}"), read, least, extent))
        data = None
        if kind in ("constant", "table"):
            data = self.tensors.integers(fields.get("data", str)).reshape(-1)
            if data.size != size if kind == "constant" else not data.size:
                raise fields.error(f"a {kind} of {data.size} integers")
        fields.done()
        return Step(kind, operands, tuple(maps), size, width, data)

    def _synapse(self, fields: Fields, size: int) -> Synapse:
        name, kind = fields.get("name", str), fields.get("kind", str)
        inputs, outputs = fields.integers("inputs"), fields.integers("outputs")
        source = self._known(fields, fields.get("source", str), math.prod(inputs)).name
        count = math.prod(outputs)
        weights = self.tensors.integers(fields.get("weights", str))
        extra: dict[str, object] = {}
        if kind == "dense":
            extra["groups"] = groups = fields.count("groups", 0)
            fits = weights.ndim == 2 and groups * weights.shape[1] == math.prod(inputs) and groups * weights.shape[0] == count
        elif kind == "conv":
            fits, geometry = _conv(fields, weights, inputs, outputs)
            extra |= geometry
        elif kind == "one":
            fits = inputs == outputs and weights.ndim == 1
            extra["weight_map"] = self._map(fields.object("weight_map"), count, 0, weights.size)
        elif kind in ("list", "csr"):
            fits, extra["rows"], extra["columns"] = self._lists(fields, kind, weights, math.prod(inputs), count)
        else:
            raise fields.error(f"synapses of kind {kind!r} are unknown")
        if not fits:
            raise fields.error(f"{kind} weights {list(weights.shape)} do not lead from {list(inputs)} to {list(outputs)}")
        if fields.has("spread"):
            extra["spread"] = self._map(fields.object("spread"), size, 0, count)
        elif count != size:
            raise fields.error(f"{count} currents for {size} neurons, and no 'spread'")
        if fields.has("gain"):
            extra["gain"] = gain = self.tensors.integers(fields.get("gain", str)).reshape(-1)
            if gain.size not in (1, len(weights)) or gain.size == 0 or gain.min() < 0 or gain.max() > MOST_GAIN:
                raise fields.error(f"gains are 0 to {MOST_GAIN}, 1 or {len(weights)} of them; {gain.size} are there")
            if weights.size and max(-int(weights.min()), int(weights.max())) << int(gain.max()) >= 1 << 62:
                raise fields.error("weights times their gain have more than 62 bits")
        fields.done()
        return Synapse(name, source, kind, weights, inputs, outputs, **extra)  # type: ignore[arg-type]

    def _lists(
        self, fields: Fields, kind: str, weights: np.ndarray, inputs: int, outputs: int
    ) -> tuple[bool, np.ndarray, np.ndarray]:
        first, second = ("rows", "columns") if kind == "list" else ("targets", "offsets")
        rows, columns = (self.tensors.integers(fields.get(key, str)).reshape(-1) for key in (first, second))
        fits = weights.ndim == 1 and rows.size == weights.size and _within(rows, outputs)
        if kind == "list":
            fits = fits and columns.size == weights.size and _within(columns, inputs) and not (np.diff(rows) < 0).any()
        else:
            fits = fits and columns.size == inputs + 1 and columns[0] == 0 and columns[-1] == weights.size
            fits = fits and not (np.diff(columns) < 0).any()
        return fits, rows, columns

    def _scan(self, fields: Fields) -> Scan:
        name, windows, reverse = fields.get("name", str), fields.count("windows", 1), fields.get("reverse", bool)
        inner = _Decoder(self.tensors, {}, self.names)
        started = [(item, inner._train(item.object("input")), item.get("initial", str)) for item in fields.objects("states")]
        elements = []
        for item in fields.objects("elements"):
            train = inner._train(item.object("input"))
            source = self._known(item, item.get("source", str), train.size * windows).name
            elements.append(Element(train, source, item.get("at_once", bool), _first(item)))
            item.done()
        shared = []
        for item in fields.objects("shared"):
            train = inner._train(item.object("input"))
            shared.append(Shared(train, self._known(item, item.get("source", str), train.size).name, _first(item)))
            item.done()
        ops = inner.ops(fields.objects("ops"))
        states = []
        for item, train, initial in started:
            following = inner._known(item, item.get("following", str), train.size).name
            initial = self._known(item, initial, train.size).name
            final = self._train(item.object("final"))
            if final.size != train.size:
                raise item.error("its final state has another size")
            states.append(State(train, initial, following, final, _first(item)))
            item.done()
        results = []
        for item in fields.objects("results"):
            source = item.get("source", str)
            train = self._train(item.object("train"))
            results.append(Result(train, inner._known(item, source, train.size // windows).name, _first(item)))
            if train.size % windows:
                raise item.error(f"{train.size} addresses for {windows} windows")
            item.done()
        self.readouts |= inner.readouts
        return Scan(name, windows, reverse, tuple(states), tuple(elements), tuple(shared), tuple(results), ops)


def _first(item: Fields) -> int:
    return item.count("first", 0, _LARGEST_LEVEL) if item.has("first") else 0


def _shape_of(read: Fields) -> list[int]:
    shape = read.value.get("shape")
    if not isinstance(shape, list) or not all(type(size) is int and 0 <= size <= LARGEST_TRAIN for size in shape):
        raise read.error(f"'shape' is {str(shape)[:40]}")
    return shape


def _within(index: np.ndarray, count: int) -> bool:
    return not index.size or (int(index.min()) >= 0 and int(index.max()) < count)


def _conv(
    fields: Fields, weights: np.ndarray, inputs: tuple[int, ...], outputs: tuple[int, ...]
) -> tuple[bool, Mapping[str, object]]:
    """Whether a convolution leads from `inputs` to `outputs`, and its geometry."""
    groups = fields.count("groups", 1)
    stride, padding, dilation = fields.integers("stride", 1), fields.integers("padding"), fields.integers("dilation", 1)
    conv = Conv(stride, padding, dilation, groups)
    try:
        types = TensorType((1, *inputs), "f32"), TensorType(weights.shape, "f32")
        found = conv.infer(*types)[0].shape[1:]
    except (GraphError, IndexError, ValueError, ZeroDivisionError):
        return False, {}
    return found == outputs, {"groups": groups, "stride": stride, "padding": padding, "dilation": dilation}
