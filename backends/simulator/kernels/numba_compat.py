"""Everything that uses the insides of Numba and llvmlite. `tests/backends/test_numba_compat.py` has one test for each name.

Numba promises none of this to stay: where a new release changes it, a test of this module fails by name, and the remedy is here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import llvmlite.binding
import llvmlite.ir
import numba
from numba.core import (
    base,
    caching,
    ccallback,
    cgutils,
    codegen,
    compiler,
    compiler_machinery,
    datamodel,
    imputils,
    typed_passes,
    typing,
)
from numba.core.compiler_machinery import register_pass
from numba.np import arrayobj

__all__ = [
    "Compiled",
    "Native",
    "Struct",
    "allocate_once",
    "array_pointer",
    "array_view",
    "c_function",
    "element_type",
    "for_range",
    "has_feature",
    "intrinsic",
    "part",
    "target",
]

Compiled = Any
"""What Numba made of a function: within compiled code its types follow from each use."""

intrinsic: Compiled = numba.extending.intrinsic


def target() -> tuple[str, ...]:
    """What compiled code depends on beside its source: the platform, the processor and its features, versions of compilers."""
    codes = numba.core.registry.cpu_target.target_context.codegen()
    return (*codes.magic_tuple(), numba.__version__, llvmlite.__version__)


def has_feature(name: str) -> bool:
    """Whether compiled code is for a processor with a feature, as LLVM names it: `avx2`."""
    _, _, features = numba.core.registry.cpu_target.target_context.codegen().magic_tuple()
    return f"+{name}" in features.split(",")


_OPTIONS = {"_nrt": False, "error_model": "numpy"}
"""Nothing counts references: each count would be a locked operation on memory that all threads share. A division by zero is no
exception: the callers divide by nothing that can be 0, and without the question LLVM divides whole vectors."""


class _PartLibrary(codegen.JITCodeLibrary):
    """The code of a part: it is optimised and translated to machine code within the functions that call it, and not before."""

    def finalize(self) -> None:
        self._raise_if_finalized()
        for library in dict.fromkeys(self._linking_libraries):
            self._final_module.link_in(library._get_module_for_linking(), preserve=True)
        self._finalize_dynamic_globals()
        self._finalized = True


@register_pass(mutates_CFG=True, analysis_only=False)
class _LowerPart(typed_passes.NativeLowering):
    """Lowering without an executable. Numba finds a compiled function by its entry point: any unique builtin serves as one."""

    _name = "lower_part"

    def run_pass(self, state: compiler.StateDict) -> bool:
        target = state.targetctx
        state.flags.no_compile = True
        state.library = _PartLibrary(target.codegen(), state.func_id.func_qualname)
        super().run_pass(state)
        entry = list[object]().append
        target.insert_user_function(entry, state["cr"].fndesc, [state.library])
        state["cr"] = state["cr"]._replace(cfunc=entry)
        return True


class _PartCompiler(compiler.CompilerBase):
    def define_pipelines(self) -> list[compiler_machinery.PassManager]:
        manager = compiler.DefaultPassBuilder.define_nopython_pipeline(self.state)
        manager.passes = [
            (_LowerPart if kind is typed_passes.NativeLowering else kind, *described) for kind, *described in manager.passes
        ]
        manager.finalize()
        return [manager]


def part(function: Callable[..., object]) -> Compiled:
    """Compile a function as part of the compiled functions that call it: Python cannot call it."""
    options: Any = {**_OPTIONS, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    return numba.njit(pipeline_class=_PartCompiler, **options)(function)


class _Locator(caching._CacheLocator):
    """The folder and the stamp that `Native` sets for the next cache to be made."""

    folder, name = "", ""

    def __init__(self) -> None:
        self._folder, self._name, self._py_file = type(self).folder, type(self).name, type(self).name

    def get_cache_path(self) -> str:
        return self._folder

    def get_source_stamp(self) -> str:
        return Path(self._folder).name  # a folder may be moved: its name follows from all that the code depends on

    def get_disambiguator(self) -> str:
        return self._name

    @classmethod
    def from_function(cls, function: object, file: object) -> _Locator:
        return cls()


class _CacheImplementation(caching.CompileResultCacheImpl):
    _locator_classes: Any = [_Locator]

    def reduce(self, result: Any) -> tuple[object, ...]:
        """What is kept: machine code, without the code for LLVM to become part of other functions."""
        (name, kind, (machine_code, _)), *others = result._reduce()
        empty = result.library._codegen._create_empty_module(name)
        return (name, kind, (machine_code, llvmlite.binding.parse_assembly(str(empty)).as_bitcode())), *others


class _Cache(caching.FunctionCache):
    """Numba's cache of functions, in a folder whose name follows from all that the code depends on."""

    _impl_class = _CacheImplementation

    def _index_key(self, signature: typing.templates.Signature, target: codegen.JITCPUCodegen) -> typing.templates.Signature:
        return signature


