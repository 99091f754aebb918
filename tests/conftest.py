"""Sentences that tests record as `summary` are printed at the end of the run, from worker processes too.

Worker processes share the cores: libraries that count them are told to take one each, before they are imported. Each
worker gets one half of the tests in their order, so that neighbours share what they compiled; who is done takes over from
the other. In a fresh clone the first worker compiles the simulator's kernels, which takes more than a minute; the second
half begins with tests that need none, so that they are not compiled twice.
"""

from __future__ import annotations

import gc
import os

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    for library in ("OMP", "OPENBLAS", "MKL"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")


def pytest_collection_finish() -> None:
    """What was imported stays to the end: the garbage collector need not look through it again and again."""
    gc.collect()
    gc.freeze()


_NO_KERNELS = (
    "tests/ir/",
    "tests/frontends/test_torch_activations.py",
    "tests/frontends/test_torch_layers.py",
    "tests/frontends/test_torch_integers.py",
    "tests/frontends/test_torch_recurrent.py",  # but one test, hence last
)
"""Tests that run no simulator: two minutes of them and more."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In worker processes, the second half of all tests begins with those that need no kernels."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return
    simple = [item for start in _NO_KERNELS for item in items if item.nodeid.startswith(start)]
    known = set(simple)
    others = [item for item in items if item not in known]
    first = min(len(items) // 2, len(others))
    items[:] = [*others[:first], *simple, *others[first:]]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Halves instead of turns, where nothing else was asked for."""
    if config.getoption("dist") != "load":
        return None
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests counted."""
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, value in getattr(report, "user_properties", ()):
                if name == "summary" and getattr(report, "when", "") == "call":
                    terminalreporter.write_line(str(value))
