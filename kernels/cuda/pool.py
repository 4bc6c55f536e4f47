"""Pooling over windows, channels last."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..fields import Pointer
from .blocks import larger, plus
from .functions import device_function
from .kernel import Body, Fields, Launch, Limits, cuda_factory
from .launches import over_rows
from .max_pool_indices import max_pool_indices as max_pool_indices
from .memory import SIZES, several
from .threads import cuda
from .windows import LANES, on_each, window_walk

_NUMBERS: dict[str, Any] = {
    "f32": np.float32, "f64": np.float64, "i8": np.int8, "u8": np.uint8,
}  # fmt: skip


@device_function("int64")
def _counted(
    at: int, dilation: int, taps: int, size: int, before: int, after: int, counting: int
) -> int:
    """Return how many taps from a position on count: those inside, or also those of the padding."""
    if counting == 2:
        return 1
    low, high = (0, size) if counting == 0 else (-before, size + after)
    count = 0
    for tap in range(taps):
        if low <= at + tap * dilation < high:
            count += 1
    return count


def _launch(f: Fields, limits: Limits) -> Launch:
    pixels = f["images"] * f["out_slices"] * f["out_height"] * f["out_width"]
    return over_rows(pixels, -(-f["channels"] // LANES), limits)


def _joined(kind: str, dtype: str, lanes: int) -> Any:
    """Return a function that stores some channels of a pixel, what windows of x join to."""
    load, store = several(dtype, lanes)
    number, is_max = _NUMBERS[dtype], kind == "max"
    least: Any = -np.inf if dtype[0] == "f" else np.iinfo(number).min
    start, name = (number(least if is_max else 0),) * lanes, np.dtype(number).name
    join = on_each(larger if is_max else plus, 2, name, lanes)

    @device_function(f"{name} x {lanes}")
    def step(values: Any, x: Any, place: Any, w: Any, weight: Any) -> Any:
        return join(values, load(x, place))

    @device_function(name)
    def mean(value: Any, count: Any) -> Any:
        return number(value / number(max(count, 1)))

    walk, means = window_walk(step, name, lanes), on_each(mean, 2, name, lanes, 1)

    @device_function("void")
    def pixel(
        x: Any, y: Any, source: Any, target: Any, count: Any, origin: Any, sizes: Any, taps: Any,
        dilations: Any, strides: Any,
    ) -> None:  # fmt: skip
        values = walk(start, x, 0, source, 0, 0, origin, sizes, taps, dilations, strides)
        if not is_max:
            values = means(values, count)
        store(y, target, values)

    return pixel


@cuda_factory
def pool(kind: str, dtype: str) -> Body:
    """Compute maxima or means over windows, of channels with stride 1.

    What means are divided by: ``counting`` 0 the elements inside, 1 those of the padding, too, 2
    nothing. ``pad_back``, ``pad_bottom`` and ``pad_right`` are the padding behind. A thread has
    some neighbouring channels of a pixel, where they lie evenly.
    """
    several_channels, one_channel = (_joined(kind, dtype, lanes) for lanes in (LANES, 1))
    alignment = LANES * min(SIZES[dtype], 4)

    def body(
        x: Pointer, y: Pointer, images: int, channels: int, slices: int, height: int, width: int,
        out_slices: int, out_height: int, out_width: int, kernel_d: int, kernel_h: int,
        kernel_w: int, stride_d: int, stride_h: int, stride_w: int, dilation_d: int,
        dilation_h: int, dilation_w: int, pad_front: int, pad_top: int, pad_left: int,
        x_image: int, x_slice: int, x_row: int, x_pixel: int, y_image: int, y_slice: int,
        y_row: int, y_pixel: int, pad_back: int, pad_bottom: int, pad_right: int, counting: int,
        status: Pointer,
    ) -> None:  # fmt: skip
        first = cuda.blockIdx.y * cuda.blockDim.y + cuda.threadIdx.y
        column = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        step = cuda.gridDim.x * cuda.blockDim.x
        sizes, taps = (slices, height, width), (kernel_d, kernel_h, kernel_w)
        dilations, strides = (dilation_d, dilation_h, dilation_w), (x_slice, x_row, x_pixel)
        apart = x_image | x_slice | x_row | x_pixel | y_image | y_slice | y_row | y_pixel
        is_even = (x | y) % alignment == 0 and apart % LANES == 0
        together = channels // LANES * LANES if is_even else 0
        pixels = images * out_slices * out_height * out_width
        for pixel in range(first, pixels, cuda.gridDim.y * cuda.blockDim.y):
            ow, oh = pixel % out_width, pixel // out_width % out_height
            od = pixel // (out_width * out_height) % out_slices
            image = pixel // (out_width * out_height * out_slices)
            left, top = ow * stride_w - pad_left, oh * stride_h - pad_top
            front = od * stride_d - pad_front
            source, origin = image * x_image, (front, top, left)
            target = image * y_image + od * y_slice + oh * y_row + ow * y_pixel
            count = _counted(front, dilation_d, kernel_d, slices, pad_front, pad_back, counting)
            count *= _counted(top, dilation_h, kernel_h, height, pad_top, pad_bottom, counting)
            count *= _counted(left, dilation_w, kernel_w, width, pad_left, pad_right, counting)
            for c in range(LANES * column, together, LANES * step):
                several_channels(x, y, source + c, target + c, count, origin, sizes, taps,
                                 dilations, strides)  # fmt: skip
            for c in range(together + column, channels, step):
                one_channel(x, y, source + c, target + c, count, origin, sizes, taps, dilations,
                            strides)  # fmt: skip

    return Body(body, _launch)


@cuda_factory
def average_pool(
    taps: int, stride: int, columns: int, kind: str = "f32", forms: str = "all"
) -> Body | None:
    """Compute means, or sums, over windows; the parameters are forms of the CPU's kernel."""
    if kind not in ("f32", "f64"):
        return None
    whole = pool("mean", kind)
    return Body(whole.function, whole.launch)
