"""Pictures in the terminal."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

__all__ = ["accuracy_in_terminal"]


def accuracy_in_terminal(curve: Sequence[float], capped: Mapping[int, float]) -> None:
    """Accuracy after each inner step of the last window, and with every window cut off, on stdout."""
    import plotext

    plotext.clear_figure()
    plotext.plot_size(min(plotext.terminal_width() or 100, 100), 16)
    plotext.plot(list(range(1, len(curve) + 1)), [100 * value for value in curve], label="all windows before settled")
    plotext.plot(list(capped), [100 * value for value in capped.values()], label="every window cut off")
    plotext.title("accuracy (%) after each inner step")
    plotext.theme("clear")
    drawing = plotext.build()
    sys.stdout.write((drawing if sys.stdout.isatty() else plotext.uncolorize(drawing)) + "\n")
