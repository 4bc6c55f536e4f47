"""Group, instance and Lp normalization, float32: a row of threads for each group or line."""

from __future__ import annotations

import math

import numpy as np

from ..fields import Pointer
from .blocks import F32_MAX, F32_SUM, larger
from .kernel import Body, Fields, Launch, Limits, cuda_factory, cuda_kernel
from .launches import over_sums
from .memory import load_f32, store_f32
from .threads import cuda

_F = np.float32


def _channels(f: Fields, limits: Limits) -> Launch:
    return over_sums(f["images"] * f["channels"], f["pixels"], limits, f["x_pixel"])


def _groups(f: Fields, limits: Limits) -> Launch:
    return over_sums(f["images"] * f["groups"], f["pixels"] * f["group"], limits)


def _lines(f: Fields, limits: Limits) -> Launch:
    return over_sums(f["o"] * f["m"], f["n"], limits, f["xs"])


@cuda_kernel(_channels)
def channel_norm(
    x: Pointer, y: Pointer, scale: Pointer, bias: Pointer, images: int, pixels: int,
    channels: int, x_image: int, x_pixel: int, y_image: int, y_pixel: int, epsilon: float,
    status: Pointer,
) -> None:  # fmt: skip
    """Normalize every channel of every image over its pixels, channels last."""
    rows = images * channels
    for begin in range(cuda.blockIdx.x * cuda.blockDim.y, rows, cuda.gridDim.x * cuda.blockDim.y):
        row = begin + cuda.threadIdx.y
        count = pixels if row < rows else 0  # all threads come to the folds
        image, c = row // channels, row % channels
        source, target = x + (image * x_image + c) * 4, y + (image * y_image + c) * 4
        mean = _F(0)
        for i in range(cuda.threadIdx.x, count, cuda.blockDim.x):
            mean += load_f32(source, i * x_pixel)
        mean = F32_SUM(mean) / _F(pixels)
        total = _F(0)
        for i in range(cuda.threadIdx.x, count, cuda.blockDim.x):
            value = load_f32(source, i * x_pixel) - mean
            total += value * value
        factor = _F(1) / _F(math.sqrt(F32_SUM(total) / _F(pixels) + _F(epsilon)))
        shift = _F(0)
        if row < rows:
            if scale != 0:
                factor *= load_f32(scale, c)
            if bias != 0:
                shift = load_f32(bias, c)
        for i in range(cuda.threadIdx.x, count, cuda.blockDim.x):
            value = (load_f32(source, i * x_pixel) - mean) * factor + shift
            store_f32(target, i * y_pixel, value)


@cuda_kernel(_groups)
def group_norm(
    x: Pointer, y: Pointer, scale: Pointer, bias: Pointer, images: int, pixels: int,
    groups: int, group: int, x_image: int, x_pixel: int, y_image: int, y_pixel: int,
    epsilon: float, status: Pointer,
) -> None:  # fmt: skip
    """Normalize groups of ``group`` neighbouring channels over their pixels, channels last."""
    rows = images * groups
    for begin in range(cuda.blockIdx.x * cuda.blockDim.y, rows, cuda.gridDim.x * cuda.blockDim.y):
        row = begin + cuda.threadIdx.y
        count = pixels * group if row < rows else 0  # all threads come to the folds
        image, c = row // groups, row % groups * group
        source, target = x + (image * x_image + c) * 4, y + (image * y_image + c) * 4
        mean = _F(0)
        for i in range(cuda.threadIdx.x, count, cuda.blockDim.x):
            mean += load_f32(source, i // group * x_pixel + i % group)
        mean = F32_SUM(mean) / _F(pixels * group)
        total = _F(0)
        for i in range(cuda.threadIdx.x, count, cuda.blockDim.x):
            value = load_f32(source, i // group * x_pixel + i % group) - mean
            total += value * value
        variance = F32_SUM(total) / _F(pixels * group)
        factor = _F(1) / _F(math.sqrt(variance + _F(epsilon)))
        for i in range(cuda.threadIdx.x, count, cuda.blockDim.x):
            j = i % group
            value = (load_f32(source, i // group * x_pixel + j) - mean) * factor
            if scale != 0:
                value *= load_f32(scale, c + j)
            if bias != 0:
                value += load_f32(bias, c + j)
            store_f32(target, i // group * y_pixel + j, value)


@cuda_factory
def lp_norm(p: int) -> Body:
    """Divide by the sum of magnitudes (1) or the root of the sum of squares (2) along one axis.

    Or by the largest number (0), which is NaN where one is. A norm of 0 leaves numbers as they are.
    """
    fold = F32_MAX if p == 0 else F32_SUM
    start = _F(-np.inf if p == 0 else 0)

    def body(
        x: Pointer, y: Pointer, o: int, xo: int, yo: int, n: int, xs: int, ys: int, m: int,
        xm: int, ym: int, status: Pointer,
    ) -> None:  # fmt: skip
        rows = o * m
        step = cuda.gridDim.x * cuda.blockDim.y
        for begin in range(cuda.blockIdx.x * cuda.blockDim.y, rows, step):
            row = begin + cuda.threadIdx.y
            count = n if row < rows else 0  # all threads come to the fold
            source = x + (row // m * xo + row % m * xm) * 4
            target = y + (row // m * yo + row % m * ym) * 4
            total = start
            for i in range(cuda.threadIdx.x, count, cuda.blockDim.x):
                value = load_f32(source, i * xs)
                if p == 0:
                    total = larger(total, value)
                else:
                    total += abs(value) if p == 1 else value * value
            total = fold(total)
            length = _F(math.sqrt(total)) if p == 2 else total
            if length == 0:
                length = _F(1)
            for i in range(cuda.threadIdx.x, count, cuda.blockDim.x):
                store_f32(target, i * ys, load_f32(source, i * xs) / length)

    return Body(body, _lines)
