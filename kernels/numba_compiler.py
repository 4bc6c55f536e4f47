"""Compilation of kernels: their functions are translated, and LLVM compiles what comes of it.

What is not translated (`untranslated`) numba compiles, reduced to what a kernel needs.

numba makes every function it meets callable from Python and optimizes it on its own, with all
that it calls; its pipeline looks for arrays, parallel loops and reference counts. Of a kernel
only one object is wanted, with everything linked in, so LLVM optimizes that module alone, once;
passes over features that kernels do not use are left out; and the type of a call is looked up
once, not at each call. Together they halve the time of a compilation. Garbage is collected rarely
meanwhile: types and code that stay would be walked again and again, a seventh of the time.
"""

from __future__ import annotations

import functools
import importlib
import logging
from collections.abc import Callable
from typing import Any

from numba.core import typed_passes, types, untyped_passes
from numba.core.compiler import Flags, PassManager, compile_extra
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target

from ..errors import KernelError
from ..patches import Patch, applied
from .collection import rare_collection
from .machine_code import Assembly, machine_code
from .numba_division import without_branches
from .numba_shortcuts import by_code, of_processors, on_errors, without_deletions, without_lifetimes
from .numba_ssa import reconstructed
from .ref import SHARE, KernelRef
from .translated_kernels import Translator
from .untranslated import Untranslated

_log = logging.getLogger(__name__)
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


def resolve(ref: KernelRef) -> Any:
    """Import the kernel (``registry.Kernel``) that a reference names."""
    root = __package__.rpartition(".")[0]
    kernel = getattr(importlib.import_module(f"{root}.{ref.module}"), ref.function)
    return kernel(*ref.parameters) if ref.parameters else kernel


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


_call_types: dict[Any, Any] = {}


def _remembered(get_call_type: Callable[..., Any]) -> Callable[..., Any]:
    def call_type(function: Any, context: Any, args: Any, keywords: Any) -> Any:
        key = (function, args, tuple(keywords.items()))
        if key not in _call_types:
            _call_types[key] = get_call_type(function, context, args, keywords)
        return _call_types[key]

    return call_type


def _patch(target: str, replacement: Callable[[Any], Any], reason: str) -> Patch:
    return Patch(
        "numba", f"numba.{target}", replacement, reason, "0.68",
        during="a kernel is compiled", error=KernelError,
    )  # fmt: skip


_LIBRARY = "core.codegen.CPUCodeLibrary"
_NO_CODE = "LLVM optimizes and compiles a kernel once, with all that it calls"
_NO_LIFETIMES = "kernels have no variables whose references are counted"
_NO_TEXTS = "what an error would say is written when there is one"
PATCHES = (
    _patch(
        "core.dispatcher._FunctionCompiler._customize_flags",
        lambda _: _without_wrappers,
        "functions that kernels call are not called from Python",
    ),
    _patch("core.cpu.CPUContext.get_executable", lambda _: _no_executable, _NO_CODE),
    _patch(f"{_LIBRARY}._finalize_final_module", lambda _: _no_machine_code, _NO_CODE),
    _patch(f"{_LIBRARY}._optimize_functions", lambda _: _no_function_passes, _NO_CODE),
    _patch(f"{_LIBRARY}._optimize_final_module", lambda _: _no_module_passes, _NO_CODE),
    _patch(
        "core.compiler.DefaultPassBuilder.define_nopython_pipeline",
        lambda _: _pipeline,
        "kernels have no arrays, parallel loops and reference counts",
    ),
    _patch(
        "core.types.functions.BaseFunction.get_call_type",
        _remembered,
        "the type of the same call is looked up once",
    ),
    _patch("core.postproc.PostProcessor.run", without_lifetimes, _NO_LIFETIMES),
    _patch("core.typed_passes.IRLegalization.run_pass", without_deletions, _NO_LIFETIMES),
    _patch("core.ssa._run_ssa", lambda _: reconstructed, "most blocks do not name a variable"),
    _patch(
        "core.typing.templates._TemplateTargetHelperMixin._get_target_registry",
        of_processors,
        "it has the whole of numba's library imported, and scipy's linear algebra",
    ),
    _patch("core.base._has_loc", by_code, "the signature of a function takes long to read"),
    _patch(
        "cpython.numbers._int_divmod_impl",
        without_branches,
        "a division is a dozen blocks, which LLVM has to simplify in each kernel",
    ),
    _patch("core.lowering.new_error_context", on_errors, _NO_TEXTS),
    _patch("core.typeinfer.new_error_context", on_errors, _NO_TEXTS),
)
"""What is replaced in numba while its lock is held, so that no other function is compiled so."""


def compile_object(ref: KernelRef) -> tuple[str, bytes]:
    """Compile a kernel; returns its symbol and its ELF object."""
    assembly = assembly_of(ref)
    return assembly.symbol, machine_code(assembly)


def assembly_of(ref: KernelRef) -> Assembly:
    """Return a kernel's module before LLVM's passes."""
    with rare_collection(), applied(PATCHES, global_compiler_lock):
        kernel = resolve(ref)
        if not ref.is_local:
            try:
                return _translator().assembly(kernel, len(SHARE))
            except Untranslated as error:
                _log.debug("numba compiles %s: %s", ref, error)
        return _by_numba(kernel)


@functools.cache
def _translator() -> Translator:
    return Translator()


def _by_numba(kernel: Any) -> Assembly:
    """Let numba's own passes make a kernel's module."""
    flags: Any = _without_wrappers(None, Flags())
    flags.error_model = "numpy"
    flags.nrt = False
    word = types.int64
    result = compile_extra(
        cpu_target.typing_context,
        cpu_target.target_context,
        kernel.entry(),
        (word,) * 5,  # the record and the share
        word,
        flags,
        {},
    )
    _forget(result)
    return Assembly(result.fndesc.llvm_func_name, str(result.library._final_module))


def _forget(result: Any) -> None:
    """Let a kernel's code and types go, megabytes that numba would keep for later callers."""
    cpu_target.target_context.remove_user_function(result.entry_point)
    for key in [key for key in _call_types if isinstance(key[0], types.Dispatcher)]:
        del _call_types[key]
