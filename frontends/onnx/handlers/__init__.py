"""Handlers, one file a family of ONNX operators. Importing this package fills `registry.HANDLERS`."""

from snnir.frontends.onnx.handlers import (
    activation,
    affine,
    choices,
    einsum,
    extremes,
    host,
    loops,
    movement,
    normalisation,
    pooling,
    rearranging,
    recurrent,
    shapes,
    sums,
    upsampling,
)

__all__ = [
    "activation",
    "affine",
    "choices",
    "einsum",
    "extremes",
    "host",
    "loops",
    "movement",
    "normalisation",
    "pooling",
    "rearranging",
    "recurrent",
    "shapes",
    "sums",
    "upsampling",
]
