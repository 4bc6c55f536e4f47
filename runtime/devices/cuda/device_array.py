"""Arrays that runs leave on a GPU, for other runs and for libraries that take them as they lie."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ....errors import InvalidArgument
from .dlpack import CUDA, capsule_of
from .driver import Copy, Driver
from .output_memory import ANYBODY, Block

_LEGACY_STREAM = 1
"""What consumers of DLPack mean that name no stream: the one that waits for all."""


class DeviceArray:
    """A dense array in the memory of a GPU. Its contents never change once the run is done.

    ``torch.from_dlpack``, ``cupy.from_dlpack``, ``jax.dlpack.from_dlpack`` and ``numba.cuda`` read
    it where it lies; `numpy` copies it. What is queued on a stream that such a library names waits
    until the run is done.

    Parameters
    ----------
    driver : Driver
    block : Block
        Its memory, which lives as long.
    shape : tuple of int
    dtype : dtype

    Attributes
    ----------
    shape, dtype
    address : int
        Where it begins in the memory of the GPU.
    """

    def __init__(
        self, driver: Driver, block: Block, shape: tuple[int, ...], dtype: np.dtype
    ) -> None:
        self._driver, self._block = driver, block
        self.shape, self.dtype = shape, dtype
        self.address = block.address

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.size * self.dtype.itemsize

    @property
    def device(self) -> str:
        """Full name of the device."""
        return self._driver.name

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("an array without axes has no length")
        return self.shape[0]

    def __repr__(self) -> str:
        return f"DeviceArray(shape={self.shape}, dtype={self.dtype.name}, device={self.device!r})"

    def numpy(self) -> np.ndarray:
        """Copy it to the host, once all that was queued is done."""
        array = np.empty(self.shape, self.dtype)
        if array.nbytes:
            self._driver.to_host([Copy(array.ctypes.data, self.address, array.nbytes)])
        return array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("an array on a GPU becomes one of numpy by a copy only")
        array = self.numpy()
        return array if dtype is None else array.astype(dtype, copy=False)

    # --- other libraries ----------------------------------------------------------------------

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """Version 3: consumers wait for the stream that is named.

        Raises
        ------
        AttributeError
            The interface has no such type: use DLPack.
        """
        if self.dtype.kind not in "biuf":
            raise AttributeError(f"__cuda_array_interface__ has no type {self.dtype.name}")
        self._block.readers.add(ANYBODY)
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.address if self.size else 0, False),
            "strides": None,
            "version": 3,
            "stream": self._driver.stream,
        }

    def __dlpack_device__(self) -> tuple[int, int]:
        return CUDA, 0

    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """Return a capsule for a consumer that works on a stream.

        Parameters
        ----------
        stream : int, optional
            It waits until the run is done; -1 for a consumer that waits by itself, None for CUDA's
            legacy stream.
        max_version
            Ignored: consumers of all versions take the first one.
        dl_device, copy
            Another device, or a copy, is refused.
        """
        if copy or (dl_device is not None and tuple(dl_device) != self.__dlpack_device__()):
            raise BufferError("an array on a GPU is handed on as it lies: copy it with numpy()")
        if stream == 0 or not isinstance(stream, int | None):
            raise InvalidArgument(
                f"stream must be the number of a stream of CUDA, 1, 2, -1 or None, not {stream!r}"
            )
        number = _LEGACY_STREAM if stream is None else stream
        if number != ANYBODY:
            self._driver.let_wait(number)
        self._block.readers.add(number)
        device = self.__dlpack_device__()
        address = self.address if self.size else 0
        return capsule_of(address, self.shape, self.dtype, device, self._block)
