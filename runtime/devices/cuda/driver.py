"""What a GPU does: memory, copies, launches. Behind it are the driver, or numba's simulator."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ....kernels.cuda.kernel import CudaKernel, Launch, Limits

ALIGNMENT = 256
"""Bytes that allocations begin at multiples of."""


class Copy(NamedTuple):
    """Bytes to be copied: addresses of target and source, and how many."""

    target: int
    source: int
    size: int


class Driver(ABC):
    """Memory and launches of one GPU.

    Kernels and copies within its memory run later, in the order in which they are queued. Copies
    from and to the host run beside them; those to the host wait for all that was queued before.

    Attributes
    ----------
    name : str
        Full name of the device: ``"cuda:"`` and what its code is compiled for.
    title : str
        What people call it.
    limits : Limits
        What launches are cut to.
    stream : int
        What others may wait for, or let wait: the queue as CUDA numbers it.
    spare : callable
        Frees memory that nobody uses, when there is none left.
    """

    name: str
    title: str
    limits: Limits
    stream: int
    spare: Callable[[], None] = staticmethod(lambda: None)

    # --- memory -------------------------------------------------------------------------------

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
    def allocate_pinned(self, size: int) -> int:
        """Return the address of bytes of the host that kernels reach, too, at the same address.

        Raises
        ------
        KernelError
            There is not enough memory.
        """

    @abstractmethod
    def free_pinned(self, address: int) -> None:
        """Give such memory back."""

    @abstractmethod
    def owns(self, address: int, size: int) -> bool:
        """Tell whether bytes lie in one piece of the GPU's memory, whoever has allocated that."""

    # --- copies -------------------------------------------------------------------------------

    @abstractmethod
    def to_device(self, copy: Copy, follows: bool = True) -> None:
        """Copy bytes from this process, before all that is queued later.

        They may be changed when it returns. Unless it ``follows`` what was queued before, that may
        run meanwhile, and must not use the target.
        """

    @abstractmethod
    def to_host(self, copies: Sequence[Copy]) -> None:
        """Copy bytes to this process, once all that was queued is done."""

    @abstractmethod
    def move(self, target: int, source: int, size: int) -> None:
        """Queue a copy within the memory of the GPU."""

    # --- others -------------------------------------------------------------------------------

    @abstractmethod
    def wait_for(self, stream: int | None) -> None:
        """Let what is queued later wait for all that is in another stream; None: in any."""

    @abstractmethod
    def let_wait(self, stream: int) -> None:
        """Let another stream wait for all that is queued."""

    # --- kernels ------------------------------------------------------------------------------

    @abstractmethod
    def load(self, kernels: Sequence[CudaKernel]) -> list[Any]:
        """Load kernels, compiling those that are not in the cache; returns what `prepare` takes.

        Raises
        ------
        KernelError
            One does not compile, or not load.
        """

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
    def prepare(self, kernel: Any, launch: Launch, words: np.ndarray) -> Any:
        """Return a launch of a loaded kernel, with its arguments as words of 64 bits, for `queue`.

        Raises
        ------
        KernelError
            It is beyond what the GPU takes.
        """

    @abstractmethod
    def queue(self, launches: Sequence[Any]) -> None:
        """Queue launches."""

    @abstractmethod
    def capture(self, launches: Sequence[Any]) -> Callable[[], None]:
        """Return what queues launches all at once, with the arguments that they have now."""

    @abstractmethod
    def synchronize(self) -> None:
        """Wait for all that was queued.

        Raises
        ------
        KernelError
            A kernel has failed: the device cannot be used any more.
        """

    # --- times --------------------------------------------------------------------------------

    @abstractmethod
    def mark(self) -> Any:
        """Queue a mark, which notes the time when all before it is done."""

    @abstractmethod
    def nanoseconds(self, start: Any, end: Any) -> int:
        """Time between two marks, waiting for them."""


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

    def __del__(self, is_ending: Callable[[], bool] = sys.is_finalizing) -> None:
        if not is_ending():  # then all memory is given back, and there is no driver
            self.release()


class PinnedWords:
    """Words of 64 bits of the host that kernels write into; freed with the object.

    Attributes
    ----------
    address : int
    words : ndarray of int64
    """

    def __init__(self, driver: Driver, count: int) -> None:
        import ctypes

        self._driver = driver
        self.address = driver.allocate_pinned(8 * count)
        self.words = np.ctypeslib.as_array((ctypes.c_int64 * count).from_address(self.address))
        self.words[:] = 0

    def __del__(self, is_ending: Callable[[], bool] = sys.is_finalizing) -> None:
        if not is_ending() and hasattr(self, "address"):
            self._driver.free_pinned(self.address)
