"""Bundles of integrate-and-fire neurons: replayed in Python and in C event by event, and read back as programs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import snnir
from snnir.backends.bundle.c_replay import run_engine
from snnir.export.replay import replay_bundle
from tests.test_clocks import network

CASES: tuple[dict[str, Any], ...] = (
    {},
    {"reset": "hard", "leak": 2},
    {"delayed": True, "leak": 3, "initial": 0, "shift": 50},
    {"reset": "hard", "delayed": True, "encoder": "rate"},
    {"encoder": "bernoulli", "seed": 9, "first_step": 3, "method": "balance-channels"},
)
C = any(map(shutil.which, (os.environ.get("CC", "cc"), "gcc", "clang")))


@pytest.mark.parametrize("options", CASES, ids=str)
def test_bundles_replay_and_come_back(options: dict[str, Any], tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    x = random.uniform(-0.2, 1, (3, 2, 6, 6)).astype(np.float32)
    program = snnir.compile(
        network(random, True, True), calibration=x, neuron="if", steps=9, iterations=8, check=False, **options
    )
    snnir.bundle(program, x).save(tmp_path / "a.snnb")
    loaded = snnir.load_bundle(tmp_path / "a.snnb")
    found = replay_bundle(loaded)
    assert not (found.mismatches or found.event_mismatches or found.beyond) and found.events
    again = snnir.load(tmp_path / "a.snnb")
    names = tuple(program.run(x).spikes)
    mine, theirs = (each.run(x, counts=True, record=names) for each in (program, again))
    np.testing.assert_array_equal(next(iter(theirs.outputs.values())), mine.outputs["y"])
    for name in names:
        np.testing.assert_array_equal(theirs.rasters[name], mine.rasters[name])
    if C:
        run = run_engine(loaded)
        assert run.ok, run
