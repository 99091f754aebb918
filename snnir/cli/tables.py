"""Tables whose words are never cut: where the columns do not fit beside one another, each row becomes a list."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.box import ROUNDED
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = ["show_table"]

Cell = str | Text


def show_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[Cell]], right: Sequence[str] = (), console: Console | None = None
) -> None:
    """Print a table on stdout; `right` names the columns of numbers. Words stand as they are, without markup.

    Lines break between words only. Where the longest words of all columns are wider than the terminal together, rows are
    printed one under the other, as `column: cell`.
    """
    console = console or Console()
    cells = [[cell if isinstance(cell, Text) else Text(cell) for cell in row] for row in rows]
    least = [max([_longest(name), *(_longest(row[place].plain) for row in cells)]) for place, name in enumerate(columns)]
    spare = console.width - sum(least) - 3 * len(columns) - 1
    if spare >= 0:
        wanted = [max([cell_len(name), *(_line(row[place].plain) for row in cells)]) for place, name in enumerate(columns)]
        table = Table(title=title, title_justify="left", box=ROUNDED)
        for name, width in zip(columns, _widths(least, wanted, spare), strict=True):
            table.add_column(name, justify="right" if name in right else "left", width=width)
        for row in cells:
            table.add_row(*row)
        console.print(table)
        return
    console.print(Text(title, style="italic"), soft_wrap=True)
    indent = max((len(name) for name in columns[1:]), default=0) + 4
    for row in cells:
        console.print(row[0], style="bold", soft_wrap=True)
        for name, cell in zip(columns[1:], row[1:], strict=True):
            if cell.plain:
                parts = cell.wrap(console, max(console.width - indent, 20), overflow="ignore")
                for place, part in enumerate(parts):
                    console.print(Text(("" if place else f"  {name}").ljust(indent)) + part, soft_wrap=True)


def _widths(least: Sequence[int], wanted: Sequence[int], spare: int) -> list[int]:
    """The columns' widths: what is spare goes to the narrowest of those that want more, column by column."""
    widths = list(least)
    while spare > 0:
        narrow = [place for place, width in enumerate(widths) if width < wanted[place]]
        if not narrow:
            break
        widths[min(narrow, key=lambda place: widths[place])] += 1
        spare -= 1
    return widths


def _longest(text: str) -> int:
    return max((cell_len(word) for word in text.split()), default=0)


def _line(text: str) -> int:
    return max((cell_len(line) for line in text.splitlines()), default=0)
