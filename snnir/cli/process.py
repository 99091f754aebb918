"""Whether a command runs in a process that does nothing else."""

from __future__ import annotations

import click

__all__ = ["OWN_PROCESS", "in_own_process"]

OWN_PROCESS = "a process of its own"
"""The object of a command's context in a process that is a command of snnir's and nothing else."""


def in_own_process() -> bool:
    """Whether a command runs in a process that does nothing else."""
    context = click.get_current_context(silent=True)
    return context is not None and context.obj == OWN_PROCESS
