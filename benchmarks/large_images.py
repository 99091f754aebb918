"""Networks of 224 x 224 pictures: how long they take to compile, to run and to verify, and in how much memory.

    python -m benchmarks.large_images [--only WORD ...] [--neuron few-spikes bif] [--bits 8] [--markdown FILE]

ResNet-18, ResNet-50 and MobileNetV2 as torchvision defines them, ViT-S as timm does (`pip install torchvision timm`), with random
weights and statistics of batch norm over drawn pictures. Each network and neuron is a process of its own, with one picture after
another: 4 for calibration, 1 that runs and is verified (every integer compared). Seconds are those of the processor, of all
threads together.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import snnir
from snnir.runtime.costs import dense_macs

NETWORKS = ("resnet18", "resnet50", "mobilenet_v2", "vit_small_patch16_224")
NEURONS = ("few-spikes", "bif")
_CALIBRATION = 4


def pictures(count: int, seed: int) -> np.ndarray:
    """Drawn pictures [count, 3, 224, 224] in -2..2, coarse patterns with a little noise."""
    generator = np.random.default_rng(seed)
    coarse = generator.uniform(-1.5, 1.5, (count, 3, 14, 14)).repeat(16, 2).repeat(16, 3)
    return (coarse + generator.normal(0, 0.2, coarse.shape)).astype(np.float32).clip(-2, 2)


def network(name: str) -> Any:
    """The module with random weights and statistics of batch norm over pictures."""
    import torch

    torch.manual_seed(0)
    if name.startswith("vit"):
        import timm

        return timm.create_model(name).eval()
    import torchvision

    module = getattr(torchvision.models, name)()
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.momentum = None  # the average over all batches
        module(torch.from_numpy(pictures(8, 1)))
    return module.eval()


def measured(name: str, neuron: str, bits: int) -> dict[str, Any]:
    """All figures of one network with one neuron."""
    import torch

    module, facts = network(name), {}
    x = pictures(1, 3)
    with torch.no_grad():
        expected = module(torch.from_numpy(x)).numpy()
    began = time.process_time()
    program = snnir.compile(module, calibration=pictures(_CALIBRATION, 2), bits=bits, neuron=neuron)
    facts["compile_seconds"], facts["compile_memory"] = time.process_time() - began, _memory()
    print(json.dumps(facts), flush=True)
    began = time.process_time()
    result = program.run(x)
    facts["run_seconds"], facts["run_memory"] = time.process_time() - began, _memory()
    (found,) = result.outputs.values()
    facts["correlation"] = float(np.corrcoef(found.reshape(-1), expected.reshape(-1))[0, 1])
    facts["spikes"], facts["steps"] = int(result.total_spikes.sum()), int(result.steps.sum())
    facts["synops"], facts["charges"] = int(result.total_synops.sum()), int(result.total_charges.sum())
    macs = dense_macs(program.graph("quantized"), {program.graph().inputs[0].name: x})
    facts["macs"], facts["share"] = macs.spiking + macs.host, macs.spiking_share
    print(json.dumps(facts), flush=True)
    began = time.process_time()
    verification = program.verify(x)
    facts["verify_seconds"], facts["memory"] = time.process_time() - began, _memory()
    facts["compared"], facts["mismatches"] = verification.compared, verification.mismatches
    facts["within_bounds"] = verification.within_bounds
    return facts


def _memory() -> float:
    """GiB that this process has held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def row(name: str, neuron: str, facts: Mapping[str, Any]) -> str:
    """A line of the table; what a stopped process did not reach stays empty."""

    def cell(key: str, form: str, factor: float = 1) -> str:
        return format(factor * facts[key], form) if key in facts else ""

    seconds = [cell(f"{key}_seconds", ".0f") for key in ("compile", "run", "verify")]
    per_mac = f"{facts['synops'] / facts['macs']:.2f}" if "synops" in facts else ""
    cells = [name, neuron, cell("macs", ".2f", 1e-9), cell("share", ".1f", 100), *seconds, cell("compile_memory", ".1f")]
    cells += [cell("memory", ".1f"), cell("spikes", ".1f", 1e-6), cell("steps", ","), per_mac, cell("correlation", ".4f")]
    wrong = f"{facts['mismatches']} of {facts['compared']:,}" if "compared" in facts else ""
    return "| " + " | ".join([*cells, wrong]) + " |"


HEAD = (
    "| network | neuron | 10^9 MACs | % spike | s: compile | run | verify | GiB: compile | all | 10^6 spikes | steps | "
    "operations a MAC | correlation | mismatches |\n" + "| --- " * 14 + "|"
)


def alone(name: str, neuron: str, bits: int, seconds: float) -> dict[str, Any]:
    """The figures of a process of its own, as far as it came."""
    command = [sys.executable, "-m", "benchmarks.large_images", "--one", name, neuron, "--bits", str(bits)]
    try:
        output = subprocess.run(command, stdout=subprocess.PIPE, timeout=seconds, check=False, text=True).stdout
    except subprocess.TimeoutExpired as stopped:
        output = (stopped.stdout or b"").decode() if isinstance(stopped.stdout, bytes) else stopped.stdout or ""
    lines = [line for line in output.splitlines() if line.startswith("{")]
    return dict(json.loads(lines[-1])) if lines else {}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; 1 where an integer is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[], help="only networks whose name holds one of these words")
    parser.add_argument("--neuron", nargs="+", choices=NEURONS, default=list(NEURONS))
    parser.add_argument("--bits", type=int, default=8)
    parser.add_argument("--minutes", type=float, default=15.0, help="the longest that one process may take")
    parser.add_argument("--json", type=Path, default=Path("out/large_images.json"))
    parser.add_argument("--markdown", type=Path, help="where the table is written")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.one:
        print(json.dumps(measured(*given.one, given.bits)))
        return 0
    results, lines = {}, [HEAD]
    for name in NETWORKS:
        if given.only and not any(word in name for word in given.only):
            continue
        for neuron in given.neuron:
            facts = results[f"{name} {neuron}"] = alone(name, neuron, given.bits, 60 * given.minutes)
            lines.append(row(name, neuron, facts))
            print(lines[-1], flush=True)
            given.json.parent.mkdir(parents=True, exist_ok=True)
            given.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    if given.markdown is not None:
        given.markdown.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return int(any(facts.get("mismatches") for facts in results.values()))


if __name__ == "__main__":
    sys.exit(main())
