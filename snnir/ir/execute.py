"""The reference executor: what a graph means, in NumPy, at every level.

At the float level values are real numbers; at the quantized and the spiking level levels and sums are int64 and
nothing else computes between `quantize`/`encode` and `dequantize`/`readout` (the spiking level's meaning here is what
it settles to). Simple on purpose: everything faster is tested against it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from snnir.errors import GraphError, InputError
from snnir.ir.dims import Dim
from snnir.ir.finite import needs_finite
from snnir.ir.graph import Graph, Node, Value
from snnir.ir.ops import Function, Scan
from snnir.ir.types import DTYPES, TensorType
from snnir.ir.windows import check_windows

__all__ = [
    "Observer",
    "bind_sizes",
    "check_inputs",
    "compute",
    "drawn",
    "execute",
    "fixed_size_note",
    "function_levels",
    "real",
]

Observer = Callable[[Value, np.ndarray], None]
"""Called with every value computed, once for each element inside a scan."""


def execute(
    graph: Graph,
    inputs: Mapping[str, np.ndarray],
    observe: Observer | None = None,
    only: Sequence[Value] | None = None,
    known: Mapping[Value, np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    """Outputs of `graph` by name, for input arrays by name.

    Levels come out as integers. `observe` sees each value, bodies included (sequence elements in order); `only`
    replaces the outputs by these top-level values, by their own names. `known` gives top-level values that need not be
    computed: nodes all of whose results are among them are left out. Raises `InputError`.
    """
    inputs = check_inputs(graph, inputs)
    sizes = bind_sizes(graph, inputs)
    wanted = dict(graph.outputs) if only is None else {value.name: value for value in only}
    arrays = {value: inputs[value.name] for value in graph.inputs} | dict(known or {})
    if observe is not None:
        for value, array in arrays.items():
            observe(value, array)
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # infinities are reported where they matter
            _run(graph, arrays, sizes, observe, set(wanted.values()))
    except (ValueError, GraphError):  # perhaps a window that is larger than its data
        check_windows(graph, sizes)
        raise
    return {name: arrays[value] for name, value in wanted.items()}


_FEW_BITS = ("bfloat16", "float8", "float4", "int4", "uint4", "int2", "uint2")
"""Names of element types that NumPy itself lacks, and that other packages bring along."""


def check_inputs(graph: Graph, inputs: Mapping[str, np.ndarray], unseen: Collection[str] = ()) -> dict[str, np.ndarray]:
    """`inputs` as arrays of the declared dtypes. Raises `InputError` naming input, what was found and what is expected.

    In those called `unseen` NaN and infinities are not looked for: the caller looks for them while it computes.
    """
    names = [value.name for value in graph.inputs]
    if len(inputs) != len(names) or not all(name in inputs for name in names):
        raise InputError(f"model {graph.name} takes inputs {', '.join(names)}; given were {', '.join(inputs) or 'none'}")
    arrays: dict[str, np.ndarray] = {}
    sizes: dict[str, int] = {}
    for value in graph.inputs:
        array = np.asarray(inputs[value.name])
        if value.type.dtype == "str":
            array = _words(value, array)
        elif array.dtype.kind not in "fiub" and not array.dtype.name.startswith(_FEW_BITS):
            raise InputError(f"input {value.name}: expected numbers ({value.type}), found dtype {array.dtype}")
        fits = array.ndim == value.type.rank
        for size, found in zip(value.type.shape, array.shape, strict=False):
            expected = size if isinstance(size, int) else sizes.setdefault(str(size), found)
            fits = fits and found == expected
        for axis, size in enumerate(value.type.shape):
            limit = graph.limits.get(str(size))
            if fits and limit is not None and array.shape[axis] > limit:
                raise InputError(
                    f"input {value.name}: {size} (axis {axis}) is {array.shape[axis]}, and at most {limit} in this program; "
                    f"compile it with a higher upper end (--dim '{size}<={array.shape[axis]}')"
                )
        if not fits:
            said = f"input {value.name}: expected shape {_shape_text(value.type)}, found {list(array.shape)}"
            raise InputError(said + _fixed_sizes(graph, value, array.shape))
        if value.type.dtype == "str":
            arrays[value.name] = array
        else:
            arrays[value.name] = (
                _integers(value, array) if value.type.is_exact else _reals(graph, value, array, value.name in unseen)
            )
    return arrays


def fixed_size_note(name: str, entry: str, axis: int, number: int, why: str) -> str:
    """The note of a graph on a size that its model leaves open and that is a number now."""
    return f"{name} (axis {axis} of input {entry}) is {number}, {why}"


def _fixed_sizes(graph: Graph, value: Value, shape: Sequence[int]) -> str:
    """What the notes of a graph say of the axes that differ from `shape`."""
    wrong = [axis for axis, (size, found) in enumerate(zip(value.type.shape, shape, strict=False)) if size != found]
    said = [note for axis in wrong for note in graph.notes if f"(axis {axis} of input {value.name}) is " in note]
    return "".join(f"; {note}" for note in said)


def _words(value: Value, array: np.ndarray) -> np.ndarray:
    """`array` as words, whole: NumPy's arrays of a fixed width drop zero characters at the end."""
    words = array.reshape(-1).tolist()
    if not all(isinstance(word, str) and not word.endswith("\0") for word in words):
        raise InputError(f"input {value.name}: expected words ({value.type}), found dtype {array.dtype}; give strings")
    return np.array(words, np.str_).reshape(array.shape)


