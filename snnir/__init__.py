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

from snnir.version import __version__

if TYPE_CHECKING:
    from snnir import torch as torch
    from snnir.backends.bundle import Bundle
    from snnir.compiler.checking import check
    from snnir.compiler.compile import compile
    from snnir.compiler.debugging import debug
    from snnir.compiler.importing import import_model
    from snnir.compiler.tuning import tune
    from snnir.errors import SnnirError
    from snnir.export.bundle import bundle, load_bundle
    from snnir.export.load import load
    from snnir.export.nir import export_nir, import_nir
    from snnir.ir import Graph
    from snnir.ir.parse import parse
    from snnir.ir.text import text
    from snnir.runtime.program import Program
    from snnir.views.exploring import explore
    from snnir.views.reporting import report

__all__ = [
    "Bundle",
    "Graph",
    "Program",
    "SnnirError",
    "__version__",
    "bundle",
    "check",
    "compile",
    "debug",
    "explore",
    "export_nir",
    "import_model",
    "import_nir",
    "load",
    "load_bundle",
    "parse",
    "report",
    "text",
    "tune",
]

_HOMES = {
    "Bundle": "snnir.backends.bundle",
    "bundle": "snnir.export.bundle",
    "load_bundle": "snnir.export.bundle",
    "check": "snnir.compiler.checking",
    "compile": "snnir.compiler.compile",
    "debug": "snnir.compiler.debugging",
    "tune": "snnir.compiler.tuning",
    "explore": "snnir.views.exploring",
    "report": "snnir.views.reporting",
    "export_nir": "snnir.export.nir",
    "import_nir": "snnir.export.nir",
    "import_model": "snnir.compiler.importing",
    "load": "snnir.export.load",
    "Program": "snnir.runtime.program",
    "Graph": "snnir.ir",
    "SnnirError": "snnir.errors",
    "text": "snnir.ir.text",
    "parse": "snnir.ir.parse",
}


if not TYPE_CHECKING:  # a type checker knows the names by their imports above, and reports those that are none

    def __getattr__(name: str) -> object:
        if name == "torch":
            return import_module("snnir.torch")
        if name in _HOMES:
            return getattr(import_module(_HOMES[name]), name)
        raise AttributeError(f"module 'snnir' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, "torch"})
