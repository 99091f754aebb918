"""ONNX Runtime as the reference for what a model computes."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from snnir.errors import ModelError, NoReferenceError
from snnir.frontends.onnx.model import Source, load_model
from snnir.frontends.onnx.sizes import normalised

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, SessionOptions

__all__ = ["run_onnxruntime", "run_serialized"]


def run_onnxruntime(
    source: Source,
    inputs: Mapping[str, np.ndarray],
    batch_axes: Mapping[str, int] | None = None,
    ranks: Mapping[str, int] | None = None,
) -> dict[str, np.ndarray]:
    """Outputs by name, on the CPU. A model that fixes its batch runs in pieces of that size, which are joined again; one
    that knows no batch (an input has one axis less than what is given) runs sample by sample, and so does one that
    fails on several at once, as the nodes of a model with an open batch may still be written for one.

    `batch_axes` names the batch axis of inputs and outputs where it is not the first, `ranks` how many axes outputs have once
    their pieces are together: one more than those of a model that knows no batch. Raises `ModelError`.
    """
    if isinstance(source, str | Path) and not _has_empty_sizes(Path(source)):
        return run_serialized(str(source), inputs, batch_axes, ranks)
    return run_serialized(normalised(load_model(source, as_stored=True)[0]).SerializeToString(), inputs, batch_axes, ranks)


def _has_empty_sizes(path: Path) -> bool:
    """Whether an input has a size of 0, which means an unknown one, and which ONNX Runtime takes at its word."""
    try:
        graph = onnx.load(path, load_external_data=False).graph
    except Exception:  # protobuf's errors and those of files
        load_model(path, as_stored=True)  # says what is wrong with it
        raise
    if not graph.output:
        load_model(path, as_stored=True)  # an empty file, and others without a graph
    sizes = [size for entry in graph.input for size in entry.type.tensor_type.shape.dim]
    return any(size.HasField("dim_value") and not size.dim_value for size in sizes)


def run_serialized(
    given: str | bytes,
    inputs: Mapping[str, np.ndarray],
    batch_axes: Mapping[str, int] | None = None,
    ranks: Mapping[str, int] | None = None,
    fused: bool = True,
) -> dict[str, np.ndarray]:
    """The same for a file's path or a model's bytes, which need not pass ONNX's checker.

    Without `fused` nodes are computed one by one: fused kernels of quantized models round in other places than the nodes say.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.x64quantprecision", "1")  # else some integer kernels saturate at 16 bits
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # short runs: waiting threads would keep cores busy
    if not fused:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = _opened(onnxruntime, given, options)
        feeds = {}
        for entry in session.get_inputs():
            if entry.name in inputs:
                element = entry.element if isinstance(entry, _Entry) else _ELEMENTS[entry.type]
                kind = onnx.helper.tensor_dtype_to_np_dtype(element)
                feeds[entry.name] = np.asarray(inputs[entry.name], dtype=kind, order="C")
        axes = dict(batch_axes or {})
        pieces = _pieces(session, feeds, axes)
        names = [entry.name for entry in session.get_outputs()]
        pieces, results = _results(session, names, pieces, axes)
    except ModelError:
        raise
    except Exception as error:  # onnxruntime's errors have no common base class
        raise ModelError(f"ONNX Runtime cannot run the model: {str(error).strip().splitlines()[0]}") from error
    results = [[_tensor(value) for value in result] for result in results]
    outputs = dict(zip(names, zip(*results, strict=True), strict=True))
    alone = _without_batch(session, feeds)
    joined = {}
    for name, parts in outputs.items():
        arrays, axis = [np.asarray(part) for part in parts], axes.get(name, 0)
        lacking = alone and (arrays[0].ndim <= axis or arrays[0].shape[axis] != 1)
        apart = lacking if ranks is None or name not in ranks else arrays[0].ndim < ranks[name]
        joined[name] = np.stack(arrays, axis) if apart else arrays[0] if len(arrays) == 1 else np.concatenate(arrays, axis)
    if len(pieces) == 1 and all(pieces[0][name].shape == array.shape for name, array in feeds.items()):
        return joined
    samples = max(array.shape[axes.get(name, 0)] for name, array in feeds.items() if array.ndim > axes.get(name, 0))
    return {name: _first(array, axes.get(name, 0), samples) for name, array in joined.items()}


