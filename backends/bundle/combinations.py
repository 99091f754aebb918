"""Combinations in a manifest: their fields are names of trains and integers, and stand there by their names."""

from __future__ import annotations

from dataclasses import fields
from typing import get_args, get_type_hints

from snnir.backends.bundle.fields import Fields
from snnir.machine import emitters
from snnir.machine.emitters import Combining, Difference
from snnir.machine.trains import Train

__all__ = ["COMBINATIONS", "decode_combination", "encode_combination"]

COMBINATIONS: dict[str, type[Combining]] = {
    name.lower(): found
    for name in emitters.__all__
    if isinstance(found := getattr(emitters, name), type)
    and issubclass(found, Combining)
    and found not in (Combining, Difference)
}
"""The combinations by the names of their ops, but for functions, which have microcode."""

_LARGEST = 1 << 40


def encode_combination(op: Combining) -> dict[str, object]:
    """The fields of a combination but for its train; a field that is None is left out."""
    found: dict[str, object] = {}
    for field in fields(op):
        value = getattr(op, field.name)
        if field.name != "train" and value is not None:
            found[str(field.metadata.get("stored", field.name))] = list(value) if isinstance(value, tuple) else value
    return found


def decode_combination(kind: str, train: Train, stored: Fields) -> Combining:
    """A combination of its train and the fields in a manifest. Raises `FileFormatError` where a field has another type."""
    cls = COMBINATIONS[kind]
    hints = get_type_hints(cls)
    values: dict[str, object] = {}
    for field in fields(cls):
        key = str(field.metadata.get("stored", field.name))
        kinds: tuple[object, ...] = get_args(hints[field.name]) or (hints[field.name],)
        if field.name == "train" or (type(None) in kinds and key not in stored):
            continue
        if int in kinds:
            values[field.name] = stored[key]
        else:
            values[field.name] = stored[key] if hints[field.name] is str else tuple(stored[key])
    return cls(train, **values)
