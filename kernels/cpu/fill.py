"""Fills memory with one value."""

from __future__ import annotations

from collections.abc import Callable

from .. import simd
from ..registry import Pointer, kernel_factory


@kernel_factory
def fill(itemsize: int) -> Callable[..., int]:
    """Set ``count`` contiguous elements of 1, 2, 4 or 8 bytes to the element at ``value``."""
    kind = {1: "u8", 2: "u16", 4: "i32", 8: "i64"}[itemsize]
    load, store = getattr(simd, f"load_{kind}"), getattr(simd, f"store_{kind}")

    def body(thread: int, threads: int, y: Pointer, value: Pointer, count: int) -> int:
        element = load(value, 0)
        for i in range(count * thread // threads, count * (thread + 1) // threads):
            store(y, i, element)
        return 0

    return body
