"""The committed encoder of sentences as exact spiking networks on its test sentences; neither torch nor a download is needed.

python -m examples.bert.evaluate [--neuron few-spikes bif] [--bits 8 6 5 4] [--sentences 1706] [--verify 100]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from examples.transformers.evaluation import NEURONS, Data, main

ARTEFACTS = Path(__file__).parent / "artefacts"
MODEL = ARTEFACTS / "bert.onnx"


def data() -> Data:
    """The committed sentences, as numbers of words."""
    with np.load(ARTEFACTS / "sentences.npz") as archive:
        x, labels, calibration = (archive[name].astype(np.int64) for name in ("x", "y", "calibration"))
    return Data(x, labels, calibration)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--neuron", nargs="+", choices=NEURONS, default=list(NEURONS))
    parser.add_argument("--bits", type=int, nargs="+", default=[8, 6, 5, 4])
    parser.add_argument("--sentences", type=int, default=1706)
    parser.add_argument("--verify", type=int, default=100, help="sentences on which every integer is compared")
    parser.add_argument("--output", type=Path, default=Path("out/bert.json"))
    given = parser.parse_args()
    sys.exit(main(MODEL, data(), given.neuron, given.bits, given.sentences, given.verify, given.output))
