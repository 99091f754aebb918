"""Graphs as text for people: fitted to the width of a terminal, and what a pass changed.

The text form that snnir reads back (`snnir.ir.text`) keeps types in one column and every digit; here lines break between words,
long lists of numbers are counted, and digests are left out.
"""

from __future__ import annotations

import difflib
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import replace

from snnir.ir import Graph
from snnir.ir.text import Line, lines

__all__ = ["changes", "readable"]

_LIST = re.compile(r"\[([^\[\]]{24,})\]")
_DIGEST = re.compile(r"\s*digest=(\w+)")
_CONTEXT = 2
_DEEPER = 4
"""By how many columns a line that goes on is indented."""


def readable(graph: Graph, width: int) -> str:
    """The text form of a graph for lines of `width` columns."""
    return "\n".join(_fitted([("", line) for line in lines(graph)], width))


def changes(before: Graph, after: Graph, width: int) -> str:
    """The lines that only one of two graphs has, marked - and +, with two lines around them; empty where there are none.

    Lines are compared without their columns. A constant that holds other values in the same range is one line, marked ~.
    """
    old, new = lines(before)[1:], lines(after)[1:]
    matcher = difflib.SequenceMatcher(None, [_key(line) for line in old], [_key(line) for line in new], autojunk=False)
    shown: list[tuple[str, Line | None]] = []
    for group in matcher.get_grouped_opcodes(_CONTEXT):
        if shown:
            shown.append(("", None))
        for kind, start, stop, first, last in group:
            if kind == "equal":
                shown += [("  ", line) for line in new[first:last]]
            else:
                shown += _replaced(old[start:stop], new[first:last])
    found: list[str] = []
    part: list[tuple[str, Line]] = []
    for mark, line in [*shown, ("", None)]:
        if line is not None:
            part.append((mark, line))
            continue
        found += [*_fitted(part, width), "  ..."]
        part = []
    return "\n".join(found[:-1]) if shown else ""


def _replaced(old: Sequence[Line], new: Sequence[Line]) -> Iterator[tuple[str, Line]]:
    """Lines that went and came; a constant that only holds other values is one line, marked ~."""
    both = {_without_digest(line) for line in old} & {_without_digest(line) for line in new}
    yield from (("- ", line) for line in old if _without_digest(line) not in both)
    for line in new:
        kept = _without_digest(line) in both
        yield ("~ ", replace(line, comment=f"{line.comment}  other values")) if kept else ("+ ", line)


def _without_digest(line: Line) -> tuple[object, ...]:
    return (line.indent, line.left, line.type, _comment(line))


def _key(line: Line) -> tuple[object, ...]:
    return (line.indent, line.left, line.type, line.comment)


def _fitted(marked: Sequence[tuple[str, Line]], width: int) -> Iterator[str]:
    starts = [len(mark) + len(_start(line)) for mark, line in marked if line.type]
    column = max((length for length in starts if length <= width // 2), default=0)
    for mark, line in marked:
        start, rest = mark + _start(line), "  ".join(word for word in (line.type, _comment(line)) if word)
        whole = f"{start:<{column}}  {rest}" if line.type else f"{start}  {rest}".rstrip()
        if len(whole) <= width:
            yield whole.rstrip()
            continue
        indent = len(mark) + 2 * line.indent
        goes_on = f"{mark:<2}" + " " * (indent + _DEEPER - 2) if mark else " " * (indent + _DEEPER)
        parts = textwrap.wrap(start, width, subsequent_indent=goes_on, break_long_words=False, break_on_hyphens=False)
        if len(parts) == 1 and line.type and len(f"{start:<{column}}  {line.type}") <= width:
            parts, rest = [f"{start:<{column}}  {line.type}"], _comment(line)
        yield from parts
        yield from textwrap.wrap(
            rest, width, initial_indent=goes_on, subsequent_indent=goes_on, break_long_words=False, break_on_hyphens=False
        )


def _start(line: Line) -> str:
    return _LIST.sub(_counted, line.start)


def _counted(match: re.Match[str]) -> str:
    """The first items of a long list, and how many there are."""
    items = match[1].split(";")
    count = sum(int(times) if (times := item.partition("*")[2]).isdecimal() else 1 for item in items)
    return f"[{';'.join(items[:3])};...{count} in all]" if len(items) > 3 else match[0]


def _comment(line: Line) -> str:
    return _DIGEST.sub("", line.comment)
