"""Load an ONNX model from a file, bytes or memory, with every complaint in one clear sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError, Message

from snnir.errors import ModelError, UnsupportedError, UsageError
from snnir.frontends.onnx.blocked import without_blocks
from snnir.frontends.onnx.inlined import inlined
from snnir.frontends.onnx.masks import is_mask
from snnir.frontends.onnx.upgrade import STORED, raised
from snnir.ir.file_kinds import kind_of

__all__ = [
    "OLDEST_OPSET",
    "Source",
    "initializers",
    "initializers_named",
    "load_model",
    "metadata",
    "opset_of",
    "provenance",
    "to_array",
    "usual",
]

Source = str | Path | bytes | onnx.ModelProto
OLDEST_OPSET = 11
FEW_BITS = ("int2", "uint2", "int4", "uint4")
"""Element types that NumPy lacks and that stay as they are: they say how many bits a quantized model's integers have."""


def load_model(source: Source, as_stored: bool = False) -> tuple[onnx.ModelProto, str]:
    """The model with its external data, local functions inlined, raised to the oldest operator set that is read, and a name
    for it; `as_stored` leaves it in its operator set. Raises `ModelError`, `UnsupportedError`.
    """
    if isinstance(source, onnx.ModelProto):
        model, name = source, source.graph.name or "model"
    elif isinstance(source, bytes):
        model, name = _parse(source, "the given bytes"), "model"
        if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer):
            raise ModelError("the given bytes refer to external data; give the path of the file instead")
    elif isinstance(source, str | Path):
        model, name = _read(Path(source)), Path(source).stem
    else:
        raise UsageError(
            f"{type(source).__name__} is no model: give an ONNX file or model, a module of PyTorch (not its state dict: build "
            "the module, call load_state_dict and eval), or an exported program"
        )
    if not model.graph.node and not model.graph.output:
        raise ModelError(f"{_label(source)} holds no ONNX graph; is it an ONNX model?")
    if not model.graph.output:
        raise ModelError(f"{_label(source)} gives nothing out: its graph has no outputs; add those that are wanted")
    if not _is_text(model):
        raise ModelError(f"{_label(source)} is not a valid ONNX model: it holds names that are not UTF-8")
    model = model if as_stored else raised(model, OLDEST_OPSET)
    if not as_stored:
        opset_of(model)
    try:
        model = inlined(model if as_stored else without_blocks(model))
        onnx.checker.check_model(model)
    except (ModelError, UnsupportedError):
        raise
    except Exception as error:  # the checker's own errors, and what its C++ side raises on damaged files
        raise ModelError(f"{_label(source)} is not a valid ONNX model: {_first_line(error)}") from error
    return model, name


def _is_text(message: Message) -> bool:
    """Whether all texts of a message are UTF-8: protobuf hands out others as bytes."""
    for field, value in message.ListFields():
        if field.type == field.TYPE_STRING:
            if any(isinstance(item, bytes) for item in ([value] if isinstance(value, str | bytes) else value)):
                return False
        elif field.type == field.TYPE_MESSAGE and not all(map(_is_text, [value] if isinstance(value, Message) else value)):
            return False
    return True


def _label(source: Source) -> str:
    return str(source) if isinstance(source, str | Path) else "the given model"


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]


def _parse(content: bytes, label: str) -> onnx.ModelProto:
    if not content:
        raise ModelError(f"{label} is empty, not an ONNX model")
    kind = kind_of(content)
    if kind is not None and kind.advice:
        raise ModelError(f"{label} is no ONNX model, but {kind}")
    try:
        return onnx.load_model_from_string(content)
    except (DecodeError, ValueError) as error:
        raise ModelError(
            f"{label} is truncated or not an ONNX model ({_first_line(error)}); write or fetch it again, whole"
        ) from error


def _read(path: Path) -> onnx.ModelProto:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ModelError(f"{path} does not exist; give an ONNX file, or a .pt2 file of torch.export") from None
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}; give an ONNX file, or a .pt2 file of torch.export") from error
    model = _parse(content, str(path))
    try:
        onnx.load_external_data_for_model(model, str(path.parent))
    except (onnx.checker.ValidationError, OSError, ValueError, RuntimeError) as error:
        raise ModelError(
            f"{path}: its external data cannot be loaded ({_first_line(error)}); keep the data files inside the model's folder"
        ) from error
    return model


