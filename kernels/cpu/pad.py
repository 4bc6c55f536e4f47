"""Padding with a constant, by reflection, by the edge or around."""

from __future__ import annotations

from collections.abc import Callable

from numba import njit

from ..padding import MODES as MODES
from ..padding import NOWHERE, source_position
from ..registry import Pointer, kernel_factory
from ..simd import load_i64, stack_words, store_i64
from .elements import RANK, element, run_copier

_source = njit(source_position)


@kernel_factory
def pad(itemsize: int) -> Callable[..., int]:
    """Write y, of which position i on an axis is position i - pad of x.

    ``mode`` is an index into ``MODES``; ``value`` points to the constant. ``n*`` are the sizes
    of x, ``m*`` those of y, ``p*`` the pads before (negative ones crop), ``x*`` and ``y*`` the
    strides, all with the outermost axis first and unused axes of size 1 in front. Rows of the
    last axis are split into parts.
    """
    load, store = element(itemsize)
    copy_run = run_copier(itemsize)

    def body(
        thread: int, part: int, until: int, parts: int,
        x: Pointer, y: Pointer, value: Pointer, mode: int,
        n0: int, n1: int, n2: int, n3: int, n4: int, n5: int, n6: int, n7: int,
        m0: int, m1: int, m2: int, m3: int, m4: int, m5: int, m6: int, m7: int,
        p0: int, p1: int, p2: int, p3: int, p4: int, p5: int, p6: int, p7: int,
        x0: int, x1: int, x2: int, x3: int, x4: int, x5: int, x6: int, x7: int,
        y0: int, y1: int, y2: int, y3: int, y4: int, y5: int, y6: int, y7: int,
    ) -> int:  # fmt: skip
        old, new, before = stack_words(8), stack_words(8), stack_words(8)
        come, to = stack_words(8), stack_words(8)
        sizes, out_sizes = (n0, n1, n2, n3, n4, n5, n6, n7), (m0, m1, m2, m3, m4, m5, m6, m7)
        pads = (p0, p1, p2, p3, p4, p5, p6, p7)
        xs, ys = (x0, x1, x2, x3, x4, x5, x6, x7), (y0, y1, y2, y3, y4, y5, y6, y7)
        rows = 1
        for axis in range(RANK):
            store_i64(old, axis, sizes[axis])
            store_i64(new, axis, out_sizes[axis])
            store_i64(before, axis, pads[axis])
            store_i64(come, axis, xs[axis])
            store_i64(to, axis, ys[axis])
            rows *= out_sizes[axis] if axis < RANK - 1 else 1
        # The stretch of a row that lies inside of x.
        begin = min(max(p7, 0), m7)
        end = max(begin, min(m7, n7 + p7))
        for row in range(rows * part // parts, rows * until // parts):
            remaining, source, target, inside = row, x, y, True
            for axis in range(RANK - 2, -1, -1):
                n = load_i64(new, axis)
                i, remaining = remaining % n, remaining // n
                at = _source(i - load_i64(before, axis), load_i64(old, axis), mode)
                inside = inside and at != NOWHERE
                source += at * load_i64(come, axis) * itemsize
                target += i * load_i64(to, axis) * itemsize
            if not inside:
                for j in range(m7):
                    store(target, j * y7, load(value, 0))
                continue
            if x7 == 1 and y7 == 1:
                copy_run(target + begin * itemsize, source + (begin - p7) * itemsize, end - begin)
            else:
                for j in range(begin, end):
                    store(target, j * y7, load(source, (j - p7) * x7))
            for j in range(m7 - (end - begin)):
                out = j if j < begin else j + end - begin
                at = _source(out - p7, n7, mode)
                if at == NOWHERE:
                    store(target, out * y7, load(value, 0))
                else:
                    store(target, out * y7, load(source, at * x7))
        return 0

    return body
