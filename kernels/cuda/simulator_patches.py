"""Patches of numba's CUDA simulator, while a kernel runs in it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from ...errors import KernelError
from ...patches import Patch

_lock = threading.Lock()


def _shared_by_all(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method that gives all threads of a block one array for each line of source.

    The original looks whether there is one and makes it, which two threads may do at once; and it
    reads the source of all functions on the stack to know the line.
    """

    def array(self: Any, shape: Any, dtype: Any, alignment: Any = None) -> Any:
        caller = sys._getframe(1)
        key = caller.f_code.co_filename, caller.f_lineno
        if not isinstance(dtype, type | np.dtype) or not shape:
            with _lock:
                return original(self, shape, dtype, alignment)
        with _lock:
            found = self._allocations.get(key)
            if found is None:
                found = self._allocations[key] = np.empty(shape, dtype)
            return found

    return array


SHARED_ARRAYS = Patch(
    package="numba-cuda",
    target="numba.cuda.simulator.kernelapi.FakeCUDAShared.array",
    replacement=_shared_by_all,
    reason="two threads may make a shared array at once, and then have one each",
    tested="0.30",
    during="a kernel runs in numba's simulator",
    error=KernelError,
)
