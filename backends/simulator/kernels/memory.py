"""Memory that grows, structures at addresses, shared counters, and calls of compiled functions by their addresses.

Growing memory is the C library's, because arrays of NumPy would count references, which are locked operations.
"""

from __future__ import annotations

from collections.abc import Callable

import llvmlite.ir
import numba
import numpy as np

from snnir.backends.simulator.kernels.constants import NO_ROOM, SPARE, STOPPED
from snnir.backends.simulator.kernels.numba_compat import Compiled, Struct, array_pointer, array_view, c_function, intrinsic, part
from snnir.backends.simulator.kernels.types import RUN, WORKER

__all__ = [
    "as_run",
    "as_worker",
    "clear",
    "copy",
    "cycles",
    "deliver_by",
    "enlarge",
    "events_of",
    "execute_by",
    "fetch_add",
    "free",
    "grow",
    "longs",
    "pointer",
    "reals",
    "stop_where_asked",
]

_LONG, _BYTE = llvmlite.ir.IntType(64), llvmlite.ir.IntType(8).as_pointer()
_INTEGER = numba.types.int64


def _structure(struct: Struct) -> Compiled:
    """An intrinsic that takes the words at an address as a structure."""

    def typed(context, address):
        def generate(context, builder, signature, arguments):
            return builder.inttoptr(arguments[0], _LONG.as_pointer())

        return struct(_INTEGER), generate

    return intrinsic(typed)


as_run: Compiled = _structure(RUN)
as_worker: Compiled = _structure(WORKER)


@intrinsic
def pointer(context, array):
    """Where the entries of an array begin: one word to pass, where an array takes seven."""

    def generate(context, builder, signature, arguments):
        return array_pointer(context, builder, signature.args[0], arguments[0])

    return numba.types.CPointer(array.dtype)(array), generate


@intrinsic
def _reallocate(context, address, size):
    """Move the C library's memory at `address` (0: none yet) to where `size` bytes are; 0 where there is none."""

    def generate(context, builder, signature, arguments):
        function = c_function(builder, "realloc", _BYTE, _BYTE, _LONG)
        return builder.ptrtoint(builder.call(function, (builder.inttoptr(arguments[0], _BYTE), arguments[1])), _LONG)

    return _INTEGER(_INTEGER, _INTEGER), generate


@intrinsic
def free(context, address):
    """Give memory back to the C library."""

    def generate(context, builder, signature, arguments):
        builder.call(c_function(builder, "free", llvmlite.ir.VoidType(), _BYTE), (builder.inttoptr(arguments[0], _BYTE),))
        return context.get_dummy_value()

    return numba.types.void(_INTEGER), generate


@intrinsic
def events_of(context, store):
    """The arrays of a store of trains: offsets, addresses and numbers of the events."""
    kinds = [numba.types.Array(kind, 1, "C") for kind in (numba.types.int64, numba.types.int32, numba.types.int32)]
    found = numba.types.Tuple(kinds)

    def generate(context, builder, signature, arguments):
        words = array_pointer(context, builder, store, arguments[0])
        word = [builder.load(builder.gep(words, [_LONG(k)])) for k in range(9)]
        arrays = [array_view(context, builder, kind, word[3 * k], [word[3 * k + 1]]) for k, kind in enumerate(kinds)]
        return context.make_tuple(builder, found, arrays)

    return found(store), generate


@intrinsic
def longs(context, log):
    """The numbers (int64) of a log: three words, where they are, how many fit, and how many may."""
    found = numba.types.Array(numba.types.int64, 1, "C")

    def generate(context, builder, signature, arguments):
        words = array_pointer(context, builder, log, arguments[0])
        address, size = (builder.load(builder.gep(words, [_LONG(k)])) for k in range(2))
        return array_view(context, builder, found, address, [size])

    return found(log), generate


@intrinsic
def reals(context, address, first, size):
    """The `size` numbers (float32) from entry `first` on of the array at an address."""
    found = numba.types.Array(numba.types.float32, 1, "C")

    def generate(context, builder, signature, arguments):
        start = builder.add(arguments[0], builder.mul(arguments[1], _LONG(4)))
        return array_view(context, builder, found, start, [arguments[2]])

    return found(_INTEGER, _INTEGER, _INTEGER), generate


@intrinsic
def fetch_add(context, words, place, value):
    """Add to an entry of an array (int64), as one operation of all threads; returns what it was."""

    def generate(context, builder, signature, arguments):
        word = builder.gep(array_pointer(context, builder, signature.args[0], arguments[0]), [arguments[1]])
        return builder.atomic_rmw("add", word, arguments[2], "seq_cst")

    return _INTEGER(words, _INTEGER, _INTEGER), generate


@intrinsic
def cycles(context):
    """The cycles that the processor's counter has counted."""

    def generate(context, builder, signature, arguments):
        counter = llvmlite.ir.FunctionType(_LONG, ())
        return builder.call(builder.module.declare_intrinsic("llvm.readcyclecounter", (), counter), ())

    return _INTEGER(), generate


def _calling(returned: llvmlite.ir.Type) -> Callable[..., object]:
    """How to call the C function at an address, with the structures of a run and a worker and some numbers."""

    def generate(context, builder, signature, arguments):
        address, run, worker, *others = arguments
        kind = llvmlite.ir.FunctionType(returned, [_LONG] * (2 + len(others))).as_pointer()
        given = [builder.ptrtoint(run, _LONG), builder.ptrtoint(worker, _LONG), *others]
        found = builder.call(builder.inttoptr(address, kind), given)
        return found if returned == _LONG else context.get_dummy_value()

    return generate


@intrinsic
def execute_by(context, address, run, worker, row):
    """Call the routine of an instruction, at an address. Returns 1 where it failed, else 0."""
    return _INTEGER(_INTEGER, run, worker, _INTEGER), _calling(_LONG)


@intrinsic
def deliver_by(context, address, run, worker, population, segment, begin, end):
    """Call the delivery of a segment, at an address, for events begin..end-1."""
    return numba.types.void(_INTEGER, run, worker, *[_INTEGER] * 4), _calling(llvmlite.ir.VoidType())


@part
def enlarge(log, count, width):
    """Let the memory of a log, of log[1] entries of `width` bytes at log[0], hold at least `count`, and `SPARE` more, since
    events are written eight at a time. Returns whether it moved.

    Where there is too little memory, or log[2] entries are the most, it raises, and log[1] is `NO_ROOM` from then on: no routine
    can say why it failed.
    """
    if count <= log[1]:
        return False
    size = min(2 * count, log[2])
    moved = _reallocate(log[0], np.int64((size + SPARE) * width)) if count <= size else 0
    if moved == 0:
        log[1] = NO_ROOM
        raise MemoryError
    log[0], log[1] = moved, size
    return True


@part
def grow(trains, offsets, events):
    """Make room in a store for that many offsets and events. Returns whether something moved: `events_of` says where to."""
    moved = enlarge(trains, offsets, 8)
    if events > trains[4]:
        moved = enlarge(trains[3:], events, 4)
        enlarge(trains[6:], events, 4)
    return moved


@part
def stop_where_asked(run):
    """End the call where the caller wants it: what is raised becomes the status of a failed routine."""
    if run.counters[STOPPED]:
        raise InterruptedError


@part
def clear(values):
    """Set all entries to 0."""
    for i in range(values.size):
        values[i] = 0


@part
def copy(values, given):
    """Set all entries to those of another array, which may be longer."""
    for i in range(values.size):
        values[i] = given[i]
