"""Element types of ONNX by number: those that older versions of the package onnx have no names for."""

from __future__ import annotations

__all__ = ["FLOAT4E2M1", "FLOAT8E8M0", "INT2", "UINT2"]

FLOAT4E2M1, FLOAT8E8M0, UINT2, INT2 = 23, 24, 25, 26
"""`TensorProto.DataType` (onnx.proto): named since onnx 1.18, 1.19, 1.20 and 1.20."""
