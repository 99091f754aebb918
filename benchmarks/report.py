"""From the JSON file of `python -m benchmarks` to tables, plots and the section of docs/performance.md.

python -m benchmarks.report out/bench.json [--write docs/performance.md] [--neurons docs/neurons.md] [--plots out/bench]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.bars import FEW_SPIKES, OURS, bars, median, row_share

__all__ = ["END", "insert", "main", "markdown", "neurons", "plots", "write"]

BEGIN = "<!-- measured: written by python -m benchmarks.report -->"
BEGIN_NEURONS = "<!-- time: written by python -m benchmarks.report -->"
BUSY = 0.5
"""Load average before a run that means that others are at work."""
END = "<!-- end of what is measured -->"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def markdown(facts: dict[str, Any]) -> str:
    """All tables as one Markdown text."""
    parts = [_preface(facts), "### What must be shown", _table(("asked", "measured", ""), bars(facts))]
    for name, workload in facts["workloads"].items():
        parts += [f"### {name}", _about(workload), _comparison(workload)]
    for text in (_scaling(facts), _memory(facts), _profile(facts)):
        if text:
            parts.append(text)
    return "\n\n".join(parts) + "\n"


def neurons(facts: dict[str, Any]) -> str:
    """Both families of neurons on all workloads at the largest batch, as one Markdown text."""
    batch = max(int(batch) for workload in facts["workloads"].values() for batch in workload["batches"])
    sides = (OURS, *FEW_SPIKES, "ONNX Runtime float32")
    header = [
        *("", "bif, 4 bits, ms", "few-spikes, 4 bits", "few-spikes, 8 bits", "ONNX Runtime, float32", "bif : few-spikes, 4 bits"),
        *("few-spikes, 8 : 4 bits", "few-spikes, 4 bits : ONNX Runtime"),
    ]
    rows = []
    for name in facts["workloads"]:
        bif, four, eight, dense = (median(facts, name, batch, side) for side in sides)
        if bif and four and eight and dense:
            ratios = (f"{bif / four:.2f}", f"{eight / four:.2f}", f"{four / dense:.2f}")
            rows.append([name, *(f"{1e3 * seconds:.3g}" for seconds in (bif, four, eight, dense)), *ratios])
    machine = facts["machine"]
    about = (
        f"`python -m benchmarks` on {facts['date']}: {machine['cpu']}, {facts['threads']} threads, {batch} samples, medians of "
        f"runs in turns, load average {facts['load_before']:.1f} before it."
    )
    return f"{about}\n\n{_table(header, rows)}"


def _preface(facts: dict[str, Any]) -> str:
    machine = facts["machine"]
    versions = ", ".join(f"{name} {found}" for name, found in machine["versions"].items())
    text = (
        f"`python -m benchmarks` on {facts['date']}: {machine['cpu']}, {machine['cores']} cores, Python {machine['python']}, "
        f"{versions}. Load average {facts['load_before']:.1f} before and {facts['load_after']:.1f} after, the run itself "
        f"included; {facts['threads']} threads a side; {facts['seconds'] / 60:.1f} minutes. Sides take turns; times are medians "
        "(least to most; turns taken) a sample."
    )
    if facts["load_before"] > BUSY:
        text += " Other jobs ran on the machine shortly before, and perhaps beside it: the figures may scatter."
    if facts["small"]:
        text += " TINY NETWORKS: these figures only show that the programs work."
    for module, why in facts["missing"].items():
        text += f"\n\nMissing: {module.split('.')[-1]}: {why}."
    return text


def _about(workload: dict[str, Any]) -> str:
    return (
        f"{workload['neurons']:,} neurons; {workload['spikes_per_sample']:,.0f} spikes and {workload['synops_per_sample']:,.0f} "
        f"synaptic operations a sample, windows of {workload['steps_mean']:.1f} steps (most {workload['steps_max']}; peers run "
        f"{workload['peer_steps']}). Exact: {workload['integer_mismatches']} of {workload['integers_verified']:,} integers and "
        f"{workload['output_mismatches']} of {workload['outputs']:,} outputs differ from the integer reference."
    )


def _comparison(workload: dict[str, Any]) -> str:
    batches = sorted(workload.get("batches", {}), key=int)
    names = list(dict.fromkeys(side for batch in batches for side in workload["batches"][batch]["sides"]))
    header = ["side"]
    for batch in batches:
        header += [f"batch {batch}, us a sample", "ratio"]
    rows = []
    reasons: dict[str, list[str]] = {}
    for side in names:
        cells = [side]
        found: dict[str, Any] = {}
        for batch in batches:
            sides = workload["batches"][batch]["sides"]
            row = sides.get(side, {})
            if "seconds" not in row:
                if why := row.get("cannot"):
                    reasons.setdefault(why, []).append(side)
                cells += ["cannot" if why else "-", ""]
                continue
            found = row
            cells += [_time(row["seconds"], int(batch)), _ratio(row["seconds"]["median"], sides[OURS])]
        if not found:
            continue
        agreement = found.get("agreement", {})
        cells += [_percent(agreement.get("equal")), _percent(agreement.get("argmax"))]
        rows.append(cells)
    text = _table((*header, "outputs equal", "same class"), rows)
    for why, sides in reasons.items():
        text += f"\n\nCannot: {', '.join(dict.fromkeys(sides))}: {why}."
    return text


def _time(seconds: dict[str, float], samples: int) -> str:
    low, middle, high = (seconds[key] / samples * 1e6 for key in ("min", "median", "max"))
    return f"{middle:,.1f} ({low:,.1f} to {high:,.1f}; {seconds['count']})"


def _ratio(seconds: float, ours: dict[str, Any]) -> str:
    return f"{seconds / ours['seconds']['median']:.2f}" if "seconds" in ours else ""


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"


def _scaling(facts: dict[str, Any]) -> str:
    parts = []
    for name, series in facts.get("scaling", {}).items():
        shares = dict(row_share(facts)) if name == "neurons a layer" else {}
        header = [name, "ms a run", "synaptic operations", "spikes", "G operations a second"]
        rows = []
        for row in series["points"]:
            middle, low, high = (1e3 * row["seconds"][key] for key in ("median", "min", "max"))
            rate = row["synops"] / row["seconds"]["median"] / 1e9
            cells = [f"{row['value']:g}", f"{middle:.2f} ({low:.2f} to {high:.2f})", f"{row['synops']:,}", f"{row['spikes']:,}"]
            rows.append([*cells, f"{rate:.2f}", *([_percent(shares.get(row["value"]))] if shares else [])])
        if shares:
            header.append("of the row-addition limit")
        if name == "synaptic operations":
            header[0] = "input threshold"
        parts += [f"### Time against {name}", _table(header, rows)]
        fit = series.get("fit_over_synops")
        if fit and name != "threads":
            residuals = ", ".join(f"{100 * value:+.1f} %" for value in fit["relative_residuals"])
            parts.append(
                f"Fit: {1e3 * fit['fixed']:.3f} ms + {1e9 * fit['slope']:.4f} ns an operation; R2 {fit['r_squared']:.4f}; "
                f"residuals {residuals}."
            )
    return "\n\n".join(parts)


def _memory(facts: dict[str, Any]) -> str:
    if "memory" not in facts:
        return ""
    rows = []
    for name, points in facts["memory"].items():
        for row in points:
            cells = [name, f"{row['value']:g}", f"{row['batch']:.0f}", f"{row['steps_max']:.0f}", f"{row['spikes']:,.0f}"]
            rows.append([*cells, f"{row['peak'] / 2**20:.1f}", f"{row['peak'] / max(row['spikes'], 1):.0f}"])
    header = ("series", "value", "batch", "steps", "spikes", "MiB at its peak", "bytes a spike")
    text = "Above what the process held before, after a run of one sample; each point a fresh process. Bits vary the steps."
    text = f"### Memory of a run\n\n{text}\n\n{_table(header, rows)}"
    if start := facts.get("start_up"):
        middle, low, high = (start[key] for key in ("median", "min", "max"))
        text += (
            f"\n\n`snnir run` of 64 digits in a fresh process, kernels compiled before: {middle:.2f} s ({low:.2f} to {high:.2f})."
        )
    return text


_PROFILED = """### Where the time goes

