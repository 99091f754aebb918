"""A graph of any level as an ONNX file, for viewers such as Netron and Model Explorer, and numbers to lay over it there.

Ops stand in the domain `snnir` under their own names. Those that standard operators compute have a function body of these
(`onnx_functions/`); a scan has its graph as the attribute `body`. What is known of a node stands in its metadata: scale, bits,
certified bounds, membranes, and spikes and operations where they were measured. The files are for looking at; snnir does not
read them back.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, helper

from snnir.errors import UsageError
from snnir.ir import Graph, Node, Quantization
from snnir.runtime.program import Program
from snnir.version import __version__
from snnir.views.graph_records import node_records
from snnir.views.onnx_functions import DOMAIN, OPSET, Functions, info, tensor

__all__ = ["DOMAIN", "OVERLAYS", "Measured", "measures", "onnx_model", "overlay_of"]

_IR_VERSION = 10

Measured = Mapping[str, Mapping[str, float]]
"""Numbers by what they are (`spikes`, `synops`, `sqnr_db`), then by the node's first result."""

Metadata = Mapping[str, Mapping[str, str]]


def onnx_model(graph: Graph, measured: Measured | None = None, sizes: Mapping[str, int] | None = None) -> ModelProto:
    """The graph as an ONNX model that `onnx.checker` takes; `measured` goes into the metadata of nodes.

    `sizes` are numbers for open sizes, for which bounds are certified; the batch alone needs none.
    """
    known = _metadata(graph, measured or {}, sizes or {"N": 1})

    def annotate(node: Node, made: NodeProto, prefix: str) -> None:
        made.attribute.extend(helper.make_attribute(*item) for item in _attributes(node).items())
        for key, text in known.get(prefix + node.outputs[0].name, {}).items():
            made.metadata_props.add(key=key, value=text)

    places = {str(size): (value.name, axis) for value in graph.inputs for axis, size in enumerate(value.type.shape)}
    functions = Functions({name for name in places if name.isidentifier()}, annotate)
    made = _graph(graph, functions, places)
    model = helper.make_model(
        made,
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)],
        functions=functions.protos,
        producer_name="snnir",
        producer_version=__version__,
        ir_version=_IR_VERSION,
        doc_string=f"{graph.level} level" + (f", after {graph.after}" if graph.after else ""),
    )
    onnx.checker.check_model(model)
    return model


def overlay(graph: Graph, name: str, numbers: Mapping[str, float], reversed_: bool = False) -> dict[str, object]:
    """Node data for Model Explorer: `numbers` by the node's first result, and colours from light to dark blue.

    With `reversed_` low numbers are dark. The form is that of `ModelNodeData` in ai-edge-model-explorer, with one entry for the
    main graph and one for each scan, under the names that its ONNX adapter gives them; all have the same scale of colours.
    """
    known = {prefix + node.outputs[0].name: prefix for prefix, node in _walk(graph, "")}
    shown = {key: number for key, number in numbers.items() if key in known}
    low, high = min(shown.values(), default=0.0), max(shown.values(), default=0.0)
    found: dict[str, object] = {}
    for prefix in dict.fromkeys(["", *known.values()]):
        results = {}
        for key, number in shown.items():
            if known[key] == prefix:
                share = (number - low) / (high - low) if high > low else 1.0
                results[key] = {"value": number, **_colours(1 - share if reversed_ else share)}
        found[f"{prefix}body" if prefix else _name(graph)] = {"name": name, "results": results}
    return found


def _colours(share: float) -> dict[str, str]:
    """Background and text for a number that is this share of the way from the least to the greatest."""
    ends = ((219, 233, 251), (11, 98, 196))
    colour = [round(light + share * (dark - light)) for light, dark in zip(*ends, strict=True)]
    return {"bgColor": "#" + "".join(f"{part:02x}" for part in colour), "textColor": "#ffffff" if share > 0.5 else "#000000"}


def _name(graph: Graph) -> str:
    return graph.name or "graph"


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


def _graph(graph: Graph, functions: Functions, places: Mapping[str, tuple[str, int]]) -> GraphProto:
    """Calls of all nodes. Open sizes that these take are measured at axes of inputs, `places`."""
    taken: dict[str, None] = {}
    nodes: list[NodeProto] = []
    constants = [tensor(value.name, value.array) for value in graph.constants]
    for node in graph.nodes:
        call = functions.call(node, "")
        taken |= dict.fromkeys(call.sizes)
        constants += call.constants
        nodes.append(call.node)
    measuring = [
        helper.make_node("Shape", [places[size][0]], [f"size {size}"], start=places[size][1], end=places[size][1] + 1)
        for size in taken
    ]
    outputs = []
    for name, value in graph.outputs.items():
        own = name
        if graph.values.get(name) is not value or value.producer is None:  # given out under another name
            own = f"output {name}"
            nodes.append(helper.make_node("Identity", [value.name], [own], name=own))
        outputs.append(info(own, value.type))
    return helper.make_graph(
        [*measuring, *nodes],
        _name(graph),
        [info(value.name, value.type) for value in graph.inputs],
        outputs,
        initializer=constants,
        value_info=[info(value.name, value.type) for node in graph.nodes for value in node.outputs],
    )


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
        if record["scope"]:
            own["namespace"] = "/".join(record["scope"])  # where Model Explorer puts the node
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


def measures(program: Program, data: Mapping[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """Spikes and synaptic operations a sample of a run on `data`, by the names of populations and synapses."""
    result = program.run(data)
    return {
        "spikes": {name: float(array.mean()) for name, array in result.spikes.items()},
        "synops": {name: float(array.mean()) for name, array in result.synops.items()},
    }
