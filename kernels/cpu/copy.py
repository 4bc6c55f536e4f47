"""Strided copies: transposition, slicing, concatenation, expansion, change of layout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from .. import shuffle
from ..registry import MANY, Pointer, kernel_factory
from ..simd import load_i64, stack_words, store_i64
from ..target import LANES
from .elements import RANK, element, run_copier

_NEAR = 8
"""Blocks along rows far apart, then the next rows: these lie in few sets of a cache, perhaps."""
_LINE_BYTES = 64
"""Of a line of memory: blocks that share one follow each other."""
_MANY = 16
"""Blocks of a row from which one more is worth that all others begin where lines do."""


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


@njit
def _swap(words: Pointer, i: int, j: int) -> None:
    first_word = load_i64(words, i)
    store_i64(words, i, load_i64(words, j))
    store_i64(words, j, first_word)


@njit
def _exchange(dims: Pointer, to: Pointer, source: Pointer, i: int, j: int) -> None:
    _swap(dims, i, j)
    _swap(to, i, j)
    _swap(source, i, j)


@njit
def _bring(dims: Pointer, to: Pointer, source: Pointer, strides: Pointer, at: int) -> None:
    """Exchange the axis at ``at`` with an earlier one of stride 1, unless it has that itself."""
    for axis in range(at):
        if load_i64(strides, axis) == 1 and load_i64(strides, at) != 1:
            _exchange(dims, to, source, axis, at)


def _line(itemsize: int) -> Callable[..., None]:
    """Copy one run of n elements."""
    load, store = element(itemsize)
    copy_run = run_copier(itemsize)

    @njit
    def line(target: Pointer, source: Pointer, n: int, t: int, s: int) -> None:
        if t == 1 and s == 1:
            copy_run(target, source, n)
        else:
            for i in range(n):
                store(target, i * t, load(source, i * s))

    return line


def _transposition(itemsize: int) -> Callable[..., None]:
    """Copy a plane of m x n elements, dense along m in the source and along n in the target."""
    load, store = element(itemsize)
    size = shuffle.block_size(itemsize)
    block, line = shuffle.transpose_block(itemsize), size * itemsize
    together = max(_LINE_BYTES // line, 1) * size
    interleave2, deinterleave2 = shuffle.interleave(itemsize, 2), shuffle.deinterleave(itemsize, 2)
    interleave3, deinterleave3 = shuffle.interleave(itemsize, 3), shuffle.deinterleave(itemsize, 3)
    interleave4, deinterleave4 = shuffle.interleave(itemsize, 4), shuffle.deinterleave(itemsize, 4)

    @njit
    def tuples(target: Pointer, source: Pointer, m: int, n: int, s1: int) -> Any:
        """Interleave rows of the source; returns how many elements of each were done."""
        if m < LANES:
            return 0
        for step in range(0, m, LANES):
            i = min(step, m - LANES)
            at, out = source + i * itemsize, target + i * n * itemsize
            if n == 2:
                interleave2(at, s1 * itemsize, out, LANES * itemsize)
            elif n == 3:
                interleave3(at, s1 * itemsize, out, LANES * itemsize)
            else:
                interleave4(at, s1 * itemsize, out, LANES * itemsize)
        return m

    @njit
    def rows(target: Pointer, source: Pointer, m: int, n: int, t0: int) -> Any:
        """Take dense tuples of the source apart; returns how many were done."""
        if n < LANES:
            return 0
        for step in range(0, n, LANES):
            j = min(step, n - LANES)
            at, out = source + j * m * itemsize, target + j * itemsize
            if m == 2:
                deinterleave2(at, LANES * itemsize, out, t0 * itemsize)
            elif m == 3:
                deinterleave3(at, LANES * itemsize, out, t0 * itemsize)
            else:
                deinterleave4(at, LANES * itemsize, out, t0 * itemsize)
        return n

    @njit
    def ahead(address: Pointer, stride: int, count: int) -> int:
        """Where the first block of rows begins: ahead of them, if others begin lines so."""
        if stride * itemsize % line != 0 or count < _MANY * size:
            return 0
        return -(address % line) // itemsize

    @njit
    def move(
        target: Pointer, source: Pointer, m: int, n: int, t0: int, s1: int, i: int, j: int
    ) -> None:
        """Move a block; those at the edges are moved inside, and move some elements again."""
        i, j = min(max(i, 0), m - size), min(max(j, 0), n - size)
        at, out = source + (j * s1 + i) * itemsize, target + (i * t0 + j) * itemsize
        block(at, s1 * itemsize, out, t0 * itemsize)

    @njit
    def blocks(target: Pointer, source: Pointer, m: int, n: int, t0: int, s1: int) -> None:
        """Move blocks: some along the rows that are further apart, then the next of these."""
        i_first, j_first = ahead(source, s1, m), ahead(target, t0, n)
        if s1 >= t0:
            for i in range(i_first, m, _NEAR * size):
                for j in range(j_first, n, together):
                    for k in range(i, min(i + _NEAR * size, m), size):
                        for own in range(j, min(j + together, n), size):
                            move(target, source, m, n, t0, s1, k, own)
            return
        for j in range(j_first, n, _NEAR * size):
            for i in range(i_first, m, together):
                for k in range(j, min(j + _NEAR * size, n), size):
                    for own in range(i, min(i + together, m), size):
                        move(target, source, m, n, t0, s1, own, k)

    @njit
    def plane(target: Pointer, source: Pointer, m: int, n: int, t0: int, s1: int) -> None:
        if m >= size and n >= size:
            blocks(target, source, m, n, t0, s1)
            return
        i0, j0 = 0, 0
        if itemsize <= 4 and 2 <= n <= 4 and t0 == n:
            i0 = tuples(target, source, m, n, s1)
        elif itemsize <= 4 and 2 <= m <= 4 and s1 == m:
            j0 = rows(target, source, m, n, t0)
        for i in range(i0, m):
            for j in range(j0, n):
                store(target, i * t0 + j, load(source, j * s1 + i))

    return plane


@kernel_factory
def copy(itemsize: int) -> Callable[..., int]:
    """Copy elements of 1, 2, 4 or 8 bytes over up to eight axes.

    ``d*`` are the sizes, ``y*`` and ``x*`` the strides of target and source in elements. A
    stride of 0 in the source repeats elements, a negative one reads backwards. Runs that are
    dense in both are copied by vectors, planes dense along one axis in the source and along
    another in the target by transposing blocks in registers. The outer axes are split into
    parts, or the innermost when there are few.
    """
    line, plane = _line(itemsize), _transposition(itemsize)

    def body(
        thread: int, part: int, until: int, parts: int, x: Pointer, y: Pointer,
        d0: int, d1: int, d2: int, d3: int, d4: int, d5: int, d6: int, d7: int,
        y0: int, y1: int, y2: int, y3: int, y4: int, y5: int, y6: int, y7: int,
        x0: int, x1: int, x2: int, x3: int, x4: int, x5: int, x6: int, x7: int,
    ) -> int:  # fmt: skip
        dims, to, source = stack_words(8), stack_words(8), stack_words(8)
        shape = (d0, d1, d2, d3, d4, d5, d6, d7)
        ys, xs = (y0, y1, y2, y3, y4, y5, y6, y7), (x0, x1, x2, x3, x4, x5, x6, x7)
        total = 1
        for axis in range(RANK):
            store_i64(dims, axis, shape[axis])
            store_i64(to, axis, ys[axis])
            store_i64(source, axis, xs[axis])
            total *= shape[axis]
        if total == 0:
            return 0
        rank = _collapse(dims, to, source)
        while rank < 2:
            # Too few axes for a plane: put one of size 1 in front.
            store_i64(dims, rank, 1)
            store_i64(to, rank, 0)
            store_i64(source, rank, 0)
            rank += 1
            _exchange(dims, to, source, 0, rank - 1)
        a, b = rank - 2, rank - 1
        _bring(dims, to, source, to, b)
        _bring(dims, to, source, source, a if load_i64(source, b) != 1 else 0)
        # The two inner axes make a plane; all others count its copies.
        m, n = load_i64(dims, a), load_i64(dims, b)
        t0, t1 = load_i64(to, a), load_i64(to, b)
        s0, s1 = load_i64(source, a), load_i64(source, b)
        outer = 1
        for axis in range(a):
            outer *= load_i64(dims, axis)
        steps, inner, j = outer * m, n, 0
        first, last = 0, steps
        if steps >= MANY or n < steps:
            first, last = steps * part // parts, steps * until // parts
        else:
            j = n * part // parts
            inner = n * until // parts - j
        copy_number = first // m
        i = first - copy_number * m
        while first < last:
            count = min(m - i, last - first)
            remaining = copy_number
            out, inp = i * t0 + j * t1, i * s0 + j * s1
            # A division takes as long as a plane of a few elements: the outermost axis needs none.
            for axis in range(a - 1, 0, -1):
                size = load_i64(dims, axis)
                whole = remaining // size
                own = remaining - whole * size
                out += own * load_i64(to, axis)
                inp += own * load_i64(source, axis)
                remaining = whole
            if a > 0:
                out += remaining * load_i64(to, 0)
                inp += remaining * load_i64(source, 0)
            copy_number, i = copy_number + 1, 0
            target, origin = y + out * itemsize, x + inp * itemsize
            if s0 == 1 and s1 != 1 and t1 == 1:
                plane(target, origin, count, inner, t0, s1)
            else:
                for _ in range(count):
                    line(target, origin, inner, t1, s1)
                    target += t0 * itemsize
                    origin += s0 * itemsize
            first += count
        return 0

    return body
