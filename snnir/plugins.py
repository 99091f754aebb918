"""Packages that extend snnir, found by their entry points.

| group | the entry point is | it is used |
| --- | --- | --- |
| `snnir.ops` | a module whose import registers ops (`snnir.ir.op.register`) | where a text names an unknown one |
| `snnir.passes` | a module whose import registers passes (`register` of `snnir.passes.infra`) | where a pipeline names one |
| `snnir.frontends` | a `Frontend` | for files with one of its suffixes |
| `snnir.backends` | a `Backend` | by `Program.run(backend=its name)` and `snnir run --backend` |

`examples/plugin` is such a package. Plugins are imported when they are first asked for, and never before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

from snnir.errors import UsageError

__all__ = ["GROUPS", "Backend", "Frontend", "backends", "frontend_of", "load_ops", "load_passes"]

Kind = TypeVar("Kind")

GROUPS = ("frontends", "passes", "backends", "ops")


@dataclass(frozen=True)
class Frontend:
    """An importer of model files."""

    name: str
    suffixes: tuple[str, ...]
    """Of the files that it imports, with their dots."""
    import_model: Callable[..., Any]
    """Takes a `pathlib.Path` and gives a `snnir.ir.Graph` of the float level. Raises errors of `snnir.errors`."""


@dataclass(frozen=True)
class Backend:
    """Something that runs spiking graphs."""

    name: str
    run: Callable[..., Any]
    """Takes a spiking `snnir.ir.Graph`, inputs by name and `snnir.machine.options.RunOptions`, and gives a
    `snnir.machine.results.SimulationResult`."""


def load_ops() -> bool:
    """Import the plugins that register ops; whether there are any."""
    return bool(_load("ops"))


def load_passes() -> bool:
    """Import the plugins that register passes; whether there are any."""
    return bool(_load("passes"))


def frontend_of(suffix: str) -> Frontend | None:
    """The plugin that imports files with this suffix. Raises `UsageError` where several do."""
    found = [each for each in _objects("frontends", Frontend) if suffix in each.suffixes]
    if len(found) > 1:
        raise UsageError(f"files {suffix} are imported by several plugins: {', '.join(each.name for each in found)}; remove one")
    return found[0] if found else None


def backends() -> dict[str, Backend]:
    """The backends of plugins, by their names."""
    return {each.name: each for each in _objects("backends", Backend)}


def _objects(group: str, kind: type[Kind]) -> list[Kind]:
    for name, value in _load(group).items():
        if not isinstance(value, kind):
            raise UsageError(f"the plugin {name} of snnir.{group} is {value!r}, not a {kind.__name__} of snnir.plugins")
    return [value for value in _load(group).values() if isinstance(value, kind)]


@cache
def _load(group: str) -> dict[str, object]:
    return {entry.name: _imported(group, entry) for entry in entry_points(group=f"snnir.{group}")}


def _imported(group: str, entry: EntryPoint) -> object:
    try:
        return entry.load()
    except Exception as error:  # whatever a package of somebody else's raises: it is named, and nothing goes on without it
        raise UsageError(
            f"the plugin {entry.name} of snnir.{group} ({entry.value}) cannot be imported: {type(error).__name__}: {error}; "
            "repair or uninstall it"
        ) from error
