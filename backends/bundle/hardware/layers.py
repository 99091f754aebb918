"""Populations for the Verilog core, each with its images, parameters and golden traces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

import numpy as np

from snnir.backends.bundle.bundle import Bundle
from snnir.backends.bundle.golden import Golden
from snnir.backends.bundle.hardware.images import Image, file_name, image_files, plain
from snnir.backends.bundle.hardware.memories import register_facts
from snnir.backends.bundle.hardware.traces import arrivals
from snnir.backends.bundle.unroll import unroll_synapse
from snnir.errors import UsageError
from snnir.machine.program import IntegerProgram, Population, Scan, walk
from snnir.machine.ranges import bits_of

__all__ = ["CORE", "TESTBENCH", "layer_files"]

CORE = "snnir_population.v"
TESTBENCH = "snnir_testbench.v"
_LARGEST = 1 << 24
"""Synapses of one population, written out."""


def layer_files(bundle: Bundle) -> dict[str, str]:
    """The core, its testbench, and for every population a folder with `layer.vh`, images, map and traces, by file name.

    Raises `UsageError` where the bundle has no golden vectors or no population, or a population is too large to write out.
    """
    if bundle.golden is None:
        raise UsageError("the bundle has no golden vectors to run the Verilog core from; make it with --samples")
    populations = [(op, windows) for op, windows in walk(bundle.program.ops) if isinstance(op, Population)]
    if bundle.program.few:
        raise UsageError("the Verilog core is of bif neurons, and this program of few-spike neurons; compile with neuron='bif'")
    if not populations:
        raise UsageError("the program has no population to run on the Verilog core")
    trains = arrivals(bundle.program, bundle.golden)
    folder = files("snnir.backends.bundle.hardware") / "verilog"
    found = {name: (folder / name).read_text(encoding="utf-8") for name in (CORE, TESTBENCH)}
    for number, (op, windows) in enumerate(populations):
        layer = _layer(bundle, op, windows or 1, trains[op.train.name], bundle.golden)
        found.update({f"{number:02d}_{file_name(op.train.name)}/{name}": text for name, text in layer.items()})
    return found


def _layer(bundle: Bundle, op: Population, windows: int, trains: dict[str, list[np.ndarray]], golden: Golden) -> dict[str, str]:
    name, registers = op.train.name, bundle.bounds.registers[op.train.name]
    table = _table(op, trains)
    back = _fed_back(bundle.program, op)
    bits = {register: bits_of(registers[register]) for register in ("membrane", "tracer")}
    images = _images(op, table, bits["membrane"])
    width = {image.facts["role"]: image.bits for image in images}
    events = [bundle.bounds.trains[source]["events"] for source in trains]
    steps = 1 + max(bundle.schedule.steps[source] for source in (name, *trains))
    parameters = {
        "NEURONS": op.train.size,
        "NEURON_BITS": width["targets"],
        "ADDRESSES": table.addresses,
        "ADDRESS_BITS": max(table.addresses.bit_length(), 1),
        "SYNAPSES": max(table.weights.size, 1),
        "SYNAPSE_BITS": width["rows"],
        "THRESHOLDS": max(op.theta.size, 1),
        "THRESHOLD_BASE_BITS": width["threshold_bases"],
        "WEIGHT_BITS": width["weights"],
        "EVENT_BITS": max([2, *(bits_of(event) for event in events)]),
        "THRESHOLD_BITS": width["thresholds"],
        "MEMBRANE_BITS": bits["membrane"],
        "TRACER_BITS": bits["tracer"],
        "LOWEST": op.train.lo,
        "HIGHEST": op.train.hi,
        "STAIRCASE": int(op.staircase),
        "RELAY": int(back is not None),
        "RELAY_BASE": table.bases[back] if back is not None else 0,
        "SAMPLES": golden.samples,
        "WINDOWS": windows,
        "STEPS": steps,
        "CARRY": int(bundle.program.carry and windows > 1),
    }
    sources = "".join(f"// {plain(source)} from address {base} on\n" for source, base in table.bases.items())
    header = f"// {plain(name)}: parameters of {CORE}, and what {TESTBENCH} runs. Events come in at these addresses:\n{sources}"
    lines = "".join(f"localparam {key} = {value};\n" for key, value in parameters.items())
    return {
        **image_files(images, name, {name: register_facts(bundle, op)}),
        "layer.vh": header + lines,
        "stimulus.txt": _stimulus(table.bases, trains, back),
        "expected.txt": "".join("{} {} {} {} {}\n".format(*row) for row in golden.events[name].rows.tolist()),
    }


@dataclass(frozen=True, eq=False)
class _Table:
    """All synapses of a population as one address-event list; sources have addresses from `bases` on."""

    bases: dict[str, int]
    addresses: int
    rows: np.ndarray
    targets: np.ndarray
    weights: np.ndarray


def _table(op: Population, sources: Mapping[str, list[np.ndarray]]) -> _Table:
    bases, addresses = {}, 0
    for source, windows in sources.items():
        bases[source] = addresses
        addresses += windows[0].shape[2]
    total = 0
    parts = [np.zeros((0, 3), np.int64)]
    for synapse in op.synapses:
        lists = unroll_synapse(synapse)
        assert lists.rows is not None and lists.columns is not None
        total += lists.weights.size
        if total > _LARGEST:
            raise UsageError(f"{op.train.name}: more than {_LARGEST:,} synapses; write memory images (--emit hex) instead")
        address = np.repeat(np.arange(len(lists.columns) - 1), np.diff(lists.columns)) + bases[synapse.source]
        parts.append(np.stack([address, lists.rows, lists.expanded()], axis=1))
    entries = np.concatenate(parts)
    entries = entries[np.lexsort((entries[:, 1], entries[:, 0]))]
    rows = np.concatenate([[0], np.cumsum(np.bincount(entries[:, 0], minlength=addresses))]).astype(np.int64)
    return _Table(bases, addresses, rows, entries[:, 1], entries[:, 2])


def _images(op: Population, table: _Table, membrane_bits: int) -> list[Image]:
    levels = op.theta.shape[1] if op.staircase else 1
    theta = op.theta.reshape(-1)
    bases = op.theta_map.array() * levels
    initial = op.initial[op.initial_map.array()]
    start = initial if op.staircase else initial + op.theta[op.theta_map.array()] // 2

    def image(role: str, values: np.ndarray, what: str, signed: bool, least: int) -> Image:
        whole = values if values.size else np.zeros(1, np.int64)  # a memory has a word at least
        return Image.of(f"{role}.memh", whole, what, signed, least, {"population": op.train.name, "role": role})

    steps = "level LOWEST + 1 + j of a parameter row, [parameters][j]" if op.staircase else "threshold of a parameter row"
    return [
        image("rows", table.rows, "first synapse of address a; one word more than addresses", False, 1),
        image("targets", table.targets, "neuron of synapse k", False, (op.train.size - 1).bit_length()),
        image("weights", table.weights, "weight of synapse k", True, 2),
        image("threshold_bases", bases, "first word of the thresholds of neuron i", False, max(theta.size - 1, 1).bit_length()),
        image("thresholds", theta, steps, True, 2),
        image("initial", start, "membrane that neuron i starts with", True, membrane_bits),
    ]


def _fed_back(program: IntegerProgram, op: Population) -> str | None:
    """The source that is this population's own window before, where the core can feed it back itself: by relay."""
    if program.delivery != "relay" or program.carry:
        return None
    for scan in program.ops:
        if isinstance(scan, Scan) and op in scan.ops:
            own = [state.input.name for state in scan.states if state.following == op.train.name]
            used = {synapse.source for synapse in op.synapses}
            return next((name for name in own if name in used), None)
    return None


def _stimulus(bases: Mapping[str, int], trains: Mapping[str, list[np.ndarray]], back: str | None) -> str:
    """All events as lines; the fed back ones of the first window only, which is what the state starts with."""
    parts = [np.zeros((0, 5), np.int64)]
    for source, base in bases.items():
        for window, train in enumerate(trains[source]):
            if source == back and window > 0:
                continue
            sample, step, address = np.nonzero(train)
            columns = sample, np.full_like(sample, window), step, address + base, train[sample, step, address]
            parts.append(np.stack(columns, axis=1))
    events = np.concatenate(parts)
    events = events[np.lexsort(events.T[::-1])]
    return "".join("{} {} {} {} {}\n".format(*row) for row in events.tolist())
