"""An NVIDIA GPU as a device, or numba's simulator of one."""

from __future__ import annotations

import functools
import threading
from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from ....errors import InvalidArgument, reason
from ....kernels.compiler import kernel_address
from ....kernels.cuda.kernel import find
from ....kernels.record import address_of
from ....kernels.ref import KernelRef
from ...executable import Executable
from ...program import Program
from ..cpu import load_kernels
from .arrays import Place, device_inputs, given
from .context import CudaContext, Target
from .device_array import DeviceArray
from .driver import Copy, Driver
from .output_memory import OutputMemory
from .ready import ReadyProgram, is_cuda
from .requirements import open_driver


class CudaDevice:
    """A GPU: kernels that it has loaded, and programs that are ready on it.

    Parameters
    ----------
    driver : Driver
    """

    is_host = False
    kept_bindings = 4  # each has its launches and graphs, which take milliseconds to make

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self.name, self.title = driver.name, driver.title
        self._loaded: dict[KernelRef, Any] = {}
        self._ready: WeakKeyDictionary[Executable, ReadyProgram] = WeakKeyDictionary()
        self._lock = threading.Lock()
        self._memory = OutputMemory(driver)
        driver.spare = self._memory.release

    def load(self, program: Program) -> None:
        """Load the kernels of a GPU, and those of the CPU that steps between need."""
        refs = program.all_kernels
        load_kernels([ref for ref in refs if not is_cuda(ref)])
        with self._lock:
            new = [ref for ref in dict.fromkeys(refs) if is_cuda(ref) and ref not in self._loaded]
            if new:
                loaded = self._driver.load([find(ref) for ref in new])
                self._loaded |= dict(zip(new, loaded, strict=True))

    def address(self, ref: KernelRef) -> int:
        """Address of a kernel of the CPU; 0 of those that the CPU does not call."""
        return 0 if is_cuda(ref) else kernel_address(ref)

    def inputs(self, feeds: Mapping[str, Any]) -> tuple[Mapping[str, Any], dict[int, Place]]:
        """Return the inputs of a run, and where those lie that the GPU has already."""
        return device_inputs(feeds, self._driver)

    def bound_input(self, name: str, value: Any) -> tuple[np.ndarray, Any]:
        """Return what stands for an array, copying one of the host, and where it lies."""
        what = f"input {name!r}"
        found = given(what, value, self._driver)
        if found is None:
            try:
                array = np.ascontiguousarray(value).reshape(np.shape(value))
            except Exception as error:
                raise InvalidArgument(f"{what} is not an array: {reason(error)}") from error
            if array.dtype.hasobject or array.dtype.kind not in "biufcV":
                return array, None  # the signature says what is wrong with it
            found = given(what, self._copied(array), self._driver)
            assert found is not None
        return found

    def _copied(self, array: np.ndarray) -> DeviceArray:
        """Copy an array to the GPU."""
        array = array.astype(array.dtype.newbyteorder("="), copy=False)
        copy = DeviceArray(self._driver, self._memory.lend(array.nbytes), array.shape, array.dtype)
        if array.nbytes:
            self._driver.to_device(Copy(copy.address, address_of(array), array.nbytes))
        return copy

    def bound_output(self, name: str, value: Any) -> Target:
        """Return where an array lies that outputs are written into."""
        found = given(f"output {name!r}", value, self._driver, is_written=True)
        if found is None:
            raise InvalidArgument(
                f"output {name!r} is bound to a {type(value).__name__}, which is no array on "
                f"{self.title}; bind it to 'cpu' for a new one of numpy"
            )
        stands, place = found
        return Target(place, value, stands.shape, stands.dtype)

    def lies_here(self, value: Any) -> bool:
        """Tell whether a value is an array of ours, or of others that says so."""
        return isinstance(value, DeviceArray)

    def run(
        self,
        context: CudaContext,
        arrays: Sequence[Any],
        places: Mapping[int, Any],
        targets: Mapping[int, Any],
        waits: bool,
    ) -> list[Any]:
        """Run with outputs that stay on the GPU."""
        context.places, context.targets, context.waits = places, targets, waits
        try:
            return context.run(arrays)
        finally:
            context.targets, context.waits = {}, True

    def wait_for(self, stream: int) -> None:
        """Let the queue wait for a stream."""
        self._driver.wait_for(stream)

    def let_wait(self, stream: int) -> None:
        """Let a stream wait for the queue."""
        self._driver.let_wait(stream)

    def context(self, executable: Executable, threads: int) -> CudaContext:
        """Return a context for one run at a time; the first one copies the weights."""
        with self._lock:
            ready = self._ready.get(executable)
            if ready is None:
                ready = ReadyProgram(executable.program, self._driver, self._loaded)
                self._ready[executable] = ready
        return CudaContext(executable, threads, self._driver, self._memory, ready)


@functools.cache
def cuda_device() -> CudaDevice:
    """Return the GPU that this process uses.

    Raises
    ------
    InvalidArgument
        There is none, or what it needs is missing; says what to install.
    """
    return CudaDevice(open_driver())
