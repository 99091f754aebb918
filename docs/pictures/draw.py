"""Draws levels.png and settled.png from the demo's program: python docs/pictures/draw.py"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import snnir
from snnir.ir.execute import execute

HERE = Path(__file__).parent
LAYER = "last.forward.last/y"
BLUE, ORANGE = "#0b62c4", "#d4570a"


def main() -> None:
    """Both pictures."""
    folder = files("snnir") / "data"
    with (folder / "digits.npz").open("rb") as file, np.load(file) as archive:
        calibration, x = archive["calibration"], archive["test"][2:3]
    program = snnir.compile((folder / "digits-crnn.onnx").read_bytes(), calibration=calibration, bits=4, check=False)
    result = program.run(x, record=[LAYER], counts=True)
    draw_levels(program, x, result)
    draw_settled(program, result)


def draw_levels(program: snnir.Program, x: np.ndarray, result: object) -> None:
    """One layer as real numbers, as levels, and as spikes."""
    floats: list[np.ndarray] = []
    execute(program.graph("float"), {"image": x}, lambda value, array: floats.append(array))
    sequence = next(array for array in floats if array.shape == (8, 1, 1, 96) or array.shape == (8, 1, 96))
    real = sequence.reshape(8, 96).T
    levels = result.counts[LAYER][0].T  # type: ignore[attr-defined]
    events = result.rasters[LAYER]  # type: ignore[attr-defined]
    shown = np.argsort(-levels.sum(axis=1))[:24]
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 4, width_ratios=[1, 1.3, 1.3, 2.6])
    axes[0].imshow(x[0], cmap="gray_r")
    axes[0].set(title="a digit: 8 rows,\nread one by one", xticks=[], ylabel="row")
    axes[1].imshow(real[shown], cmap="Blues", aspect="auto")
    axes[1].set(title="float network:\nreal numbers", xlabel="row", ylabel="24 neurons of the recurrent layer")
    axes[2].imshow(levels[shown], cmap="Blues", aspect="auto")
    axes[2].set(title="quantized network:\nlevels 0 to 15", xlabel="row", yticks=[])
    place = {address: row for row, address in enumerate(shown.tolist())}
    width = int(result.steps.max()) + 2  # type: ignore[attr-defined]
    chosen = np.array([event for event in events if event[3] in place])
    moments, rows = chosen[:, 1] * width + chosen[:, 2], [place[address] for address in chosen[:, 3].tolist()]
    colours = np.where(chosen[:, 4] > 0, BLUE, ORANGE)
    axes[3].scatter(moments, rows, s=6, marker="s", c=colours, linewidths=0)
    for row in range(0, 8, 2):
        axes[3].axvspan(row * width - 1, (row + 1) * width - 1, color="0.93", linewidth=0, zorder=0)
    axes[3].set(title="spiking network: spikes +1 (blue), -1 (orange);\ntheir sums are the levels, 0 differences",
                xlabel="row; within a row inner time-steps", yticks=[], ylim=(23.5, -0.5),
                xticks=[row * width + width / 2 - 1 for row in range(8)], xticklabels=range(8))  # fmt: skip
    figure.savefig(HERE / "levels.png", dpi=150)


def draw_settled(program: snnir.Program, result: object) -> None:
    """One neuron in one window: its membrane, its spikes, and the count that comes to rest at the level."""
    scan = next(node for node in program.graph("spiking").nodes if node.body is not None)
    assert scan.body is not None
    node = scan.body.values["y"].producer
    assert node is not None
    theta = node.operands[0].array.reshape(-1)
    sums, events = result.membranes[LAYER][0], result.rasters[LAYER]  # type: ignore[attr-defined]
    negative = events[events[:, 4] < 0]
    pairs, counts = np.unique(negative[:, [1, 3]], axis=0, return_counts=True)
    window, neuron = pairs[counts.argmax()].tolist()
    own = events[(events[:, 1] == window) & (events[:, 3] == neuron)]
    steps = int(result.steps[0, window + 1]) + 2  # type: ignore[attr-defined]
    accumulator = [int(sums[window, min(step, sums.shape[1] - 1), neuron]) for step in range(steps)]
    tracer = [int(own[own[:, 2] <= step, 4].sum()) for step in range(steps)]
    threshold = int(theta[neuron])
    potential = [a + threshold // 2 - threshold * s for a, s in zip(accumulator, tracer, strict=True)]
    level = int(np.clip((accumulator[-1] + threshold // 2) // threshold, 0, 15))
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    top, bottom = figure.subplots(2, 1, sharex=True)
    top.step(range(steps), potential, where="mid", color=BLUE, label="membrane V after the step")
    top.axhline(threshold, color=ORANGE, linestyle="--", label="threshold: at or above it, +1")
    top.axhline(0, color="0.4", linestyle=":", label="below 0: -1")
    top.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1.01, 0.5))
    top.set_title(
        "One neuron in one window: it fires until its membrane rests between 0 and the threshold", loc="left", fontsize=11
    )
    bottom.step(range(steps), tracer, where="mid", color=BLUE, label="spikes counted so far (the tracer S)")
    exact = accumulator[-1] / threshold
    bottom.axhline(
        level, color="0.4", linewidth=1, label=f"the quantized network's level:\n{exact:.2f} thresholds arrived, so {level}"
    )
    for _, _, step, _, value in own.tolist():
        bottom.annotate("+1" if value > 0 else "-1", (step, tracer[step]), xytext=(0, 6), textcoords="offset points", ha="center",
                        color=BLUE if value > 0 else ORANGE, fontsize=9)  # fmt: skip
    bottom.set(xlabel="inner time-step", ylim=(min(0, *tracer) - 0.5, max(tracer) + 1.6))
    bottom.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1.01, 0.5))
    for axes in (top, bottom):
        axes.spines[["top", "right"]].set_visible(False)
    assert tracer[-1] == level
    figure.savefig(HERE / "settled.png", dpi=150)


if __name__ == "__main__":
    main()
