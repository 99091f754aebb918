"""The committed vision transformer as exact spiking networks on Fashion-MNIST's test images; no torch is needed.

python -m examples.vit.evaluate [--neuron few-spikes bif] [--bits 8 6 5 4] [--images 1000] [--verify 100]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from examples.transformers.evaluation import NEURONS, Data, main
from examples.vit.data import FOLDER, fashion

MODEL = Path(__file__).parent / "artefacts" / "vit.onnx"
CALIBRATION = 512


def data(folder: Path = FOLDER) -> Data:
    """The test images, and the first training images for calibration."""
    (x, labels), (train, _) = fashion("t10k", folder), fashion("train", folder)
    return Data(x, labels, train[:CALIBRATION])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--neuron", nargs="+", choices=NEURONS, default=list(NEURONS))
    parser.add_argument("--bits", type=int, nargs="+", default=[8, 6, 5, 4])
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--verify", type=int, default=100, help="images on which every integer is compared")
    parser.add_argument("--data", type=Path, default=FOLDER, help="the folder of Fashion-MNIST's four files")
    parser.add_argument("--output", type=Path, default=Path("out/vit.json"))
    given = parser.parse_args()
    sys.exit(main(MODEL, data(given.data), given.neuron, given.bits, given.images, given.verify, given.output))
