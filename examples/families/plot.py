"""Draw accuracy against steps, and against synaptic operations, of what `measure.py` and `peers.py` wrote; print the tables.

python -m examples.families.plot [out/families.json] [--peers out/families_peers.json] [--output docs/pictures/families.png]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def table(rows: list[dict[str, Any]]) -> str:
    """Accuracy in per cent of every recipe and number of steps, as Markdown."""
    steps = sorted({row["steps"] for row in rows if row.get("steps")})
    lines = ["| | " + " | ".join(f"T = {each}" for each in steps) + " |", "| --- |" + " --- |" * len(steps)]
    for name in dict.fromkeys(row["name"] for row in rows if row.get("steps")):
        found = {row["steps"]: f"{100 * row['accuracy']:.1f}" for row in rows if row["name"] == name}
        lines.append(f"| {name} | " + " | ".join(found.get(each, "") for each in steps) + " |")
    lines += ["", "| | T | right, % | as the float network, % | spikes | operations |", "| --- | --- | --- | --- | --- | --- |"]
    for row in rows:
        if "spikes" in row:
            numbers = (
                f"{100 * row['accuracy']:.1f} | {100 * row['agreement']:.1f} | {row['spikes']:,.0f} | {row['operations']:,.0f}"
            )
            lines.append(f"| {row['name']} | {row['steps'] or ''} | {numbers} |")
    return "\n".join(lines)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=Path, nargs="?", default=Path("out/families.json"))
    parser.add_argument("--peers", type=Path, default=Path("out/families_peers.json"))
    parser.add_argument("--output", type=Path, default=Path("docs/pictures/families.png"))
    given = parser.parse_args()
    found = json.loads(given.rows.read_text(encoding="utf-8"))
    rows = found["rows"]
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), sharey=True, layout="constrained")
    for name in dict.fromkeys(row["name"] for row in rows if row.get("steps")):
        own = [row for row in rows if row["name"] == name]
        accuracy = [100 * row["accuracy"] for row in own]
        left.plot([row["steps"] for row in own], accuracy, "o-", ms=4, lw=1.4, label=name)
        right.plot([row["operations"] for row in own], accuracy, "o-", ms=4, lw=1.4)
    if given.peers.exists():
        for row in json.loads(given.peers.read_text(encoding="utf-8"))["rows"]:
            steps = [int(step) for step in row["accuracy"]]
            left.plot(
                steps, [100 * each for each in row["accuracy"].values()], "x--", ms=5, lw=1, label=f"SpikingJelly: {row['name']}"
            )
    exact = [row for row in rows if row["name"] != "float" and not row.get("steps")]
    for row, mark in zip(exact, "*P^Dv", strict=False):
        right.plot(row["operations"], 100 * row["accuracy"], mark, color="black", ms=9, label=row["name"])
    right.legend(fontsize=7)
    for axis, label in ((left, "steps T of the clock"), (right, "synaptic operations an image")):
        axis.axhline(100 * rows[0]["accuracy"], color="0.6", lw=1, ls=":")
        axis.set_xscale("log", base=2 if axis is left else 10)
        axis.set_xlabel(label)
        axis.grid(alpha=0.25)
    left.set_ylabel(f"right answers, % of {found['images']} images")
    left.legend(fontsize=6.5, loc="lower right", framealpha=0.9)
    left.set_title("accuracy by steps (dotted: the float network)", fontsize=10)
    right.set_title("accuracy by operations (black: exact conversion)", fontsize=10)
    given.output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(given.output, dpi=160)
    print(table(rows))
    print(given.output)


if __name__ == "__main__":
    main()
