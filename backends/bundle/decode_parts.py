"""What ops of a manifest are made of: trains, maps, synapses. The schema says which fields there are; sizes are checked here."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from snnir.backends.bundle.fields import LARGEST_TRAIN, Fields
from snnir.backends.bundle.tensors import TensorReader
from snnir.errors import GraphError
from snnir.ir.ops.affine import MOST_GAIN
from snnir.ir.types import Quantization
from snnir.machine.program import IndexMap, Synapse, Train

__all__ = ["PartsDecoder"]

_GEOMETRY = ("stride", "padding", "dilation")
_LISTS = {"list": ("rows", "columns"), "csr": ("targets", "offsets")}


class PartsDecoder:
    """Reads parts of the ops of one body; `trains` are those that ops may read, `names` all that are taken."""

    def __init__(self, tensors: TensorReader, trains: dict[str, Train], names: set[str]) -> None:
        self.tensors, self.trains, self.names = tensors, trains, names

    def fail(self, fields: Fields, problems: Iterable[str]) -> None:
        """Raise `FileFormatError` for the first of some problems, if there is one."""
        for problem in problems:
            raise fields.error(problem)

    def flat(self, name: str) -> np.ndarray:
        """A tensor of integers, int64 [n]."""
        return self.tensors.integers(name).reshape(-1)

    def sums(self, fields: Fields) -> Train:
        """The name and shape of what only sums: it emits nothing."""
        return Train(self._name(fields), self._shape(fields), 0, 0, 1.0)

    def train(self, fields: Fields, enter: bool = True) -> Train:
        """A train; with `enter`, ops may read it from now on."""
        name, shape = self._name(fields), self._shape(fields)
        try:
            levels = Quantization(float(fields["scale"]), *fields["levels"])
        except (ValueError, OverflowError, GraphError) as error:
            raise fields.error(str(error)) from error
        train = Train(name, shape, levels.lo, levels.hi, levels.scale)
        if enter:
            self.trains[name] = train
        return train

    def known(self, fields: Fields, name: str, size: int | None = None) -> Train:
        """A train that is there, of `size` addresses."""
        if name not in self.trains:
            raise fields.error(f"train {name[:80]!r} is not there yet")
        if size is not None and self.trains[name].size != size:
            raise fields.error(f"train {name[:80]!r} has {self.trains[name].size} addresses, not {size}")
        return self.trains[name]

    def map(self, fields: Fields) -> IndexMap:
        """A map; what reads it checks its size and range."""
        if "table" in fields:
            return IndexMap(table=self.flat(fields["table"]))
        return IndexMap(tuple((count, stride) for count, stride in fields["dims"]), fields["offset"])

    def sized_map(self, fields: Fields, size: int, least: int, end: int) -> IndexMap:
        """A map of `size` integers in least..end - 1."""
        found = self.map(fields)
        if not found.reaches(size, least, end):
            raise fields.error(f"a map of {found.size} integers; {size} in {least}..{end - 1} are needed")
        return found

    def summing(self, fields: Fields) -> tuple[tuple[Synapse, ...], np.ndarray, IndexMap]:
        """The synapses of what sums, and what it starts with."""
        synapses = tuple(self._synapse(item) for item in fields.objects("synapses"))
        return synapses, self.flat(fields["initial"]), self.map(fields.object("initial_map"))

    def _synapse(self, fields: Fields) -> Synapse:
        kind, inputs = fields["kind"], tuple(fields["inputs"])
        source = self.known(fields, fields["source"], math.prod(inputs)).name
        weights = self.tensors.integers(fields["weights"])
        if not weights.ndim:
            raise fields.error("its weights are one number")
        more: dict[str, object] = {key: tuple(fields[key]) for key in _GEOMETRY if key in fields}
        more |= {key: self.map(fields.object(key)) for key in ("weight_map", "spread") if key in fields}
        if kind in _LISTS:
            more |= {key: self.flat(fields[stored]) for key, stored in zip(("rows", "columns"), _LISTS[kind], strict=True)}
        if "groups" in fields:
            more["groups"] = fields["groups"]
        if "gain" in fields:
            more["gain"] = gain = self.flat(fields["gain"])
            if not gain.size or gain.max() > MOST_GAIN or gain.min() < 0:
                raise fields.error(f"gains are 0 to {MOST_GAIN}")
            if weights.size and max(-int(weights.min()), int(weights.max())) << int(gain.max()) >= 1 << 62:
                raise fields.error("weights times their gain have more than 62 bits")
        return Synapse(fields["name"], source, kind, weights, inputs, tuple(fields["outputs"]), **more)  # type: ignore[arg-type]

    def _name(self, fields: Fields) -> str:
        name: str = fields["name"]
        if name in self.names:
            raise fields.error(f"two things are called {name[:80]!r}")
        self.names.add(name)
        return name

    def _shape(self, fields: Fields) -> tuple[int, ...]:
        shape = tuple(fields["shape"])
        if math.prod(shape) > LARGEST_TRAIN:
            raise fields.error(f"shape {list(shape)} has more than {LARGEST_TRAIN} addresses")
        return shape
