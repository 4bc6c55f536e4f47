"""Winograd's convolution of bytes: exact in int32, at every border, up to the largest sums."""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from sardonyx.kernels.cpu import packing
from sardonyx.kernels.cpu.cook_toom import whole_matrices
from sardonyx.kernels.cpu.operands import max_rows
from sardonyx.kernels.cpu.pairs import joined
from sardonyx.kernels.cpu.sum_stores import ENDINGS
from sardonyx.kernels.cpu.tile import tile
from sardonyx.kernels.cpu.winograd import winograd, workspace_bytes
from sardonyx.kernels.cpu.winograd_bytes import (
    most_sum,
    transform_filters,
    winograd_byte_input,
    winograd_sum_output,
)
from sardonyx.kernels.fields import Depth, Epilogue, ResidualStrides, Scaled
from sardonyx.kernels.target import LANES

FORMS = [(2, 2), (2, 4), (4, 2), (4, 4)]
ONE_SLICE = dict.fromkeys(Depth._fields, 0) | dict.fromkeys(
    ("slices", "out_slices", "kernel_d", "stride_d", "dilation_d"), 1
)


def numbers(matrix: Any) -> np.ndarray:
    return np.array([[int(x) for x in row] for row in matrix])


@pytest.mark.parametrize("m", [2, 4])
def test_matrices_of_whole_numbers_give_the_exact_convolution(m: int) -> None:
    whole = whole_matrices(m, 3)
    for tap, place in itertools.product(range(3), range(m + 2)):
        points = [g[tap] * b[place] for g, b in zip(whole.g, whole.b, strict=True)]
        made = [sum(x * p for x, p in zip(row, points, strict=True)) for row in whole.a]
        wanted = [divisor * int(i + tap == place) for i, divisor in enumerate(whole.divisors)]
        assert made == wanted
    assert all(x.denominator == 1 for each in whole[:3] for row in each for x in row)
    assert all(isinstance(x, Fraction) for row in whole.a for x in row)


@pytest.mark.parametrize("form", FORMS)
def test_points_of_bytes_and_of_weights_of_nine_bits_fit_int16(form: tuple[int, int]) -> None:
    sides = [whole_matrices(m, 3) for m in form]
    for array, low, high in (("b", 0, 255), ("g", -255, 255)):
        left, right = (numbers(getattr(side, array)) for side in sides)
        factors = np.einsum("ij,kl->ikjl", left, right).reshape(len(left) * len(right), -1)
        largest = np.maximum(factors * high, factors * low).sum(1)
        least = np.minimum(factors * high, factors * low).sum(1)
        assert largest.max() < 2**15 and least.min() >= -(2**15)


def direct(x: np.ndarray, w: np.ndarray, pads: Any, fill: int, groups: int = 1) -> np.ndarray:
    """Convolve (N, H, W, C) by (M, C / groups, 3, 3), in int64."""
    top, left, bottom, right = pads
    around = ((0, 0), (top, bottom), (left, right), (0, 0))
    x = np.pad(x.astype(np.int64), around, constant_values=fill)
    height, width, per = x.shape[1] - 2, x.shape[2] - 2, len(w) // groups
    made = []
    for group in range(groups):
        part, size = w[group * per : (group + 1) * per].astype(np.int64), w.shape[1]
        source, total = x[..., group * size : (group + 1) * size], 0
        for i, j in itertools.product(range(3), range(3)):
            total = total + source[:, i : i + height, j : j + width] @ part[:, :, i, j].T
        made.append(total)
    return np.concatenate(made, axis=-1)


def aligned(count: int) -> np.ndarray:
    block = np.full(count + 16, -1, np.int32)
    skip = -block.ctypes.data // 4 % 16
    return block[skip : skip + count]


