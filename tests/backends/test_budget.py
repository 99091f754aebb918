"""What a run may take: it keeps to that with fewer threads, gives the same results, and says what is too little."""

from __future__ import annotations

import numpy as np
import pytest

from snnir.backends.simulator import Simulator
from snnir.backends.simulator.budget import Budget, free_memory, size_text
from snnir.backends.simulator.workspace import Worker
from snnir.cli.main import main
from snnir.errors import RunMemoryError, UsageError
from snnir.ir import Graph, Quantization, TensorType
from snnir.ir.dims import dim
from snnir.ir.ops import Bif, Dense, Encode, Readout


def wide(neurons: int) -> Graph:
    """One input that makes so many neurons fire up to 100 times each."""
    graph = Graph("wide", level="spiking")
    value = graph.add1(Encode(Quantization(1.0, 0, 100)), graph.input("x", TensorType((dim("N"), 1), "f32")), name="in")
    current = graph.add1(Dense(), value, graph.constant("w", np.ones((neurons, 1), np.int8)))
    constants = [graph.constant(name, np.array(number, np.int32)) for name, number in (("theta", 1), ("bias", 0))]
    hidden = graph.add1(Bif(Quantization(1.0, 0, 100)), *constants, current, name="h")
    total = graph.add1(Dense(), hidden, graph.constant("w", np.ones((1, neurons), np.int8)))
    graph.output(
        "y", graph.add1(Readout(), graph.constant("s", np.array(1.0)), graph.constant("b", np.array(0, np.int32)), total)
    )
    return graph


@pytest.fixture
def shares(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What workers were allowed, in the order in which it was."""
    seen: list[int] = []
    allow = Worker.allow

    def watched(self: Worker, share: int, records: bool) -> None:
        seen.append(share)
        allow(self, share, records)

    monkeypatch.setattr(Worker, "allow", watched)
    return seen


@pytest.mark.parametrize("record", [(), ("h",)])
def test_fewer_threads_go_on_where_events_are_many(record: tuple[str, ...], shares: list[int]) -> None:
    """100 events of 8 bytes of each of 2,000 neurons are 1.6 MB; recorded they take 9.6 MB, which may be a quarter of a share."""
    run, x = Simulator(wide(2000)), np.array([[1], [2], [3], [100], [0], [1]], np.float32)
    free = run.run({"x": x}, threads=4, record=record, counts=True)
    shares.clear()
    limit = 60_000_000 if record else 4_000_000
    kept = run.run({"x": x}, threads=4, record=record, counts=True, max_memory=limit)
    assert len(set(shares)) > 1 and shares[0] < shares[-1], shares
    np.testing.assert_array_equal(kept.outputs["y"], 2000 * x)
    for name in ("spikes", "synops", "counts", "rasters"):
        for key, array in getattr(free, name).items():
            np.testing.assert_array_equal(getattr(kept, name)[key], array, err_msg=f"{name} {key}")
    np.testing.assert_array_equal(kept.steps, free.steps)


def test_one_sample_that_exceeds_it_is_an_error_and_the_next_run_is_right() -> None:
    run, x = Simulator(wide(2000)), np.array([[100], [1]], np.float32)
    with pytest.raises(RunMemoryError, match=r"one sample at a time needs more than .* \(--max-memory\)"):
        run.run({"x": x}, threads=2, max_memory=400_000)
    assert run.run({"x": x}, threads=2).outputs["y"].tolist() == [[200_000.0], [2000.0]]


def test_results_that_exceed_it_are_refused_before_the_run() -> None:
    with pytest.raises(UsageError, match=r"the results of 50 samples take .* and the run may take 10.0 KiB .*--chunk"):
        Simulator(wide(2000)).run({"x": np.ones((50, 1), np.float32)}, counts=True, max_memory=10240)


def test_the_default_is_half_of_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 0 < free_memory() < 1 << 60
    monkeypatch.setattr("snnir.backends.simulator.budget.free_memory", lambda: 3 << 30)
    budget = Budget.of(None, 1 << 29, 7)
    assert budget.share(2) == 1 << 29
    assert str(budget) == "results take 512.0 MiB; events may take up to 1.0 GiB"
    with pytest.raises(UsageError, match="half of what is free"):
        Budget.of(None, 2 << 30, 7)
    assert [size_text(size) for size in (12, 2048, 1 << 21)] == ["12 bytes", "2.0 KiB", "2.0 MiB"]


@pytest.mark.parametrize("size", ["much", "0", "-3GB", "3 apples"])
def test_sizes_that_are_none_are_refused(size: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "a.snnir", "x.npy", "--max-memory", size]) == 2
    assert "is no size: give a number of bytes" in capsys.readouterr().err