def opset_of(model: onnx.ModelProto) -> int:
    """The version of ONNX's own operator set. Raises `UnsupportedError` out of range."""
    versions = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    newest = int(onnx.defs.onnx_opset_version())
    if not versions and any(entry.domain == "ai.onnx.ml" for entry in model.opset_import):
        return newest
    if not versions:
        raise ModelError("the model imports no ONNX operator set")
    if not OLDEST_OPSET <= versions[0] <= newest:
        raise UnsupportedError(
            f"the model uses ONNX opset {versions[0]}; supported are {OLDEST_OPSET} to {newest}. "
            "Export it again, or convert it with onnx.version_converter"
        )
    return int(versions[0])


def provenance(model: onnx.ModelProto) -> str:
    """The operator sets of a model and what wrote it, like `opset 17, made by pytorch 2.1`."""
    own = ("", "ai.onnx")
    stored = next((f" (of the file: {entry.value})" for entry in model.metadata_props if entry.key == STORED), "")
    named = [("opset", stored) if entry.domain in own else (entry.domain, "") for entry in model.opset_import]
    sets = [f"{name} {entry.version}{note}" for (name, note), entry in zip(named, model.opset_import, strict=True)]
    maker = " ".join(filter(None, (model.producer_name, model.producer_version)))
    return ", ".join(dict.fromkeys([*sets, f"made by {maker}"] if maker else sets))


def metadata(model: onnx.ModelProto) -> dict[str, str]:
    """What a model says of itself beside its nodes: domain, version, description, and the key-value pairs of its maker."""
    version = str(model.model_version) if model.model_version else ""
    described = {"domain": model.domain, "model_version": version, "doc_string": model.doc_string, "graph": model.graph.name}
    pairs = {f"metadata/{entry.key}": entry.value for entry in model.metadata_props}
    return {key: value for key, value in (described | pairs).items() if value}


def initializers(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Constants by name; half precision becomes float32. Raises `ModelError` naming a tensor with NaN, or with infinities
    that are no mask.
    """
    arrays = {}
    for tensor in model.graph.initializer:
        array = to_array(tensor)
        arrays[tensor.name] = array if is_mask(model.graph, tensor.name, array) else finite(array, f"initializer {tensor.name}")
    for sparse in model.graph.sparse_initializer:
        raise UnsupportedError(f"sparse initializer {sparse.values.name}: store it as a dense tensor")
    return arrays


def initializers_named(model: onnx.ModelProto) -> set[str]:
    """Names of the constants that the file stores."""
    return {tensor.name for tensor in model.graph.initializer}


def to_array(tensor: onnx.TensorProto) -> np.ndarray:
    """The tensor's data; real numbers of fewer bits become float32. Raises `ModelError`."""
    try:
        array = onnx.numpy_helper.to_array(tensor)
    except (ValueError, TypeError, RuntimeError, KeyError) as error:
        raise ModelError(f"tensor {tensor.name} cannot be read: {_first_line(error)}") from error
    return usual(array)


def usual(array: np.ndarray) -> np.ndarray:
    """`array`, where its real numbers have fewer bits than float32 as float32, which holds them all; words as NumPy's."""
    if array.dtype == object and array.size and all(isinstance(item, str | bytes) for item in array.reshape(-1).tolist()):
        words = [item.decode() if isinstance(item, bytes) else item for item in array.reshape(-1).tolist()]
        return np.array(words, np.str_).reshape(array.shape)
    narrow = array.dtype == np.float16 or array.dtype.name.startswith(("bfloat16", "float8", "float4"))
    return array.astype(np.float32) if narrow else array


def finite(array: np.ndarray, what: str) -> np.ndarray:
    """`array`; raises `ModelError` naming `what` if it holds NaN, or infinities where it is a weight."""
    if array.dtype.kind == "f" and array.size > 1 and not np.isfinite(array).all():
        count = int(array.size - np.isfinite(array).sum())
        raise ModelError(f"{what} holds {count} NaN or infinite values of {array.size}; the model was not trained to completion")
    if array.dtype.kind == "f" and np.isnan(array).any():
        raise ModelError(f"{what} is NaN")
    return array