def _reals(graph: Graph, value: Value, array: np.ndarray, unseen: bool) -> np.ndarray:
    """`array` in the declared type: finite, except where NaN and infinities meet nothing that needs finite numbers."""
    found, dtype = array, DTYPES[value.type.dtype]
    if array.dtype != dtype:
        with np.errstate(over="ignore", invalid="ignore"):
            found = array.astype(dtype)
    if unseen:
        return found
    finite = np.isfinite(found)
    if finite.all():
        return found
    beyond = int((np.isfinite(array) & ~finite).sum()) if array.dtype.kind == "f" else 0
    if beyond:
        raise InputError(f"input {value.name} holds {beyond} values beyond the range of {found.dtype}; scale or replace them")
    reason = needs_finite(graph, value, below=not (np.isnan(found) | np.isposinf(found)).any())
    if reason:
        count = int(found.size - finite.sum())
        raise InputError(f"input {value.name} holds {count} NaN or infinite values, and {reason}; remove or replace them")
    return found


def _integers(value: Value, array: np.ndarray) -> np.ndarray:
    """`array` as integers of the declared type; real numbers where each of them is one."""
    if array.dtype.kind not in "iub":
        array = array.astype(np.float64)
        if not np.isfinite(array).all():
            count = int(array.size - np.isfinite(array).sum())
            raise InputError(f"input {value.name} holds {count} NaN or infinite values, and takes integers; replace them")
        wrong = array[array != np.trunc(array)].reshape(-1)
        if wrong.size:
            raise InputError(
                f"input {value.name}: expected integers ({value.type}), found {wrong.size} numbers of {array.size} "
                f"that are none, the first {wrong[0]}; round them first"
            )
    dtype = DTYPES[value.type.dtype]
    least, most = (0, 1) if dtype.kind == "b" else (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
    if array.size and (int(array.min()) < least or int(array.max()) > most):
        raise InputError(
            f"input {value.name}: expected {least}..{most} ({value.type}), found {int(array.min())}..{int(array.max())}"
        )
    return array.astype(DTYPES[value.type.dtype], copy=False)


def drawn(type_: TensorType, shape: Sequence[int], generator: np.random.Generator) -> np.ndarray:
    """An array to try a graph on: standard normal numbers; integers from 1 to 3, which every table, shift and division takes."""
    if type_.dtype == "str":
        return generator.integers(1, 4, shape).astype(np.str_)
    if type_.is_exact:
        return generator.integers(0 if type_.dtype == "bool" else 1, 2 if type_.dtype == "bool" else 4, shape).astype(
            DTYPES[type_.dtype]
        )
    return generator.standard_normal(shape).astype(DTYPES[type_.dtype])


def bind_sizes(graph: Graph, inputs: Mapping[str, np.ndarray]) -> dict[str, int]:
    """What each named dimension of the inputs measures for these arrays."""
    sizes: dict[str, int] = {}
    for value in graph.inputs:
        for size, found in zip(value.type.shape, inputs[value.name].shape, strict=True):
            if isinstance(size, Dim):
                sizes[str(size)] = int(found)
    return sizes


def _run(
    graph: Graph,
    arrays: dict[Value, np.ndarray],
    sizes: dict[str, int],
    observe: Observer | None,
    keep: set[Value],
) -> None:
    """Compute every node, dropping arrays after their last use except those of `keep`."""
    arrays.update((value, value.array) for value in graph.constants)
    remaining = {value: len(value.uses) for value in graph.values.values()}
    for node in graph.nodes:
        if all(value in arrays for value in node.outputs):
            continue
        operands = [arrays[value] for value in node.operands]
        results = compute(node, operands, sizes, observe)
        for value, array in zip(node.outputs, results, strict=True):
            arrays[value] = array
            if observe is not None:
                observe(value, array)
        for value in node.operands:
            remaining[value] -= 1
            if not remaining[value] and value not in keep:
                arrays.pop(value, None)


def compute(
    node: Node, operands: Sequence[np.ndarray], sizes: Mapping[str, int], observe: Observer | None = None
) -> Sequence[np.ndarray]:
    """Results of one node, from what its operands hold; `observe` sees the values of its body."""
    if isinstance(node.op, Scan):
        return _scan(node, operands, dict(sizes), observe)
    if isinstance(node.op, Function):
        return function_levels(node, operands, dict(sizes))
    return apply(node, operands, sizes)


def apply(node: Node, operands: Sequence[np.ndarray], sizes: Mapping[str, int]) -> tuple[np.ndarray, ...]:
    """Results of one node without a body; levels are read as real numbers where its op asks for those."""
    types = [value.type for value in node.operands]
    if not node.op.stored(types):
        operands = [real(array, type_) for array, type_ in zip(operands, types, strict=True)]
    results = node.op.bind(sizes).evaluate(*operands)
    return tuple(array.astype(DTYPES[value.type.dtype], copy=False) for array, value in zip(results, node.outputs, strict=True))


def function_levels(node: Node, operands: Sequence[np.ndarray], sizes: Mapping[str, int]) -> tuple[np.ndarray, ...]:
    """The levels, int64, that a `function` gives for complete levels and sums of its operands."""
    op = node.expect(Function)
    body = node.inner
    arrays = {value: np.asarray(array, np.int64) for value, array in zip(body.inputs, operands, strict=True)}
    _run(body, arrays, dict(sizes), None, set(body.outputs.values()))
    bounds = zip(body.outputs.values(), op.lo, op.hi, strict=True)
    return tuple(np.clip(arrays[value], lo, hi) for value, lo, hi in bounds)


def real(array: np.ndarray, type_: TensorType) -> np.ndarray:
    """The real numbers (f32) that stored levels stand for; anything else as it is."""
    if type_.quantization is None:
        return array
    return (array * type_.quantization.scale).astype(np.float32)


def _scan(node: Node, operands: Sequence[np.ndarray], sizes: dict[str, int], observe: Observer | None) -> list[np.ndarray]:
    op, body = node.expect(Scan), node.inner
    sequences = operands[op.states : op.states + op.elements]
    batch = next((size for value, array in zip(node.operands, operands, strict=True) for size in _batch(value, array)), 1)
    states = []
    for value, array in zip(body.inputs[: op.states], operands, strict=False):
        shape = tuple(size if isinstance(size, int) else sizes.get(str(size), batch) for size in value.type.shape)
        states.append(np.broadcast_to(array, shape))
    length = sequences[0].shape[op.axis]
    stacked: list[list[np.ndarray]] = [[] for _ in node.outputs[op.states :]]
    outputs = list(body.outputs.values())
    for k in reversed(range(length)) if op.reverse else range(length):
        elements = [array.take(k, axis=op.axis) for array in sequences]
        given = [*states, *elements, *operands[op.states + op.elements :]]
        arrays = dict(zip(body.inputs, given, strict=True))
        if observe is not None:
            for value, array in arrays.items():
                observe(value, array)
        _run(body, arrays, sizes, observe, set(outputs))
        states = [arrays[value] for value in outputs[: op.states]]
        for rows, value in zip(stacked, outputs[op.states :], strict=True):
            rows.append(arrays[value])
    results = [np.asarray(state) for state in states]
    for value, rows in zip(node.outputs[op.states :], stacked, strict=True):
        if not rows:
            empty = [sizes.get(str(size), 0) if isinstance(size, Dim) else size for size in value.type.shape]
            results.append(np.zeros(empty, DTYPES[value.type.dtype]))
        else:
            results.append(np.stack(rows[::-1] if op.reverse else rows, axis=op.axis))
    return results


def _batch(value: Value, array: np.ndarray) -> list[int]:
    axis = value.type.batch_axis
    return [] if axis is None else [array.shape[axis]]


def _shape_text(type_: TensorType) -> str:
    return "[" + ", ".join(str(size) for size in type_.shape) + "]"
