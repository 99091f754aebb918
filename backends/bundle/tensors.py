"""Tensors of a bundle: integers packed to their width, real numbers as they are, each stored once in a safetensors file."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from snnir.backends.bundle.packing import least_bits, pack, packed_size, unpack
from snnir.errors import FileFormatError, UnsupportedError

__all__ = ["MOST_BITS", "WIDEST", "TensorReader", "TensorWriter"]

MOST_BITS = 48
"""The widest integers that a bundle holds: thresholds and biases; weights have at most 16 bits where they were quantized so."""
WIDEST = 64
"""The widest of all: constants of the microcode of functions."""
_REAL = {"f32": np.dtype(np.float32), "f64": np.dtype(np.float64)}


class TensorWriter:
    """Collects tensors and names them `t0`, `t1` ... in order of first use; equal ones share a name."""

    def __init__(self, prefix: str = "t") -> None:
        self.prefix = prefix
        self.facts: dict[str, dict[str, object]] = {}
        self.data: dict[str, np.ndarray] = {}
        self._known: dict[tuple[object, ...], str] = {}

    def integers(self, values: np.ndarray, least: int = 1, most: int = MOST_BITS) -> str:
        """Enter integers, packed to the fewest bits (`least` or more) that hold them all; returns the name.

        Raises `UnsupportedError` where they need more than `most`."""
        bits, signed = least_bits(values)
        bits = max(bits, least)
        if bits > most:
            raise UnsupportedError(f"an integer needs {bits} bits; a bundle holds integers of up to {most} bits")
        return self._enter(pack(values, bits), {"shape": list(values.shape), "bits": bits, "signed": signed})

    def reals(self, values: np.ndarray) -> str:
        """Enter float32 or float64 numbers; returns the name."""
        kind = "f32" if values.dtype == np.float32 else "f64"
        return self._enter(np.ascontiguousarray(values), {"shape": list(values.shape), "real": kind})

    def _enter(self, data: np.ndarray, facts: dict[str, object]) -> str:
        key = data.tobytes(), *(str(item) for item in facts.items())
        if key not in self._known:
            name = self._known[key] = f"{self.prefix}{len(self.facts)}"
            self.facts[name], self.data[name] = facts, data
        return self._known[key]

    def content(self) -> bytes:
        """The safetensors file."""
        from safetensors.numpy import save

        content: bytes = save(dict(self.data))
        return content


class TensorReader:
    """Reads what a `TensorWriter` wrote; sizes are compared with the data before anything is unpacked."""

    def __init__(self, facts: Mapping[str, Mapping[str, object]], content: bytes) -> None:
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            self.data = dict(load(content))
        except (SafetensorError, KeyError, ValueError) as error:
            raise FileFormatError(f"its tensors cannot be read: {error}") from error
        if set(self.data) != set(facts):
            raise FileFormatError("its tensors are not those that the manifest names")
        self.facts = facts
        for name in facts:
            self._check(name)

    def _check(self, name: str) -> None:
        facts, data = self.facts[name], self.data[name]
        shape = _shape(facts["shape"], name)
        if "real" in facts:
            if data.dtype != _REAL.get(str(facts["real"])) or list(data.shape) != shape:
                raise FileFormatError(f"tensor {name} is {data.dtype} {list(data.shape)}; the manifest says {dict(facts)}")
            return
        bits, size = facts["bits"], math.prod(shape)
        if type(bits) is not int or not 1 <= bits <= WIDEST or not isinstance(facts["signed"], bool):
            raise FileFormatError(f"tensor {name} has {bits!r} bits; 1 to {WIDEST} are known")
        if data.dtype != np.uint8 or data.shape != (packed_size(size, bits),):
            raise FileFormatError(
                f"tensor {name} holds {data.nbytes} bytes; {shape} integers of {bits} bits take {packed_size(size, bits)}"
            )

    def size(self, name: object) -> int:
        """The number of elements. Raises `FileFormatError` for an unknown name."""
        return math.prod(self.shape(name))

    def shape(self, name: object) -> list[int]:
        """The declared shape. Raises `FileFormatError` for an unknown name."""
        if not isinstance(name, str) or name not in self.facts:
            raise FileFormatError(f"tensor {name!r} is not among its tensors")
        return _shape(self.facts[name]["shape"], name)

    def integers(self, name: object) -> np.ndarray:
        """Integers, int64."""
        shape = self.shape(name)
        facts = self.facts[str(name)]
        if "real" in facts:
            raise FileFormatError(f"tensor {name!r} holds real numbers where integers are needed")
        bits = facts["bits"]
        assert isinstance(bits, int)
        return unpack(self.data[str(name)], math.prod(shape), bits, bool(facts["signed"])).reshape(shape)

    def reals(self, name: object) -> np.ndarray:
        """Real numbers, as stored."""
        self.shape(name)
        if "real" not in self.facts[str(name)]:
            raise FileFormatError(f"tensor {name!r} holds integers where real numbers are needed")
        return self.data[str(name)]


def _shape(value: object, name: str) -> list[int]:
    if not isinstance(value, list) or not all(
        isinstance(size, int) and not isinstance(size, bool) and size >= 0 for size in value
    ):
        raise FileFormatError(f"tensor {name} has shape {value!r}")
    return list(value)
