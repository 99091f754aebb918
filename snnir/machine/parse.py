"""Reads the text form of a machine program (`snnir.machine.text`)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

import numpy as np

from snnir.errors import TextError
from snnir.machine import emitters, microcode, program, scans
from snnir.machine.addresses import IndexMap
from snnir.machine.program import IntegerProgram
from snnir.machine.text import kind_of
from snnir.machine.trains import Train
from snnir.machine.verify import verify

__all__ = ["parse"]

_MODULES = (program, emitters, scans, microcode)
_CLASSES: dict[str, type] = {
    kind_of(found): found
    for module in _MODULES
    for found in (getattr(module, name) for name in module.__all__)
    if isinstance(found, type) and hasattr(found, "__dataclass_fields__")
}
_DTYPES = ("int8", "int16", "int32", "int64", "float32", "float64", "bool")
_LARGEST = 1 << 28
"""The most elements of an array in the text."""

_WORD = re.compile(r"none\b|true\b|false\b|-?\d+(\.\d+)?(e[+-]?\d+)?")
_NAME = re.compile(r"[a-z_]+(?==)")
_TRAIN = re.compile(r"\[([\d,]*)\]\{(-?\d+)\.\.(-?\d+)\}\*(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)")
_ARRAY = re.compile(r"([a-z]+\d*)\[([\d,]*)\]\(([^()]*)\)")
_MAP = re.compile(r"map\((-?\d+):((?: \d+\*-?\d+)*)\)")


def parse(source: str, tensors: Mapping[str, np.ndarray] | None = None) -> IntegerProgram:
    """The program that a text states, verified; `tensors` are the arrays that it names by digest.

    Raises `TextError` naming the line, `GraphError` where the program is not well-formed.
    """
    reader = _Reader(source, tensors or {})
    found = reader.object(0)
    if not isinstance(found, IntegerProgram):
        raise reader.fail("the text begins with no integer-program")
    if reader.at < len(reader.lines):
        raise reader.fail("the program has ended before")
    verify(found)
    return found


class _Reader:
    def __init__(self, source: str, tensors: Mapping[str, np.ndarray]) -> None:
        self.lines = [(number, line) for number, line in enumerate(source.splitlines(), 1) if line.strip()]
        self.tensors = tensors
        self.at = 0

    def fail(self, message: str) -> TextError:
        """An error about the present line."""
        number = self.lines[min(self.at, len(self.lines) - 1)][0] if self.lines else 1
        return TextError(f"line {number}: {message}")

    def next_is(self, indent: int) -> bool:
        """Whether a line follows that is indented by so many levels."""
        if self.at >= len(self.lines):
            return False
        line = self.lines[self.at][1]
        return len(line) - len(line.lstrip(" ")) == 2 * indent

    def object(self, indent: int) -> object:
        """One object, and what is indented below it."""
        if not self.next_is(indent):
            raise self.fail(f"an object indented by {2 * indent} spaces is expected")
        line = self.lines[self.at][1]
        kind, _, rest = line.strip().partition(" ")
        if kind not in _CLASSES:
            raise self.fail(f"kind {kind[:40]!r} is unknown; known are {', '.join(sorted(_CLASSES))}")
        values = _Line(self, rest).fields()
        self.at += 1
        while self.next_is(indent + 1):
            name = self.lines[self.at][1].strip()
            if not name.endswith(":") or name[:-1] in values:
                raise self.fail(f"{name[:40]!r} is no new field of {kind}")
            self.at += 1
            items = []
            while self.next_is(indent + 2):
                items.append(self.object(indent + 2))
            values[name[:-1]] = tuple(items)
        try:
            return _CLASSES[kind](**values)
        except (TypeError, ValueError) as error:
            self.at -= 1
            raise self.fail(f"{kind}: {str(error).partition('() ')[2] or error}") from error


class _Line:
    """The fields of one line, read from the left."""

    def __init__(self, reader: _Reader, rest: str) -> None:
        self.reader, self.rest = reader, rest

    def fields(self) -> dict[str, object]:
        found: dict[str, object] = {}
        while self.rest:
            name = self.take(_NAME, "a field `name=value`").group()
            self.rest = self.rest[1:]
            if name in found:
                raise self.reader.fail(f"field {name} stands twice")
            found[name] = self.value()
            if self.rest and not self.rest.startswith(" "):
                raise self.reader.fail(f"a space is expected before {self.rest[:40]!r}")
            self.rest = self.rest.removeprefix(" ")
        return found

    def take(self, pattern: re.Pattern[str], what: str) -> re.Match[str]:
        """What matches at this place."""
        match = pattern.match(self.rest)
        if match is None:
            raise self.reader.fail(f"{what} is expected, found {self.rest[:40]!r}")
        self.rest = self.rest[match.end() :]
        return match

    def value(self) -> object:
        if self.rest.startswith(("{", '"')):
            try:
                found, end = json.JSONDecoder().raw_decode(self.rest)
            except ValueError as error:
                raise self.reader.fail(f"{self.rest[:40]!r} is no JSON: {error}") from error
            self.rest = self.rest[end:]
            return self.train(found) if isinstance(found, str) and self.rest.startswith("[") else found
        if self.rest.startswith("["):
            return self.several()
        if self.rest.startswith("map "):
            self.rest = self.rest.removeprefix("map ")
            return IndexMap(table=self.array())
        if self.rest.startswith("map("):
            offset, dims = self.take(_MAP, "a map").groups()
            pairs = [pair.split("*") for pair in dims.split()]
            return IndexMap(tuple((int(size), int(stride)) for size, stride in pairs), int(offset))
        if _ARRAY.match(self.rest):
            return self.array()
        word = self.take(_WORD, "a value").group()
        known = {"none": None, "true": True, "false": False}
        if word in known:
            return known[word]
        return float(word) if "." in word or "e" in word else int(word)

    def several(self) -> tuple[object, ...]:
        items = []
        self.rest = self.rest.removeprefix("[")
        while not self.rest.startswith("]"):
            items.append(self.value())
            if not self.rest.startswith((", ", "]")):
                raise self.reader.fail(f"a list goes on with `, ` or `]`, found {self.rest[:40]!r}")
            self.rest = self.rest.removeprefix(", ")
        self.rest = self.rest.removeprefix("]")
        return tuple(items)

    def train(self, name: str) -> Train:
        shape, lo, hi, scale = self.take(_TRAIN, "a train `[shape]{lo..hi}*scale`").groups()
        return Train(name, self.shape(shape), int(lo), int(hi), float(scale))

    def shape(self, word: str) -> tuple[int, ...]:
        try:
            return tuple(int(size) for size in word.split(",")) if word else ()
        except ValueError:
            raise self.reader.fail(f"[{word}] is no shape") from None

    def array(self) -> np.ndarray:
        dtype, word, data = self.take(_ARRAY, "an array").groups()
        shape = self.shape(word)
        if dtype not in _DTYPES:
            raise self.reader.fail(f"dtype {dtype} is unknown; known are {', '.join(_DTYPES)}")
        if "#" in data:
            digest = data.partition("#")[2]
            if digest not in self.reader.tensors:
                raise self.reader.fail(f"the data of array #{digest} is missing")
            found = self.reader.tensors[digest]
            if found.shape != shape or found.dtype.name != dtype:
                raise self.reader.fail(f"array #{digest} is {found.dtype}{list(found.shape)}, the text says {dtype}{list(shape)}")
            return found
        try:
            items = [_number(item, dtype) for item in data.split()]
            return np.array(items, dtype).reshape(shape)
        except (ValueError, OverflowError) as error:
            raise self.reader.fail(f"an array {dtype}{list(shape)} of ({data[:40]}): {error}") from error


def _number(item: str, dtype: str) -> float | int | bool:
    if dtype == "bool":
        return item == "True"
    return float(item) if dtype.startswith("float") else int(item)
