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
from snnir.backends.bundle.hardware.planes import last_bits, plane_events
from snnir.backends.bundle.hardware.traces import arrivals
from snnir.backends.bundle.unroll import unroll_synapse
from snnir.errors import UsageError
from snnir.machine.program import FewSpikes, IntegerProgram, Population, Scan, walk
from snnir.machine.ranges import bits_of

__all__ = ["CORE", "FEW_CORE", "TESTBENCH", "layer_files"]

CORE = "snnir_population.v"
FEW_CORE = "snnir_few_spikes.v"
TESTBENCH = "snnir_testbench.v"
_LARGEST = 1 << 24
"""Synapses of one population, written out."""


def layer_files(bundle: Bundle) -> dict[str, str]:
    """The core, its testbench, and for every population a folder with `layer.vh`, images, map and traces, by file name.

    Raises `UsageError` where the bundle has no golden vectors or no population, or a population is too large to write out.
    """
    if bundle.golden is None:
        raise UsageError("the bundle has no golden vectors to run the Verilog core from; make it with --samples")
    populations = [(op, windows) for op, windows in walk(bundle.program.ops) if isinstance(op, Population | FewSpikes)]
    if not populations:
        raise UsageError("the program has no population to run on the Verilog core")
    trains = arrivals(bundle.program, bundle.golden)
    folder = files("snnir.backends.bundle.hardware") / "verilog"
    cores = sorted({FEW_CORE if isinstance(op, FewSpikes) else CORE for op, _ in populations})
    found = {name: (folder / name).read_text(encoding="utf-8") for name in (*cores, TESTBENCH)}
    ends = last_bits(bundle.program, bundle.golden) if bundle.program.few else {}
    for number, (op, windows) in enumerate(populations):
        planes = Planes.of(ends[op.train.name], _fed_back(bundle.program, op), op) if isinstance(op, FewSpikes) else None
        layer = _layer(bundle, op, windows or 1, trains[op.train.name], bundle.golden, planes)
        found.update({f"{number:02d}_{file_name(op.train.name)}/{name}": text for name, text in layer.items()})
    return found


@dataclass(frozen=True, eq=False)
class Planes:
    """The steps after the last bits of the sources of a few-spike population, by source [n], and the groups of equal ones.

    Group g > 0 is that of `groups[g - 1]`; addresses whose events are graded are in group 0.
    """

    ends: Mapping[str, np.ndarray]
    groups: tuple[int, ...]

    @staticmethod
    def of(ends: Mapping[str, np.ndarray], back: str | None, op: FewSpikes) -> Planes:
        """The groups of a population; `back` is the source that the core feeds back itself, bit by bit."""
        found = {source: np.full_like(last, op.train.bits) if source == back else last for source, last in ends.items()}
        return Planes(found, tuple(sorted({int(end) for last in found.values() for end in np.unique(last)} - {0})))

    def group(self, end: int) -> int:
        """The group of sources with that last step."""
        return 1 + self.groups.index(end) if end else 0


