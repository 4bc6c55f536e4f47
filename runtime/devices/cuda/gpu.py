"""An NVIDIA GPU by its driver: memory, copies, and launches with packed arguments.

The driver is called through NVIDIA's bindings: with arguments packed beforehand a launch costs the
host 0.35 us before the driver (cuda.core: 0.56 with nine of them, 3 as ctypes; numba: 6.6, and 3.7
for each array), the launch of a graph 0.23.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from ....errors import KernelError, reason
from ....kernels.cuda.cubins import cubins
from ....kernels.cuda.kernel import CudaKernel, Launch, Limits
from ....kernels.record import address_of
from ....kernels.ref import KernelRef
from .api import Api, NoMemory
from .driver import Copy, Driver
from .staging import Staging

_DEVICE = 0
_MOST_BLOCKS = (1 << 31) - 1, 65535, 65535
_MOST_THREADS = 1024, 1024, 64
_USUAL_SHARED = 48 << 10
"""Bytes of shared memory that a block may have without asking for them."""


class _Loaded(NamedTuple):
    """A kernel, and its function in the driver's terms."""

    ref: KernelRef
    function: Any
    shared_bytes: int


class _Prepared(NamedTuple):
    """A launch: arguments of the driver's function before and behind the stream."""

    head: tuple[Any, ...]
    parameters: int
    attributes: tuple[Any, ...]
    held: tuple[Any, ...]


class _Graph:
    """A CUDA graph, which is queued by a call; freed with the object."""

    def __init__(self, gpu: Gpu, graph: Any) -> None:
        call = gpu.api.call
        self._gpu = gpu
        self._graph = call("cuGraphInstantiate", graph, 0)
        call("cuGraphDestroy", graph)

    def __call__(self) -> None:
        self._gpu.launch_graph(self._graph)

    def __del__(self, is_ending: Callable[[], bool] = sys.is_finalizing) -> None:
        if not is_ending() and hasattr(self, "_graph"):
            self._gpu.dispose("cuGraphExecDestroy", self._graph)


class _Event:
    """A mark in the queue, with its time."""

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu
        self.event = gpu.api.call("cuEventCreate", 0)

    def __del__(self, is_ending: Callable[[], bool] = sys.is_finalizing) -> None:
        if not is_ending() and hasattr(self, "event"):
            self._gpu.dispose("cuEventDestroy", self.event)


