"""An NVIDIA GPU by its driver: memory, copies, and launches with packed arguments.

The driver is called through NVIDIA's bindings, not numba: a launch of numba's takes 6.6 us and 3.7
us for each array, one of the driver's 2 us whatever the arguments.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from ....errors import KernelError, reason
from ....kernels.cuda.compilation import compiled
from ....kernels.cuda.kernel import CudaKernel, Launch, Limits
from ....kernels.record import address_of
from .driver import Driver, Launcher

_DEVICE = 0


def _call(name: str, *arguments: Any) -> Any:
    """Call a function of the driver.

    Raises
    ------
    KernelError
        It fails; says how.
    """
    from cuda.bindings import driver

    code, *results = getattr(driver, name)(*arguments)
    if code != driver.CUresult.CUDA_SUCCESS:
        if code == driver.CUresult.CUDA_ERROR_OUT_OF_MEMORY:
            raise MemoryError(name)
        raise KernelError(f"the GPU's driver fails in {name}: {code.name}")
    return results[0] if len(results) == 1 else results


def capability() -> tuple[int, int]:
    """Return the compute capability of the first GPU.

    Raises
    ------
    Exception
        There is no driver, or no GPU.
    """
    from cuda.bindings import driver

    _call("cuInit", 0)
    device = _call("cuDeviceGet", _DEVICE)
    attribute = driver.CUdevice_attribute
    major, minor = (
        _call(
            "cuDeviceGetAttribute", getattr(attribute, f"{name}_COMPUTE_CAPABILITY_{part}"), device
        )
        for name, part in (("CU_DEVICE_ATTRIBUTE", "MAJOR"), ("CU_DEVICE_ATTRIBUTE", "MINOR"))
    )
    return major, minor


class _Graph:
    """A CUDA graph, which is queued by a call; freed with the object."""

    def __init__(self, graph: Any, stream: Any, enter: Callable[[], None]) -> None:
        self._stream, self._enter = stream, enter
        self._graph = _call("cuGraphInstantiate", graph, 0)
        _call("cuGraphDestroy", graph)

    def __call__(self) -> None:
        self._enter()
        _call("cuGraphLaunch", self._graph, self._stream)

    def __del__(self) -> None:
        if not sys.is_finalizing():
            self._enter()
            _call("cuGraphExecDestroy", self._graph)


class Gpu(Driver):
    """The first GPU that the driver shows, in its primary context, which others here use, too.

    Parameters
    ----------
    capability : (int, int)
        Its compute capability.
    """

    limits = Limits()

    def __init__(self, capability: tuple[int, int]) -> None:
        self._capability = capability
        self.name = f"cuda:{capability[0]}{capability[1]}"
        self._device = _call("cuDeviceGet", _DEVICE)
        self.title = _call("cuDeviceGetName", 128, self._device).split(b"\0")[0].decode()
        self._context = _call("cuDevicePrimaryCtxRetain", self._device)
        self._enter()
        self._stream = _call("cuStreamCreate", 1)  # waits for no other stream
        self._modules: list[Any] = []

    def _enter(self) -> None:
        """Make the context this thread's."""
        _call("cuCtxSetCurrent", self._context)

    def allocate(self, size: int) -> int:
        """Allocate bytes."""
        self._enter()
        try:
            return int(_call("cuMemAlloc", size))
        except MemoryError:
            free, total = _call("cuMemGetInfo")
            raise KernelError(
                f"no memory on {self.title} for {size} bytes: {free} of {total} are free"
            ) from None

    def free(self, address: int) -> None:
        """Give memory back, once all that was queued is done."""
        self._enter()
        _call("cuMemFree", address)

    def to_device(self, target: int, source: int, size: int) -> None:
        """Queue a copy; the source has been read when it returns."""
        self._enter()
        _call("cuMemcpyHtoDAsync", target, source, size, self._stream)
        self.synchronize()

    def to_host(self, target: int, source: int, size: int) -> None:
        """Copy once all that was queued is done."""
        self._enter()
        _call("cuMemcpyDtoHAsync", target, source, size, self._stream)
        self.synchronize()

    def move(self, target: int, source: int, size: int) -> None:
        """Queue a copy."""
        self._enter()
        _call("cuMemcpyDtoDAsync", target, source, size, self._stream)

    def owns(self, address: int, size: int) -> bool:
        """Ask the driver which device the memory is of, and where its allocation ends."""
        from cuda.bindings import driver

        kind = driver.CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
        code, ordinal = driver.cuPointerGetAttribute(kind, address)
        if code != driver.CUresult.CUDA_SUCCESS or ordinal != int(self._device):
            return False
        code, base, count = driver.cuMemGetAddressRange(address)
        is_known = code == driver.CUresult.CUDA_SUCCESS
        return bool(is_known and address + size <= int(base) + int(count))

    def wait_for_others(self) -> None:
        """Wait for all streams of the context, which libraries share."""
        self._enter()
        _call("cuCtxSynchronize")

    def load(self, kernel: CudaKernel) -> Launcher:
        """Load a kernel's code, which the driver assembles for this GPU."""
        self._enter()
        try:
            code, name = compiled(kernel, self._capability)
            module = _call("cuModuleLoadData", code)
            function = _call("cuModuleGetFunction", module, name)
        except KernelError:
            raise
        except Exception as error:
            raise KernelError(
                f"the kernel {kernel.ref} does not compile: {reason(error)}"
            ) from error
        self._modules.append(module)
        stream, shared = self._stream, kernel.bounds.shared_bytes if kernel.bounds else 0
        if shared:
            from cuda.bindings import driver

            most = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
            _call("cuFuncSetAttribute", function, most, shared)

        def launch(launch: Launch, words: np.ndarray) -> None:
            self._enter()
            addresses = address_of(words) + 8 * np.arange(len(words), dtype=np.int64)
            _call(
                "cuLaunchKernel", function, *launch.grid, *launch.block, shared, stream,
                address_of(addresses), 0,
            )  # fmt: skip

        return launch

    def encoded(self, tensor_map: Any) -> np.ndarray:
        """Let the driver encode a tensor map."""
        self._enter()
        try:
            words: np.ndarray = tensor_map.encoded()
        except RuntimeError as error:
            raise KernelError(f"the GPU's driver refuses a tensor map: {error}") from error
        return words

    def capture(self, queue: Callable[[], None]) -> Callable[[], None]:
        """Make a CUDA graph of the launches."""
        from cuda.bindings import driver

        self._enter()
        mode = driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        _call("cuStreamBeginCapture", self._stream, mode)
        try:
            queue()
        finally:
            graph = _call("cuStreamEndCapture", self._stream)
        return _Graph(graph, self._stream, self._enter)

    def synchronize(self) -> None:
        """Wait for all that was queued."""
        self._enter()
        _call("cuStreamSynchronize", self._stream)
