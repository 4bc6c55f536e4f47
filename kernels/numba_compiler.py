"""Compile a kernel with numba, doing only what a kernel needs.

numba makes every function it meets callable from Python and optimizes it on its own, with all
that it calls; its pipeline looks for arrays, parallel loops and reference counts. Of a kernel
only one object is wanted, with everything linked in, so LLVM optimizes that module alone, once;
passes over features that kernels do not use are left out; and the type of a call is looked up
once, not at each place where it is made. Together they halve the time of a compilation.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import llvmlite.binding as llvm
from numba.core import typed_passes, types, untyped_passes
from numba.core.codegen import CPUCodeLibrary
from numba.core.compiler import DefaultPassBuilder, Flags, PassManager, compile_extra
from numba.core.compiler_lock import global_compiler_lock
from numba.core.cpu import CPUContext
from numba.core.registry import cpu_target
from numba.core.types.functions import BaseFunction

from .ref import KernelRef

llvm.initialize_native_asmparser()  # numba initializes what it needs; kernels have assembly

_PASSES = (
    untyped_passes.TranslateByteCode,
    untyped_passes.FixupArgs,
    untyped_passes.IRProcessing,
    untyped_passes.RewriteSemanticConstants,
    untyped_passes.DeadBranchPrune,
    untyped_passes.GenericRewrites,
    untyped_passes.ReconstructSSA,
    typed_passes.NopythonTypeInference,
    typed_passes.PreLowerStripPhis,
    typed_passes.InlineOverloads,
    typed_passes.IRLegalization,
    typed_passes.AnnotateTypes,
    typed_passes.NativeLowering,
    typed_passes.NoPythonBackend,
)


def resolve(ref: KernelRef) -> Callable[..., Any]:
    """Import the Python function a reference names."""
    root = __package__.rpartition(".")[0]
    kernel = getattr(importlib.import_module(f"{root}.{ref.module}"), ref.function)
    return (kernel(*ref.parameters) if ref.parameters else kernel).entry


def _without_wrappers(_: Any, flags: Any) -> Any:
    flags.no_cpython_wrapper = True
    flags.no_cfunc_wrapper = True
    return flags


def _no_executable(_: Any, library: Any, *__: Any) -> Any:
    library._ensure_finalized()
    return [].append  # numba tells functions apart by this object


def _no_machine_code(library: Any) -> None:
    library._finalized = True


def _no_function_passes(library: Any, module: Any) -> None:
    module.data_layout = library.codegen._data_layout


def _no_module_passes(_: Any) -> None:
    pass


def _pipeline(_: Any, name: str = "nopython") -> PassManager:
    manager = PassManager(name)
    for each in _PASSES:
        manager.add_pass(each, each.__name__)
    manager.finalize()
    return manager


_find_call_type = BaseFunction.get_call_type
_call_types: dict[Any, Any] = {}


def _call_type(function: Any, context: Any, args: Any, keywords: Any) -> Any:
    key = (function, args, tuple(keywords.items()))
    if key not in _call_types:
        _call_types[key] = _find_call_type(function, context, args, keywords)
    return _call_types[key]


@contextlib.contextmanager
def _for_kernels() -> Iterator[None]:
    """Change numba as told above; its lock is held, so that nobody else's functions are meant."""
    with (
        global_compiler_lock,
        patch("numba.core.dispatcher._FunctionCompiler._customize_flags", _without_wrappers),
        patch.object(CPUContext, "get_executable", _no_executable),
        patch.object(CPUCodeLibrary, "_finalize_final_module", _no_machine_code),
        patch.object(CPUCodeLibrary, "_optimize_functions", _no_function_passes),
        patch.object(CPUCodeLibrary, "_optimize_final_module", _no_module_passes),
        patch.object(DefaultPassBuilder, "define_nopython_pipeline", _pipeline),
        patch.object(BaseFunction, "get_call_type", _call_type),
    ):
        yield


def compile_object(ref: KernelRef) -> tuple[str, bytes]:
    """Compile a kernel with numba; returns its symbol and its ELF object."""
    flags: Any = _without_wrappers(None, Flags())
    flags.error_model = "numpy"
    flags.nrt = False
    word = types.int64
    with _for_kernels():
        result = compile_extra(
            cpu_target.typing_context,
            cpu_target.target_context,
            resolve(ref),
            (word,) * 5,  # the record and the share
            word,
            flags,
            {},
        )
        library = result.library
        passes, builder = library.codegen._module_pass_manager()
        passes.run(library._final_module, builder)
    return result.fndesc.llvm_func_name, library.codegen._tm.emit_object(library._final_module)
