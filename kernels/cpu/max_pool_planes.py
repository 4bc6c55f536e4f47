"""Max pooling of planes, in ONNX's order of axes: for few channels, which fill no vector.

Maxima are taken of slices, then of rows, then of columns, vectors along rows. An element taken
twice does not change a maximum: what lies beyond an edge is the outermost element again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from ..fields import Sizes
from ..lanes import Lanes, lanes_of, numbers_of
from ..registry import Pointer, kernel_factory
from ..scalar_operators import SCALAR
from ..shuffle import deinterleave
from ..target import LANES
from ..vector_operators import VECTOR

BAND = 16  # rows of the output that are computed at a time

_VECTOR = LANES * 4
_deinterleave = deinterleave(4, 2)


@njit
def _inside(at: int, size: int) -> int:
    return min(max(at, 0), size - 1)


def _maxima(lanes: Lanes, largest: Any) -> tuple[Any, Any]:
    """Return functions that store maxima of rows, and of elements side by side."""
    width, load_first, store_first = lanes.width, lanes.load_first, lanes.store_first

    @njit
    def of_rows(
        x: Pointer, y: Pointer, first: int, count: int, rows: int, pitch: int, length: int
    ) -> None:
        """Maxima of ``count`` of so many rows, from the row ``first`` on."""
        for c in range(0, length, width):
            total = load_first(x, _inside(first, rows) * pitch + c, length - c)
            for i in range(first + 1, first + count):
                more = load_first(x, _inside(i, rows) * pitch + c, length - c)
                total = largest(total, more)
            store_first(y, c, total, length - c)

    @njit
    def of_columns(x: Pointer, y: Pointer, count: int, length: int) -> None:
        """Maxima of ``count`` elements, from each of ``length`` on."""
        for c in range(0, length, width):
            total = load_first(x, c, length - c)
            for i in range(1, count):
                total = largest(total, load_first(x, c + i, length - c))
            store_first(y, c, total, length - c)

    return of_rows, of_columns


def workspace_elements(pitch: Any, kernel_h: int, stride_h: int) -> Any:
    """Elements of workspace for each thread: bands of rows, and what vectors reach beyond."""
    return pitch * ((BAND - 1) * stride_h + kernel_h + 2 * BAND) + 4 * LANES


def _thinning(lanes: Lanes) -> Any:
    """Return a function that stores elements a stride apart; vectors of them by way of a row."""
    is_vector = lanes.width > 1
    load, store, size = lanes.load, lanes.store, lanes.itemsize
    load_first, store_first = lanes.load_first, lanes.store_first

    @njit
    def thinned(x: Pointer, y: Pointer, stride: int, count: int, row: Pointer) -> None:
        if not is_vector or stride != 2:
            for i in range(count):
                store(y, i, load(x, i * stride))
            return
        for i in range(0, count, LANES):
            _deinterleave(x + 2 * i * size, _VECTOR, row, _VECTOR)
            store_first(y, i, load_first(row, 0, count - i), count - i)

    return thinned


@kernel_factory
def max_pool_planes(dtype: str) -> Callable[..., int]:
    """Build the maximum over windows of dense (images, slices, height, width); NaN if one is NaN.

    ``dtype`` is ``"f32"``, ``"f64"``, ``"i8"`` or ``"u8"``; images are those of all channels.
    Windows have no dilation, and every one has an element inside. Rows are ``pitch`` elements wide
    with their padding, as far as windows reach; the workspace of a thread has
    ``workspace_elements``. Output rows of all slices are split into parts.
    """
    is_vector = dtype == "f32"
    lanes = lanes_of(dtype) if is_vector else numbers_of(dtype)
    load, store, size = lanes.load, lanes.store, lanes.itemsize
    of_rows, of_columns = _maxima(lanes, VECTOR["max"] if is_vector else SCALAR["max"])
    thinned = _thinning(lanes)

    @njit
    def pad_rows(x: Pointer, rows: int, width: int, pitch: int, pad_left: int) -> None:
        """Repeat the outermost elements of rows around them."""
        for row in range(rows):
            at = x + row * pitch * size
            for i in range(pad_left):
                store(at, i, load(at, pad_left))
            for i in range(pad_left + width, pitch):
                store(at, i, load(at, pad_left + width - 1))

    def body(
        thread: int, part: int, until: int, parts: int,
        x: Pointer, y: Pointer, sizes: Sizes, slices: int, out_slices: int,
        kernel_d: int, kernel_h: int, kernel_w: int, stride_d: int, stride_h: int, stride_w: int,
        pad_front: int, pad_top: int, pad_left: int, pitch: int,
        workspace: Pointer, workspace_bytes: int,
    ) -> int:  # fmt: skip
        row = workspace + thread * workspace_bytes
        lower = row + 2 * LANES * size
        maxima = lower + BAND * pitch * size
        space = maxima + (BAND * pitch + 2 * LANES) * size
        height, width, count = sizes.height, sizes.width, sizes.out_width
        area, rows = height * width, sizes.images * out_slices * sizes.out_height
        line, last = rows * part // parts, rows * until // parts
        while line < last:
            h, i = line % sizes.out_height, line // sizes.out_height
            lines = min(min(sizes.out_height - h, last - line), BAND)
            top, first = h * stride_h - pad_top, i % out_slices * stride_d - pad_front
            begin = _inside(top, height)
            band = _inside(top + (lines - 1) * stride_h + kernel_h - 1, height) + 1 - begin
            source = x + (i // out_slices * slices * area + begin * width) * size
            if kernel_d == 1 and pitch == width:
                source += _inside(first, slices) * area * size
            elif pitch == width:
                of_rows(source, space, first, kernel_d, slices, area, band * width)
                source = space
            else:
                for r in range(band):
                    of_rows(source + r * width * size, space + (r * pitch + pad_left) * size,
                            first, kernel_d, slices, area, width)  # fmt: skip
                pad_rows(space, band, width, pitch, pad_left)
                source = space
            for k in range(lines):
                # Rows of the band, of which the outermost ones are those of the slice there.
                of_rows(source, lower + k * pitch * size, top + k * stride_h - begin, kernel_h,
                        band, pitch, pitch)  # fmt: skip
            target = y + line * count * size
            if stride_w != 1:
                of_columns(lower, maxima, kernel_w, lines * pitch - (kernel_w - 1))
            for k in range(lines):
                if stride_w == 1:
                    of_columns(lower + k * pitch * size, target, kernel_w, count)
                else:
                    thinned(maxima + k * pitch * size, target, stride_w, count, row)
                target += count * size
            line += lines
        return 0

    return body
