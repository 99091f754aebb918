"""What the command line prints: tables for people, JSON for programs. Results go to stdout, all else to stderr."""

from __future__ import annotations

import json as json_module
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from snnir.cli.compilation import watch_compilation
from snnir.cli.provenance import origin_rows
from snnir.cli.tables import show_table
from snnir.ir.phases import INTEGRATE_FIRE
from snnir.machine.clipping import clipping_text, too_many
from snnir.runtime.accuracy import distance_text
from snnir.runtime.costs import ENERGY_SOURCE
from snnir.runtime.facts import given_levels_text, import_levels_text
from snnir.runtime.summary import run_facts
from snnir.runtime.totals import right_answers

if TYPE_CHECKING:
    from snnir.passes import Stage
    from snnir.runtime.accuracy import Diagnostic
    from snnir.runtime.comparison import Comparison
    from snnir.runtime.program import Program
    from snnir.runtime.verification import Verification
    from snnir.views.page import Page

__all__ = [
    "accuracy",
    "compiled",
    "distance_rows",
    "error",
    "note",
    "page_written",
    "print_json",
    "progress",
    "ran",
    "rows_table",
    "run_facts",
    "show_passes",
    "show_text",
    "simulating",
    "timing",
    "verified",
    "warn",
    "written",
]


def error(message: str) -> None:
    """One readable paragraph on stderr."""
    Console(stderr=True, soft_wrap=True, highlight=False).print("[bold red]error:[/] ", end="")
    Console(stderr=True, soft_wrap=True, highlight=False, markup=False).print(message)


def note(message: str) -> None:
    """A line on stderr."""
    Console(stderr=True, soft_wrap=True, highlight=False, markup=False).print(message)


@contextmanager
def progress(what: str, quiet: bool = False) -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar on stderr; yields a function of (what, done, total)."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description:<24}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda label, done, total: bar.update(task, description=label, completed=done, total=total)


@contextmanager
def simulating(what: str, quiet: bool = False, kernels: bool = True) -> Iterator[Callable[[str, int, int], None]]:
    """`progress` of a simulation. Where `kernels` must be compiled first, it says so, and in the end what that took."""
    with progress(what, quiet) as advance:
        if not kernels:
            yield advance
            return
        with watch_compilation(advance) as compilation:
            yield advance
    if compilation.kernels and not quiet:
        Console(stderr=True, soft_wrap=True, highlight=False, markup=False).print(str(compilation))


def print_json(facts: Mapping[str, object]) -> None:
    """One JSON object on stdout; NaN and infinities, which JSON has not, are null."""
    print(json_module.dumps(_finite(facts), indent=2, default=_plain, allow_nan=False))


def _finite(value: object) -> object:
    if isinstance(value, float | np.floating) and not np.isfinite(value):
        return None
    if isinstance(value, np.ndarray):
        return _finite(value.tolist())
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return str(value)


def rows_table(title: str, rows: Mapping[str, object]) -> None:
    """A table of two columns on stdout."""
    console = Console()
    texts = {name: Text.from_markup(str(value)) for name, value in rows.items()}
    keys = [Text.from_markup(name).plain for name in rows]
    least = max((cell_len(word) for key in keys for word in key.split()), default=0)
    words = max((cell_len(word) for text in texts.values() for word in text.plain.split()), default=0)
    if least + words + 7 > console.width:  # a path or a pipeline is a long word: it stays whole, and wraps in the terminal
        console.print(f"[italic]{title}[/]", soft_wrap=True)
        for name, text in texts.items():
            console.print(Text.from_markup(f"[bold]{name}[/]: ") + text, soft_wrap=True)
        return
    table = Table(title=title, title_justify="left", show_header=False)
    names = max((cell_len(key) for key in keys), default=0)
    table.add_column(style="bold", width=min(names, console.width - words - 7))
    table.add_column()
    for name, text in texts.items():
        table.add_row(name, text)
    console.print(table)


