"""The quantized graph that `quantize-weights` writes: populations, readouts and functions, each on an integer grid of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from snnir.errors import GraphError, PassError, Refusal, UnsupportedError
from snnir.ir import BATCH, QUANTIZED, Graph, Node, Quantization, Value
from snnir.ir.dims import dim
from snnir.ir.ops import (
    Add,
    Dequantize,
    Elementwise,
    Expand,
    Function,
    Movement,
    Mul,
    MultiThreshold,
    Quantize,
    Requantize,
    SparseLinear,
)
from snnir.ir.rewrite import like
from snnir.ir.rounding import RoundedBias, RoundedLevels, RoundedWeight, Rounding
from snnir.passes.functions.body import FunctionBody
from snnir.passes.functions.region import segments
from snnir.passes.grid import FINEST, Grid, population_grid, sum_grid
from snnir.passes.host_part import function_interior, host_nodes
from snnir.passes.model_grid import GivenGrid, given_readout, given_table, model_grid, steady
from snnir.passes.round_terms import (
    bias_parts,
    integer_bias,
    integer_weight,
    op_gain,
    staircase_table,
    weight_divisor,
    weight_shape,
)
from snnir.passes.sums import WEIGHTED, Term, activation_chain, terms_of

__all__ = ["QuantizedGraph", "RoundingNotes", "WeightRules"]

_OFF = 1e-3
"""How far a bias may be from a whole number of its grid and still be the integer that the file stores, besides the
rounding of its scale to float32."""


_LOST = 0.25
"""How far off, as a share of it, a constant may be on the grid of a sum that the host computes with."""


@dataclass(frozen=True)
class WeightRules:
    """Bits of weights, what becomes of ties (`TIES` in `quantize_weights.py`), and the most bits of sums and membranes."""

    bits: int
    rounding: str
    sum_bits: int


@dataclass(frozen=True)
class RoundingNotes:
    """What is noted on the way: remarks on what is lost, which integers came from which weights, and refusals."""

    lost: list[str] = field(default_factory=list)
    rounding: Rounding = field(default_factory=Rounding)
    refused: list[Refusal] = field(default_factory=list)


class QuantizedGraph:
    """One graph (or body) on its way down to integers. Sums are built where something takes them."""

    def __init__(
        self, old: Graph, rules: WeightRules, notes: RoundingNotes, in_body: bool = False, limits: Mapping[str, int] | None = None
    ) -> None:
        self.limits = old.limits if limits is None else limits
        self.rules, self.bits, self.tie_rule, self.sum_bits = rules, rules.bits, rules.rounding, rules.sum_bits
        self.notes, self.lost, self.rounding, self.refused = notes, notes.lost, notes.rounding, notes.refused
        self.given = any(isinstance(node.op, Quantize) and node.op.given for _, node in old.walk())
        self.batched = any(dim(BATCH) in value.type.shape for value in old.inputs)
        self.new = like(old, QUANTIZED)
        self.values = {value: self.new.input(value.name, value.type) for value in old.inputs}
        self.reals: dict[Value, Value] = {}
        self.host = host_nodes(old)
        self.functions = function_interior(old)
        self.groups: dict[object, list[Node]] = {}
        for node in old.nodes:
            made = node.operands[0].producer if isinstance(node.op, Quantize) else None
            if made in self.functions:
                self.groups.setdefault(self.functions[made], []).append(node)
        order = segments(old, self.functions)
        for node in sorted(old.nodes, key=lambda node: order[node.outputs[0]]) if self.functions else old.nodes:
            self.visit(node)
        for name, value in old.outputs.items():
            self.new.output(name, self.get(value) if in_body else self.real(value))

    def get(self, value: Value) -> Value:
        """The new value of one that is emitted as it is, or of a constant."""
        if value not in self.values and value.is_constant:
            self.values[value] = self.new.constant(value.name, value.array)
            self.rounding.constants[self.values[value]] = value
        if value not in self.values:
            raise PassError(f"{value.name} ({value.type}) is a sum that nothing quantizes; run calibrate before quantize-weights")
        return self.values[value]

    def visit(self, node: Node) -> None:
        """Write what a node becomes, or leave it for the population or function that takes it."""
        op = node.op
        if node in self.functions:
            return
        if isinstance(op, Quantize):
            if node.operands[0].producer in self.functions:
                if node.output not in self.values:
                    self.function(self.groups[self.functions[node.operands[0].producer]])
                return
            base, chain = activation_chain(node.operands[0])
            summed = (
                base.producer is not None and isinstance(base.producer.op, (Add, *WEIGHTED)) and base.producer not in self.host
            )
            if chain or base.type.is_levels or summed:
                population = self.given_population if op.given else self.population
                self.values[node.output] = population(node, op, base, chain)
                return
        elif isinstance(op, (Add, Elementwise, *WEIGHTED)) and node not in self.host:
            return
        on_host = node in self.host or (
            node.body is None and any(value.type.is_real and not value.is_constant for value in node.operands)
        )
        # data movement that ends a model may move the batch: on the host, after the readouts
        on_host |= self.batched and isinstance(op, Movement) and node.output.type.batch_axis != 0
        operands = [self.real(value) if on_host else self.get(value) for value in node.operands]
        body: Graph | None = None
        if node.body is not None:
            body = QuantizedGraph(node.body, self.rules, self.notes, True, self.limits).new
        names = [value.name for value in node.outputs]
        results = self.new.add(op, *operands, names=names, origin=node.origin, body=body)
        self.values.update(zip(node.outputs, results, strict=True))
        if isinstance(op, Quantize):
            self.rounding.populations[results[0]] = RoundedLevels(node)

    def real(self, value: Value) -> Value:
        """The real number behind an old value: a sum read out exactly, levels times their scale, anything else itself."""
        if value in self.reals:
            return self.reals[value]
        quantization = value.type.quantization
        if quantization is not None and self.get(value).type.is_levels:
            scale = self.new.constant(f"{value.name}.scale", np.array(quantization.scale))
            result = self.new.add1(Dequantize(), self.get(value), scale, name=f"{value.name}.real")
        elif value in self.values or value.is_constant:
            result = self.get(value)
        else:
            result = self.readout(value)
        self.reals[value] = result
        return result

    def readout(self, value: Value) -> Value:
        """A sum that leaves the network: exact on a grid of its own, then a real number.

        Where host ops take it and its constants are too small for the grid, the host adds them.
        """
        terms, rank = self.sample_terms(value), value.type.rank - 1
        found = given_readout(terms, rank) if self.given else None
        if found is None:
            found = GivenGrid(self.sum_grid(terms, rank, 1.0 / FINEST), 0.0, self.bits)
        parts = bias_parts(terms, rank)
        apart = any(user is not None for user in value.users) and _is_lost(parts, found.grid.unit)
        bias = np.zeros(1, np.int64) if apart else None
        total = self.sum(value.name, terms, found.grid, found.bits, bias)
        scale = self.new.constant(f"{value.name}.scale", found.grid.unit)
        origin = value.producer.origin if value.producer is not None else ()
        name = f"{value.name}.read" if apart else value.name
        result = self.new.add1(Dequantize(), total, scale, name=name, origin=origin)
        return self.with_constants(value.name, result, parts, origin) if apart else result

    def with_constants(
        self, name: str, total: Value, parts: Sequence[tuple[Value, tuple[int, ...]]], origin: tuple[str, ...]
    ) -> Value:
        """A sum that was read out, and constants that the host adds in real numbers."""
        for index, (part, shape) in enumerate(parts):
            spreads = shape[len(shape) - part.array.ndim :] == part.array.shape
            constant = self.get(part) if spreads else self.new.constant(f"{part.name}.spread", part.array.reshape(shape))
            label = name if index == len(parts) - 1 else f"{name}.part"
            total = self.new.add1(Add(), total, constant, name=label, origin=origin)
        return total

    def given_population(self, node: Node, op: Quantize, base: Value, chain: Sequence[Node]) -> Value:
        """A population of the model's own: no weight that the file stores as integers is rounded."""
        name, origin, levels = node.output.name, node.origin, op.quantization
        terms, rank = self.sample_terms(base), base.type.rank - 1
        found = model_grid(terms, rank, levels)
        if found is None:
            found = GivenGrid(self.sum_grid(terms, rank, levels.scale / FINEST), 0.0, self.bits)
            self.lost.append(
                f"the file quantizes {node.describe()} but not all weights before it: they are rounded to {self.bits} bits"
            )
        elif found.error:
            self.lost.append(
                f"scales that meet in {node.describe()} have no common grid: "
                f"its sum is off by {found.error:.2g} of a level at most"
            )
        grid, unit = found.grid, found.grid.unit
        bias = np.zeros((1,) * rank)
        for part, shape in bias_parts(terms, rank):
            bias = bias + part.array.astype(np.float64).reshape(shape)
        whole = np.rint(bias / unit)
        stored = bool((np.abs(bias / unit - whole) <= _OFF + np.abs(whole) * 2.0**-23).all())
        offset = np.zeros((1,) * rank) if stored else bias
        reach = self.reach(terms, grid, found.bits)
        table, tie = given_table(chain, unit, offset, levels, op.rounding, reach, op.single)
        uniform = None if chain else steady(table, levels.lo)
        if tie and uniform is None:
            if self.tie_rule == "refuse":
                reason = f"sums can lie halfway between levels, and no constant V(0) rounds them as {op.rounding!r} does"
                self.refused.append(Refusal(node.describe(), reason, origin))
            elif self.tie_rule == "half-up":
                table, _ = given_table(chain, unit, offset, levels, "half-up", reach, op.single)
                uniform = None if chain else steady(table, levels.lo)
        integers = whole if stored else np.zeros((1,) * rank)
        if uniform is not None:
            integers = integers - uniform[1]
        total = self.sum(name, terms, grid, found.bits, integers.astype(np.int64))
        if uniform is not None:
            parameter = self.new.constant(f"{name}.theta", uniform[0].astype(np.int32))
            result = self.new.add1(Requantize(levels), total, parameter, name=name, origin=origin)
        else:
            limited = np.clip(table, -reach, reach + 1)
            small = reach < (1 << 31) - 1
            parameter = self.new.constant(f"{name}.table", limited.astype(np.int32) if small else limited)
            origin = (*(word for link in chain for word in link.origin), *origin)
            result = self.new.add1(MultiThreshold(levels), total, parameter, name=name, origin=origin)
        self.rounding.populations[result] = RoundedLevels(node, tuple(chain), unit)
        return result

    def population(self, node: Node, op: Quantize, base: Value, chain: Sequence[Node]) -> Value:
        """A population whose weights are rounded onto the grid that suits them best."""
        name, origin, quantization = node.output.name, node.origin, op.quantization
        terms, rank = self.sample_terms(base), base.type.rank - 1
        parameter: np.ndarray
        if not chain:
            theta, grid = population_grid(terms, rank, quantization, self.bits, self.sum_bits)
            total = self.sum(name, terms, grid, self.bits)
            parameter = theta.astype(np.int32)
            op_: Requantize | MultiThreshold = Requantize(quantization)
            label = f"{name}.theta"
        else:
            name = chain[-1].output.name
            grid = self.sum_grid(terms, rank, quantization.scale / FINEST)
            total = self.sum(name, terms, grid, self.bits)
            parameter = staircase_table(chain, grid.unit, quantization, self.reach(terms, grid, self.bits))
            op_ = MultiThreshold(quantization)
            label = f"{name}.table"
            origin = (*(word for link in chain for word in link.origin), *origin)
        result = self.new.add1(op_, total, self.new.constant(label, parameter), name=name, origin=origin)
        self.rounding.populations[result] = RoundedLevels(node, tuple(chain), grid.unit)
        return result

    def function(self, ends: Sequence[Node]) -> None:
        """One function inside the network: the quantizers `ends` round what it gives, levels and sums go in."""
        body = FunctionBody(self.functions, ends, self.limits)
        operands = [self.taken(body, value) for value in body.taken]
        quantizations, graph = body.write()
        op = Function(
            tuple(each.scale for each in quantizations),
            tuple(each.lo for each in quantizations),
            tuple(each.hi for each in quantizations),
        )
        if not operands and all(str(size) == BATCH or isinstance(size, int) for end in ends for size in end.output.type.shape):
            self.constants(ends, quantizations, graph)
            return
        names, origin = [end.output.name for end in ends], tuple(word for end in ends for word in body.origin(end))
        results = self.new.add(op, *operands, names=names, origin=origin, body=graph)
        for end, result in zip(ends, results, strict=True):
            self.values[end.output] = result
            self.rounding.populations[result] = RoundedLevels(end)

    def constants(self, ends: Sequence[Node], quantizations: Sequence[Quantization], body: Graph) -> None:
        """What a function of nothing that changes gives: levels of one sample, the same for all."""
        known = {value: value.array for value in body.constants}
        for node in body.nodes:
            arrays = node.op.bind({BATCH: 1}).evaluate(*(known[value] for value in node.operands))
            known.update(zip(node.outputs, arrays, strict=True))
        for end, levels, value in zip(ends, quantizations, body.outputs.values(), strict=True):
            name, type_ = end.output.name, value.type
            real = np.clip(known[value], levels.lo, levels.hi) * levels.scale
            sample = self.new.constant(f"{name}.sample", real.astype(np.float32))
            if sample.type.shape == type_.shape:
                one = self.values[end.output] = self.new.add1(Quantize(levels), sample, name=name, origin=end.origin)
                self.rounding.populations[one] = RoundedLevels(end)
                continue
            one = self.new.add1(Quantize(levels), sample, name=f"{name}.one", origin=end.origin)
            self.rounding.populations[one] = RoundedLevels(end)
            self.values[end.output] = self.new.add1(Expand(type_.shape), one, name=name, origin=end.origin)

    def taken(self, body: FunctionBody, value: Value) -> Value:
        """What a function takes, in the new graph, and what the body knows of it: levels, or a sum on a grid."""
        levels = self.get(value) if value in self.values else None
        if levels is not None and levels.type.quantization is not None:
            quantization = levels.type.quantization
            body.take(value, levels.type, np.array(quantization.scale), quantization.lo, quantization.hi)
            return levels
        terms, rank = self.sample_terms(value), value.type.rank - 1
        grid = self.sum_grid(terms, rank, 1.0 / FINEST)
        total, reach = self.sum(value.name, terms, grid, self.bits), self.reach(terms, grid, self.bits)
        body.take(value, total.type, grid.unit, -reach, reach)
        return total

    def sum_grid(self, terms: Sequence[Term], rank: int, fallback: float) -> Grid:
        """The grid of a sum without a uniform threshold."""
        return sum_grid(terms, rank, self.bits, fallback, self.sum_bits)

    def sample_terms(self, value: Value) -> list[Term]:
        """The terms of a sum, all of its rank. Raises `UnsupportedError` naming one that is not."""
        terms = terms_of(value)
        for term in terms:
            if not term.value.is_constant and term.value.type.rank != value.type.rank:
                where = term.node.describe() if term.node is not None else term.value.name
                raise UnsupportedError(
                    f"{where}: {term.value.type} is added to a value of {value.type.rank} axes; reshape it first"
                )
        return terms

    def sum(self, name: str, terms: Sequence[Term], grid: Grid, bits: int, bias: np.ndarray | None = None) -> Value:
        """All terms on `grid`, their weights of `bits` bits, added up; `bias` (integers) where it is not that of the terms."""
        total: Value | None = None
        for index, term in enumerate(term for term in terms if not term.value.is_constant):
            current = self.synapse(name, term, grid, index, bits)
            total = current if total is None else self.new.add1(Add(), total, current, name=f"{name}.sum")
        if total is None:
            raise GraphError(f"{name} is a sum of constants only; fold-constants computes those")
        if bias is None:
            bias = integer_bias(terms, grid.unit)
        elif bias.any():
            bias = bias.astype(np.int32) if np.abs(bias).max() < 1 << 31 else bias
        if bias is None or not bias.any():
            return total
        integers = self.new.constant(f"{name}.bias", bias)
        self.rounding.biases[integers] = RoundedBias(tuple(bias_parts(terms, grid.unit.ndim)), grid.unit)
        return self.new.add1(Add(), total, integers, name=f"{name}.sum")

    def synapse(self, name: str, term: Term, grid: Grid, index: int, bits: int) -> Value:
        """One term on the grid, with integer weights of `bits` bits and a gain."""
        step = grid.steps(index)
        weight = integer_weight(term, step, bits)
        gain = op_gain(term, grid.gains[index], weight)
        source = self.get(term.source)
        if not weight.any() and (term.node is None or term.node.operands[1].array.any()):
            where = term.node.describe() if term.node is not None else term.value.name
            self.lost.append(f"all weights of {where} round to 0: beside what else flows into {name} they are too small")
        label = f"{name}.unit" if term.node is None else f"{term.node.operands[1].name}.int"
        integers = self.new.constant(label, weight)
        real = None if term.node is None else term.node.operands[1]
        divisor = weight_divisor(term, step)
        self.rounding.weights[integers] = RoundedWeight(real, source, weight_shape(term, step.ndim), divisor)
        if term.node is None:
            return self.new.add1(Mul(gain=gain), source, integers, name=f"{name}.direct")
        op, operands = term.node.op, [source, integers]
        assert isinstance(op, WEIGHTED)
        if isinstance(op, SparseLinear):
            operands += [self.get(value) for value in term.node.operands[2:]]
        current = f"{name}.current" if term.value.name == name else term.value.name
        return self.new.add1(replace(op, gain=gain), *operands, name=current, origin=term.node.origin)

    def reach(self, terms: Sequence[Term], grid: Grid, bits: int) -> int:
        """A bound of |sum|, whatever the levels."""
        total = 0
        for index, term in enumerate(term for term in terms if not term.value.is_constant):
            quantization = term.source.type.levels
            integers = integer_weight(term, grid.steps(index), bits)
            op = Mul() if term.node is None else term.node.op
            assert isinstance(op, WEIGHTED)
            weight = np.abs(replace(op, gain=op_gain(term, grid.gains[index], integers)).expanded(integers).astype(np.int64))
            if isinstance(op, SparseLinear) and term.node is not None:
                rows = np.bincount(term.node.operands[2].array, weight)
                most = int(rows.max()) if len(rows) else 0
            elif isinstance(op, Mul):
                most = int(weight.max())
            else:
                most = int(weight.reshape(len(weight), -1).sum(axis=1).max())
            total += most * max(quantization.hi, -quantization.lo)
        bias = integer_bias(terms, grid.unit)
        return total + 1 + (int(np.abs(bias.astype(np.int64)).max()) if bias is not None else 0)


def _is_lost(parts: Sequence[tuple[Value, tuple[int, ...]]], unit: np.ndarray) -> bool:
    """Whether the grid of a readout is too coarse for what is added, as for the epsilon of a normalisation beside a variance."""
    bias = np.asarray(sum(part.array.astype(np.float64).reshape(shape) for part, shape in parts))
    off = bias - np.floor(bias / unit + 0.5) * unit
    return bool(np.linalg.norm(off) > _LOST * np.linalg.norm(np.broadcast_to(bias, off.shape)))