Own time on one thread; the compiled kernel is `thread_pool.py:run`. Phases of the kernel are shares
of its cycles: delivering the currents of spikes that come step by step, firing (comparing neurons with their thresholds
and writing spikes) between them, settling after the last input; the rest is charging, readouts, products, maxima and what
crosses the borders of windows.

"""


def _profile(facts: dict[str, Any]) -> str:
    parts = []
    for name, rows in facts.get("profile", {}).items():
        shown = "; ".join(f"{row['function']} {100 * row['share']:.0f} % ({row['calls']:.0f} calls)" for row in rows[:5])
        phases = ", ".join(f"{phase} {100 * share:.0f} %" for phase, share in facts.get("phases", {}).get(name, {}).items())
        parts.append(f"- {name}: {shown}" + (f"; of the kernel: {phases}" if phases else ""))
    if not parts:
        return ""
    return _PROFILED + "\n".join(parts)


def plots(facts: dict[str, Any], folder: Path) -> list[Path]:
    """One PNG for each series of the scaling and of the memory."""
    from benchmarks.plots import line_plot

    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, series in facts.get("scaling", {}).items():
        points = series["points"]
        by_operations = name == "synaptic operations"
        key = "synops" if by_operations else "value"
        fit = series.get("fit_over_synops") if by_operations else None
        x = [row[key] for row in points]
        y = [[1e3 * row["seconds"][part] for row in points] for part in ("median", "min", "max")]
        line = [1e3 * (fit["fixed"] + fit["slope"] * value) for value in x] if fit else None
        written.append(line_plot(folder / f"time_{name.replace(' ', '_')}.png", name, "ms a run", x, y, line))
        if by_operations:
            spikes = [row["spikes"] for row in points]
            written.append(line_plot(folder / "time_spikes.png", "spikes", "ms a run", spikes, y, None))
    for name, rows in facts.get("memory", {}).items():
        key = "steps_max" if name == "steps" else "value"
        y = [[row["peak"] / 2**20 for row in rows]] * 3
        written.append(
            line_plot(folder / f"memory_{name}.png", name, "MiB at the peak of a run", [row[key] for row in rows], y, None)
        )
    return written


def insert(page: str, section: str, begin: str = BEGIN) -> str:
    """A page with its measured section replaced: from the line `begin` to the next line `END`. Raises `ValueError` where it has
    no place for one."""
    before, found, rest = page.partition(begin)
    if not found or begin in rest or END not in rest:
        raise ValueError(f"the page needs one line {begin!r} and a line {END!r} behind it")
    return f"{before}{begin}\n\n{section.strip()}\n\n{END}{rest.split(END, 1)[1]}"


def write(page: Path, section: str, begin: str = BEGIN) -> None:
    """Replace the measured section of a page."""
    text = insert(page.read_text(encoding="utf-8"), section, begin)
    temporary = page.with_suffix(".tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(page)


def main() -> None:
    """Print the tables; write them into a page, and the plots into a folder, where asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("facts", type=Path)
    parser.add_argument("--write", type=Path, metavar="PAGE", help="replace the measured section of a Markdown page")
    parser.add_argument("--neurons", type=Path, metavar="PAGE", help="replace the times of both families of neurons in a page")
    parser.add_argument("--plots", type=Path, help="folder for PNG files")
    arguments = parser.parse_args()
    facts = json.loads(arguments.facts.read_text(encoding="utf-8"))
    text = markdown(facts)
    print(text)
    if arguments.write:
        write(arguments.write, text)
    if arguments.neurons:
        write(arguments.neurons, neurons(facts), BEGIN_NEURONS)
    if arguments.plots:
        plots(facts, arguments.plots)


if __name__ == "__main__":
    main()
