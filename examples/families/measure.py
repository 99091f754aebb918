"""Rate-coded conversion of the committed network beside the exact paths, on the first test images of Fashion-MNIST.

    python -m examples.families.measure [--model FILE] [--images 300] [--steps 4 8 16 32 64 128] [--recipes NAME ...]

Every recipe runs on the same images. A row holds the share of right answers, the share that agrees with the float network,
spikes and synaptic operations an image. `--verify` images are compared with the plain interpreter, spike by spike.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

import snnir
from examples.vit.data import FOLDER, fashion

__all__ = ["EXACT", "RECIPES", "measured"]

ARTEFACTS = Path(__file__).parent / "artefacts"
CALIBRATION = 512

RECIPES: dict[str, dict[str, Any]] = {
    "largest activation": {"method": "minmax", "initial": 0},
    "99.9 percentile": {"method": "percentile", "initial": 0},
    "largest + shift": {"method": "minmax", "initial": 0, "shift": 50},
    "local balancing": {"method": "balance"},
    "+ channels": {"method": "balance-channels"},
    "+ delay": {"method": "balance-channels", "first_step": -1},
}
"""Options of neurons on a clock by the names of the page: Rueckauer et al. (2017), Deng and Gu (2021), Bu, Li and Yu (2024)."""
EXACT: dict[str, dict[str, Any]] = {
    "exact bif, 4 bits": {},
    "exact few-spikes, 4 bits": {"neuron": "few-spikes"},
    "exact few-spikes, 8 bits": {"neuron": "few-spikes", "bits": 8},
}


def measured(name: str, program: snnir.Program, x: np.ndarray, labels: np.ndarray, float_: np.ndarray) -> dict[str, Any]:
    """A row of the table."""
    began = time.process_time()
    result = program.run(x)
    answers = next(iter(result.outputs.values())).argmax(axis=1)
    return {
        "name": name,
        "accuracy": float((answers == labels).mean()),
        "agreement": float((answers == float_).mean()),
        "spikes": float(result.total_spikes.mean()),
        "operations": float(result.total_synops.mean()),
        "steps_used": int(result.steps.max(initial=0)),
        "cpu_seconds": time.process_time() - began,
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=ARTEFACTS / "plain.onnx")
    parser.add_argument("--clipped", type=Path, default=ARTEFACTS / "clipped.onnx", help="the network with clipped activations")
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--steps", type=int, nargs="+", default=[4, 8, 16, 32, 64, 128])
    parser.add_argument("--recipes", nargs="+", choices=[*RECIPES, *EXACT, "clipped + shift"])
    parser.add_argument(
        "--verify", type=int, default=1, help="images on which every spike is compared with the plain interpreter"
    )
    parser.add_argument("--data", type=Path, default=FOLDER, help="the folder of Fashion-MNIST's four files")
    parser.add_argument("--output", type=Path, default=Path("out/families.json"))
    given = parser.parse_args()
    x, labels = (array[: given.images] for array in fashion("t10k", given.data))
    calibration = fashion("train", given.data)[0][:CALIBRATION]
    rows: list[dict[str, Any]] = []
    float_ = np.zeros(0, np.int64)

    def enter(name: str, model: Path, steps: int | None, options: dict[str, Any]) -> None:
        nonlocal float_
        program = snnir.compile(model, calibration=calibration, check=False, **options)
        if not rows:
            float_ = next(iter(program.reference(x, "float").values())).argmax(axis=1)
            rows.append({"name": "float", "accuracy": float((float_ == labels).mean())})
        row = measured(name, program, x, labels, float_) | {"steps": steps}
        if given.verify:
            found = program.verify(x[: given.verify])
            row |= {"compared": found.compared, "differences": found.mismatches, "distance": found.distance_to_levels}
        rows.append(row)
        given.output.parent.mkdir(parents=True, exist_ok=True)
        given.output.write_text(json.dumps({"images": len(x), "rows": rows}, indent=1) + "\n", encoding="utf-8")
        print({key: value for key, value in row.items() if key != "distance"}, flush=True)

    wanted = given.recipes or [*EXACT, *RECIPES, *(["clipped + shift"] if given.clipped.exists() else [])]
    for name in wanted:
        if name in EXACT:
            enter(name, given.model, None, EXACT[name])
            continue
        model, options = (
            (given.clipped, RECIPES["largest + shift"]) if name == "clipped + shift" else (given.model, RECIPES[name])
        )
        for steps in given.steps:
            enter(name, model, steps, {"neuron": "if", "steps": steps, **options})


if __name__ == "__main__":
    main()
