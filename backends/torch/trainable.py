"""Quantization-aware training: a module whose forward pass is the quantized graph, integer for integer.

In every forward pass the present weights and scales are written into the graph, and the compiler's own pass rounds them
onto accumulator grids. The module then computes the graph that came out, in float64, where sums of integers are exact
below 2^53. So nothing of the rounding is written a second time, and what is trained is what will be compiled.

Gradients pass through each rounding as if it were not there (`straight_through.py`), and not at all beyond the bounds of levels:

- levels `q = round(f(x) / s)`: those of `f(x) / s`, which for the product `s q` is LSQ (Esser et al., arXiv:1902.08153);
  a function inside the network computes f in integers (`functions.py`) and has the derivative of the real function;
- weights on the grid `round(w s / s_acc)`: those of `w s / s_acc`. Grids themselves are constants to the gradient, for
  they cancel out: what is a multiple of `s_acc` here is multiplied by it there.

A scale is the exponential of its parameter, rounded to 6 significant digits: always positive, and the same number here and
in the compiled graph. Until its parameter moves it is exactly the scale that the compiler chose, which may have more digits
(those that `passes/align_scales.py` moves).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
import torch
from torch import nn

from snnir.backends.torch.evaluation import evaluate_nodes
from snnir.backends.torch.functions import function_levels
from snnir.backends.torch.levels import rounded, staircase, uniform
from snnir.backends.torch.module import constants_of, named_inputs, sizes_of
from snnir.backends.torch.registry import DTYPES, is_words, meaning_of, refuse_words, tensor_of
from snnir.backends.torch.rescale import Rescaled, rescale
from snnir.backends.torch.straight_through import learned_scale, straight_through
from snnir.ir import Graph, Node, Value
from snnir.ir import ops as ir
from snnir.ir.execute import apply
from snnir.ir.rounding import Rounding

__all__ = ["Lower", "TrainableModule"]

Lower = Callable[[Graph], tuple[Graph, Rounding]]
"""Rounds the weights of a graph whose activations are quantized."""

_DIGITS = 6
_UNMOVED = 5e-7


class TrainableModule(nn.Module):
    """A graph whose activations are quantized, as a module that trains its weights and the scales of its levels.

    `forward` takes the inputs in order or by name and gives the output (float32), or a dict where there are several.
    `weights` holds the float weights, biases and initial states, `log_scales` the natural logarithm of each scale, one for
    all levels that must share it. What the host computes before and after the network is not trained, nor are constants of
    functions inside the network (the gain of a normalisation): gradients pass through these to what lies before them.
    """

    def __init__(
        self,
        graph: Graph,
        groups: Sequence[Sequence[Node]],
        lower: Lower,
        calibration: Mapping[str, np.ndarray],
        weight_bits: int,
        fixed: Collection[Value] = (),
    ) -> None:
        """`groups` are the `quantize` nodes of `graph` whose scales train, in groups that share one.

        Constants of `graph` in `fixed` do not train.
        """
        super().__init__()
        self.source, self.groups, self.lower = graph, [list(nodes) for nodes in groups], lower
        self.calibration, self.weight_bits = dict(calibration), weight_bits
        refuse_words(graph)
        names = constants_of(graph)
        taken = _rounded_constants(lower(graph)[1])
        self._names = {value: name for value, name in names.items() if value in taken and value not in fixed}
        self.weights = nn.ParameterDict({name: nn.Parameter(tensor_of(value.array)) for value, name in self._names.items()})
        scales = [_scale_of(nodes[0]) for nodes in self.groups]
        self.log_scales = nn.ParameterList(nn.Parameter(torch.tensor(math.log(scale), dtype=torch.float64)) for scale in scales)
        self._shares = [_gradient_share(nodes[0]) for nodes in self.groups]

    def scales(self) -> list[float]:
        """The scale of each group: what the quantizers use, rounded to 6 significant digits where it is not the first one."""
        found = []
        for nodes, parameter in zip(self.groups, self.log_scales, strict=True):
            first, present = _scale_of(nodes[0]), math.exp(float(parameter.detach()))
            unmoved = math.isclose(present, first, rel_tol=_UNMOVED)
            found.append(first if unmoved else float(f"{present:.{_DIGITS}g}"))
        return found

    def trained_graph(self) -> Graph:
        """The float-level graph with the present weights and scales; `quantize-weights` comes next."""
        return self._rescaled().graph

    def _rescaled(self) -> Rescaled:
        tensors = {value: self.weights[name].detach().cpu() for value, name in self._names.items()}
        arrays = {value: tensor.numpy().astype(value.array.dtype, copy=True) for value, tensor in tensors.items()}
        scales = {node: scale for nodes, scale in zip(self.groups, self.scales(), strict=True) for node in nodes}
        return rescale(self.source, arrays, scales)

    def forward(self, *inputs: torch.Tensor, **named: torch.Tensor) -> torch.Tensor | dict[str, torch.Tensor]:
        """The output, or outputs by name. Raises `InputError`."""
        outputs = self._run(inputs, named, None)
        return next(iter(outputs.values())) if len(outputs) == 1 else outputs

    def integers(self, *inputs: torch.Tensor, **named: torch.Tensor) -> dict[str, list[np.ndarray]]:
        """Levels and sums by the names of the quantized graph; several arrays each in scans, in the order of processing."""
        seen: dict[str, list[np.ndarray]] = {}
        with torch.no_grad():
            self._run(inputs, named, seen)
        return seen

    def _run(
        self, inputs: Sequence[torch.Tensor], named: Mapping[str, torch.Tensor], seen: dict[str, list[np.ndarray]] | None
    ) -> dict[str, torch.Tensor]:
        rescaled = self._rescaled()
        graph, rounding = self.lower(rescaled.graph)
        run = _Pass(self, rescaled, graph, rounding, seen)
        values = named_inputs(graph, inputs, named)
        evaluate_nodes(graph, values, run.constants, sizes_of(values), run.evaluate, hoist=seen is None)
        values.update(run.constants)
        return {name: values[value] for name, value in graph.outputs.items() if not is_words(value)}

    def parameter(self, value: Value) -> torch.Tensor | None:
        """The parameter that stands for a constant of the source graph, where one does."""
        return self.weights[self._names[value]] if value in self._names else None

    def group_scales(self) -> dict[Node, torch.Tensor]:
        """The scale of each `quantize` node of the source graph that trains, with its gradient."""
        found = {}
        for nodes, parameter, value, share in zip(self.groups, self.log_scales, self.scales(), self._shares, strict=True):
            found.update(dict.fromkeys(nodes, learned_scale(parameter, value, share)))
        return found


class _Pass:
    """One forward pass: the tensors that stand for constants and scales of the quantized graph, and what its nodes mean."""

    def __init__(
        self,
        module: TrainableModule,
        rescaled: Rescaled,
        graph: Graph,
        rounding: Rounding,
        seen: dict[str, list[np.ndarray]] | None,
    ) -> None:
        self.module, self.rescaled, self.rounding, self.seen = module, rescaled, rounding, seen
        self.device = next(module.parameters()).device
        self.trained = module.group_scales()
        self.scales: dict[Value, torch.Tensor] = {}
        self._find_scales(graph)
        self.constants: dict[Value, torch.Tensor] = {}
        self._find_constants(graph)

    def _find_scales(self, graph: Graph) -> None:
        """The scale of every value of levels."""
        for node in graph.nodes:
            if node.body is not None and isinstance(node.op, ir.Scan):
                pairs = zip(node.operands, node.body.inputs, strict=True)
                self.scales.update((inner, self.scales[outer]) for outer, inner in pairs if outer in self.scales)
                self._find_scales(node.body)
                results = zip(node.outputs, node.body.outputs.values(), strict=True)
                self.scales.update((outer, self.scales[inner]) for outer, inner in results if inner in self.scales)
            elif node.outputs[0] in self.rounding.populations:
                for value in node.outputs:
                    quantizer = self.rescaled.quantizers[self.rounding.populations[value].node]
                    fixed = torch.tensor(_scale_of(quantizer), dtype=torch.float64, device=self.device)
                    self.scales[value] = self.trained.get(quantizer, fixed)
            elif isinstance(node.op, ir.Product):
                a, b = node.operands
                self.scales[node.output] = self.scales[a] * self.scales[b]
            elif node.operands and node.operands[0] in self.scales and node.outputs[0].type.is_levels:
                self.scales[node.output] = self.scales[node.operands[0]]

    def _find_constants(self, graph: Graph) -> None:
        for value in graph.constants:
            if is_words(value):
                continue
            tensor = tensor_of(value.array).to(self.device)
            if value in self.rounding.weights:
                self.constants[value] = self._weight(value, tensor.double())
            elif value in self.rounding.biases:
                self.constants[value] = self._bias(value, tensor.double())
            else:
                source = self.rounding.constants.get(value)
                parameter = self._parameter(source) if source is not None else None
                self.constants[value] = tensor if parameter is None else parameter
        for node in graph.nodes:
            if node.body is not None:
                self._find_constants(node.body)

    def _parameter(self, value: Value) -> torch.Tensor | None:
        source = self.rescaled.constants.get(value)
        return None if source is None else self.module.parameter(source)

    def _real(self, value: Value) -> torch.Tensor:
        parameter = self._parameter(value)
        return (tensor_of(value.array).to(self.device) if parameter is None else parameter).double()

    def _weight(self, value: Value, integers: torch.Tensor) -> torch.Tensor:
        weight = self.rounding.weights[value]
        smooth = self.scales[weight.source] / tensor_of(weight.divisor).to(self.device)
        if weight.real is not None:
            smooth = self._real(weight.real).reshape(weight.shape) * smooth
        return straight_through(torch.broadcast_to(smooth, integers.shape), integers)

    def _bias(self, value: Value, integers: torch.Tensor) -> torch.Tensor:
        bias = self.rounding.biases[value]
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        for part, shape in bias.parts:
            total = total + self._real(part).reshape(shape)
        return straight_through(torch.broadcast_to(total / tensor_of(bias.grid).to(self.device), integers.shape), integers)

    def evaluate(self, node: Node, operands: Sequence[torch.Tensor], sizes: Mapping[str, int]) -> tuple[torch.Tensor, ...]:
        """Results of one node of the quantized graph; levels and sums are float64."""
        op, result = node.op, node.outputs[0]
        if isinstance(op, ir.Function):
            results: tuple[torch.Tensor, ...] = self._function(node, operands, sizes)
        elif result in self.rounding.populations:
            results = (self._levels(node, operands),)
        elif isinstance(op, ir.Dequantize):
            scale = self.scales.get(node.operands[0], operands[1])
            results = ((operands[0] * scale).float(),)
        elif result.type.is_plain:
            results = _on_host(node, operands, sizes)
        else:
            bound = op.bind(sizes)
            results = meaning_of(bound)(bound, *operands)
        if self.seen is not None:
            for value, x in zip(node.outputs, results, strict=True):
                if value.type.is_levels or value.type.is_sum:
                    self.seen.setdefault(value.name, []).append(x.detach().cpu().numpy().astype(np.int64))
        return results

    def _levels(self, node: Node, operands: Sequence[torch.Tensor]) -> torch.Tensor:
        """Levels of a sum or of real numbers: exact integers, with the gradient of the function that they round."""
        made, op = self.rounding.populations[node.output], node.expect(ir.Quantize, ir.Requantize, ir.MultiThreshold)
        with torch.no_grad():
            if isinstance(op, ir.Quantize):
                levels = rounded(operands[0], op.quantization)
            elif isinstance(op, ir.Requantize):
                levels = uniform(operands[0], operands[1], op.quantization)
            else:
                levels = staircase(operands[0], operands[1], op.quantization)
        smooth = operands[0].double()
        if made.grid is not None:
            smooth = smooth * tensor_of(made.grid).to(self.device)
        for link in made.chain:
            (smooth,) = meaning_of(link.op)(link.op, smooth)
        smooth = (smooth / self.scales[node.output]).clamp(op.quantization.lo, op.quantization.hi)
        return straight_through(smooth, levels)

    def _function(self, node: Node, operands: Sequence[torch.Tensor], sizes: Mapping[str, int]) -> tuple[torch.Tensor, ...]:
        """Levels of a function: exact integers, with the gradient of the real function, and those of all scales in it.

        Its body holds scales as numbers, so levels that go in are multiplied by what their scale changes to, and levels that come
        out are divided by it: both are 1, and have the gradient.
        """
        reals = None
        if torch.is_grad_enabled():
            reals = [x.double() * self._change(value) for value, x in zip(node.operands, operands, strict=True)]
        levels = []
        for value, result in zip(node.outputs, function_levels(node, operands, reals, self.constants, sizes), strict=True):
            exact, bounds = result.levels.double(), value.type.levels
            if result.smooth is None:
                levels.append(exact)
            else:
                levels.append(straight_through((result.smooth / self._change(value)).clamp(bounds.lo, bounds.hi), exact))
        return tuple(levels)

    def _change(self, value: Value) -> torch.Tensor | float:
        """1, with the gradient of the scale of levels; sums have theirs in their weights."""
        scale = self.scales.get(value)
        return 1.0 if scale is None else scale / scale.detach()


def _on_host(node: Node, operands: Sequence[torch.Tensor], sizes: Mapping[str, int]) -> tuple[torch.Tensor, ...]:
    """Real numbers: in NumPy, as the compiled program's host computes them, where no gradient passes."""
    if any(x.requires_grad for x in operands):
        op = node.op.bind(sizes)
        results = meaning_of(op)(op, *operands)
    else:
        device = operands[0].device
        results = tuple(tensor_of(array).to(device) for array in apply(node, [x.cpu().numpy() for x in operands], sizes))
    return tuple(x.to(DTYPES[value.type.dtype]) for x, value in zip(results, node.outputs, strict=True))


def _rounded_constants(rounding: Rounding) -> set[Value]:
    """Constants of the float graph that become integers: weights, biases, and what is quantized itself."""
    found = {weight.real for weight in rounding.weights.values() if weight.real is not None}
    found |= {part for bias in rounding.biases.values() for part, _ in bias.parts}
    for made in rounding.populations.values():
        if made.grid is None:
            found |= {value for value in made.node.operands if value.is_constant}
    return {value for value in found if value.type.is_real}


def _scale_of(node: Node) -> float:
    op = node.expect(ir.Quantize)
    return op.quantization.scale


def _gradient_share(node: Node) -> float:
    """`1 / sqrt(n hi)` for n levels a sample: LSQ's factor for the gradient of a scale."""
    op = node.expect(ir.Quantize)
    count = math.prod(size for size in node.output.type.shape[1:] if isinstance(size, int))
    return 1 / math.sqrt(max(count * max(op.quantization.hi, -op.quantization.lo), 1))
