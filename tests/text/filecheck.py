"""Text in, text out: RUN and CHECK lines of `.ir` files, after LLVM's FileCheck.

    # RUN: snnir opt %s --pipeline canonicalize
    # CHECK: y = mul x

`%s` is the file. `RUN: not ...` expects another exit code than 0. `CHECK` finds a line that holds the words, after the line
found last; `CHECK-NEXT` in the very next line; `CHECK-NOT` holds of all lines between its neighbours; `CHECK-COUNT-3` stands
for three `CHECK` in a row. `{{...}}` is a regular expression. Blanks count as one.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Directive", "FileCheckError", "check", "directives", "runs"]

_DIRECTIVE = re.compile(r"^\s*#\s*CHECK(?:-(NEXT|NOT|COUNT-(\d+)))?:\s*(.*?)\s*$")
_RUN = re.compile(r"^\s*#\s*RUN:\s*(.*?)\s*$")


class FileCheckError(AssertionError):
    """The output is not what the CHECK lines say."""


@dataclass(frozen=True)
class Directive:
    """One CHECK line."""

    line: int
    kind: str
    pattern: str

    def found(self, text: str) -> bool:
        """Whether a line of the output holds the pattern."""
        parts = re.split(r"(\{\{.*?\}\})", " ".join(self.pattern.split()))
        expression = "".join(part[2:-2] if part.startswith("{{") else re.escape(part) for part in parts)
        return re.search(expression, " ".join(text.split())) is not None


def runs(source: str) -> list[list[str]]:
    """The commands of a file, in words."""
    return [shlex.split(found[1]) for line in source.splitlines() if (found := _RUN.match(line))]


def directives(source: str) -> list[Directive]:
    """The CHECK lines of a file, in order. A file without any tests nothing: `FileCheckError`."""
    found = []
    for number, line in enumerate(source.splitlines(), 1):
        match = _DIRECTIVE.match(line)
        if match is not None:
            count = int(match[2]) if match[2] else 1
            found += [Directive(number, "CHECK" if match[2] else match[1] or "CHECK", match[3])] * count
        elif re.match(r"^\s*#\s*CHECK", line):
            raise FileCheckError(f"line {number}: {line.strip()!r} is no directive")
    if not found:
        raise FileCheckError("no CHECK line")
    return found


def check(path: Path, source: str, output: str) -> None:
    """Hold `output` against the CHECK lines of `source`. Raises `FileCheckError` naming the line that is not kept."""
    lines, position, last = output.splitlines(), 0, -1
    absent: list[Directive] = []

    def fail(directive: Directive, why: str) -> FileCheckError:
        return FileCheckError(f"{path}:{directive.line}: {directive.kind} {directive.pattern!r} {why}; the output is\n{output}")

    def hold_absent(start: int, stop: int) -> None:
        for directive in absent:
            if any(directive.found(line) for line in lines[start:stop]):
                raise fail(directive, "is there")
        absent.clear()

    for directive in directives(source):
        if directive.kind == "NOT":
            absent.append(directive)
            continue
        places = [last + 1] if directive.kind == "NEXT" else range(position, len(lines))
        place = next((each for each in places if each < len(lines) and directive.found(lines[each])), None)
        if place is None:
            raise fail(directive, "is not in the next line" if directive.kind == "NEXT" else "is not there")
        hold_absent(position, place)
        position, last = place + 1, place
    hold_absent(position, len(lines))
