"""Pictures for papers and talks, as PNG files of at least 150 dots an inch, drawn from the data of the pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from snnir.errors import UsageError
from snnir.runtime.accuracy import MOST_DB

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["accuracy_figure", "comparison_figure", "explore_figures", "families_figure", "raster_figure", "report_figures"]

DPI = 160
_PLUS, _MINUS, _QUIET = "#0b62c4", "#d4570a", "0.55"
_COLOURS = (_PLUS, _MINUS, "#14803c", "#8a3ffc", "#b8860b", "#55606f")
_DRAWN = 30
"""Bars of a chart."""


Record = Mapping[str, Any]
"""A part of what a page shows, as JSON holds it."""


def _figure(width: float, height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _axes(figure: Figure, rows: int = 1, columns: int = 1, place: int = 1, **shared: Any) -> Axes:
    axes: Axes = figure.add_subplot(rows, columns, place, **shared)
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def _save(figure: Figure, path: Path) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=DPI)
    except OSError as error:
        raise UsageError(f"cannot write the picture {path}: {error.strerror or error}") from error
    return path


def accuracy_figure(curve: Sequence[float], capped: Mapping[int, float], goal: float | None, path: Path, title: str = "") -> Path:
    """Accuracy after each inner step of the last window, and with every window cut off after a number of steps."""
    figure = _figure(6.6, 4)
    axes = _axes(figure)
    if goal is not None:
        axes.axhline(100 * goal, color=_QUIET, linestyle="--", label=f"float network ({100 * goal:.2f} %)")
    if curve:
        steps = range(1, len(curve) + 1)
        axes.plot(
            steps, [100 * value for value in curve], marker=".", color=_MINUS, label="last window read early, others settled"
        )
    if capped:
        label = "cap: every window ends after so many steps"
        axes.plot(list(capped), [100 * value for value in capped.values()], marker="o", color=_PLUS, label=label)
    axes.set(xlabel="inner time-steps of a window", ylabel="accuracy (%)")
    axes.set_title(title or "Accuracy after each inner step", loc="left", fontsize=11)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, loc="lower right", fontsize=9)
    return _save(figure, path)


def families_figure(families: Mapping[str, Sequence[Mapping[str, float]]], goal: float, path: Path) -> Path:
    """Accuracy against spikes and against steps, for the points of each family of neurons."""
    figure = _figure(9.6, 4)
    labels = {
        "bif": "integrate and fire (bif): every window cut off early",
        "few-spikes": "few spikes: the last bits of each level left out",
    }
    for place, (key, label) in enumerate((("spikes", "spikes a sample"), ("steps", "inner time-steps of the longest window"))):
        axes = _axes(figure, 1, 2, place + 1)
        axes.axhline(100 * goal, color=_QUIET, linestyle="--", label="float network")
        for (neuron, points), colour in zip(families.items(), _COLOURS, strict=False):
            x, y = [point[key] for point in points], [100 * point["accuracy"] for point in points]
            axes.plot(x, y, marker="o", color=colour, label=labels.get(neuron, neuron))
        axes.set(xlabel=label, ylabel="accuracy (%)")
        axes.grid(alpha=0.25)
        if not place:
            axes.set_title("Two families of neurons, the same integers", loc="left", fontsize=11)
            axes.legend(frameon=False, loc="lower right", fontsize=9)
    return _save(figure, path)


def raster_figure(recording: Record, path: Path, title: str = "") -> Path:
    """Spikes of every population for one sample: a lane each, all on one time axis, windows side by side."""
    lanes = recording["lanes"]
    heights = [float(np.clip(0.5 + 0.16 * np.log2(1 + lane["neurons"]) ** 1.2, 0.8, 2.6)) for lane in lanes]
    figure = _figure(10, 1.4 + sum(heights))
    grid = figure.add_gridspec(max(len(lanes), 1), 1, height_ratios=heights or [1])
    first = None
    for place, lane in enumerate(lanes):
        axes = figure.add_subplot(grid[place, 0], sharex=first)
        first = first or axes
        axes.spines[["top", "right"]].set_visible(False)
        _windows(axes, recording)
        moments, addresses, values = (np.array(lane[key], np.int64) for key in ("moments", "addresses", "values"))
        for sign, colour, label in ((1, _PLUS, "spike +1"), (-1, _MINUS, "spike -1")):
            chosen = np.sign(values) == sign
            axes.scatter(moments[chosen], addresses[chosen], s=7, marker="s", linewidths=0, color=colour, label=label)
        axes.set_ylabel(f"{lane['title']}\n{lane['neurons']} neurons", fontsize=9, rotation=0, ha="right", va="center")
        axes.set_ylim(-1, lane["neurons"])
        axes.set_yticks([0, lane["neurons"] - 1])
        axes.tick_params(axis="y", labelsize=8)
        axes.tick_params(axis="x", labelbottom=place == len(lanes) - 1)
        if not place:
            axes.set_title(title or "Spikes of one sample", loc="left", fontsize=11)
            axes.legend(frameon=False, ncols=2, loc="lower right", bbox_to_anchor=(1, 1), fontsize=9, markerscale=2)
    if first is not None:
        first.set_xlim(-1, recording["length"] + 1)
        label = "inner time-steps; windows (one for each sequence element, shaded in turns) stand side by side"
        figure.axes[-1].set_xlabel(label)
    return _save(figure, path)


def _windows(axes: Axes, recording: Record) -> None:
    starts = [start for start, _ in recording["windows"]] + [recording["length"] + 2]
    for index in range(0, len(starts) - 1, 2):
        axes.axvspan(starts[index] - 1.5, starts[index + 1] - 1.5, color="0.93", linewidth=0)


def report_figures(data: Record, folder: Path) -> list[Path]:
    """All pictures of a report, those of each variant in its own files."""
    found = [comparison_figure(data, folder / "comparison.png")] if len(data["variants"]) > 1 and data["labels"] else []
    for number, variant in enumerate(data["variants"]):
        prefix = f"{number}-" if len(data["variants"]) > 1 else ""
        label = variant["label"]
        if variant["curve"] or any(cap["accuracy"] is not None for cap in variant["caps"]):
            caps = {cap["cap"]: cap["accuracy"] for cap in variant["caps"] if cap["accuracy"] is not None}
            longest = variant["facts"]["steps_max"]
            caps = {min(cap, longest): share for cap, share in caps.items()}
            title = f"{label}: accuracy after each inner step"
            found.append(
                accuracy_figure(variant["curve"], caps, variant["accuracy_float"], folder / f"{prefix}accuracy.png", title)
            )
        found.append(
            raster_figure(variant["recording"], folder / f"{prefix}raster.png", f"{label}: spikes of sample {data['sample']}")
        )
        found.append(_steps(variant, folder / f"{prefix}steps.png"))
        found.append(_layers(variant, folder / f"{prefix}layers.png"))
        if any(lane["traces"] for lane in variant["recording"]["lanes"]):
            found.append(_membranes(variant, folder / f"{prefix}membranes.png"))
        if variant.get("losses", {}).get("values"):
            found.append(_costs(variant, folder / f"{prefix}losses.png"))
    return found


def comparison_figure(data: Record, path: Path) -> Path:
    """Accuracy of all variants of a report against spikes and operations, settled and cut off."""
    figure = _figure(10, 4)
    for place, (key, fact, label) in enumerate(
        (("spikes", "spikes_per_sample", "spikes a sample"), ("synops", "synops_per_sample", "synaptic operations a sample"))
    ):
        axes = _axes(figure, 1, 2, place + 1)
        for variant, colour in zip(data["variants"], _COLOURS * 4, strict=False):
            caps = [cap for cap in variant["caps"] if not cap["settled"]]
            x = [cap[key] for cap in caps] + [variant["facts"][fact]]
            y = [100 * cap["accuracy"] for cap in caps] + [100 * variant["accuracy"]]
            axes.plot(x, y, color=colour, linewidth=1.4, marker=".")
            axes.plot(x[-1:], y[-1:], color=colour, marker="o", linestyle="", label=variant["label"])
        axes.set_xscale("log")
        axes.set(xlabel=label, ylabel="accuracy (%)")
        axes.grid(alpha=0.25)
        if not place:
            axes.set_title("Large dots: settled and exact; lines: windows cut off early", loc="left", fontsize=11)
            axes.legend(frameon=False, fontsize=9, loc="lower right")
    return _save(figure, path)


def _steps(variant: Record, path: Path) -> Path:
    groups = variant["windows"]
    figure = _figure(6.6, 1.2 + 1.5 * len(groups))
    for place, group in enumerate(groups):
        axes = _axes(figure, len(groups), 1, place + 1)
        axes.bar(range(len(group["counts"])), group["counts"], color=_PLUS, width=0.8)
        axes.axvline(group["bound"], color=_MINUS)
        axes.annotate(f"certified: {group['bound']}", (group["bound"], 1), xycoords=("data", "axes fraction"), xytext=(-5, -10),
                      textcoords="offset points", ha="right", color=_MINUS, fontsize=9)  # fmt: skip
        axes.set_ylabel("windows")
        axes.set_title(f"{variant['label']}: steps of windows {group['scan'] or 'outside of scans'}", loc="left", fontsize=10)
    figure.axes[-1].set_xlabel("inner time-steps until the window is settled")
    return _save(figure, path)


def _bars(path: Path, title: str, label: str, rows: Sequence[tuple[str, float, str]]) -> Path:
    rows = rows[:_DRAWN]
    figure = _figure(7.6, 1.2 + 0.28 * len(rows))
    axes = _axes(figure)
    axes.barh(range(len(rows)), [value for _, value, _ in rows], color=_PLUS, height=0.7)
    for place, (_, value, text) in enumerate(rows):
        axes.annotate(text, (value, place), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set_yticks(range(len(rows)), [name if len(name) <= 36 else f"...{name[-34:]}" for name, _, _ in rows], fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.16)
    axes.set_xlabel(label)
    axes.set_title(title, loc="left", fontsize=11)
    return _save(figure, path)


def _layers(variant: Record, path: Path) -> Path:
    rows = [
        (f"{layer['title']} ({layer['name']})" if layer["title"] != layer["name"] else layer["name"], value, f"{value:,.1f}")
        for layer in variant["layers"]
        if (value := layer.get("spikes")) is not None
    ]
    return _bars(path, f"{variant['label']}: spikes of each population", "spikes a sample", rows)


def _membranes(variant: Record, path: Path) -> Path:
    recording = variant["recording"]
    lanes = [lane for lane in recording["lanes"] if lane["traces"]]
    figure = _figure(10, 1 + 1.7 * len(lanes))
    for place, lane in enumerate(lanes):
        trace = lane["traces"][0]
        axes = _axes(figure, len(lanes), 1, place + 1)
        _windows(axes, recording)
        moments, potentials = np.array(lane["traced"], float), np.array(trace["potentials"], float)
        gaps = np.flatnonzero(np.diff(moments) > 1) + 1
        axes.step(np.insert(moments, gaps, np.nan), np.insert(potentials, gaps, np.nan), where="post", color=_PLUS)
        if trace["threshold"] is not None:
            axes.axhline(trace["threshold"], color=_MINUS, linestyle="--", linewidth=1, label="threshold")
            axes.legend(frameon=False, fontsize=8, loc="upper right")
        axes.set_xlim(-1, recording["length"] + 1)
        name = "potential V" if trace["threshold"] is not None else "sum A"
        axes.set_ylabel(name, fontsize=9)
        axes.set_title(f"{lane['title']}, neuron {trace['address']}: {trace['spikes']} spikes", loc="left", fontsize=10)
    figure.axes[-1].set_xlabel("inner time-steps, windows side by side")
    return _save(figure, path)


def _costs(variant: Record, path: Path) -> Path:
    values = variant["losses"]["values"]
    judged = all(row["output_db"] is not None for row in values)
    key = "output_db" if judged else "alone_db"
    rows = [
        (row["name"], row[key], f"{row[key]:.1f} dB, {row['bits']} bits")
        for row in sorted(values, key=lambda row: row[key])
        if row[key] < MOST_DB
    ]
    label = "SQNR of the worst output, this value alone quantized (dB)" if judged else "SQNR of its own rounding (dB)"
    return _bars(path, f"{variant['label']}: where quantization loses accuracy", label, rows)


def explore_figures(data: Record, folder: Path) -> list[Path]:
    """Pictures of the explorer: nodes after every pass, what each value costs, histograms with the quantizers' levels."""
    passes = [item for item in data["passes"] if item["changed"]]
    rows = [(item["name"], float(item["nodes"]), f"{item['nodes']:,} nodes, {1000 * item['seconds']:.1f} ms") for item in passes]
    found = [_bars(folder / "passes.png", f"{data['model']}: passes that changed the graph", "nodes after the pass", rows)]
    losses = list(data["losses"].values())
    if losses:
        costs = sorted(((item["name"], _cost(item)) for item in losses), key=lambda row: row[1])
        rows = [(name, cost, f"{cost:.1f} dB") for name, cost in costs if cost < MOST_DB]
        label = "SQNR of the worst output, this value alone quantized (dB)"
        found.append(_bars(folder / "losses.png", f"{data['model']}: what each value costs", label, rows))
        found.append(_histograms(data, losses, folder / "histograms.png"))
    return found


