"""Golden vectors: input samples, settled counts and every event, as the simulator made them, for others to be held against.

Events of one train are three packed lists: how many there are in each (sample, window, step), and their addresses and
values, in that order and by address.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from snnir.backends.bundle.fields import Fields
from snnir.backends.bundle.tensors import TensorReader, TensorWriter
from snnir.errors import FileFormatError
from snnir.machine.program import Input, IntegerProgram, Readout, emitting

__all__ = ["Events", "Golden", "decode_golden", "encode_golden"]


@dataclass(frozen=True, eq=False)
class Events:
    """Rows (sample, window, step, address, value), sorted; int64 [events, 5]. Outside scans the window is 0."""

    rows: np.ndarray
    windows: int
    steps: int

    @staticmethod
    def of(train: np.ndarray) -> Events:
        """The events of a dense train [N, steps, n] or [N, windows, steps, n]."""
        whole = train if train.ndim == 4 else train[:, np.newaxis]
        places = np.argwhere(whole)
        values = whole[tuple(places.T)]
        steps = int(places[:, 2].max(initial=-1)) + 1
        return Events(np.concatenate([places, values[:, np.newaxis]], axis=1), whole.shape[1], steps)


@dataclass
class Golden:
    """`inputs`: levels [N, n] or [N, windows, n] by the names of input trains, `reals` what they were rounded from (float32);
    `counts`: settled tracers and sums by name, in the same shapes; `events` by name."""

    samples: int
    inputs: dict[str, np.ndarray] = field(default_factory=dict)
    reals: dict[str, np.ndarray] = field(default_factory=dict)
    counts: dict[str, np.ndarray] = field(default_factory=dict)
    events: dict[str, Events] = field(default_factory=dict)


def encode_golden(golden: Golden, tensors: TensorWriter) -> dict[str, object]:
    """The manifest's part about golden vectors; their data goes to `tensors`."""
    events = {}
    for name, train in sorted(golden.events.items()):
        cells = golden.samples * train.windows * train.steps
        place = (train.rows[:, 0] * train.windows + train.rows[:, 1]) * train.steps + train.rows[:, 2]
        events[name] = {
            "windows": train.windows,
            "steps": train.steps,
            "sizes": tensors.integers(np.bincount(place, minlength=cells)),
            "addresses": tensors.integers(train.rows[:, 3]),
            "values": tensors.integers(train.rows[:, 4]),
        }
    return {
        "samples": golden.samples,
        "inputs": {name: tensors.integers(levels) for name, levels in sorted(golden.inputs.items())},
        "reals": {name: tensors.reals(values.astype(np.float32)) for name, values in sorted(golden.reals.items())},
        "counts": {name: tensors.integers(counts) for name, counts in sorted(golden.counts.items())},
        "events": events,
        "tensors": tensors.facts,
    }


def decode_golden(fields: Fields, tensors: TensorReader, program: IntegerProgram) -> Golden:
    """What `encode_golden` wrote, checked against the program. Raises `FileFormatError`."""
    known = emitting(program)
    golden = Golden(fields["samples"])
    for key, table in (("inputs", golden.inputs), ("reals", golden.reals), ("counts", golden.counts)):
        part = fields.object(key)
        for name in list(part.value):
            tensor = part[name]
            if name not in known or (key != "counts" and not isinstance(known[name][0], Input)):
                raise part.error(f"{name[:80]!r} is not among what the program has")
            op, windows = known[name]
            shape = [golden.samples, *(() if windows is None else (windows,)), op.train.size]
            if tensors.shape(tensor) != shape:
                raise part.error(f"{name[:80]!r} is {tensors.shape(tensor)}; the program has {shape}")
            table[name] = tensors.reals(tensor) if key == "reals" else tensors.integers(tensor)
    part = fields.object("events")
    for name in list(part.value):
        if name not in known or isinstance(known[name][0], Readout):
            raise part.error(f"{name[:80]!r} is not among what the program emits")
        golden.events[name] = _events(part.object(name), tensors, golden.samples, known[name][1] or 1)
    missing = {name for name, (op, _) in known.items() if isinstance(op, Input)} - set(golden.inputs)
    if missing:
        raise fields.error(f"levels of input {min(missing)!r} are missing")
    return golden


def _events(fields: Fields, tensors: TensorReader, samples: int, expected: int) -> Events:
    windows, steps = fields["windows"], fields["steps"]
    if windows != expected:
        raise fields.error(f"it has {windows} windows; the program has {expected}")
    names = [fields[key] for key in ("sizes", "addresses", "values")]
    if tensors.size(names[0]) != samples * windows * steps or tensors.size(names[1]) != tensors.size(names[2]):
        raise fields.error("its lists of events do not fit together")
    sizes, addresses, values = (tensors.integers(name).reshape(-1) for name in names)
    if sizes.min(initial=0) < 0 or math.fsum(sizes) != addresses.size:
        raise FileFormatError(f"its manifest: {fields.what}: {addresses.size} events where its sizes say otherwise")
    place = np.repeat(np.arange(sizes.size), sizes)
    per_sample = max(windows * steps, 1)
    rows = [place // per_sample, place % per_sample // max(steps, 1), place % max(steps, 1), addresses, values]
    return Events(np.stack(rows, axis=1), windows, steps)
