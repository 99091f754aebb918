"""The fields of a manifest, read with suspicion."""

from __future__ import annotations

from typing import TypeVar, cast

from snnir.errors import FileFormatError

__all__ = ["LARGEST_TRAIN", "Fields"]

LARGEST_TRAIN = 1 << 28
"""The most addresses of one train."""

T = TypeVar("T")


class Fields:
    """A JSON object whose fields are asked for by type; whatever is missing, of another type or left over is an error."""

    def __init__(self, value: object, what: str) -> None:
        if not isinstance(value, dict):
            raise FileFormatError(f"its manifest: {what} is no object")
        self.value, self.what = dict(value), what

    def error(self, message: str) -> FileFormatError:
        """An error about this object."""
        return FileFormatError(f"its manifest: {self.what}: {message}")

    def get(self, key: str, kind: type[T], default: T | None = None) -> T:
        """The field `key`, taken out."""
        found = self.value.pop(key, default)
        if kind is float and isinstance(found, int) and not isinstance(found, bool):
            found = cast("T", float(found))
        if not isinstance(found, kind) or (isinstance(found, bool) and kind is not bool):
            raise self.error(f"{key!r} is {str(found)[:40]!r}, not of type {kind.__name__}")
        return found

    def has(self, key: str) -> bool:
        """Whether a field is there."""
        return key in self.value

    def count(self, key: str, least: int = 0, most: int = LARGEST_TRAIN) -> int:
        """An integer within bounds."""
        found = self.get(key, int)
        if not least <= found <= most:
            raise self.error(f"{key!r} is {found}; {least} to {most} are possible")
        return found

    def integers(self, key: str, least: int = 0, most: int = LARGEST_TRAIN) -> tuple[int, ...]:
        """A list of integers within bounds."""
        found = self.get(key, list)
        if not all(isinstance(item, int) and not isinstance(item, bool) and least <= item <= most for item in found):
            raise self.error(f"{key!r} is no list of integers from {least} to {most}")
        return tuple(found)

    def names(self, key: str) -> tuple[str, ...]:
        """A list of strings."""
        found = self.get(key, list)
        if not all(isinstance(item, str) for item in found):
            raise self.error(f"{key!r} is no list of names")
        return tuple(found)

    def objects(self, key: str) -> list[Fields]:
        """A list of objects."""
        return [Fields(item, f"{self.what}, {key} {index}") for index, item in enumerate(self.get(key, list))]

    def object(self, key: str) -> Fields:
        """One object."""
        return Fields(self.value.pop(key, None), f"{self.what}, {key}")

    def done(self) -> None:
        """Raise `FileFormatError` where fields are left over."""
        if self.value:
            raise self.error(f"unknown field {next(iter(self.value))!r}")
