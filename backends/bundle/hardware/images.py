"""Memory images: integers as hexadecimal words for `$readmemh`, and the map that says what lies in which word."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from snnir.errors import FileFormatError, UsageError
from snnir.machine.ranges import bits_of

__all__ = ["MAP_FORMAT", "MAP_VERSION", "Image", "file_name", "image_files", "parse_image", "plain"]

MAP_FORMAT = "snnir memory map"
MAP_VERSION = 1
_WIDEST = 64


@dataclass(frozen=True, eq=False)
class Image:
    """One memory: `values` int64 in any shape, word i being value i in C order, each of `bits` bits, two's complement where
    it is `signed`; `what` says for people what word i is, `facts` for programs what it belongs to."""

    file: str
    values: np.ndarray
    bits: int
    signed: bool
    what: str
    facts: dict[str, object]

    @staticmethod
    def of(
        file: str,
        values: np.ndarray,
        what: str,
        signed: bool = True,
        least: int = 1,
        facts: Mapping[str, object] = MappingProxyType({}),
    ) -> Image:
        """An image of the fewest bits, `least` or more. Raises `UsageError` beyond 64 bits."""
        low, high = int(values.min(initial=0)), int(values.max(initial=0))
        bits = max(bits_of((low, high)) - (not signed), least, 1)
        if bits > _WIDEST or (low < 0 and not signed):
            raise UsageError(f"{file}: {low}..{high} needs {bits} bits; images hold up to {_WIDEST}, unsigned ones from 0 on")
        return Image(file, values, bits, signed, what, dict(facts))

    def text(self) -> str:
        """The file: a comment, then one word a line, all of the same number of digits."""
        digits = -(-self.bits // 4)
        flat = self.values.reshape(-1).astype(np.int64)
        words = [f"{word:0{digits}x}" for word in (flat & ((1 << self.bits) - 1)).tolist()]
        kind = "two's complement" if self.signed else "unsigned"
        return "\n".join([f"// {self.file}: {self.what}; {flat.size} words of {self.bits} bits, {kind}", *words, ""])


def parse_image(text: str, bits: int, signed: bool) -> np.ndarray:
    """The integers, int64 [words], of what `Image.text` wrote. Raises `FileFormatError` naming the line."""
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        word = line.partition("//")[0].strip()
        if not word:
            continue
        if not re.fullmatch("[0-9a-f]+", word) or int(word, 16) >> bits:
            raise FileFormatError(f"line {number}: {word[:40]!r} is not a word of {bits} bits in hexadecimal")
        value = int(word, 16)
        found.append(value - (1 << bits) if signed and value >> (bits - 1) else value)
    return np.array(found, np.int64)


def plain(name: str) -> str:
    """A name of the program on one line of ASCII, for comments."""
    return json.dumps(name)[1:-1]


def file_name(name: str) -> str:
    """A name of the program as part of a file name."""
    return re.sub(r"[^A-Za-z0-9.-]+", "_", name).strip("_.") or "unnamed"


def image_files(images: Sequence[Image], title: str, registers: Mapping[str, Mapping[str, object]]) -> dict[str, str]:
    """Every image by its file name, and `map.json` and `map.md`, which say what they hold.

    `registers` are facts about every population and readout by name, the same keys for each.
    `base` is a word address where all memories lie one after another; within its own memory an image begins at word 0.
    """
    entries, rows, base = [], [], 0
    for image in images:
        words = math.prod(image.values.shape)
        entries.append(
            {
                "file": image.file,
                "base": base,
                "words": words,
                "bits": image.bits,
                "signed": image.signed,
                "shape": list(image.values.shape),
                "what": image.what,
                **image.facts,
            }
        )
        sign = "signed" if image.signed else "unsigned"
        rows.append(f"| {base} | {words} | {image.bits} {sign} | {list(image.values.shape)} | {image.file} | {image.what} |")
        base += words
    whole = {"format": MAP_FORMAT, "version": MAP_VERSION, "title": title, "registers": registers, "memories": entries}
    head = [
        f"# Memory map of {plain(title)}",
        "",
        "`$readmemh` reads each file into a memory of its own, from word 0 on; words count through the shape, the last axis",
        "fastest. `base` is for one flat memory that holds them all.",
        "",
        "| base | words | bits | shape | file | holds |",
        "| ---: | ---: | --- | --- | --- | --- |",
    ]
    for name, facts in registers.items():
        rows += [""] if name == next(iter(registers)) else []
        rows.append(f"- `{plain(name)}`: " + ", ".join(f"{key} {value}" for key, value in facts.items()))
    files = {image.file: image.text() for image in images}
    return {**files, "map.json": json.dumps(whole, indent=1) + "\n", "map.md": "\n".join([*head, *rows, ""])}
