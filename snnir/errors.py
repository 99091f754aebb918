"""What can go wrong, as a small hierarchy: every error a user can cause derives from `SnnirError`.

A message names the node or file, what was found, what is supported and what to do about it.
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

__all__ = [
    "CalibrationError",
    "FileFormatError",
    "GraphError",
    "ImportMismatchError",
    "InputError",
    "ModelError",
    "NoReferenceError",
    "PassError",
    "Refusal",
    "RunMemoryError",
    "SizeError",
    "SnnirError",
    "TextError",
    "UnsupportedError",
    "UsageError",
    "unforeseen",
]


class SnnirError(Exception):
    """Base of every error that snnir raises on purpose."""

    exit_code: ClassVar[int] = 1
    """The exit code of the command line: 2 for an unusable input, file or option, 1 for a failed check or refused model."""


class UsageError(SnnirError):
    """An option or argument is out of its documented range."""

    exit_code = 2


class RunMemoryError(SnnirError, MemoryError):
    """A run needs more memory than there is, or than it may take."""


class ModelError(SnnirError):
    """A model file cannot be read or is not a valid model."""

    exit_code = 2


class ImportMismatchError(ModelError):
    """The imported graph does not give what the model itself gives."""

    exit_code = 1


@dataclass(frozen=True)
class Refusal:
    """One node that snnir refuses: its name in the message, why, and the nodes of the user's model that it comes from."""

    node: str
    reason: str
    origins: tuple[str, ...] = ()
    """Each as operator and name, like `Conv /encoder/conv`."""
    sizes: frozenset[str] = frozenset()
    """Open sizes of what the node takes or gives: with numbers for them it may convert."""
    trace: str = ""
    """The traceback of an error that snnir did not foresee."""

    def __str__(self) -> str:
        return f"{self.node}: {self.reason}"


class NoReferenceError(ModelError):
    """Nothing that is installed can run a model as it is, so that its import is compared with nothing."""


class UnsupportedError(SnnirError):
    """The model is valid, but holds something that snnir refuses, by name; `refusals` lists the nodes."""

    def __init__(self, message: str, refusals: Sequence[Refusal] = (), partial: object = None) -> None:
        super().__init__(message)
        self.refusals = tuple(refusals)
        self.partial = partial
        """The graph as far as it could be imported, where that is what failed."""


def unforeseen(error: BaseException) -> tuple[str, str]:
    """The reason and the traceback of a refusal that comes from an error that snnir did not foresee."""
    text = " ".join(str(error).split())
    reason = f"snnir failed on it ({type(error).__name__}: {text[:300]}); please report this model with what --debug prints"
    return reason, "".join(traceback.format_exception(error))


class InputError(SnnirError):
    """Data given to a model has the wrong shape, dtype, name or non-finite values."""

    exit_code = 2


class CalibrationError(InputError):
    """Calibration data is missing, empty or unusable."""


class GraphError(SnnirError):
    """A graph breaks a rule of the IR (types, order, uses, level)."""


class SizeError(GraphError):
    """Sizes differ that must be equal; `equal` holds the pairs of dimensions."""

    def __init__(self, message: str, equal: Sequence[tuple[object, object]] = ()) -> None:
        super().__init__(message)
        self.equal = tuple(equal)


class TextError(GraphError):
    """A graph's text form cannot be read; the message names the line."""

    exit_code = 2


class PassError(SnnirError):
    """A pass failed or broke its promise; the message names the pass and the value."""


class FileFormatError(SnnirError):
    """A snnir file is truncated, tampered with or of an unknown version."""

    exit_code = 2
