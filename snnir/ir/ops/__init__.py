"""Every op of the IR, one file a family. Importing this package fills `snnir.ir.op.OPS`."""

from snnir.ir.ops.activation import Clip, Elementwise, HardSigmoid, LeakyRelu, Relu, Sigmoid, Tanh
from snnir.ir.ops.affine import Add, BatchNorm, Conv, Div, Linear, MatMul, Mul, SparseLinear, Sub
from snnir.ir.ops.cells import Gru, Lstm, Recurrent, Rnn
from snnir.ir.ops.host import ArgMax, LogSoftmax, Softmax
from snnir.ir.ops.movement import Concat, Expand, Gather, Movement, Pad, Reshape, Slice, Transpose
from snnir.ir.ops.pooling import AveragePool, MaxPool, ReduceMean
from snnir.ir.ops.product import Product
from snnir.ir.ops.quantize import Dequantize, MultiThreshold, Observe, Quantize, Requantize
from snnir.ir.ops.recurrent import Scan
from snnir.ir.ops.spiking import Bif, Dense, Diagonal, Encode, Rbif, Readout, Sparse

__all__ = [
    "Add",
    "ArgMax",
    "AveragePool",
    "BatchNorm",
    "Bif",
    "Clip",
    "Concat",
    "Conv",
    "Dense",
    "Dequantize",
    "Diagonal",
    "Div",
    "Elementwise",
    "Encode",
    "Expand",
    "Gather",
    "Gru",
    "HardSigmoid",
    "LeakyRelu",
    "Linear",
    "LogSoftmax",
    "Lstm",
    "MatMul",
    "MaxPool",
    "Movement",
    "Mul",
    "MultiThreshold",
    "Observe",
    "Pad",
    "Product",
    "Quantize",
    "Rbif",
    "Readout",
    "Recurrent",
    "ReduceMean",
    "Relu",
    "Requantize",
    "Reshape",
    "Rnn",
    "Scan",
    "Sigmoid",
    "Slice",
    "Softmax",
    "Sparse",
    "SparseLinear",
    "Sub",
    "Tanh",
    "Transpose",
]
