"""snnir: compile trained sequence networks into spiking networks, exactly.

    program = snnir.compile("model.onnx", calibration=x, bits=4, weight_bits=8)
    result = program.run(x)
    report = program.verify(x)
    program.save("model.snnir")

Nothing heavy is imported until it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from snnir.api import compile, import_model, load
    from snnir.backends.bundle import Bundle
    from snnir.bundling import bundle, load_bundle
    from snnir.checking import check
    from snnir.errors import SnnirError
    from snnir.ir import Graph
    from snnir.ir.parse import parse
    from snnir.ir.text import text
    from snnir.program import Program

__version__ = "0.1.0"

__all__ = [
    "Bundle",
    "Graph",
    "Program",
    "SnnirError",
    "__version__",
    "bundle",
    "check",
    "compile",
    "import_model",
    "load",
    "load_bundle",
    "parse",
    "text",
]

_HOMES = {
    "Bundle": "snnir.backends.bundle",
    "bundle": "snnir.bundling",
    "load_bundle": "snnir.bundling",
    "check": "snnir.checking",
    "compile": "snnir.api",
    "import_model": "snnir.api",
    "load": "snnir.api",
    "Program": "snnir.program",
    "Graph": "snnir.ir",
    "SnnirError": "snnir.errors",
    "text": "snnir.ir.text",
    "parse": "snnir.ir.parse",
}


def __getattr__(name: str) -> object:
    if name == "torch":
        return import_module("snnir.torch")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'snnir' has no attribute {name!r}")
