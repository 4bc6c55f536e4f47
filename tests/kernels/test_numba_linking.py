"""Functions that a kernel has called can be called by what numba compiles otherwise."""

from __future__ import annotations

from numba import njit
from sardonyx.kernels.cpu.pool import counted
from sardonyx.kernels.numba_compiler import compile_object
from sardonyx.kernels.ref import KernelRef


def test_a_function_of_a_kernel_is_linked_with_what_it_calls_into_callers_of_others():
    compile_object(KernelRef("kernels.cpu.pool", "average_pool", (2, 2, 2, "f32", "few")))

    @njit
    def elements(at):
        return counted(at, 3, 1, 8, 1, 0)  # which calls another function

    assert [elements(at) for at in (-2, -1, 0, 6, 7)] == [1, 2, 3, 2, 1]


def test_functions_of_a_kernel_are_linked_into_the_next_one():
    symbols = {
        compile_object(KernelRef("kernels.cpu.pool", "average_pool", (2, 2, columns)))[0]
        for columns in (1, 2)
    }
    assert len(symbols) == 2
