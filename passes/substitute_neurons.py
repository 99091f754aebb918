"""Substitute neurons: thresholds become populations of BIF and RBIF neurons, weights become synapses."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from snnir.errors import UnsupportedError, UsageError
from snnir.ir import QUANTIZED, SPIKING, Graph, Node, Op, Quantization, TensorType, Value
from snnir.ir.op import Trait
from snnir.ir.ops import (
    Accumulate,
    Add,
    Bif,
    Conv,
    Dense,
    Dequantize,
    Diagonal,
    Encode,
    Fs,
    Function,
    Linear,
    Mul,
    MultiThreshold,
    Population,
    Quantize,
    Rbif,
    Readout,
    Requantize,
    Rfs,
    Sparse,
    SparseLinear,
)
from snnir.ir.phases import FEW_SPIKES, NEURONS
from snnir.ir.protocols import Functions
from snnir.ir.rewrite import extend, like
from snnir.passes.host_part import host_nodes
from snnir.passes.infra import Context, Pass, Result, register
from snnir.passes.sums import WEIGHTED, Term, terms_of

__all__ = ["SubstituteNeurons"]


@register
@dataclass(frozen=True)
class SubstituteNeurons(Pass):
    """Turn the integer network into spikes, synapses and neurons that settle to the same integers.

    1. `quantize` becomes `encode`: its levels are charged at the first step.
    2. `linear`, `conv`, `mul` and `sparse_linear` become the synapses `dense`, `conv`, `diagonal` and `sparse`.
    3. `requantize` and `multi_threshold` become `bif` populations that take the currents of all their synapses; in a
       scan body, a population that receives spikes of the element before is an `rbif` (arXiv:2408.09403). With
       `neuron=few-spikes` they become `fs` and `rfs` (after arXiv:2002.00860).
    4. A sum that a `function` takes becomes `accumulate`: it is summed up without neurons. With `functions=difference` functions
       tell every change of their levels, instead of waiting for complete ones.
    5. `dequantize` becomes a `readout`. Data movement, max pooling and products work on spikes as they are.
    """

    name = "substitute-neurons"
    takes = QUANTIZED
    gives = SPIKING

    neuron: str = "bif"
    functions: str = "barrier"

    def run(self, graph: Graph, context: Context) -> Result:
        """Apply the pass. Raises `UnsupportedError` where a population's shape is not that of its currents, `UsageError`."""
        if self.neuron not in NEURONS:
            raise UsageError(f"neuron {self.neuron!r} is unknown; choose one of {', '.join(NEURONS)}")
        difference = Functions.of(self.functions) == Functions.DIFFERENCE
        if difference and self.neuron == FEW_SPIKES:
            raise UsageError(
                "functions 'difference' is for bif neurons: few-spike neurons have a schedule, which says when what a function "
                "takes is complete; choose barrier"
            )
        kinds = (Fs, Rfs) if self.neuron == FEW_SPIKES else (Bif, Rbif)
        return Result(_substitute(graph, [value.type for value in graph.inputs], 0, kinds, difference), True)


def _copied(graph: Graph, level: str) -> Graph:
    """The body of a function at another level: its ops stay."""
    new = like(graph, level)
    extend(new, graph, {value: new.input(value.name, value.type) for value in graph.inputs})
    return new


def _spiking(type_: TensorType) -> TensorType:
    return TensorType(type_.shape, "spike", type_.quantization) if type_.dtype == "int" else type_


_Kinds = tuple[type[Population], type[Population]]
"""The op of a population, and of one that receives spikes of the element before."""


