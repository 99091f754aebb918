"""What the Verilog cores take on an FPGA: the demo's populations, synthesised by Yosys for an iCE40.

    python -m benchmarks.synthesis [--bits 4 8] [--only WORD] [--write docs/hardware.md]

Nothing is placed or routed: LUTs, flip-flops and block RAMs are what `synth_ice40` counts, memories with their contents included.
"""

from __future__ import annotations

import argparse
import datetime
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np

import snnir
from benchmarks import report
from snnir.export.bundle import bundle
from snnir.export.hardware import emit_bundle

__all__ = ["main", "synthesised", "table"]

BEGIN = "<!-- synthesis: written by python -m benchmarks.synthesis -->"
CORES = {"bif": "snnir_population", "few-spikes": "snnir_few_spikes"}
_TESTBENCH = {"SAMPLES", "WINDOWS", "STEPS", "CARRY"}


def synthesised(layer: Path, neuron: str) -> dict[str, int]:
    """Cells of an iCE40 by their kinds for the population of a folder that `snnir bundle --emit verilog` wrote. Raises
    `RuntimeError` with what Yosys said."""
    core = CORES[neuron]
    found = re.findall(r"localparam (\w+) = (-?\d+);", (layer / "layer.vh").read_text(encoding="utf-8"))
    left = _TESTBENCH | ({"GROUP_BITS"} if neuron == "bif" else set())
    known = {key: int(value) for key, value in found if key not in left}
    values = " ".join(f"-set {key} 32'sh{value & 0xFFFFFFFF:x}" for key, value in known.items())
    script = f"read_verilog ../{core}.v; chparam {values} {core}; synth_ice40 -top {core}; tee -q -o cells.json stat -json"
    result = subprocess.run(["yosys", "-q", "-p", script], cwd=layer, capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError(result.stdout + result.stderr)
    (module,) = json.loads((layer / "cells.json").read_text(encoding="utf-8"))["modules"].values()
    return {kind: int(count) for kind, count in module["num_cells_by_type"].items()}


def _rows(bits: Sequence[int], only: str) -> list[tuple[str, ...]]:
    rows = []
    with as_file(files("snnir") / "data") as folder, np.load(folder / "digits.npz", allow_pickle=False) as archive:
        for number in bits:
            for neuron in CORES:
                data = archive["calibration"]
                program = snnir.compile(folder / "digits-crnn.onnx", calibration=data, bits=number, neuron=neuron)
                with tempfile.TemporaryDirectory() as made:
                    emit_bundle(bundle(program, archive["test"][:1]), "verilog", made)
                    for layer in sorted(path.parent for path in Path(made).rglob("layer.vh") if only in path.parent.name):
                        print(f"{number} bits, {neuron}: {layer.name}", file=sys.stderr)
                        cells = synthesised(layer, neuron)
                        flops = sum(count for kind, count in cells.items() if kind.startswith("SB_DFF"))
                        lines = (layer / "weights.memh").read_text(encoding="utf-8").splitlines()
                        counts = len(lines) - 1, cells.get("SB_LUT4", 0), flops, cells.get("SB_RAM40_4K", 0)
                        rows.append((layer.name, str(number), neuron, *(f"{count:,}" for count in counts)))
    return rows


def table(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    head = ("population", "bits", "neuron", "synapses", "LUTs", "flip-flops", "block RAMs (4 kbit)")
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.synthesis", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--bits", nargs="+", type=int, default=[4, 8])
    parser.add_argument("--only", default="", help="populations whose names have this in them")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="replace the table of a Markdown page")
    given = parser.parse_args(arguments)
    if shutil.which("yosys") is None:
        print("error: yosys is not installed (Debian: apt install yosys)", file=sys.stderr)
        return 2
    version = subprocess.run(["yosys", "-V"], capture_output=True, text=True, check=True).stdout.split()[1]
    words = f"python -m benchmarks.synthesis --bits {' '.join(map(str, given.bits))}"
    words += f" --only {given.only}" if given.only else ""
    date = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d")
    text = f"`{words}` on {date}, Yosys {version}, `synth_ice40`:\n\n{table(_rows(given.bits, given.only))}"
    print(text)
    if given.write is not None:
        report.write(given.write, text, BEGIN)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
