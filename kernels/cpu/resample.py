"""Resampling along one axis: tables of the positions that are read, and sums of what lies there.

Axes are resampled one after the other. A table says for each position of the output which run of
positions of the input it is made of, with weights; those beyond the ends count as the outermost.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from .. import shuffle
from ..lanes import lanes_of
from ..registry import INVALID_NUMBER, Pointer, kernel, kernel_factory
from ..resampling import CORNERS, positions_in
from ..simd import (
    fma,
    load_f32,
    load_f64,
    load_i64,
    splat,
    stack_words,
    store_f32,
    store_i64,
    vload,
    vstore,
)
from ..target import LANES
from .fill import MOST_ELEMENTS
from .resize import cubic_weight, round_position

_F = np.float32
_transpose = shuffle.transpose_block(4)
_BLOCK_WORDS = LANES * LANES // 2


@njit
def _between(value: Any, low: Any, high: Any) -> Any:
    return min(max(value, low), high)


@njit
def _ratio(scale: Pointer, n_in: int, n_out: int) -> Any:
    """Scale of an axis: the float64 that is given, or that of its sizes."""
    return load_f64(scale, 0) if scale != 0 else n_out / np.float64(max(n_in, 1))


def _position_in(number: Any) -> Any:
    """Return a function that computes a position in a type of floats, and that lies in reach."""
    original_position = njit(positions_in(number))

    @njit
    def position(
        i: int, n_in: int, n_out: int, scale: Pointer, region: Pointer, region_step: int,
        coordinates: int, unrounded: int, reach: float,
    ) -> Any:  # fmt: skip
        """Position in the input of output position i, and whether it lies outside.

        Data may say any number for the scale and the region: what lies further outside than
        ``reach`` is made of the outermost element alone, and so are NaN and infinity.
        """
        ratio = _ratio(scale, n_in, n_out)
        begin = load_f64(region, 0) if region != 0 else 0.0
        end = load_f64(region, region_step) if region != 0 else 1.0
        at = np.float64(
            original_position(
                i, n_in, n_out, number(ratio), coordinates, number(begin), number(end)
            )
        )
        if coordinates == CORNERS and unrounded != 0 and n_out > 1:
            at = i * np.float64(n_in - 1) / (ratio * n_in - 1.0)
        outside = not (at >= 0 and at <= n_in - 1)
        if at != at:
            at = np.float64(-1.0)
        return _between(at, -reach - 2.0, n_in + reach + 1.0), outside

    return position


_single_position = _position_in(_F)


@njit
def _reach(taps: int, scale: Pointer, n_in: int, n_out: int, antialias: int) -> Any:
    """Positions on either side that have weight; shrinking without aliases takes more of them."""
    if antialias == 0:
        return taps / 2
    ratio = _ratio(scale, n_in, n_out)
    if not ratio > 0:
        return taps / 2
    return taps / 2 / _between(ratio, 0.0, 1.0)


@kernel
def scaled_sizes(
    thread: int, part: int, until: int, parts: int,
    counted: Pointer, sizes: Pointer, scales: Pointer, count: int,
) -> int:  # fmt: skip
    """Store ``count`` sizes (int64) times their scales (float32), rounded down after float32.

    Error 4 of scales that are not positive, or make a size that no memory holds.
    """
    for i in range(count):
        scale = load_f32(scales, i)
        size = _F(load_i64(sizes, i)) * scale
        if not (scale > 0 and size < _F(MOST_ELEMENTS)):
            return INVALID_NUMBER
        store_i64(counted, i, np.int64(math.floor(size)))
    return 0


@kernel
def nearest_positions(
    thread: int, part: int, until: int, parts: int,
    index: Pointer, n_in: int, n_out: int, scale: Pointer, region: Pointer, region_step: int,
    coordinates: int, rounding: int, unrounded: int,
) -> int:  # fmt: skip
    """Store the position (int64) of the input that is nearest to each of the output.

    ``scale`` is where a float64 lies, 0: out / in. ``region`` is where the first element of the
    region of tf_crop_and_resize lies (float64), its last ``region_step`` elements later.
    ``coordinates`` and ``rounding`` are indices into ``COORDINATES`` and ``ROUNDINGS``. With
    ``unrounded`` the output is as long for align_corners as the scale says, not as it is. Positions
    of the output are split into parts.
    """
    for i in range(n_out * part // parts, n_out * until // parts):
        at, _ = _single_position(
            i, n_in, n_out, scale, region, region_step, coordinates, unrounded, 1.0
        )
        nearest = np.int64(round_position(_F(at), rounding))
        store_i64(index, i, _between(nearest, 0, n_in - 1))
    return 0


@kernel_factory
def axis_weights(dtype: str) -> Callable[..., int]:
    """Store the run that each output position reads, first and count (int64), and its weights.

    Positions are computed and weights stored in ``dtype``, ``"f32"`` or ``"f64"``. Fields as in
    `nearest_positions`. There are ``width`` weights for each position, of which the first ``count``
    are used; a count of 0 stands for what lies outside, with ``extrapolate``. ``taps`` are 1
    (nearest), 2 (linear) or 4 (cubic, with the coefficient of R. Keys' kernel); ``antialias``
    widens the kernel where the axis shrinks, ``exclude_outside`` gives positions beyond the ends no
    weight.
    """
    lanes = lanes_of(dtype)
    number, load, store, size = lanes.number, lanes.load, lanes.store, lanes.itemsize
    position = _position_in(number)

    def body(
        thread: int, part: int, until: int, parts: int,
        index: Pointer, weight: Pointer, width: int, n_in: int, n_out: int, scale: Pointer,
        region: Pointer, region_step: int, coordinates: int, rounding: int, unrounded: int,
        taps: int, cubic: float, antialias: int, exclude_outside: int, extrapolate: int,
    ) -> int:  # fmt: skip
        if n_in < 1:
            return 0
        reach = _reach(taps, scale, n_in, n_out, antialias)
        # A scale that is data may ask for more than there is room for.
        reach = _between(reach, 0.0, 2.0 * n_in + 4.0)
        for i in range(n_out * part // parts, n_out * until // parts):
            at, outside = position(
                i, n_in, n_out, scale, region, region_step, coordinates, unrounded, reach
            )
            weights = weight + i * width * size
            if outside and extrapolate != 0:
                store_i64(index, 2 * i, 0)
                store_i64(index, 2 * i + 1, 0)
                continue
            low = np.int64(math.floor(at - reach)) + 1
            high = np.int64(math.ceil(at + reach)) - 1
            if taps == 1:
                low = high = np.int64(round_position(number(at), rounding))
            first = _between(low, 0, n_in - 1)
            count = _between(_between(high, 0, n_in - 1) - first + 1, 1, width)
            store_i64(index, 2 * i, first)
            store_i64(index, 2 * i + 1, count)
            for j in range(count):
                store(weights, j, number(0.0))
            total = 0.0
            for j in range(low, high + 1):
                distance = abs(at - j) * (taps / 2) / reach
                part_of = 1.0 - distance if taps == 2 else 1.0
                if taps == 4:
                    part_of = cubic_weight(distance, cubic)
                if exclude_outside != 0 and (j < 0 or j >= n_in):
                    continue
                total += part_of
                place = _between(j - first, 0, count - 1)
                store(weights, place, load(weights, place) + number(part_of))
            for j in range(count):
                store(weights, j, load(weights, j) / number(total if total != 0 else 1.0))
        return 0

    return body


def _row_functions(dtype: str) -> tuple[Any, Any]:
    """Return functions of dense rows: one sums up several, one fills a row."""
    lanes = lanes_of(dtype)
    size, width, load, store = lanes.itemsize, lanes.width, lanes.load, lanes.store
    load_all, store_all, splat, fma = lanes.load_all, lanes.store_all, lanes.splat, lanes.fma
    load_first, store_first = lanes.load_first, lanes.store_first

    @njit
    def blend(x: Pointer, y: Pointer, weights: Pointer, count: int, inner: int) -> None:
        """Sum up ``count`` dense rows of ``inner`` elements, one at least."""
        c, first = 0, splat(load(weights, 0))
        while c + 4 * width <= inner:
            s0, s1 = load_all(x, c) * first, load_all(x, c + width) * first
            s2, s3 = load_all(x, c + 2 * width) * first, load_all(x, c + 3 * width) * first
            for t in range(1, count):
                at, w = x + (t * inner + c) * size, splat(load(weights, t))
                s0, s1 = fma(load_all(at, 0), w, s0), fma(load_all(at, width), w, s1)
                s2 = fma(load_all(at, 2 * width), w, s2)
                s3 = fma(load_all(at, 3 * width), w, s3)
            store_all(y, c, s0)
            store_all(y, c + width, s1)
            store_all(y, c + 2 * width, s2)
            store_all(y, c + 3 * width, s3)
            c += 4 * width
        while c < inner:
            total = load_first(x, c, inner - c) * first
            for t in range(1, count):
                v = load_first(x, t * inner + c, inner - c)
                total = fma(v, splat(load(weights, t)), total)
            store_first(y, c, total, inner - c)
            c += width

    @njit
    def fill(y: Pointer, n: int, value: Any) -> None:
        for i in range(n):
            store(y, i, value)

    return blend, fill


@njit
def _load_lines(x: Pointer, length: int, lines: int, to: Pointer) -> None:
    """Store dense lines, as many as a vector has lanes at most, side by side."""
    k = 0
    while lines == LANES and k + LANES <= length:
        _transpose(x + k * 4, length * 4, to + k * LANES * 4, LANES * 4)
        k += LANES
    for j in range(k, length):
        for i in range(lines):
            store_f32(to, j * LANES + i, load_f32(x, i * length + j))


@njit
def _store_lines(block: Pointer, y: Pointer, length: int, first: int, lines: int) -> None:
    """Store positions from ``first`` on, of lines side by side, to dense lines."""
    count = min(LANES, length - first)
    if lines == LANES and count == LANES:
        _transpose(block, LANES * 4, y + first * 4, length * 4)
        return
    for i in range(lines):
        for j in range(count):
            store_f32(y, i * length + first + j, load_f32(block, j * LANES + i))


@njit
def _blend_lines(
    x: Pointer, y: Pointer, index: Pointer, weight: Pointer, width: int, n_in: int, n_out: int,
    lines: int, extrapolation: Any, workspace: Pointer,
) -> None:  # fmt: skip
    """Resample dense lines, a lane each."""
    block = stack_words(_BLOCK_WORDS)
    _load_lines(x, n_in, lines, workspace)
    for i in range(n_out):
        count, weights = load_i64(index, 2 * i + 1), weight + i * width * 4
        source, total = load_i64(index, 2 * i) * LANES, splat(extrapolation)
        if count > 0:
            total = vload(workspace, source) * splat(load_f32(weights, 0))
        for t in range(1, count):
            total = fma(vload(workspace, source + t * LANES), splat(load_f32(weights, t)), total)
        vstore(block, i % LANES * LANES, total)
        if i % LANES == LANES - 1 or i == n_out - 1:
            _store_lines(block, y, n_out, i // LANES * LANES, lines)


def workspace_bytes(n_in: Any) -> Any:
    """Bytes of workspace for each thread where lines of float32 are dense."""
    return n_in * LANES * 4


@kernel_factory
def blend_axis(dtype: str) -> Callable[..., int]:
    """Resample the middle axis of dense (outer, n_in, inner) by tables of `axis_weights`.

    Elements are of ``dtype``, ``"f32"`` or ``"f64"``. What lies outside gets ``extrapolation``.
    Where ``inner`` is 1 there is a ``workspace`` for float32, and lines are split into parts, else
    rows of the output.
    """
    number, size = lanes_of(dtype).number, lanes_of(dtype).itemsize
    has_lines = dtype == "f32"
    blend, fill = _row_functions(dtype)

    def body(
        thread: int, part: int, until: int, parts: int,
        x: Pointer, y: Pointer, index: Pointer, weight: Pointer, width: int, outer: int, n_in: int,
        n_out: int, inner: int, extrapolation: float, workspace: Pointer, workspace_bytes: int,
    ) -> int:  # fmt: skip
        if has_lines and inner == 1:
            line, last = outer * part // parts, outer * until // parts
            while line < last:
                lines = min(LANES, last - line)
                _blend_lines(
                    x + line * n_in * 4, y + line * n_out * 4, index, weight, width, n_in, n_out,
                    lines, _F(extrapolation), workspace + thread * workspace_bytes,
                )  # fmt: skip
                line += lines
            return 0
        for row in range(outer * n_out * part // parts, outer * n_out * until // parts):
            o, i = row // n_out, row % n_out
            source, target = x + o * n_in * inner * size, y + row * inner * size
            count = load_i64(index, 2 * i + 1)
            if count == 0:
                fill(target, inner, number(extrapolation))
            else:
                source += load_i64(index, 2 * i) * inner * size
                blend(source, target, weight + i * width * size, count, inner)
        return 0

    return body