_Feeds = dict[str, np.ndarray]


def _results(
    session: InferenceSession | _Evaluator, names: list[str], pieces: list[_Feeds], axes: Mapping[str, int]
) -> tuple[list[_Feeds], list[Any]]:
    """What the session makes of each piece, or of each sample where it fails on all at once; with what it ran on."""
    try:
        return pieces, [session.run(names, piece) for piece in pieces]
    except Exception:  # onnxruntime's errors have no common base class
        counts = {array.shape[axes.get(name, 0)] for name, array in pieces[0].items() if array.ndim > axes.get(name, 0)}
        if len(pieces) > 1 or len(counts) != 1 or counts == {1}:
            raise
        single = [{name: array.take([n], axes.get(name, 0)) for name, array in pieces[0].items()} for n in range(counts.pop())]
        with contextlib.suppress(Exception):  # what it said of all samples is the better message
            return single, [session.run(names, piece) for piece in single]
        raise


def _tensor(value: object) -> object:
    """A list of dictionaries (ZipMap) as their numbers, one row each, in the order of the keys."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return np.array([list(item.values()) for item in value], np.float32)
    return value


def _opened(onnxruntime: ModuleType, given: str | bytes, options: SessionOptions) -> InferenceSession | _Evaluator:
    """A session; where ONNX Runtime has no kernel for an operator, ONNX's reference evaluator."""
    try:
        return _session(onnxruntime, given, options)
    except Exception as error:  # onnxruntime's errors have no common base class
        if "NOT_IMPLEMENTED" not in str(error) and "not supported" not in str(error):
            raise
        return _Evaluator(onnx.load(given) if isinstance(given, str) else onnx.load_model_from_string(given), str(error))


class _Entry:
    """An input or output, as sessions of ONNX Runtime describe it."""

    def __init__(self, entry: onnx.ValueInfoProto) -> None:
        tensor = entry.type.tensor_type
        self.name, self.element = entry.name, tensor.elem_type
        self.shape = [int(size.dim_value) if size.HasField("dim_value") else size.dim_param for size in tensor.shape.dim]


class _Evaluator:
    """ONNX's reference evaluator in the place of a session. Raises `NoReferenceError` where it cannot run the model either."""

    def __init__(self, model: onnx.ModelProto, reason: str) -> None:
        from onnx.reference import ReferenceEvaluator

        stored = {tensor.name for tensor in model.graph.initializer}
        self._inputs = [_Entry(entry) for entry in model.graph.input if entry.name not in stored]
        self._outputs = [_Entry(entry) for entry in model.graph.output]
        self._reason = reason.strip().splitlines()[0]
        try:
            self._evaluator = ReferenceEvaluator(model)
        except Exception as error:  # the evaluator raises whatever NumPy does
            raise self._failed(error) from error

    def get_inputs(self) -> list[_Entry]:
        """The inputs, in order."""
        return self._inputs

    def get_outputs(self) -> list[_Entry]:
        """The outputs, in order."""
        return self._outputs

    def run(self, names: list[str], feeds: Mapping[str, np.ndarray]) -> list[object]:
        """The outputs called `names`."""
        try:
            found: Any = self._evaluator.run(names, dict(feeds))
        except Exception as error:  # the evaluator raises whatever NumPy does
            raise self._failed(error) from error
        return [array.astype(np.float32) if getattr(array, "dtype", None) in _HALF else array for array in found]

    def _failed(self, error: Exception) -> NoReferenceError:
        said = next(iter(str(error).strip().splitlines()), type(error).__name__)
        return NoReferenceError(
            f"neither ONNX Runtime ({self._reason}) nor ONNX's reference evaluator ({said}) can run the model"
        )


