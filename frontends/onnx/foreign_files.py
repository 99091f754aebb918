"""What a file that is no ONNX model holds, found out from its content, and what to do with it."""

from __future__ import annotations

import io
import zipfile

__all__ = ["recognised"]

_EXPORT = (
    "export the module with torch.onnx.export(module, example, 'model.onnx', dynamo=True), or with torch.export.export and "
    "torch.export.save"
)
_KERAS = "export a Keras model with model.export('model.onnx', format='onnx')"
_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x93NUMPY", "a NumPy array (.npy): that is data; give the model, and the array as --calibration or as inputs"),
    (0, b"\x1f\x8b", "a gzip file: unpack it first (gunzip)"),
    (4, b"TFL3", "a TensorFlow Lite model: convert it with `python -m tf2onnx.convert --tflite FILE --output model.onnx`"),
    (
        0,
        b"\x89HDF\r\n\x1a\n",
        f"an HDF5 file, as Keras and NIR write: {_KERAS}; read a NIR file with snnir.import_nir",
    ),
    (0, b"graph ", "a graph in snnir's text form: run passes on it with `snnir opt`"),
    (0, b"\x80\x02", f"a Python pickle, as torch.save once wrote: {_EXPORT}"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it first"),
    (0, b"PK\x05\x06", "an empty zip archive"),
)


def recognised(content: bytes) -> str:
    """What the content is, in a sentence that says what to do; empty where it is nothing known."""
    for place, magic, what in _MAGIC:
        if content[place : place + len(magic)] == magic:
            return what
    return _archive(content) if content[:4] == b"PK\x03\x04" else ""


def _archive(content: bytes) -> str:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError):
        return "a damaged zip archive"
    ends = {name.rpartition("/")[2] for name in names}
    if "config.json" in ends and any(name.endswith(".weights.h5") for name in names):
        return f"a Keras archive (.keras): {_KERAS}"
    if "archive_format" in ends or any("exported_program" in name for name in names):
        return "an exported program of PyTorch: call the file .pt2, and it is taken"
    if "constants.pkl" in ends or any("/code/" in name for name in names):
        return f"a TorchScript module (torch.jit): load the module itself in Python, and {_EXPORT}"
    if "data.pkl" in ends:
        return (
            "what torch.save writes, a state dict or a whole module: build the module in Python, load its state dict, "
            f"and {_EXPORT}"
        )
    if any(name.endswith(".npy") for name in names):
        return "arrays of NumPy (.npz): that is data; give the model, and the arrays as --calibration or as inputs"
    if "SHA256SUMS" in ends and "manifest.json" in ends:
        return "a bundle of snnir (.snnb): replay it with `snnir replay`, or load it with snnir.load"
    if "manifest.json" in ends:
        return "a compiled program of snnir (.snnir): run it with `snnir run`, or load it with snnir.load"
    return "a zip archive: unpack the model that it holds"
