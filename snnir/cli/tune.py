"""`snnir tune`: mixed bits that reach a goal."""

from __future__ import annotations

import json as json_module
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import snnir
from snnir.cli import report
from snnir.cli.files import read_arrays, read_labels
from snnir.cli.import_options import import_options
from snnir.cli.options import (
    FILE,
    JSON,
    chosen,
    compile_options,
)
from snnir.cli.tables import show_table
from snnir.errors import UsageError

if TYPE_CHECKING:
    from snnir.compiler.tuning import Point, Tuning

__all__ = ["tune_command"]


@click.command("tune")
@click.argument("model", type=FILE)
@click.option("--calibration", type=FILE, required=True, help="Inputs like those to come: .npy, or .npz by input name.")
@click.option("--labels", type=FILE, help="Class indices of the calibration inputs (.npy): the loss is that of right answers.")
@click.option("--target-loss", metavar="PERCENT", help="The most that may be lost, of right answers or of correlation: 0.5%.")
@click.option("--budget-bits", type=float, help="The mean bits of activations that may be used.")
@click.option("--budget-spikes", type=float, help="The spikes per sample that may be sent, as estimated from calibration data.")
@click.option("--output", "-o", type=FILE, default=Path("tuning"), show_default=True, help="A folder for the results.")
@compile_options("input_bits", "state_bits", "allow_host", "method", "percentile", "fit", "channel_scales")
@import_options()
@JSON
def tune_command(
    model: Path,
    calibration: Path,
    labels: Path | None,
    target_loss: str | None,
    budget_bits: float | None,
    budget_spikes: float | None,
    output: Path,
    imports: dict[str, Any],
    json: bool,
    **options: Any,
) -> int:
    """Choose bits for every value of MODEL by what they cost, and write options for `snnir compile --options`.

    Give one of --target-loss, --budget-bits and --budget-spikes; exit code 1 where it cannot be reached. An interrupted search
    goes on when the same command is given again.
    """
    data = read_arrays(calibration)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write into {output}: {error.strerror}") from error
    count = len(next(iter(data.values())) if isinstance(data, dict) else data)
    with report.progress("tuning", quiet=json) as advance:
        found = snnir.tune(
            model,
            calibration=data,
            labels=None if labels is None else read_labels(labels, count),
            target_loss=None if target_loss is None else _percent(target_loss),
            budget_bits=budget_bits,
            budget_spikes=budget_spikes,
            state=output / "measurements.json",
            progress=advance,
            **imports,
            **chosen(options),
        )
    (output / "options.json").write_text(json_module.dumps(dict(found.chosen.options), indent=1) + "\n", encoding="utf-8")
    (output / "pareto.csv").write_text(_csv(found.points), encoding="utf-8")
    _plot(found, output / "pareto.png")
    if json:
        report.print_json(
            {
                "reached": found.reached,
                "chosen": found.chosen.facts(),
                "points": [point.facts() for point in found.points],
                "sensitivity": {name: {str(bits): one for bits, one in by.items()} for name, by in found.sensitivity.items()},
            }
        )
    else:
        _show(found, output)
    if not found.reached:
        report.error("the goal cannot be reached; the options written come closest: give it more, or train with snnir.torch")
    return 0 if found.reached else 1


def _percent(text: str) -> float:
    try:
        return float(text.removesuffix("%"))
    except ValueError:
        raise UsageError(f"--target-loss {text!r}: give a number of percent, like 0.5%") from None


def _csv(points: Sequence[Point]) -> str:
    lines = ["mean bits,weight bits,estimated spikes per sample,loss (%),least SQNR (dB)"]
    for point in points:
        least = min((item.sqnr for item in point.distances), default=0.0)
        lines.append(f"{point.bits:.3f},{point.weight_bits},{point.spikes:.1f},{point.loss:.4f},{least:.2f}")
    return "\n".join(lines) + "\n"


def _show(found: Tuning, output: Path) -> None:
    columns = ("mean bits", "weight bits", "spikes (estimate)", "loss", "distance to float", "chosen")
    rows = [
        [
            f"{point.bits:.2f}",
            str(point.weight_bits),
            f"{point.spikes:,.0f}",
            f"{point.loss:.3f} %",
            "; ".join(f"{item.name}: {item}" for item in point.distances),
            "chosen" if point is found.chosen else "",
        ]
        for point in found.points
    ]
    show_table("mixtures of bits, on calibration samples held back", columns, rows, right=columns[:4])
    print(f"written: {output / 'options.json'} (for snnir compile --options), {output / 'pareto.csv'}, {output / 'pareto.png'}")


def _plot(found: Tuning, path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot(
        [point.bits for point in found.points], [point.loss for point in found.points], marker="o", label="mixtures of bits"
    )
    axes.plot([found.chosen.bits], [found.chosen.loss], marker="s", linestyle="none", label="chosen")
    axes.set_xlabel("mean bits of activations")
    axes.set_ylabel("loss (%)")
    axes.legend()
    figure.savefig(path, dpi=120)
