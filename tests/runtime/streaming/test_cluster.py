"""Chunks on a Dask cluster: each worker gets the program once, any of them may die, and the bytes are the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import distributed
import numpy as np
import pytest

import snnir
from snnir.cli.main import main
from snnir.errors import InputError, UsageError
from snnir.runtime.streaming import run_stream
from tests.models import data, perceptron

SAMPLES = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program, its inputs, and its results without a cluster."""
    path, rng = tmp_path_factory.mktemp("cluster"), np.random.default_rng(0)
    program = snnir.compile(perceptron(rng), calibration=data(rng, 50, 6))
    program.save(path / "p.snnir")
    np.save(path / "x.npy", data(rng, SAMPLES, 6))
    run_stream(program, path / "x.npy", path / "alone", chunk=4)
    return path


@pytest.fixture(scope="module")
def cluster() -> Iterator[distributed.LocalCluster]:
    """Two worker processes of one thread each."""
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as started:
        yield started


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_results_are_those_of_one_process_and_the_program_goes_to_each_worker_once(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from snnir.runtime.streaming import cluster

    program, carrier, loaded = snnir.load(folder / "p.snnir"), cluster._Carrier, []
    real = snnir.Program.load

    def counted(path: Path) -> snnir.Program:
        loaded.append(path)
        return real(path)

    monkeypatch.setattr(snnir.Program, "load", counted)
    threads = {"n_workers": 3, "threads_per_worker": 2, "processes": False, "dashboard_address": None}
    with distributed.LocalCluster(**threads) as started, distributed.Client(started) as client:
        monkeypatch.setattr(cluster, "_Carrier", lambda content, version: carrier(content, "0.0.0"))
        with pytest.raises(UsageError, match="has snnir .*, this is 0.0.0; install the same"):
            run_stream(program, folder / "x.npy", tmp_path / "out", chunk=4, cluster=client)
        monkeypatch.setattr(cluster, "_Carrier", carrier)
        loaded.clear()
        result = run_stream(program, folder / "x.npy", tmp_path / "out", chunk=4, cluster=client)
        assert not [name for plugins in client.run(_plugins).values() for name in plugins], "nothing is left behind"
    assert len(loaded) == 3
    assert result.totals.samples == SAMPLES
    assert contents(tmp_path / "out") == contents(folder / "alone")


def _plugins(dask_worker: distributed.Worker) -> list[str]:
    return [name for name in dask_worker.plugins if name.startswith("snnir")]


def test_a_worker_that_is_killed_loses_nothing(folder: Path, cluster: distributed.LocalCluster, tmp_path: Path) -> None:
    class Dies(distributed.WorkerPlugin):  # type: ignore[misc]
        """Kills the worker that is the first to begin a fourth chunk, in the middle of it."""

        def __init__(self, flag: str) -> None:
            self.flag, self.begun = flag, 0

        def transition(self, key: object, start: str, finish: str, **_: object) -> None:
            self.begun += finish == "executing"
            if self.begun == 4:
                try:
                    os.close(os.open(self.flag, os.O_CREAT | os.O_EXCL))
                except FileExistsError:
                    return
                os.kill(os.getpid(), signal.SIGKILL)

    program, done = snnir.load(folder / "p.snnir"), []
    with distributed.Client(cluster) as client:
        before = set(client.run(os.getpid).values())
        client.register_plugin(Dies(str(tmp_path / "died")), name="dies")
        result = run_stream(
            program,
            folder / "x.npy",
            tmp_path / "out",
            chunk=4,
            cluster=client,
            progress=lambda samples, total: done.append(samples),
        )
        client.unregister_worker_plugin("dies")
        client.wait_for_workers(2)
        assert len(before - set(client.run(os.getpid).values())) == 1, "one worker was lost"
    assert (tmp_path / "died").exists()
    assert done == list(range(0, SAMPLES + 1, 4)), "no chunk came twice"
    assert result.totals.samples == SAMPLES
    assert contents(tmp_path / "out") == contents(folder / "alone")


def test_the_command_takes_an_address_and_what_it_began_goes_on_without_a_cluster(
    folder: Path, cluster: distributed.LocalCluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = snnir.load(folder / "p.snnir")

    def stop(done: int, total: int) -> None:
        if done >= 20:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        run_stream(program, folder / "x.npy", tmp_path / "out", chunk=4, cluster=cluster.scheduler_address, progress=stop)
    command = ["run", str(folder / "p.snnir"), str(folder / "x.npy"), "--chunk", "4", "-o"]
    assert main([*command, str(tmp_path / "out")]) == 0
    assert "20 samples by an earlier run" in " ".join(capsys.readouterr().out.split())
    assert contents(tmp_path / "out") == contents(folder / "alone")
    assert main([*command, str(tmp_path / "other"), "--cluster", cluster.scheduler_address]) == 0
    assert contents(tmp_path / "other") == contents(folder / "alone")


def test_errors_of_workers_and_of_data_are_clear(folder: Path, cluster: distributed.LocalCluster, tmp_path: Path) -> None:
    program = snnir.load(folder / "p.snnir")
    broken = np.load(folder / "x.npy")
    broken[50] = np.inf
    np.save(tmp_path / "broken.npy", broken)
    with pytest.raises(InputError, match="samples 48 to 51"):
        run_stream(program, tmp_path / "broken.npy", tmp_path / "out", chunk=4, cluster=cluster)
    with pytest.raises(UsageError, match="no Dask scheduler answers at nowhere"):
        run_stream(program, folder / "x.npy", tmp_path / "none", cluster="nowhere")


def test_without_distributed_the_command_says_what_to_install(folder: Path, tmp_path: Path) -> None:
    arguments = ["run", str(folder / "p.snnir"), str(folder / "x.npy"), "--cluster", "tcp://here:1", "-o", str(tmp_path / "out")]
    code = f"import sys; sys.modules['distributed'] = None\nfrom snnir.cli.main import main\nsys.exit(main({arguments!r}))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "pip install snnir[cluster]" in " ".join(result.stderr.split())
