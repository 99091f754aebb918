"""The text form of a machine program; `snnir.machine.parse` reads it back to an equal program.

    integer-program name="net" delivery="relay" execution="reset"
      ops:
        input train="x"[4]{0..15}*0.1 source="in"
        population train="h"[2]{0..15}*0.5 initial=int64[1](0) initial_map=map(0: 2*0) theta=int64[2](7 9) ...
          synapses:
            synapse name="c" source="x" kind="dense" weights=int64[2,4](1 0 -3 2 0 0 7 1) ...

A line holds one object: its kind, and its fields as `name=value`, without those that have their default; fields that hold
several objects follow as lines of their own.
Arrays of up to 16 elements stand in the text. Larger ones are named by range and digest, and their data travels beside it
(`tensors`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, is_dataclass

import numpy as np

from snnir.machine.addresses import IndexMap
from snnir.machine.equality import same
from snnir.machine.program import IntegerProgram
from snnir.machine.trains import Train

__all__ = ["INLINE", "digest", "kind_of", "tensors", "text"]

INLINE = 16
"""Arrays of at most this many elements are written in the text."""


def text(program: IntegerProgram) -> str:
    """The text form of a program; `tensors` gives the data of the arrays that it names by digest."""
    return "\n".join(_lines(program, 0)) + "\n"


def tensors(program: IntegerProgram) -> dict[str, np.ndarray]:
    """The data of the arrays that the text names by digest."""
    return {digest(array): array for array in _arrays(program) if array.size > INLINE}


def digest(array: np.ndarray) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of an array's dtype, shape and data."""
    head = f"{array.dtype.name}{list(array.shape)}".encode()
    return hashlib.sha256(head + np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


def kind_of(cls: type) -> str:
    """The word for a class: its name in lower case, with hyphens."""
    return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in cls.__name__).strip("-")


def _blocks(value: object) -> bool:
    """Whether a field's value is written as objects on lines of their own."""
    return isinstance(value, tuple) and bool(value) and all(is_dataclass(item) and not _in_line(item) for item in value)


def _in_line(value: object) -> bool:
    return isinstance(value, Train | IndexMap)


def _lines(item: object, indent: int) -> Iterator[str]:
    assert is_dataclass(item)
    named = [(field.name, getattr(item, field.name)) for field in fields(item)]
    named = [(name, value) for (name, value), field in zip(named, fields(item), strict=True) if not same(value, _default(field))]
    words = [f"{name}={_word(value)}" for name, value in named if not _blocks(value)]
    yield "  " * indent + " ".join([kind_of(type(item)), *words])
    for name, value in named:
        if _blocks(value):
            yield "  " * (indent + 1) + f"{name}:"
            for inner in value:
                yield from _lines(inner, indent + 2)


def _default(field: Field[object]) -> object:
    return field.default_factory() if field.default_factory is not MISSING else field.default


def _word(value: object) -> str:
    if isinstance(value, np.ndarray):
        return _array(value)
    if isinstance(value, Train):
        return f"{json.dumps(value.name)}{_sizes(value.shape)}{{{value.lo}..{value.hi}}}*{value.scale!r}"
    if isinstance(value, IndexMap):
        if value.table is not None:
            return f"map {_array(value.table)}"
        return f"map({value.offset}:{''.join(f' {size}*{stride}' for size, stride in value.dims)})"
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_word, value)) + "]"
    if value is None or isinstance(value, bool):
        return {None: "none", True: "true", False: "false"}[value]
    if isinstance(value, float):
        return repr(float(value))
    if isinstance(value, str | int | dict):
        return json.dumps(str(value) if isinstance(value, str) else value)
    raise TypeError(f"a machine program holds no {type(value).__name__}")


def _sizes(shape: tuple[int, ...]) -> str:
    return "[" + ",".join(map(str, shape)) + "]"


def _array(array: np.ndarray) -> str:
    head = f"{array.dtype.name}{_sizes(array.shape)}"
    if array.size > INLINE:
        return f"{head}({array.min()}..{array.max()} #{digest(array)})"
    return f"{head}({' '.join(repr(item) for item in array.reshape(-1).tolist())})"


def _arrays(value: object) -> Iterator[np.ndarray]:
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _arrays(item)
    elif is_dataclass(value):
        for field in fields(value):
            yield from _arrays(getattr(value, field.name))
