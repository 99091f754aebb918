"""The walk over an ONNX graph: every node is folded, imported by its handler, or refused by name."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx

from snnir.errors import GraphError, ModelError, UnsupportedError
from snnir.frontends.onnx import handlers as handlers  # fills the registry
from snnir.frontends.onnx.batch import InputPlan, plan_inputs, same_meaning
from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.fold import chosen, fold
from snnir.frontends.onnx.model import Source, initializers, load_model, opset_of
from snnir.frontends.onnx.registry import HANDLERS, Known, RefusalError
from snnir.ir import Graph, Value
from snnir.ir.verify import verify

__all__ = ["import_onnx"]


def import_onnx(
    source: Source,
    *,
    name: str | None = None,
    batch_axes: Mapping[str, int] | None = None,
    batch: bool = True,
) -> Graph:
    """The model as a float-level graph.

    `batch_axes` names the batch axis of inputs where it is not the one found by the rules of `batch.py`; `batch=False`
    imports sizes as they stand, for models without a batch. A model exported with a fixed batch is generalised to any
    batch where its nodes allow it and it then computes the same; the graph's notes say which happened.

    Raises `ModelError` for what cannot be read, and one `UnsupportedError` that lists every node that cannot be imported.
    """
    model, found = load_model(source)
    constants = initializers(model)
    plan = plan_inputs(model, constants, batch_axes or {}, batch)
    graph_name = name or found
    if plan.fixed is None:
        return _import(model, constants, plan, graph_name)
    fixed = _import(model, constants, plan.frozen(), graph_name)
    try:
        graph = _import(model, constants, plan, graph_name)
        problem = same_meaning(graph, fixed, plan.fixed)
    except (UnsupportedError, GraphError) as error:
        lines = str(error).strip().split("\n")
        problem = next((line.strip() for line in lines if line.startswith("  ")), lines[0])
    if problem:
        fixed.notes.append(f"the batch stays fixed at {plan.fixed}, as exported: {problem}")
        return fixed
    graph.notes.append(f"exported with a fixed batch of {plan.fixed}; generalised to any batch")
    return graph


def _import(model: onnx.ModelProto, arrays: Mapping[str, np.ndarray], plan: InputPlan, name: str) -> Graph:
    graph = Graph(name)
    environment: dict[str, Value | Known | None] = dict(arrays)
    for entry, type_ in plan.types.items():
        environment[entry] = graph.input(entry, type_)
    used = {operand for node in model.graph.node for operand in node.input} | {output.name for output in model.graph.output}
    constants: dict[str, Value] = {}
    opset = opset_of(model)
    refused: list[str] = []
    for node in model.graph.node:
        operands = [environment.get(operand) if operand else None for operand in node.input]
        if any(operand and operand not in environment for operand in node.input):
            missing = [operand for operand in node.input if operand and operand not in environment]
            raise ModelError(f"{node.op_type} {node.name}: nothing gives {', '.join(missing)}")
        if any(operand and environment[operand] is None for operand in node.input):
            environment.update(dict.fromkeys(node.output))  # what it takes was refused: one line for the cause is enough
            if node.op_type not in HANDLERS:
                refused.append(_line(node, "operator not supported"))
            continue
        call = Call(graph, node, opset, operands, constants, plan.fixed, used)
        try:
            results = _results(call)
        except (RefusalError, GraphError) as error:
            refused.append(_line(node, str(error)))
            environment.update(dict.fromkeys(node.output))
            continue
        for index, output in enumerate(node.output):
            if output:
                environment[output] = results[index] if index < len(results) else None
    if refused:
        raise UnsupportedError(
            f"model {name} holds {len(refused)} node{'s' if len(refused) > 1 else ''} that snnir cannot import:\n"
            + "\n".join(f"  {line}" for line in refused)
            + "\n`snnir ops` lists what is supported"
        )
    for output in model.graph.output:
        result = environment[output.name]
        if result is None:
            raise UnsupportedError(f"output {output.name} of model {name} is not computed by any supported node")
        graph.output(output.name, result if isinstance(result, Value) else graph.constant(output.name, result))
    verify(graph)
    return graph


def _results(call: Call) -> list[Value | Known | None]:
    operator = call.node.op_type
    if call.node.domain not in ("", "ai.onnx"):
        raise RefusalError(f"operator of domain {call.node.domain!r}, which is not ONNX's own")
    if operator == "Constant":
        return list(HANDLERS[operator](call))
    given = [operand for operand in call.operands if operand is not None]
    if given and all(isinstance(operand, np.ndarray) for operand in given) and not _spreads(call):
        return list(fold(call))
    choice = chosen(call)
    if choice is not None:
        return [choice]
    if operator not in HANDLERS:
        raise RefusalError("operator not supported")
    return list(HANDLERS[operator](call))


def _spreads(call: Call) -> bool:
    """Whether the node spreads a known value over sizes that only the input tells."""
    shapes = call.operands[-1:]
    symbolic = any(isinstance(shape, np.ndarray) and shape.dtype == object for shape in shapes)
    return symbolic and call.node.op_type in ("ConstantOfShape", "Expand")


def _line(node: onnx.NodeProto, reason: str) -> str:
    return f"{node.name or node.output[0]} ({node.op_type}): {reason}"
