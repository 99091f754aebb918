"""Compute nodes whose operands are known while importing: constants, and shapes known up to named sizes.

Named sizes are `Dim` objects in arrays of dtype object, so one NumPy rule serves numbers and symbols alike. Anything
without a rule here is computed by ONNX's own reference evaluator, if all its operands are numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx

from snnir.errors import GraphError
from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.model import usual
from snnir.frontends.onnx.registry import BECOMES, Known, RefusalError
from snnir.ir import BATCH, Dim, Shape, Value
from snnir.ir.dims import names_of
from snnir.ir.lowering.sizes import Undecided
from snnir.ir.ops.rules import broadcast

__all__ = ["RULES", "chosen", "fold", "folded_operators", "shape_array"]

LARGEST = 1 << 28
"""No constant that folding makes has more elements."""


def shape_array(shape: Shape) -> Known:
    """A shape as a known tensor: int64, or object where a size is named."""
    return _plain(np.array(list(shape), dtype=object))


def _plain(array: Known) -> Known:
    """int64 where no named size is left in an object array."""
    items = array.reshape(-1).tolist() if array.dtype == object else []
    if array.dtype != object or any(isinstance(item, Dim | Undecided) for item in items):
        return array
    return array.astype(np.bool_ if items and all(isinstance(item, bool) for item in items) else np.int64)


def _rule(call: Call, operands: Sequence[Known]) -> Known:
    return operands[0]


def _gather(call: Call, operands: Sequence[Known]) -> Known:
    return np.asarray(np.take(operands[0], operands[1].astype(np.int64), axis=call.integer("axis", 0)))


def _slice(call: Call, operands: Sequence[Known]) -> Known:
    data, starts, ends = operands[:3]
    axes = operands[3].reshape(-1).tolist() if len(operands) > 3 else range(len(starts))
    steps = operands[4].reshape(-1).tolist() if len(operands) > 4 else [1] * len(starts)
    cut: list[slice] = [slice(None)] * data.ndim
    for axis, start, end, step in zip(axes, starts.tolist(), ends.tolist(), steps, strict=True):
        cut[axis] = slice(int(start), int(end), int(step))
    return data[tuple(cut)]


def _concat(call: Call, operands: Sequence[Known]) -> Known:
    return np.concatenate(operands, axis=call.integer("axis", 0))


def _squeeze(call: Call, operands: Sequence[Known]) -> Known:
    axes = operands[1].tolist() if len(operands) > 1 else call.integers("axes", ())
    return np.squeeze(operands[0], tuple(axes) if len(axes) else None)


def _unsqueeze(call: Call, operands: Sequence[Known]) -> Known:
    axes = operands[1].reshape(-1).tolist() if len(operands) > 1 else call.integers("axes", ())
    return np.expand_dims(operands[0], tuple(axes))


def _reshape(call: Call, operands: Sequence[Known]) -> Known:
    return operands[0].reshape([int(size) for size in operands[1].tolist()])


def _div(call: Call, operands: Sequence[Known]) -> Known:
    a, b = operands
    if a.dtype.kind in "iuO" and b.dtype.kind in "iuO":
        return np.asarray(a // b)  # sizes are not negative, so that floor and truncation agree
    return np.asarray(a / b)


def _constant_of_shape(call: Call, operands: Sequence[Known]) -> Known:
    shape = [int(size) for size in operands[0].tolist()]
    if np.prod(shape, dtype=np.float64) > LARGEST:
        raise RefusalError(f"a constant of shape {shape} is too large")
    value = call.tensor("value", np.zeros(1, np.float32))
    return np.full(shape, value.reshape(-1)[0], value.dtype)


def _cast(call: Call, operands: Sequence[Known]) -> Known:
    if operands[0].dtype == object:
        return operands[0]
    return usual(operands[0].astype(onnx.helper.tensor_dtype_to_np_dtype(call.integer("to", onnx.TensorProto.FLOAT))))


def _product(call: Call, operands: Sequence[Known]) -> Known:
    if operands[0].ndim > 1 or len(operands) > 1:
        raise RefusalError("a product over chosen axes of sizes that are known only at run time")
    result = np.array(np.prod(operands[0]), dtype=object)
    return result.reshape(1) if call.integer("keepdims", 1) else result


def _where(call: Call, operands: Sequence[Known]) -> Known:
    return np.where(operands[0].astype(bool), operands[1], operands[2])


def _compared(relation: str) -> Callable[[Call, Sequence[Known]], Known]:
    """A comparison of sizes. All sizes are at least 1; the batch is any number of samples, one among them."""

    def decide(a: object, b: object) -> object:
        if not isinstance(a, int | Dim) or not isinstance(b, int | Dim):
            raise TypeError(f"a size is compared with {a if isinstance(b, int | Dim) else b}")
        gap = a - b
        if isinstance(gap, int):
            return {"Equal": gap == 0, "Greater": gap > 0, "Less": gap < 0}[relation]
        for size, other, sign in ((a, b, 1), (b, a, -1)):
            if isinstance(size, Dim) and isinstance(other, int) and other < 1 and _is_size(size):
                return {"Equal": False, "Greater": sign > 0, "Less": sign < 0}[relation]
        names = names_of(gap)
        usual = {"Equal": False, "Greater": isinstance(a, Dim), "Less": isinstance(b, Dim)}[relation]
        sign_text = {"Equal": "==", "Greater": ">", "Less": "<"}[relation]
        return usual if names == {BATCH} else Undecided(f"{a} {sign_text} {b}", frozenset(names), usual)

    def rule(call: Call, operands: Sequence[Known]) -> Known:
        pairs = np.broadcast(*(operand.astype(object) for operand in operands[:2]))
        found = np.empty(pairs.shape, object)
        for index, (a, b) in zip(np.ndindex(*pairs.shape), pairs, strict=True):
            found[index] = decide(a, b)
        return found

    return rule


def _is_size(size: Dim) -> bool:
    """Whether a dimension is a product of sizes, so that it is at least 1: no differences."""
    return all(coefficient > 0 for _, coefficient in size.terms)


def _not(call: Call, operands: Sequence[Known]) -> Known:
    items = [item.opposite() if isinstance(item, Undecided) else not item for item in operands[0].reshape(-1).tolist()]
    found = np.empty(len(items), object)
    found[:] = items
    return found.reshape(operands[0].shape)


def _shape(call: Call, operands: Sequence[Known]) -> Known:
    return np.array(operands[0].shape[call.integer("start", 0) : call.given_integer("end")], np.int64)


RULES: dict[str, Callable[[Call, Sequence[Known]], Known]] = {
    "Identity": _rule,
    "Shape": _shape,
    "Cast": _cast,
    "Gather": _gather,
    "Slice": _slice,
    "Concat": _concat,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Reshape": _reshape,
    "Add": lambda call, operands: np.asarray(operands[0] + operands[1]),
    "Sub": lambda call, operands: np.asarray(operands[0] - operands[1]),
    "Mul": lambda call, operands: np.asarray(operands[0] * operands[1]),
    "Div": _div,
    "Equal": _compared("Equal"),
    "Greater": _compared("Greater"),
    "Less": _compared("Less"),
    "Not": _not,
    "Where": _where,
    "ReduceProd": _product,
    "Size": lambda call, operands: np.array(operands[0].size, np.int64),
    "Floor": _rule,
    "Ceil": _rule,
    "ConstantOfShape": _constant_of_shape,
}


def folded_operators() -> list[str]:
    """ONNX operators that vanish, or that are computed while importing where their operands are known."""
    return sorted({operator for operator, ops in BECOMES.items() if not ops} | set(RULES))


def chosen(call: Call) -> Value | Known | None:
    """What `Where` gives under a known condition that is the same everywhere; None where it is anything else."""
    if call.node.op_type != "Where" or len(call.operands) != 3:
        return None
    condition, *choices = call.operands
    if not isinstance(condition, np.ndarray) or condition.dtype == object or not condition.size:
        return None
    if condition.any() != condition.all():
        return None
    both = [each for each in choices if isinstance(each, Value | np.ndarray)]
    if len(both) < 2:
        return None
    choice = both[0 if condition.any() else 1]
    shapes = [each.type.shape if isinstance(each, Value) else each.shape for each in both]
    shape = choice.type.shape if isinstance(choice, Value) else choice.shape
    return choice if broadcast(condition.shape, *shapes) == shape else None


def fold(call: Call) -> list[Known]:
    """The node's results, all operands being known. Raises `RefusalError`."""
    operands = [operand for operand in call.operands if isinstance(operand, np.ndarray)]
    symbolic = any(operand.dtype == object for operand in operands)
    operator = call.node.op_type
    if symbolic and operator not in RULES:
        raise RefusalError("it computes with sizes that are known only at run time")
    if operator in RULES and len(operands) == len(call.operands) and (symbolic or operator == "ConstantOfShape"):
        try:
            return [_plain(RULES[operator](call, operands))]
        except (GraphError, TypeError, ValueError, IndexError) as error:
            raise RefusalError(f"it computes with sizes that are known only at run time ({error})") from error
    return _reference(call)