def _cost(item: Record) -> float:
    return float(item["output_db"] if item["output_db"] is not None else item["alone"])


def _histograms(data: Record, losses: Sequence[Record], path: Path) -> Path:
    chosen = losses[:12]
    columns = min(3, len(chosen))
    rows = -(-len(chosen) // columns)
    figure = _figure(3.6 * columns, 0.5 + 2.1 * rows)
    for place, loss in enumerate(chosen):
        axes = _axes(figure, rows, columns, place + 1)
        numbers = (graph["statistics"].get(loss["observed"]) for graph in data["graphs"] if graph["level"] == "float")
        number = next((item for item in numbers if item is not None), None)
        if number is not None and data["statistics"][number]["counts"]:
            item = data["statistics"][number]
            edges = np.linspace(item["first"], item["last"], len(item["counts"]) + 1)
            axes.stairs(item["counts"], edges, fill=True, color=_PLUS, alpha=0.75)
            axes.set_yscale("log")
            axes.set_xlim(item["first"], item["last"])
        if loss["hi"] - loss["lo"] <= 64:
            for level in range(loss["lo"], loss["hi"] + 1):
                axes.axvline(level * loss["scale"], color=_MINUS, linewidth=0.5, alpha=0.8)
        axes.set_title(f"{loss['name'][-32:]}  {loss['sqnr']:.1f} dB", loc="left", fontsize=8)
        axes.tick_params(labelsize=7)
    figure.suptitle("Calibration values, with the levels of their quantizers", fontsize=11, x=0.01, ha="left")
    return _save(figure, path)