def warn(warnings: Iterable[Diagnostic]) -> None:
    """What the compiler warns of, a paragraph each, on stderr."""
    for item in warnings:
        Console(stderr=True, soft_wrap=True, highlight=False).print("[bold yellow]warning:[/] ", end="")
        Console(stderr=True, soft_wrap=True, highlight=False, markup=False).print(str(item))


def distance_rows(program: Program) -> dict[str, str]:
    """The first row of a report: how far the quantized network is from the float one on calibration data."""
    distances = program.distances
    count = f" ({distances[0].samples} calibration samples)" if distances else ""
    return {"distance to float": distance_text(distances) + count if distances else "not measured: no calibration data"}


def compiled(program: Program, output: Path | None, json: bool) -> None:
    """What `snnir compile` prints; `output` is None where nothing was written."""
    from snnir.compiler.inspection import graph_facts

    known, size = program.facts, output.stat().st_size if output is not None else 0
    facts = {**known, **graph_facts(program.graph("spiking")), "output": output and str(output), "bytes": size}
    if json:
        print_json(facts)
        return
    checked = "0 between quantized and spiking graph (every pass, a few samples)" if known.checked else "not counted"
    rows: dict[str, object] = {
        **{name: escape(text) for name, text in distance_rows(program).items()},
        "mismatches": f"{checked}; snnir verify counts those of the spikes"
        if known.neuron != INTEGRATE_FIRE
        else "neurons on a clock approximate the quantized network: snnir verify says how far they are off",
        "model": known.source,
        **{name: escape(value) for name, value in origin_rows(facts).items()},
        "pipeline": known.pipeline,
        "calibration samples": known.calibration_samples,
        "import against ONNX Runtime": "not compared"
        if known.import_error is None
        else f"equal within {known.import_error:.2g} of the output's span",
        "integers of the import": known.import_levels and import_levels_text(known.import_levels),
        "integers on the grids": known.given_levels and given_levels_text(known.given_levels),
    }
    if known.host_nodes and known.spiking_mac_share is not None:
        share = 100 * known.spiking_mac_share
        rows["on the host"] = f"{', '.join(known.host_nodes)}; {share:.1f} % of the multiply-accumulates are spiking"
    rows |= {"notes": "\n".join(known.notes or ()) or None, "remarks": "\n".join(known.remarks or ()) or None}
    rows["written"] = f"{output} ({size:,} bytes)" if output is not None else "nothing"
    rows_table("compiled", {name: value for name, value in rows.items() if value is not None})
    warn(program.warnings)


def warn_clipped(program: Program, counts: Mapping[str, tuple[int, int]]) -> None:
    """Warn, on stderr, of inputs of which far more saturate than of the calibration data."""
    for name, share in too_many(counts, program.facts.clipped_inputs).items():
        click.echo(f"warning: {clipping_text(name, share)}", err=True)


def json_error(kind: str, message: str, nodes: Sequence[str]) -> None:
    """Print an error as one JSON object: its kind, its message, and the nodes of the model that it names."""
    click.echo(json_module.dumps({"error": {"kind": kind, "message": message, "nodes": list(nodes)}}))


def accuracy(outputs: Mapping[str, np.ndarray], labels: np.ndarray) -> float:
    """The share of samples whose first output has its largest element (or, for integers, its value) at the label."""
    return right_answers(outputs, labels) / len(labels) if len(labels) else float("nan")


