"""What standard ONNX operators compute of snnir's ops: a function body for each call of one.

Files hold one idea each and enter what writes a body under the names of ops (`body.WRITERS`); `WITHOUT` says of the others why
they have none.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from inspect import cleandoc

from onnx import FunctionProto, NodeProto, helper

from snnir.ir import Node
from snnir.views.onnx_functions import (  # fills the table of writers
    casts,
    cells,
    choices,
    elements,
    integers,
    levels,
    moving,
    recurrence,
    weights,
    windows,
)
from snnir.views.onnx_functions.body import DOMAIN, OPSET, WRITERS, Body, Call, NoBodyError, element_type, info, tensor

__all__ = ["DOMAIN", "OPSET", "WITHOUT", "WRITERS", "Functions", "element_type", "info", "tensor"]

WITHOUT = {"bit_cast": f"operator set {OPSET} reads no bits as another type; BitCast came with operator set 26"}
"""Ops without a body, and why."""

_ENTERED = (casts, cells, choices, elements, integers, levels, moving, recurrence, weights, windows)


class Functions:
    """The functions that a model's nodes call, equal ones once.

    `sizes` are the open sizes that a call may be handed; `annotate` finishes the call of a node (attributes, metadata). The
    metadata of one that has no body say why.
    """

    def __init__(self, sizes: Collection[str], annotate: Callable[[Node, NodeProto, str], None]) -> None:
        self.sizes = sizes
        self.protos: list[FunctionProto] = []
        """All functions; one stands behind those that it calls."""
        self._annotate = annotate
        self._overloads: dict[str, dict[bytes, str]] = {}

    def call(self, node: Node, prefix: str) -> Call:
        """The call of a node whose values' names begin with `prefix`."""
        name, kind = prefix + node.outputs[0].name, node.op.name
        operands, results = ([prefix + value.name for value in values] for values in (node.operands, node.outputs))
        made = helper.make_node(kind, operands, results, name=name, domain=DOMAIN, doc_string=", ".join(node.origin))
        self._annotate(node, made, prefix)
        body = Body(node, self.sizes, self.call, prefix)
        try:
            outputs = _written(body)
        except NoBodyError as reason:
            made.metadata_props.add(key="no standard operators", value=str(reason))
            return Call(made)
        more = [*(constant.name for constant in body.constants), *(f"size {size}" for size in body.taken)]
        made.input.extend(more)
        attributes = [item.name for item in made.attribute]
        said = cleandoc(type(node.op).__doc__ or "")
        inputs = [*body.inputs, *more]
        function = helper.make_function(DOMAIN, kind, inputs, outputs, body.nodes, _OPSETS, attributes, doc_string=said)
        made.overload = self._entered(function)
        if body.held is not None:
            made.attribute.append(helper.make_attribute("body", body.held))
        return Call(made, body.taken, body.constants)

    def _entered(self, function: FunctionProto) -> str:
        """The overload of a function: none for the first of its name, numbers from 2 on for others."""
        known, content = self._overloads.setdefault(function.name, {}), function.SerializeToString()
        if content not in known:
            function.overload = str(len(known) + 1) if known else ""
            known[content] = function.overload
            self.protos.append(function)
        return known[content]


_OPSETS = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)]


def _written(body: Body) -> list[str]:
    """Write the body of its node; returns the names of its outputs. Raises `NoBodyError`."""
    kind = body.node.op.name
    if kind not in WRITERS:
        raise NoBodyError(WITHOUT.get(kind, f"op {kind} is of another package"))
    operands = [body.operand(place) for place in range(len(body.node.operands))]
    results = WRITERS[kind](body, body.node.op, *operands)
    return body.finish(results if isinstance(results, tuple) else (results,))
