"""Gather along one axis, with checked indices."""

from __future__ import annotations

from collections.abc import Callable

from numba import njit

from .. import simd
from ..registry import Pointer, kernel_factory
from ..simd import load_i32, load_i64


@kernel_factory
def gather(itemsize: int, index_bytes: int) -> Callable[..., int]:
    """y[o, i, :] = x[o, index[i], :] for dense (outer, size, inner) and ``count`` indices.

    Negative indices count from the end; one out of range gives error 1 and writes nothing.
    """
    kind = {1: "u8", 2: "u16", 4: "i32", 8: "i64"}[itemsize]
    load, store = getattr(simd, f"load_{kind}"), getattr(simd, f"store_{kind}")
    load_index = load_i64 if index_bytes == 8 else load_i32

    @njit
    def move(x: Pointer, y: Pointer, count: int) -> None:
        for i in range(count):
            store(y, i, load(x, i))

    def body(
        thread: int, threads: int, x: Pointer, indices: Pointer, y: Pointer, outer: int, size: int,
        inner: int, count: int,
    ) -> int:  # fmt: skip
        work = outer * count
        for n in range(work * thread // threads, work * (thread + 1) // threads):
            o, i = n // count, n % count
            index = int(load_index(indices, i))
            if index < -size or index >= size:
                return 1
            index = index + size if index < 0 else index
            move(x + (o * size + index) * inner * itemsize, y + n * inner * itemsize, inner)
        return 0

    return body
