"""Pictures of results: for the terminal, and as PNG files."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from snnir.ir.ops import Population

if TYPE_CHECKING:
    from snnir.runtime.program import Program

__all__ = ["accuracy_plot", "families_plot", "raster_plot"]


def accuracy_plot(curve: Sequence[float], capped: Mapping[int, float], goal: float, path: Path, quiet: bool) -> Path:
    """Accuracy after each inner step of the last window, and with every window cut off; in the terminal and as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    steps = list(range(1, len(curve) + 1))
    if not quiet:
        import plotext

        plotext.clear_figure()
        plotext.plot_size(min(plotext.terminal_width() or 100, 100), 16)
        plotext.plot(steps, [100 * value for value in curve], label="all windows before settled")
        plotext.plot(list(capped), [100 * value for value in capped.values()], label="every window cut off")
        plotext.title("accuracy (%) after each inner step")
        plotext.theme("clear")
        drawing = plotext.build()
        sys.stdout.write((drawing if sys.stdout.isatty() else plotext.uncolorize(drawing)) + "\n")
    figure = Figure(figsize=(6.4, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.axhline(100 * goal, color="0.6", linestyle="--", label="float network")
    axes.plot(steps, [100 * value for value in curve], marker=".", label="read after each step, windows before settled")
    axes.plot(list(capped), [100 * value for value in capped.values()], marker="o", label="every window cut off after")
    axes.set_xlabel("inner time-step")
    axes.set_ylabel("accuracy (%)")
    axes.legend()
    figure.savefig(path, dpi=120)
    return path


def families_plot(families: Mapping[str, Sequence[Mapping[str, float]]], goal: float, path: Path) -> Path:
    """Accuracy against spikes and against steps, for the points of each family of neurons, as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    FigureCanvasAgg(figure)
    labels = {"bif": "bif, every window cut off", "few-spikes": "few-spikes, last bits left out"}
    for place, (key, label) in enumerate((("spikes", "spikes a sample"), ("steps", "most steps of a window"))):
        axes = figure.add_subplot(1, 2, place + 1)
        axes.axhline(100 * goal, color="0.6", linestyle="--", label="float network")
        for neuron, points in families.items():
            x, y = [point[key] for point in points], [100 * point["accuracy"] for point in points]
            axes.plot(x, y, marker="o", label=labels.get(neuron, neuron))
        axes.set_xlabel(label)
        axes.set_ylabel("accuracy (%)")
        axes.legend()
    figure.savefig(path, dpi=120)
    return path


def raster_plot(program: Program, x: np.ndarray, path: Path) -> Path:
    """Spikes of every population for one sample, windows side by side, as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    spiking = program.graph("spiking")
    names = []
    for node in spiking.nodes:
        if isinstance(node.op, Population):
            names.append(node.output.name)
        if node.body is not None:
            names += [
                f"{node.outputs[0].name}/{inner.output.name}" for inner in node.body.nodes if isinstance(inner.op, Population)
            ]
    result = program.run(x, record=names)
    width = int(result.steps.max(initial=1)) + 2
    figure = Figure(figsize=(8, 1.2 + 1.6 * len(names)), layout="constrained")
    FigureCanvasAgg(figure)
    for index, name in enumerate(names):
        axes = figure.add_subplot(len(names), 1, index + 1)
        events = result.rasters[name]
        first = int(events[:, 1].min(initial=0)) if len(events) else 0
        moment = (events[:, 1] - first) * width + events[:, 2]
        for sign, color in ((1, "tab:blue"), (-1, "tab:red")):
            chosen = np.sign(events[:, 4]) == sign
            axes.scatter(moment[chosen], events[chosen, 3], s=3, c=color, label="+1" if sign > 0 else "-1")
        axes.set_ylabel(name, fontsize=8)
    axes.set_xlabel(f"inner time-step (a window every {width})")
    figure.savefig(path, dpi=120)
    return path
