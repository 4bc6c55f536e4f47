"""numba.cuda as kernels name it: threads, blocks and shared memory.

A checker of types takes its words for functions, since only a compiler and a simulator know them.
"""

from __future__ import annotations

import importlib
from typing import Any

from .deferred import Deferred
from .memory import IS_SIMULATED


def _numba_cuda() -> Any:
    return importlib.import_module("numba.cuda")


cuda: Any = _numba_cuda() if IS_SIMULATED else Deferred(_numba_cuda)
