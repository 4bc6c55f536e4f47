"""Depthwise convolution, channels last: one filter a channel, vectorized over the channels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ..registry import Pointer, kernel
from ..simd import fma, select, splat, stack_words, vload, vload_first, vmax, vmin, vstore_first
from ..target import LANES
from .conv import _epilogue
from .tile import CLIP, HARD_SWISH, LEAKY_RELU

_F = np.float32


@njit
def _activate(value: Any, activation: int, low: Any, high: Any) -> Any:
    if activation == CLIP:
        return vmin(vmax(value, low), high)
    if activation == LEAKY_RELU:
        return select(value < splat(_F(0.0)), value * low, value)
    if activation == HARD_SWISH:
        gate = fma(value, splat(_F(1.0 / 6.0)), splat(_F(0.5)))
        return value * vmin(vmax(gate, splat(_F(0.0))), splat(_F(1.0)))
    return value


@kernel
def depthwise(
    thread: int,
    threads: int,
    x: Pointer,
    w: Pointer,
    bias: Pointer,
    y: Pointer,
    images: int,
    height: int,
    width: int,
    channels: int,
    out_height: int,
    out_width: int,
    kernel_h: int,
    kernel_w: int,
    stride_h: int,
    stride_w: int,
    dilation_h: int,
    dilation_w: int,
    pad_top: int,
    pad_left: int,
    x_image: int,
    x_row: int,
    x_pixel: int,
    y_image: int,
    y_row: int,
    y_pixel: int,
    activation: int,
    low: float,
    high: float,
    epilogue: Pointer,
    epilogue_record: Pointer,
    epilogue_operands: int,
) -> int:
    """Convolve each channel with its own filter; ``w`` is (kh, kw, channels) float32.

    Strides in elements; activation and epilogue as in ``conv.convolve``. Rows of all images are
    split over the threads.
    """
    block = stack_words(64)
    rows = images * out_height
    lo, hi = splat(_F(low)), splat(_F(high))
    # Output columns whose whole window lies inside.
    inner_first = min(out_width, (pad_left + stride_w - 1) // stride_w)
    room = width + pad_left - (kernel_w - 1) * dilation_w - 1
    inner_last = max(inner_first, min(out_width, room // stride_w + 1 if room >= 0 else 0))
    step = stride_w * x_pixel * 4
    for row in range(rows * thread // threads, rows * (thread + 1) // threads):
        image, h = row // out_height, row % out_height
        top = h * stride_h - pad_top
        kh_first = max(0, (-top + dilation_h - 1) // dilation_h) if top < 0 else 0
        kh_last = min(kernel_h, max(0, (height - top + dilation_h - 1) // dilation_h))
        for c in range(0, channels, LANES):
            count = channels - c
            start = splat(_F(0.0))
            if bias != 0:
                start = vload_first(bias, c, count)
            full = count >= LANES
            source = x + (image * x_image + c) * 4
            target = y + (image * y_image + h * y_row + c) * 4
            column = 0
            while column < out_width:
                left = column * stride_w - pad_left
                if column >= inner_first and column + 4 <= inner_last:
                    s0, s1, s2, s3 = start, start, start, start
                    for kh in range(kh_first, kh_last):
                        at = source + ((top + kh * dilation_h) * x_row + left * x_pixel) * 4
                        filters = w + (kh * kernel_w * channels + c) * 4
                        if full:
                            for _ in range(kernel_w):
                                f = vload(filters, 0)
                                s0 = fma(vload(at, 0), f, s0)
                                s1 = fma(vload(at + step, 0), f, s1)
                                s2 = fma(vload(at + 2 * step, 0), f, s2)
                                s3 = fma(vload(at + 3 * step, 0), f, s3)
                                at += dilation_w * x_pixel * 4
                                filters += channels * 4
                            continue
                        for _ in range(kernel_w):
                            f = vload_first(filters, 0, count)
                            s0 = fma(vload_first(at, 0, count), f, s0)
                            s1 = fma(vload_first(at + step, 0, count), f, s1)
                            s2 = fma(vload_first(at + 2 * step, 0, count), f, s2)
                            s3 = fma(vload_first(at + 3 * step, 0, count), f, s3)
                            at += dilation_w * x_pixel * 4
                            filters += channels * 4
                    out = target + column * y_pixel * 4
                    vstore_first(out, 0, _activate(s0, activation, lo, hi), count)
                    vstore_first(out, y_pixel, _activate(s1, activation, lo, hi), count)
                    vstore_first(out, 2 * y_pixel, _activate(s2, activation, lo, hi), count)
                    vstore_first(out, 3 * y_pixel, _activate(s3, activation, lo, hi), count)
                    column += 4
                    continue
                total = start
                for kh in range(kh_first, kh_last):
                    for kw in range(kernel_w):
                        at_w = left + kw * dilation_w
                        if at_w < 0 or at_w >= width:
                            continue
                        at = source + ((top + kh * dilation_h) * x_row + at_w * x_pixel) * 4
                        f = vload_first(w, (kh * kernel_w + kw) * channels + c, count)
                        total = fma(vload_first(at, 0, count), f, total)
                out = target + column * y_pixel * 4
                vstore_first(out, 0, _activate(total, activation, lo, hi), count)
                column += 1
        if epilogue != 0:
            _epilogue(
                epilogue, epilogue_record, block, epilogue_operands, image, h, 0, out_width, 0,
                channels,
            )  # fmt: skip
    return 0
