"""Threads that share compiled work: every piece is done once, by whoever is awake, and nobody comes late or stays behind."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from typing import Any

import numba as untyped
import numpy as np
import pytest

from snnir.backends.simulator import Simulator
from snnir.backends.simulator import run as simulator_run
from snnir.backends.simulator.kernels.constants import FAILED
from snnir.backends.simulator.kernels.memory import as_run, fetch_add
from snnir.backends.simulator.kernels.numba_compat import Native
from snnir.backends.simulator.thread_pool import ThreadPool
from snnir.errors import InputError
from snnir.ir.execute import execute
from tests.backends.test_simulator import chain

_WORDS = 64

numba: Any = untyped


@numba.cfunc(numba.types.void(numba.types.CPointer(numba.types.int64)))  # type: ignore[untyped-decorator]
def piecework(given: Any) -> None:
    """Takes pieces 0.. (word 0) up to those of word 1, and counts each in the words behind; word 2 counts who came."""
    words = numba.carray(given, _WORDS)
    fetch_add(words, 2, 1)
    while True:
        piece = fetch_add(words, 0, 1)
        if piece >= words[1]:
            break
        fetch_add(words, 3 + piece, 1)


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
def test_every_piece_of_every_job_is_done_once(threads: int) -> None:
    pool, rng = ThreadPool(threads), np.random.default_rng(threads)
    jobs = []
    for number in range(1500):
        words = np.zeros(_WORDS, np.int64)
        words[1] = rng.integers(0, _WORDS - 3)
        if number % 5 == 0:  # helpers sleep after a fraction of a millisecond: jobs meet them awake, falling asleep, and asleep
            time.sleep(float(rng.choice([0, 1e-4, 3e-4, 1e-3])))
        if number % 2:
            pool.wake()
        pool.run(piecework.address, int(words.ctypes.data or 0))
        done = words.copy()
        words[:] = -1 << 40  # whoever came to a job that is over would count here
        jobs.append((words, done))
    for _, done in jobs:
        assert (done[3 : 3 + done[1]] == 1).all()
        assert not done[3 + done[1] :].any()
        assert 1 <= done[2] <= threads
    time.sleep(0.01)
    assert all((words == -1 << 40).all() for words, _ in jobs)


@numba.cfunc(numba.types.void(numba.types.CPointer(numba.types.int64)))  # type: ignore[untyped-decorator]
def meeting(given: Any) -> None:
    """Counts who came (word 2), and stays until as many are there as word 1 says, or for some seconds."""
    words = numba.carray(given, _WORDS)
    fetch_add(words, 2, 1)
    for _ in range(1_000_000_000):
        if fetch_add(words, 2, 0) >= words[1]:
            break


@pytest.mark.parametrize("threads", [2, 3, 5])
def test_all_come_to_a_job_awake_or_asleep(threads: int) -> None:
    pool = ThreadPool(threads)
    for pause in (0, 1e-4, 3e-4, 1e-2) * 5:
        time.sleep(pause)
        words = np.zeros(_WORDS, np.int64)
        words[1] = threads
        pool.run(meeting.address, int(words.ctypes.data or 0))
        assert words[2] == threads


def test_runs_at_the_same_time_do_not_meet() -> None:
    simulator, failed = Simulator(chain()), []
    inputs = [np.random.default_rng(seed).integers(-4, 8, (50 + seed, 2)).astype(np.float32) for seed in range(6)]
    expected = [execute(chain(), {"x": x})["y"] for x in inputs]

    def work(number: int) -> None:
        for _ in range(20):
            found = simulator.run({"x": inputs[number]}, threads=1 + number % 3).outputs["y"]
            if not np.array_equal(found, expected[number]):
                failed.append(number)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failed


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_without_a_level_are_found_while_they_are_rounded(bad: float, threads: int) -> None:
    simulator, x = Simulator(chain()), np.ones((40, 2), np.float32)
    expected = simulator.run({"x": x}, threads=threads).outputs["y"]
    wrong = x.copy()
    wrong[37, 1] = bad
    with pytest.raises(InputError, match="input x holds 1 NaN or infinite values"):
        simulator.run({"x": wrong}, threads=threads)
    with pytest.raises(InputError, match="input x holds 1 values beyond the range of float32"):
        simulator.run({"x": np.where(x == wrong, 1.0, 1e300)}, threads=threads)
    np.testing.assert_array_equal(simulator.run({"x": x}, threads=threads).outputs["y"], expected)


FORKING = """
import os, sys
import numpy as np
from snnir.backends.simulator import Simulator
from tests.backends.test_simulator import chain

