"""The names of values that become levels, as `value_bits` takes them.

The whole name of a value in the body of a scan is `<first result of the scan>/<value>`, as `verify`, `run`, `debug`, bundles and
recorded populations write it. Its ending `.levels`, which marks the result of an observer, may be left
out, and so may the scan where one value only has the name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from snnir.errors import UsageError
from snnir.ir import Graph, Node
from snnir.ir.ops import Observe, Scan

__all__ = ["ValueNames"]


@dataclass(frozen=True)
class ValueNames:
    """The names of observers: whole ones, and those without their scan."""

    whole: Mapping[Node, frozenset[str]]
    short: Mapping[Node, frozenset[str]]

    @classmethod
    def of(cls, graph: Graph) -> ValueNames:
        """The names of all observers of a graph, bodies included."""
        whole: dict[Node, frozenset[str]] = {}
        short: dict[Node, frozenset[str]] = {}
        for prefix, node in _observers(graph, ""):
            names = node.output.name, node.operands[0].name
            whole[node], short[node] = frozenset(prefix + name for name in names), frozenset(names)
        return cls(whole, short)

    def of_node(self, node: Node) -> str:
        """The whole name of what an observer observes."""
        return min(self.whole[node], key=len)

    def node(self, name: str) -> Node | None:
        """The observer that `name` stands for, if any. Raises `UsageError` where it stands for several."""
        for names in (self.whole, self.short):
            found = [node for node, own in names.items() if name in own]
            if len(found) > 1:
                several = ", ".join(sorted(map(self.of_node, found)))
                raise UsageError(f"{name} is the name of several values: {several}; give the whole name of one")
            if found:
                return found[0]
        return None

    def bits(self, overrides: Mapping[str, int]) -> dict[Node, int]:
        """The bits of observers, for bits by names. Raises `UsageError` for names of nothing, and of several values."""
        found: dict[Node, int] = {}
        unknown = []
        for name, bits in overrides.items():
            node = self.node(name)
            if node is None:
                unknown.append(name)
            else:
                found[node] = max(bits, found.get(node, 0))
        if unknown:
            known = ", ".join(sorted(map(self.of_node, self.whole)))
            raise UsageError(f"no value {', '.join(sorted(unknown))} becomes levels; those that do are {known}")
        return found


def _observers(graph: Graph, prefix: str) -> Iterator[tuple[str, Node]]:
    for node in graph.nodes:
        if isinstance(node.op, Observe):
            yield prefix, node
        if isinstance(node.op, Scan) and node.body is not None:
            yield from _observers(node.body, f"{prefix}{node.outputs[0].name}/")
