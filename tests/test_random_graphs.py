"""The graphs that the main properties are tested on are legal, finite and varied."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from snnir.ir import FLOAT, OPS, Dim, Graph
from snnir.ir.execute import execute
from snnir.ir.ops import BatchNorm, Conv, Elementwise, Rnn, Scan
from snnir.ir.verify import verify
from tests.random_graphs import random_graph

SEEDS = 400
MADE = {"expand", "product", "observe", "quantize", "dequantize", "sparse_linear", "sequence_mask"}
"""Ops of the float level that importers or passes make, each with tests of its own."""
MERGED = {"gated", "prelu", "saturate", "top_places", "top_values", "is_far", "shown", "signed_square"}
"""Ops that passes make: `test_merge_gates.py` and `test_functions.py` of `tests/passes`, and `tests/text/merge_prelu`."""
RARE = {"hardmax", "non_max_suppression", "sinh", "asinh", "asin", "atanh", "acosh", "shrink", "tan"}
"""Ops that `tests/frontends/test_operators.py` and ONNX's own tests see to."""
PLACES = {"find", "max_pool_places"}
"""Ops that `tests/frontends/test_labels.py` and `test_pools_and_boxes.py` draw."""
HOSTS = {"clock", "is_inf", "is_nan", "remainder", "reverse_parts", "store", "dynamic_store"}
"""Ops of the host that NaN or whole tensors are about: `tests/frontends/test_nonfinite.py`."""
INTEGERS = {"cast", "bit_cast", "narrow", "range", *(name for name in OPS if name.startswith("int_"))}
"""The graphs hold real numbers; `tests/ir/test_integers.py` draws integers."""
SELDOM = {"masked", "step", "take_along"}
"""Drawn within functions only, and there in few."""
NOT_DRAWN = INTEGERS | MADE | MERGED | RARE | PLACES | HOSTS | {"fake_quantize"}
"""`fake_quantize`: `tests/frontends/test_static_quantizer.py` draws models that bring their quantizers."""


def families(graph: Graph, data: dict[str, np.ndarray]) -> set[str]:
    """What a graph has to offer: its ops, and the cases of them that matter."""
    found = {f"data: batch {data['x'].shape[0]}", "outputs: several" if len(graph.outputs) > 1 else "outputs: one"}
    found.add("data: negative" if (data["x"] < 0).any() else "data: not negative")
    if any(isinstance(size, Dim) for size in graph.inputs[0].type.shape[1:]):
        found.add("sequence: any length")
    for _, node in graph.walk():
        op = node.op
        found.add(op.name)
        if isinstance(op, Conv):
            half = len(op.padding) // 2
            found.update({"conv: groups"} if op.groups > 1 else ())
            found.update({"conv: stride"} if max(op.stride) > 1 else ())
            found.update({"conv: dilation"} if max(op.dilation) > 1 else ())
            found.update({"conv: asymmetric padding"} if op.padding[:half] != op.padding[half:] else ())
            found.add(f"conv: {half}d")
        if isinstance(op, Rnn | Scan):
            found.update({"recurrence: reverse"} if op.reverse else ())
            found.add(f"recurrence: {data['x'].shape[1]} elements")
        if isinstance(op, BatchNorm):
            before = node.operands[0].producer
            found.add(
                "batch_norm: after an activation" if before and isinstance(before.op, Elementwise) else "batch_norm: before"
            )
    return found


@pytest.fixture(scope="module")
def coverage() -> Counter[str]:
    count: Counter[str] = Counter()
    for seed in range(SEEDS):
        count.update(families(*random_graph(seed)))
    return count


def test_every_op_and_case_is_drawn_often(coverage: Counter[str]) -> None:
    lines = [f"{count / SEEDS:7.1%}  {name}" for name, count in sorted(coverage.items())]
    print("\n".join(lines))
    drawn = {name for name, op in OPS.items() if FLOAT in op.levels} - NOT_DRAWN
    assert drawn <= set(coverage), drawn - set(coverage)
    assert set(OPS) >= NOT_DRAWN and not NOT_DRAWN & set(coverage)
    cases = [name for name in coverage if ":" in name]
    assert {"conv: groups", "conv: dilation", "recurrence: reverse", "sequence: any length", "recurrence: 1 elements"} <= set(
        cases
    )
    rare = [name for name, count in coverage.items() if count < 0.03 * SEEDS and name not in SELDOM]
    assert not rare


@pytest.mark.parametrize("block", range(0, SEEDS, 50))
def test_graphs_are_legal_and_finite(block: int) -> None:
    for seed in range(block, block + 50):
        graph, data = random_graph(seed)
        verify(graph)
        assert data["x"].dtype == np.float32
        for name, array in execute(graph, data).items():
            assert np.isfinite(array).all(), (seed, name)


def test_a_seed_always_gives_the_same_graph() -> None:
    first, data = random_graph(7)
    again, same = random_graph(7)
    assert first == again
    np.testing.assert_array_equal(data["x"], same["x"])
    assert first != random_graph(8)[0]
