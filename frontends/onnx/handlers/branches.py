"""If: a choice between two graphs that is made while importing."""

from __future__ import annotations

import numpy as np

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.model import finite, to_array
from snnir.frontends.onnx.registry import Marker, RefusalError, Result, handler
from snnir.frontends.onnx.walk import Scope, walk
from snnir.ir import Value

__all__: list[str] = []


@handler("If")
def branch(call: Call) -> list[Result]:
    """A known condition: the nodes of one branch take the node's place."""
    condition = call.known(0, "the condition").reshape(-1)
    if condition.dtype == object:
        raise RefusalError("its condition depends on a size that is known only at run time")
    graph = call.body("then_branch" if bool(condition[0]) else "else_branch")
    scope = Scope(call.graph, call.opset, call.fixed_batch, call.scope.used, call.scope)
    for tensor in graph.initializer:
        scope.names[tensor.name] = finite(to_array(tensor), f"initializer {tensor.name}")
    refused = walk(scope, graph.node)
    if refused:
        raise RefusalError("in its branch, " + "; ".join(map(str, refused)))
    results: list[Result] = []
    for output in graph.output:
        entry = scope.find(output.name)
        if not isinstance(entry, Value | np.ndarray | Marker):
            raise RefusalError(f"its branch does not give {output.name}")
        results.append(scope.capture(entry) if isinstance(entry, Value) else entry)
    return results
