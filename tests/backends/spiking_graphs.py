"""Random spiking graphs: every op that the simulator runs, in random company."""

from __future__ import annotations

import math

import numpy as np

from snnir.errors import GraphError
from snnir.ir import Graph, Quantization, TensorType, Value
from snnir.ir.dims import dim
from snnir.ir.op import Op
from snnir.ir.ops import (
    Bif,
    Concat,
    Conv,
    Dense,
    Diagonal,
    Encode,
    Expand,
    Gather,
    MaxPool,
    Mul,
    Pad,
    Rbif,
    Readout,
    Reshape,
    Scan,
    Slice,
    Softmax,
    Sparse,
    Transpose,
)

__all__ = ["random_spiking_graph"]

SCALE = 0.5
Inputs = dict[str, np.ndarray]


def random_spiking_graph(rng: np.random.Generator, scans: int | None = None) -> tuple[Graph, Inputs]:
    """A graph of up to a dozen spiking nodes with `scans` scans (default: 0 to 2), and inputs for it."""
    return _Builder(rng).build(int(rng.integers(0, 3)) if scans is None else scans)


class _Builder:
    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def build(self, scans: int) -> tuple[Graph, Inputs]:
        rng = self.rng
        batch = int(rng.integers(1, 5))
        graph = Graph("random", level="spiking")
        shapes = [(5,), (3, 7), (2, 4, 5), (2, 3, 4, 3)] if not scans else [(int(rng.integers(1, 6)), 4), (3, 2, 5)]
        shape = shapes[rng.integers(len(shapes))]
        real = graph.input("x", TensorType((dim("N"), *shape), "f32"))
        inputs = {"x": rng.normal(0, 3, (batch, *shape)).astype(np.float32)}
        if len(shape) == 2 and rng.random() < 0.3:
            real = graph.add1(Transpose((0, 2, 1)), real)
        if rng.random() < 0.3:  # by the kernel, where the encoder rounds half up
            own = self.sample(real)
            factors = rng.uniform(0.5, 2, own if rng.random() < 0.5 else (1, *own)).astype(np.float32)
            real = graph.add1(Mul(), real, graph.constant("factor", factors))
        value = graph.add1(Encode(self.quantization()), real, name="encoded")
        for _ in range(int(rng.integers(0, 3))):
            value = self.step(graph, value)
        for _ in range(scans):
            value = self.scan(graph, self.sequence(graph, value))
            if rng.random() < 0.5:
                value = self.step(graph, value)
        for _ in range(int(rng.integers(0, 3))):
            value = self.step(graph, value)
        if rng.random() < 0.4:
            graph.output("levels", value)
        total = self.readout(graph, [value])
        if rng.random() < 0.3:
            total = graph.add1(Softmax(-1), total)
        graph.output("y", total)
        return graph, inputs

    def quantization(self) -> Quantization:
        rng = self.rng
        return Quantization(SCALE, -int(rng.choice([0, 0, 1, 4])), int(rng.choice([1, 3, 7, 15])))

    def weight(self, *shape: int) -> np.ndarray:
        large = self.rng.random() < 0.15
        return self.rng.integers(-300 if large else -9, 301 if large else 10, shape).astype(np.int16 if large else np.int8)

    def sample(self, value: Value) -> tuple[int, ...]:
        return tuple(int(str(size)) for size in value.type.shape[1:])

    def step(self, graph: Graph, value: Value) -> Value:
        """One more population, movement or max; what does not fit the shape is drawn again."""
        kinds = [self.movement, self.max, self.concat, *[self.population] * 3]
        while True:
            try:
                result = kinds[self.rng.integers(len(kinds))](graph, value)
            except GraphError:
                continue
            if math.prod(self.sample(result)) <= 400:
                return result
            return self.shrink(graph, result)

    def shrink(self, graph: Graph, value: Value) -> Value:
        flat = graph.add1(Reshape((dim("N"), math.prod(self.sample(value)))), value)
        return graph.add1(Slice(1, None, 40, 1), flat)

    def movement(self, graph: Graph, value: Value) -> Value:
        rng, shape = self.rng, self.sample(value)
        axis = int(rng.integers(1, len(shape) + 1))
        size = shape[axis - 1]
        ops: list[Op] = [
            Reshape((dim("N"), math.prod(shape))),
            Reshape((dim("N"), math.prod(shape), 1)),
            Transpose((0, *(int(k) + 1 for k in rng.permutation(len(shape))))),
            Slice(axis, int(rng.integers(0, 2)), None, int(rng.integers(1, 3))),
            Slice(axis, None, None, -1),
            Gather(axis, tuple(int(k) for k in rng.integers(-size, size, 3)) if size else (), (3,) if size else (0,)),
            Pad((0, *rng.integers(-1, 3, len(shape)).tolist(), 0, *rng.integers(-1, 3, len(shape)).tolist())),
            Expand((dim("N"), 2, *shape[1:])) if shape[0] == 1 else Expand(value.type.shape),
        ]
        return self.positive(graph.add1(ops[rng.integers(len(ops))], value))

    def positive(self, value: Value) -> Value:
        if 0 in value.type.shape:
            raise GraphError("nothing is left")
        return value

    def max(self, graph: Graph, value: Value) -> Value:
        rng, spatial = self.rng, value.type.rank - 2
        if not 1 <= spatial <= 3:
            raise GraphError("no axis to pool over")
        kernel = tuple(int(k) for k in rng.integers(1, 4, spatial))
        padding = tuple(int(rng.integers(0, k)) for k in (*kernel, *kernel))
        stride = tuple(int(k) for k in rng.integers(1, 3, spatial))
        op = MaxPool(kernel, stride, padding, (int(rng.integers(1, 3)),) * spatial, bool(rng.random() < 0.3))
        held = op.windows(np.ones((1, *self.sample(value))), 0.0).max(axis=tuple(range(-spatial, 0)), initial=0.0)
        if not held.all():
            raise GraphError("a window lies in the padding only")
        return self.positive(graph.add1(op, value, name="max"))

    def concat(self, graph: Graph, value: Value) -> Value:
        """Beside another spiking value of the graph that fits, or an older part of itself."""
        axis = int(self.rng.integers(1, value.type.rank))
        others = [other for other in graph.values.values() if other.type.dtype == "spike" and other.type.rank == value.type.rank]
        return graph.add1(Concat(axis), *[others[k] for k in self.rng.integers(0, len(others), 1)], value)

    def synapse(self, graph: Graph, value: Value) -> Value:
        rng, shape = self.rng, self.sample(value)
        kind = rng.choice(["dense", "conv", "conv", "diagonal", "sparse"])
        if kind == "dense":
            outputs = int(rng.integers(1, 12))
            operands = [graph.constant("w", self.weight(outputs, shape[-1]))]
            if rng.random() < 0.2:
                operands.append(graph.constant("b", self.weight(outputs)))
            return graph.add1(Dense(), value, *operands, name="dense")
        if kind == "conv":
            return self.conv(graph, value)
        if kind == "diagonal":
            own = shape[int(rng.integers(0, len(shape) + 1)) :]
            return graph.add1(Diagonal(), value, graph.constant("w", self.weight(*own)), name="diagonal")
        synapses = int(rng.integers(0, 30))
        rows = np.sort(rng.integers(0, 8, synapses))
        columns = rng.integers(0, math.prod(shape), synapses)
        constants = [graph.constant(name, array) for name, array in (("w", self.weight(synapses)), ("r", rows), ("c", columns))]
        return graph.add1(Sparse((2, 4)), value, *constants, name="sparse")

    def conv(self, graph: Graph, value: Value) -> Value:
        rng, shape = self.rng, self.sample(value)
        spatial = len(shape) - 1
        if spatial < 1:
            raise GraphError("no axis to convolve")
        groups = int(rng.choice([size for size in range(1, shape[0] + 1) if shape[0] % size == 0]))
        maps = groups * int(rng.integers(1, 4))
        kernel = tuple(int(rng.integers(1, 4)) for _ in range(spatial))
        stride, dilation = (tuple(int(k) for k in rng.integers(1, 3, spatial)) for _ in range(2))
        padding = tuple(int(k) for k in rng.integers(0, 3, 2 * spatial))
        operands = [graph.constant("w", self.weight(maps, shape[0] // groups, *kernel))]
        if rng.random() < 0.2:
            operands.append(graph.constant("b", self.weight(maps)))
        return self.positive(graph.add1(Conv(stride, padding, dilation, groups), value, *operands, name="conv"))

    def population(self, graph: Graph, value: Value) -> Value:
        first = self.synapse(graph, value)
        currents = [first]
        while self.rng.random() < 0.4:
            currents.append(self.current_like(graph, value, first))
        return self.neurons(graph, Bif, currents)

    def current_like(self, graph: Graph, value: Value, like: Value) -> Value:
        """Another current that adds up with `like`: the same shape, or one that spreads over it."""
        rng, shape = self.rng, self.sample(like)
        size = math.prod(self.sample(value))
        flat = graph.add1(Reshape((dim("N"), size)), value)
        if rng.random() < 0.3:
            shape = tuple(1 if rng.random() < 0.5 else extent for extent in shape)
        synapses = int(rng.integers(1, 40))
        constants = [
            graph.constant("w", self.weight(synapses)),
            graph.constant("r", np.sort(rng.integers(0, math.prod(shape), synapses))),
            graph.constant("c", rng.integers(0, size, synapses)),
        ]
        return graph.add1(Sparse(shape), flat, *constants, name="sparse")

    def parameter(self, shape: tuple[int, ...], low: int, high: int) -> np.ndarray:
        """Random integers whose shape spreads over a sample of `shape`."""
        own = tuple(extent if self.rng.random() < 0.6 else 1 for extent in shape)[int(self.rng.integers(0, len(shape) + 1)) :]
        return self.rng.integers(low, high, own).astype(np.int32)

    def neurons(self, graph: Graph, kind: type[Bif], currents: list[Value], quantization: Quantization | None = None) -> Value:
        rng = self.rng
        quantization = quantization or self.quantization()
        shape = np.broadcast_shapes(*(self.sample(current) for current in currents))
        bias = graph.constant("bias", self.parameter(shape, -40, 41))
        staircase = bool(rng.random() < 0.3)
        if staircase:
            rows = quantization.hi - quantization.lo
            own = self.parameter(shape, 0, 1).shape
            table = np.sort(rng.integers(-120, 121, (rows, *own)), axis=0)
            table[table > 110] = np.iinfo(np.int64).max // 4
            table[table < -110] = np.iinfo(np.int64).min // 4
            theta = graph.constant("table", table)
        else:
            theta = graph.constant("theta", self.parameter(shape, 1, 60))
        name = f"{kind.name}"
        return graph.add1(kind(quantization, staircase), theta, bias, *currents, name=name)

    def sequence(self, graph: Graph, value: Value) -> Value:
        """A value whose axis 1 can be scanned."""
        if value.type.rank >= 3:
            return value
        (size,) = self.sample(value)
        length = int(self.rng.choice([k for k in (1, 2, 3, 5, size) if size % k == 0]))
        return graph.add1(Reshape((dim("N"), length, size // length)), value)

    def scan(self, graph: Graph, sequence: Value) -> Value:
        rng = self.rng
        quantization = sequence.type.quantization
        assert quantization is not None
        body = Graph("cell", level="spiking")
        hidden = int(rng.integers(1, 7))
        levels = self.quantization()
        state_type = TensorType((dim("N"), hidden), "spike", levels)
        element_shape = (sequence.type.shape[0], *sequence.type.shape[2:])
        state = body.input("state", state_type)
        element = body.input("element", TensorType(element_shape, "spike", quantization))
        operands = [self.initial(graph, hidden, levels), sequence]
        shared = None
        if rng.random() < 0.3:
            shared = body.input("shared", sequence.type)
            operands.append(sequence)
        flat = body.add1(Reshape((dim("N"), math.prod(self.sample(element)))), element)
        currents = [body.add1(Dense(), flat, body.constant("w", self.weight(hidden, self.sample(flat)[0])), name="input")]
        weight = self.weight(hidden) if rng.random() < 0.5 else self.weight(hidden, hidden)
        recurrent = Diagonal() if weight.ndim == 1 else Dense()
        currents.append(body.add1(recurrent, state, body.constant("u", weight), name="recurrent"))
        if shared is not None:
            whole = body.add1(Reshape((dim("N"), math.prod(self.sample(shared)))), shared)
            currents.append(body.add1(Dense(), whole, body.constant("s", self.weight(hidden, self.sample(whole)[0]))))
        following = self.neurons(body, Rbif, currents, levels)
        body.output("state", following)
        results = [following]
        if rng.random() < 0.5:
            results.append(self.step(body, following))
        if rng.random() < 0.3:
            results.append(body.add1(Slice(1, None, None, -1), state))
        if rng.random() < 0.3:
            results.append(self.readout(body, [following]))
        for k, value in enumerate(results):
            body.output(f"result{k}", value)
        outputs = graph.add(Scan(1, 1, 1, bool(rng.random() < 0.4)), *operands, names=["scan"], body=body)
        if results[-1].type.is_real:
            graph.output(f"elements{len(graph.outputs)}", outputs[-1])
        choices = [value for value in outputs if value.type.dtype == "spike"]
        return choices[rng.integers(len(choices))]

    def initial(self, graph: Graph, hidden: int, levels: Quantization) -> Value:
        rng = self.rng
        shape = [(), (hidden,), (1, hidden), (1, 1)][rng.integers(4)]
        zero = rng.random() < 0.4
        array = np.zeros(shape, np.float32) if zero else rng.normal(0, 2, shape).astype(np.float32)
        return graph.add1(Encode(levels), graph.constant("start", array), name="initial")

    def readout(self, graph: Graph, values: list[Value]) -> Value:
        currents = []
        for value in values:
            flat = graph.add1(Reshape((dim("N"), math.prod(self.sample(value)))), value)
            currents.append(graph.add1(Dense(), flat, graph.constant("w", self.weight(3, self.sample(flat)[0])), name="logits"))
        scale = graph.constant("scale", self.rng.random(3))
        bias = graph.constant("bias", self.rng.integers(-9, 10, 3).astype(np.int32))
        return graph.add1(Readout(), scale, bias, *currents, name="readout")
