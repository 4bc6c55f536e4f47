"""Pooling of planes, in ONNX's order of axes: vectors along rows.

Small windows of float32 are pooled column by column of vectors (`plane_columns`), where no NaN is
read, and as much lies before and behind in memory as vectors read. Otherwise a row of the result is
made of the rows under its windows, joined element by element, which lie between elements that
change no result; then of neighbours in that row (`plane_rows`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from ..fields import Sizes
from ..lanes import lanes_of, numbers_of
from ..registry import Pointer, kernel_factory
from ..scalar_operators import SCALAR
from ..simd import any_lane, splat, store_f32, vload, vstore
from ..target import L1_BYTES, LANES
from ..vector_operators import VECTOR
from .plane_columns import BEYOND, MOST, Band, Planes, Windows, columns_joined
from .plane_rows import rows_joined, windows_joined
from .pool import counted
from .reduce_steps import TYPES, add, start_of
from .window import taps_inside

BAND = 8  # rows of the output that are computed at a time
LEFT = 16
"""Elements before each row of the workspace, of which windows may reach some."""

_ONE = np.float32(1.0)


def pitch_of(reach: Any) -> Any:
    """Elements of a row of workspace, of an image's row or as many as windows reach."""
    return (LEFT + reach + 4 * LANES + 15) // 16 * 16


def workspace_elements(pitch: Any) -> Any:
    """Elements of workspace for each thread: a band of rows in halves, counts, their inverses.

    The last row is of elements that change no result.
    """
    return pitch * (2 * BAND + 3)


def _scaling(kind: str) -> Any:
    """Return what makes a result of joined elements and the inverse of their number."""
    if kind == "mean":
        return njit(lambda total, inverse: total * inverse)
    return njit(lambda total, inverse: total)


def _counts(size: int) -> Any:
    """Return functions that give numbers of columns under windows, and inverses of those of all."""

    @njit
    def count(
        counts: Pointer, out_width: int, width: int, kernel: int, stride: int, pad: int,
        pad_right: int, counting: int,
    ) -> None:  # fmt: skip
        for j in range(out_width):
            taps = counted(j * stride - pad, kernel, 1, width, pad_right, counting)
            store_f32(counts, j, np.float32(taps))

    @njit
    def invert(counts: Pointer, inverses: Pointer, width: int, others: int) -> None:
        for j in range(0, width, LANES):
            vstore(inverses, j, splat(_ONE) / (vload(counts, j) * splat(np.float32(others))))

    return count, invert


