"""What a pass is, how a pipeline is written, and how one is run and checked.

A pass is a frozen dataclass: its fields are its options, so a pipeline can be typed and read back:
`canonicalize,quantize-activations{bits=4},substitute-neurons`.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, TypeVar

import numpy as np

from snnir.errors import UsageError
from snnir.ir import Graph
from snnir.passes.properties import Property
from snnir.plugins import load_passes

__all__ = ["ANY_LEVEL", "PASSES", "Context", "Pass", "Result", "format_pipeline", "parse_pipeline", "register"]


ANY_LEVEL = "any"
"""What a pass takes and gives that works at every level."""


@dataclass(frozen=True)
class Context:
    """What passes may look at besides the graph."""

    calibration: Mapping[str, np.ndarray] | None = None
    """Input arrays by name, batch first as the model takes them; None where there are none."""
    progress: Callable[[str, int, int], None] | None = None
    """Called with (what, done, total) during long work."""
    exact: Graph | None = None
    """The last graph that computed what the model does: that before the first pass with an `error`."""
    shortened: tuple[Mapping[str, np.ndarray], ...] = ()
    """The calibration data cut along open axes that have an upper end (`calibrate` cuts them): ranges depend on the length."""


@dataclass(frozen=True)
class Result:
    """What a pass gives back."""

    graph: Graph
    changed: bool
    remarks: tuple[str, ...] = field(default=())
    """Sentences for the report: what was found, chosen or lost."""
    rewrites: Mapping[str, int] = field(default_factory=dict)
    """How many nodes each rule replaced, by the rule's name."""


@dataclass(frozen=True)
class Pass:
    """Base of all passes. Subclasses are frozen dataclasses registered with `@register`."""

    name: ClassVar[str]
    takes: ClassVar[str]
    """The level of graphs it takes, or `ANY_LEVEL`."""
    gives: ClassVar[str]
    """The level of graphs it gives; `ANY_LEVEL` for the one it took."""
    requires: ClassVar[tuple[Property, ...]] = ()
    """What the graph must have before the pass."""
    ensures: ClassVar[tuple[Property, ...]] = ()
    """What the graph has after it."""
    error: ClassVar[str] = ""
    """Empty where the meaning is kept; else the error that the pass may introduce, in a phrase."""

    def run(self, graph: Graph, context: Context) -> Result:
        """Apply the pass. Never changes `graph`."""
        raise UsageError(f"pass {self.name} does nothing")

    def __str__(self) -> str:
        options = [
            f"{option.name.replace('_', '-')}={_literal(getattr(self, option.name))}"
            for option in dataclasses.fields(self)
            if getattr(self, option.name) != option.default
        ]
        return self.name + (f"{{{' '.join(options)}}}" if options else "")

    @classmethod
    def summary(cls) -> str:
        """The first sentence of the docstring."""
        return (cls.__doc__ or "").strip().split("\n")[0]


PASSES: dict[str, type[Pass]] = {}
"""Every pass by its name, filled by `register`."""

_PassClass = TypeVar("_PassClass", bound=type[Pass])


def register(pass_: _PassClass) -> _PassClass:
    """Class decorator: enter a pass in `PASSES`."""
    if pass_.name in PASSES:
        raise UsageError(f"pass {pass_.name} is declared twice")
    PASSES[pass_.name] = pass_
    return pass_


def format_pipeline(passes: Sequence[Pass]) -> str:
    """The text that `parse_pipeline` reads back."""
    return ",".join(str(pass_) for pass_ in passes)


_ITEM = re.compile(r"\s*([a-z0-9-]+)\s*(?:\{([^{}]*)\})?\s*(?:,|$)")


def parse_pipeline(text: str) -> tuple[Pass, ...]:
    """Read `pass,pass{option=value option=value}`. Raises `UsageError` naming what is unknown and the choices."""
    passes, position = [], 0
    while position < len(text.rstrip()):
        match = _ITEM.match(text, position)
        if match is None:
            raise UsageError(f"pipeline {text!r}: expected `pass` or `pass{{option=value}}` at {text[position:]!r}")
        passes.append(_make(match[1], match[2] or ""))
        position = match.end()
    if not passes:
        raise UsageError("the pipeline is empty")
    return tuple(passes)


def _make(name: str, options: str) -> Pass:
    if name not in PASSES:
        load_passes()
    if name not in PASSES:
        near = difflib.get_close_matches(name, PASSES, 1)
        hint = f"; did you mean {near[0]}?" if near else ";"
        raise UsageError(f"unknown pass {name!r}{hint} known are {', '.join(sorted(PASSES))}")
    fields = {option.name: option for option in dataclasses.fields(PASSES[name])}
    values: dict[str, object] = {}
    for item in options.replace(",", " ").split():
        key, equals, value = item.partition("=")
        key = key.replace("-", "_")
        if not equals or key not in fields:
            known = ", ".join(option.replace("_", "-") for option in fields) or "none"
            raise UsageError(f"pass {name}: unknown option {item!r}; options: {known}")
        values[key] = _value(name, item, value, type(fields[key].default))
    return PASSES[name](**values)


def _value(name: str, item: str, value: str, kind: type) -> object:
    try:
        if kind is bool:
            return {"true": True, "false": False}[value]
        return kind(value)
    except (ValueError, KeyError):
        raise UsageError(f"pass {name}: {item!r} is not of type {kind.__name__}") from None


def _literal(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