class Gpu(Driver):
    """The first GPU that the driver shows, in its primary context, which others here use, too.

    Parameters
    ----------
    api : Api
        Initialized.
    capability : (int, int)
        Its compute capability.

    Attributes
    ----------
    api : Api
    """

    limits = Limits()

    def __init__(self, api: Api, capability: tuple[int, int]) -> None:
        call = api.call
        self.api, self._capability = api, capability
        self.name = f"cuda:{capability[0]}{capability[1]}"
        self._device = call("cuDeviceGet", _DEVICE)
        self.title = call("cuDeviceGetName", 128, self._device).split(b"\0")[0].decode()
        self._most_shared = api.attribute("MAX_SHARED_MEMORY_PER_BLOCK_OPTIN", self._device)
        self._context = call("cuDevicePrimaryCtxRetain", self._device)
        self._enter()
        self._stream = call("cuStreamCreate", 1)  # waits for no other stream
        self.stream = int(self._stream)
        self._captures = call("cuStreamCreate", 1)
        self._capturing = threading.Lock()
        self._turn = threading.Lock()
        self._event = call("cuEventCreate", 2)  # without times
        self._in, self._out = Staging(api, self._stream), Staging(api, self._stream)
        self._modules: list[Any] = []

    def _enter(self) -> None:
        """Make the context this thread's."""
        self.api.call("cuCtxSetCurrent", self._context)

    def dispose(self, name: str, handle: Any) -> None:
        """Give something back to the driver; of one that has failed nothing is left to free."""
        with suppress(KernelError, NoMemory):
            self._enter()
            self.api.call(name, handle)

    # --- memory -------------------------------------------------------------------------------

    def allocate(self, size: int) -> int:
        """Allocate bytes, if need be after giving back what nobody uses."""
        return self._allocated(size, self.title, "cuMemAlloc", size)

    def free(self, address: int) -> None:
        """Give memory back, once all that was queued is done."""
        self.dispose("cuMemFree", address)

    def allocate_pinned(self, size: int) -> int:
        """Allocate memory of the host that any context reaches."""
        return self._allocated(size, "the host for copies", "cuMemHostAlloc", size, 1)

    def free_pinned(self, address: int) -> None:
        """Give such memory back."""
        self.dispose("cuMemFreeHost", address)

    def _allocated(self, size: int, where: str, name: str, *arguments: Any) -> int:
        self._enter()
        for _ in range(2):
            try:
                return int(self.api.call(name, *arguments))
            except NoMemory:
                self.spare()
        free, total = self.api.call("cuMemGetInfo")
        raise KernelError(
            f"no memory on {where} for {size} bytes: {free} of {total} are free on {self.title}; "
            "smaller batches need less, and Session.shrink gives back what idle sessions hold"
        )

    def owns(self, address: int, size: int) -> bool:
        """Ask the driver which device the memory is of, and where its allocation ends."""
        driver = self.api.driver
        self._enter()
        kind = driver.CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
        code, ordinal = driver.cuPointerGetAttribute(kind, address)
        if code or int(ordinal) != int(self._device):
            return False
        code, base, count = driver.cuMemGetAddressRange(address)
        return not code and address + size <= int(base) + int(count)

    # --- copies -------------------------------------------------------------------------------

    def to_device(self, copy: Copy, follows: bool = True) -> None:
        """Copy through pinned memory."""
        self._enter()
        self._in.to_device(copy, follows)

    def to_host(self, copies: Sequence[Copy]) -> None:
        """Copy through pinned memory."""
        self._enter()
        self._out.to_host(copies)

    def move(self, target: int, source: int, size: int) -> None:
        """Queue a copy."""
        self._enter()
        self.api.call("cuMemcpyDtoDAsync", target, source, size, self._stream)

    # --- others -------------------------------------------------------------------------------

    def wait_for(self, stream: int | None) -> None:
        """Let the queue wait for an event in another stream, the host for all of the context."""
        self._enter()
        if stream is None:
            self.api.call("cuCtxSynchronize")
        else:
            self._follow(self.api.driver.CUstream(stream), self._stream)

    def let_wait(self, stream: int) -> None:
        """Let another stream wait for an event in the queue."""
        self._enter()
        self._follow(self._stream, self.api.driver.CUstream(stream))

    def _follow(self, first: Any, then: Any) -> None:
        with self._turn:
            self.api.call("cuEventRecord", self._event, first)
            self.api.call("cuStreamWaitEvent", then, self._event, 0)

    # --- kernels ------------------------------------------------------------------------------

    def load(self, kernels: Sequence[CudaKernel]) -> list[_Loaded]:
        """Load the code of kernels, which the cache or a compiler gives."""
        self._enter()
        codes = cubins(kernels, self._capability)
        loaded = []
        for kernel in kernels:
            cubin = codes[kernel.ref]
            try:
                module = self.api.call("cuModuleLoadData", cubin.code)
                function = self.api.call("cuModuleGetFunction", module, cubin.entry.encode())
            except (KernelError, NoMemory) as error:
                self.api.check()
                raise KernelError(
                    f"the kernel {kernel.ref} does not load on {self.title}: {reason(error)}"
                ) from error
            self._modules.append(module)
            loaded.append(_Loaded(kernel.ref, function, self._shared_memory(kernel, function)))
        return loaded

    def encoded(self, tensor_map: Any) -> np.ndarray:
        """Let the driver encode a tensor map."""
        self._enter()
        try:
            words: np.ndarray = tensor_map.encoded()
        except RuntimeError as error:
            raise KernelError(f"the GPU's driver refuses a tensor map: {error}") from error
        return words

    def prepare(self, kernel: _Loaded, launch: Launch, words: np.ndarray) -> _Prepared:
        """Return a launch, with the addresses of its arguments."""
        (grid, block, cluster), shared = launch, kernel.shared_bytes
        threads = block[0] * block[1] * block[2]
        if (
            threads > _MOST_THREADS[0]
            or any(n > most for n, most in zip(grid, _MOST_BLOCKS, strict=True))
            or any(n > most for n, most in zip(block, _MOST_THREADS, strict=True))
        ):
            raise KernelError(
                f"the kernel {kernel.ref} is beyond what {self.title} takes: {grid} blocks of "
                f"{block} threads"
            )
        words = words.copy()
        addresses = address_of(words) + 8 * np.arange(len(words), dtype=np.int64)
        head = kernel.function, *grid, *block, shared
        attributes = () if cluster == (1, 1, 1) else (self._cluster(cluster),)
        return _Prepared(head, address_of(addresses), attributes, (words, addresses))

    def _shared_memory(self, kernel: CudaKernel, function: Any) -> int:
        """Let a kernel have its dynamic shared memory; returns how many bytes of it a block has."""
        size = kernel.bounds.shared_bytes if kernel.bounds else 0
        if size > self._most_shared:
            raise KernelError(
                f"the kernel {kernel.ref} needs {size} bytes of shared memory, a block of "
                f"{self.title} has {self._most_shared}"
            )
        if size > _USUAL_SHARED:
            kinds = self.api.driver.CUfunction_attribute
            kind = kinds.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
            self.api.call("cuFuncSetAttribute", function, kind, size)
        return size

    def _cluster(self, size: tuple[int, int, int]) -> Any:
        driver = self.api.driver
        attribute = driver.CUlaunchAttribute()
        attribute.id = driver.CUlaunchAttributeID.CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION
        dimensions = attribute.value.clusterDim
        dimensions.x, dimensions.y, dimensions.z = size
        return attribute

    def queue(self, launches: Sequence[_Prepared]) -> None:
        """Queue launches."""
        self._enter()
        self._launch(launches, self._stream)

    def _launch(self, launches: Sequence[_Prepared], stream: Any) -> None:
        launch = self.api.driver.cuLaunchKernel
        for each in launches:
            if each.attributes:
                self._launch_clusters(each, stream)
                continue
            [code] = launch(*each.head, stream, each.parameters, 0)
            if code:
                self.api.fail("cuLaunchKernel", code)

    def _launch_clusters(self, launch: _Prepared, stream: Any) -> None:
        function, *sizes = launch.head
        config = self.api.driver.CUlaunchConfig()
        config.gridDimX, config.gridDimY, config.gridDimZ = sizes[:3]
        config.blockDimX, config.blockDimY, config.blockDimZ = sizes[3:6]
        config.sharedMemBytes, config.hStream = sizes[6], stream
        config.attrs, config.numAttrs = list(launch.attributes), len(launch.attributes)
        self.api.call("cuLaunchKernelEx", config, function, launch.parameters, 0)

    def capture(self, launches: Sequence[_Prepared]) -> Callable[[], None]:
        """Make a CUDA graph, in a stream that nobody else queues anything in."""
        call = self.api.call
        self._enter()
        mode = self.api.driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        with self._capturing:
            call("cuStreamBeginCapture", self._captures, mode)
            try:
                self._launch(launches, self._captures)
            finally:
                graph = call("cuStreamEndCapture", self._captures)
        return _Graph(self, graph)

    def launch_graph(self, graph: Any) -> None:
        """Queue a graph."""
        self._enter()
        [code] = self.api.driver.cuGraphLaunch(graph, self._stream)
        if code:
            self.api.fail("cuGraphLaunch", code)

    def synchronize(self) -> None:
        """Wait for all that was queued."""
        self._enter()
        self.api.call("cuStreamSynchronize", self._stream)

    # --- times --------------------------------------------------------------------------------

    def mark(self) -> _Event:
        """Record an event."""
        self._enter()
        event = _Event(self)
        self.api.call("cuEventRecord", event.event, self._stream)
        return event

    def nanoseconds(self, start: _Event, end: _Event) -> int:
        """Ask the driver for the time between two events, which it gives in milliseconds."""
        self._enter()
        self.api.call("cuEventSynchronize", end.event)
        return round(self.api.call("cuEventElapsedTime", start.event, end.event) * 1e6)
