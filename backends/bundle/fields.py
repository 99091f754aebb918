"""The manifest of a bundle: held against its schema whole, and then read by object, with the place of each in errors."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

from snnir.errors import FileFormatError

__all__ = ["LARGEST_TRAIN", "Fields", "checked_manifest"]

LARGEST_TRAIN = 1 << 28
"""The most addresses of one train."""
_LONGEST = 160


def checked_manifest(value: object) -> Fields:
    """The manifest, which has the fields, types and bounds that `schema.json` says. Raises `FileFormatError` naming the place."""
    error = next(_validator().iter_errors(value), None)
    if error is not None:
        places = [f"{key} {place}" if isinstance(place, int) else str(place) for key, place in _steps(error.absolute_path)]
        where = ", ".join(["the whole", *places])
        raise FileFormatError(f"its manifest: {_short(where)}: {_short(error.message)}")
    return Fields(value, "the whole")


def _steps(path: Any) -> list[tuple[str, object]]:
    """The places on the way to an error, each with the key of the list that it is in."""
    found: list[tuple[str, object]] = []
    key = ""
    for place in path:
        if isinstance(place, int):
            found[-1:] = [(key, place)]
        else:
            key = str(place)
            found.append((key, place))
    return found


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 2 :]}"


@cache
def _validator() -> Any:
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    schema = json.loads((files("snnir.backends.bundle") / "schema.json").read_text("utf-8"))
    kinds = Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, item: type(item) is int)  # 1.0 is none
    return extend(Draft202012Validator, type_checker=kinds)(schema)


class Fields:
    """A JSON object of a manifest that its schema allows, and where it stands in the manifest."""

    def __init__(self, value: Any, what: str) -> None:
        self.value, self.what = value, what

    def error(self, message: str) -> FileFormatError:
        """An error about this object."""
        return FileFormatError(f"its manifest: {_short(self.what)}: {message}")

    def __getitem__(self, key: str) -> Any:
        return self.value[key]

    def __contains__(self, key: str) -> bool:
        return key in self.value

    def get(self, key: str, default: Any) -> Any:
        """A field that may be missing."""
        return self.value.get(key, default)

    def objects(self, key: str) -> list[Fields]:
        """A list of objects."""
        return [Fields(item, f"{self.what}, {key} {index}") for index, item in enumerate(self.value[key])]

    def object(self, key: str) -> Fields:
        """One object."""
        return Fields(self.value[key], f"{self.what}, {key}")
