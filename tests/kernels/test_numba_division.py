"""Division without branches: that of Python, and 0 where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit, types
from numba.core.compiler_lock import global_compiler_lock
from sardonyx.kernels.numba_compiler import PATCHES
from sardonyx.patches import applied

DIVISION = [patch for patch in PATCHES if patch.target.endswith("_int_divmod_impl")]


def compiled(function, *kinds):
    """Compile a function with the division of kernels, callable from Python."""
    with applied(DIVISION, global_compiler_lock):
        result = njit(error_model="numpy")(function)
        result.compile(kinds)
    return result


def expected(a, b, least):
    return (0, 0) if b == 0 or (b == -1 and a == least) else divmod(a, b)


@pytest.mark.parametrize("dtype", ["int64", "uint64", "int32", "uint8"])
def test_any_number_by_any(dtype):
    kind, limits = getattr(types, dtype), np.iinfo(dtype)
    divide = compiled(lambda a, b: (a // b, a % b, divmod(a, b)), kind, kind)
    least = limits.min if dtype == "int64" else None  # 32 bits are divided as 64
    numbers = [limits.min, limits.min + 1, 0, 1, 2, 7, limits.max - 1, limits.max]
    numbers += [-1, -2, -7] if limits.min < 0 else []
    for a in numbers:
        for b in numbers:
            *apart, together = divide(np.dtype(dtype).type(a), np.dtype(dtype).type(b))
            assert tuple(apart) == together == expected(a, b, least), (a, b)


@pytest.mark.parametrize("divisor", [-16, -3, -1, 0, 1, 2, 3, 16])
def test_any_number_by_a_constant(divisor):
    divide = compiled(lambda a: (a // divisor, a % divisor), types.int64)
    for a in (-(2**63), -17, -16, -1, 0, 1, 15, 16, 17, 2**63 - 1):
        assert divide(a) == expected(a, divisor, -(2**63)), a
