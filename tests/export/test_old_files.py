"""Files that earlier versions of snnir wrote, stored here, are read and give what they gave then.

`version1` was written before bundles had gains; `version2`, with few-spike neurons and a softmax, before they held the host's
part.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import snnir
from snnir.backends.bundle import run_engine
from snnir.export.replay import replay_bundle, run_inputs

OLD = Path(__file__).parent / "old"


@pytest.mark.parametrize("version", ["version1", "version2"])
def test_programs_and_bundles_of_earlier_versions(version: str, tmp_path: Path) -> None:
    with np.load(OLD / version / "expected.npz") as stored:
        x, steps, spikes = stored["x"], stored["steps"], int(stored["spikes"][0])
        expected = {key.removeprefix("output/"): stored[key] for key in stored if key.startswith("output/")}
    program = snnir.load(OLD / version / "program.snnir")
    result = program.run(x)
    np.testing.assert_array_equal(result.steps, steps)
    assert int(result.total_spikes.sum()) == spikes
    assert program.verify(x).ok
    made = snnir.load_bundle(OLD / version / "bundle.snnb")
    assert made.host is None
    assert replay_bundle(made).ok
    if any(map(shutil.which, (os.environ.get("CC", "cc"), "gcc", "clang"))):
        assert run_engine(made).ok
    again = snnir.load(OLD / version / "bundle.snnb")
    for found in (result.outputs, run_inputs(made, x).outputs, again.run(x).outputs):
        assert list(found) == list(expected)
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name], array, err_msg=name)
    made.save(tmp_path / "again.snnb")
    assert replay_bundle(snnir.load_bundle(tmp_path / "again.snnb")).ok
