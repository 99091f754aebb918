"""A graph of any level as an ONNX file, for viewers such as Netron and Model Explorer, and numbers to lay over it there.

Ops stand in the domain `snnir` under their own names. Those that standard operators compute have a function body of these. What
is known of a node stands in its metadata: scale, bits, certified bounds, membranes, and spikes and operations where they were
measured. The files are for looking at; snnir does not read them back.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from snnir.errors import UsageError
from snnir.ir import Graph, Node, Quantization, TensorType
from snnir.ir.types import DTYPES
from snnir.runtime.program import Program
from snnir.version import __version__
from snnir.views.graph_records import node_records

__all__ = ["DOMAIN", "OVERLAYS", "Measured", "measures", "onnx_model", "overlay_of"]

DOMAIN = "snnir"
_OPSET = 18
_IR_VERSION = 10

Measured = Mapping[str, Mapping[str, float]]
"""Numbers by what they are (`spikes`, `synops`, `sqnr_db`), then by the node's first result."""

Metadata = Mapping[str, Mapping[str, str]]

_ALIKE = {
    "abs": "Abs", "acosh": "Acosh", "add": "Add", "asin": "Asin", "asinh": "Asinh", "atan": "Atan",
    "atanh": "Atanh", "cos": "Cos", "div": "Div", "erf": "Erf", "exp": "Exp", "log": "Log",
    "matmul": "MatMul", "mul": "Mul", "reciprocal": "Reciprocal", "relu": "Relu", "sigmoid": "Sigmoid",
    "sign": "Sign", "sin": "Sin", "sinh": "Sinh", "softplus": "Softplus", "softsign": "Softsign",
    "sqrt": "Sqrt", "sub": "Sub", "tan": "Tan", "tanh": "Tanh",
}  # fmt: skip
"""Ops that are one standard operator of the same operands, without attributes."""


def onnx_model(graph: Graph, measured: Measured | None = None, sizes: Mapping[str, int] | None = None) -> ModelProto:
    """The graph as an ONNX model that `onnx.checker` takes; `measured` goes into the metadata of nodes.

    `sizes` are numbers for open sizes, for which bounds are certified; the batch alone needs none.
    """
    used: dict[tuple[str, str], FunctionProto] = {}
    known = _metadata(graph, measured or {}, sizes or {"N": 1})
    model = helper.make_model(
        _graph(graph, "", known, used),
        opset_imports=[helper.make_opsetid("", _OPSET), helper.make_opsetid(DOMAIN, 1)],
        functions=list(used.values()),
        producer_name="snnir",
        producer_version=__version__,
        ir_version=_IR_VERSION,
        doc_string=f"{graph.level} level" + (f", after {graph.after}" if graph.after else ""),
    )
    onnx.checker.check_model(model)
    return model


def overlay(graph: Graph, name: str, numbers: Mapping[str, float], reversed_: bool = False) -> dict[str, object]:
    """Node data for Model Explorer: `numbers` by the node's first result, in colours from white to blue.

    With `reversed_` low numbers are dark. The form is that of `GraphNodeData` in ai-edge-model-explorer.
    """
    known = {prefix + node.outputs[0].name for prefix, node in _walk(graph, "")}
    ends = ["#ffffff", "#0b62c4"]
    low, high = ends[::-1] if reversed_ else ends
    return {
        "name": name,
        "results": {key: {"value": value} for key, value in numbers.items() if key in known},
        "gradient": [{"stop": 0, "bgColor": low}, {"stop": 1, "bgColor": high}],
    }


OVERLAYS = ("spikes", "operations", "error", "bits", "bounds")
"""What can be laid over a graph."""


def overlay_of(kind: str, graph: Graph, measured: Measured, sizes: Mapping[str, int] | None = None) -> dict[str, object]:
    """The node data of one of `OVERLAYS`. Raises `UsageError` for what was not measured."""
    if kind in ("bits", "bounds"):
        key = "bits" if kind == "bits" else "bound"
        records = node_records(graph, sizes or {"N": 1})
        numbers = {record["id"]: float(record[key]) for record in records if record.get(key) is not None}
        return overlay(graph, "bits" if kind == "bits" else "settling bound (steps)", numbers)
    name, label = {
        "spikes": ("spikes", "spikes a sample"),
        "operations": ("synops", "synaptic operations a sample"),
        "error": ("sqnr_db", "SQNR against float (dB)"),
    }[kind]
    if not measured.get(name):
        raise UsageError(f"--overlay-of {kind} must be measured: give a .snnir program and --calibration")
    return overlay(graph, label, measured[name], reversed_=kind == "error")


