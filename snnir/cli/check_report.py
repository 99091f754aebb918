"""What `snnir check` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape

from snnir.cli.provenance import origin_rows
from snnir.cli.report import print_json, rows_table
from snnir.cli.tables import show_table

if TYPE_CHECKING:
    from snnir.compiler.model_check import ModelCheck

__all__ = ["checked"]


def checked(found: ModelCheck, every: bool, json: bool) -> None:
    """Tables for people (`every` node, or those that are not spiking), or one JSON object."""
    if json:
        print_json(found.facts())
        return
    rows: dict[str, object] = {
        "model": escape(found.model),
        **{name: escape(value) for name, value in origin_rows(vars(found)).items()},
        "nodes": ", ".join(f"{count} {fate}" for fate, count in found.counts.items()),
        "recurrences": "\n".join(
            f"{item.kind} {escape(item.name)}: {_count(item.states, 'state')} over {_count(item.length, 'element')}"
            for item in found.recurrences
        )
        or "none",
    }
    if found.ok:
        certified = "certified" if found.certified else f"estimated for {found.bits} bits; --calibration certifies"
        windows = [f"{escape(found.place(name) or 'outside recurrences')}: {steps}" for name, steps in found.steps.items()]
        rows["steps of a window"] = "\n".join([*windows, f"({certified})"])
        inside = " (those of a recurrence once)" if found.recurrences else ""
        rows["neurons"] = f"{_number(found.neurons)}{inside}"
        rows["synapses"] = f"{_number(found.synapses)}{inside}"
        rows["multiply-accumulates"] = f"{_number(found.macs)} per sample"
    if found.notes:
        rows["notes"] = escape("\n".join(found.notes))
    rows["answer"] = (
        "every node converts"
        if found.ok
        else f"refused: {len(found.refusals)} node{'s' if len(found.refusals) > 1 else ''}, for the reasons below"
    )
    rows_table("checked", rows)
    _nodes(found, every)
    if found.ok:
        _populations(found)
    loose = [refusal for refusal in found.refusals if not refusal.origins]
    if loose:
        rows_table("refused", {escape(refusal.node): escape(refusal.reason) for refusal in loose})


def _count(number: object, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _nodes(found: ModelCheck, every: bool) -> None:
    shown = [node for node in found.nodes if every or node.fate not in ("spiking", "folded")]
    if not shown:
        return
    rows = [
        [node.operator, f"{node.name} (in {node.inside})" if node.inside else node.name, node.fate, node.reason] for node in shown
    ]
    show_table("nodes", ("operator", "node", "fate", "why"), rows)


def _populations(found: ModelCheck) -> None:
    rows = []
    for item in found.populations:
        name = f"{item.scan}/{item.name} (in {found.place(item.scan)})" if item.scan else item.name
        rows.append([name, item.kind, _number(item.neurons), _number(item.synapses), _number(item.macs)])
    columns = ("value", "kind", "neurons", "synapses", "multiply-accumulates")
    show_table("populations", columns, rows, right=columns[2:])
