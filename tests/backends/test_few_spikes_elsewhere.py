"""What has no few-spike neurons refuses them by name; files and reports keep them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import snnir
from snnir.backends.bundle.hardware.layers import layer_files
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


def test_nir_and_the_verilog_core_refuse_by_name(made: tuple[Program, np.ndarray], tmp_path: Path) -> None:
    program, x = made
    with pytest.raises(UnsupportedError, match="NIR has no neuron that waits until its input is complete"):
        snnir.export_nir(program, tmp_path / "a.nir")
    with pytest.raises(UsageError, match="the Verilog core is of bif neurons"):
        layer_files(snnir.bundle(program, x, samples=1))


def test_options_of_bif_neurons_are_refused(made: tuple[Program, np.ndarray]) -> None:
    program, x = made
    with pytest.raises(UsageError, match="take the steps of their schedule"):
        program.run(x, steps=3)
    with pytest.raises(UsageError, match="choose reset"):
        program.run(x, execution="carry")
    with pytest.raises(UsageError, match="choose relay or graded"):
        program.run(x, delivery="replay")
