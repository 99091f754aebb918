"""Failing graphs become small, stay legal, and fail still; reproducers run by the command that they print."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from snnir.cli.main import main
from snnir.compiler.reduction import reduce_graph
from snnir.errors import PassError
from snnir.ir import FLOAT, Graph
from snnir.ir.ops import Add, Concat, Conv, Relu, Scan
from snnir.ir.parse import parse
from snnir.ir.rewrite import rebuild
from snnir.ir.storage import read_graph, write_graph
from snnir.ir.verify import verify
from snnir.passes import PASSES, Context, Pass, Result, run_pipeline
from tests.random_graphs import random_graph


def holds(op: type) -> object:
    return lambda graph: any(isinstance(node.op, op) for _, node in graph.walk())


@pytest.mark.parametrize("op", [Conv, Concat, Relu])
def test_graphs_become_the_node_that_fails(op: type) -> None:
    seeds = [seed for seed in range(200) if holds(op)(random_graph(seed)[0])][:3]  # type: ignore[operator]
    assert len(seeds) == 3
    for seed in seeds:
        graph = random_graph(seed)[0]
        small = reduce_graph(graph, holds(op))  # type: ignore[arg-type]
        verify(small)
        assert holds(op)(small) and len(small.nodes) == 1, seed  # type: ignore[operator]
        assert len(small.outputs) == 1 and len(small.inputs) <= len(small.nodes[0].operands)
        assert sum(1 for _ in small.walk()) <= 3, seed  # a node that stands in a body keeps its scan
        for value in small.constants:
            assert not value.array.any(), seed


def test_nodes_in_bodies_vanish_too() -> None:
    for seed in range(60):
        graph = random_graph(seed)[0]
        if holds(Scan)(graph):  # type: ignore[operator]
            small = reduce_graph(graph, holds(Scan))  # type: ignore[arg-type]
            assert [type(node.op) for node in small.nodes] == [Scan]
            assert small.nodes[0].body is not None and len(small.nodes[0].body.nodes) <= 1
            return
    raise AssertionError("no scan was drawn")


def test_sizes_and_constants_shrink() -> None:
    graph = parse(
        "graph g level=float\n  input x Nx7:f32\n  const w 5x7:f32 = [" + ";".join(f"{k}.5" for k in range(35)) + "]\n"
        "  h = linear x w Nx5:f32\n  r = reshape h shape=[N;1;5] Nx1x5:f32\n  output y = r\n"
    )

    def fails(candidate: Graph) -> bool:
        return any(value.type.rank == 3 and value.producer is not None for value in candidate.outputs.values()) and any(
            value.array.max(initial=0) > 3 for value in candidate.constants
        )

    small = reduce_graph(graph, fails)
    assert [str(value.type) for value in small.inputs] == ["Nx1:f32"]
    assert small.parameter_count() == 2  # the first element is not above 3


def test_attempts_are_limited() -> None:
    graph, calls = random_graph(3)[0], []

    def fails(candidate: Graph) -> bool:
        calls.append(candidate)
        return False

    assert reduce_graph(graph, fails, attempts=5) == graph
    assert len(calls) == 5


@dataclass(frozen=True)
class Broken(Pass):
    """Forgets additions of constants."""

    name = "broken"
    takes = gives = FLOAT

    def run(self, graph: Graph, context: Context) -> Result:
        new, changed = rebuild(graph, lambda _, node, operands: operands[:1] if isinstance(node.op, Add) else None)
        return Result(new, changed > 0)


def test_a_reproducer_runs_by_the_command_it_prints_and_reduces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(PASSES, "broken", Broken)
    graph = parse(
        "graph g level=float\n  input x Nx4:f32\n  const c 4:f32 = [1.5;2.5;3.5;4.5]\n  h = relu x Nx4:f32\n"
        "  y = add h c Nx4:f32\n  z = sigmoid y Nx4:f32\n  output z = z\n"
    )
    data = {"x": np.ones((3, 4), np.float32)}
    with pytest.raises(PassError, match="Reproduce it with: ") as failure:
        run_pipeline(graph, (Broken(),), Context(data), dump=tmp_path)
    command = shlex.split(str(failure.value).split("Reproduce it with: ")[1])
    assert command[:2] == ["snnir", "opt"] and "--calibration" in command
    assert main(command[1:]) == 1
    assert "pass broken: moved an output by" in capsys.readouterr().err

    def fails(candidate: Graph) -> bool:
        try:
            run_pipeline(candidate, (Broken(),), Context())
        except PassError:
            return True
        return False

    small = reduce_graph(read_graph(tmp_path / "reproducer" / "graph.ir"), fails)
    assert [type(node.op) for node in small.nodes] == [Add]
    assert [value.type.shape for value in small.constants] == [(1,)]


def test_the_command_line_reduces(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_graph(random_graph(5)[0], tmp_path / "big.ir")
    program = "import sys; sys.exit('output ' in open(sys.argv[1]).read())"
    command = shlex.join([sys.executable, "-c", program, "{}"])
    arguments = ["reduce", str(tmp_path / "big.ir"), "--command", command, "-o", str(tmp_path / "small.ir"), "--attempts", "60"]
    assert main(arguments) == 0
    assert "graph" in capsys.readouterr().out
    assert len(read_graph(tmp_path / "small.ir").nodes) <= len(read_graph(tmp_path / "big.ir").nodes)
    arguments[3] = shlex.join([sys.executable, "-c", "pass", "{}"])
    assert main(arguments) == 2
    assert "the command does not fail on" in capsys.readouterr().err
    arguments[3] = "false"
    assert main(arguments) == 2
    assert "write {} where the file goes" in capsys.readouterr().err
