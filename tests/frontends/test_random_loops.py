"""Random cells in Scan and Loop: the import computes what ONNX Runtime computes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest

import snnir
from snnir.frontends.onnx import import_onnx, run_onnxruntime
from snnir.ir.execute import execute
from tests.frontends.loop_models import parse

WIDTH = 4


class Cell:
    """A random cell: `lines` compute, from the states and the element `e`, next states and values per element."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng, self.lines = rng, []  # type: tuple[np.random.Generator, list[str]]
        self.hidden, self.length = int(rng.integers(2, 6)), int(rng.integers(1, 8))
        self.arrays: dict[str, np.ndarray] = {}
        self.states = [f"s{index}" for index in range(rng.integers(1, 4))]
        pool = [*self.states, self.add(f"MatMul(e, {self.weight(WIDTH, self.hidden)})")]
        for _ in range(rng.integers(2, 9)):
            pool.append(self.add(self.step(pool)))
        self.nexts = [self.add(f"Tanh({rng.choice(pool[len(self.states) :])})") for _ in self.states]
        self.values = [self.add(f"Identity({name})") for name in rng.choice([*pool, *self.nexts], rng.integers(1, 3))]

    def weight(self, *shape: int) -> str:
        """A new constant."""
        name = f"w{len(self.arrays)}"
        self.arrays[name] = (self.rng.normal(size=shape) / np.sqrt(shape[0])).astype(np.float32)
        return name

    def add(self, expression: str) -> str:
        """A new value."""
        name = f"v{len(self.lines)}"
        self.lines.append(f"{name} = {expression}")
        return name

    def step(self, pool: list[str]) -> str:
        """An expression of values that there are already."""
        a, b = self.rng.choice(pool, 2)
        kinds: list[Callable[[], str]] = [
            lambda: f"MatMul({a}, {self.weight(self.hidden, self.hidden)})",
            lambda: f"Add({a}, {b})",
            lambda: f"Sub({a}, {b})",
            lambda: f"Mul({a}, {self.weight(self.hidden)})",
            lambda: f"Mul({a}, {self.add(f'Sigmoid({b})')})",
            lambda: f"Add({self.weight(1, self.hidden)}, {a})",
            lambda: f"Relu({a})",
            lambda: f"Tanh({a})",
            lambda: f"Add({a}, context)",
            lambda: f"LeakyRelu <alpha = 0.125> ({a})",
            lambda: f"Concat <axis = 1> ({self.add(f'Slice({a}, U, far, U)')}, {self.add(f'Slice({a}, Z, U, U)')})",
        ]
        return kinds[self.rng.integers(len(kinds))]()

    def model(self, node: str, time_major: bool) -> onnx.ModelProto:
        """A model around `node`; `context` is an activation that does not change from element to element."""
        shape = f"{self.length}, N, {WIDTH}" if time_major else f"N, {self.length}, {WIDTH}"
        count = len(self.states)
        outputs = [f"float[?, ?] last{index}" for index in range(count)]
        outputs += [f"float[?, ?, ?] y{index}" for index in range(len(self.values))]
        starts = "\n".join(f"start{index} = Expand(first{index}, full)" for index in range(count))
        firsts = {f"first{index}": self.rng.normal(size=self.hidden).astype(np.float32) for index in range(count)}
        text = f"""m (float[{shape}] x) => ({", ".join(outputs)}) {{
            sizes = Shape(x)
            batch = Gather <axis = 0> (sizes, place)
            full = Concat <axis = 0> (batch, hidden)
            {starts}
            first = Gather <axis = {0 if time_major else 1}> (x, zero)
            context = MatMul(first, wc)
            {", ".join(output.split()[-1] for output in outputs)} = {node}
        }}"""
        numbers = {"zero": 0, "one": 1, "trips": self.length, "top": self.length - 1}
        known = {name: np.array(number, np.int64) for name, number in numbers.items()}
        vectors = {"Z": 0, "U": 1, "far": 1 << 40, "place": int(time_major), "hidden": self.hidden}
        known |= {name: np.array([number], np.int64) for name, number in vectors.items()}
        context = self.rng.normal(size=(WIDTH, self.hidden)).astype(np.float32)
        return parse(text, yes=np.array(True), wc=context, **known, **firsts, **self.arrays)

    def as_scan(self) -> tuple[onnx.ModelProto, int]:
        """As a Scan with random axes and directions, and the batch axis of x."""
        time_major, out_axes = bool(self.rng.integers(2)), self.rng.integers(-1, 3, len(self.values)).tolist()
        entries = ", ".join(f"float[?, ?] {name}" for name in (*self.states, "e"))
        results = ", ".join(f"float[?, ?] {name}" for name in (*self.nexts, *self.values))
        starts = ", ".join(f"start{index}" for index in range(len(self.states)))
        attributes = (
            f"scan_input_axes = [{0 if time_major else 1}], scan_input_directions = [{self.rng.integers(2)}], "
            f"scan_output_axes = {out_axes}, scan_output_directions = {self.rng.integers(0, 2, len(out_axes)).tolist()}"
        )
        body = f"step ({entries}) => ({results}) {{ {' '.join(self.lines)} }}"
        return self.model(f"Scan <num_scan_inputs = 1, body = {body}, {attributes}> ({starts}, x)", time_major), int(time_major)

    def as_loop(self) -> tuple[onnx.ModelProto, int]:
        """As a Loop that reads in a random way, and the batch axis of x."""
        time_major, backward = bool(self.rng.integers(2)), bool(self.rng.integers(2))
        axis = 0 if time_major else 1
        index = "k = Sub(top, i)" if backward else "k = Add(i, zero)"
        one = "Z" if axis == 0 else "U"
        read = [
            f"e = Gather <axis = {axis}> (x, k)",
            f"r = Unsqueeze(k, Z) t = Add(r, U) g = Slice(x, r, t, {one}) e = Squeeze(g, {one})",
        ][self.rng.integers(2)]
        go = ["go = Identity(c)", "n = Add(i, one) go = Less(n, trips)", "go = Identity(yes)"][self.rng.integers(3)]
        entries = ", ".join(f"float[?, ?] {name}" for name in self.states)
        results = ", ".join(f"float[?, ?] {name}" for name in (*self.nexts, *self.values))
        starts = ", ".join(f"start{number}" for number in range(len(self.states)))
        lines = f"{index} {read} {' '.join(self.lines)} {go}"
        body = f"step (int64 i, bool c, {entries}) => (bool go, {results}) {{ {lines} }}"
        return self.model(f"Loop <body = {body}> (trips, yes, {starts})", time_major), int(time_major)


@pytest.mark.parametrize("kind", ["scan", "loop"])
@pytest.mark.parametrize("seed", range(40))
def test_random_cells(kind: str, seed: int) -> None:
    cell = Cell(np.random.default_rng(seed))
    source, batch = cell.as_scan() if kind == "scan" else cell.as_loop()
    graph = import_onnx(source, batch_axes={"x": batch})
    assert sum(node.op.name == "scan" for _, node in graph.walk()) == 1
    shape = (cell.length, 16, WIDTH) if batch else (16, cell.length, WIDTH)
    x = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    ours, theirs = execute(graph, {"x": x}), run_onnxruntime(source, {"x": x}, {"x": batch})
    for name, expected in theirs.items():
        assert ours[name].shape == expected.shape
        np.testing.assert_allclose(ours[name], expected, rtol=0, atol=1e-5 * max(1.0, float(np.abs(expected).max())))
    if seed < 8:
        report = snnir.compile(source, calibration=x, batch_axes={"x": batch}).verify(x)
        assert report.ok, report