@kernel_factory
def pool_planes(
    kind: str, dtype: str, rows: int, columns: int, row_stride: int, column_stride: int
) -> Callable[..., int]:
    """Build the ``"max"`` or ``"mean"`` over windows of dense (images, slices, height, width).

    ``dtype`` is ``"f32"``, of maxima also ``"f64"``, ``"i8"`` or ``"u8"``; images are those of all
    channels. The next parameters are `plane_columns.Windows` of one slice, which are small, of
    float32; any windows where they are 0. NaN where a window has one. Windows have no dilation,
    begin at most ``LEFT`` elements ahead of a row, and every one has an element inside.
    ``counting`` is an index into `pool.COUNTING`. Rows of workspace have ``pitch_of`` elements, the
    workspace of a thread ``workspace_elements``. Output rows of all slices are split into parts.
    """
    is_vector, is_mean = dtype == "f32", kind == "mean"
    lanes = lanes_of(dtype) if is_vector else numbers_of(dtype)
    joins = VECTOR if is_vector else SCALAR
    join, size = add if is_mean else joins["max"], lanes.itemsize
    # Numbers of rows and windows that are not of vectors' width are joined one by one.
    one, taps = add if is_mean else SCALAR["max"], rows if rows == columns in (2, 3) else 0
    row = rows_joined(lanes, join, taps)
    row_of_windows = windows_joined(lanes, join, one, _scaling(kind), taps)
    neutral = TYPES[dtype](0 if is_mean else start_of("max", TYPES[dtype]))
    windows = Windows(rows, columns, row_stride, column_stride)
    by_columns = rows != 0
    columns_of_band: Any = columns_joined(windows, is_mean) if by_columns else None
    splat_all, store_all, width = lanes.splat, lanes.store_all, lanes.width
    count, invert = _counts(size)

    @njit
    def fill(space: Pointer, length: int) -> None:
        for i in range(0, length, width):
            store_all(space, i, splat_all(neutral))

    @njit
    def quick_lines(lines: int, top: int, height: int, width: int, before: int, behind: int) -> int:
        """Lines of a plane with elements before and behind what is read of it: see `BEYOND`."""
        if before + max(top, 0) * width < MOST:
            return 0
        final = (behind - BEYOND) // width
        if final >= height:
            return lines
        return min(lines, (final - rows - top) // row_stride + 1)

    def body(
        thread: int, part: int, until: int, parts: int,
        x: Pointer, y: Pointer, sizes: Sizes, slices: int, out_slices: int,
        kernel_d: int, kernel_h: int, kernel_w: int, stride_d: int, stride_h: int, stride_w: int,
        pad_front: int, pad_top: int, pad_left: int, pad_back: int, pad_bottom: int,
        pad_right: int, counting: int, pitch: int, workspace: Pointer, workspace_bytes: int,
    ) -> int:  # fmt: skip
        space = workspace + thread * workspace_bytes
        counts, inverses = space + 2 * BAND * pitch * size, space + (2 * BAND + 1) * pitch * size
        border = space + (2 * BAND + 2) * pitch * size
        if is_mean:
            count(
                counts, sizes.out_width, sizes.width, kernel_w, stride_w, pad_left, pad_right,
                counting,
            )  # fmt: skip
        known, is_filled, careful = 0, False, 0
        half = pitch if is_vector and stride_w == 2 else 0
        height, area = sizes.height, sizes.height * sizes.width
        elements = sizes.images * slices * area
        line = sizes.images * out_slices * sizes.out_height * part // parts
        last = sizes.images * out_slices * sizes.out_height * until // parts
        if by_columns:
            fill(border, pitch)
            own = Planes(
                height, sizes.width, sizes.out_width, pad_left, pad_bottom, counting,
                border + LEFT * size, counts,
            )  # fmt: skip
            most = max(BAND, L1_BYTES // (sizes.width * size * row_stride))
        while line < last:
            h, i = line % sizes.out_height, line // sizes.out_height
            front, top = i % out_slices * stride_d - pad_front, h * stride_h - pad_top
            d_first, d_last = taps_inside(front, kernel_d, 1, slices)
            plane = (i // out_slices * slices + front + d_first) * area
            others = counted(front, kernel_d, 1, slices, pad_back, counting)
            lines = min(sizes.out_height - h, last - line)
            to, room = y + line * sizes.out_width * size, (last - line) * sizes.out_width
            if by_columns:
                quick = 0
                if line >= careful and d_last - d_first == 1:
                    read = elements - plane
                    quick = quick_lines(min(lines, most), top, height, sizes.width, plane, read)
                if quick > 0:
                    band = Band(x + plane * size, to, room, quick, top, others)
                    seen = columns_of_band(own, band, splat(np.float32(0.0)))
                    line += quick
                    if not is_mean and any_lane(seen != seen):
                        careful, line = line, line - quick
                    continue
            lines = min(lines, BAND)
            if not is_filled:
                fill(space, 2 * BAND * pitch)
                is_filled = True
            for k in range(lines):
                first, end = taps_inside(top + k * stride_h, kernel_h, 1, height)
                at = x + (plane + (top + k * stride_h + first) * sizes.width) * size
                row(
                    at, space + (2 * k * pitch + LEFT) * size, sizes.width, d_last - d_first, area,
                    end - first, half,
                )  # fmt: skip
            for k in range(lines):
                if is_mean:
                    taken = counted(top + k * stride_h, kernel_h, 1, height, pad_bottom, counting)
                    taken *= others
                    if taken != known:
                        invert(counts, inverses, sizes.out_width, taken)
                        known = taken
                row_of_windows(
                    space + (2 * k * pitch + LEFT) * size, to + k * sizes.out_width * size,
                    sizes.out_width, kernel_w, stride_w, pad_left, half, inverses,
                )  # fmt: skip
            line += lines
        return 0

    return body
