"""The ONNX frontend: files, bytes and loaded models become float-level graphs."""

from snnir.frontends.onnx.batch import batch_names
from snnir.frontends.onnx.fold import folded_operators
from snnir.frontends.onnx.importer import import_onnx
from snnir.frontends.onnx.known_inputs import with_constants
from snnir.frontends.onnx.levels import foreign_domains, half_types, run_levels
from snnir.frontends.onnx.reference import run_onnxruntime
from snnir.frontends.onnx.refused import refused_operators, written_out
from snnir.frontends.onnx.registry import conditions, onnx_operators
from snnir.frontends.onnx.requantize import requantized
from snnir.frontends.onnx.survey import survey

__all__ = [
    "batch_names",
    "conditions",
    "folded_operators",
    "foreign_domains",
    "half_types",
    "import_onnx",
    "onnx_operators",
    "refused_operators",
    "requantized",
    "run_levels",
    "run_onnxruntime",
    "survey",
    "with_constants",
    "written_out",
]
