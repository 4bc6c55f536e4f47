"""What a GPU does: memory, copies, launches. Behind it are the driver, or numba's simulator."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np

from ....kernels.cuda.kernel import CudaKernel, Launch, Limits

ALIGNMENT = 256
"""Bytes that allocations begin at multiples of."""

Launcher = Callable[[Launch, np.ndarray], None]
"""Queues a kernel, with its arguments as words of 64 bits."""


class Driver(ABC):
    """Memory and launches of one GPU. What is queued runs in order, later; copies wait for it.

    Attributes
    ----------
    name : str
        Full name of the device: ``"cuda:"`` and what its code is compiled for.
    title : str
        What people call it.
    limits : Limits
        What launches are cut to.
    """

    name: str
    title: str
    limits: Limits

    @abstractmethod
    def allocate(self, size: int) -> int:
        """Return the address of so many bytes.

        Raises
        ------
        KernelError
            There is not enough memory.
        """

    @abstractmethod
    def free(self, address: int) -> None:
        """Give memory back."""

    @abstractmethod
    def to_device(self, target: int, source: int, size: int) -> None:
        """Copy bytes from this process; they may be changed afterwards."""

    @abstractmethod
    def to_host(self, target: int, source: int, size: int) -> None:
        """Copy bytes to this process, once all that was queued is done."""

    @abstractmethod
    def move(self, target: int, source: int, size: int) -> None:
        """Copy bytes within the memory of the GPU."""

    @abstractmethod
    def owns(self, address: int, size: int) -> bool:
        """Tell whether bytes lie in one piece of the GPU's memory, whoever has allocated that."""

    @abstractmethod
    def wait_for_others(self) -> None:
        """Wait for what others have queued on the GPU, who give it arrays."""

    @abstractmethod
    def load(self, kernel: CudaKernel) -> Launcher:
        """Return what launches a kernel; compiles it when needed."""

    @abstractmethod
    def encoded(self, tensor_map: Any) -> np.ndarray:
        """Return a tensor map (``kernels.cuda.tensor_cores.tensor_map``) as kernels read it.

        Returns
        -------
        ndarray of int64
            16 words, for memory whose address is a multiple of 128.

        Raises
        ------
        KernelError
            There is no such map.
        """

    @abstractmethod
    def capture(self, queue: Callable[[], None]) -> Callable[[], None]:
        """Record the launches that a function queues; returns what queues them all at once.

        The arguments are those of the recording. It queues nothing itself.
        """

    @abstractmethod
    def synchronize(self) -> None:
        """Wait for all that was queued.

        Raises
        ------
        KernelError
            A kernel has failed: the device cannot be used any more.
        """


class Memory:
    """A piece of a GPU's memory, which grows; freed with the object.

    Attributes
    ----------
    address, size : int
        0 as long as nothing was asked for.
    """

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self.address = self.size = 0

    def reserve(self, size: int, kept: int = 0) -> bool:
        """Have room for so many bytes, of which the first ``kept`` keep their contents.

        Returns
        -------
        bool
            The memory lies elsewhere now.
        """
        if size <= self.size:
            return False
        old = self.address
        if old and not kept:
            self.release()  # the old and the new one need not exist together
            old = 0
        new = self._driver.allocate(size)
        if old:
            self._driver.move(new, old, min(kept, self.size))
            self.release()
        self.address, self.size = new, size
        return True

    def release(self) -> None:
        """Give the memory back."""
        if self.address:
            self._driver.free(self.address)
        self.address = self.size = 0

    def __del__(self) -> None:
        if not sys.is_finalizing():  # then all memory is given back, and there is no driver
            self.release()
