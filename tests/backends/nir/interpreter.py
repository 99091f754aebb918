"""A reference interpreter of NIR graphs, written from NIR's own definitions and nothing of snnir.

The semantics are those of docs/nir.md: discrete steps of length 1; every node acts within the step, edges into one node
add up; `I` integrates (r times its input, added, and then given out), `IF` integrates, compares and resets, `Delay`
gives what it got `delay` steps before and 0 until then. A cycle must hold a `Delay`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["Interpreter"]


class Interpreter:
    """Runs one graph step by step for a batch. `seen[path]` is what each node gave in each step, nested ones as a/b."""

    def __init__(self, graph: Any, subtract: bool = False) -> None:
        self.subtract = subtract
        self.nodes: dict[str, Any] = {}
        self.sources: dict[str, list[str]] = {}
        self._enter(graph, "")
        self.order = self._sorted()
        self.state: dict[str, Any] = {}
        self.seen: dict[str, list[np.ndarray]] = {path: [] for path in self.nodes}

    def _enter(self, graph: Any, prefix: str) -> None:
        entry, leaving = {}, {}
        for name, node in graph.nodes.items():
            path = f"{prefix}{name}"
            entry[name] = leaving[name] = path
            if type(node).__name__ == "NIRGraph":
                self._enter(node, f"{path}/")
                entry[name] = f"{path}/" + next(iter(node.inputs))
                leaving[name] = f"{path}/" + next(iter(node.outputs))
            else:
                self.nodes[path] = node
                self.sources.setdefault(path, [])
        for source, target in graph.edges:
            self.sources[entry[target]].append(leaving[source])

    def _sorted(self) -> list[str]:
        order: dict[str, None] = {path: None for path, node in self.nodes.items() if type(node).__name__ == "Delay"}
        pending = [path for path in self.nodes if path not in order]
        while pending:
            ready = [path for path in pending if all(source in order for source in self.sources[path])]
            assert ready, f"a cycle without a delay: {pending}"
            order.update(dict.fromkeys(ready))
            pending = [path for path in pending if path not in order]
        return list(order)

    def step(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """One step: inputs and outputs [N, ...] by node name."""
        batch = len(next(iter(inputs.values())))
        given: dict[str, np.ndarray] = {}
        delays = []
        for path in self.order:
            node, kind = self.nodes[path], type(self.nodes[path]).__name__
            if kind == "Delay":
                steps = int(node.delay.flat[0])
                assert steps >= 1 and (node.delay == steps).all()
                queue = self.state.setdefault(path, [np.zeros((batch, *node.delay.shape))] * steps)
                given[path] = queue.pop(0)
                delays.append(path)
            elif path in inputs:
                given[path] = inputs[path].astype(np.float64)
            else:
                given[path] = self._act(path, node, kind, sum(given[source] for source in self.sources[path]))
        for path in delays:
            self.state[path].append(sum(given[source] for source in self.sources[path]))
        for path, array in given.items():
            self.seen[path].append(array)
        return {path: array for path, array in given.items() if type(self.nodes[path]).__name__ == "Output" and "/" not in path}

    def _act(self, path: str, node: Any, kind: str, x: Any) -> np.ndarray:
        if kind in ("Input", "Output"):
            return np.asarray(x)
        if kind == "Scale":
            return np.asarray(x * node.scale)
        if kind == "Threshold":
            return np.asarray(x > node.threshold, np.float64)
        if kind in ("Linear", "Affine"):
            y = np.einsum("...oi,n...i->n...o", node.weight.astype(np.float64), x)
            return np.asarray(y + (node.bias if kind == "Affine" else 0))
        if kind == "Flatten":
            assert node.start_dim == 0 and node.end_dim == -1
            return np.asarray(x.reshape(len(x), -1))
        if kind in ("Conv1d", "Conv2d"):
            return _convolve(node, x)
        if kind == "I":
            self.state[path] = self.state.get(path, 0) + node.r * x
            return np.asarray(self.state[path])
        assert kind == "IF", kind
        membrane = self.state.get(path, 0) + node.r * x
        spikes = membrane > node.v_threshold
        reset = membrane - node.v_threshold if self.subtract else node.v_reset
        self.state[path] = np.where(spikes, reset, membrane)
        return np.asarray(spikes.astype(np.float64))


def _convolve(node: Any, x: np.ndarray) -> np.ndarray:
    """Cross-correlation tap by tap."""
    weight = np.asarray(node.weight, np.float64)
    spatial = weight.ndim - 2
    stride, padding, dilation = (
        tuple(np.broadcast_to(np.asarray(option).reshape(-1), spatial).tolist())
        for option in (node.stride, node.padding, node.dilation)
    )
    assert node.groups == 1
    x = np.pad(x, [(0, 0), (0, 0), *((amount, amount) for amount in padding)])
    sizes = [
        (x.shape[2 + axis] - dilation[axis] * (weight.shape[2 + axis] - 1) - 1) // stride[axis] + 1 for axis in range(spatial)
    ]
    y: np.ndarray = np.zeros((len(x), weight.shape[0], *sizes)) + np.asarray(node.bias).reshape(-1, *([1] * spatial))
    for tap in np.ndindex(*weight.shape[2:]):
        window = tuple(
            slice(tap[axis] * dilation[axis], tap[axis] * dilation[axis] + stride[axis] * (sizes[axis] - 1) + 1, stride[axis])
            for axis in range(spatial)
        )
        y = y + np.einsum("mc,nc...->nm...", weight[(slice(None), slice(None), *tap)], x[(slice(None), slice(None), *window)])
    return y
