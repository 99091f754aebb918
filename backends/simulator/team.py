"""Threads that share compiled work, and never need the interpreter lock for it.

A job is the address of a compiled function `void job(void *context)` and its context. All members of a team call it at the
same time, and it returns to each when there is nothing left to take. Between jobs the helpers sleep; waking them takes as
long as simulating a few samples, so `Team.wake` does it while Python still prepares the job, and before they sleep they wait
for the next one in a loop, for a moment.

A team's memory is one array of words. `STATE` counts the helpers inside of the job, has two bits above, `OPEN` (helpers
may enter) and `WAITING` (the caller sleeps until the last one has left), and above these the number of the job: one word, so
that a helper enters each job once at most. Locks are those of Python's C API, which need no interpreter: `acquire` sleeps
until another thread has released.
"""

from __future__ import annotations

import ctypes
import os
import platform
import threading
from typing import Any

import llvmlite.ir
import numba
import numpy as np

from snnir.backends.simulator.compiled import compiled
from snnir.backends.simulator.turns import compiled_by_one

__all__ = ["Team", "rest", "team_of"]

STATE, FUNCTION, CONTEXT, OWN_LOCK, HELPERS = 0, 8, 9, 10, 16
"""Places of words: `STATE` is alone in its cache line; from `HELPERS` on two words a helper: whether it sleeps, and its lock."""

INSIDE, OPEN, WAITING, JOB = (1 << 20) - 1, 1 << 20, 1 << 21, 22
"""Parts of `STATE`: helpers inside, two bits, and where the number of the job begins."""

_PATIENCE = 12_000
"""Turns of a waiting loop before a thread sleeps: some 0.3 ms on a processor of 2023."""


def _atomic(operation):
    """An intrinsic `f(words, place, value)` that changes a word as one operation, and returns what it was."""

    def typed(context, words, place, value):
        def generate(context, builder, signature, arguments):
            data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
            word = builder.gep(data, [arguments[1]])
            return builder.atomic_rmw(operation, word, arguments[2], "seq_cst")

        integer = numba.types.int64
        return integer(words, integer, integer), generate

    return numba.extending.intrinsic(typed)


_add: Any = _atomic("add")
_and: Any = _atomic("and")
_or: Any = _atomic("or")
_exchange: Any = _atomic("xchg")


