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
        passes, builder = codegen._module_pass_manager()
        passes.run(module, builder)
        code: bytes = codegen._tm.emit_object(module)
        return code
