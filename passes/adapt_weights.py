"""Adapt weights: fit every layer to the levels that it gets instead of the real numbers that it was trained on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from snnir.ir import FLOAT, Graph, Node, Value
from snnir.ir.execute import bind_sizes, compute, execute, real
from snnir.ir.ops import Conv, Linear, Quantize
from snnir.ir.rewrite import copy_constants, like
from snnir.passes.calibrate import first_samples
from snnir.passes.infra import Context, Pass, Result, register
from snnir.passes.layer_rows import layer_inputs, layer_outputs

__all__ = ["AdaptWeights"]

_SAMPLES = 96
_ROWS = 4096
_MOST_INPUTS = 2400
"""Layers with more inputs per output are corrected in their biases alone: the normal equations grow with the cube."""
_RIDGES = (0.03, 0.3, 3.0)
"""Penalties on changes of weights, relative to the mean power of an input; the one that suits held-back rows best is taken."""
_FEWEST_ROWS = 32
_FEWEST_SAMPLES = 8
_HELPS = 0.98
"""A change must lessen the error of rows that it has not seen to this share, or else it is left out."""


@register
@dataclass(frozen=True)
class AdaptWeights(Pass):
    """Fit weights and biases to quantized inputs, layer by layer, on calibration data.

    1. With x the real inputs of a `linear` or `conv` in the model, and q the real values of its levels, the change
       D, d of its weights and bias minimises `|W x + b - (W + D) q - (b + d)|^2 + ridge |D|^2`: what earlier layers lost is made
       up for as far as a linear map can. Layers are fitted in order, each behind the fitted ones.
    2. `ridge` is chosen on half of the samples that the fit does not see; an infinite one is among the choices, which leaves bias
       correction (Nagel et al., arXiv:1906.04721): the mean error of each channel goes into its bias.
    3. Layers inside scans are fitted to all elements of the sequences at once.
    4. A quarter of the samples takes no part: where their outputs do not come closer to the model's, nothing is changed.
    5. Models that bring quantizers keep their weights.

    Minimising the error of a layer's output on few data, without labels, is what AdaRound does for rounding (arXiv:2004.10568).
    """

    name = "adapt-weights"
    takes = gives = FLOAT
    error = "weights fitted to quantized inputs"

    def run(self, graph: Graph, context: Context) -> Result:
        """Apply the pass. It needs calibration data, and the graph before quantization (`Context.exact`)."""
        given = any(isinstance(node.op, Quantize) and node.op.given for _, node in graph.walk())
        if given or not context.calibration or context.exact is None or context.exact is graph:
            return Result(graph, False)
        data = first_samples(graph, context.calibration, _SAMPLES)
        seen, unseen = _split(graph, data)
        fit = _Fit(context.exact, graph, seen, context)
        if not fit.fitted or _loss(context.exact, fit.new, unseen) >= _loss(context.exact, graph, unseen):
            return Result(graph, False, ("no fit of weights helped on samples that it had not seen",))
        whole = sum(1 for _, weights in fit.fitted if weights)
        remark = f"{len(fit.fitted)} layers were fitted, {whole} of them in their weights, the rest in their biases"
        return Result(fit.new, True, (remark,))


def _split(graph: Graph, data: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Samples to fit on, and a quarter of all to judge by; twice the same where there are too few."""
    axes = {value.name: value.type.batch_axis for value in graph.inputs}
    counts = [data[name].shape[axis] for name, axis in axes.items() if axis is not None]
    if len(counts) < len(axes) or not counts or counts[0] < _FEWEST_SAMPLES:
        return dict(data), dict(data)
    border = counts[0] - counts[0] // 4
    parts = (range(border), range(border, counts[0]))
    seen, unseen = ({name: data[name].take(part, axis=axis) for name, axis in axes.items()} for part in parts)
    return seen, unseen


def _loss(exact: Graph, graph: Graph, data: Mapping[str, np.ndarray]) -> float:
    """The noise of all outputs of real numbers, relative to their power."""
    expected, found, total = execute(exact, data), execute(graph, data), 0.0
    for name, value in exact.outputs.items():
        if value.type.is_real:
            finite = np.isfinite(expected[name]) & np.isfinite(found[name])
            x, y = (np.where(finite, array, 0).astype(np.float64) for array in (expected[name], found[name]))
            total += float(((y - x) ** 2).sum()) / max(float((x**2).sum()), 1e-30)
    return total


