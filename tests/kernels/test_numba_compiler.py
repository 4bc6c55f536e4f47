"""Compilation leaves nothing behind but the object."""

from __future__ import annotations

import gc

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
