"""The trained transformers of the examples convert whole: every layer spikes, nothing differs, classes stay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import snnir
from examples.bert import evaluate as bert
from examples.transformers.evaluation import Data, runtime
from examples.vit import evaluate as vit

FEW = Path(vit.__file__).parent / "artefacts" / "few.npz"


def images() -> Data:
    """The committed part of Fashion-MNIST."""
    with np.load(FEW) as archive:
        x, calibration = (archive[name].astype(np.float32) / 255 for name in ("x", "calibration"))
        return Data(x, archive["y"], calibration)


@pytest.mark.parametrize(("name", "neuron"), [("vit", "few-spikes"), ("vit", "bif"), ("bert", "few-spikes")])
def test_a_trained_transformer_spikes_whole(name: str, neuron: str) -> None:
    path, data = (vit.MODEL, images()) if name == "vit" else (bert.MODEL, bert.data())
    program = snnir.compile(path, calibration=data.calibration[:64], bits=8, neuron=neuron, fit=False)
    share = program.facts.spiking_mac_share
    assert share is None or share >= 0.99
    x = data.x[:48]
    (reference,), (logits, _) = program.reference(x).values(), runtime(path, x)
    assert (reference.argmax(1) == logits.argmax(1)).mean() >= 0.95
    verification = program.verify(x[:3])
    assert verification.mismatches == 0 and verification.within_bounds
