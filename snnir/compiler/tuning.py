"""Mixed bits: what each value and the weights cost the outputs alone, and the cheapest bits that reach a goal."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from snnir.compiler.compile import compile
from snnir.compiler.debugging import quantized_program
from snnir.compiler.exchanges import Exchanges
from snnir.compiler.importing import import_for
from snnir.compiler.losses import measure_losses
from snnir.compiler.measurements import Measurements
from snnir.compiler.options import ImportOptions
from snnir.compiler.sensitivity import Partial, QuantizationSteps, rounded_weights
from snnir.errors import UsageError
from snnir.ir import Graph, Node, Quantization
from snnir.ir.ops import Observe
from snnir.passes.quantize_activations import known_values, levels_of
from snnir.passes.scale_groups import scale_groups
from snnir.runtime.accuracy import Distance, measure
from snnir.runtime.inputs import calibration_data, sample_count, samples
from snnir.runtime.totals import right_answers

__all__ = ["CHOICES", "Point", "Tuning", "tune"]

CHOICES = (2, 3, 4, 5, 6, 7, 8)
"""Bits that a value may get."""
INPUT_CHOICES = (6, 8, 10, 12)
WEIGHT_CHOICES = (4, 5, 6, 8, 10)
_SAMPLES = 8
_BITS = 4
"""What values that are not named get, and what factors of channels are chosen for, in all mixtures alike."""
_REPEATS = 3
"""How often exchanges start from what exchanges found, once it is compiled and measured."""
_TRIES = 6
"""Mixtures on the way from the fewest to the most bits that are compiled and measured."""


@dataclass(frozen=True)
class Point:
    """One choice of bits, compiled and measured on samples that calibration did not see."""

    bits: float
    """The mean over all neurons (those in the body of a scan count once)."""
    spikes: float
    """Estimated spikes per sample: the sum of all magnitudes of levels."""
    weight_bits: int
    loss: float
    """`1 - correlation` of the worst output, or the share of right answers that is lost, in percent."""
    distances: tuple[Distance, ...]
    options: Mapping[str, Any]
    """What `snnir.compile` takes."""

    def facts(self) -> dict[str, object]:
        """All numbers by name, for JSON."""
        return {**asdict(self), "distances": [item.facts() for item in self.distances]}

    @classmethod
    def read(cls, facts: Mapping[str, Any]) -> Point:
        """What `facts` gave."""
        return cls(**{**facts, "distances": tuple(Distance.read(item) for item in facts["distances"])})


@dataclass(frozen=True)
class Tuning:
    """What was tried, and what was chosen."""

    points: tuple[Point, ...]
    chosen: Point
    reached: bool
    """Whether the choice reaches the goal; else it is the one that comes closest."""
    sensitivity: Mapping[str, Mapping[int, float]]
    """For each value (and `weights`) and number of bits: noise by signal at the worst output, where it alone is quantized."""


@dataclass
class _Item:
    """A group of values with one scale, and so one number of bits."""

    names: list[str]
    """Of their `observe` nodes, with prefix."""
    nodes: list[Node]
    option: str
    neurons: int
    magnitude: float
    """The sum of magnitudes per sample, in real units."""
    choices: tuple[int, ...]
    is_input: bool


def tune(
    model: Any,
    *,
    calibration: np.ndarray | Mapping[str, np.ndarray],
    labels: np.ndarray | None = None,
    target_loss: float | None = None,
    budget_bits: float | None = None,
    budget_spikes: float | None = None,
    state: str | Path | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    **options: Any,
) -> Tuning:
    """Choose bits for each value, and for weights, that reach a goal.

    Give one goal: `target_loss`, in percent (of right answers with `labels`, class indices of the calibration samples; else of
    correlation with the float model), or `budget_bits`, the mean bits of activations, or `budget_spikes` per sample. `state` is a
    file in which measurements are kept, so that an interrupted search goes on. Three quarters of the calibration data calibrate,
    the rest measures. `options` are those of `snnir.compile`.

    The search is greedy by loss saved per cost: from the fewest bits on, the value gets one more bit whose noise at the outputs
    falls the most for what it costs. Noise of values adds up, as if they were independent; mixtures on the way are therefore
    compiled and measured, and between them the cheapest is looked for that reaches the goal. From there on, bits move between two
    values at a time where the noise of the whole mixture says so (`exchanges.py`). Raises what `snnir.compile` raises.
    """
    goals = [target_loss, budget_bits, budget_spikes]
    if sum(goal is not None for goal in goals) != 1:
        raise UsageError("give one goal: target_loss, budget_bits or budget_spikes")
    taken = [name for name in ("bits", "value_bits", "weight_bits") if name in options]
    if taken:
        raise UsageError(f"{taken[0]} is what tuning chooses; leave it out")
    imports = ImportOptions(**{name: options.pop(name) for name in ("constants", "batch_axes", "dims") if name in options})
    graph = import_for(model, imports, calibration)
    return _Search(graph, calibration, labels, target_loss, budget_bits, budget_spikes, state, progress, options).run()


class _Search:
    def __init__(
        self,
        graph: Graph,
        calibration: np.ndarray | Mapping[str, np.ndarray],
        labels: np.ndarray | None,
        target_loss: float | None,
        budget_bits: float | None,
        budget_spikes: float | None,
        state: str | Path | None,
        progress: Callable[[str, int, int], None] | None,
        options: dict[str, Any],
    ) -> None:
        self.graph, self.options, self.progress = graph, options, progress
        self.target_loss, self.budget_bits, self.budget_spikes = target_loss, budget_bits, budget_spikes
        data = calibration_data(graph, calibration)
        total = sample_count(graph, data)
        border = max(total - total // 4, 1)
        self.seen = samples(graph, data, 0, border)
        self.unseen = samples(graph, data, border, total) if border < total else self.seen
        if labels is not None and len(labels) != total:
            raise UsageError(f"{len(labels)} labels are given for {total} calibration samples")
        self.labels = None if labels is None else (labels[border:] if border < total else labels)
        self.store = Measurements(state, graph, data, options)
        self.right = None if self.labels is None else self._right(graph)

    def run(self) -> Tuning:
        _, steps = quantized_program(self.graph, self.seen, bits=_BITS, weight_bits=8, **self.options)
        items = self._items(steps)
        noise = self._sensitivity(steps, items)
        path = list(_greedy(items, noise, self.budget_spikes is not None))
        points: dict[int, Point] = {}
        for index in sorted({round(share * (len(path) - 1)) for share in np.linspace(0, 1, _TRIES)}):
            points[index] = self._measured(items, path[index])
        while (index := self._between(points)) is not None:
            points[index] = self._measured(items, path[index])
        found = list(points.values())
        chosen = self._chosen(found)
        mixture = next(path[index] for index, point in points.items() if point is chosen)
        for _ in range(_REPEATS if self._reaches(chosen) else 0):
            mixture = self._exchanged(steps, items, noise, mixture)
            point = self._measured(items, mixture)
            if point in found:
                break
            found.append(point)
            if self._chosen(found) is not point:
                break
        found.sort(key=self._cost)
        chosen = self._chosen(found)
        return Tuning(tuple(found), chosen, self._reaches(chosen), noise)

    def _chosen(self, found: Sequence[Point]) -> Point:
        """The best point that reaches the goal, or else the one that comes closest."""
        fitting = [point for point in found if self._reaches(point)]
        if self.target_loss is not None:
            return min(fitting, key=self._cost) if fitting else min(found, key=lambda point: point.loss)
        return min(fitting, key=lambda point: point.loss) if fitting else min(found, key=self._cost)

    def _exchanged(
        self,
        steps: QuantizationSteps,
        items: Sequence[_Item],
        noise: Mapping[str, Mapping[int, float]],
        mixture: Mapping[str, int],
    ) -> dict[str, int]:
        """The mixture with bits moved between values: of fewer bits (or spikes) where a loss is the goal, else of less noise."""
        partial = Partial(steps.calibrated, self.seen, _SAMPLES)

        def joint(mixed: Mapping[str, int]) -> float:
            levels: dict[str, Quantization] = {}
            for item in items:
                levels |= {name: levels_of(node, mixed[item.option]) for name, node in zip(item.names, item.nodes, strict=True)}
            key = {item.option: mixed[item.option] for item in items}
            self._tell("exchanging bits", len(self.store.numbers), 0)
            return self.store.number(f"values {json.dumps(key, sort_keys=True)}", lambda: _noise(partial.sqnr(levels)))

        def cost(mixed: Mapping[str, int]) -> float:
            return self._sum(items, mixed, self.budget_spikes is not None)

        choices = {item.option: item.choices for item in items if not item.is_input}
        exchanges = Exchanges(choices, noise, cost, joint)
        if self.target_loss is not None:
            return exchanges.cheaper(mixture)
        budget = self.budget_bits if self.budget_spikes is None else self.budget_spikes
        return exchanges.quieter(mixture, budget or 0.0)

    @staticmethod
    def _sum(items: Sequence[_Item], mixture: Mapping[str, int], spikes: bool) -> float:
        """The estimated spikes of a mixture, or the mean bits over all neurons."""
        if spikes:
            return sum(_spikes(item, mixture[item.option]) for item in items)
        neurons = sum(item.neurons for item in items)
        return sum(item.neurons * mixture[item.option] for item in items) / max(neurons, 1)

    def _cost(self, point: Point) -> float:
        return point.spikes if self.budget_spikes is not None else point.bits

    def _reaches(self, point: Point) -> bool:
        if self.target_loss is not None:
            return point.loss <= self.target_loss
        budget = self.budget_bits if self.budget_spikes is None else self.budget_spikes
        assert budget is not None
        return self._cost(point) <= budget

    def _between(self, points: Mapping[int, Point]) -> int | None:
        """The mixture halfway between the last that does not reach the goal and the first that does; None where they are next."""
        flags = {index: self._reaches(point) for index, point in points.items()}
        wanted = self.target_loss is not None
        first = min((index for index, flag in flags.items() if flag == wanted), default=None)
        if first is None:
            return None
        before = max((index for index, flag in flags.items() if index < first and flag != wanted), default=None)
        return None if before is None or first - before < 2 else (first + before) // 2

    def _items(self, steps: QuantizationSteps) -> list[_Item]:
        losses = {
            loss.observed: loss for loss in measure_losses(steps.calibrated, steps.quantized, self.seen, _SAMPLES).activations
        }
        partial = Partial(steps.calibrated, self.seen, 1)
        known = known_values(steps.calibrated)
        items = []
        for nodes in scale_groups(steps.calibrated, Observe):
            names = [f"{partial.prefix_of[node]}{node.output.name}" for node in nodes]
            there = [losses[name] for name in names if name in losses]
            if not there:
                continue
            largest = max(there, key=lambda loss: loss.magnitude)
            is_input = all(node.operands[0] in known for node in nodes)
            magnitude = sum(loss.magnitude for loss in there)
            choices = INPUT_CHOICES if is_input else CHOICES
            neurons = 0 if is_input else sum(loss.neurons for loss in there)
            items.append(_Item(names, nodes, largest.option, neurons, magnitude, choices, is_input))
        return items

    def _sensitivity(self, steps: QuantizationSteps, items: Sequence[_Item]) -> dict[str, dict[int, float]]:
        partial = Partial(steps.calibrated, self.seen, _SAMPLES)
        total, done = sum(len(item.choices) for item in items) + len(WEIGHT_CHOICES), 0
        noise: dict[str, dict[int, float]] = {}
        for item in items:
            for bits in item.choices:
                levels = {name: levels_of(node, bits) for name, node in zip(item.names, item.nodes, strict=True)}
                one = self.store.number(f"value {item.option} {bits}", lambda levels=levels: _noise(partial.sqnr(levels)))  # type: ignore[misc]
                noise.setdefault(item.option, {})[bits] = one
                done += 1
                self._tell("one value at a time", done, total)
        for bits in WEIGHT_CHOICES:
            one = self.store.number(f"weights {bits}", lambda bits=bits: self._weight_noise(partial, steps, bits))  # type: ignore[misc]
            noise.setdefault("weights", {})[bits] = one
            done += 1
            self._tell("weights", done, total)
        return noise

    def _weight_noise(self, partial: Partial, steps: QuantizationSteps, bits: int) -> float:
        weights = replace(steps.weights, bits=bits, refine=False)  # type: ignore[call-arg]
        quantized = weights.trace(steps.activations)[0]  # type: ignore[attr-defined]
        return _noise(partial.sqnr({}, rounded_weights(replace(steps, weights=weights, quantized=quantized))))

    def _measured(self, items: Sequence[_Item], mixture: Mapping[str, int]) -> Point:
        self._tell("compiling mixtures", len(self.store.points), 0)
        key = json.dumps(mixture, sort_keys=True)
        if key in self.store.points:
            return Point.read(self.store.points[key])
        inputs = [item for item in items if item.is_input]
        chosen = {item.option: mixture[item.option] for item in items}
        options: dict[str, Any] = {"bits": _BITS, "weight_bits": mixture["weights"], "value_bits": chosen, **self.options}
        if len(inputs) == 1:
            options["input_bits"] = chosen[inputs[0].option]
        program = compile(self.graph, calibration=self.seen, check=False, **options)
        quantized = program.graph("quantized")
        distances = tuple(measure(self.graph, quantized, self.unseen))
        if self.right is not None:
            loss = 100 * (self.right - self._right(quantized))
        else:
            real = [item for item in distances if item.correlation is not None or item.constant]
            loss = 100 * max((1 - (item.correlation or 0.0) for item in real), default=0.0)
        mean, spikes = (self._sum(items, mixture, by_spikes) for by_spikes in (False, True))
        point = Point(mean, spikes, mixture["weights"], loss, distances, options)
        self.store.keep(key, point.facts())
        return point

    def _right(self, graph: Graph) -> float:
        from snnir.ir.execute import execute

        assert self.labels is not None
        return right_answers(execute(graph, self.unseen), self.labels) / len(self.labels)

    def _tell(self, what: str, done: int, total: int) -> None:
        if self.progress is not None:
            self.progress(what, done, total)


def _noise(decibels: float) -> float:
    return float(10 ** (-decibels / 10))


def _spikes(item: _Item, bits: int) -> float:
    """The sum of all magnitudes of levels, per sample; inputs are charged and send none."""
    return 0.0 if item.is_input else item.magnitude / levels_of(item.nodes[0], bits).scale


def _greedy(items: Sequence[_Item], noise: Mapping[str, Mapping[int, float]], by_spikes: bool) -> Iterator[dict[str, int]]:
    """Mixtures of bits by value and of `weights`, from the fewest bits on, one change at a time."""
    choices = {item.option: item.choices for item in items} | {"weights": WEIGHT_CHOICES}
    costs = {item.option: item for item in items}
    present = {name: min(found) for name, found in choices.items()}
    neurons = max(sum(item.neurons for item in items), 1)
    yield dict(present)
    while True:
        best, gain = None, 0.0
        for name, found in choices.items():
            later = [bits for bits in found if bits > present[name]]
            for bits in later[:2]:
                saved = noise[name][present[name]] - noise[name][bits]
                item = costs.get(name)
                if item is None or item.is_input:
                    cost = 0.01 * (bits - present[name])  # inputs and weights cost no steps and no spikes
                elif by_spikes:
                    cost = max(_spikes(item, bits) - _spikes(item, present[name]), 1e-9)
                else:
                    cost = (bits - present[name]) * item.neurons / neurons
                if saved > 0 and saved / max(cost, 1e-9) > gain:
                    best, gain = (name, bits), saved / max(cost, 1e-9)
        if best is None:
            return
        present[best[0]] = best[1]
        yield dict(present)