class Native:
    """A C function compiled from Python. Its parameters are int64; it returns int64, or nothing.

    `name` distinguishes functions that one factory makes: symbols and files of the cache are named after it.
    """

    def __init__(self, function: Callable[..., object], *, returns: bool, name: str = "") -> None:
        if name:
            function.__name__ = function.__qualname__ = name
        integer = numba.types.int64
        count = function.__code__.co_argcount
        signature = ((integer,) * count, integer if returns else numba.types.void)
        self.name = function.__name__
        self._function: Any = ccallback.CFunc(function, signature, locals={}, options=dict(_OPTIONS))

    def load(self, folder: Path | None) -> bool:
        """Load from the cache in a folder, without compiling; whether it was there."""
        self._use(folder)
        function = self._function
        found = function._cache.load_overload(function._sig, function._targetdescr.target_context)
        if found is not None:
            function._library = found.library
            function._wrapper_name = found.fndesc.llvm_cfunc_wrapper_name
            engine = found.library.codegen._engine  # the library knows no symbols: `_CacheImplementation` left them out
            function._wrapper_address = engine.get_function_address(function._wrapper_name)
        return found is not None

    def compile(self, folder: Path | None) -> None:
        """Compile, and keep it in a folder."""
        self._use(folder)
        self._function.compile()

    def _use(self, folder: Path | None) -> None:
        if folder is not None:
            _Locator.folder, _Locator.name = str(folder), self.name
            self._function._cache = _Cache(self._function._pyfunc)

    @property
    def address(self) -> int | None:
        """The function's address; None before it is compiled or loaded."""
        found: int | None = self._function.address
        return found

    @property
    def ctypes(self) -> Callable[..., int | None]:
        """The function for Python to call, without the interpreter's lock."""
        found: Callable[..., int | None] = self._function.ctypes
        return found


class Struct(numba.types.Type):
    """A pointer to words (int64) in memory: scalars (int64), arrays (their address, then their shape) and pointers to others."""

    def __init__(self, name: str, **fields: numba.types.Type) -> None:
        self.fields = fields
        self.places: dict[str, int] = {}
        self.words = 0
        for field, kind in fields.items():
            self.places[field] = self.words
            self.words += 1 + (kind.ndim if isinstance(kind, numba.types.Array) else 0)
        described = ", ".join(f"{field}: {kind}" for field, kind in fields.items())
        super().__init__(name=f"{name}_{hashlib.sha256(described.encode()).hexdigest()[:12]}")  # part of every symbol's name


@numba.extending.register_model(Struct)
class _StructModel(numba.extending.models.PrimitiveModel):
    def __init__(self, manager: datamodel.manager.DataModelManager, struct: Struct) -> None:
        super().__init__(manager, struct, llvmlite.ir.IntType(64).as_pointer())


@typing.templates.infer_getattr
class _StructFields(typing.templates.AttributeTemplate):
    key = Struct

    def generic_resolve(self, struct: Struct, field: str) -> numba.types.Type | None:  # type: ignore[override]
        return struct.fields.get(field)


@imputils.lower_getattr_generic(Struct)
def _field(
    context: base.BaseContext, builder: llvmlite.ir.IRBuilder, struct: Struct, value: llvmlite.ir.Value, field: str
) -> llvmlite.ir.Value:
    kind, integer = struct.fields[field], llvmlite.ir.IntType(64)

    def word(place: int) -> llvmlite.ir.Value:
        return builder.load(builder.gep(value, [integer(struct.places[field] + place)]))

    if isinstance(kind, numba.types.Array):
        return array_view(context, builder, kind, word(0), [word(1 + axis) for axis in range(kind.ndim)])
    return builder.inttoptr(word(0), integer.as_pointer()) if isinstance(kind, Struct) else word(0)


def array_view(
    context: base.BaseContext,
    builder: llvmlite.ir.IRBuilder,
    kind: numba.types.Array,
    address: llvmlite.ir.Value,
    shape: Sequence[llvmlite.ir.Value],
) -> llvmlite.ir.Value:
    """An array of C order at an address, which owns nothing; `address` and `shape` are int64 in LLVM."""
    integer, made = llvmlite.ir.IntType(64), context.make_array(kind)(context, builder)
    width = integer(context.get_abi_sizeof(context.get_data_type(kind.dtype)))
    strides = [width]
    for size in reversed(shape[1:]):
        strides.insert(0, builder.mul(strides[0], size))
    data = builder.inttoptr(address, made.data.type)
    arrayobj.populate_array(made, data=data, shape=list(shape), strides=strides, itemsize=width, meminfo=None)
    return made._getvalue()


def array_pointer(
    context: base.BaseContext, builder: llvmlite.ir.IRBuilder, kind: numba.types.Array, value: llvmlite.ir.Value
) -> llvmlite.ir.Value:
    """Where the entries of an array begin, as a pointer in LLVM."""
    return context.make_array(kind)(context, builder, value).data


def element_type(context: base.BaseContext, kind: numba.types.Array) -> llvmlite.ir.Type:
    """The type in LLVM of an array's (or a pointer's) entries."""
    return context.get_data_type(kind.dtype)


def c_function(
    builder: llvmlite.ir.IRBuilder, name: str, result: llvmlite.ir.Type, *parameters: llvmlite.ir.Type
) -> llvmlite.ir.Function:
    """A function of the C library or of Python's C API, for compiled code to call."""
    return cgutils.get_or_insert_function(builder.module, llvmlite.ir.FunctionType(result, parameters), name)


def for_range(
    builder: llvmlite.ir.IRBuilder, start: llvmlite.ir.Value, stop: llvmlite.ir.Value, step: llvmlite.ir.Value
) -> AbstractContextManager[tuple[llvmlite.ir.Value, llvmlite.ir.Value]]:
    """A loop in LLVM; the context gives its index and the number of rounds."""
    return cgutils.for_range_slice(builder, start, stop, step, start.type)


def allocate_once(builder: llvmlite.ir.IRBuilder, kind: llvmlite.ir.Type) -> llvmlite.ir.AllocaInstr:
    """A place on the stack, made once even within a loop."""
    return cgutils.alloca_once(builder, kind)