def run(
    x: np.ndarray, w: np.ndarray, pads: Any, form: tuple[int, int], *, fill: int = 0,
    groups: int = 1, threads: int = 1, block: int = 64, bias: Any = 0, spare: int = 0,
) -> np.ndarray:  # fmt: skip
    """Run the kernel as the threads would; the output has ``spare`` channels nobody may touch."""
    images, height, width = x.shape[:3]
    out_channels, words = len(w), -(-w.shape[1] // 4)
    out_h, out_w = height + pads[0] + pads[2] - 2, width + pads[1] + pads[3] - 2
    own = x.reshape(images, height, width, groups, -1)
    own = joined(own.view(np.int8), -1).reshape(images, height, width, groups * words)
    room = [(0, 0), (0, -w.shape[1] % 4), (0, 0), (0, 0)]
    points = transform_filters(np.pad(w.astype(np.int16), room), form)
    mr, nv = packing.choose_tile(None, out_channels // groups, points.shape[1])
    tables = [
        np.array([tile(r, n, "i16").address if r else 0 for r in range(max_rows(nv) + 1)])
        for n in (nv, -(-(out_channels // groups) // LANES) % nv or nv)
    ]
    packed = packing.pack_points(points, groups, nv)
    y = np.full((images, out_h, out_w, out_channels + spare), 7, np.int32)
    space = workspace_bytes(block, form, (3, 3), (1, 1), 2 * words * groups, out_channels)
    work = aligned(space // 4 * threads)
    x_strides, y_strides = ([s // 4 for s in each.strides[:3]] for each in (own, y))
    for thread in range(threads):
        assert not winograd(
            thread=thread, part=thread, until=thread + 1, parts=threads, x=own, w=packed, y=y,
            bias=bias, residual=0, images=images, height=height, width=width, channels=2 * words,
            out_height=out_h, out_width=out_w, out_channels=out_channels // groups, groups=groups,
            tile_h=form[0], tile_w=form[1], kernel_h=3, kernel_w=3, stride_h=1, stride_w=1, pool=1,
            pad_top=pads[0], pad_left=pads[1], pad=np.full(4, fill, np.uint8), spread=2,
            x_image=x_strides[0], x_row=x_strides[1], x_pixel=x_strides[2], y_image=y_strides[0],
            y_row=y_strides[1], y_pixel=y_strides[2], mr=mr, nv=nv, tiles=tables[0],
            tail_tiles=tables[1], panel_bytes=1 << 14, latency=400, bytes_ahead=2048,
            inward=winograd_byte_input(*form),
            outward=winograd_sum_output(*form, ENDINGS[0]), block=block, fetch=8, workspace=work,
            workspace_bytes=space, **dict.fromkeys(ResidualStrides._fields, 0),
            **dict.fromkeys(Epilogue._fields, 0), **ONE_SLICE, **dict.fromkeys(Scaled._fields, 0),
        )  # fmt: skip
    assert (y[..., out_channels:] == 7).all()
    return y[..., :out_channels]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("size", "channels", "out_channels", "pads", "groups"),
    [
        ((1, 14, 14), 16, 32, (1, 1, 1, 1), 1),
        ((1, 13, 17), 5, 19, (1, 1, 1, 1), 1),
        ((3, 7, 7), 24, 40, (1, 1, 1, 1), 1),
        ((1, 9, 30), 36, 8, (0, 0, 0, 0), 1),
        ((1, 8, 8), 70, 70, (2, 0, 1, 3), 1),
        ((2, 2, 2), 3, 4, (1, 1, 1, 1), 1),
        ((1, 3, 100), 4, 9, (4, 7, 5, 6), 1),
        ((2, 6, 9), 24, 36, (1, 1, 1, 1), 2),
        ((1, 6, 9), 21, 12, (1, 0, 0, 1), 3),
    ],
)
def test_sums_of_any_size_are_exact(
    rng: Any, form: Any, size: Any, channels: int, out_channels: int, pads: Any, groups: int
) -> None:
    x = rng.integers(0, 256, (*size, channels)).astype(np.uint8)
    w = rng.integers(-128, 128, (out_channels, channels // groups, 3, 3)).astype(np.int8)
    bias = rng.integers(-(2**20), 2**20, out_channels).astype(np.int32)
    expected = direct(x, w, pads, 131, groups) + bias
    for threads in (1, 2, 3):
        made = run(
            x, w, pads, form, fill=131, groups=groups, threads=threads, block=9, spare=5, bias=bias
        )
        np.testing.assert_array_equal(made, expected)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("sign", [-1, 1])
def test_the_largest_sums_are_exact(form: tuple[int, int], sign: int) -> None:
    """Points of sums wrap in int32 long before."""
    channels = (most_sum(form) - 1) // (255 * 128 * 9)
    weight = -128 if sign < 0 else 127
    x, w = np.full((1, 4, 5, channels), 255, np.uint8), np.full((17, channels, 3, 3), weight)
    w[1::2, ::2] = -1 - weight
    expected = direct(x, w, (1, 1, 1, 1), 255)
    assert np.abs(expected).max() > most_sum(form) * 0.98
    np.testing.assert_array_equal(run(x, w, (1, 1, 1, 1), form, fill=255), expected)
