"""ONNX models of one loop over a sequence, put together from interchangeable pieces of text."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser

__all__ = ["CELL", "HIDDEN", "LENGTH", "WIDTH", "looped", "parse", "weights"]

LENGTH, WIDTH, HIDDEN = 6, 4, 5

CELL = "xw = MatMul(e, W) xb = Add(xw, b) hr = MatMul(h, R) s = Add(xb, hr) n = Relu(s) y = Identity(n)"


def parse(text: str, **arrays: np.ndarray) -> onnx.ModelProto:
    """A model in ONNX's text form, with more initializers."""
    parsed = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]>\n{text}')
    parsed.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in arrays.items())
    onnx.checker.check_model(parsed)
    return parsed


def weights(seed: int) -> dict[str, np.ndarray]:
    """W, R and b of a plain cell."""
    rng = np.random.default_rng(seed)
    shapes = {"W": (WIDTH, HIDDEN), "R": (HIDDEN, HIDDEN), "b": (HIDDEN,)}
    return {name: (rng.normal(size=shape) * 0.5).astype(np.float32) for name, shape in shapes.items()}


def looped(
    read: str = "e = Gather <axis = 1> (x, i)",
    *,
    go: str = "go = Identity(c)",
    call: str = "trips, yes, h0",
    before: str = "",
    states: str = "",
    nexts: str = "",
    rows: str = ", float[?, ?] y",
    results: str = "last, Y",
    outputs: str = "float[?, ?] last, float[?, ?, ?] Y",
    cell: str = CELL,
    x: str = f"float[N, {LENGTH}, {WIDTH}] x",
    batch: int = 0,
    trips: int = LENGTH,
    seed: int = 0,
    **arrays: np.ndarray,
) -> onnx.ModelProto:
    """A loop whose body reads `e`, computes `n` and `y` from it and the state `h`, and goes on while `go`.

    Known are W, R, b, yes, trips and the integers zero, one, two, minus, T, Z (zero as a vector), U (one as a vector)
    and range (0, 1, ... as a column of [T, 1, 1]).
    """
    text = f"""
    m ({x}) => ({outputs}) <float[1] filling = {{0.25}}> {{
        shape = Shape(x)
        batch = Gather <axis = 0> (shape, place)
        full = Concat <axis = 0> (batch, hidden)
        h0 = Expand(filling, full)
        {before}
        {results} = Loop <body = step (int64 i, bool c, float[?, ?] h{states}) => (bool go, float[?, ?] n{nexts}{rows}) {{
            {read}
            {cell}
            {go}
        }}> ({call})
    }}"""
    numbers = {"zero": 0, "one": 1, "two": 2, "minus": -1, "T": LENGTH, "trips": trips}
    known: dict[str, np.ndarray] = {name: np.array(number, np.int64) for name, number in numbers.items()}
    known |= {"Z": np.array([0], np.int64), "U": np.array([1], np.int64), "yes": np.array(True)}
    known |= {"place": np.array([batch], np.int64), "hidden": np.array([HIDDEN], np.int64)}
    known["range"] = np.arange(LENGTH, dtype=np.int64).reshape(-1, 1, 1)
    return parse(text, **known, **weights(seed), **arrays)
