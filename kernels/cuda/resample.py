"""Resampling along one axis: tables of the positions that are read, and sums of what lies there.

The tables are those of the CPU's kernels, whose fields these have.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..cpu.fill import MOST_ELEMENTS
from ..fields import Pointer
from ..registry import INVALID_NUMBER
from ..resampling import CORNERS, positions_in
from .functions import device_function
from .kernel import Body, Fields, Launch, Limits, cuda_factory, cuda_kernel
from .launches import elements_of, over_rows, over_tiles
from .memory import LOAD, SIZES, STORE, load_f32, load_i64, store_i64
from .resize_axis import keys_cubic, rounded
from .threads import cuda

_load_f64 = LOAD["f64"]
_NUMBERS: dict[str, Any] = {"f32": np.float32, "f64": np.float64}


@device_function()
def _between(value: Any, low: Any, high: Any) -> Any:
    return min(max(value, low), high)


@device_function("float64")
def _ratio(scale: Any, n_in: Any, n_out: Any) -> Any:
    """Scale of an axis: the float64 that is given, or that of its sizes."""
    return _load_f64(scale, 0) if scale != 0 else np.float64(n_out) / np.float64(max(n_in, 1))


@device_function("float64")
def _end(region: Any, step: Any, otherwise: Any) -> Any:
    """First (step 0) or last position of a region, if there is one."""
    return _load_f64(region, step) if region != 0 else np.float64(otherwise)


@device_function("float64")
def _reach(taps: Any, scale: Any, n_in: Any, n_out: Any, antialias: Any) -> Any:
    """Positions on either side that have weight; shrinking without aliases takes more of them."""
    half = np.float64(taps) / 2.0
    ratio = _ratio(scale, n_in, n_out)
    if antialias == 0 or not ratio > 0:
        return half
    return half / min(ratio, np.float64(1))


def _position_in(kind: str) -> Any:
    """Return a function that computes a position in a type of floats: as float64, or NaN."""
    number: Any = _NUMBERS[kind]
    original = device_function("float32" if kind == "f32" else "float64")(positions_in(number))

    @device_function("float64")
    def position(
        i: int, n_in: int, n_out: int, scale: Any, region: Any, region_step: int,
        coordinates: int, unrounded: int,
    ) -> Any:  # fmt: skip
        ratio = _ratio(scale, n_in, n_out)
        if coordinates == CORNERS and unrounded != 0 and n_out > 1:
            return np.float64(i) * np.float64(n_in - 1) / (ratio * np.float64(n_in) - 1.0)
        begin, end = number(_end(region, 0, 0)), number(_end(region, region_step, 1))
        return np.float64(original(i, n_in, n_out, number(ratio), coordinates, begin, end))

    return position


@device_function("float64")
def _in_reach(at: Any, n_in: Any, reach: Any) -> Any:
    """Position no further outside than what the outermost element alone makes; -1 of NaN."""
    if at != at:
        at = np.float64(-1)
    return _between(at, -reach - 2.0, np.float64(n_in) + reach + 1.0)


_single = _position_in("f32")


def _once(f: Fields, limits: Limits) -> Launch:
    return over_tiles(1, 1, limits)


@cuda_kernel(_once)
def scaled_sizes(
    counted: Pointer, sizes: Pointer, scales: Pointer, count: int, status: Pointer
) -> None:
    """Store ``count`` sizes (int64) times their scales (float32), rounded down after float32.

    Error 4 of scales that are not positive, or make a size that no memory holds.
    """
    for i in range(count):
        scale = load_f32(scales, i)
        size = np.float32(load_i64(sizes, i)) * scale
        if scale > 0 and size < np.float32(MOST_ELEMENTS):
            store_i64(counted, i, np.int64(math.floor(size)))
        else:
            store_i64(counted, i, 0)
            store_i64(status, 0, INVALID_NUMBER)


@cuda_kernel(elements_of("n_out"))
def nearest_positions(
    index: Pointer, n_in: int, n_out: int, scale: Pointer, region: Pointer, region_step: int,
    coordinates: int, rounding: int, unrounded: int, status: Pointer,
) -> None:  # fmt: skip
    """Store the position (int64) of the input that is nearest to each of the output."""
    for i in range(cuda.grid(1), n_out, cuda.gridsize(1)):
        at = _single(i, n_in, n_out, scale, region, region_step, coordinates, unrounded)
        nearest = rounded(np.float32(_in_reach(at, n_in, np.float64(1))), rounding)
        store_i64(index, i, _between(nearest, 0, n_in - 1))


@cuda_factory
def axis_weights(dtype: str) -> Body:
    """Store the run that each output position reads, first and count (int64), and its weights."""
    number, size = _NUMBERS[dtype], SIZES[dtype]
    load, store, position = LOAD[dtype], STORE[dtype], _position_in(dtype)

    def body(
        index: Pointer, weight: Pointer, width: int, n_in: int, n_out: int, scale: Pointer,
        region: Pointer, region_step: int, coordinates: int, rounding: int, unrounded: int,
        taps: int, cubic: float, antialias: int, exclude_outside: int, extrapolate: int,
        status: Pointer,
    ) -> None:  # fmt: skip
        reach = _reach(taps, scale, n_in, n_out, antialias)
        # A scale that is data may ask for more than there is room for.
        reach = _between(reach, np.float64(0), 2.0 * np.float64(n_in) + 4.0)
        for i in range(cuda.grid(1), n_out if n_in > 0 else 0, cuda.gridsize(1)):
            at = position(i, n_in, n_out, scale, region, region_step, coordinates, unrounded)
            weights = weight + i * width * size
            outside = not (at >= 0 and at <= n_in - 1)
            at = _in_reach(at, n_in, reach)
            low = np.int64(math.floor(at - reach)) + 1
            high = np.int64(math.ceil(at + reach)) - 1
            if taps == 1:
                low = high = rounded(np.float32(at), rounding)
            first = _between(low, 0, n_in - 1)
            count = _between(_between(high, 0, n_in - 1) - first + 1, 1, width)
            if outside and extrapolate != 0:
                first, count, high = 0, 0, low - 1
            store_i64(index, 2 * i, first)
            store_i64(index, 2 * i + 1, count)
            for j in range(count):
                store(weights, j, number(0))
            total = np.float64(0)
            for j in range(low, high + 1):
                distance = abs(at - np.float64(j)) * (np.float64(taps) / 2.0) / reach
                part = 1.0 - distance if taps == 2 else np.float64(1)
                if taps == 4:
                    part = keys_cubic(distance, np.float64(cubic))
                if exclude_outside == 0 or 0 <= j < n_in:
                    total += part
                    place = _between(j - first, 0, count - 1)
                    store(weights, place, number(load(weights, place) + number(part)))
            divisor = number(total if total != 0 else 1.0)
            for j in range(count):
                store(weights, j, number(load(weights, j) / divisor))

    return Body(body, elements_of("n_out"))


def _rows(f: Fields, limits: Limits) -> Launch:
    return over_rows(f["outer"] * f["n_out"], f["inner"], limits)


@cuda_factory
def blend_axis(dtype: str) -> Body:
    """Resample the middle axis of dense (outer, n_in, inner) by tables of `axis_weights`."""
    number, size, load, store = _NUMBERS[dtype], SIZES[dtype], LOAD[dtype], STORE[dtype]

    def body(
        x: Pointer, y: Pointer, index: Pointer, weight: Pointer, width: int, outer: int, n_in: int,
        n_out: int, inner: int, extrapolation: float, status: Pointer,
    ) -> None:  # fmt: skip
        first = cuda.blockIdx.y * cuda.blockDim.y + cuda.threadIdx.y
        column = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        for row in range(first, outer * n_out, cuda.gridDim.y * cuda.blockDim.y):
            i, count = row % n_out, load_i64(index, 2 * (row % n_out) + 1)
            weights = weight + i * width * size
            source = (row // n_out * n_in + load_i64(index, 2 * i)) * inner
            for c in range(column, inner, cuda.gridDim.x * cuda.blockDim.x):
                total = number(0 if count > 0 else extrapolation)
                for t in range(count):
                    total += number(load(x, source + t * inner + c) * load(weights, t))
                store(y, row * inner + c, total)

    return Body(body, _rows)
