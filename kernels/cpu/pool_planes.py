"""Pooling of planes, in ONNX's order of axes: vectors along rows.

A row of the result is made of the rows under its windows, joined element by element, which lie
between elements that change no result; then of neighbours in that row. Where windows are two
columns apart its even and odd elements lie apart, so that windows side by side are, too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from ..fields import Sizes
from ..lanes import Lanes, lanes_of, numbers_of
from ..registry import Pointer, kernel_factory
from ..scalar_operators import SCALAR
from ..shuffle import every_second
from ..simd import load_f32, store_f32
from ..target import LANES
from ..vector_operators import VECTOR
from .pool import counted
from .reduce_steps import TYPES, add, start_of
from .window import taps_inside

BAND = 8  # rows of the output that are computed at a time
LEFT = 16
"""Elements before each row of the workspace, of which windows may reach some."""

_ONE = np.float32(1.0)
_even, _odd = every_second(0), every_second(1)


def pitch_of(reach: Any) -> Any:
    """Elements of a row of workspace, of an image's row or as many as windows reach."""
    return (LEFT + reach + 3 * LANES + 15) // 16 * 16


def workspace_elements(pitch: Any) -> Any:
    """Elements of workspace for each thread: a band of rows in halves, counts, their inverses."""
    return pitch * (2 * BAND + 2)