def _layer(
    bundle: Bundle,
    op: Population | FewSpikes,
    windows: int,
    trains: dict[str, list[np.ndarray]],
    golden: Golden,
    planes: Planes | None,
) -> dict[str, str]:
    name, registers = op.train.name, bundle.bounds.registers[op.train.name]
    table = _table(op, trains, gains=planes is not None)
    back = _fed_back(bundle.program, op)
    bits = {register: bits_of(registers[register]) for register in ("membrane", "tracer")}
    if planes is not None:
        bits |= _few_bits(op, table, planes, registers["membrane"], bundle)
    images = _images(op, table, bits["membrane"], planes)
    width = {image.facts["role"]: image.bits for image in images}
    events = [bundle.bounds.trains[source]["events"] for source in trains]
    steps = 1 + max(bundle.settling.steps[source] for source in (name, *trains))
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
        "GROUP_BITS": 1,
    }
    core, define = CORE, ""
    if planes is not None and isinstance(op, FewSpikes):
        core, define = FEW_CORE, "`define FEW_SPIKES\n"
        parameters |= {
            "GROUPS": max(len(planes.groups), 1),
            "GROUP_BITS": max(len(planes.groups), 1).bit_length(),
            "GAIN_BITS": width["gains"],
            "GAIN_MOST": int(table.gains.max(initial=0)),
            "PLANE_BITS": bits["planes"],
            "BITS": op.train.bits,
            "TOLD": len(op.bits),
            "START": op.start_step,
            "RELAY_BITS": op.train.bits,
            "RELAY_GROUP": planes.group(op.train.bits) if back is not None else 1,
        }
    sources = "".join(f"// {plain(source)} from address {base} on\n" for source, base in table.bases.items())
    header = f"// {plain(name)}: parameters of {core}, and what {TESTBENCH} runs. Events come in at these addresses:\n{sources}"
    lines = define + "".join(f"localparam {key} = {value};\n" for key, value in parameters.items())
    return {
        **image_files(images, name, {name: register_facts(bundle, op)}),
        "layer.vh": header + lines,
        "stimulus.txt": _stimulus(table.bases, trains, back, planes),
        "expected.txt": "".join("{} {} {} {} {}\n".format(*row) for row in golden.events[name].rows.tolist()),
    }


