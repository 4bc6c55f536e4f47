"""Sizes known when a program is bound, as elements of a tensor."""

from __future__ import annotations

import numpy as np

from ..registry import Pointer, kernel
from ..simd import load_i64, store_i32, store_i64


@kernel
def store_words(
    thread: int,
    part: int,
    until: int,
    parts: int,
    y: Pointer,
    itemsize: int,
    count: int,
    words: Pointer,
) -> int:
    """Store ``words[1..count]`` as int64 or int32."""
    if part == 0:
        for i in range(count):
            if itemsize == 8:
                store_i64(y, i, load_i64(words, i + 1))
            else:
                store_i32(y, i, np.int32(load_i64(words, i + 1)))
    return 0