simulator, x = Simulator(chain()), np.ones((9, 2), np.float32)
expected = simulator.run({"x": x}, threads=3).outputs["y"]
child = os.fork()
same = np.array_equal(simulator.run({"x": x}, threads=3).outputs["y"], expected)
if child == 0:
    os._exit(0 if same else 1)
assert same
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""

WANTING = """
import resource
import numpy as np
from snnir.backends.simulator import Simulator
from tests.backends.test_simulator import chain

simulator, x = Simulator(chain()), np.random.default_rng(0).integers(-4, 8, (200_000, 2)).astype(np.float32)
few = simulator.run({"x": x[:9]}, threads=2, record=["h", "in"]).outputs["y"]
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 48 * 2**20, resource.RLIM_INFINITY))
try:
    simulator.run({"x": x}, threads=2, record=["h", "in"])
except MemoryError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert np.array_equal(simulator.run({"x": x[:9]}, threads=2, record=["h", "in"]).outputs["y"], few)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked, and their memory is limited, as on Linux")
@pytest.mark.parametrize(("script", "said"), [(FORKING, ""), (WANTING, "not enough memory for the events of this run")])
def test_processes(script: str, said: str) -> None:
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=300)
    assert result.returncode == 0, result.stderr
    assert said in result.stdout


def _fails(run: Any) -> None:
    as_run(run).counters[FAILED] = 1


def test_another_fault_is_not_called_a_want_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    native, made = Native(_fails, returns=False), simulator_run._code
    native.compile(None)

    def failing(sized: Any) -> Any:
        code = made(sized)
        monkeypatch.setattr(code, "work", native.address)
        return code

    monkeypatch.setattr(simulator_run, "_code", failing)
    with pytest.raises(RuntimeError, match="not for want of memory"):
        Simulator(chain()).run({"x": np.zeros((3, 2), np.float32)})


STOPPING = """
import os, signal, sys, threading, time
import numpy as np
from snnir.backends.simulator import Simulator
from tests.backends.test_simulator import chain

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
simulator, rng = Simulator(chain()), np.random.default_rng(0)
x = rng.integers(-4, 8, (2_000_000, 2)).astype(np.float32)
few = simulator.run({"x": x[:300_000]}, threads=2).outputs["y"]
started = threading.Event()

def interrupt():
    started.wait()
    os.kill(os.getpid(), int(sys.argv[1]))

thread = threading.Thread(target=interrupt)
thread.start()
try:
    simulator.run({"x": x}, threads=2, progress=lambda done, total: started.set())
except KeyboardInterrupt:
    print("stopped")
thread.join()
assert np.array_equal(simulator.run({"x": x[:300_000]}, threads=2).outputs["y"], few)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="signals as on Linux")
def test_a_signal_ends_a_run_and_leaves_a_simulator_that_works() -> None:
    command = [sys.executable, "-c", STOPPING]
    result = subprocess.run([*command, str(int(signal.SIGINT))], capture_output=True, text=True, check=False, timeout=300)
    assert result.returncode == 0, result.stderr
    assert result.stdout == "stopped\n"
    ended = subprocess.run([*command, str(int(signal.SIGTERM))], capture_output=True, text=True, check=False, timeout=300)
    assert ended.returncode == -signal.SIGTERM and not ended.stdout
