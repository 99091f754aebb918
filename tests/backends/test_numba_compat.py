"""One test for each inside of Numba and llvmlite that the compiled part uses: a release that changes one fails here by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import llvmlite.ir
import numba as untyped
import numpy as np
import pytest

from snnir.backends.simulator.kernels import numba_compat as compat
from snnir.backends.simulator.kernels.memory import clear, fetch_add, free, longs
from snnir.backends.simulator.workspace import address_of, pack

numba: Any = untyped
LONG = llvmlite.ir.IntType(64)
LONGS = numba.types.Array(numba.types.int64, 1, "C")
INNER = compat.Struct("inner", number=numba.types.int64, table=numba.types.Array(numba.types.int32, 2, "C"))
OUTER = compat.Struct("outer", inner=INNER, values=LONGS)


@compat.intrinsic  # type: ignore[untyped-decorator]
def _outer(context: Any, address: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], LONG.as_pointer())

    return OUTER(numba.types.int64), generate


@compat.part
def _twice(number):  # type: ignore[no-untyped-def]
    return 2 * number


@compat.part
def _four_times(number):  # type: ignore[no-untyped-def]
    if number < 0:
        raise MemoryError
    return _twice(_twice(number))


def _use(number):  # type: ignore[no-untyped-def]
    try:
        return _four_times(number)
    except Exception:
        return -1


def _read(address):  # type: ignore[no-untyped-def]
    outer = _outer(address)
    outer.values[0] = outer.inner.table[1, 2] + outer.inner.table.size
    return outer.inner.number


def test_features_are_those_of_the_processor_that_code_is_made_for() -> None:
    assert not compat.has_feature("no such feature")
    assert compat.has_feature("sse2") or "x86" not in compat.target()[0]


def test_part_has_no_executable_and_becomes_part_of_its_callers() -> None:
    native = compat.Native(_use, returns=True)
    native.compile(None)
    assert native.ctypes(3) == 12
    assert native.ctypes(-3) == -1  # what a part raises is caught
    found: Any = next(iter(_four_times.overloads.values()))
    assert type(found.library) is compat._PartLibrary
    address: Any = found.library.get_pointer_to_function
    assert not address(found.fndesc.llvm_func_name)


def test_native_is_kept_and_loaded(tmp_path: Path) -> None:
    first, second = compat.Native(_use, returns=True), compat.Native(_use, returns=True)
    assert not first.load(tmp_path)
    first.compile(tmp_path)
    assert second.load(tmp_path) and second.address
    assert second.ctypes(5) == 20
    assert not compat.Native(_use, returns=True).load(None)


def test_struct_reads_numbers_arrays_and_structs() -> None:
    table, values = np.arange(6, dtype=np.int32).reshape(2, 3), np.zeros(2, np.int64)
    inner = pack(INNER, {"number": 7, "table": table})
    outer = pack(OUTER, {"inner": inner, "values": values})
    native = compat.Native(_read, returns=True)
    native.compile(None)
    assert native.ctypes(address_of(outer)) == 7
    assert values.tolist() == [5 + 6, 0]


def test_struct_has_no_other_fields() -> None:
    @numba.njit
    def wrong(address):  # type: ignore[no-untyped-def]
        return _outer(address).nothing

    with pytest.raises(numba.core.errors.TypingError, match="nothing"):
        wrong(0)


@compat.intrinsic  # type: ignore[untyped-decorator]
def _sum_in_llvm(context: Any, array: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = compat.array_pointer(context, builder, array, arguments[0])
        assert compat.element_type(context, array) == llvmlite.ir.IntType(32)
        total = compat.allocate_once(builder, LONG)
        builder.store(LONG(0), total)
        with compat.for_range(builder, LONG(0), LONG(3), LONG(1)) as (k, _):
            builder.store(builder.add(builder.load(total), builder.sext(builder.load(builder.gep(data, [k])), LONG)), total)
        return builder.load(total)

    return numba.types.int64(array), generate


def test_array_pointer_element_type_for_range_and_allocate_once() -> None:
    @numba.njit
    def total(array):  # type: ignore[no-untyped-def]
        return _sum_in_llvm(array)

    assert total(np.array([5, -3, 9], np.int32)) == 11


def test_array_view_and_c_function() -> None:
    from snnir.backends.simulator.kernels.memory import enlarge

    @numba.njit
    def grown(log):  # type: ignore[no-untyped-def]
        moved = enlarge(log, 5, 8)
        clear(longs(log))
        longs(log)[3] = 8
        found = longs(log).sum()
        free(log[0])
        return moved, found

    log = np.array([0, 0, 7])
    assert grown(log) == (True, 8)
    assert log[1] == 7  # twice as many as are asked for, and at most so many


def test_intrinsic_of_atomic_operations() -> None:
    @numba.njit
    def add(words):  # type: ignore[no-untyped-def]
        return fetch_add(words, 1, 5)

    words = np.array([0, 3], np.int64)
    assert add(words) == 3
    assert words.tolist() == [0, 8]


def test_target_names_the_processor_and_the_versions() -> None:
    target = compat.target()
    assert untyped.__version__ in target and llvmlite.__version__ in target
    assert all(isinstance(part, str) for part in target) and len(target) == 5