class _Fit:
    def __init__(self, exact: Graph, old: Graph, data: Mapping[str, np.ndarray], context: Context) -> None:
        self.fitted: list[tuple[str, bool]] = []
        self.context = context
        self.targets: dict[str, list[np.ndarray]] = {}
        wanted = {prefix + node.output.name for prefix, node in _layers(old)}
        names = {node.output: prefix + node.output.name for prefix, node in _layers(exact)}

        def keep(value: Value, array: np.ndarray) -> None:
            name = names.get(value)
            if name in wanted and name is not None:
                self.targets.setdefault(name, []).append(array)

        execute(exact, data, keep)
        self.done, self.total = 0, len(wanted)
        sizes = bind_sizes(old, data)
        arrays = {value: data[value.name] for value in old.inputs}
        self.new = self.graph(old, "", arrays, sizes)

    def graph(self, old: Graph, prefix: str, arrays: dict[Value, np.ndarray], sizes: dict[str, int]) -> Graph:
        """`old` with fitted layers; `arrays` of its inputs become those of all its values."""
        new = like(old)
        values = {value: new.input(value.name, value.type) for value in old.inputs}
        copy_constants(old, new, values)
        arrays = arrays | {values[value]: array for value, array in arrays.items()} | {v: v.array for v in new.constants}
        remaining = {value: len(value.uses) for value in old.values.values()}
        for node in old.nodes:
            operands = [values[value] for value in node.operands]
            names = [value.name for value in node.outputs]
            if node.body is not None:
                body = self.body(node, prefix, [arrays[value] for value in operands], sizes)
                results = new.add(node.op, *operands, names=names, origin=node.origin, body=body)
            else:
                if _is_layer(node):
                    inputs = real(arrays[operands[0]], operands[0].type)
                    operands = self.layer(new, node, prefix, operands, [inputs], arrays)
                results = new.add(node.op, *operands, names=names, origin=node.origin)
            values.update(zip(node.outputs, results, strict=True))
            made = results[0].node
            arrays.update(zip(results, compute(made, [arrays[value] for value in operands], sizes), strict=True))
            for value in node.operands:
                remaining[value] -= 1
                if not remaining[value] and not value.is_constant:
                    arrays.pop(values[value], None)
        for name, value in old.outputs.items():
            new.output(name, values[value])
        return new

    def body(self, node: Node, prefix: str, operands: Sequence[np.ndarray], sizes: dict[str, int]) -> Graph:
        """The body of a scan with its layers fitted to what they get in the scan as it is."""
        old = node.inner
        prefix = f"{prefix}{node.outputs[0].name}/"
        takes = {inner.operands[0]: inner for inner in old.nodes if _is_layer(inner)}
        inputs: dict[Value, list[np.ndarray]] = {}

        def keep(value: Value, array: np.ndarray) -> None:
            if value in takes:
                inputs.setdefault(value, []).append(real(array, value.type))

        compute(node, operands, sizes, keep)
        new = like(old)
        values = {value: new.input(value.name, value.type) for value in old.inputs}
        copy_constants(old, new, values)
        arrays = {values[value]: value.array for value in old.constants}
        for inner in old.nodes:
            taken = [values[value] for value in inner.operands]
            if _is_layer(inner):
                taken = self.layer(new, inner, prefix, taken, inputs[inner.operands[0]], arrays)
            names = [value.name for value in inner.outputs]
            results = new.add(inner.op, *taken, names=names, origin=inner.origin, body=inner.body)
            values.update(zip(inner.outputs, results, strict=True))
        for name, value in old.outputs.items():
            new.output(name, values[value])
        return new

    def layer(
        self,
        new: Graph,
        node: Node,
        prefix: str,
        operands: list[Value],
        inputs: Sequence[np.ndarray],
        arrays: dict[Value, np.ndarray],
    ) -> list[Value]:
        """The operands of a layer, with other weights and biases where these suit its inputs better."""
        targets = self.targets.pop(prefix + node.output.name, None)
        self.done += 1
        if self.context.progress is not None:
            self.context.progress("fitting layers", self.done, self.total)
        if targets is None or len(targets) != len(inputs):
            return operands
        weight = node.operands[1].array.astype(np.float64)
        bias = node.operands[2].array.astype(np.float64) if len(node.operands) == 3 else np.zeros(len(weight))
        few = _few(inputs, targets)

        most = _ROWS // len(few)
        x = np.concatenate([layer_inputs(node.op, x, weight.shape, most) for x, _ in few], axis=1).astype(np.float64)
        groups = x.shape[0]
        y = np.concatenate([layer_outputs(node.op, y, groups, most) for _, y in few], axis=1).astype(np.float64)
        matrix = weight.reshape(groups, len(weight) // groups, -1)
        got = x @ matrix.transpose(0, 2, 1) + bias.reshape(groups, 1, -1)
        change = _fit(x, y, got, _bounds(node))
        if change is None:
            return operands
        delta, shift = change
        self.fitted.append((prefix + node.output.name, bool(delta.any())))
        constants = [
            (node.operands[1].name, (matrix + delta).reshape(weight.shape), node.operands[1].array.dtype),
            (f"{node.output.name}.bias", bias + shift.reshape(-1), node.operands[1].array.dtype),
        ]
        fitted = [new.constant(f"{name}.fit", array.astype(dtype)) for name, array, dtype in constants]
        arrays.update((value, value.array) for value in fitted)
        return [operands[0], *fitted]


def _layers(graph: Graph, prefix: str = "") -> Iterator[tuple[str, Node]]:
    for node in graph.nodes:
        if _is_layer(node):
            yield prefix, node
        if node.body is not None:
            yield from _layers(node.body, f"{prefix}{node.outputs[0].name}/")


def _is_layer(node: Node) -> bool:
    """Whether the node weighs levels, or will, by constants; sums of products, whose weights are 1, are none."""
    if not isinstance(node.op, Linear | Conv) or node.operands[0].is_constant:
        return False
    known = all(value.is_constant for value in node.operands[1:])
    return known and not (len(node.operands) == 2 and bool((node.operands[1].array == 1).all()))


def _few(inputs: Sequence[np.ndarray], targets: Sequence[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Some elements of a sequence, evenly spaced."""
    return list(zip(inputs, targets, strict=True))[:: max(len(inputs) // 32, 1)]


def _bounds(node: Node) -> tuple[float, float]:
    """Between which ends the sum of a layer matters: those of the levels that it becomes, where it becomes them directly."""
    users = node.output.users
    if len(users) == 1 and isinstance(users[0].op, Quantize):
        levels = users[0].op.quantization
        return levels.lo * levels.scale, levels.hi * levels.scale
    return -np.inf, np.inf


def _fit(x: np.ndarray, wanted: np.ndarray, got: np.ndarray, bounds: tuple[float, float]) -> tuple[np.ndarray, np.ndarray] | None:
    """Changes of weights `[groups, outputs, inputs]` and biases `[groups, outputs]`; None where no change helps."""
    rows, wanted = x.shape[1], np.clip(wanted, *bounds)
    if rows < _FEWEST_ROWS:
        return None
    residual = wanted - np.clip(got, *bounds)
    half = rows // 2
    parts = (slice(0, half), slice(half, rows))
    ridges = (*_RIDGES, np.inf) if x.shape[2] <= _MOST_INPUTS else (np.inf,)
    errors = np.zeros(len(ridges))
    for seen, unseen in (parts, parts[::-1]):
        fits = _solve(x[:, seen], residual[:, seen], ridges)
        for index, (delta, shift) in enumerate(fits):
            changed = got[:, unseen] + x[:, unseen] @ delta.transpose(0, 2, 1) + shift[:, np.newaxis]
            errors[index] += float(((wanted[:, unseen] - np.clip(changed, *bounds)) ** 2).sum())
    best = int(errors.argmin())
    if errors[best] >= _HELPS * float((residual**2).sum()):
        return None
    return _solve(x, residual, (ridges[best],))[0]


def _solve(x: np.ndarray, residual: np.ndarray, ridges: Sequence[float]) -> list[tuple[np.ndarray, np.ndarray]]:
    """The ridge regressions of the residual on x, with an intercept that is not penalised.

    Solved over inputs, or over rows where these are fewer: (X^T X + r)^-1 X^T = X^T (X X^T + r)^-1.
    """
    mean_x, mean_r = x.mean(axis=1, keepdims=True), residual.mean(axis=1, keepdims=True)
    centred, off = x - mean_x, residual - mean_r
    turned, found = centred.transpose(0, 2, 1), []
    gram = cross = None
    fewer_rows = x.shape[1] < x.shape[2]
    for ridge in ridges:
        if np.isinf(ridge):
            delta = np.zeros((x.shape[0], residual.shape[2], x.shape[2]))
        else:
            if gram is None or cross is None:
                gram, cross = (centred @ turned, off) if fewer_rows else (turned @ centred, turned @ off)
            power = np.trace(gram, axis1=1, axis2=2) / x.shape[2]
            penalty = np.maximum(ridge * power, 1e-12)[:, np.newaxis, np.newaxis] * np.eye(gram.shape[1])
            solution = np.linalg.solve(gram + penalty, cross)
            delta = (turned @ solution if fewer_rows else solution).transpose(0, 2, 1)
        shift = (mean_r - mean_x @ delta.transpose(0, 2, 1))[:, 0]
        found.append((delta, shift))
    return found
