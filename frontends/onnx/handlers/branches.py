"""If: a choice between two graphs, made while importing where the condition is known, else between what they give."""

from __future__ import annotations

import numpy as np
import onnx

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.compose import reshaped
from snnir.frontends.onnx.handlers.integers import whole
from snnir.frontends.onnx.model import finite, to_array
from snnir.frontends.onnx.registry import Known, Marker, RefusalError, Result, handler
from snnir.frontends.onnx.scope import Scope, import_nodes
from snnir.frontends.onnx.static_lists import Listed
from snnir.ir import Value
from snnir.ir.dims import product
from snnir.ir.lowering.choose import opposite
from snnir.ir.lowering.finite import source_of_infinity
from snnir.ir.lowering.sizes import open_sizes
from snnir.ir.ops import Add, Cast, IntWhere, Mul

__all__: list[str] = []


@handler("If", "mul", "add", "int_where")
def branch(call: Call) -> list[Result]:
    """A known condition chooses a branch while importing. One that changes with the input chooses between what both branches
    give, which must have the same shapes and element types: real numbers by products, integers on the host.
    """
    known = call.operands[0]
    if not isinstance(known, np.ndarray):
        return _either(call)
    condition = known.reshape(-1)
    if condition.dtype == object:
        sizes = ", ".join(sorted(open_sizes([condition])))
        raise RefusalError(f"its condition ({condition[0]}) depends on open sizes ({sizes}): give numbers for them")
    return _run(call, call.body("then_branch" if bool(condition[0]) else "else_branch"))


def _run(call: Call, graph: onnx.GraphProto) -> list[Result]:
    """The nodes of one branch take the node's place."""
    scope = Scope(call.graph, call.opset, call.fixed_batch, call.scope.used, call.scope)
    for tensor in graph.initializer:
        scope.names[tensor.name] = finite(to_array(tensor), f"initializer {tensor.name}")
    refused = import_nodes(scope, graph.node)
    if refused:
        raise RefusalError("in its branch, " + "; ".join(map(str, refused)), (name for item in refused for name in item.sizes))
    results: list[Result] = []
    for output in graph.output:
        entry = scope.find(output.name)
        if not isinstance(entry, Value | np.ndarray | Marker):
            raise RefusalError(f"its branch does not give {output.name}")
        results.append(scope.capture(entry) if isinstance(entry, Value) else entry)
    return results


def _either(call: Call) -> list[Result]:
    condition = call.value(0)
    if product(condition.type.shape) != 1:
        raise RefusalError(f"its condition is {condition.type}; it must be one element, also where the batch is open")
    try:
        return _chosen(call)
    except RefusalError as error:
        names = _deciding(condition)
        if not names:
            raise
        options = " ".join(f"--constant {name}=VALUE" for name in names)
        raise RefusalError(
            f"{error}; where {', '.join(names)} is always the same, give it while importing ({options})"
        ) from error


def _deciding(condition: Value) -> list[str]:
    """The inputs that a condition depends on, where none of them has a batch: they may be known before any sample is."""
    found, behind = set[Value](), [condition]
    while behind:
        value = behind.pop()
        if value.producer is None and not value.is_constant:
            found.add(value)
        behind += value.producer.operands if value.producer is not None else ()
    return sorted(value.name for value in found) if all(value.type.batch_axis is None for value in found) else []


def _chosen(call: Call) -> list[Result]:
    results: list[Result] = []
    both = (_run(call, call.body(name)) for name in ("then_branch", "else_branch"))
    for index, (yes, no) in enumerate(zip(*both, strict=True)):
        if isinstance(yes, Listed) and isinstance(no, Listed) and len(yes.items) == len(no.items):
            pairs = enumerate(zip(yes.items, no.items, strict=True))
            results.append(Listed(tuple(_one(call, index, f"item{place}", *pair) for place, pair in pairs)))
        elif isinstance(yes, Marker) or isinstance(no, Marker):
            raise RefusalError("its condition changes with the input, and its branches give lists of different lengths, or none")
        else:
            results.append(_one(call, index, "", yes, no))
    return results


def _one(call: Call, output: int, label: str, yes: Value | Known, no: Value | Known) -> Value | Known:
    """One of two results of the branches, by a condition that changes with the input."""
    if isinstance(yes, np.ndarray) and isinstance(no, np.ndarray) and yes.dtype == no.dtype and np.array_equal(yes, no):
        return yes
    part = label or f"result{output}"
    a, b = (_value(call, side, f"{part}.{name}") for side, name in ((yes, "then"), (no, "else")))
    if a.type != b.type:
        raise RefusalError(f"its condition changes with the input, and its branches give {a.type} and {b.type}; they must agree")
    if a.type.is_exact:
        chosen = reshaped(call, whole(call, 0, "bool"), (), "condition")
        return call.emit(IntWhere(), chosen, a, b, label=label, output=output)
    _refuse_infinity(call, a, b)
    holds = call.value(0)
    if holds.type.dtype != a.type.dtype:
        holds = call.emit(Cast(a.type.dtype), holds, label=f"{part}.truth")
    elif not call.scope.holds_truth(holds):
        raise RefusalError("its condition holds numbers; it must hold truth")
    holds = reshaped(call, holds, (), f"{part}.condition")
    sides = ((holds, a, "yes"), (opposite(call, holds, f"{part}.opposite"), b, "no"))
    parts = [call.emit(Mul(), mask, value, label=f"{part}.{name}") for mask, value, name in sides]
    return call.emit(Add(), *parts, label=label, output=output)


def _value(call: Call, side: Value | Known, label: str) -> Value:
    return side if isinstance(side, Value) else call.array(label, side)


def _refuse_infinity(call: Call, *sides: Value) -> None:
    """The branch that is not taken is multiplied by 0: it must be finite. Raises `RefusalError`."""
    scope = call.scope
    while scope.parent is not None and scope.parent.graph is scope.graph:
        scope = scope.parent
    sources = [source_of_infinity(side) for side in sides]
    if scope.parent is not None:
        sources.append("a value from around a loop's body")
    source = next(filter(None, sources), "")
    if source:
        raise RefusalError(
            f"its condition changes with the input, and {source} may give infinities or NaN in the branch that is not taken"
        )
