"""Quantize activations: observers become quantizers, and ReLU-like clips the bounds of their levels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce

import numpy as np

from snnir.errors import PassError, UsageError
from snnir.ir import BATCH, FLOAT, Graph, Node, Quantization, TensorType, Value
from snnir.ir.dims import dim
from snnir.ir.ops import (
    Add,
    Clip,
    Concat,
    Dequantize,
    FakeQuantize,
    Movement,
    Mul,
    Observe,
    Product,
    Quantize,
    Saturate,
    Scan,
    SequenceMask,
)
from snnir.ir.rewrite import copy_constants, like
from snnir.passes.align_scales import aligned_factors
from snnir.passes.calibrate import first_samples
from snnir.passes.host_part import function_interior
from snnir.passes.infra import Context, Pass, Result, register
from snnir.passes.input_bits import INPUT_BITS, fewest_input_bits
from snnir.passes.properties import NO_OBSERVERS
from snnir.passes.scale_groups import scale_groups
from snnir.passes.value_names import ValueNames

__all__ = ["QuantizeActivations", "accumulating", "known_values", "levels_of"]

_FEW_SAMPLES = 8
"""Calibration samples on which the bits of inputs are compared."""
AUTO = 0
"""Bits that are to be chosen."""
_MOST = 8
"""The most bits of all activations at once: each more bit doubles the steps of every window."""


@register
@dataclass(frozen=True)
class QuantizeActivations(Pass):
    """Round every observed value to levels, half up.

    1. `observe` becomes `quantize` to `bits` bits with the scale and the lowest level that calibration found.
    2. A `clip` (ReLU, ReLU6) before it becomes bounds of the levels, which is the same function:
       `round(clip(x, a, b)/s) = clip(round(x/s), round(a/s), round(b/s))`. Other activations stay before the quantizer.
    3. A product of two values that both change with the input becomes `product`, which multiplies levels exactly.
    4. Inputs of the model, what the host computes from them, and what functions inside the network give, get `input_bits`
       bits: they are charged at once, so that more bits cost no inner time-steps. 0 chooses: the fewest of 8, 10, 12 and 14 bits
       with which inputs alone cause at most `input_share` of the noise at the outputs that everything else causes.
    5. States that add to what they were (the cell state of an LSTM, the state of a GRU) get `state_bits` bits, because
       their rounding errors add up over the sequence; 0 means two more than `bits`.
    6. A quantizer of the model itself (`fake_quantize`) becomes `quantize` to its own levels, with its own rounding; what
       must share a scale with it takes its levels.
    7. Scales of states move a little, so that the products that they add up are weighed without an error (`align_scales.py`).
    8. `values` overrides the bits of single values by name: `i=3;cell.next=12`; where two layers have one, `last/i=3`.
    9. With `levels`, activations without negative levels have the levels 0..`levels`, and the range that `bits` bits would have
       (a `clip` before them ends it), whatever `bits` is; with `input_levels`, inputs have as many, below 0 too where needed.
    """

    name = "quantize-activations"
    takes = gives = FLOAT
    error = "rounding and clipping of activations"
    ensures = (NO_OBSERVERS,)

    bits: int = 4
    input_bits: int = 0
    state_bits: int = 0
    values: str = ""
    fit: bool = True
    input_share: float = 0.1
    levels: int = 0
    input_levels: int = 0

    def __post_init__(self) -> None:
        given = [("bits", self.bits, _MOST)]
        if self.input_bits:
            given.append(("input-bits", self.input_bits, Observe.MOST_BITS))
        given += [(name, bits, Observe.MOST_BITS) for name, bits in self.overrides().items()]
        if self.state_bits:
            given.append(("state-bits", self.state_bits, Observe.MOST_BITS))
        for what, count in (("levels", self.levels), ("input-levels", self.input_levels)):
            if not 0 <= count < 1 << Observe.MOST_BITS:
                raise UsageError(f"{what}={count} is out of range: it takes 1 to {(1 << Observe.MOST_BITS) - 1} levels")
        for what, bits, most in given:
            if not Observe.FEWEST_BITS <= bits <= most:
                raise UsageError(f"{what}={bits} is out of range: it takes {Observe.FEWEST_BITS} to {most} bits")

    def overrides(self) -> dict[str, int]:
        """The bits of single values, by name. Raises `UsageError`."""
        found = {}
        for item in filter(None, self.values.split(";")):
            name, sign, bits = item.rpartition("=")
            if not sign or not bits.strip().isdigit():
                raise UsageError(f"values={self.values!r}: expected `name=bits;name=bits`, found {item!r}")
            found[name.strip()] = int(bits)
        return found

    def run(self, graph: Graph, context: Context) -> Result:
        """Apply the pass. Raises `PassError` where no calibration went before, `UsageError` for unknown `values`."""
        levels: dict[Node, Quantize] = {}
        chosen: list[tuple[list[Node], int]] = []
        overrides = ValueNames.of(graph).bits(self.overrides())
        inputs, states, starts = known_values(graph), accumulating(graph), _starts(graph)
        counts: dict[Node, int] = {}
        for nodes in scale_groups(graph, (Observe, FakeQuantize)):
            given = [node.op.quantization for node in nodes if isinstance(node.op, FakeQuantize)]
            if given:
                named = [node for node in nodes if node in overrides]
                if named:
                    where = named[0].operands[0].name
                    raise UsageError(f"the levels of {where} are those of the model's own quantizers; leave it out of value_bits")
                levels.update((node, _given(node, reduce(Quantization.join, given))) for node in nodes)
                continue
            bits = self.bits
            if all(node.operands[0] in inputs or _charged(node) for node in nodes):
                bits = self.input_bits or (AUTO if not self.input_levels else INPUT_BITS[0])
                counts.update(dict.fromkeys(nodes, self.input_levels))
            elif not any(node in states or node in overrides for node in nodes):
                counts.update(dict.fromkeys(nodes, self.levels))
            if any(node in states for node in nodes):
                bits = self.state_bits or min(self.bits + 2, Observe.MOST_BITS)
            bits = max((overrides[node] for node in nodes if node in overrides), default=bits)
            chosen.append((nodes, bits))
        remarks = self.choose_input_bits(graph, chosen, context)
        scales = {node: levels_of(node, bits).scale for nodes, bits in chosen for node in nodes}
        factors = aligned_factors(graph, scales)
        for nodes, bits in chosen:
            found = {node: _counted(node, levels_of(node, bits, factors.get(node, 1.0)), counts.get(node, 0)) for node in nodes}
            whole = reduce(Quantization.join, found.values())
            levels.update((node, Quantize(whole if node in starts else own)) for node, own in found.items())
        if not levels and not all(node.op.host or isinstance(node.op, Movement) for node in graph.nodes):
            raise PassError("pass quantize-activations found no observed value; run calibrate before it")
        return Result(_quantize(graph, levels, [value.type for value in graph.inputs]), True, remarks)

    def choose_input_bits(self, graph: Graph, chosen: list[tuple[list[Node], int]], context: Context) -> tuple[str, ...]:
        """Put the bits that are to be chosen in their places in `chosen`; a remark where these are not the fewest tried."""
        open_ = [index for index, (_, bits) in enumerate(chosen) if bits == AUTO]
        if not open_:
            return ()
        place = 0
        if context.calibration and self.fit:
            data = first_samples(graph, context.calibration, _FEW_SAMPLES)
            others = {node: levels_of(node, bits) for nodes, bits in chosen if bits != AUTO for node in nodes}
            inputs = [{node: levels_of(node, bits) for index in open_ for node in chosen[index][0]} for bits in INPUT_BITS]
            place = fewest_input_bits(graph, inputs, others, self.input_share, data)
        for index in open_:
            chosen[index] = (chosen[index][0], INPUT_BITS[place])
        return (f"inputs have {INPUT_BITS[place]} bits: with fewer they would lose too much beside the rest",) if place else ()


def _charged(node: Node) -> bool:
    """Whether a function inside the network gives the value: its levels are charged at once, as those of inputs are."""
    made = node.operands[0].producer
    return made is not None and isinstance(made.op, Saturate)


def known_values(graph: Graph, known: set[Value] | None = None) -> set[Value]:
    """What is known before the network runs: inputs, and what the host computes from them, bodies included."""
    known = set(graph.inputs) if known is None else known
    for node in graph.nodes:
        if isinstance(node.op, Scan) and node.body is not None:
            pairs = zip(node.operands, node.body.inputs, strict=True)
            known |= known_values(node.body, {inner for outer, inner in pairs if outer in known})
        elif not isinstance(node.op, Observe):
            changing = [value for value in node.operands if not value.is_constant]
            if changing and all(value in known for value in changing):
                known.update(node.outputs)
    return known


def accumulating(graph: Graph) -> set[Node]:
    """The `observe` nodes of states that are sums in which their own value of the element before takes part directly."""
    found = set()
    for _, node in graph.walk():
        if not isinstance(node.op, Scan) or node.body is None:
            continue
        for state, value in zip(node.body.inputs[: node.op.states], node.body.outputs.values(), strict=False):
            last = value.producer
            if last is not None and isinstance(last.op, Observe) and state in _summands(last.operands[0]):
                found.add(last)
    return found


def _starts(graph: Graph) -> set[Node]:
    """The `observe` nodes of what scans start from: it may be a state that was given out before, whatever calibration saw."""
    found = set()
    for node in graph.nodes:
        if isinstance(node.op, Scan):
            behind = list(node.operands[: node.op.states])
            while behind:
                made = behind.pop().producer
                if made is not None and isinstance(made.op, Observe):
                    found.add(made)
                elif made is not None and isinstance(made.op, Movement):
                    behind += made.operands
    return found


def _summands(value: Value) -> set[Value]:
    """What a sum adds up, or multiplies element by element before it does; observers on the way are looked through."""
    node = value.producer
    if node is not None and isinstance(node.op, Add | Mul | Observe):
        return {value}.union(*(_summands(operand) for operand in node.operands))
    return {value}


def levels_of(node: Node, bits: int, factor: float = 1.0) -> Quantization:
    """The levels of `bits` bits that an `observe` gets, with `factor` times the scale that calibration found."""
    op = node.expect(Observe)
    source = node.operands[0]
    if source.producer is not None and isinstance(source.producer.op, SequenceMask):
        return Quantization(1.0, 0, 1)
    found = op.quantization(bits)
    scale, lo, hi = found.scale * factor, found.lo, found.hi
    clip = _absorbed(node)
    if clip is not None:
        lo, hi = (_bounded(end, scale, lo, hi) for end in (clip.low, clip.high))
    return Quantization(scale, lo, hi)


def _counted(node: Node, found: Quantization, count: int) -> Quantization:
    """`count` levels above 0 (and below, if there are any) over the range of the levels `found`; these where `count` is 0."""
    if not count or (found.lo < 0 and node.operands[0].producer is not None):
        return found
    clip, reach = _absorbed(node), found.scale * max(found.hi, -found.lo)
    if clip is not None and abs(reach - clip.high) <= found.scale:
        reach = clip.high
    return Quantization(float(f"{reach / count:.6g}"), -count if found.lo < 0 else 0, count)


def _bounded(end: float, scale: float, lo: int, hi: int) -> int:
    if math.isinf(end):
        return hi if end > 0 else lo
    return min(max(math.floor(end / scale + 0.5), lo), hi)


def _absorbed(node: Node) -> Clip | None:
    """The clip before an `observe` whose bounds can become bounds of its levels."""
    producer = node.operands[0].producer
    if producer is None or not isinstance(producer.op, Clip) or len(node.operands[0].uses) > 1:
        return None
    if isinstance(node.op, FakeQuantize) and node.op.rounding == "bipolar":  # which has no level for 0
        return None
    return producer.op if producer.op.low <= 0 <= producer.op.high else None


def _given(node: Node, group: Quantization) -> Quantize:
    """The model's own quantizer, or one with the levels of the group that holds it."""
    if not isinstance(node.op, FakeQuantize):
        return Quantize(group)
    own, rounding, clip = node.op.quantization, node.op.rounding, _absorbed(node)
    if clip is not None:
        lo, hi = (_own_bound(end, own, rounding) for end in (clip.low, clip.high))
        own = Quantization(own.scale, lo, hi)
    return Quantize(own, rounding, node.op.single, True)


