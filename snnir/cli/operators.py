"""What `snnir ops` says: all ops on one screen, and all that is known of those that a word finds.

The table is read from a file that `snnir ops --json` writes and a test keeps true, since PyTorch's part of it takes seconds to
collect. Where plugins bring ops of their own, it is collected.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import entry_points
from importlib.resources import files
from typing import Any

__all__ = ["collected", "found", "overview", "table"]

_WHERE = {
    "spikes": "spikes",
    "function": "integer functions of complete levels",
    "host": "the host outside the network",
}

Facts = Any
"""What the table holds of one op, operator or page, as JSON."""


def collected() -> dict[str, Facts]:
    """The table, from the declarations and handlers themselves. Raises `UsageError` where PyTorch is not installed."""
    from snnir.cli.support import op_support
    from snnir.frontends.onnx import conditions, refused_operators
    from snnir.frontends.torch import torch_conditions, torch_refused

    ops = [
        {
            "name": row.name,
            "operands": row.operands,
            **dict(zip(("float", "quantized", "spiking"), row.levels, strict=True)),
            "inside": row.inside,
            "onnx": list(row.onnx),
            "torch": list(row.torch),
            "meaning": row.meaning,
        }
        for row in op_support()
    ]
    return {
        "ops": ops,
        "conditions": {operator: said for operator, _, said in conditions() if said},
        "torch_conditions": {
            name.removeprefix("aten."): said for names, _, _, said in torch_conditions() if said for name in names
        },
        "refused": {operator: reason for reason, operators in refused_operators() for operator in operators},
        "torch_refused": {name.removeprefix("aten."): reason for reason, names in torch_refused() for name in names},
    }


def table() -> dict[str, Facts]:
    """The table: as installed, or collected where plugins bring ops or frontends."""
    if any(entry_points(group=f"snnir.{group}") for group in ("ops", "frontends")):
        return collected()
    kept: dict[str, Facts] = json.loads((files("snnir") / "data" / "operators.json").read_text(encoding="utf-8"))
    return kept


def overview(known: Mapping[str, Facts], width: int) -> str:
    """The names of all ops, by what computes them inside a network."""
    lines = []
    for inside in sorted(
        {op["inside"] for op in known["ops"]}, key=lambda words: [list(_WHERE).index(word) for word in words.split(", ")]
    ):
        names = [op["name"] for op in known["ops"] if op["inside"] == inside]
        said = " or ".join(_WHERE[word] for word in inside.split(", "))
        lines += _wrapped(f"{len(names)} ops, computed by {said}", width, "  ", first="")
        lines += _wrapped(" ".join(names), width, "  ")
    lines.append("snnir ops WORD says all of what WORD finds: snnir ops lstm, snnir ops Softmax")
    return "\n".join(lines)


def found(known: Mapping[str, Facts], word: str, width: int) -> str:
    """All that is known of ops and operators with `word` in their names; an empty text where there are none."""
    lines: list[str] = []
    called = [op for op in known["ops"] if _has(word, [op["name"]])]
    sources = [op for op in known["ops"] if op not in called and _has(word, [*op["onnx"], *op["torch"]])]
    for op in called:
        lines += [*_op(op, width), ""]
    for kind, key, conditions in (("ONNX", "onnx", "conditions"), ("PyTorch", "torch", "torch_conditions")):
        for name in sorted({name for op in (*called, *sources) for name in op[key] if _has(word, [name])}):
            parts = [op["name"] for op in known["ops"] if name in op[key]]
            said = f"{name} of {kind} becomes {', '.join(parts)}"
            if condition := known[conditions].get(name):
                said += f". {condition}"
            lines += [*_wrapped(said, width, "  ", first=""), ""]
    for kind, table in (("ONNX", known["refused"]), ("PyTorch", known["torch_refused"])):
        for name, reason in table.items():
            if word.lower() in name.lower():
                lines += [*_wrapped(f"{name} of {kind} is refused: {reason}", width, "  ", first=""), ""]
    return "\n".join(lines).rstrip("\n")


def _has(word: str, names: Sequence[str]) -> bool:
    return any(word.lower() in name.lower() for name in names)


def _op(op: Mapping[str, Facts], width: int) -> Iterator[str]:
    levels = ", ".join(level for level in ("float", "quantized", "spiking") if op[level])
    yield f"{op['name']} {op['operands']}".rstrip()
    yield from _wrapped(op["meaning"], width, "  ")
    yield from _field("levels", levels, width)
    yield from _field("inside", op["inside"], width)
    for label, key in (("ONNX", "onnx"), ("PyTorch", "torch")):
        if op[key]:
            yield from _field(label, ", ".join(op[key]), width)


def _field(label: str, text: str, width: int) -> Iterator[str]:
    indent = " " * 11
    yield from _wrapped(text, width, indent, first=f"  {label:<9}")


def _wrapped(text: str, width: int, indent: str, first: str | None = None) -> list[str]:
    """Lines that break between words only."""
    return textwrap.wrap(
        text,
        max(width, 30),
        initial_indent=indent if first is None else first,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
