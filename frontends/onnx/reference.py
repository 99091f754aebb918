"""ONNX Runtime as the reference for what a model computes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx

from snnir.errors import ModelError
from snnir.frontends.onnx.model import Source, load_model

__all__ = ["run_onnxruntime"]


def run_onnxruntime(source: Source, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Outputs by name, on the CPU. A model that fixes its batch runs in pieces of that size. Raises `ModelError`."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        given = str(source) if isinstance(source, str | Path) else load_model(source)[0].SerializeToString()
        session = onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])
        feeds = {}
        for entry in session.get_inputs():
            if entry.name in inputs:
                kind = onnx.helper.tensor_dtype_to_np_dtype(_ELEMENTS[entry.type])
                feeds[entry.name] = np.ascontiguousarray(inputs[entry.name], dtype=kind)
        pieces = _pieces(session, feeds)
        names = [entry.name for entry in session.get_outputs()]
        results = [session.run(names, piece) for piece in pieces]
    except ModelError:
        raise
    except Exception as error:  # onnxruntime's errors have no common base class
        raise ModelError(f"ONNX Runtime cannot run the model: {str(error).strip().splitlines()[0]}") from error
    joined = [parts[0] if len(parts) == 1 else np.concatenate(parts) for parts in zip(*results, strict=True)]
    return dict(zip(names, joined, strict=True))


_ELEMENTS = {
    f"tensor({name})": element
    for name, element in (
        ("float", onnx.TensorProto.FLOAT),
        ("double", onnx.TensorProto.DOUBLE),
        ("float16", onnx.TensorProto.FLOAT16),
        ("int64", onnx.TensorProto.INT64),
        ("int32", onnx.TensorProto.INT32),
        ("int8", onnx.TensorProto.INT8),
        ("uint8", onnx.TensorProto.UINT8),
        ("bool", onnx.TensorProto.BOOL),
    )
}


def _pieces(session: object, feeds: Mapping[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    """The feeds, cut along axis 0 where the model fixes that axis to a smaller size."""
    shapes = {entry.name: entry.shape for entry in session.get_inputs()}  # type: ignore[attr-defined]
    sizes = {
        shape[0]
        for name, shape in shapes.items()
        if name in feeds and shape and isinstance(shape[0], int) and shape[0] != feeds[name].shape[0]
    }
    if len(sizes) != 1:
        return [dict(feeds)]
    (size,) = sizes
    total = min(array.shape[0] for array in feeds.values())
    if size == 0 or total % size:
        return [dict(feeds)]
    return [{name: array[start : start + size] for name, array in feeds.items()} for start in range(0, total, size)]