def _own_bound(end: float, own: Quantization, rounding: str) -> int:
    if math.isinf(end):
        return own.hi if end > 0 else own.lo
    return int(own.round(np.array(end), rounding))


def _quantize(old: Graph, levels: dict[Node, Quantize], types: list[TensorType], in_body: bool = False) -> Graph:
    new = like(old)
    values = {value: new.input(value.name, type_) for value, type_ in zip(old.inputs, types, strict=True)}
    copy_constants(old, new, values)
    absorbed = {node.operands[0].producer for node in levels if _absorbed(node) is not None}
    functions = function_interior(old)
    alone = not in_body and not any(dim(BATCH) in type_.shape for type_ in types)
    for node in old.nodes:
        if node in absorbed:
            continue
        if node in levels:
            source, name, origin = node.operands[0], node.output.name, node.origin
            if source.producer in absorbed and source.producer is not None:
                name, origin = source.name, source.producer.origin
                source = source.producer.operands[0]
            values[node.output] = new.add1(levels[node], values[source], name=name, origin=origin)
            continue
        operands, body = [values[value] for value in node.operands], node.body
        if isinstance(node.op, Scan) and body is not None:
            body = _quantize_body(node.op, body, levels, [value.type for value in operands])
        if (isinstance(node.op, Concat) and _apart(operands)) or (alone and _leaves_samples(node, operands)):
            operands = [_real(new, value) for value in operands]
        multiplies = isinstance(node.op, Mul) and all(value.type.is_levels for value in operands) and node not in functions
        op = Product() if multiplies else node.op
        names = [value.name for value in node.outputs]
        results = new.add(op, *operands, names=names, origin=node.origin, body=body)
        values.update(zip(node.outputs, results, strict=True))
    for name, value in old.outputs.items():
        new.output(name, values[value])
    return new


