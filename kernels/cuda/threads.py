"""numba.cuda as kernels name it: threads, blocks and shared memory.

A checker of types takes its words for functions, since only a compiler and a simulator know them.
"""

from __future__ import annotations

from typing import Any

from numba import cuda as _cuda

cuda: Any = _cuda