def _elements(call: Call) -> float:
    """How many elements a node gives that makes more of few, about; 0 for all others. Its operands are known."""
    first, *rest = [np.asarray(operand, np.float64) if _is_numeric(operand) else None for operand in call.operands]
    others = [operand for operand in rest if operand is not None]
    operator = call.node.op_type
    size = float(first.size) if first is not None else 0.0
    if operator in ("Expand", "Reshape") and others:
        return float(np.prod(np.maximum(others[0], 1))) * (size if operator == "Expand" and not others[0].size else 1)
    if operator == "Resize" and len(rest) == 3 and (sizes := rest[2]) is not None and sizes.size:
        return float(np.prod(np.maximum(sizes, 1))) * (1 if first is not None and sizes.size == first.ndim else size)
    if operator in ("Tile", "Upsample", "Resize") and others:
        return size * float(max(np.prod(np.maximum(np.abs(other), 1)) for other in others))
    if operator == "Range" and len(others) == 2 and first is not None:
        return float(np.max(np.abs((others[0] - first) / np.where(others[1], others[1], 1)), initial=0))
    if operator == "OneHot" and others:
        return size * float(np.max(np.abs(others[0]), initial=1))
    if operator == "Pad" and first is not None:
        pads = others[0] if others else np.asarray(call.attribute("pads", ()), np.float64)
        sides = np.abs(pads).reshape(2, -1).sum(0) if pads.size == 2 * first.ndim else np.abs(pads).sum()
        return float(np.prod(first.shape + sides))
    if operator in ("BlackmanWindow", "HammingWindow", "HannWindow", "ConstantOfShape", "EyeLike") and first is not None:
        return float(np.prod(np.maximum(np.abs(first), 1))) if operator != "EyeLike" else size
    return 0.0


