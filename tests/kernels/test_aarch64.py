"""Kernels as code for ARM's NEON, compiled here and not run.

LLVM ends the process where it has no instruction of the processor for one that is asked for.
"""

import os
import platform
import subprocess
import sys

import llvmlite.binding as llvm
import pytest

_TRIPLE = "aarch64-linux-gnu"
_COMPILE = """
import os, platform
from unittest import mock

import llvmlite.binding as llvm
from numba.core.registry import cpu_target

processor = {"NUMBA_CPU_NAME": "neoverse-n1", "NUMBA_CPU_FEATURES": "+neon"}
with mock.patch.dict(os.environ, processor), mock.patch("platform.machine", lambda: "aarch64"):
    from sardonyx.kernels import target
assert (target.LANES, target.REGISTERS) == (4, 32)

llvm.initialize_all_targets()
llvm.initialize_all_asmprinters()
machine = llvm.Target.from_triple(TRIPLE).create_target_machine(
    target.target().cpu, codemodel="jitdefault", jit=True
)
codegen = cpu_target.target_context.codegen()
codegen._tm = machine
codegen._data_layout = str(machine.target_data)
machine.emit_object = machine.emit_assembly

from sardonyx.kernels.cpu.attention import attention
from sardonyx.kernels.cpu.byte_tables import look_up_bytes
from sardonyx.kernels.cpu.calls import run
from sardonyx.kernels.cpu.grouped_quads import grouped_quads
from sardonyx.kernels.cpu.quantized_planes import quantize_planes
from sardonyx.kernels.cpu.softmax import softmax
from sardonyx.kernels.cpu.team import work
from sardonyx.kernels.cpu.tile import tile
from sardonyx.kernels.numba_compiler import compile_object

kernels = {
    tile(4, 4, "f32", "register"): "fmla",
    tile(4, 2, "u8", "register"): "mla",
    attention: "fmla",
    softmax(0): "fmla",
    look_up_bytes: "tbl",
    grouped_quads: "tbl",
    quantize_planes: "fdiv",
    work: "cntvct_el0",
    run: "fpcr",
}
for kernel, instruction in kernels.items():
    _, text = compile_object(kernel.ref)
    assert "x86" not in text, kernel.ref
    assert instruction in text.lower(), kernel.ref
    print(kernel.ref)
"""


def _has_target() -> bool:
    llvm.initialize_all_targets()
    try:
        llvm.Target.from_triple(_TRIPLE)
    except RuntimeError:
        return False
    return True


@pytest.mark.skipif(not _has_target(), reason="LLVM was built without this processor")
@pytest.mark.skipif(platform.machine() == "aarch64", reason="all tests run on this processor")
def test_kernels_are_compiled_for_neon() -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_CPU")}
    environment.pop("SARDONYX_EMULATE", None)
    code = f"TRIPLE = {_TRIPLE!r}\n{_COMPILE}"
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr[-2000:] + result.stdout[-500:]