def _read(context, words, place):
    """A word as it is now."""

    def generate(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        return builder.load_atomic(builder.gep(data, [arguments[1]]), "seq_cst", 8)

    return numba.types.int64(words, numba.types.int64), generate


def _breath(context):
    """A moment's pause in a waiting loop, where the processor has an instruction for it."""
    machine, nothing = platform.machine().lower(), llvmlite.ir.VoidType()

    def generate(context, builder, signature, arguments):
        if machine in ("x86_64", "amd64"):
            pause = llvmlite.ir.FunctionType(nothing, ())
            builder.call(builder.module.declare_intrinsic("llvm.x86.sse2.pause", (), pause), ())
        elif machine in ("aarch64", "arm64"):
            short = llvmlite.ir.IntType(32)
            hint = llvmlite.ir.FunctionType(nothing, (short,))
            builder.call(builder.module.declare_intrinsic("llvm.aarch64.hint", (), hint), (short(1),))
        return context.get_dummy_value()

    return numba.types.void(), generate


def _acquired(context, lock):
    """Sleep until the lock is released, and take it."""

    def generate(context, builder, signature, arguments):
        byte, short = llvmlite.ir.IntType(8).as_pointer(), llvmlite.ir.IntType(32)
        kind = llvmlite.ir.FunctionType(short, (byte, short))
        function = numba.core.cgutils.get_or_insert_function(builder.module, kind, "PyThread_acquire_lock")
        builder.call(function, (builder.inttoptr(arguments[0], byte), short(1)))
        return context.get_dummy_value()

    return numba.types.void(numba.types.int64), generate


def _released(context, lock):
    """Release a lock that is taken."""

    def generate(context, builder, signature, arguments):
        byte = llvmlite.ir.IntType(8).as_pointer()
        kind = llvmlite.ir.FunctionType(llvmlite.ir.VoidType(), (byte,))
        function = numba.core.cgutils.get_or_insert_function(builder.module, kind, "PyThread_release_lock")
        builder.call(function, (builder.inttoptr(arguments[0], byte),))
        return context.get_dummy_value()

    return numba.types.void(numba.types.int64), generate


def _called(context, function, given):
    """Call `void function(void *given)` at an address."""

    def generate(context, builder, signature, arguments):
        byte = llvmlite.ir.IntType(8).as_pointer()
        kind = llvmlite.ir.FunctionType(llvmlite.ir.VoidType(), (byte,)).as_pointer()
        builder.call(builder.inttoptr(arguments[0], kind), (builder.inttoptr(arguments[1], byte),))
        return context.get_dummy_value()

    return numba.types.void(numba.types.int64, numba.types.int64), generate


_load: Any = numba.extending.intrinsic(_read)
_pause: Any = numba.extending.intrinsic(_breath)
_acquire: Any = numba.extending.intrinsic(_acquired)
_release: Any = numba.extending.intrinsic(_released)
_call: Any = numba.extending.intrinsic(_called)


@compiled
def _wake(words, helpers):
    """Wake those of the first helpers that sleep."""
    for place in range(HELPERS, HELPERS + 2 * helpers, 2):
        if _exchange(words, place, 0):
            _release(words[place + 1])


@compiled
def _help(words, place):
    """What a helper does, for ever: wait for the next job for a moment, or asleep, and join it."""
    last = 0
    while True:
        for _ in range(_PATIENCE):
            if _load(words, STATE) >> JOB != last:
                break
            _pause()
        if _load(words, STATE) >> JOB == last:
            _exchange(words, place, 1)
            if _load(words, STATE) >> JOB == last or not _exchange(words, place, 0):  # or is being woken
                _acquire(words[place + 1])
            continue
        state = _add(words, STATE, 1)
        last = state >> JOB
        if state & OPEN:
            _call(words[FUNCTION], words[CONTEXT])
        if _add(words, STATE, -1) & (WAITING | INSIDE) == WAITING + 1 and _and(words, STATE, ~WAITING) & WAITING:
            _release(words[OWN_LOCK])


@compiled
def _together(words, helpers, function, given):
    """Have a job done by the caller and that many helpers; returns when all have left it."""
    words[FUNCTION], words[CONTEXT] = function, given
    _add(words, STATE, (1 << JOB) + OPEN)
    _wake(words, helpers)
    _call(function, given)
    _and(words, STATE, ~OPEN)
    for _ in range(_PATIENCE):
        if not _load(words, STATE) & INSIDE:
            return
        _pause()
    if _or(words, STATE, WAITING) & INSIDE or not _and(words, STATE, ~WAITING) & WAITING:
        _acquire(words[OWN_LOCK])


def _lock() -> int:
    """The address of a lock that is taken. It is never given back: its helper sleeps on it until the process ends."""
    allocate, acquire = ctypes.pythonapi.PyThread_allocate_lock, ctypes.pythonapi.PyThread_acquire_lock
    allocate.restype, acquire.argtypes = ctypes.c_void_p, (ctypes.c_void_p, ctypes.c_int)
    address = allocate()
    if not address:
        raise MemoryError("no memory for the locks of threads")
    acquire(address, 1)
    return int(address)


class Team:
    """A calling thread and its helpers."""

    def __init__(self, threads: int) -> None:
        self.helpers = threads - 1
        self._words = np.zeros(HELPERS + 2 * self.helpers, np.int64)
        self._words[OWN_LOCK] = _lock()
        for place in range(HELPERS, self._words.size, 2):
            self._words[place + 1] = _lock()
        compiled_by_one(_together, self._compile)
        for place in range(HELPERS, self._words.size, 2):
            threading.Thread(target=_help, args=(self._words, place), name="snnir", daemon=True).start()

    def _compile(self) -> None:
        """Compile or load everything here, before a thread waits for it."""
        words, integer = numba.typeof(self._words), numba.types.int64
        _wake.compile((words, integer))
        _help.compile((words, integer))
        _together.compile((words, integer, integer, integer))

    def wake(self) -> None:
        """Say that a job comes soon."""
        _wake(self._words, self.helpers)

    def run(self, function: int, context: int) -> None:
        """Have a job done, by the addresses of a compiled function and of what it is given."""
        _together(self._words, self.helpers, function, context)


_idle: dict[int, list[Team]] = {}


def team_of(threads: int) -> Team:
    """A team for one run, and no other at the same time: one that has come to `rest`, or a new one."""
    waiting = _idle.get(threads)
    return waiting.pop() if waiting else Team(threads)


def rest(team: Team) -> None:
    """Keep a team for the next run."""
    _idle.setdefault(team.helpers + 1, []).append(team)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_idle.clear)  # threads are not inherited