def ran(
    facts: dict[str, object],
    right: float | None,
    comparison: Comparison | None,
    json: bool,
    written: str | None = None,
    distance: Mapping[str, str] | None = None,
) -> None:
    """What `snnir run` prints: `run_facts`, the share of right answers (or else `distance_rows`), and where results of a run
    in chunks are.
    """
    if comparison is not None:
        facts["executions"] = comparison.facts()
    if right is not None:
        facts["accuracy"] = right
    if json:
        print_json(facts)
        return
    state = (
        "yes: the integers of the quantized network"
        if facts["settled"]
        else f"no: on a clock, {facts['unsettled_neurons']} counts are not known to be the level of their sum"
        if facts["neuron"] == INTEGRATE_FIRE
        else f"no: anytime result, {facts['unsettled_neurons']} neurons could still fire"
    )
    rows = {
        **({"accuracy": f"{100 * right:.2f} %"} if right is not None else distance or {}),
        "settled": state,
        "samples": facts["samples"],
        "recurrence": f"{facts['execution']} execution, {facts['delivery']} delivery",
        "inner steps per window": f"{facts['steps_mean']:.1f} mean, {facts['steps_max']} most, {facts['steps_bound']} certified",
        **_clipped_rows(facts),
        "spikes per sample": f"{facts['spikes_per_sample']:,.1f}",
        "synaptic operations": _synops_text(facts),
        "dense multiply-accumulates": _macs_text(facts["dense_macs_per_sample"], facts["host_macs_per_sample"]),
        **({"energy (estimate)": _energy_text(facts)} if "energy_spiking_nj" in facts else {}),
        **({"inside scans, per sample": comparison} if comparison is not None else {}),
        **({"written": written} if written is not None else {}),
    }
    rows_table("simulated", rows)


def _clipped_rows(facts: Mapping[str, object]) -> dict[str, str]:
    shares = facts["clipped_inputs"]
    beyond = {name: share for name, share in shares.items() if share} if isinstance(shares, Mapping) else {}
    return {"saturated inputs": ", ".join(f"{share:.2%} of {name}" for name, share in beyond.items())} if beyond else {}


def _synops_text(facts: Mapping[str, object]) -> str:
    if "synops_per_sample" not in facts:
        return "not counted by this backend"
    return f"{facts['synops_per_sample']:,.0f} ({facts['charges_per_sample']:,.0f} charges, which multiply)"


def _energy_text(facts: Mapping[str, object]) -> str:
    return (
        f"{facts['energy_spiking_nj']:,.1f} nJ spiking, {facts['energy_dense_nj']:,.1f} nJ dense, both in float32; "
        f"in integers {facts['energy_spiking_integers_nj']:,.1f} and {facts['energy_dense_int8_nj']:,.1f}; {ENERGY_SOURCE}"
    )


def _macs_text(spiking: object, host: object) -> str:
    assert isinstance(spiking, int) and isinstance(host, int)
    if not host:
        return f"{spiking:,} per sample"
    share = 100 * spiking / (spiking + host)
    return f"{spiking:,} per sample, and {host:,} on the host ({share:.1f} % of all are spiking)"


def verified(verification: Verification, import_error: float | None, comparison: Comparison | None, json: bool) -> None:
    """What `snnir verify` prints."""
    if json:
        print_json(
            {
                "distances": [item.facts() for item in verification.distances],
                "ok": verification.ok,
                "compared": verification.compared,
                "mismatches": verification.mismatches,
                "samples": verification.samples,
                "delivery": verification.delivery,
                "execution": verification.execution,
                "steps": verification.steps,
                "steps_bound": verification.bound,
                "within_bounds": verification.within_bounds,
                "import_error": import_error,
                "values": [{"name": name, "compared": count, "mismatches": bad} for name, count, bad in verification.values],
                **({"clocked": True, "counts": _count_facts(verification)} if verification.clocked else {}),
                **({"executions": comparison.facts()} if comparison is not None else {}),
            }
        )
        return
    counts: list[list[str | Text]] = [
        [name, f"{count:,}", Text(f"{bad:,}", style="red") if bad else Text("0")] for name, count, bad in verification.values
    ]
    compared = "events compared" if verification.clocked else "integers compared"
    columns = ("value", compared, "differences" if verification.clocked else "mismatches")
    against = "the plain interpreter, step by step" if verification.clocked else "integer network"
    show_table(f"spiking network against {against}", columns, counts, right=columns[1:])
    float_network = "the imported model" if import_error is None else "the model itself"
    for item in verification.distances:
        Console(soft_wrap=True).print(f"distance to {float_network}: {escape(item.name)}: {item}")
    if verification.counts:
        print(verification.distance_to_levels)
    verdict = f"[bold {'green' if verification.ok else 'red'}]{verification.claim}"
    what = ("differences", "events and sums") if verification.clocked else ("mismatches", "integers")
    Console().print(
        f"{verdict}[/]: {verification.mismatches:,} {what[0]} out of {verification.compared:,} {what[1]} of "
        f"{verification.samples:,} samples ({verification.execution}, {verification.delivery}); "
        f"{verification.steps} steps at most, {verification.bound} certified"
        + ("" if verification.within_bounds else " [bold red](a window exceeded its bound)"),
        soft_wrap=True,
    )
    if import_error is not None:
        print(f"import equals ONNX Runtime within {import_error:.2g} of the output's span")
    if comparison is not None:
        print(f"inside scans, per sample: {comparison}")