def _is_numeric(operand: object) -> bool:
    return isinstance(operand, np.ndarray) and operand.dtype.kind in "fiub"


def _reference(call: Call) -> list[Known]:
    """By ONNX's reference evaluator."""
    from onnx.reference import ReferenceEvaluator

    node = call.node
    names = [name for name in node.input if name]
    if _elements(call) > LARGEST:
        raise RefusalError(f"its result would have more than {LARGEST} elements")
    feeds = {name: operand for name, operand in zip(node.input, call.operands, strict=True) if operand is not None}
    inputs = [onnx.helper.make_empty_tensor_value_info(name) for name in dict.fromkeys(names)]
    outputs = [onnx.helper.make_empty_tensor_value_info(name) for name in node.output if name]
    graph = onnx.helper.make_graph([node], "fold", inputs, outputs)
    opsets = [onnx.helper.make_opsetid(node.domain, 1)] if node.domain else []
    model = onnx.helper.make_model(graph, opset_imports=[*opsets, onnx.helper.make_opsetid("", call.opset)])
    try:
        results = ReferenceEvaluator(model).run(None, feeds)
    except Exception as error:  # the evaluator raises whatever NumPy does; all of it means the same here
        raise RefusalError(f"it cannot be computed while importing ({type(error).__name__}: {error})") from error
    arrays = [np.asarray(array) for array in results]
    return [usual(array) for array in arrays]
