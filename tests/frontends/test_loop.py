"""ONNX's Loop over a sequence: the import computes what ONNX Runtime computes, and becomes an exact spiking network."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

import snnir
from snnir.errors import UnsupportedError
from snnir.frontends.onnx import import_onnx, run_onnxruntime
from snnir.ir import Graph
from snnir.ir.execute import execute
from tests.frontends.loop_models import CELL, HIDDEN, LENGTH, WIDTH, looped

BUFFER: dict[str, Any] = {
    "before": f"steps = Constant <value_ints = [{LENGTH}]> () rest = Constant <value_ints = [{HIDDEN}]> () "
    "size = Concat <axis = 0> (steps, batch, rest) buffer = Expand(filling, size)",
    "states": ", float[?, ?, ?] B",
    "nexts": ", float[?, ?, ?] B2",
    "rows": "",
    "call": "trips, yes, h0, buffer",
}


def data(samples: int = 3, shape: tuple[int, ...] = (LENGTH, WIDTH), axis: int = 0) -> np.ndarray:
    """Normal inputs with the batch at `axis`."""
    return np.random.default_rng(7).normal(size=(*shape[:axis], samples, *shape[axis:])).astype(np.float32)


def agrees(source: onnx.ModelProto, x: np.ndarray, batch: int = 0, scans: int = 1) -> Graph:
    """Import, compare with ONNX Runtime within 1e-5, and require one scan, or `scans`."""
    graph = import_onnx(source, batch_axes={"x": batch})
    assert sum(node.op.name == "scan" for _, node in graph.walk()) == scans
    ours = execute(graph, {"x": x})
    axes = {name: value.type.batch_axis or 0 for name, value in graph.outputs.items()} | {"x": batch}
    theirs = run_onnxruntime(source, {"x": x}, axes)
    for name, expected in theirs.items():
        assert ours[name].shape == expected.shape
        span = max(1.0, float(np.abs(expected).max()))
        np.testing.assert_allclose(ours[name], expected, rtol=0, atol=1e-5 * span)
    return graph


def is_exact(source: onnx.ModelProto, x: np.ndarray, batch: int = 0) -> None:
    """Compile, and verify with no mismatch."""
    report = snnir.compile(source, calibration=x, batch_axes={"x": batch}).verify(x)
    assert report.ok, report
    assert report.compared > 500


READS = {
    "gather": "e = Gather <axis = 1> (x, i)",
    "gather-vector": "v = Unsqueeze(i, Z) g = Gather <axis = 1> (x, v) e = Squeeze(g, U)",
    "gather-from-the-end": "last_one = Sub(T, one) k = Sub(last_one, i) e = Gather <axis = 1> (x, k)",
    "gather-negative": "i1 = Add(i, one) k = Neg(i1) e = Gather <axis = 1> (x, k)",
    "gather-wrapped": "neg = Less(i, zero) w = Add(i, T) k = Where(neg, w, i) e = Gather <axis = 1> (x, k)",
    "gather-clamped": "top = Sub(T, one) low = Max(i, zero) k = Min(low, top) e = Gather <axis = 1> (x, k)",
    "gather-transposed": "t = Transpose <perm = [1, 0, 2]> (x) e = Gather <axis = 0> (t, i)",
    "gather-nd": "t = Transpose <perm = [1, 0, 2]> (x) v = Unsqueeze(i, Z) e = GatherND(t, v)",
    "slice": "v = Unsqueeze(i, Z) w = Add(v, U) g = Slice(x, v, w, U) e = Squeeze(g, U)",
    "slice-all-axes": "v = Unsqueeze(i, Z) w = Add(v, U) far = Constant <value_ints = [9223372036854775807]> () "
    "from = Concat <axis = 0> (Z, v, Z) to = Concat <axis = 0> (far, w, far) g = Slice(x, from, to) e = Squeeze(g, U)",
    "hoisted": "u = Mul(x, filling) e = Gather <axis = 1> (u, i)",
    "gather-through-casts": "f = Cast <to = 6> (i) k = Cast <to = 7> (f) e = Gather <axis = 1> (x, k)",
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_ways_to_read_an_element(read: str) -> None:
    agrees(looped(read), data())


CONDITIONS: dict[str, dict[str, Any]] = {
    "identity": {},
    "constant": {"go": "go = Identity(yes)"},
    "no-condition": {"call": "trips, , h0"},
    "compares-with-the-count": {"go": "i2 = Add(i, one) go = Less(i2, T)"},
    "only-the-condition-ends-it": {"call": ", yes, h0", "go": "i2 = Add(i, one) go = Less(i2, T)"},
    "a-huge-count": {"trips": (1 << 63) - 1, "go": "i2 = Add(i, one) go = Less(i2, T)"},
    "two-conditions": {"call": ", yes, h0", "go": "i2 = Add(i, one) q = Less(i2, T) p = And(q, c) go = Identity(p)"},
    "not-at-the-end": {"call": ", yes, h0", "go": "top = Sub(T, one) q = GreaterOrEqual(i, top) go = Not(q)"},
    "count-of-the-shape": {
        "before": "length = Gather <axis = 0> (shape, one)",
        "call": "length, yes, h0",
        "x": f"float[N, steps, {WIDTH}] x",
    },
}


@pytest.mark.parametrize("options", CONDITIONS.values(), ids=CONDITIONS)
def test_ways_to_say_how_often(options: dict[str, Any]) -> None:
    agrees(looped(**options), data())


def test_a_state_that_counts_and_one_that_never_changes() -> None:
    source = looped(
        "e = Gather <axis = 1> (all, at)",
        states=", int64 at, float[?, ?, ?] all",
        nexts=", int64 at2, float[?, ?, ?] all2",
        go="at2 = Add(at, two) all2 = Identity(all) go = Identity(c)",
        call="trips, yes, h0, one, x",
        results="last, end, same, Y",
        outputs="float[?, ?] last, float[?, ?, ?] Y, float[?, ?, ?] same, int64 end",
        trips=2,
    )
    graph = agrees(source, data())
    assert graph.outputs["end"].array == 5


@pytest.mark.parametrize("trips", [1, 3, LENGTH])
def test_a_loop_may_read_only_a_part_of_the_sequence(trips: int) -> None:
    agrees(looped(trips=trips), data())
    agrees(looped("k = Sub(T, one) j = Sub(k, i) e = Gather <axis = 1> (x, j)", trips=trips), data())


def test_elements_of_two_places_and_directions() -> None:
    read = "last_one = Sub(T, one) k = Sub(last_one, i) a = Gather <axis = 1> (x, i) z = Gather <axis = 1> (x, k) e = Add(a, z)"
    source = looped(read)
    agrees(source, data())
    is_exact(source, data(24))


def test_a_table_that_the_model_holds_is_read_too() -> None:
    read = "gain = Gather <axis = 0> (table, i) a = Gather <axis = 1> (x, i) e = Mul(a, gain)"
    agrees(looped(read, table=np.linspace(1, 2, LENGTH, dtype=np.float32)), data())


WRITES = {
    "scatter-nd": "v = Reshape(i, U) p = Unsqueeze(v, Z) u = Unsqueeze(n, Z) B2 = ScatterND(B, p, u)",
    "concat": "v = Reshape(i, U) w = Add(v, U) far = Constant <value_ints = [9223372036854775807]> () "
    "a = Slice(B, Z, v, Z) z = Slice(B, w, far, Z) u = Unsqueeze(n, Z) B2 = Concat <axis = 0> (a, u, z)",
    "where": "here = Equal(range, i) u = Unsqueeze(n, Z) B2 = Where(here, u, B)",
    "from-the-end": "top = Sub(T, one) j = Sub(top, i) v = Reshape(j, U) p = Unsqueeze(v, Z) u = Unsqueeze(n, Z) "
    "B2 = ScatterND(B, p, u)",
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_ways_to_write_a_buffer(write: str) -> None:
    source = looped(cell=f"{CELL} {write}", **BUFFER)
    agrees(source, data())
    is_exact(source, data(24))


def test_time_major_sequences_become_exact_spiking_networks() -> None:
    source = looped("e = Gather <axis = 0> (x, i)", x=f"float[{LENGTH}, N, {WIDTH}] x", batch=1)
    agrees(source, data(axis=1), 1)
    is_exact(source, data(24, axis=1), 1)


def test_the_batch_of_a_time_major_loop_is_found() -> None:
    source = looped("e = Gather <axis = 0> (x, i)", x=f"float[{LENGTH}, 2, {WIDTH}] x", batch=1)
    assert import_onnx(source).inputs[0].type.batch_axis == 1


def test_loops_become_exact_spiking_networks() -> None:
    is_exact(looped(), data(24))
    is_exact(looped(cell=CELL.replace("Relu", "Tanh")), data(24))


WINDOW = (
    "v = Unsqueeze(i, Z) t = Constant <value_ints = [2]> () w = Add(v, t) g = Slice(x, v, w, U) "
    "r = ReduceMax <axes = [1], keepdims = 0> (g) e = Identity(r)"
)
WRITTEN_OUT: dict[str, dict[str, Any]] = {
    "no-sequence": {"read": "e = ReduceMean <axes = [1], keepdims = 0> (x)", "trips": 3},
    "a-window": {"read": WINDOW, "trips": 5},
    "counter-as-number": {
        "cell": CELL.replace("Relu(s)", "Add(s, f)"),
        "read": "f = Cast <to = 1> (i) e = Gather <axis = 1> (x, i)",
    },
    "a-known-number-of-times": {"read": "e = ReduceMean <axes = [1], keepdims = 0> (x)", "call": "two, yes, h0"},
    "nothing-stacked": {
        "read": "e = ReduceMean <axes = [1], keepdims = 0> (x)", "rows": "", "results": "last", "outputs": "float[?, ?] last"
    },
}  # fmt: skip


@pytest.mark.parametrize("options", WRITTEN_OUT.values(), ids=WRITTEN_OUT)
def test_loops_over_no_sequence_are_written_out(options: dict[str, Any]) -> None:
    agrees(looped(**options), data(), scans=0)
    is_exact(looped(**options), data(24))


REFUSALS: dict[str, tuple[dict[str, Any], str]] = {
    "data-dependent": ({"go": "m = ReduceSum <keepdims = 0> (n) go = Greater(m, filling)"}, "condition to go on depends on data"),
    "too-long": ({"trips": LENGTH + 1}, "outside its size"),
    "never-ends": ({"call": ", yes, h0"}, "neither a trip count nor its condition ends it"),
    "no-sequence-and-too-long": (
        {"read": "e = ReduceMean <axes = [1], keepdims = 0> (x)", "trips": 257}, "reads no sequence"
    ),
    "a-window-beyond-the-end": ({"read": WINDOW, "trips": LENGTH + 3}, "only one element at a time"),
    "zero-times": ({"trips": 0}, "it runs 0 times"),
    "reads-the-buffer": (
        {**BUFFER, "cell": f"{CELL} r = ReduceMean <axes = [0], keepdims = 0> (B) q = Add(n, r) v = Reshape(i, U) "
                           "p = Unsqueeze(v, Z) u = Unsqueeze(q, Z) B2 = ScatterND(B, p, u)"},
        "in the element that writes to it",
    ),
    "a-buffer-that-is-not-filled": ({**BUFFER, "trips": 3, "cell": f"{CELL} {WRITES['scatter-nd']}"}, "buffers that are filled"),
    "unknown-operator": ({"cell": CELL.replace("Relu", "Det")}, r"\(Loop\): in its body, n \(Det\): operator not supported"),
}  # fmt: skip


@pytest.mark.parametrize(("options", "message"), REFUSALS.values(), ids=REFUSALS)
def test_other_loops_are_refused_by_name(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        import_onnx(looped(**options))


def test_a_loop_in_the_body_of_a_loop() -> None:
    inner = (
        "total = Loop <body = inner (int64 j, bool d, float[?, ?] a) => (bool more, float[?, ?] a2) "
        "{ z = Gather <axis = 1> (row, j) hz = Add(z, bias) f = Relu(hz) a2 = Add(a, f) more = Identity(d) }> (three, yes, zeros)"
    )
    read = f"row = Gather <axis = 1> (x, i) zeros = ReduceMean <axes = [1], keepdims = 0> (row) {inner} e = Identity(total)"
    source = looped(
        read,
        x=f"float[N, {LENGTH}, 3, {WIDTH}] x",
        three=np.array(3, np.int64),
        bias=np.linspace(-1, 1, WIDTH, dtype=np.float32),
    )
    graph = import_onnx(source)
    assert sum(node.op.name == "scan" for _, node in graph.walk()) == 2
    x = data(shape=(LENGTH, 3, WIDTH))
    ours, theirs = execute(graph, {"x": x}), run_onnxruntime(source, {"x": x})
    for name, expected in theirs.items():
        np.testing.assert_allclose(ours[name], expected, rtol=0, atol=1e-5 * max(1.0, float(np.abs(expected).max())))


def test_known_values_per_element_become_constants() -> None:
    source = looped(
        go="at = Mul(i, two) go = Identity(c)",
        rows=", float[?, ?] y, int64 at",
        results="last, Y, places",
        outputs="float[?, ?] last, float[?, ?, ?] Y, int64[?] places",
    )
    assert agrees(source, data()).outputs["places"].array.tolist() == [0, 2, 4, 6, 8, 10]
