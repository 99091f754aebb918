"""What can be trained of a spiking graph: weights and biases in real units, and the integers that they stand for.

They belong to the constants of the graph, which machine programs for all sizes share.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from snnir.errors import UnsupportedError
from snnir.ir.graph import Graph, Node, Value
from snnir.ir.ops import Conv, Dense, Diagonal, Population, Readout, Scan, Sparse, Summing

__all__ = ["BEYOND", "Bias", "Parameters", "Weights", "mean_distance", "whole"]

BEYOND = 2.0**53
"""Stands for thresholds that no sum reaches: exact sums are smaller."""
_LARGEST = 2**50
"""The most that one synapse may add up: integers are exact up to 2^53, and several synapses meet in a population."""


def whole(real: Tensor, unit: Tensor) -> Tensor:
    """Real parameters as whole multiples of `unit`; backward, rounding is passed over (straight-through estimator)."""
    exact = real / unit
    return exact + (exact.round() - exact).detach() if torch.is_grad_enabled() else exact.round()


class Bias(nn.Module):
    """What a population, readout or accumulator starts with: `bias` is a parameter in real units, `integer * grid`."""

    def __init__(self, bias: np.ndarray, grid: np.ndarray) -> None:
        super().__init__()
        # a bias may be shared by neurons whose grids differ: it is then kept on their mean grid
        own = grid if np.broadcast_shapes(grid.shape, bias.shape) == bias.shape else np.asarray(grid.mean())
        self.register_buffer("unit", torch.tensor(own, dtype=torch.float64), persistent=False)
        self.unit: Tensor
        self.bias = nn.Parameter(torch.tensor(bias.astype(np.float64)) * self.unit)

    def integers(self) -> Tensor:
        """The bias as integers, shaped to spread over a sample."""
        return whole(self.bias, self.unit)


class Weights(nn.Module):
    """One synapse node: `weight` and `bias` are parameters in real units, `integer * grid / source scale`.

    `grid` is the real number of one unit of the sum where the current goes, an array that spreads over a sample of it. The
    weight is then that of the real network (arXiv:2408.09403), and gradients are as large as there.
    """

    def __init__(self, node: Node, arrays: list[np.ndarray], grid: np.ndarray, sample: tuple[int, ...]) -> None:
        super().__init__()
        op = node.op
        if not isinstance(op, Dense | Conv | Diagonal | Sparse):
            raise UnsupportedError(f"{node.describe()}: the torch backend has no synapse {op.name}")
        quantization = node.operands[0].type.quantization
        assert quantization is not None
        weight, *rest = arrays
        outer, inner = _units(op, weight, rest, grid, sample)
        factor = np.exp2(op.gains(weight).astype(np.float64))
        bias = rest[0] if rest and not isinstance(op, Sparse) else None
        largest = _fan_in(op, op.expanded(weight), rest) * (quantization.hi - quantization.lo)
        largest += float(np.abs(bias.astype(np.float64)).max(initial=0)) if bias is not None else 0.0
        if largest >= _LARGEST:
            raise UnsupportedError(f"{node.describe()}: its sums may reach {largest:.3g}; float64 holds them exactly below 2^50")
        self.places = len(op.stride) if isinstance(op, Conv) else 0
        self.register_buffer("unit", torch.tensor(outer * factor / quantization.scale, dtype=torch.float64), persistent=False)
        self.register_buffer("factor", torch.tensor(factor, dtype=torch.float64), persistent=False)
        self.register_buffer("bias_unit", torch.tensor(inner, dtype=torch.float64), persistent=False)
        self.unit: Tensor
        self.factor: Tensor
        self.bias_unit: Tensor
        self.weight = nn.Parameter(torch.tensor(weight.astype(np.float64)) * self.unit)
        self.bias = None if bias is None else nn.Parameter(torch.tensor(bias.astype(np.float64)) * self.bias_unit)

    def start(self) -> Tensor | None:
        """The bias as integers, shaped to spread over a sample; None where there is none."""
        if self.bias is None:
            return None
        bias = whole(self.bias, self.bias_unit)
        return bias.reshape(-1, *([1] * self.places)) if self.places else bias

    def integers(self) -> Tensor:
        """What a level of the source adds, in units of the grid: the weight as integers, times 2^gain."""
        return whole(self.weight, self.unit) * self.factor


class Parameters(nn.ModuleDict):
    """The parameters of a graph and its bodies, and the nodes that they belong to."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self._keys: dict[Node, str] = {}
        self._fill(graph, "", {value: value.array for value in graph.constants})

    def _fill(self, graph: Graph, prefix: str, constants: Mapping[Value, np.ndarray]) -> None:
        for node in graph.nodes:
            name = prefix + node.outputs[0].name
            if isinstance(node.op, Scan):
                assert node.body is not None
                inner = {value: value.array for value in node.body.constants}
                pairs = zip(node.body.inputs, node.operands, strict=True)
                inner.update({value: constants[outer] for value, outer in pairs if outer in constants})
                self._fill(node.body, f"{name}/", inner)
            elif isinstance(node.op, Summing):
                self._enter(node, name, Bias(_constant(node, node.op.bias_at, constants), _grid(node, constants)))
            elif node.outputs[0].type.dtype == "current" and node.outputs[0].users:
                user = node.outputs[0].users[0]
                if not isinstance(user.op, Summing):
                    raise UnsupportedError(f"{user.describe()}: {node.outputs[0].name} goes into no population")
                sample = tuple(size if isinstance(size, int) else -1 for size in user.output.type.shape[1:])
                arrays = [_constant(node, place, constants) for place in range(1, len(node.operands))]
                self._enter(node, name, Weights(node, arrays, _grid(user, constants), sample))

    def _enter(self, node: Node, name: str, part: nn.Module) -> None:
        # numbered, because a module's key may hold no dot and no two names may become one
        key = f"{len(self._keys)}_{re.sub(r'[^0-9A-Za-z_]', '_', name)}"
        self._keys[node], self[key] = key, part

    def of(self, node: Node) -> nn.Module | None:
        """What can be trained of a node."""
        return self[self._keys[node]] if node in self._keys else None

    def start(self, node: Node) -> Tensor:
        """What a population, readout or accumulator starts with: its bias and those of its synapses, flat."""
        own = self.of(node)
        assert isinstance(own, Bias)
        total = own.integers()
        for weights in self.synapses(node):
            bias = weights.start()
            total = total if bias is None else total + bias
        return total.reshape(-1)

    def synapses(self, node: Node) -> list[Weights]:
        """The weights of the synapses into a population, readout or accumulator, in order."""
        assert isinstance(node.op, Summing)
        found = []
        for value in node.operands[node.op.bias_at + 1 :]:
            part = None if value.producer is None else self.of(value.producer)
            if not isinstance(part, Weights):
                raise UnsupportedError(f"{node.describe()}: {value.name} must come from a synapse")
            found.append(part)
        return found