def _few_bits(
    op: Population | FewSpikes, table: _Table, planes: Planes, certified: tuple[int, int], bundle: Bundle
) -> dict[str, int]:
    """The bits of sums and of sums of planes: of any part of what may arrive, and of any prefix of its bits."""
    lows, highs = np.zeros(table.addresses, np.int64), np.zeros(table.addresses, np.int64)
    grouped = np.zeros(table.addresses, bool)
    for source, base in table.bases.items():
        low, high = bundle.bounds.trains[source]["tracer"]
        own = slice(base, base + planes.ends[source].size)
        lows[own], highs[own], grouped[own] = min(low, 0), max(high, 0), planes.ends[source] > 0
    address = np.repeat(np.arange(table.addresses), np.diff(table.rows))
    weight = np.left_shift(table.weights, table.gains)
    ends = np.stack([weight * lows[address], weight * highs[address]])
    least, most = np.minimum(ends.min(axis=0, initial=0), 0), np.maximum(ends.max(axis=0, initial=0), 0)

    def reach(values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        found = np.zeros(op.train.size, np.int64)
        np.add.at(found, table.targets[chosen], values[chosen])
        return found

    every = np.ones(address.shape, bool)
    start = _start(op)
    whole = start + reach(least, every), start + reach(most, every)
    held = min(certified[0], int(whole[0].min(initial=0))), max(certified[1], int(whole[1].max(initial=0)))
    bits = grouped[address]
    sums = int(reach(least, bits).min(initial=0)), int(reach(most, bits).max(initial=0))
    return {"membrane": bits_of(held), "planes": max(bits_of(sums), 2)}


@dataclass(frozen=True, eq=False)
class _Table:
    """All synapses of a population as one address-event list; sources have addresses from `bases` on."""

    bases: dict[str, int]
    addresses: int
    rows: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    gains: np.ndarray
    """By how many bits a weight is shifted; 0 where the weights hold that."""


def _table(op: Population | FewSpikes, sources: Mapping[str, list[np.ndarray]], gains: bool) -> _Table:
    bases, addresses = {}, 0
    for source, windows in sources.items():
        bases[source] = addresses
        addresses += windows[0].shape[2]
    total = 0
    parts = [np.zeros((0, 4), np.int64)]
    for synapse in op.synapses:
        lists = unroll_synapse(synapse)
        assert lists.rows is not None and lists.columns is not None
        total += lists.weights.size
        if total > _LARGEST:
            raise UsageError(f"{op.train.name}: more than {_LARGEST:,} synapses; write memory images (--emit hex) instead")
        address = np.repeat(np.arange(len(lists.columns) - 1), np.diff(lists.columns)) + bases[synapse.source]
        shifts = np.zeros_like(lists.weights, dtype=np.int64)
        if gains and lists.gain is not None:
            shifts = np.broadcast_to(lists.gain, lists.weights.shape)
        parts.append(np.stack([address, lists.rows, lists.weights if gains else lists.expanded(), shifts], axis=1))
    entries = np.concatenate(parts)
    entries = entries[np.lexsort((entries[:, 1], entries[:, 0]))]
    rows = np.concatenate([[0], np.cumsum(np.bincount(entries[:, 0], minlength=addresses))]).astype(np.int64)
    return _Table(bases, addresses, rows, entries[:, 1], entries[:, 2], entries[:, 3])


def _start(op: Population | FewSpikes) -> np.ndarray:
    """The membrane that every neuron starts with."""
    initial: np.ndarray = op.initial[op.initial_map.array()]
    return initial if op.staircase else initial + op.theta[op.theta_map.array()] // 2


def _images(op: Population | FewSpikes, table: _Table, membrane_bits: int, planes: Planes | None) -> list[Image]:
    levels = op.theta.shape[1] if op.staircase else 1
    theta = op.theta.reshape(-1)
    bases = op.theta_map.array() * levels

    def image(role: str, values: np.ndarray, what: str, signed: bool, least: int) -> Image:
        whole = values if values.size else np.zeros(1, np.int64)  # a memory has a word at least
        return Image.of(f"{role}.memh", whole, what, signed, least, {"population": op.train.name, "role": role})

    steps = "level LOWEST + 1 + j of a parameter row, [parameters][j]" if op.staircase else "threshold of a parameter row"
    few = []
    if planes is not None:
        ends = np.array(planes.groups, np.int64)
        few = [
            image("gains", table.gains, "by how many bits the weight of synapse k is shifted to the left", False, 1),
            image("ends", ends, "step after the last bit of the sources of group g + 1", False, 1),
        ]
    return [
        *few,
        image("rows", table.rows, "first synapse of address a; one word more than addresses", False, 1),
        image("targets", table.targets, "neuron of synapse k", False, (op.train.size - 1).bit_length()),
        image("weights", table.weights, "weight of synapse k", True, 2),
        image("threshold_bases", bases, "first word of the thresholds of neuron i", False, max(theta.size - 1, 1).bit_length()),
        image("thresholds", theta, steps, True, 2),
        image("initial", _start(op), "membrane that neuron i starts with", True, membrane_bits),
    ]


def _fed_back(program: IntegerProgram, op: Population | FewSpikes) -> str | None:
    """The source that is this population's own window before, where the core can feed it back itself: by relay."""
    if program.delivery != "relay" or program.carry:
        return None
    for scan in program.ops:
        if isinstance(scan, Scan) and op in scan.ops:
            own = [state.input.name for state in scan.states if state.following == op.train.name]
            used = {synapse.source for synapse in op.synapses}
            return next((name for name in own if name in used), None)
    return None


def _stimulus(bases: Mapping[str, int], trains: Mapping[str, list[np.ndarray]], back: str | None, planes: Planes | None) -> str:
    """All events as lines; the fed back ones of the first window only, which is what the state starts with."""
    parts = [np.zeros((0, 6), np.int64)]
    for source, base in bases.items():
        for window, train in enumerate(trains[source]):
            if source == back and window > 0:
                continue
            sample, step, address = np.nonzero(train)
            rows = np.stack([sample, np.full_like(sample, window), step, address, train[sample, step, address]], axis=1)
            groups = np.zeros(len(rows), np.int64)
            if planes is not None:
                rows[:, 4], last = plane_events(source, rows, planes.ends[source])
                groups = np.array([planes.group(int(end)) for end in last], np.int64)
            rows[:, 3] += base
            parts.append(np.concatenate([rows, groups.reshape(-1, 1)], axis=1))
    events = np.concatenate(parts)
    events = events[np.lexsort(events.T[::-1])]
    return "".join("{} {} {} {} {} {}\n".format(*row) for row in events.tolist())
