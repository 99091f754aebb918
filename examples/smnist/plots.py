"""The pictures of the evaluation and of training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

__all__ = ["plot_bits", "plot_caps", "plot_curve", "plot_propagation"]


def _axes(width: float, height: float, panels: int = 1) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, [figure.add_subplot(1, panels, index + 1) for index in range(panels)]


def plot_caps(results: dict[str, Any], path: Path) -> None:
    """Accuracy against the cap on steps, and against the spikes that it allows."""
    figure, panels = _axes(9, 3.4, 2)
    rows, settled = results["caps"], results["executions"][0]
    for axes, key, label in zip(panels, ("cap", "spikes"), ("cap on inner time-steps", "spikes an image"), strict=True):
        axes.plot([row[key] for row in rows], [100 * row["spiking"] for row in rows], marker="o", label="spiking, capped")
        axes.axhline(100 * settled["quantized"], color="0.6", linestyle="--", label="quantized, same images")
        axes.set_xlabel(label)
    panels[0].set_xscale("log", base=2)
    panels[0].set_ylabel("accuracy (%)")
    panels[0].legend()
    figure.savefig(path, dpi=120)


def plot_bits(results: dict[str, Any], path: Path) -> None:
    """Accuracy, steps and spikes against the bits of activations."""
    figure, panels = _axes(10, 3.2, 3)
    keys = {"spiking": "accuracy (%)", "steps_mean": "steps an element, mean", "spikes": "spikes an image"}
    for trained, label, marker in ((False, "converted as it is", "s"), (True, "trained for it", "o")):
        rows = sorted((row for row in results["bits"] if row["trained"] == trained), key=lambda row: row["bits"])
        for axes, (key, title) in zip(panels, keys.items(), strict=True):
            values = [row[key] * (100 if key == "spiking" else 1) for row in rows]
            axes.plot([row["bits"] for row in rows], values, marker=marker, label=label)
            axes.set_xlabel("bits of activations")
            axes.set_title(title, fontsize=9)
    panels[0].legend()
    figure.savefig(path, dpi=120)


def plot_propagation(results: dict[str, Any], path: Path) -> None:
    """L1 distance to the quantized network along the sequence, one panel a recurrent layer."""
    layers = list(results["curves"][0]["layers"])
    figure, panels = _axes(4.2 * len(layers), 3.6, len(layers))
    for index, (axes, layer) in enumerate(zip(panels, layers, strict=True), 1):
        for curve in results["curves"]:
            cap = "until settled" if curve["steps"] is None else f"{curve['steps']} steps"
            style = "-" if curve["encoding"] == "s-analog" else "--"
            axes.plot(curve["layers"][layer], style, linewidth=1.2, label=f"{curve['encoding']}, {cap}")
        axes.set_yscale("symlog", linthresh=0.01)
        axes.set_xlabel("element of the sequence")
        axes.set_title(f"recurrent layer {index}", fontsize=9)
    panels[0].set_ylabel("|spiking - quantized|, levels")
    panels[-1].legend(fontsize=6)
    figure.savefig(path, dpi=120)


def plot_curve(curves: dict[str, list[dict[str, float]]], path: Path) -> None:
    """Validation error of each epoch, by name of the teacher."""
    figure, (axes,) = _axes(6, 3.4)
    for name, rows in curves.items():
        axes.plot(range(1, len(rows) + 1), [100 * (1 - row["validation"]) for row in rows], marker=".", label=name)
    axes.set_yscale("log")
    axes.set_xlabel("epoch")
    axes.set_ylabel("validation error (%)")
    axes.legend()
    figure.savefig(path, dpi=120)
