"""Vectors of 256 bits with AVX-512's masks and registers: their code, and tests with them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from sardonyx.kernels.target import HALVED, LANES, VECTOR_BITS, has_feature

halved = pytest.mark.skipif(
    not all(map(has_feature, ("avx512f", *HALVED))) or LANES != 16,
    reason="the processor has no vectors of 512 bits, or they are not used",
)
PATHS = (
    "tests/kernels/test_operands.py",
    "tests/kernels/test_softmax.py",
    "tests/kernels/test_byte_product.py",
    "tests/kernels/test_units.py",
)
_CODE = """
import re
from numba.core.registry import cpu_target
from sardonyx.kernels import numba_compiler
from sardonyx.kernels.cpu import pool, softmax, tile
machine = cpu_target.target_context.codegen()._tm
texts = []

def kept(module, emit=machine.emit_object):
    texts.append(machine.emit_assembly(module))
    return emit(module)

machine.emit_object = kept
refs = [tile.tile(6, 4, kind, form).ref for kind in ("f32", "u8", "i16", "bf16")
        for form in tile.OPERANDS]
for ref in [*refs, softmax.softmax(0).ref, pool.max_pool_wide(1, 2).ref]:
    numba_compiler.compile_object(ref)
text = "\\n".join(texts)
print(len(texts), len(re.findall("zmm", text)), len(re.findall("{%k", text)),
      len(re.findall("ymm(?:1[6-9]|[23])", text)), len(re.findall(r"1to8", text)),
      len(re.findall("vpdpbusd|vpdpwssd|vdpbf16ps", text)))
"""


_LOWERS_ITS_CLOCK = {
    "NUMBA_CPU_NAME": "cascadelake",
    "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma,+f16c,+bmi,+bmi2,+avx512f,+avx512vl,+avx512bw,"
    "+avx512dq,+avx512cd,+avx512vnni",
}


def child(*arguments: str, **others: str) -> str:
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    path = os.pathsep.join(filter(None, sys.path))
    environment = {**os.environ, VECTOR_BITS: "256", "PYTHONPATH": path, **others}
    done = subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, cwd=root
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    return done.stdout


@halved
def test_code_of_half_a_vector_has_masks_and_all_registers_and_no_whole_one() -> None:
    found = child("-c", _CODE, **_LOWERS_ITS_CLOCK)
    kernels, whole, masks, upper, spread, multiplied = map(int, found.split())
    assert kernels > 8
    assert whole == 0  # not even where a record is copied
    assert min(masks, upper, spread, multiplied) > 0


@halved
def test_kernels_are_right_with_half_a_vector() -> None:
    found = child("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *PATHS)
    assert "[100%]" in found


@halved
def test_the_width_belongs_to_the_key_of_kernels() -> None:
    from sardonyx.kernels.compiler import environment_key

    code = "from sardonyx.kernels.compiler import environment_key; print(environment_key())"
    assert child("-c", code).strip() != environment_key()
