"""Call after call: the states that a program gives out go back in, exactly.

The settled state of a recurrence is a level q, given out as `scale * q`. What a scan starts from has the same scale and at
least the same levels, so that the next call starts from q again: a sequence cut into calls gives the integers of the whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from snnir.errors import UsageError
from snnir.ir import BATCH, Dim, Graph, Node, Value
from snnir.ir.ops import Dequantize, Diagonal, Movement, Quantize, Readout, Scan
from snnir.ir.types import DTYPES
from snnir.runtime.inputs import by_name

if TYPE_CHECKING:
    from snnir.backends.simulator import SimulationResult
    from snnir.runtime.program import Program

__all__ = ["Stream", "state_pairs"]

_State = tuple[Node, int]


def state_pairs(graph: Graph) -> dict[str, str]:
    """For each input that is a state, the output that gives its next value.

    An input and an output belong together where the same states of scans start from the one and are given out as the other;
    what follows from no scan (recurrences of one element are none) belongs together where just one input and one output have the
    same type.
    """
    starts, ends = _starts(graph), _ends(graph)
    pairs = {}
    for name, states in starts.items():
        fitting = [output for output, given in ends.items() if given == states]
        if states and len(fitting) == 1:
            pairs[name] = fitting[0]
    types = {name: value.type.shape for name, value in graph.outputs.items() if name not in pairs.values()}
    for value in graph.inputs:
        alike = [name for name, shape in types.items() if shape == value.type.shape]
        rivals = [other for other in graph.inputs if other.name not in pairs and other.type.shape == value.type.shape]
        if value.name not in pairs and len(alike) == 1 and len(rivals) == 1:
            pairs[value.name] = alike[0]
    return pairs


def _starts(graph: Graph) -> dict[str, set[_State]]:
    """Which states of scans start from each input."""
    found: dict[str, set[_State]] = {value.name: set() for value in graph.inputs}
    for node in graph.nodes:
        if isinstance(node.op, Scan):
            for index, value in enumerate(node.operands[: node.op.states]):
                for source in _sources(value):
                    if source.name in found and source.producer is None:
                        found[source.name].add((node, index))
    return found


def _ends(graph: Graph) -> dict[str, set[_State]]:
    """Which last states of scans each output holds; none for an output that holds anything else too."""
    found: dict[str, set[_State]] = {}
    for name, value in graph.outputs.items():
        sources = _sources(value)
        states = {
            (source.producer, source.producer.outputs.index(source))
            for source in sources
            if source.producer is not None and isinstance(source.producer.op, Scan)
        }
        scans = {(node, index) for node, index in states if isinstance(node.op, Scan) and index < node.op.states}
        found[name] = scans if len(scans) == len(sources) else set()
    return found


def _sources(value: Value) -> set[Value]:
    """Where data movement and the borders of the network take a value from."""
    made = value.producer
    if made is None or not (isinstance(made.op, Movement | Quantize | Dequantize | Readout) or _is_unit(made)):
        return {value}
    changing = [operand for operand in made.operands if not operand.is_constant]
    return set[Value]().union(*map(_sources, changing))


def _is_unit(node: Node) -> bool:
    """Whether a synapse hands on what it takes, with a weight of 1."""
    return isinstance(node.op, Diagonal) and bool((node.operands[1].array == 1).all())


class Stream:
    """A program that keeps its states from call to call. `stream(x)` gives the result of the next part of the sequences.

    `states` are the states by input name, as the next call will start from them; they start as 0.
    """

    def __init__(self, program: Program, pairs: Mapping[str, str] | None = None, **options: Any) -> None:
        graph = program.graph("spiking")
        self.program, self.options = program, options
        self.pairs = dict(state_pairs(graph) if pairs is None else pairs)
        inputs, outputs = {value.name: value for value in graph.inputs}, graph.outputs
        if not self.pairs:
            raise UsageError(
                f"no input of model {graph.name} ({', '.join(inputs)}) is found to be a state that an output "
                f'({", ".join(outputs)}) gives out; name them: stream({{"h": "hn"}})'
            )
        for name, output in self.pairs.items():
            if name not in inputs or output not in outputs:
                raise UsageError(f"states {name} -> {output}: inputs are {', '.join(inputs)}, outputs {', '.join(outputs)}")
            if inputs[name].type.shape != outputs[output].type.shape:
                raise UsageError(
                    f"states {name} -> {output}: {inputs[name].type} starts what is given out as {outputs[output].type}"
                )
        self._inputs = inputs
        self.states: dict[str, np.ndarray] = {}

    def reset(self, states: Mapping[str, np.ndarray] | None = None) -> None:
        """Start anew, from `states` by input name, or from 0. Raises `UsageError` for other names."""
        unknown = set(states or {}) - set(self.pairs)
        if unknown:
            raise UsageError(f"{', '.join(sorted(unknown))}: the states are {', '.join(self.pairs)}")
        self.states = {name: np.asarray(array) for name, array in (states or {}).items()}

    def __call__(self, x: np.ndarray | Mapping[str, np.ndarray]) -> SimulationResult:
        """The result of one more call: `x` holds the other inputs, one array where there is one. Raises `InputError`."""
        others = [name for name in self._inputs if name not in self.pairs]
        given = dict(x) if isinstance(x, Mapping) else {others[0]: np.asarray(x)} if len(others) == 1 else None
        if given is None:
            given = dict(by_name(self.program.graph("spiking"), x))
        samples = self._samples(given)
        for name in self.pairs:
            if name not in given:
                given[name] = self.states.get(name, self._zeros(self._inputs[name], samples))
        result = self.program.run(given, **self.options)
        self.states = {name: np.asarray(result.outputs[output]) for name, output in self.pairs.items()}
        return result

    def _samples(self, given: Mapping[str, np.ndarray]) -> int:
        for name, array in given.items():
            axis = self._inputs[name].type.batch_axis if name in self._inputs else None
            if axis is not None and array.ndim > axis:
                return int(array.shape[axis])
        return 1

    def _zeros(self, value: Value, samples: int) -> np.ndarray:
        shape: Sequence[Any] = [samples if str(size) == BATCH else size for size in value.type.shape]
        if any(isinstance(size, Dim) for size in shape):
            raise UsageError(f"state {value.name} is {value.type}: give its first value, stream.reset({{{value.name!r}: ...}})")
        return np.zeros([int(size) for size in shape], DTYPES[value.type.dtype])
