"""Compilation leaves nothing behind but the object."""

from __future__ import annotations

import gc
import subprocess
import sys

from numba.core.dispatcher import Dispatcher
from sardonyx.kernels.numba_compiler import compile_object
from sardonyx.kernels.ref import KernelRef


def functions_after(number):
    """Compile a kernel; count the functions that numba knows then."""
    expression = f"add(x0,{number}.0)"
    compile_object(KernelRef("kernels.pointwise", "pointwise", (expression, "f32v f32v")))
    gc.collect()
    # By their types: an object may be a proxy of one that is gone.
    return sum(issubclass(type(each), Dispatcher) for each in gc.get_objects())


def test_numba_forgets_a_kernel_once_it_is_compiled():
    assert functions_after(98765) == functions_after(98766)


OWN_FUNCTION = """
import numpy as np
from numba import njit
from sardonyx.kernels import simd, vmath
from sardonyx.kernels.numba_compiler import compile_object
from sardonyx.kernels.ref import KernelRef

compile_object(KernelRef("kernels.pointwise", "pointwise", ("sigmoid(x0)", "f32v f32v")))

@njit
def own(source, target):
    simd.vstore(target, 0, vmath.sigmoid(simd.vload(source, 0)))

x, y = np.zeros(64, np.float32), np.zeros(64, np.float32)
own(x.ctypes.data, y.ctypes.data)
print(y[0])
"""


def test_functions_that_kernels_call_work_in_others_too():
    """In a process of its own, which code that lacks what it calls would end."""
    done = subprocess.run([sys.executable, "-c", OWN_FUNCTION], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "0.5\n"), done.stderr[-2000:]
