"""Sizes known when a program is bound, as elements of a tensor."""

from __future__ import annotations

import numpy as np

from ..fields import Pointer
from .kernel import cuda_kernel
from .launches import elements_of
from .memory import STORE, load_i64, store_i64
from .threads import cuda

_store_i32 = STORE["i32"]


@cuda_kernel(elements_of("count"))
def store_words(y: Pointer, itemsize: int, count: int, words: Pointer, status: Pointer) -> None:
    """Store ``words[1..count]`` as int64 or int32."""
    for i in range(cuda.grid(1), count, cuda.gridsize(1)):
        if itemsize == 8:
            store_i64(y, i, load_i64(words, i + 1))
        else:
            _store_i32(y, i, np.int32(load_i64(words, i + 1)))