def _session(onnxruntime: ModuleType, given: str | bytes, options: SessionOptions) -> InferenceSession:
    """A session; without graph optimisations where those fail, as they do on some quantized models."""
    providers = ["CPUExecutionProvider"]
    try:
        return onnxruntime.InferenceSession(given, options, providers=providers)
    except Exception as error:  # onnxruntime's errors have no common base class; the next try says what is wrong with the model
        newest = re.search(r"max supported IR version: (\d+)", str(error))
        if newest:  # the operator sets decide what is computed; the version is that of the file's format
            model = onnx.load(given) if isinstance(given, str) else onnx.load_model_from_string(given)
            model.ir_version = int(newest[1])
            return _session(onnxruntime, model.SerializeToString(), options)
        if "same node name" in str(error):  # names of nodes mean nothing, and ONNX permits them twice
            model = onnx.load(given) if isinstance(given, str) else onnx.load_model_from_string(given)
            for node in model.graph.node:
                node.ClearField("name")
            return _session(onnxruntime, model.SerializeToString(), options)
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        return onnxruntime.InferenceSession(given, options, providers=providers)


def _without_batch(session: object, feeds: Mapping[str, np.ndarray]) -> bool:
    return any(feeds[entry.name].ndim == len(entry.shape) + 1 for entry in session.get_inputs() if entry.name in feeds)  # type: ignore[attr-defined]


def _first(array: np.ndarray, axis: int, count: int) -> np.ndarray:
    return array.take(range(min(count, array.shape[axis])), axis) if array.ndim > axis else array


_HALF = (np.dtype(np.float16), onnx.helper.tensor_dtype_to_np_dtype(onnx.TensorProto.BFLOAT16))
_ELEMENTS = {
    f"tensor({name})": element
    for name, element in (
        ("float", onnx.TensorProto.FLOAT),
        ("double", onnx.TensorProto.DOUBLE),
        ("float16", onnx.TensorProto.FLOAT16),
        ("int64", onnx.TensorProto.INT64),
        ("int32", onnx.TensorProto.INT32),
        ("int16", onnx.TensorProto.INT16),
        ("int8", onnx.TensorProto.INT8),
        ("uint64", onnx.TensorProto.UINT64),
        ("uint32", onnx.TensorProto.UINT32),
        ("uint16", onnx.TensorProto.UINT16),
        ("uint8", onnx.TensorProto.UINT8),
        ("bool", onnx.TensorProto.BOOL),
        ("string", onnx.TensorProto.STRING),
    )
}


def _sample(array: np.ndarray, n: int, axis: int, rank: int) -> np.ndarray:
    """Sample n, without the batch axis where the model has `rank` axes only."""
    return array.take(n, axis) if array.ndim > rank else array.take([n], axis)


def _pieces(session: object, feeds: Mapping[str, np.ndarray], axes: Mapping[str, int]) -> list[dict[str, np.ndarray]]:
    """The feeds, cut along the batch where the model fixes that axis to a smaller size."""
    shapes = {entry.name: entry.shape for entry in session.get_inputs()}  # type: ignore[attr-defined]
    if _without_batch(session, feeds):
        total = max(array.shape[0] for name, array in feeds.items() if array.ndim == len(shapes[name]) + 1)
        return [
            {name: _sample(array, n, axes.get(name, 0), len(shapes[name])) for name, array in feeds.items()} for n in range(total)
        ]
    given = {name: array.shape[axes.get(name, 0)] for name, array in feeds.items() if array.ndim > axes.get(name, 0)}
    fixed = {shapes[name][axes.get(name, 0)] for name in given}
    sizes = {size for size in fixed if isinstance(size, int)} - set(given.values())
    if len(sizes) != 1:
        return [dict(feeds)]
    (size,) = sizes
    total = min(given.values())
    if size == 0:
        return [dict(feeds)]
    # the last piece is filled up with the last sample
    rows = [np.minimum(np.arange(start, start + size), total - 1) for start in range(0, total, size)]
    return [{name: array.take(row, axis=axes.get(name, 0)) for name, array in feeds.items()} for row in rows]
