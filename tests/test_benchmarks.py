"""The benchmark programs on tiny networks: what they build, how sides take turns, what the report shows. No time is asserted."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import snnir
from benchmarks import report
from benchmarks.__main__ import measure, parser
from benchmarks.bars import bars
from benchmarks.chain import NotAChainError, chain_of, load
from benchmarks.driver import Crew, WorkerProcess, compare
from benchmarks.prepare import prepare
from benchmarks.scaling import linear_fit
from benchmarks.workloads import WORKLOADS
from snnir.runtime.verification import integer_counts

FEED_FORWARD = ("mlp", "lenet", "conv_stack")


def _settled(layers: list[dict[str, Any]], x: np.ndarray) -> np.ndarray:
    """What a chain computes, by the closed form of its neurons: `clip(floor(V / theta), 0, hi)`, with V(0) their start."""
    current = x.astype(np.int64)
    for layer in layers:
        if layer["op"] == "dense":
            current = current @ layer["weight"].T.astype(np.int64)
        elif layer["op"] == "conv":
            current = _convolved(current, layer)
        elif layer["op"] == "reshape":
            current = current.reshape(len(x), *layer["shape"])
        elif layer["op"] == "bif":
            current = np.clip((current + layer["start"]) // layer["theta"], 0, layer["hi"])
        else:
            current = current + layer["bias"]
    return current


def _convolved(x: np.ndarray, layer: dict[str, Any]) -> np.ndarray:
    (vertical, horizontal), (down, right) = layer["padding"], layer["stride"]
    padded = np.pad(x, [(0, 0), (0, 0), (vertical, vertical), (horizontal, horizontal)])
    weight = layer["weight"].astype(np.int64)
    windows = np.lib.stride_tricks.sliding_window_view(padded, weight.shape[2:], axis=(2, 3))[:, :, ::down, ::right]
    return np.asarray(np.einsum("nchwij,mcij->nmhw", windows, weight))


@pytest.mark.parametrize("name", FEED_FORWARD)
def test_a_chain_computes_what_the_integer_reference_does(name: str, tmp_path: Path) -> None:
    workload = WORKLOADS[name](4, True)
    program = snnir.compile(workload.model, calibration=workload.calibration, check=False)
    spiking = program.graph("spiking")
    chain_of(spiking).save(tmp_path / "chain.npz")
    counts = integer_counts(program.graph("quantized"), spiking, {"x": workload.x})
    assert np.array_equal(_settled(load(tmp_path / "chain.npz").layers, counts["x.levels"]), counts["y"])


@pytest.mark.parametrize("name", [name for name in WORKLOADS if name not in FEED_FORWARD])
def test_recurrent_workloads_are_no_chain_and_say_so(name: str) -> None:
    workload = WORKLOADS[name](2, True)
    program = snnir.compile(workload.model, calibration=workload.calibration, check=False)
    with pytest.raises(NotAChainError, match="two clocks"):
        chain_of(program.graph("spiking"))


def test_the_whole_command_on_tiny_networks(tmp_path: Path) -> None:
    options = ["--small", "--minutes", "0", "--batches", "1", "4", "--rounds", "1", "--skip", "memory"]
    arguments = parser().parse_args([*options, "--workloads", "mlp", "lstm", "--threads", "1"])
    arguments.peers, arguments.json = None, tmp_path / "facts.json"
    facts = measure(arguments)
    assert json.loads(arguments.json.read_text()) == json.loads(json.dumps(facts))
    assert len(facts["missing"]) == 4
    for workload in facts["workloads"].values():
        assert workload["settled"] and workload["within_bounds"]
        assert workload["integer_mismatches"] == workload["output_mismatches"] == 0
        for batch in ("1", "4"):
            sides = workload["batches"][batch]["sides"]
            assert sides["snnir"]["agreement"] == {"equal": 1.0, "argmax": 1.0}
            assert sides["ONNX Runtime float32"]["seconds"]["median"] > 0
    assert "dense layers" in facts["workloads"]["lstm"]["batches"]["4"]["sides"]["row additions in C"]["cannot"]
    limit = facts["workloads"]["mlp"]["batches"]["4"]["sides"]["row additions in C"]
    assert "seconds" in limit or "C compiler" in limit["cannot"]
    text = report.markdown(facts)
    assert "bench-peers" in text and "TINY" in text and "### mlp" in text and "### lstm" in text
    assert "0 of" in bars(facts)[0][1] and bars(facts)[0][2] == "met"
    written = report.plots(facts, tmp_path / "plots")
    assert len(written) == len(facts["scaling"]) + 1
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in written)


def test_a_difference_is_reported_as_missed() -> None:
    row = {"integer_mismatches": 1, "output_mismatches": 0, "integers_verified": 9, "outputs": 1, "settled": True}
    facts = {"workloads": {"mlp": {**row, "within_bounds": True}}, "threads": 2}
    assert bars(facts)[0][1:] == ("1 of 10 integers and outputs differ; all settled within bounds", "MISSED")


def test_a_side_that_fails_is_left_out_and_the_others_go_on(tmp_path: Path) -> None:
    prepare(WORKLOADS["mlp"](2, True), tmp_path / "mlp")
    (tmp_path / "mlp" / "model.onnx").write_bytes(b"no model")
    crew = Crew.start(sys.executable, None)
    try:
        sides = ("snnir, 1 thread", "ONNX Runtime float32")
        found = compare(crew, tmp_path / "mlp", 2, threads=1, steps=32, seconds=0, sides=sides, least=1)["sides"]
    finally:
        crew.close()
    assert found["snnir, 1 thread"]["seconds"]["count"] == 1
    assert "InvalidProtobuf" in found["ONNX Runtime float32"]["cannot"]


def test_a_worker_that_does_not_answer_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    worker = WorkerProcess(sys.executable, "benchmarks.sides", 0.0)
    assert worker.ask(do="sides") == {"error": "no answer in 0 s"}
    assert worker.process is None
    absent = WorkerProcess(sys.executable, "benchmarks.no_such_module", 60)
    answer = absent.ask(do="sides")
    absent.close()
    assert answer["sides"] == [] and "not installed" in answer["failure"]


def test_fit_of_a_line_is_exact() -> None:
    fit = linear_fit([1, 2, 5], [3.0, 5.0, 11.0])
    assert fit is not None
    assert fit["fixed"] == pytest.approx(1) and fit["slope"] == pytest.approx(2)
    assert fit["largest_residual"] == pytest.approx(0, abs=1e-12)
    assert linear_fit([2, 2], [1.0, 3.0]) is None


def test_the_section_of_a_page_is_replaced_and_nothing_else() -> None:
    page = f"before\n\n{report.BEGIN}\n\nold\n\n{report.END}\nafter\n"
    assert report.insert(page, "new\n") == f"before\n\n{report.BEGIN}\n\nnew\n\n{report.END}\nafter\n"
    with pytest.raises(ValueError, match="needs one line"):
        report.insert("nothing to replace", "new")
