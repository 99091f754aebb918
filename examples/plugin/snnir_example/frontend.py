"""A frontend: linear layers and what follows them, as JSON.

{"inputs": 4, "layers": [{"weights": [[1, 2, 3, 4]], "bias": [0.5], "then": "relu"}]}
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from snnir.errors import ModelError
from snnir.ir import BATCH, Graph, TensorType
from snnir.ir.dims import dim
from snnir.ir.ops import Linear, Relu
from snnir.plugins import Frontend

__all__ = ["FRONTEND", "import_layers"]


def import_layers(path: Path) -> Graph:
    """The graph of a `.layers` file. Raises `ModelError`."""
    try:
        model = json.loads(path.read_text(encoding="utf-8"))
        graph = Graph(path.stem)
        value = graph.input("x", TensorType((dim(BATCH), int(model["inputs"])), "f32"))
        for number, layer in enumerate(model["layers"]):
            weights = graph.constant(f"w{number}", np.array(layer["weights"], np.float32))
            bias = graph.constant(f"b{number}", np.array(layer["bias"], np.float32))
            value = graph.add1(Linear(), value, weights, bias, name=f"h{number}", origin=(f"layer {number}",))
            if layer.get("then") == "relu":
                value = graph.add1(Relu(), value, name=f"r{number}", origin=(f"layer {number}",))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} is no file of layers: {error!r}; see examples/plugin") from error
    graph.output("y", value)
    return graph


FRONTEND = Frontend("layers", (".layers",), import_layers)