def _apart(operands: list[Value]) -> bool:
    """Whether a concatenation is the host's: some of it is real, or a product has another scale than the rest."""
    scales = {value.type.quantization.scale for value in operands if value.type.quantization is not None}
    return len(scales) > 1 or any(value.type.is_real for value in operands)


def _leaves_samples(node: Node, operands: list[Value]) -> bool:
    """Whether data movement gives another axis 0 in a model without a batch: it is the host's, after the readouts."""
    firsts = {value.type.shape[:1] for value in (node.outputs[0], *operands)}
    return isinstance(node.op, Movement) and len(firsts) > 1 and any(value.type.is_levels for value in operands)


def _real(graph: Graph, value: Value) -> Value:
    """Levels as real numbers, for data movement that the host does after the readouts."""
    if value.type.quantization is None:
        return value
    scale = graph.constant(f"{value.name}.scale", np.array(value.type.quantization.scale))
    return graph.add1(Dequantize(), value, scale, name=f"{value.name}.real")


def _quantize_body(op: Scan, body: Graph, levels: dict[Node, Quantize], outer: list[TensorType]) -> Graph:
    """The body with states wide enough for what they start from and for what they become."""
    types = []
    for index, (type_, inner) in enumerate(zip(outer, body.inputs, strict=True)):
        types.append(
            TensorType(inner.type.shape, type_.dtype, type_.quantization) if index < op.states else _element(op, index, type_)
        )
    while True:
        new = _quantize(body, levels, types, True)
        wider = list(types)
        for index, value in enumerate(list(new.outputs.values())[: op.states]):
            state, given = types[index].levels, value.type.levels
            wider[index] = TensorType(types[index].shape, "int", state.join(given))
        if wider == types:
            return new
        types = wider


def _element(op: Scan, index: int, type_: TensorType) -> TensorType:
    if index >= op.states + op.elements:
        return type_
    return type_.with_shape((*type_.shape[: op.axis], *type_.shape[op.axis + 1 :]))
