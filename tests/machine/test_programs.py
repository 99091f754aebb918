"""Machine programs of graphs drawn at random: their text reads back, they verify, and they settle to the integers."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest

from snnir.errors import GraphError, TextError
from snnir.ir import Graph
from snnir.ir.execute import bind_sizes
from snnir.machine import IntegerProgram, interpret, lower
from snnir.machine.emitters import Max
from snnir.machine.equality import same
from snnir.machine.parse import parse
from snnir.machine.plain import simulate_plain
from snnir.machine.program import FewSpikes, Function, Input, Population, Route, Scan, emitting, walk
from snnir.machine.text import tensors, text
from snnir.machine.verify import verify
from snnir.runtime.verification import integer_counts
from tests.passes import test_functions as functions
from tests.test_conversion import SEEDS, compiled
from tests.test_few_spikes import few_spikes

DELIVERIES = ("relay", "graded", "replay")
SOME = SEEDS[:60:4]


@lru_cache(maxsize=4)
def drawn(seed: int) -> tuple[Graph, dict[str, np.ndarray], IntegerProgram]:
    graphs, data = compiled(seed)
    spiking = graphs["spiking"]
    return spiking, data, lower(spiking, bind_sizes(spiking, data), DELIVERIES[seed % 3]).program


@pytest.mark.parametrize("seed", SOME)
def test_a_program_verifies_and_its_text_reads_back_to_it(seed: int) -> None:
    _, _, program = drawn(seed)
    verify(program)
    written, data = text(program), tensors(program)
    read = parse(written, data)
    assert read == program and text(read) == written
    assert program != lower(Graph("another", "spiking"), {}).program
    if data:
        with pytest.raises(TextError, match="is missing"):
            parse(written)


def test_programs_of_few_spike_neurons_read_back() -> None:
    found = 0
    for seed in range(8):
        _, spiking, data = few_spikes(seed)
        program = lower(spiking, bind_sizes(spiking, data)).program
        verify(program)
        assert program.few == any(isinstance(op, FewSpikes) for op, _ in walk(program.ops))
        assert parse(text(program), tensors(program)) == program
        found += program.few
    assert found > 3


@pytest.mark.parametrize("case", ["softmax", "layer norm"])
def test_programs_with_functions_read_back(case: str) -> None:
    graph, data, _ = functions.model(functions.FUNCTIONS[case], 0)
    spiking = functions.compiled(graph, data)["spiking"]
    program = lower(spiking, bind_sizes(spiking, data)).program
    verify(program)
    assert any(isinstance(op, Function) for op, _ in walk(program.ops))
    assert parse(text(program), tensors(program)) == program


@pytest.mark.parametrize("seed", SOME)
def test_what_is_read_runs_alike_and_settles_to_the_integer_reference(seed: int) -> None:
    spiking, data, program = drawn(seed)
    plain = simulate_plain(spiking, data, delivery=program.delivery)
    batch = len(plain.steps)
    levels = {}
    for name, (op, windows) in emitting(program).items():
        if isinstance(op, Input):
            levels[name] = plain.counts[name].reshape(batch, *(() if windows is None else (windows,)), op.train.size)
    mine, read = (interpret(one, levels, batch=batch) for one in (program, parse(text(program), tensors(program))))
    for name, train in mine.trains.items():
        np.testing.assert_array_equal(read.trains[name], train, err_msg=f"seed {seed}: {name}")
    for name, expected in integer_counts(compiled(seed)[0]["quantized"], spiking, data).items():
        if name in mine.counts:
            found = mine.counts[name].reshape(expected.shape)
            np.testing.assert_array_equal(found, expected, err_msg=f"seed {seed}: {name}")


TEXT = """integer-program name="net" delivery="relay" execution="reset"
  ops:
    input train="x"[4]{0..15}*0.1 source="in"
    route train="r"[4]{0..15}*0.1 sources=["x"] map=map(3: 4*-1)
    max train="m"[2]{0..15}*0.1 source="r" width=2
    population train="h"[2]{0..15}*0.5 initial=int64[1](0) initial_map=map(0: 2*0) HERE
      synapses:
        synapse name="c" source="x" kind="dense" weights=int64[2,4](1 0 -3 2 0 0 7 1) inputs=[4] outputs=[2]
  outputs:
    output name="y" kind="levels" source="h"
""".replace("HERE", "theta=int64[2](7 9) theta_map=map(0: 2*1) staircase=false")


def test_a_text_says_what_it_means() -> None:
    program = parse(TEXT)
    assert parse(text(program)) == program
    assert [type(op) for op, _ in walk(program.ops)] == [Input, Route, Max, Population]
    found = interpret(program, {"x": np.array([[1, 2, 3, 15]])})
    np.testing.assert_array_equal(found.counts["m"], [[15, 2]])
    np.testing.assert_array_equal(found.counts["h"], [[(22 + 3) // 7, (36 + 4) // 9]])


DAMAGE = {
    "kind": ("max train", "maximum train", TextError, "line 5: kind 'maximum' is unknown"),
    "field": (" width=2", " width=2 height=3", TextError, "line 5: max.*height"),
    "value": ("width=2", "width=two", TextError, "line 5: a value is expected, found 'two"),
    "array": ("(7 9)", "(7 9 3)", TextError, "line 6: an array"),
    "unknown source": ('source="r"', 'source="q"', GraphError, "max m: train 'q' is not there yet"),
    "width": ("width=2", "width=3", GraphError, "max m: 'r' has 4 addresses, not 2 times 3"),
    "map": ("map(3: 4*-1)", "map(4: 4*-1)", GraphError, "route r: its map"),
    "threshold": ("(7 9)", "(7 0)", GraphError, "population h: a threshold is less than 1"),
    "weights": ("outputs=[2]", "outputs=[3]", GraphError, "population h: synapse c: "),
    "two names": ('train="m"', 'train="x"', GraphError, "two trains are called 'x'"),
    "output": ('kind="levels" source="h"', 'kind="levels" source="z"', GraphError, "output y: levels of 'z' is unknown"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_what_is_not_well_formed_is_named(case: str) -> None:
    before, after, error, message = DAMAGE[case]
    assert TEXT.count(before) == 1
    with pytest.raises(error, match=message):
        parse(TEXT.replace(before, after))


def test_equality_sees_every_field() -> None:
    program = parse(TEXT)
    for before, after in (
        ("0.1 source", "0.2 source"),
        ("1 0 -3 2", "1 0 -3 3"),
        ("int64[2](7", "int32[2](7"),
        ("width=2", "width=1"),
    ):
        changed = TEXT.replace(before, after)
        assert changed != TEXT
        if before != "width=2":
            assert not same(program, parse(changed))


def test_scans_are_verified() -> None:
    for seed in SEEDS:
        _, _, program = drawn(seed)
        if any(isinstance(op, Scan) and op.elements for op in program.ops):
            break
    written, data = text(program), tensors(program)
    (scan,) = [op for op in program.ops if isinstance(op, Scan) and op.elements][:1]
    changed = written.replace(f" windows={scan.windows} ", f" windows={scan.windows + 1} ")
    with pytest.raises(GraphError, match=f"scan {scan.name}: .* takes .* addresses of"):
        parse(changed, data)
