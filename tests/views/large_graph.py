"""A float graph of any size: residual blocks in stages, as an exporter names them, or without names."""

from __future__ import annotations

import numpy as np

from snnir.ir import Graph, TensorType
from snnir.ir.dims import dim
from snnir.ir.ops import Add, Linear, Relu

_STAGE = 40


def large_graph(nodes: int, scopes: bool = True) -> Graph:
    """`nodes` nodes, in blocks of four; with `scopes` each says which module it is of."""
    graph, generator = Graph("large"), np.random.default_rng(0)
    x = graph.input("x", TensorType((dim("N"), 8), "f32"))
    weight = graph.constant("w", generator.normal(size=(8, 8)).astype(np.float32))
    bias = graph.constant("b", np.zeros(8, np.float32))
    for block in range(nodes // 4):
        place = f"/stage.{block // _STAGE}/block.{block}"
        origin = {leaf: (f"{leaf} {place}/{leaf}",) if scopes else () for leaf in ("Gemm", "Relu", "Add")}
        y = graph.add1(Linear(), x, weight, bias, name=f"block{block}.in", origin=origin["Gemm"])
        y = graph.add1(Relu(), y, name=f"block{block}.relu", origin=origin["Relu"])
        y = graph.add1(Linear(), y, weight, bias, name=f"block{block}.out", origin=origin["Gemm"])
        x = graph.add1(Add(), x, y, name=f"block{block}.add", origin=origin["Add"])
    graph.output("y", x)
    return graph
