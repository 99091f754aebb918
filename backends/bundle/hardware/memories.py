"""The whole program as memory images: every synapse in the form that the bundle has it in, thresholds, starting sums."""

from __future__ import annotations

import numpy as np

from snnir.backends.bundle.bundle import Bundle
from snnir.backends.bundle.hardware.images import Image, file_name, image_files
from snnir.backends.bundle.resources import weight_bits
from snnir.machine.program import Population, Readout, Synapse, walk
from snnir.machine.ranges import bits_of

__all__ = ["memory_files", "register_facts"]

_LAYOUTS = {
    "dense": "weight [output][input]",
    "conv": "weight [output channel][input channel of its group][kernel ...]",
    "one": "weight, by weight_map",
    "list": "weight of synapse k",
    "csr": "weight of synapse k, sorted by input address",
}


def memory_files(bundle: Bundle) -> dict[str, str]:
    """The images of all populations and readouts, and their map, by file name."""
    images: list[Image] = []
    summing = [op for op, _ in walk(bundle.program.ops) if isinstance(op, Population | Readout)]
    for number, op in enumerate(summing):
        images += _images(op, f"{number:02d}_{file_name(op.train.name)}")
    return image_files(images, bundle.program.name, {op.train.name: register_facts(bundle, op) for op in summing})


def register_facts(bundle: Bundle, op: Population | Readout) -> dict[str, object]:
    """What a machine needs to know of a population or readout beside its memories; widths as certified."""
    kind = "readout" if isinstance(op, Readout) else "staircase" if op.staircase else "uniform"
    facts: dict[str, object] = {"kind": kind, "neurons": op.train.size}
    if isinstance(op, Population):
        facts |= {"lowest": op.train.lo, "highest": op.train.hi}
    return facts | {f"{name}_bits": bits_of(held) for name, held in bundle.bounds.registers[op.train.name].items()}


def _images(op: Population | Readout, stem: str) -> list[Image]:
    whose = {"population" if isinstance(op, Population) else "readout": op.train.name}
    found = [image for k, synapse in enumerate(op.synapses) for image in _synapse(synapse, f"{stem}.synapse{k}", whose)]

    def add(part: str, values: np.ndarray, what: str, signed: bool = True) -> None:
        found.append(Image.of(f"{stem}.{part}.memh", values, what, signed, facts={"role": part, **whose}))

    add("initial", op.initial[op.initial_map.array()], "starting sum b of neuron i")
    if isinstance(op, Population):
        if op.staircase:
            add("thresholds", op.theta, f"staircase: least sum of level {op.train.lo + 1} + j, [parameters][j]")
        else:
            add("thresholds", op.theta, "threshold of parameter row r")
        add("threshold_rows", op.theta_map.array(), "parameter row of neuron i", False)
    return found


def _synapse(synapse: Synapse, stem: str, whose: dict[str, str]) -> list[Image]:
    facts: dict[str, object] = {**whose, "synapse": synapse.name, "source": synapse.source, "kind": synapse.kind}
    geometry = {
        "inputs": list(synapse.inputs),
        "outputs": list(synapse.outputs),
        "groups": synapse.groups,
        "stride": list(synapse.stride),
        "padding": list(synapse.padding),
        "dilation": list(synapse.dilation),
    }
    bits = weight_bits(synapse)
    what = _LAYOUTS[synapse.kind]
    weights = {"role": "weights", **facts, "geometry": geometry}
    found = [Image.of(f"{stem}.weights.memh", synapse.weights, what, least=bits, facts=weights)]

    def add(part: str, values: np.ndarray, what: str) -> None:
        found.append(Image.of(f"{stem}.{part}.memh", values, what, False, facts={"role": part, **facts}))

    if synapse.gain is not None:
        add("gain", synapse.gain, "by how many bits what a weight adds is shifted: one for all, or one for each [output]")
    if synapse.weight_map is not None:
        add("weight_map", synapse.weight_map.array(), "which weight event i has")
    if synapse.rows is not None and synapse.columns is not None:
        if synapse.kind == "csr":
            add("targets", synapse.rows, "current that synapse k adds to")
            add("offsets", synapse.columns, "first synapse of input address a; one word more than addresses")
        else:
            add("rows", synapse.rows, "current that synapse k adds to")
            add("columns", synapse.columns, "input address of synapse k")
    if synapse.spread is not None:
        add("spread", synapse.spread.array(), "which current neuron i gets")
    return found
