"""The data of the pages, pictures, notebook forms and tables say what the programs and runs themselves say."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import snnir
from snnir.cli.main import main
from snnir.errors import UsageError
from snnir.ir.text import lines
from snnir.machine.plain import simulate_plain
from snnir.runtime.costs import operations_of
from snnir.runtime.inputs import as_inputs
from snnir.views.figures import comparison_figure, explore_figures, report_figures
from snnir.views.graph_records import node_records, scope_of
from snnir.views.page import Page, to_json
from tests.random_graphs import random_graph
from tests.views.conftest import Digits

STATIC = Path(snnir.__file__).parent / "views"


@pytest.mark.parametrize("seed", range(16))
def test_every_node_line_and_edge_of_a_graph_is_in_the_data(seed: int) -> None:
    graph, _ = random_graph(seed)
    records: list[Any] = node_records(graph, {"N": 1})
    named = {record["id"] for record in records}
    assert len(named) == len(records)
    assert {node.outputs[0].name for node in graph.nodes} <= named
    given = {value for record in records for value in record["outputs"]}
    assert {value for record in records for value in record["inputs"]} <= given
    for line in lines(graph):
        if line.value and line.data is None:
            assert line.value in given, line


@pytest.mark.parametrize(
    ("origin", "scope"),
    [
        ("Conv /features/features.0/Conv", ["features", "features.0"]),
        ("Conv1d /block.0", ["block"]),
        ("RNN indrnn", []),
        ("MatMul model/dense/MatMul", ["model", "dense"]),
    ],
)
def test_modules_are_read_from_the_names_that_exporters_give(origin: str, scope: list[str]) -> None:
    assert scope_of(origin) == scope


def test_the_explorer_has_every_pass_and_what_values_hold(digits: Digits, explored: Page) -> None:
    data: Any = explored.data
    pipeline = digits.program.facts.pipeline or ""
    assert [item["name"] for item in data["passes"]][1:] == [
        re.split(r"[{]", word)[0] for word in re.split(r",(?![^{]*})", pipeline)
    ]
    assert all(
        item["graph"] == data["passes"][place]["graph"] for place, item in enumerate(data["passes"][1:]) if not item["changed"]
    )
    result = digits.program.run(digits.calibration[: data["run"]["samples"]])
    assert data["run"]["spikes"] == {name: pytest.approx(float(array.mean())) for name, array in result.spikes.items()}
    assert data["run"]["synops"] == {name: pytest.approx(float(array.mean())) for name, array in result.synops.items()}
    spiking = data["graphs"][data["passes"][-1]["graph"]]
    rbif = next(data["nodes"][index] for index in spiking["nodes"] if data["nodes"][index]["op"] == "rbif")
    assert rbif["bits"] == 4 and rbif["bound"] > 0
    assert rbif["origin"] == ["RNN indrnn"]
    for graph in data["graphs"]:
        for number in graph["statistics"].values():
            item = data["statistics"][number]
            assert item["min"] <= item["mean"] <= item["max"] or not item["counts"]
            assert sum(item["counts"]) <= item["elements"]


def test_sources_without_data_show_what_can_be_shown(digits: Digits, tmp_path: Path) -> None:
    data: Any = snnir.explore(digits.model).data
    assert "calibration" in data["note"] and [item["name"] for item in data["passes"]][-1] != "certify-bounds"
    digits.program.save(tmp_path / "digits.snnir")
    levels: Any = snnir.explore(tmp_path / "digits.snnir").data
    assert [graph["level"] for graph in levels["graphs"]] == ["float", "quantized", "spiking"]
    snnir.bundle(digits.program, digits.x[:2]).save(tmp_path / "digits.snnb")
    bundled: Any = snnir.explore(tmp_path / "digits.snnb").data
    assert [graph["level"] for graph in bundled["graphs"]] == ["spiking"]
    again: Any = snnir.explore(digits.program, digits.calibration).data
    assert again["note"] == "" and len(again["graphs"]) > 3
    assert str(tmp_path) not in to_json(levels)


@pytest.mark.parametrize("execution", ["reset", "carry"])
def test_the_report_equals_run_and_verify(digits: Digits, execution: str) -> None:
    page = snnir.report(digits.program, digits.x, digits.labels, executions=(execution,), sample=3)
    data: Any = page.data
    (found,) = data["variants"]
    result = digits.program.run(digits.x, execution=execution)
    verification = digits.program.verify(digits.x, execution=execution)
    assert found["facts"]["spikes_per_sample"] == float(result.total_spikes.mean())
    assert found["facts"]["synops_per_sample"] == float(result.total_synops.mean())
    assert found["verification"]["compared"] == verification.compared
    assert found["verification"]["mismatches"] == verification.mismatches == 0
    assert found["accuracy"] == float((result.outputs["logits"].argmax(axis=1) == digits.labels).mean())
    assert found["caps"][-1]["accuracy"] == found["accuracy"] and found["curve"][-1] == found["accuracy"]
    counts = np.sum([np.pad(group["counts"], (0, 99 - len(group["counts"]))) for group in found["windows"]], axis=0)
    assert counts.tolist() == np.bincount(result.steps.reshape(-1), minlength=99).tolist()
    operations = operations_of(digits.program.graph("spiking"), as_inputs(digits.program.graph("spiking"), digits.x), result)
    assert found["operations"] == vars(operations)
    one = digits.program.run(digits.x[3:4], execution=execution)
    plain = simulate_plain(digits.program.graph("spiking"), {"image": digits.x[3:4]}, execution=execution)
    for name, own in found["neurons"]["populations"].items():
        assert own["synops"] == plain.arrivals[name].reshape(-1).tolist()
    read_out = set(plain.arrivals) - set(found["neurons"]["populations"])
    assert read_out == {"logits"}
    assert sum(int(array.sum()) for array in plain.arrivals.values()) == int(one.total_synops.sum())
    for lane in found["recording"]["lanes"]:
        assert len(lane["moments"]) == int(one.spikes[lane["name"]].sum())
        assert max(lane["moments"], default=0) < found["recording"]["length"]
    json.loads(page.json())


def test_neurons_that_are_asked_for_are_traced(digits: Digits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snnir.views.recordings._TRACED_NUMBERS", 1)
    page = snnir.report(digits.program, digits.x[:1], losses=False, traced={"rows": [7, 200]})
    data: Any = page.data
    lanes = {lane["name"]: lane["traces"] for lane in data["variants"][0]["recording"]["lanes"]}
    assert {7, 200} <= {trace["address"] for trace in lanes["rows"]}
    assert len(lanes["last.forward.last/y"]) == 6 <= len(lanes["rows"]) <= 8
    with pytest.raises(UsageError, match="no neuron 384; choose one from 0 to 383"):
        snnir.report(digits.program, digits.x[:1], losses=False, traced={"rows": [384]})
    with pytest.raises(UsageError, match="no population 'columns' to trace; there are rows"):
        snnir.report(digits.program, digits.x[:1], losses=False, traced={"columns": [0]})


def test_membranes_end_between_0_and_the_threshold_and_step_with_the_spikes(digits: Digits) -> None:
    page = snnir.report(digits.program, digits.x[:2], sample=1, losses=False)
    data: Any = page.data
    (found,) = data["variants"]
    counts = digits.program.run(digits.x[1:2], counts=True).counts
    for lane in found["recording"]["lanes"]:
        settled = counts[lane["name"]].reshape(-1)
        for trace in lane["traces"]:
            if trace["address"] < settled.size and "/" not in lane["name"] and 0 < settled[trace["address"]] < 15:
                assert 0 <= trace["potentials"][-1] < trace["threshold"]


def test_a_sample_that_is_not_there_is_refused(digits: Digits) -> None:
    with pytest.raises(UsageError, match="choose one from 0 to 3"):
        snnir.report(digits.program, digits.x[:4], sample=4)


def test_programs_of_other_versions_show_their_levels(digits: Digits) -> None:
    old = snnir.Program({level: digits.program.graph(level) for level in digits.program.levels}, {"pipeline": "no-such-pass"})
    data: Any = snnir.explore(old, digits.calibration[:4]).data
    assert len(data["graphs"]) == 3 and "no-such-pass" in data["note"] and data["run"]["spikes"]
    report: Any = snnir.report(old, digits.x[:4]).data
    assert "no-such-pass" in report["variants"][0]["losses"]["why"]


def test_pictures_are_drawn_for_every_part(digits: Digits, explored: Page, tmp_path: Path) -> None:
    reported: Any = snnir.report(digits.program, digits.x[:16], digits.labels[:16]).data
    drawn = [*explore_figures(explored.data, tmp_path / "e"), *report_figures(reported, tmp_path / "r")]
    drawn.append(comparison_figure({**reported, "variants": reported["variants"] * 2}, tmp_path / "comparison.png"))
    assert {path.stem for path in drawn} == {
        "passes", "losses", "histograms", "comparison", "accuracy", "raster", "steps", "layers", "membranes"
    }  # fmt: skip
    from matplotlib.image import imread

    for path in drawn:
        image = imread(path)
        assert image.shape[1] >= 500 and np.ptp(image) > 0.5


def test_the_pages_are_built_from_their_sources() -> None:
    import hashlib

    web = STATIC / "web"
    digest = hashlib.sha256()
    for name in (
        "package.json",
        "package-lock.json",
        "build.mjs",
        *sorted(f"src/{path.name}" for path in (web / "src").iterdir()),
    ):
        digest.update(name.encode())
        digest.update((web / name).read_bytes())
    assert (STATIC / "static" / "sources.sha256").read_text().strip() == digest.hexdigest(), "run: make web"
    size = sum(path.stat().st_size for path in (STATIC / "static").iterdir())
    assert size < 5_000_000
    licences = (STATIC / "static" / "licences.txt").read_text(encoding="utf-8")
    assert all(name in licences for name in ("preact", "@dagrejs/dagre", "@observablehq/plot"))


class _Balance(HTMLParser):
    """Tags that are open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in ("rect", "line"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("rect", "line"):
            assert self.open.pop() == tag


def test_notebooks_show_tables_of_everything(digits: Digits) -> None:
    x = digits.x[:4]
    verification, result = digits.program.verify(x), digits.program.run(x)
    shown: dict[str, Any] = {
        "rbif": digits.program.graph("spiking"),
        "quantized": digits.program,
        f"{float(result.spikes['rows'].mean()):,.1f}": result,
        f"{verification.compared:,}": verification,
        "spiking": snnir.check(digits.model),
    }
    for word, item in shown.items():
        text = item._repr_html_()
        assert word in text and "<script" not in text
        parser = _Balance()
        parser.feed(text)
        assert not parser.open
    assert "\n" not in repr(result) and len(repr(result)) < 120
    hostile = snnir.Graph("<script>alert(1)</script>")
    assert "<script" not in hostile._repr_html_()


def test_results_become_data_frames(digits: Digits) -> None:
    pytest.importorskip("pandas")
    result = digits.program.run(digits.x[:5], record=["rows"])
    layers = result.to_dataframe()
    assert layers.spikes.sum() == int(result.total_spikes.sum())
    assert layers.synops.sum() == int(result.total_synops.sum())
    windows = result.to_dataframe("windows")
    assert windows.groupby("sample").steps.sum().tolist() == result.steps.sum(axis=1).tolist()
    rasters = result.to_dataframe("rasters")
    assert len(rasters) == len(result.rasters["rows"])
    with pytest.raises(UsageError, match="layers, windows or rasters"):
        result.to_dataframe("nothing")


def test_commands_write_pages_pictures_and_json(digits: Digits, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    digits.program.save(tmp_path / "digits.snnir")
    np.save(tmp_path / "x.npy", digits.x[:8])
    np.save(tmp_path / "labels.npy", digits.labels[:8])
    program, x, labels = (str(tmp_path / name) for name in ("digits.snnir", "x.npy", "labels.npy"))
    page = str(tmp_path / "page.html")
    assert main(["report", program, x, "--labels", labels, "-o", page, "--no-losses", "--trace", "rows:3"]) == 0
    assert main(["report", program, x, "-o", page, "--trace", "rows"]) == 2
    assert main(["report", program, x, "-o", page]) == 0  # one of its own pages may be written over
    assert main(["explore", program, "-o", page]) == 0
    text = Path(page).read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>") and "http://" not in re.sub(r'<script id="licences".*?</script>', "", text)[:3000]
    capsys.readouterr()
    assert main(["report", program, x, "--json", "--no-losses"]) == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "snnir-report"
    assert main(["explore", program, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "snnir-explore"
    for number, (command, *given) in enumerate((["explore", program], ["report", program, x, "--labels", labels, "--no-losses"])):
        folder = tmp_path / f"pictures {number}"
        assert main([command, *given, "-o", page, "--png", str(folder)]) == 0
        said = capsys.readouterr().out.splitlines()
        drawn = sorted(folder.iterdir())
        assert drawn and all(path.suffix == ".png" and str(path) in said for path in drawn)
        assert all(path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n") for path in drawn)
    assert main(["plot", program, x, "--labels", labels, "-o", str(tmp_path / "plots")]) == 0
    assert {path.name for path in (tmp_path / "plots").iterdir()} >= {"raster.png", "accuracy.png"}
    (tmp_path / "mine.html").write_text("mine")
    assert main(["explore", program, "-o", str(tmp_path / "mine.html")]) == 2
    assert (tmp_path / "mine.html").read_text() == "mine"


def test_origins_of_a_torch_module_are_its_modules() -> None:
    torch = pytest.importorskip("torch")
    layers = torch.nn.Sequential(torch.nn.Conv1d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(16, 2))
    data: Any = snnir.explore(layers.eval(), np.random.default_rng(0).normal(size=(8, 3, 6)).astype(np.float32), bits=4).data
    spiking = data["graphs"][data["passes"][-1]["graph"]]
    origins = {tuple(data["nodes"][index]["origin"]) for index in spiking["nodes"]}
    assert {("Conv1d /0",), ("ReLU /1",), ("Linear /3",)} <= origins
