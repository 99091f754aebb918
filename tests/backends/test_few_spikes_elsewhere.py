"""Files, reports and formats of others keep few-spike neurons, or refuse them by name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import snnir
from snnir.backends.bundle.hardware import memory_files
from snnir.errors import UnsupportedError, UsageError
from snnir.runtime.program import Program
from tests.models import crnn, data


@pytest.fixture(scope="module")
def made() -> tuple[Program, np.ndarray]:
    x = data(np.random.default_rng(0), 8, 4, 6)
    return snnir.compile(crnn(np.random.default_rng(1)), calibration=x, bits=3, neuron="few-spikes"), x


def test_programs_keep_their_neurons(made: tuple[Program, np.ndarray], tmp_path: Path) -> None:
    program, x = made
    assert program.facts["neuron"] == "few-spikes"
    program.save(tmp_path / "a.snnir")
    again = snnir.load(tmp_path / "a.snnir")
    assert again.graph() == program.graph() and again.verify(x).ok
    np.testing.assert_array_equal(again.run(x).steps, program.run(x).steps)


def test_nir_has_an_exact_form_and_a_lossy_one_refuses_by_name(made: tuple[Program, np.ndarray], tmp_path: Path) -> None:
    program, x = made
    report = snnir.export_nir(program, tmp_path / "a.nir")
    assert report.populations and not report.mismatches
    again = snnir.compile(snnir.import_nir(tmp_path / "a.nir"))
    for name, array in program.run(x).outputs.items():
        np.testing.assert_array_equal(again.run(x).outputs[name], array)
    with pytest.raises(UnsupportedError, match="nir.IF sends one spike a level; compile with neuron='bif'"):
        snnir.export_nir(program, tmp_path / "a.nir", mode="lossy", calibration=x)


def test_memory_images_hold_few_spike_populations(made: tuple[Program, np.ndarray]) -> None:
    program, x = made
    files = memory_files(snnir.bundle(program, x, samples=1))
    registers = json.loads(files["map.json"])["registers"]
    few = [facts for facts in registers.values() if str(facts["kind"]).startswith("few-spikes")]
    assert few and all({"start", "bits", "omitted", "lowest", "highest"} <= set(facts) for facts in few)


def test_options_of_bif_neurons_are_refused(made: tuple[Program, np.ndarray]) -> None:
    program, x = made
    with pytest.raises(UsageError, match="take the steps of their schedule"):
        program.run(x, steps=3)
    with pytest.raises(UsageError, match="choose reset"):
        program.run(x, execution="carry")
    with pytest.raises(UsageError, match="choose relay or graded"):
        program.run(x, delivery="replay")
