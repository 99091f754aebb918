"""The graph IR: types, ops, graphs, their text form, verifier and reference executor."""

from snnir.ir import ops as ops  # fills the registry
from snnir.ir.dims import BATCH, Dim, Dimension, Shape
from snnir.ir.graph import Graph, Node, Value
from snnir.ir.op import FLOAT, LEVELS, OPS, QUANTIZED, SPIKING, Op
from snnir.ir.types import Quantization, TensorType

__all__ = [
    "BATCH",
    "FLOAT",
    "LEVELS",
    "OPS",
    "QUANTIZED",
    "SPIKING",
    "Dim",
    "Dimension",
    "Graph",
    "Node",
    "Op",
    "Quantization",
    "Shape",
    "TensorType",
    "Value",
    "ops",
]
