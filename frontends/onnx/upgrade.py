"""Models of operator sets before the oldest that the importer reads: raised by ONNX's own version converter.

The converter has no rule for the Scan of operator set 8, which walks through a batch: it drops the batch. A Scan whose batch
is one sample is written here as that of operator set 9 between a Squeeze and an Unsqueeze.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx
import onnx.version_converter

from snnir.errors import ModelError, UnsupportedError
from snnir.frontends.onnx.subgraph_names import subgraphs_of

__all__ = ["STORED", "raised"]

STORED = "operator set of the file"
"""The key of the metadata of a raised model under which its own operator set stands."""


_CHANGED = ("BatchNormalization", "Upsample")
"""Operators beside Scan whose meaning operator set 9 changed; all others that it declares anew only take more types."""


def raised(model: onnx.ModelProto, to: int) -> onnx.ModelProto:
    """The model in operator set `to`; the model itself where it is as new, or knows no operators of ONNX's own.

    Raises `ModelError` for an invalid model, `UnsupportedError` where it cannot be converted.
    """
    found = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), to)
    if not 1 <= found < to:
        return model
    try:
        onnx.checker.check_model(model)
        downgraded = _with_new_scans(model) if found == 8 else model
        new = onnx.version_converter.convert_version(downgraded, to)
    except onnx.checker.ValidationError as error:
        raise ModelError(f"the model is not a valid ONNX model of operator set {found}: {_first(error)}") from error
    except (RuntimeError, ValueError, onnx.version_converter.ConvertError) as error:
        raise UnsupportedError(
            f"the model uses ONNX opset {found}, and ONNX's version converter cannot raise it to {to} ({_first(error)}). "
            "Export it again with a newer operator set"
        ) from error
    for entry in new.opset_import:
        for same in model.opset_import:
            if entry.domain == same.domain and entry.domain not in ("", "ai.onnx"):
                entry.version = same.version
    new.ir_version = max(new.ir_version, 4)  # from 4 on, initializers need not be inputs, as the converter's are not
    new.producer_name, new.producer_version, new.domain = model.producer_name, model.producer_version, model.domain
    new.model_version, new.doc_string, new.graph.name = model.model_version, model.doc_string, model.graph.name
    del new.metadata_props[:]
    new.metadata_props.extend(model.metadata_props)
    new.metadata_props.add(key=STORED, value=str(found))
    return new


def _first(error: Exception) -> str:
    return str(error).strip().split("\n")[0]


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for body in subgraphs_of(node):
            yield from _nodes(body)


def _with_new_scans(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model in operator set 9 where it holds a Scan. Raises `ValueError` where that is not the same."""
    operators = {node.op_type for node in _nodes(model.graph)}
    if "Scan" not in operators:
        return model
    changed = sorted(operators & set(_CHANGED))
    if changed:
        raise ValueError(f"beside a Scan of operator set 8, {', '.join(changed)} has changed too")
    new = onnx.ModelProto()
    new.CopyFrom(model)
    _rewrite(new.graph)
    for entry in new.opset_import:
        if entry.domain in ("", "ai.onnx"):
            entry.version = 9
    return new


def _rewrite(graph: onnx.GraphProto) -> None:
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        for body in subgraphs_of(node):
            _rewrite(body)
        nodes += _scan(node) if node.op_type == "Scan" else [node]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)


def _scan(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """Operator set 8 to 9, for a batch of one sample."""
    lengths, *operands = node.input
    if lengths:
        raise ValueError(f"Scan {node.name or node.output[0]} takes sequence_lens")
    label = node.name or node.output[0]
    inner = onnx.NodeProto()
    inner.CopyFrom(node)
    for attribute in inner.attribute:
        if attribute.name == "directions":
            attribute.name = "scan_input_directions"
    made = [
        onnx.helper.make_node("Squeeze", [name], [f"{name}.{label}.sample"], f"{label}.{name}", axes=[0]) for name in operands
    ]
    del inner.input[:], inner.output[:]
    inner.input.extend(each.output[0] for each in made)
    inner.output.extend(f"{name}.sample" if name else "" for name in node.output)
    results = [name for name in node.output if name]
    back = [onnx.helper.make_node("Unsqueeze", [f"{name}.sample"], [name], f"{label}.{name}", axes=[0]) for name in results]
    return [*made, inner, *back]
