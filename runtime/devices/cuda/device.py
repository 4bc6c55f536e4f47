"""An NVIDIA GPU as a device, or numba's simulator of one."""

from __future__ import annotations

import functools
import threading
from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

from ....kernels.compiler import kernel_address
from ....kernels.cuda.kernel import find
from ....kernels.ref import KernelRef
from ...executable import Executable
from ...program import Program
from ..cpu import load_kernels
from .arrays import device_inputs
from .context import CudaContext
from .driver import Driver, Launcher
from .ready import ReadyProgram, is_cuda
from .requirements import open_driver


class CudaDevice:
    """A GPU: kernels that it has loaded, and programs that are ready on it.

    Parameters
    ----------
    driver : Driver
    """

    is_host = False

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self.name, self.title = driver.name, driver.title
        self._launchers: dict[KernelRef, Launcher] = {}
        self._ready: WeakKeyDictionary[Executable, ReadyProgram] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def load(self, program: Program) -> None:
        """Load the kernels of a GPU, and those of the CPU that steps between need."""
        refs = program.all_kernels
        load_kernels([ref for ref in refs if not is_cuda(ref)])
        with self._lock:
            for ref in refs:
                if is_cuda(ref) and ref not in self._launchers:
                    self._launchers[ref] = self._driver.load(find(ref))

    def address(self, ref: KernelRef) -> int:
        """Address of a kernel of the CPU; 0 of those that the CPU does not call."""
        return 0 if is_cuda(ref) else kernel_address(ref)

    def inputs(self, feeds: Mapping[str, Any]) -> tuple[Mapping[str, Any], dict[int, int]]:
        """Return the inputs of a run, and where those lie that the GPU has already."""
        return device_inputs(feeds, self._driver)

    def context(self, executable: Executable, threads: int) -> CudaContext:
        """Return a context for one run at a time; the first one copies the weights."""
        with self._lock:
            ready = self._ready.get(executable)
            if ready is None:
                ready = ReadyProgram(executable.program, self._driver, self._launchers)
                self._ready[executable] = ready
        return CudaContext(executable, threads, self._driver, ready)


@functools.cache
def cuda_device() -> CudaDevice:
    """Return the GPU that this process uses.

    Raises
    ------
    InvalidArgument
        There is none, or what it needs is missing; says what to install.
    """
    return CudaDevice(open_driver())
