"""Which device computes, checked in one place."""

from __future__ import annotations

import torch

from snnir.errors import UsageError

__all__ = ["usable_device"]


def usable_device(name: str) -> torch.device:
    """The device of that name (`cpu`, `cuda`, `cuda:1` ...). Raises `UsageError` where it cannot compute in float64 here."""
    try:
        device = torch.device(name)
        torch.ones(1, dtype=torch.float64, device=device).sum().item()
    except (RuntimeError, AssertionError, TypeError, NotImplementedError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        message = f"device {name!r} cannot be used: {reason[0]} (it must be present and compute in float64; 'cpu' always does)"
        raise UsageError(message) from error
    if device.type == "meta":
        raise UsageError(f"device {name!r} cannot be used: it holds no numbers; 'cpu' always does")
    return device
