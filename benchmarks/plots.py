"""One measured line with its spread, as PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

__all__ = ["line_plot"]


def line_plot(
    path: Path, x_label: str, y_label: str, x: Sequence[float], y: Sequence[Sequence[float]], fit: Sequence[float] | None
) -> Path:
    """`y` holds medians, least and most; `fit` a fitted line at the same x."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    middle, low, high = y
    figure = Figure(figsize=(5.6, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    below = [a - b for a, b in zip(middle, low, strict=True)]
    above = [b - a for a, b in zip(middle, high, strict=True)]
    axes.errorbar(x, middle, yerr=[below, above], fmt="o-", markersize=4, linewidth=1, capsize=3, label="median, least to most")
    if fit is not None:
        order = sorted(range(len(x)), key=lambda index: x[index])
        axes.plot([x[i] for i in order], [fit[i] for i in order], "--", color="0.5", label="linear fit")
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.legend()
    figure.savefig(path, dpi=110)
    return path