def _count_facts(verification: Verification) -> list[dict[str, object]]:
    names = ("name", "neurons", "other", "mean_difference", "largest_difference")
    return [dict(zip(names, item, strict=True)) for item in verification.counts]


def page_written(page: Page, output: Path, pictures: Path | None, json: bool) -> None:
    """Write a page and its pictures, and say so; with `json` print its data and write no page."""
    drawn: list[Path] = []
    if pictures is not None:
        from snnir.views.figures import explore_figures, report_figures

        drawn = (explore_figures if page.kind == "explore" else report_figures)(page.data, pictures)
    if json:
        print(page.json(indent=2))
        return
    page.save(output)
    print(f"{output} ({output.stat().st_size:,} bytes): open it in a browser; it needs no network")
    for path in drawn:
        print(path)


def written(paths: Sequence[Path], json: bool) -> None:
    """Say which files were written."""
    if json:
        print_json({"written": [str(path) for path in paths]})
    else:
        for path in paths:
            print(path)


def timing(stages: Sequence[Stage]) -> list[dict[str, object]]:
    """What `--timing` prints, on stderr: seconds of each pass, and how often each of its rules applied. Returned as facts."""
    cells: list[list[str]] = []
    rows: list[dict[str, object]] = []
    for stage in stages:
        nodes = sum(1 for _ in stage.graph.walk())
        rewrites = ", ".join(f"{name} {count}" for name, count in sorted(stage.rewrites.items(), key=lambda item: -item[1]))
        cells.append([stage.pass_.name, f"{stage.seconds:.3f}", f"{nodes:,}", rewrites or ("changed" if stage.changed else "")])
        rows.append({"pass": str(stage.pass_), "seconds": stage.seconds, "nodes": nodes, "rewrites": dict(stage.rewrites)})
    cells.append(["all", f"{sum(stage.seconds for stage in stages):.3f}", "", ""])
    columns = ("pass", "seconds", "nodes after it", "rewrites")
    show_table("passes", columns, cells, right=columns[1:3], console=Console(stderr=True))
    return rows


def show_text(text: str, facts: Mapping[str, object], json: bool) -> None:
    """What `snnir inspect` prints."""
    if json:
        print_json({**facts, "text": text})
    else:
        for name, value in origin_rows(facts).items():
            print("\n".join(f"# {name}: {line}" for line in value.split("\n")))
        print(text.rstrip("\n"))


def show_passes(json: bool) -> None:
    """What `snnir passes` prints."""
    from snnir.cli.support import pass_properties, pass_support

    keys = ("name", "takes", "gives", "error", "summary")
    properties = pass_properties()
    if json:
        print_json({"passes": [dict(zip(keys, row, strict=True)) | properties[row[0]] for row in pass_support()]})
        return
    rows = [
        [
            name,
            takes if takes == gives else f"{takes} to {gives}",
            "yes" if not lossy else f"no: {lossy}",
            summary,
            *(", ".join(names) for names in properties[name].values()),
        ]
        for name, takes, gives, lossy, summary in pass_support()
    ]
    show_table("passes", ("pass", "level", "exact", "what it does", "needs", "promises"), rows)
