"""Words of the text form: names, attribute values and their readers."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, unquote

from snnir.errors import GraphError, TextError
from snnir.ir.dims import Dim, Dimension, parse_dim
from snnir.ir.op import Op
from snnir.ir.types import Quantization

__all__ = ["attributes_text", "name_text", "read_attributes", "read_name", "read_word", "tokenize", "word_text"]

_BARE = re.compile(r"[A-Za-z_/.][A-Za-z0-9_/.:\-]*")
_KEYWORDS = ("const", "finite", "input", "output", "note", "yield", "graph")
_WORD = re.compile(r'"(?:[^"\\]|\\.)*"|[^\s",]+|,')


def name_text(name: str) -> str:
    """A name as it stands in the text: bare where it is a plain word, else a JSON string."""
    return name if _BARE.fullmatch(name) and name not in _KEYWORDS else json.dumps(name)


def read_name(word: str) -> str:
    """The name that `name_text` wrote. Raises `TextError`."""
    if not word.startswith('"'):
        if not _BARE.fullmatch(word):
            raise TextError(f"{word!r} is not a name; quote it")
        return word
    try:
        return str(json.loads(word))
    except ValueError:
        raise TextError(f"{word} is not a quoted name") from None


def word_text(word: str) -> str:
    """An element of a constant of words: in quotes, all but letters, digits and `_.-~` as in addresses of the web."""
    return f"'{quote(word, safe='')}'"


def read_word(text: str) -> str:
    """The element that `word_text` wrote. Raises `ValueError`."""
    if len(text) < 2 or text[0] != "'" or text[-1] != "'":
        raise ValueError(f"{text} is not a word in quotes")
    return unquote(text[1:-1], errors="strict")


def tokenize(line: str) -> tuple[list[str], str | None]:
    """The words of a line, and its comment (None where there is none)."""
    words: list[str] = []
    position = 0
    while position < len(line):
        if line[position].isspace():
            position += 1
            continue
        if line[position] == "#":
            return words, line[position + 1 :].strip()
        match = _WORD.match(line, position)
        if match is None:
            raise TextError(f"cannot read {line[position:]!r}")
        words.append(match[0])
        position = match.end()
    return words, None


def attributes_text(op: Op) -> str:
    """`field=value` for every attribute that is not at its default."""
    parts = []
    for field in op.attributes():
        value = getattr(op, field.name)
        if value == field.default and type(value) is type(field.default):
            continue
        parts.append(f"{field.name}={_value_text(value)}")
    return " ".join(parts)


def _value_text(value: object) -> str:
    if isinstance(value, Quantization):
        return f"{value.lo}..{value.hi}*{value.scale!r}"
    if isinstance(value, tuple):
        return "[" + ";".join(_runs(value)) + "]"
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, int | float | Dim):
        return str(value) if not isinstance(value, float) else repr(value)
    if isinstance(value, str) and _BARE.fullmatch(value):
        return value
    raise GraphError(f"attribute value {value!r} has no text form")


def _runs(items: tuple[object, ...]) -> Iterator[str]:
    """The items of a tuple; integers that follow one another alike as `item*count` where that is shorter."""
    for item, group in itertools.groupby(items):
        count, word = sum(1 for _ in group), _value_text(item)
        yield from (f"{word}*{count}",) if count > _RUN and type(item) is int else (word,) * count


_RUN = 3
"""How many equal integers in a tuple are written one by one."""
_QUANTIZATION = re.compile(r"(-?\d+)\.\.(-?\d+)\*([0-9.e+-]+)")


def read_attributes(op: type[Op], words: Iterable[str]) -> Op:
    """An op of class `op` with the attributes that `words` set. Raises `TextError` naming the choices."""
    kinds = {field.name: str(field.type) for field in op.attributes()}
    values: dict[str, object] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if equals and key in op.dropped:
            continue
        if not equals or key not in kinds:
            raise TextError(f"op {op.name} has no attribute {word!r}; it has: {', '.join(kinds) or 'none'}")
        try:
            values[key] = _read_value(kinds[key], text)
        except (ValueError, KeyError) as error:
            raise TextError(f"op {op.name}: {word!r} is not of type {kinds[key]}") from error
        except GraphError as error:
            raise TextError(f"op {op.name}: {word!r}: {error}") from error
    try:
        return op(**values)
    except (GraphError, TypeError) as error:
        raise TextError(f"op {op.name}: {error}") from error


def _count(words: list[str]) -> int:
    """How often an item of a tuple stands there. Raises `ValueError`."""
    if len(words) > 1:
        raise ValueError("*".join(words))
    return int(words[0]) if words else 1


def _sizes(item: str) -> tuple[Dimension, ...]:
    """One size, or `number*count` of them: a product of two numbers is no size that `str` writes."""
    number, _, count = item.partition("*")
    if number.removeprefix("-").isdecimal() and count.isdecimal():
        return (int(number),) * int(count)
    return (parse_dim(item),)


def _read_value(kind: str, text: str) -> object:
    if kind == "Quantization":
        match = _QUANTIZATION.fullmatch(text)
        if match is None:
            raise ValueError(text)
        return Quantization(float(match[3]), int(match[1]), int(match[2]))
    if kind == "Shape" or kind.startswith("tuple["):
        if not (text.startswith("[") and text.endswith("]")):
            raise ValueError(text)
        items = [item for item in text[1:-1].split(";") if item]
        item_kind = "Dimension" if kind == "Shape" else kind.removeprefix("tuple[").split(",")[0]
        if item_kind == "int":
            runs = [item.split("*") for item in items]
            return tuple(value for item, *count in runs for value in (int(item),) * _count(count))
        if item_kind == "Dimension":
            return tuple(value for item in items for value in _sizes(item))
        return tuple(_read_value(item_kind, item) for item in items)
    if text == "null" or text == "none":
        if "None" not in kind:
            raise ValueError(text)
        return None
    readers = {"int": int, "float": float, "str": str, "Dimension": parse_dim, "bool": {"true": True, "false": False}.__getitem__}
    return readers[kind.split(" ")[0]](text)  # type: ignore[operator]
