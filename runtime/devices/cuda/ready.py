"""A program made ready for a GPU: kernels loaded, weights copied; contexts share it."""

from __future__ import annotations

from typing import Any

from ....kernels.cuda.kernel import CudaKernel, find
from ....kernels.record import address_of
from ....kernels.ref import KernelRef
from ...program import Program
from .driver import Copy, Driver, Memory
from .residency import uses_of_steps

_PACKAGE = "kernels.cuda."


def is_cuda(ref: KernelRef) -> bool:
    """Tell whether a kernel is one of a GPU."""
    return ref.module.startswith(_PACKAGE)


class ReadyProgram:
    """What contexts of a program share.

    Parameters
    ----------
    program : Program
    driver : Driver
    loaded : dict
        What the driver has loaded, by the kernels' names.

    Attributes
    ----------
    kernels : list of CudaKernel or None
        By the program's numbers; None for those of the CPU.
    loaded : list
        What the driver has loaded of these.
    is_on_device : list of bool
        Whether the GPU runs each step.
    uses : list of Uses
        Buffers of each step.
    weights : Memory
        The program's weights.
    """

    def __init__(self, program: Program, driver: Driver, loaded: dict[KernelRef, Any]) -> None:
        refs = program.kernels
        self.kernels: list[CudaKernel | None] = [find(r) if is_cuda(r) else None for r in refs]
        self.loaded = [loaded.get(ref) for ref in refs]
        self.is_on_device = [is_cuda(refs[step.kernel]) for step in program.steps]
        self.uses = uses_of_steps(program)
        self.weights = Memory(driver)
        if program.weights.size:
            self.weights.reserve(program.weights.nbytes)
            source = address_of(program.weights)
            driver.to_device(Copy(self.weights.address, source, program.weights.nbytes))
