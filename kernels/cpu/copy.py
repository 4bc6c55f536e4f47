"""Strided copies: transposition, slicing, concatenation, expansion, change of layout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from .. import simd
from ..registry import Pointer, kernel_factory
from ..simd import load_i64, stack_words, store_i64, vload, vstore
from ..target import LANES

RANK = 6
_BLOCK = 16


@njit
def _collapse(dims: Pointer, to: Pointer, source: Pointer) -> Any:
    """Drop axes of size 1 and merge neighbours that lie densely in both; returns the rank."""
    rank = 0
    for axis in range(RANK):
        n = load_i64(dims, axis)
        if n == 1:
            continue
        t, s = load_i64(to, axis), load_i64(source, axis)
        if rank > 0 and load_i64(to, rank - 1) == n * t and load_i64(source, rank - 1) == n * s:
            store_i64(dims, rank - 1, load_i64(dims, rank - 1) * n)
            rank -= 1
        else:
            store_i64(dims, rank, n)
        store_i64(to, rank, t)
        store_i64(source, rank, s)
        rank += 1
    return rank


@kernel_factory
def copy(itemsize: int) -> Callable[..., int]:
    """Copy elements of 1, 2, 4 or 8 bytes; dims outermost first, strides in elements.

    A stride of 0 in the source repeats elements. The outer axes are split over the threads, or
    the innermost when it is the only one.
    """
    kind = {1: "u8", 2: "u16", 4: "i32", 8: "i64"}[itemsize]
    load, store = getattr(simd, f"load_{kind}"), getattr(simd, f"store_{kind}")
    wide = LANES * 4 // itemsize

    @njit
    def line(target: Pointer, source: Pointer, n: int, t: int, s: int) -> None:
        if t == 1 and s == 1:
            i = 0
            while i + wide <= n:
                vstore(target + i * itemsize, 0, vload(source + i * itemsize, 0))
                i += wide
            while i < n:
                store(target, i, load(source, i))
                i += 1
        else:
            for i in range(n):
                store(target, i * t, load(source, i * s))

    @njit
    def plane(
        target: Pointer, source: Pointer, m: int, n: int, t0: int, t1: int, s0: int, s1: int
    ) -> None:
        """Two axes of which the outer is dense in the source: copy in blocks."""
        for i0 in range(0, m, _BLOCK):
            i1 = min(m, i0 + _BLOCK)
            for j in range(n):
                out, inp = target + j * t1 * itemsize, source + j * s1 * itemsize
                for i in range(i0, i1):
                    store(out, i * t0, load(inp, i * s0))

    def body(
        thread: int,
        threads: int,
        x: Pointer,
        y: Pointer,
        d0: int,
        d1: int,
        d2: int,
        d3: int,
        d4: int,
        d5: int,
        y0: int,
        y1: int,
        y2: int,
        y3: int,
        y4: int,
        y5: int,
        x0: int,
        x1: int,
        x2: int,
        x3: int,
        x4: int,
        x5: int,
    ) -> int:
        dims, to, source = stack_words(8), stack_words(8), stack_words(8)
        shape, ys, xs = (d0, d1, d2, d3, d4, d5), (y0, y1, y2, y3, y4, y5), (x0, x1, x2, x3, x4, x5)
        total = 1
        for axis in range(RANK):
            store_i64(dims, axis, shape[axis])
            store_i64(to, axis, ys[axis])
            store_i64(source, axis, xs[axis])
            total *= shape[axis]
        if total == 0:
            return 0
        rank = _collapse(dims, to, source)
        if total < 4096 or rank == 0:
            if thread > 0:
                return 0
            threads = 1
        if rank <= 1:
            n = load_i64(dims, 0) if rank == 1 else 1
            t, s = (load_i64(to, 0), load_i64(source, 0)) if rank == 1 else (1, 1)
            first, last = n * thread // threads, n * (thread + 1) // threads
            at, inp = y + first * t * itemsize, x + first * s * itemsize
            line(at, inp, last - first, t, s)
            return 0
        # The two inner axes make a plane; all others count its copies.
        a, b = rank - 2, rank - 1
        m, n = load_i64(dims, a), load_i64(dims, b)
        t0, t1 = load_i64(to, a), load_i64(to, b)
        s0, s1 = load_i64(source, a), load_i64(source, b)
        outer = 1
        for axis in range(a):
            outer *= load_i64(dims, axis)
        rows = outer * m
        first, last = rows * thread // threads, rows * (thread + 1) // threads
        while first < last:
            i = first % m
            count = min(m - i, last - first)
            rest = first // m
            out, inp = i * t0, i * s0
            for axis in range(a - 1, -1, -1):
                size = load_i64(dims, axis)
                out += rest % size * load_i64(to, axis)
                inp += rest % size * load_i64(source, axis)
                rest //= size
            target, origin = y + out * itemsize, x + inp * itemsize
            if s0 == 1 and s1 != 1:
                plane(target, origin, count, n, t0, t1, s0, s1)
            else:
                for _ in range(count):
                    line(target, origin, n, t1, s1)
                    target += t0 * itemsize
                    origin += s0 * itemsize
            first += count
        return 0

    return body