def _substitute(old: Graph, types: list[TensorType], states: int, kinds: _Kinds, difference: bool) -> Graph:
    new = like(old, SPIKING)
    values = {value: new.input(value.name, type_) for value, type_ in zip(old.inputs, types, strict=True)}
    recurrent = set(old.inputs[:states])
    host = host_nodes(old)
    for node in old.nodes:
        if isinstance(node.op, Requantize | MultiThreshold):
            values[node.output] = _population(new, values, node, recurrent, kinds)
        elif isinstance(node.op, Dequantize):
            values[node.output] = _readout(new, values, node)
        elif isinstance(node.op, Function):
            operands = [
                _get(new, values, value) if value in values else _accumulate(new, values, value) for value in node.operands
            ]
            names = [value.name for value in node.outputs]
            function = dataclasses.replace(node.op, difference=difference)
            results = new.add(function, *operands, names=names, origin=node.origin, body=_copied(node.inner, SPIKING))
            values.update(zip(node.outputs, results, strict=True))
        elif isinstance(node.op, Quantize):
            operand = _get(new, values, node.operands[0])
            encode = Encode(node.op.quantization, node.op.rounding, node.op.single, node.op.given)
            values[node.output] = new.add1(encode, operand, name=node.output.name, origin=node.origin)
        elif node in host or not isinstance(node.op, (Add, *WEIGHTED)):
            if node.op.has(Trait.OF_LEVELS) and recurrent & set(node.operands):
                recurrent.update(node.outputs)
            body = node.body
            if body is not None:
                inner = [_spiking(value.type) for value in body.inputs]
                body = _substitute(body, inner, getattr(node.op, "states", 0), kinds, difference)
            operands = [_get(new, values, value) for value in node.operands]
            names = [value.name for value in node.outputs]
            results = new.add(node.op, *operands, names=names, origin=node.origin, body=body)
            values.update(zip(node.outputs, results, strict=True))
    for name, value in old.outputs.items():
        new.output(name, _get(new, values, value) if value.is_constant else values[value])
    return new


def _get(new: Graph, values: dict[Value, Value], value: Value) -> Value:
    if value not in values:
        values[value] = new.constant(value.name, value.array)
        values[value].digest_ = value.digest_
    return values[value]


def _population(new: Graph, values: dict[Value, Value], node: Node, recurrent: set[Value], kinds: _Kinds) -> Value:
    made = node.expect(Requantize, MultiThreshold)
    terms = terms_of(node.operands[0])
    quantization: Quantization = made.quantization
    kind = kinds[any(term.source in recurrent for term in terms if not term.value.is_constant)]
    op = kind(quantization, isinstance(made, MultiThreshold))
    if made.omitted:
        if not isinstance(op, Fs):
            raise UnsupportedError(
                f"{node.describe()}: omits the last {made.omitted} bits of its levels; a {op.name} neuron does not tell bits. "
                "Use neuron=few-spikes, or leave truncate-levels away"
            )
        op = dataclasses.replace(op, omitted=made.omitted)
    theta = _get(new, values, node.operands[1])
    return _sum(new, values, node, op, theta, terms)


def _readout(new: Graph, values: dict[Value, Value], node: Node) -> Value:
    source = node.operands[0]
    terms = terms_of(source)
    return _sum(new, values, node, Readout(), _get(new, values, node.operands[1]), terms)


def _accumulate(new: Graph, values: dict[Value, Value], value: Value) -> Value:
    """A sum that a function takes."""
    node = value.node
    return _sum(new, values, node, Accumulate(), None, terms_of(value))


def _sum(new: Graph, values: dict[Value, Value], node: Node, op: Op, parameter: Value | None, terms: list[Term]) -> Value:
    name = node.output.name
    currents = [_synapse(new, values, name, term) for term in terms if not term.value.is_constant]
    constants = [term.value for term in terms if term.value.is_constant]
    if len(constants) == 1:
        bias = _get(new, values, constants[0])
    else:
        total = sum((value.array.astype(np.int64) for value in constants), np.zeros((), np.int64))
        bias = new.constant(f"{name}.bias", total.astype(np.int32) if np.abs(total).max() < 1 << 31 else total)
    parameters = () if parameter is None else (parameter,)
    result = new.add1(op, *parameters, bias, *currents, name=name, origin=node.origin)
    if result.type.shape != node.output.type.shape:
        raise UnsupportedError(
            f"{node.describe()}: its currents have shape {result.type.shape}, the population {node.output.type.shape}; "
            "add constants of the full size to a value that has it"
        )
    return result


def _synapse(new: Graph, values: dict[Value, Value], name: str, term: Term) -> Value:
    source = _get(new, values, term.source)
    if term.node is None:
        one = new.constant(f"{name}.unit", np.ones((), np.int8))
        return new.add1(Diagonal(), source, one, name=f"{name}.direct")
    op: Op = term.node.op
    if isinstance(op, Linear):
        op = Dense(gain=op.gain)
    elif isinstance(op, Mul):
        op = Diagonal(gain=op.gain)
    elif isinstance(op, SparseLinear):
        op = Sparse(op.shape, gain=op.gain)
    assert isinstance(op, Dense | Diagonal | Sparse | Conv)
    weights = [_get(new, values, value) for value in term.node.operands[1:]]
    return new.add1(op, source, *weights, name=term.value.name, origin=term.node.origin)