def _rows_joined(lanes: Lanes, join: Any, taps: int) -> Any:
    """Return a function that joins rows of some slices, one below the other."""
    width, store_first, store = lanes.width, lanes.store_first, lanes.store_all
    load_all, load_first = lanes.load_all, lanes.load_first
    size, is_vector = lanes.itemsize, lanes.width > 1

    def column(load: Any) -> tuple[Any, Any]:
        @njit
        def any_joined(
            x: Pointer, c: int, left: int, slices: int, area: int, rows: int, pitch: int
        ) -> Any:
            total = load(x, c, left)
            for r in range(1, rows):
                total = join(total, load(x, r * pitch + c, left))
            for d in range(1, slices):
                for r in range(rows):
                    total = join(total, load(x, d * area + r * pitch + c, left))
            return total

        @njit
        def known_joined(
            x: Pointer, c: int, left: int, slices: int, area: int, rows: int, pitch: int
        ) -> Any:
            total = join(load(x, c, left), load(x, pitch + c, left))
            if taps == 3:
                total = join(total, load(x, 2 * pitch + c, left))
            return total

        return any_joined, known_joined

    @njit
    def load_whole(x: Pointer, index: int, left: int) -> Any:
        return load_all(x, index)

    def row(of_whole: Any, of_first: Any) -> Any:
        @njit
        def joined(
            x: Pointer, y: Pointer, length: int, slices: int, area: int, rows: int, half: int
        ) -> None:
            if not is_vector or half == 0:
                for c in range(0, length - width + 1, width):
                    store(y, c, of_whole(x, c, width, slices, area, rows, length))
                c = length // width * width
                if c < length:
                    left = length - c
                    store_first(y, c, of_first(x, c, left, slices, area, rows, length), left)
                return
            odd = y + half * size
            for c in range(0, length - 2 * width + 1, 2 * width):
                a = of_whole(x, c, width, slices, area, rows, length)
                b = of_whole(x, c + width, width, slices, area, rows, length)
                store(y, c // 2, _even(a, b))
                store(odd, c // 2, _odd(a, b))
            c = length // (2 * width) * 2 * width
            if c < length:
                left = length - c
                a = of_first(x, c, left, slices, area, rows, length)
                b = of_first(x, c + width, left - width, slices, area, rows, length)
                store_first(y, c // 2, _even(a, b), (left + 1) // 2)
                store_first(odd, c // 2, _odd(a, b), left // 2)

        return joined

    any_whole, known_whole = column(load_whole)
    any_first, known_first = column(load_first)
    of_any, of_known = row(any_whole, any_first), row(known_whole, known_first)

    @njit
    def rows_joined(
        x: Pointer, y: Pointer, length: int, slices: int, area: int, rows: int, half: int
    ) -> None:
        """Join rows; odd elements lie ``half`` elements behind the even ones, unless that is 0."""
        if taps != 0 and slices == 1 and rows == taps:
            of_known(x, y, length, slices, area, rows, half)
        else:
            of_any(x, y, length, slices, area, rows, half)

    return rows_joined


def _windows_joined(lanes: Lanes, join: Any, one: Any, scale: Any, known: int) -> Any:
    """Return a function that joins the elements under each window of a row."""
    width, load, store_first = lanes.width, lanes.load_all, lanes.store_first
    load_one, store_one, size, is_vector = lanes.load, lanes.store, lanes.itemsize, width > 1

    @njit
    def tap(x: Pointer, t: int, stride: int, half: int) -> Pointer:
        """Address of what the first window has at a distance from the first element of a row."""
        return x + ((t & 1) * half + (t >> (stride - 1))) * size

    @njit
    def windows_joined(
        x: Pointer, y: Pointer, count: int, taps: int, stride: int, pad: int, half: int,
        inverses: Pointer,
    ) -> None:  # fmt: skip
        if not is_vector or stride > 2:
            for j in range(count):
                total = load_one(x, j * stride - pad)
                for t in range(1, taps):
                    total = one(total, load_one(x, j * stride + t - pad))
                store_one(y, j, scale(total, load_one(inverses, j)))
            return
        for j in range(0, count, width):
            total = load(tap(x, -pad, stride, half), j)
            if known != 0:
                total = join(total, load(tap(x, 1 - pad, stride, half), j))
                if known == 3:
                    total = join(total, load(tap(x, 2 - pad, stride, half), j))
            else:
                for t in range(1 - pad, taps - pad):
                    total = join(total, load(tap(x, t, stride, half), j))
            store_first(y, j, scale(total, load(inverses, j)), count - j)

    return windows_joined


def _scaling(kind: str) -> Any:
    """Return what makes a result of joined elements and the inverse of their number."""
    if kind == "mean":
        return njit(lambda total, inverse: total * inverse)
    return njit(lambda total, inverse: total)


@kernel_factory
def pool_planes(kind: str, dtype: str, taps: int) -> Callable[..., int]:
    """Build the ``"max"`` or ``"mean"`` over windows of dense (images, slices, height, width).

    ``dtype`` is ``"f32"``, of maxima also ``"f64"``, ``"i8"`` or ``"u8"``; images are those of all
    channels. ``taps`` is 2 or 3 if windows have so many rows and columns, else 0. NaN where a
    window has one. Windows have no dilation, begin at most ``LEFT`` elements ahead of a row, and
    every one has an element inside. ``counting`` is an index into `pool.COUNTING`. Rows of
    workspace have ``pitch_of`` elements, the workspace of a thread ``workspace_elements``. Output
    rows of all slices are split into parts.
    """
    is_vector, is_mean = dtype == "f32", kind == "mean"
    lanes = lanes_of(dtype) if is_vector else numbers_of(dtype)
    joins = VECTOR if is_vector else SCALAR
    join, size = add if is_mean else joins["max"], lanes.itemsize
    # Numbers of rows and windows that are not of vectors' width are joined one by one.
    one = add if is_mean else SCALAR["max"]
    rows_joined = _rows_joined(lanes, join, taps)
    windows_joined = _windows_joined(lanes, join, one, _scaling(kind), taps)
    neutral = TYPES[dtype](0 if is_mean else start_of("max", TYPES[dtype]))
    store = lanes.store

    @njit
    def invert(counts: Pointer, inverses: Pointer, width: int, others: int) -> None:
        """Give inverses of the numbers of elements under windows, of which so many are others'."""
        for j in range(width):
            store_f32(inverses, j, _ONE / (load_f32(counts, j) * np.float32(others)))

    def body(
        thread: int, part: int, until: int, parts: int,
        x: Pointer, y: Pointer, sizes: Sizes, slices: int, out_slices: int,
        kernel_d: int, kernel_h: int, kernel_w: int, stride_d: int, stride_h: int, stride_w: int,
        pad_front: int, pad_top: int, pad_left: int, pad_back: int, pad_bottom: int,
        pad_right: int, counting: int, pitch: int, workspace: Pointer, workspace_bytes: int,
    ) -> int:  # fmt: skip
        space = workspace + thread * workspace_bytes
        counts, inverses = space + 2 * BAND * pitch * size, space + (2 * BAND + 1) * pitch * size
        for i in range(2 * BAND * pitch):
            store(space, i, neutral)
        if is_mean:
            for j in range(sizes.out_width):
                at = j * stride_w - pad_left
                own = counted(at, kernel_w, 1, sizes.width, pad_right, counting)
                store_f32(counts, j, np.float32(own))
        known = 0
        half = pitch if is_vector and stride_w == 2 else 0
        height, area = sizes.height, sizes.height * sizes.width
        rows = sizes.images * out_slices * sizes.out_height
        line, last = rows * part // parts, rows * until // parts
        while line < last:
            h, i = line % sizes.out_height, line // sizes.out_height
            lines = min(min(sizes.out_height - h, last - line), BAND)
            front = i % out_slices * stride_d - pad_front
            d_first, d_last = taps_inside(front, kernel_d, 1, slices)
            source = x + (i // out_slices * slices + front + d_first) * area * size
            for k in range(lines):
                top = (h + k) * stride_h - pad_top
                first, end = taps_inside(top, kernel_h, 1, height)
                at = source + (top + first) * sizes.width * size
                to = space + (2 * k * pitch + LEFT) * size
                rows_joined(at, to, sizes.width, d_last - d_first, area, end - first, half)
            for k in range(lines):
                if is_mean:
                    top = (h + k) * stride_h - pad_top
                    taps = counted(front, kernel_d, 1, slices, pad_back, counting)
                    taps *= counted(top, kernel_h, 1, height, pad_bottom, counting)
                    if taps != known:
                        invert(counts, inverses, sizes.out_width, taps)
                        known = taps
                windows_joined(
                    space + (2 * k * pitch + LEFT) * size, y + (line + k) * sizes.out_width * size,
                    sizes.out_width, kernel_w, stride_w, pad_left, half, inverses,
                )  # fmt: skip
            line += lines
        return 0

    return body
