"""What the host computes before the encoders and after the readouts, which no NIR graph holds: kept in its metadata."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from snnir.ir.graph import Graph
from snnir.ir.parse import parse
from snnir.ir.text import tensors, text
from snnir.machine.host_graphs import HostGraphs

__all__ = ["host_metadata", "read_host"]


def host_metadata(host: HostGraphs) -> dict[str, object]:
    """Both graphs as text, and the constants that the text names by digest."""
    found: dict[str, object] = {"before": text(host.before), "after": text(host.after)}
    data = {**tensors(host.before), **tensors(host.after)}
    if data:
        found["tensors"] = data
    return found


def read_host(metadata: Mapping[str, Any]) -> tuple[Graph, Graph]:
    """What `host_metadata` wrote. Raises `GraphError` or `KeyError`."""
    data: dict[str, np.ndarray] = dict(metadata.get("tensors", {}))
    before, after = str(metadata["before"]), str(metadata["after"])
    return parse(before, data), parse(after, data)
