"""Small pieces of HTML for notebooks: tables, and bars in their cells, readable on light and dark pages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

__all__ = ["Markup", "bar", "columns", "section", "table"]

_MOST = 60
"""Rows of a table."""


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def _text(cell: object) -> str:
    return str(cell) if isinstance(cell, Markup) else escape(str(cell))


def table(head: Sequence[str], rows: Iterable[Sequence[object]], numbers: Sequence[int] = ()) -> Markup:
    """A table; `numbers` are the places of columns that stand at the right. Rows beyond the first tens are counted."""
    known = list(rows)
    align = ["right" if place in numbers else "left" for place in range(len(head))]
    style = "padding: 2px 10px; text-align: {}; vertical-align: top"
    top = "".join(f'<th style="{style.format(side)}">{escape(name)}</th>' for name, side in zip(head, align, strict=True))
    body = "".join(
        "<tr>"
        + "".join(f'<td style="{style.format(side)}">{_text(cell)}</td>' for cell, side in zip(row, align, strict=True))
        + "</tr>"
        for row in known[:_MOST]
    )
    more = f"<p>... and {len(known) - _MOST} more</p>" if len(known) > _MOST else ""
    return Markup(f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>{more}")


def bar(value: float, most: float, colour: str = "#0b62c4") -> Markup:
    """A bar of up to 120 pixels."""
    width = 0.0 if most <= 0 else 120 * min(max(value / most, 0.0), 1.0)
    drawn = f'<rect width="{width:.1f}" height="12" rx="2" fill="{colour}"/>'
    return Markup(f'<svg width="122" height="12" aria-hidden="true">{drawn}</svg>')


def columns(counts: Sequence[int], mark: int | None = None, label: str = "") -> Markup:
    """A small column chart of whole numbers; `mark` is a place with a line, such as a bound."""
    places = max(len(counts), (mark or 0) + 1, 1)
    each, most = max(3.0, min(12.0, 300 / places)), max([*counts, 1])
    bars = "".join(
        f'<rect x="{place * each:.1f}" y="{60 - 58 * count / most:.1f}" width="{each - 1:.1f}" height="{58 * count / most:.1f}" '
        f'fill="#0b62c4"><title>{place}: {count:,}</title></rect>'
        for place, count in enumerate(counts)
    )
    line = ""
    if mark is not None:
        x = (mark + 0.5) * each
        line = f'<line x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="60" stroke="#d4570a" stroke-width="2"/>'
    size = f'width="{places * each:.0f}" height="62"'
    return Markup(f'<svg {size} role="img" aria-label="{escape(label)}">{bars}{line}</svg>')


def section(title: str, *parts: object) -> str:
    """A block with a title; parts that are no markup become paragraphs."""
    inner = "".join(str(part) if isinstance(part, Markup) else f"<p>{escape(str(part))}</p>" for part in parts if part != "")
    return f"<div><p><b>{escape(title)}</b></p>{inner}</div>"