def _constant(node: Node, place: int, constants: Mapping[Value, np.ndarray]) -> np.ndarray:
    value = node.operands[place]
    if value not in constants:
        raise UnsupportedError(f"{node.describe()}: {value.name} must be a constant; the torch backend trains constants only")
    return constants[value]


def _grid(node: Node, constants: Mapping[Value, np.ndarray]) -> np.ndarray:
    """The real number of one unit of a sum. An accumulator declares none: it is such that its largest weight becomes 1."""
    if isinstance(node.op, Population):
        thresholds = _constant(node, 0, constants)
        theta = mean_distance(thresholds) if node.op.staircase else thresholds.astype(np.float64)
        return np.asarray(node.op.quantization.scale / theta)
    if isinstance(node.op, Readout):
        return _constant(node, 0, constants).astype(np.float64)
    largest = 0.0
    for value in node.operands[1:]:
        synapse = value.producer
        if synapse is not None and isinstance(synapse.op, Dense | Conv | Diagonal | Sparse):
            weight, quantization = constants.get(synapse.operands[1]), synapse.operands[0].type.quantization
            if weight is not None and quantization is not None:
                sizes = np.abs(synapse.op.expanded(weight).astype(np.float64))
                largest = max(largest, float(sizes.max(initial=0)) / quantization.scale)
    return np.asarray(1 / largest if largest else 1.0)


def mean_distance(thresholds: np.ndarray) -> np.ndarray:
    """The mean distance of those thresholds [steps, ...] of a staircase that a sum can reach, 1 or more."""
    rows = thresholds.astype(np.float64)
    reached = np.abs(rows) < BEYOND / 2
    low = np.where(reached, rows, np.inf).min(axis=0, initial=np.inf)
    high = np.where(reached, rows, -np.inf).max(axis=0, initial=-np.inf)
    count = reached.sum(axis=0)
    return np.where(count > 1, np.maximum(np.where(count > 1, high - low, 1.0) / np.maximum(count - 1, 1), 1.0), 1.0)


def _fan_in(op: Dense | Conv | Diagonal | Sparse, weight: np.ndarray, rest: list[np.ndarray]) -> float:
    """The largest sum of |weight| that any output adds up."""
    sizes = np.abs(weight.astype(np.float64))
    if isinstance(op, Sparse):
        return float(np.bincount(rest[0], sizes).max(initial=0)) if len(sizes) else 0.0
    if isinstance(op, Diagonal):
        return float(sizes.max(initial=0))
    return float(sizes.reshape(len(sizes), -1).sum(axis=1).max(initial=0)) if sizes.size else 0.0


def _units(
    op: Dense | Conv | Diagonal | Sparse, weight: np.ndarray, rest: list[np.ndarray], grid: np.ndarray, sample: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """The grid as it spreads over the weight and over the bias; its mean where it differs within one weight's reach."""
    if isinstance(op, Dense) and grid.size == weight.shape[0] == (grid.shape or (0,))[-1]:
        return grid.reshape(-1, 1), grid.reshape(-1)
    if isinstance(op, Conv) and grid.ndim == weight.ndim - 1 and grid.size == weight.shape[0] == grid.shape[0]:
        return grid.reshape(-1, *([1] * (weight.ndim - 1))), grid.reshape(-1)
    if isinstance(op, Diagonal) and grid.ndim <= weight.ndim and np.broadcast_shapes(grid.shape, weight.shape) == weight.shape:
        return grid, grid
    if isinstance(op, Sparse) and op.shape == sample:
        return np.broadcast_to(grid, sample).reshape(-1)[rest[0]], grid
    mean = np.asarray(grid.mean())
    return mean, mean
