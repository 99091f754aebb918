"""The whole program as memory images: every synapse in the form that the bundle has it in, thresholds, starting sums."""

from __future__ import annotations

import numpy as np

from snnir.backends.bundle.bundle import Bundle
from snnir.backends.bundle.hardware.images import Image, file_name, image_files
from snnir.backends.bundle.resources import weight_bits
from snnir.errors import UnsupportedError
from snnir.machine.microprogram import FLAT_KINDS, Microprogram
from snnir.machine.program import (
    Accumulator,
    Difference,
    FewSpikes,
    Function,
    IntegrateFire,
    Population,
    Readout,
    RunningSum,
    Synapse,
    trains_of,
    walk,
)
from snnir.machine.ranges import bits_of

__all__ = ["memory_files", "register_facts"]

_LAYOUTS = {
    "dense": "weight [output][input]",
    "conv": "weight [output channel][input channel of its group][kernel ...]",
    "one": "weight, by weight_map",
    "list": "weight of synapse k",
    "csr": "weight of synapse k, sorted by input address",
}

_Sum = Population | FewSpikes | Readout | Accumulator | RunningSum


def memory_files(bundle: Bundle) -> dict[str, str]:
    """The images of all populations, readouts and functions, and their map, by file name.

    Raises `UnsupportedError` for integrate-and-fire neurons on a clock, which have none.
    """
    for op, _ in walk(bundle.program.ops):
        if isinstance(op, IntegrateFire):
            raise UnsupportedError(
                f"{op.train.name}: memory images hold bif and few-spike neurons, not integrate-and-fire neurons on a clock; "
                "compile with neuron='bif' or 'few-spikes'"
            )
    images: list[Image] = []
    summing = [op for op, _ in walk(bundle.program.ops) if isinstance(op, _Sum)]
    for number, op in enumerate(summing):
        images += _images(op, f"{number:02d}_{file_name(op.train.name)}")
    facts = {op.train.name: register_facts(bundle, op) for op in summing}
    functions = [op for op, _ in walk(bundle.program.ops) if isinstance(op, Function | Difference)]
    for number, function in enumerate(functions, len(summing)):
        own, facts[function.train.name] = _microcode(function, f"{number:02d}_{file_name(function.train.name)}", bundle)
        images += own
    return image_files(images, bundle.program.name, facts)


def _microcode(op: Function | Difference, stem: str, bundle: Bundle) -> tuple[list[Image], dict[str, object]]:
    """The program of a sequencer: what its registers hold at first, the steps on them, and the maps of their operands."""
    sizes = {train.name: train.size for other, _ in walk(bundle.program.ops) for train in trains_of(other)}
    flat = Microprogram()
    given = [(flat.room(sizes[name]), sizes[name]) for name in op.sources]
    result = flat.write(op.code, given)
    rows = np.array(flat.rows, np.int64).reshape(-1, 8)
    whose = {"function": op.train.name}
    parts = {
        "constants": (flat.registers(), "what register word i holds at first; sources and results are written over it", True),
        "code": (rows, "[step][kind, size, width, result, x, x_map, y, y_map]; kinds in the order of the map's `kinds`", True),
        "maps": (flat.register_maps(), "which register word entry i of an operand is; -1: zero", True),
    }
    images = [
        Image.of(f"{stem}.{part}.memh", values, what, signed, facts={"role": part, **whose})
        for part, (values, what, signed) in parts.items()
    ]
    kind = "function" if isinstance(op, Function) else "difference"
    facts: dict[str, object] = {"kind": kind, "neurons": op.train.size, "lowest": op.train.lo, "highest": op.train.hi}
    if isinstance(op, Function):
        facts |= {"start": op.start, "segment": op.segment}
    facts |= {"result": result, "kinds": list(FLAT_KINDS)}
    sources = [{"name": name, "register": at, "size": size} for name, (at, size) in zip(op.sources, given, strict=True)]
    return images, facts | {"sources": sources}


def register_facts(bundle: Bundle, op: _Sum) -> dict[str, object]:
    """What a machine needs to know of a population or readout beside its memories; widths as certified."""
    kind = _kind(op)
    facts: dict[str, object] = {"kind": kind, "neurons": op.train.size}
    if isinstance(op, Population | FewSpikes):
        facts |= {"lowest": op.train.lo, "highest": op.train.hi}
    if isinstance(op, FewSpikes):
        facts |= {"start": op.start_step, "bits": op.train.bits, "omitted": op.omitted}
    return facts | {f"{name}_bits": bits_of(held) for name, held in bundle.bounds.registers[op.train.name].items()}


def _kind(op: _Sum) -> str:
    if isinstance(op, Population | FewSpikes):
        kind = "staircase" if op.staircase else "uniform"
        return f"few-spikes {kind}" if isinstance(op, FewSpikes) else kind
    return {Readout: "readout", Accumulator: "accumulator", RunningSum: "running sum"}[type(op)]


def _images(op: _Sum, stem: str) -> list[Image]:
    whose = {"population" if isinstance(op, Population | FewSpikes) else _kind(op): op.train.name}
    found = [image for k, synapse in enumerate(op.synapses) for image in _synapse(synapse, f"{stem}.synapse{k}", whose)]

    def add(part: str, values: np.ndarray, what: str, signed: bool = True) -> None:
        found.append(Image.of(f"{stem}.{part}.memh", values, what, signed, facts={"role": part, **whose}))

    add("initial", op.initial[op.initial_map.array()], "starting sum b of neuron i")
    if isinstance(op, Population | FewSpikes):
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
