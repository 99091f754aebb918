"""What the threads of a pool do: helpers wait for jobs, and never need the interpreter's lock for it.

The memory of a pool is one array of words. `STATE` counts the helpers inside of the job, has two bits above, `OPEN` (helpers
may enter) and `WAITING` (the caller sleeps until the last one has left), and above these the number of the job: one word, so
that a helper enters each job once at most. Locks are those of Python's C API, which need no interpreter: `acquire` sleeps
until another thread has released.
"""

from __future__ import annotations

import platform

import llvmlite.ir
import numba

from snnir.backends.simulator.kernels.constants import CONTEXT, FUNCTION, HELPERS, INSIDE, JOB, OPEN, OWN_LOCK, STATE, WAITING
from snnir.backends.simulator.kernels.numba_compat import Compiled, array_pointer, array_view, c_function, intrinsic, part

__all__ = ["pool_words", "run_job", "serve_jobs", "wake_helpers"]

_SPINS = 12_000
"""Rounds of a waiting loop before a thread sleeps: some 0.3 ms on a processor of 2023."""

_BYTE, _INT, _LONG, _VOID = (
    llvmlite.ir.IntType(8).as_pointer(),
    llvmlite.ir.IntType(32),
    llvmlite.ir.IntType(64),
    llvmlite.ir.VoidType(),
)
_INTEGER = numba.types.int64


@intrinsic
def pool_words(context, address):
    """The words of a pool, at an address."""
    found = numba.types.Array(_INTEGER, 1, "C")

    def generate(context, builder, signature, arguments):
        return array_view(context, builder, found, arguments[0], [_LONG(2**40)])

    return found(_INTEGER), generate


def _atomic(operation: str) -> Compiled:
    """An intrinsic `f(words, place, value)` that changes a word as one operation, and returns what it was."""

    def typed(context, words, place, value):
        def generate(context, builder, signature, arguments):
            word = builder.gep(array_pointer(context, builder, signature.args[0], arguments[0]), [arguments[1]])
            return builder.atomic_rmw(operation, word, arguments[2], "seq_cst")

        return _INTEGER(words, _INTEGER, _INTEGER), generate

    return intrinsic(typed)


_add: Compiled = _atomic("add")
_and: Compiled = _atomic("and")
_or: Compiled = _atomic("or")
_exchange: Compiled = _atomic("xchg")


@intrinsic
def _load(context, words, place):
    """A word as it is now."""

    def generate(context, builder, signature, arguments):
        words = array_pointer(context, builder, signature.args[0], arguments[0])
        return builder.load_atomic(builder.gep(words, [arguments[1]]), "seq_cst", 8)

    return _INTEGER(words, _INTEGER), generate


@intrinsic
def _pause(context):
    """A moment's pause in a waiting loop, where the processor has an instruction for it."""
    machine = platform.machine().lower()

    def generate(context, builder, signature, arguments):
        if machine in ("x86_64", "amd64"):
            pause = llvmlite.ir.FunctionType(_VOID, ())
            builder.call(builder.module.declare_intrinsic("llvm.x86.sse2.pause", (), pause), ())
        elif machine in ("aarch64", "arm64"):
            hint = llvmlite.ir.FunctionType(_VOID, (_INT,))
            builder.call(builder.module.declare_intrinsic("llvm.aarch64.hint", (), hint), (_INT(1),))
        return context.get_dummy_value()

    return numba.types.void(), generate


@intrinsic
def _acquire(context, lock):
    """Sleep until the lock is released, and take it."""

    def generate(context, builder, signature, arguments):
        function = c_function(builder, "PyThread_acquire_lock", _INT, _BYTE, _INT)
        builder.call(function, (builder.inttoptr(arguments[0], _BYTE), _INT(1)))
        return context.get_dummy_value()

    return numba.types.void(_INTEGER), generate


@intrinsic
def _release(context, lock):
    """Release a lock that is taken."""

    def generate(context, builder, signature, arguments):
        function = c_function(builder, "PyThread_release_lock", _VOID, _BYTE)
        builder.call(function, (builder.inttoptr(arguments[0], _BYTE),))
        return context.get_dummy_value()

    return numba.types.void(_INTEGER), generate


@intrinsic
def _call(context, function, given):
    """Call `void function(int64 given)` at an address."""

    def generate(context, builder, signature, arguments):
        kind = llvmlite.ir.FunctionType(_VOID, (_LONG,)).as_pointer()
        builder.call(builder.inttoptr(arguments[0], kind), (arguments[1],))
        return context.get_dummy_value()

    return numba.types.void(_INTEGER, _INTEGER), generate


@part
def wake_helpers(words, helpers):
    """Wake those of the first helpers that sleep."""
    for place in range(HELPERS, HELPERS + 2 * helpers, 2):
        if _exchange(words, place, 0):
            _release(words[place + 1])


@part
def serve_jobs(words, place):
    """What a helper does, for ever: wait for the next job for a moment, or asleep, and join it."""
    last = 0
    while True:
        for _ in range(_SPINS):
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


@part
def run_job(words, helpers, function, given):
    """Have a job done by the caller and that many helpers; return when all have left it."""
    words[FUNCTION], words[CONTEXT] = function, given
    _add(words, STATE, (1 << JOB) + OPEN)
    wake_helpers(words, helpers)
    _call(function, given)
    _and(words, STATE, ~OPEN)
    for _ in range(_SPINS):
        if not _load(words, STATE) & INSIDE:
            return
        _pause()
    if _or(words, STATE, WAITING) & INSIDE or not _and(words, STATE, ~WAITING) & WAITING:
        _acquire(words[OWN_LOCK])
