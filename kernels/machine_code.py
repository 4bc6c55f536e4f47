"""Machine code of a module of LLVM's assembly: LLVM's passes and its code generator.

The module has a context of its own, so one thread may compile it while others translate functions;
llvmlite lets one thread at a time into LLVM, which needs no GIL.
"""

from __future__ import annotations

from typing import NamedTuple

import llvmlite.binding as llvm
from numba.core.registry import cpu_target

from ..forks import code_lock

llvm.initialize_native_asmparser()  # numba initializes what it needs; kernels have assembly

_LEVEL = 2
"""LLVM's level of optimization: the third takes a third longer, and no kernel is faster by it."""


class Assembly(NamedTuple):
    """Module of a kernel as text, with all that it calls, and the symbol of its entry."""

    symbol: str
    text: str


def machine_code(assembly: Assembly) -> bytes:
    """Compile a module to an ELF object."""
    codegen = cpu_target.target_context.codegen()
    with code_lock:
        module = llvm.parse_assembly(assembly.text, llvm.create_context())
        module.triple, module.data_layout = codegen._tm.triple, codegen._data_layout
        options = llvm.create_pipeline_tuning_options(speed_level=_LEVEL)
        builder = llvm.create_pass_builder(codegen._tm, options)
        builder.getModulePassManager().run(module, builder)
        code: bytes = codegen._tm.emit_object(module)
        return code
