"""Handlers, one file a family of ONNX operators. Importing this package fills `registry.HANDLERS`."""

from snnir.frontends.onnx.handlers import activation, affine, host, loops, movement, pooling, recurrent, shapes

__all__ = ["activation", "affine", "host", "loops", "movement", "pooling", "recurrent", "shapes"]