def _walk(graph: Graph, prefix: str) -> Sequence[tuple[str, Node]]:
    found: list[tuple[str, Node]] = []
    for node in graph.nodes:
        found.append((prefix, node))
        if node.body is not None:
            found += _walk(node.body, f"{prefix}{node.outputs[0].name}/")
    return found


def _graph(graph: Graph, prefix: str, known: Metadata, used: dict[tuple[str, str], FunctionProto]) -> GraphProto:
    nodes = [_node(node, prefix, known, used) for node in graph.nodes]
    given = {value.name for value in graph.values.values()}
    outputs = []
    for name, value in graph.outputs.items():
        own = prefix + name
        if name in given and graph.values[name] is value and value.producer is not None:
            outputs.append(_info(own, value.type))
        else:  # given out under another name
            own = f"{prefix}output {name}"
            nodes.append(helper.make_node("Identity", [prefix + value.name], [own], name=own))
            outputs.append(_info(own, value.type))
    return helper.make_graph(
        nodes,
        prefix.rstrip("/") or graph.name or "graph",
        [_info(prefix + value.name, value.type) for value in graph.inputs],
        outputs,
        initializer=[_tensor(prefix + value.name, value.array) for value in graph.constants],
        value_info=[_info(prefix + value.name, value.type) for node in graph.nodes for value in node.outputs],
    )


def _tensor(name: str, array: np.ndarray) -> TensorProto:
    if array.dtype.kind == "U":
        return helper.make_tensor(name, TensorProto.STRING, array.shape, [word.encode() for word in array.reshape(-1).tolist()])
    return numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)


def _info(name: str, type_: TensorType) -> onnx.ValueInfoProto:
    kind = TensorProto.STRING if type_.dtype == "str" else helper.np_dtype_to_tensor_dtype(DTYPES[type_.dtype])
    shape = [size if isinstance(size, int) else str(size) for size in type_.shape]
    return helper.make_tensor_value_info(name, kind, shape, doc_string=str(type_))


def _node(node: Node, prefix: str, known: Metadata, used: dict[tuple[str, str], FunctionProto]) -> NodeProto:
    name = prefix + node.outputs[0].name
    overload = ""
    function = _function(node)
    if function is not None:
        overload = function.overload
        used.setdefault((function.name, overload), function)
    made = helper.make_node(
        node.op.name,
        [prefix + value.name for value in node.operands],
        [prefix + value.name for value in node.outputs],
        name=name,
        domain=DOMAIN,
        overload=overload or None,
        doc_string=", ".join(node.origin),
        **_attributes(node),
    )
    if node.body is not None:
        made.attribute.append(helper.make_attribute("body", _graph(node.body, f"{name}/", known, used)))
    for key, text in known.get(name, {}).items():
        made.metadata_props.add(key=key, value=text)
    return made


def _attributes(node: Node) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for item in dataclasses.fields(node.op):
        value = getattr(node.op, item.name)
        if isinstance(value, Quantization):
            found |= {"scale": float(value.scale), "lo": float(value.lo), "hi": float(value.hi)}
        elif isinstance(value, bool | int | float | str):
            found[item.name] = int(value) if isinstance(value, bool) else value
        elif isinstance(value, tuple) and value:
            plain = all(isinstance(each, int) for each in value) or all(isinstance(each, float) for each in value)
            found[item.name] = list(value) if plain else [str(each) for each in value]
    return found


