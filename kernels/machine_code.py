"""Machine code of a module of LLVM's assembly: LLVM's passes and its code generator.

The module has a context of its own, so one thread may compile it while others translate functions;
llvmlite lets one thread at a time into LLVM, which needs no GIL.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import llvmlite.binding as llvm
from numba.core.registry import cpu_target

from ..forks import code_lock

llvm.initialize_native_asmparser()  # numba initializes what it needs; kernels have assembly

_LEVEL = 2
"""LLVM's level of optimization: the third takes a third longer, and no kernel is faster by it."""
_FEW_PASSES = (
    "always_inliner", "sroa", "instruction_combine", "simplify_cfg", "loop_simplify", "lcssa",
    "loop_rotate", "new_gvn", "aggressive_dce", "simplify_cfg", "global_dead_code_eliminate",
)  # fmt: skip


class Assembly(NamedTuple):
    """Module of a kernel as text, with all that it calls.

    Attributes
    ----------
    symbol
        Its entry.
    text
        LLVM's assembly.
    is_emitted
        Whether few passes are enough (``registry.emitted``).
    """

    symbol: str
    text: str
    is_emitted: bool = False


def machine_code(assembly: Assembly) -> bytes:
    """Compile a module to an ELF object."""
    with code_lock:  # also while LLVM frees the module
        return _compiled(assembly)


def _compiled(assembly: Assembly) -> bytes:
    codegen = cpu_target.target_context.codegen()
    module = llvm.parse_assembly(assembly.text, llvm.create_context())
    module.triple, module.data_layout = codegen._tm.triple, codegen._data_layout
    if assembly.is_emitted:
        _few_passes(module)
    else:
        _all_passes(module)
    code: bytes = codegen._tm.emit_object(module)
    return code


def _all_passes(module: Any) -> None:
    builder = _pass_builder()
    builder.getModulePassManager().run(module, builder)


def _few_passes(module: Any) -> None:
    """Run what a kernel needs whose vectors and loops are as they should be."""
    passes = llvm.create_new_module_pass_manager()
    for name in _FEW_PASSES:
        getattr(passes, f"add_{name}_pass")()
    passes.run(module, _pass_builder())


def _pass_builder() -> Any:
    machine = cpu_target.target_context.codegen()._tm
    options = llvm.create_pipeline_tuning_options(speed_level=_LEVEL)
    return llvm.create_pass_builder(machine, options)
