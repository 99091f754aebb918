"""Threads that share compiled work, and never need the interpreter lock for it.

A job is the address of a compiled function `void job(int64 context)` and its context. All threads of a pool call it at the
same time, and it returns to each when there is nothing left to take. Between jobs the helpers sleep; waking them takes as
long as simulating a few samples, so `ThreadPool.wake` does it while Python still prepares the job, and before they sleep they
wait for the next one in a loop, for a moment. `kernels/threads.py` is the compiled side.
"""

from __future__ import annotations

import ctypes
import os
import threading

import numpy as np

from snnir.backends.simulator.kernels.constants import HELPERS, OWN_LOCK
from snnir.backends.simulator.library import function, prepare

__all__ = ["ThreadPool", "acquire_pool", "release_pool"]


def _lock() -> int:
    """The address of a lock that is taken. It is never given back: its helper sleeps on it until the process ends."""
    allocate, acquire = ctypes.pythonapi.PyThread_allocate_lock, ctypes.pythonapi.PyThread_acquire_lock
    allocate.restype, acquire.argtypes = ctypes.c_void_p, (ctypes.c_void_p, ctypes.c_int)
    address = allocate()
    if not address:
        raise MemoryError("no memory for the locks of threads")
    acquire(address, 1)
    return int(address)


class ThreadPool:
    """A calling thread and its helpers."""

    def __init__(self, threads: int) -> None:
        self.helpers = threads - 1
        self._words = np.zeros(HELPERS + 2 * self.helpers, np.int64)
        self._address = int(self._words.ctypes.data)
        self._words[OWN_LOCK] = _lock()
        for place in range(HELPERS, self._words.size, 2):
            self._words[place + 1] = _lock()
        prepare(["run_shared", "wake", "serve"])  # before a thread waits for it
        self._run_shared, self._wake = function("run_shared"), function("wake")
        for place in range(HELPERS, self._words.size, 2):
            threading.Thread(target=self._serve, args=(place,), name="snnir", daemon=True).start()

    def _serve(self, place: int) -> None:
        function("serve")(self._address, place)

    def wake(self) -> None:
        """Say that a job comes soon."""
        if self.helpers:
            self._wake(self._address, self.helpers)

    def run(self, function: int, context: int) -> None:
        """Have a job done, by the addresses of a compiled function and of what it is given."""
        self._run_shared(self._address, self.helpers, function, context)


_idle: dict[int, list[ThreadPool]] = {}


def acquire_pool(threads: int) -> ThreadPool:
    """A pool for one run, and no other at the same time: one that was released, or a new one."""
    waiting = _idle.get(threads)
    return waiting.pop() if waiting else ThreadPool(threads)


def release_pool(pool: ThreadPool) -> None:
    """Keep a pool for the next run."""
    _idle.setdefault(pool.helpers + 1, []).append(pool)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_idle.clear)  # threads are not inherited