def _metadata(graph: Graph, measured: Measured, sizes: Mapping[str, int]) -> Metadata:
    """What is known of each node, by its first result."""
    found: dict[str, dict[str, str]] = {}
    for record in node_records(graph, sizes):
        own = {"type": ", ".join(record["types"])}
        if record["origin"]:
            own["from"] = ", ".join(record["origin"])
        if record.get("bits"):
            own["bits"] = str(record["bits"])
        own |= dict(record.get("facts", []))
        own |= {kind: f"{numbers[record['id']]:.6g}" for kind, numbers in measured.items() if record["id"] in numbers}
        found[record["id"]] = own
    for prefix, node in _walk(graph, ""):
        quantization = node.outputs[0].type.quantization
        if quantization is not None:
            own = found[prefix + node.outputs[0].name]
            own |= {"scale": repr(quantization.scale), "levels": f"{quantization.lo}..{quantization.hi}"}
    return found


_Body = Callable[[Node], tuple[list[str], list[NodeProto], list[str], str]]
"""Operands, nodes, attributes and overload of a function body for a node."""


def _function(node: Node) -> FunctionProto | None:
    """The body of standard operators for an op, where there is one for operands of these types."""
    name = node.op.name
    real = all(value.type.is_real for value in (*node.operands, *node.outputs))
    if name in _ALIKE and real:
        operands = [f"x{place}" for place in range(len(node.operands))]
        return _made(name, operands, [helper.make_node(_ALIKE[name], operands, ["y"])], [], "")
    if name not in _BODIES:
        return None
    return _made(name, *_BODIES[name](node)) if _fits(node, name, real) else None


def _fits(node: Node, name: str, real: bool) -> bool:
    if name in ("quantize", "encode"):
        return node.operands[0].type.is_real
    return name == "transpose" or real


def _made(name: str, operands: list[str], nodes: list[NodeProto], attributes: list[str], overload: str) -> FunctionProto:
    function = helper.make_function(
        DOMAIN, name, operands, ["y"], nodes, [helper.make_opsetid("", _OPSET)], attributes, overload=overload or None
    )
    return function


def _constant(name: str, attribute: str) -> NodeProto:
    made = helper.make_node("Constant", [], [name])
    reference = made.attribute.add()
    reference.name, reference.ref_attr_name, reference.type = "value_float", attribute, AttributeProto.FLOAT
    return made


def _quantize(node: Node) -> tuple[list[str], list[NodeProto], list[str], str]:
    """`clip(floor(x / scale + 1/2), lo, hi)`, as docs/exactness.md has it."""
    nodes = [
        *(_constant(name, name) for name in ("scale", "lo", "hi")),
        helper.make_node("Constant", [], ["half"], value_float=0.5),
        helper.make_node("Div", ["x", "scale"], ["quotient"]),
        helper.make_node("Add", ["quotient", "half"], ["raised"]),
        helper.make_node("Floor", ["raised"], ["rounded"]),
        helper.make_node("Clip", ["rounded", "lo", "hi"], ["clipped"]),
        helper.make_node("Cast", ["clipped"], ["y"], to=TensorProto.INT64),
    ]
    return ["x"], nodes, ["scale", "lo", "hi"], ""


def _linear(node: Node) -> tuple[list[str], list[NodeProto], list[str], str]:
    nodes = [helper.make_node("Transpose", ["weight"], ["turned"], perm=[1, 0])]
    if len(node.operands) == 2:
        return ["x", "weight"], [*nodes, helper.make_node("MatMul", ["x", "turned"], ["y"])], [], "without-bias"
    sums = [helper.make_node("MatMul", ["x", "turned"], ["product"]), helper.make_node("Add", ["product", "bias"], ["y"])]
    return ["x", "weight", "bias"], [*nodes, *sums], [], ""


def _transpose(node: Node) -> tuple[list[str], list[NodeProto], list[str], str]:
    made = helper.make_node("Transpose", ["x"], ["y"])
    reference = made.attribute.add()
    reference.name, reference.ref_attr_name, reference.type = "perm", "perm", AttributeProto.INTS
    return ["x"], [made], ["perm"], ""


_BODIES: dict[str, _Body] = {"quantize": _quantize, "encode": _quantize, "linear": _linear, "transpose": _transpose}


def measures(program: Program, data: Mapping[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """Spikes and synaptic operations a sample of a run on `data`, by the names of populations and synapses."""
    result = program.run(data)
    return {
        "spikes": {name: float(array.mean()) for name, array in result.spikes.items()},
        "synops": {name: float(array.mean()) for name, array in result.synops.items()},
    }
