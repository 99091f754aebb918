"""The integer steps of functions in PyTorch: 64-bit integers forward, and backward the derivative of the real function.

Backward, rounding is passed over (straight-through estimator): a floor division has the derivatives of a quotient, a shift those
of a power of two, a table the slope between its entries, and bits that are counted or cut out have none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from snnir.backends.torch_spiking.trains import Places
from snnir.machine.microcode import Step

__all__ = ["Microcode"]

_ROOT = 3037000499
"""The root of the largest 64-bit integer."""


def _floor_div(x: Tensor, y: Tensor) -> Tensor:
    return torch.div(x, torch.where(y == 0, 1, y), rounding_mode="floor")


def _sqrt(x: Tensor) -> Tensor:
    """The largest integer whose square is at most `x`: float64 has 53 bits, so that an estimate may be off by one."""
    x = x.clamp(min=0)
    root = x.to(torch.float64).sqrt().floor().to(torch.int64).clamp(max=_ROOT)
    root = torch.where(root * root > x, root - 1, root)
    following = (root + 1).clamp(max=_ROOT)
    return torch.where(following * following <= x, following, root)


def _bit_length(x: Tensor) -> Tensor:
    rest, length = x.clamp(min=0), torch.zeros_like(x)
    for step in (32, 16, 8, 4, 2, 1):
        more = rest >> step > 0
        length = length + more * step
        rest = torch.where(more, rest >> step, rest)
    return length + (rest > 0)


_INTEGERS: Mapping[str, Callable[..., Tensor]] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "floor_div": _floor_div,
    "least": torch.minimum,
    "most": torch.maximum,
    "shift_left": torch.bitwise_left_shift,
    "shift_right": torch.bitwise_right_shift,
    "and": torch.bitwise_and,
    "sqrt": _sqrt,
    "bit_length": _bit_length,
}
_REALS: Mapping[str, Callable[..., Tensor]] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "floor_div": lambda x, y: x / torch.where(y == 0, 1.0, y),
    "least": torch.minimum,
    "most": torch.maximum,
    "shift_left": lambda x, y: x * torch.exp2(y.detach()),
    "shift_right": lambda x, y: x * torch.exp2(-y.detach()),
    "sqrt": lambda x: x.clamp(min=1).sqrt(),
}
"""The real functions that have a derivative; the others have none."""


@dataclass(frozen=True)
class _Register:
    """What a register holds, int64 [N, size], and the same as float64 with gradients (None: they are not wanted)."""

    integers: Tensor
    real: Tensor | None

    def map(self, function: Callable[[Tensor], Tensor]) -> _Register:
        """The register behind a function that moves its entries."""
        return _Register(function(self.integers), None if self.real is None else function(self.real))


class Microcode:
    """The steps of one function on one device."""

    def __init__(self, code: Sequence[Step], device: torch.device) -> None:
        self.steps = [
            (
                step,
                [None if map_ is None else Places(map_, device) for map_ in step.maps],
                None if step.data is None else torch.tensor(step.data, dtype=torch.int64, device=device),
            )
            for step in code
        ]

    def compute(self, sources: Sequence[Tensor]) -> Tensor:
        """The last register, float64 [N, size], of sources [N, n] of integers in float64."""
        wanted = any(source.requires_grad for source in sources)
        registers = [_Register(source.detach().to(torch.int64), source if wanted else None) for source in sources]
        for step, places, data in self.steps:
            registers.append(_step(step, places, data, [registers[index] for index in step.operands], len(sources[0]), wanted))
        last = registers[-1]
        return last.integers.to(torch.float64) if last.real is None else last.real


def _step(
    step: Step, places: list[Places | None], data: Tensor | None, operands: list[_Register], samples: int, wanted: bool
) -> _Register:
    if step.kind == "constant":
        assert data is not None
        held = data.expand(samples, -1)
        return _Register(held, held.to(torch.float64) if wanted else None)
    if step.kind == "join":
        joined = torch.cat([each.integers for each in operands], dim=1)
        reals = [each.real for each in operands if each.real is not None]
        whole = _Register(joined, torch.cat(reals, dim=1) if wanted else None)
        return whole if places[0] is None else whole.map(places[0].of)
    read = [each if place is None else each.map(place.of) for each, place in zip(operands, places, strict=True)]
    if step.kind in ("sum", "max"):
        return _reduced(step, read[0], samples)
    if step.kind == "table":
        assert data is not None
        index = read[0].integers.clamp(0, len(data) - 1)
        integers = data[index]
        slope = (data[(index + 1).clamp(max=len(data) - 1)] - integers).to(torch.float64)
        return _straight_through(integers, None if read[0].real is None else slope * read[0].real, wanted)
    integers = _INTEGERS[step.kind](*(each.integers for each in read))
    real = _REALS[step.kind](*(each.real for each in read)) if wanted and step.kind in _REALS else None
    return _straight_through(integers, real, wanted)


def _reduced(step: Step, register: _Register, samples: int) -> _Register:
    grouped = register.map(lambda x: x.reshape(samples, step.size, step.width))
    return grouped.map(lambda x: x.sum(dim=2) if step.kind == "sum" else x.amax(dim=2))


def _straight_through(integers: Tensor, real: Tensor | None, wanted: bool) -> _Register:
    """A register that holds `integers`, with the gradients of `real`."""
    if real is None:
        return _Register(integers, integers.to(torch.float64) if wanted else None)
    return _Register(integers, real + (integers.to(torch.float64) - real).detach())
