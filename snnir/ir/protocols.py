"""How the state of a window reaches the next one, and how inputs are charged: the choices of a run, each declared once."""

from __future__ import annotations

from enum import StrEnum

from snnir.errors import UsageError

__all__ = ["Delivery", "Encoding", "Execution", "Functions", "Protocol"]


class Protocol(StrEnum):
    """A choice by its name; a member equals its name as a string, and reads like it in messages."""

    def __repr__(self) -> str:
        return repr(self.value)

    @classmethod
    def of(cls, name: str) -> Protocol:
        """The choice called `name`. Raises `UsageError` naming the choices."""
        try:
            return cls(name)
        except ValueError:
            raise UsageError(f"{cls.__name__.lower()} {name!r} is unknown; choose one of {', '.join(cls)}") from None


class Delivery(Protocol):
    """How a state's spikes reach the next window."""

    REPLAY = "replay"
    """The same train again."""
    RELAY = "relay"
    """Its settled levels, one a step."""
    GRADED = "graded"
    """Its settled level at step 0."""


class Execution(Protocol):
    """How the body of a scan goes on to its next element."""

    RESET = "reset"
    """Every neuron starts afresh."""
    CARRY = "carry"
    """Every neuron keeps its sum and its tracer, so that only changes are sent."""


class Functions(Protocol):
    """How functions inside the network are realised."""

    BARRIER = "barrier"
    """They wait for complete levels, and charge theirs once."""
    DIFFERENCE = "difference"
    """They tell the change of their levels whenever what they take changes."""


class Encoding(Protocol):
    """How inputs are charged."""

    S_ANALOG = "s-analog"
    """Whole at step 0 of their window."""
    M_ANALOG = "m-analog"
    """In portions, one a step, for study."""
