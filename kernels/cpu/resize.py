"""Resize of channels-last float32 images: nearest and linear."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from ..registry import Pointer, kernel
from ..simd import fma, splat, vload_first, vstore_first
from ..target import LANES

_F = np.float32
HALF_PIXEL, PYTORCH_HALF_PIXEL, ALIGN_CORNERS, ASYMMETRIC, HALF_PIXEL_SYMMETRIC = range(5)
ROUND_PREFER_FLOOR, ROUND_PREFER_CEIL, FLOOR, CEIL = range(4)


@njit
def _coordinate(mode: int, out: int, scale: float, size: int, out_size: int) -> Any:
    """Input coordinate of an output index (ONNX Resize, coordinate_transformation_mode)."""
    if mode == HALF_PIXEL:
        return (out + 0.5) / scale - 0.5
    if mode == PYTORCH_HALF_PIXEL:
        return (out + 0.5) / scale - 0.5 if out_size > 1 else 0.0
    if mode == ALIGN_CORNERS:
        return out * (size - 1) / (out_size - 1) if out_size > 1 else 0.0
    if mode == HALF_PIXEL_SYMMETRIC:
        adjustment = out_size / (scale * size)
        offset = size / 2 * (1 - adjustment)
        return offset + (out + 0.5) / scale - 0.5
    return out / scale


@njit
def _nearest(mode: int, x: float) -> Any:
    if mode == ROUND_PREFER_FLOOR:
        return math.ceil(x - 0.5)
    if mode == ROUND_PREFER_CEIL:
        return math.floor(x + 0.5)
    return math.floor(x) if mode == FLOOR else math.ceil(x)


@njit
def _clamp(i: int, size: int) -> Any:
    return max(0, min(i, size - 1))


@kernel
def resize(
    thread: int,
    threads: int,
    x: Pointer,
    y: Pointer,
    images: int,
    height: int,
    width: int,
    channels: int,
    out_height: int,
    out_width: int,
    scale_h: float,
    scale_w: float,
    x_image: int,
    x_row: int,
    x_pixel: int,
    y_image: int,
    y_row: int,
    y_pixel: int,
    linear: int,
    coordinates: int,
    rounding: int,
) -> int:
    """Resize (N, H, W, C); strides in elements.

    A scale of 0 stands for out / in. Output rows of all images are split over the threads.
    """
    rows = images * out_height
    by_h = scale_h if scale_h > 0.0 else out_height / max(height, 1)
    by_w = scale_w if scale_w > 0.0 else out_width / max(width, 1)
    for index in range(rows * thread // threads, rows * (thread + 1) // threads):
        image, h = index // out_height, index % out_height
        source = x + image * x_image * 4
        at_h = _coordinate(coordinates, h, by_h, height, out_height)
        for w in range(out_width):
            target = y + (image * y_image + h * y_row + w * y_pixel) * 4
            at_w = _coordinate(coordinates, w, by_w, width, out_width)
            if linear == 0:
                i = _clamp(int(_nearest(rounding, at_h)), height)
                j = _clamp(int(_nearest(rounding, at_w)), width)
                pixel = source + (i * x_row + j * x_pixel) * 4
                for c in range(0, channels, LANES):
                    vstore_first(target, c, vload_first(pixel, c, channels - c), channels - c)
                continue
            i, j = math.floor(at_h), math.floor(at_w)
            fh, fw = _F(at_h - i), _F(at_w - j)
            i0, i1 = _clamp(i, height), _clamp(i + 1, height)
            j0, j1 = _clamp(j, width), _clamp(j + 1, width)
            one = _F(1.0)
            a, b = splat((one - fh) * (one - fw)), splat((one - fh) * fw)
            d, e = splat(fh * (one - fw)), splat(fh * fw)
            p00, p01 = (
                source + (i0 * x_row + j0 * x_pixel) * 4,
                source + (i0 * x_row + j1 * x_pixel) * 4,
            )
            p10, p11 = (
                source + (i1 * x_row + j0 * x_pixel) * 4,
                source + (i1 * x_row + j1 * x_pixel) * 4,
            )
            for c in range(0, channels, LANES):
                n = channels - c
                total = vload_first(p00, c, n) * a
                total = fma(vload_first(p01, c, n), b, total)
                total = fma(vload_first(p10, c, n), d, total)
                total = fma(vload_first(p11, c, n), e, total)
                vstore_first(target, c, total, n)
    return 0
