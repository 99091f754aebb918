"""Certified steps and ranges of programs, for every delivery and execution, and sequences of every length."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest

from snnir import Program
from snnir.errors import UsageError
from snnir.ir import Graph, TensorType
from snnir.ir.dims import BATCH, dim
from snnir.ir.ops import Rnn
from snnir.machine.spans import bits_of
from snnir.passes import Context, default_pipeline, run_pipeline


def recurrent() -> Program:
    rng = np.random.default_rng(0)
    graph = Graph("recurrent")
    x = graph.input("x", TensorType((dim(BATCH), dim("T"), 3), "f32"))
    arrays = (rng.normal(size=(4, 3)), rng.normal(size=(4, 4)) * 0.3, rng.normal(size=4), np.ones((1, 4)))
    constants = [graph.constant(f"c{index}", array.astype(np.float32)) for index, array in enumerate(arrays)]
    graph.output("y", graph.add(Rnn("tanh"), x, *constants)[0])
    data = {"x": rng.normal(size=(4, 5, 3)).astype(np.float32)}
    return Program({"spiking": run_pipeline(graph, default_pipeline(), Context(data))[-1].graph}, {})


def test_steps_of_both_executions() -> None:
    """tanh has levels -7..7. Carried, a window after the first may take a tracer from one end to the other."""
    program = recurrent()
    (scan,) = (node for node in program.graph("spiking").nodes if node.body is not None)
    name, levels = scan.outputs[0].name, scan.outputs[0].type.levels
    reach, swing = max(levels.hi, -levels.lo), levels.hi - levels.lo
    for delivery, first in (("relay", reach - 1 + swing), ("graded", reach)):
        assert program.bounds({"T": 4}, delivery)[name] == [first] * 4
        later = 2 * swing - 1 if delivery == "relay" else swing
        assert program.bounds({"T": 4}, delivery, "carry")[name] == [first, later, later, later]
    growing = program.bounds({"T": 4}, "replay", "carry")[name]
    assert [after - before for before, after in pairwise(growing)] == [swing - 1] * 3
    for delivery, execution in product(("relay", "graded", "replay"), ("reset", "carry")):
        for length in (0, 1, 2):
            assert len(program.bounds({"T": length}, delivery, execution)[name]) == length
            assert program.event_ranges({"T": length}, delivery, execution)
    assert set(program.event_ranges({"T": 4}, "relay", "carry").values()) >= {(-1, 1)}


def test_what_is_wrong_is_refused() -> None:
    program = recurrent()
    for wrong in (("mail", "reset"), ("relay", "mail")):
        with pytest.raises(UsageError, match="choose"):
            program.bounds({"T": 1}, *wrong)
        with pytest.raises(UsageError, match="choose"):
            program.event_ranges({"T": 1}, *wrong)
    with pytest.raises(UsageError, match="give the size of T"):
        program.bounds()


def test_bits_of_registers() -> None:
    assert [bits_of(interval) for interval in ((-128, 127), (-129, 0), (0, 128), (0, 0))] == [8, 9, 9, 1]
