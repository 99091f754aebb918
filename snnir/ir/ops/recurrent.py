"""Recurrence: `scan` with a body graph. Named recurrent layers (`cells.py`) are lowered to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from snnir.errors import GraphError, SizeError
from snnir.ir.op import FLOAT, QUANTIZED, SPIKING, Op, register
from snnir.ir.ops.rules import broadcast
from snnir.ir.types import TensorType

if TYPE_CHECKING:
    from snnir.ir.graph import Graph

__all__ = ["Scan"]


@register
@dataclass(frozen=True)
class Scan(Op):
    """Apply a body graph to one sequence element after another.

    Operands: `states` initial states, `elements` sequences (cut along `axis`), then values shared by all elements.
    The body's inputs stand in the same order; its outputs are the next states, then values per element. Results: the
    final states, then the values per element stacked along `axis`. `reverse` starts with the last element.
    """

    name = "scan"
    operands = ("values*",)
    levels = (FLOAT, QUANTIZED, SPIKING)

    states: int = 0
    elements: int = 1
    axis: int = 1
    reverse: bool = False

    def stored(self, types: Sequence[TensorType]) -> bool:
        return True

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        raise GraphError("scan needs a body graph")

    def body_types(self, types: Sequence[TensorType], body: Graph | None) -> tuple[TensorType, ...]:
        if body is None:
            raise GraphError("scan needs a body graph")
        if self.elements < 1 or len(types) < self.states + self.elements or len(body.inputs) != len(types):
            raise GraphError(f"scan has {len(types)} operands for {self.states} states and {self.elements} sequences")
        outputs = list(body.outputs.values())
        if len(outputs) < self.states:
            raise GraphError(f"the body of scan gives {len(outputs)} values for {self.states} states")
        sequences = types[self.states : self.states + self.elements]
        if any(not 0 <= self.axis < type_.rank for type_ in sequences):
            raise GraphError(f"scan cuts along axis {self.axis}, which a sequence lacks")
        lengths = {type_.shape[self.axis] for type_ in sequences}
        if len(lengths) != 1:
            first, *others = sorted(lengths, key=lambda size: (not isinstance(size, int), str(size)))
            raise SizeError(f"scan needs sequences of one length along axis {self.axis}", [(other, first) for other in others])
        (length,) = lengths
        results = []
        for index, (initial, value) in enumerate(zip(types, outputs[: self.states], strict=False)):
            state = body.inputs[index].type
            if broadcast(initial.shape, state.shape) != state.shape or value.type.shape != state.shape:
                raise GraphError(f"state {body.inputs[index].name}: {state}, starts as {initial}, continues as {value.type}")
            for given in (initial, value.type):
                if given.quantization is not None and state.quantization is not None:
                    if state.quantization.join(given.quantization) != state.quantization:
                        raise GraphError(f"state {body.inputs[index].name} of {state} cannot hold {given}")
                elif given.is_levels != state.is_levels:
                    raise GraphError(f"state {body.inputs[index].name}: {state} meets {given}")
            results.append(state)
        for index, type_ in enumerate(types[self.states :], self.states):
            inner = body.inputs[index].type
            outer = type_
            if index < self.states + self.elements:
                outer = type_.with_shape((*type_.shape[: self.axis], *type_.shape[self.axis + 1 :]))
            if outer != inner:
                raise GraphError(f"the body takes {inner} as {body.inputs[index].name}, but is given {outer}")
        for value in outputs[self.states :]:
            shape = value.type.shape
            results.append(value.type.with_shape((*shape[: self.axis], length, *shape[self.axis :])))
        return tuple(results)
