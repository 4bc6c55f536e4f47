"""Winograd's convolution against the plain sum, in every form, at every kind of border."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from sardonyx.kernels.cpu import cook_toom, packing
from sardonyx.kernels.cpu.operands import max_rows
from sardonyx.kernels.cpu.tile import tile
from sardonyx.kernels.cpu.winograd import winograd, workspace_bytes
from sardonyx.kernels.cpu.winograd_tiles import winograd_input, winograd_output
from sardonyx.kernels.emitter import CLIP, HARD_SWISH, LEAKY_RELU, NONE
from sardonyx.kernels.fields import Depth, Scaled
from sardonyx.kernels.target import LANES

FORMS = [(2, 3), (4, 3), (2, 5)]
ONE_SLICE = dict.fromkeys(Depth._fields, 0) | dict.fromkeys(
    ("slices", "out_slices", "kernel_d", "stride_d", "dilation_d"), 1
)


def direct(x, w, pads, groups=1, strides=(1, 1)):
    """Convolve (N, H, W, C) by (M, C / groups, kh, kw), in float64."""
    top, left, bottom, right = pads
    x = np.pad(x.astype(np.float64), ((0, 0), (top, bottom), (left, right), (0, 0)))
    kh, kw = w.shape[2:]
    height, width = x.shape[1] - kh + 1, x.shape[2] - kw + 1
    per, made = w.shape[0] // groups, []
    for group in range(groups):
        part = w[group * per : (group + 1) * per].astype(np.float64)
        size = part.shape[1]
        source = x[..., group * size : (group + 1) * size]
        total = np.zeros((x.shape[0], height, width, per))
        for i, j in itertools.product(range(kh), range(kw)):
            total += source[:, i : i + height, j : j + width] @ part[:, :, i, j].T
        made.append(total)
    return np.concatenate(made, axis=-1)[:, :: strides[0], :: strides[1]]


def aligned(count):
    block = np.full(count + 16, np.nan, np.float32)
    skip = -block.ctypes.data // 4 % 16
    return block[skip : skip + count]


def run(x, w, pads, form, *, strides=(1, 1), groups=1, threads=1, block=64, bias=None,
        residual=None, pool=1, spare=0, activation=NONE, low=0.0, high=0.0):  # fmt: skip
    """Run the kernel as the threads would; the output has ``spare`` channels nobody may touch."""
    images, height, width, channels = x.shape
    (out_channels, per_channels), kernel = w.shape[:2], w.shape[2:]
    out_h = (height + pads[0] + pads[2] - kernel[0]) // strides[0] + 1
    out_w = (width + pads[1] + pads[3] - kernel[1]) // strides[1] + 1
    per_group = out_channels // groups
    mr, nv = packing.choose_tile(None, per_group, per_channels)
    tables = [
        np.array([tile(r, n).address if r else 0 for r in range(max_rows(nv) + 1)])
        for n in (nv, -(-per_group // LANES) % nv or nv)
    ]
    packed = packing.pack_points(cook_toom.transform_weights(w, form, strides), groups, nv)
    y = np.full((images, out_h // pool, out_w // pool, out_channels + spare), 7, np.float32)
    space = workspace_bytes(block, form, kernel, strides, channels, out_channels)
    work = aligned(space // 4 * threads)
    x_strides = [s // 4 for s in x.strides[:3]]
    y_strides = [s // 4 for s in y.strides[:3]]
    r_strides = [0, 0, 0] if residual is None else [s // 4 for s in residual.strides[:3]]
    for thread in range(threads):
        assert not winograd(
            thread=thread, part=thread, until=thread + 1, parts=threads, x=x, w=packed, y=y,
            bias=0 if bias is None else bias,
            residual=0 if residual is None else residual, images=images, height=height,
            width=width, channels=per_channels, out_height=out_h, out_width=out_w,
            out_channels=per_group, groups=groups, tile_h=form[0], tile_w=form[1],
            kernel_h=kernel[0], kernel_w=kernel[1], stride_h=strides[0],
            stride_w=strides[1], pool=pool, pad_top=pads[0], pad_left=pads[1], x_image=x_strides[0],
            x_row=x_strides[1], x_pixel=x_strides[2], y_image=y_strides[0],
            y_row=y_strides[1], y_pixel=y_strides[2], r_image=r_strides[0], r_row=r_strides[1],
            r_pixel=r_strides[2], mr=mr, nv=nv, tiles=tables[0], tail_tiles=tables[1],
            panel_bytes=1 << 14,
            latency=400, bytes_ahead=2048,
            inward=winograd_input(*form, *kernel, *strides),
            outward=winograd_output(*form, *kernel, *strides, pool),
            block=block, fetch=8, activation=activation, low=low, high=high, workspace=work,
            workspace_bytes=space, epilogue=0, epilogue_record=0, epilogue_operands=0, pad=0,
            spread=1, **ONE_SLICE, **dict.fromkeys(Scaled._fields, 0),
        )  # fmt: skip
    assert (y[..., out_channels:] == 7).all()
    return y[..., :out_channels]


def numbers(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize(("m", "r"), [*FORMS, (1, 1)])
def test_matrices_give_the_exact_convolution(m, r):
    """In fractions the identity of minimal filtering holds without any error."""
    a, g, b = cook_toom.matrices(m, r)
    t = m + r - 1
    for tap, place in itertools.product(range(r), range(t)):
        left = [row[tap] for row in g]
        right = [row[place] for row in b]
        points = [x * y for x, y in zip(left, right, strict=True)]
        made = [sum(c * p for c, p in zip(row, points, strict=True)) for row in a]
        assert made == [Fraction(int(i + tap == place)) for i in range(m)]


@pytest.mark.parametrize(("m", "r", "stride"), [(2, 3, 2), (4, 3, 2), (2, 5, 2), (2, 3, 1)])
def test_components_sum_to_the_exact_convolution(m, r, stride):
    """What every polyphase component makes of its samples and taps, transformed back once."""
    a = cook_toom.matrices(m, cook_toom.longest(r, stride))[0]
    samples = stride * (m - 1) + r
    for tap, place in itertools.product(range(r), range(samples)):
        made = [Fraction(0)] * m
        if tap % stride == place % stride:
            component = cook_toom.components(m, r, stride)[tap % stride]
            weights = [row[tap // stride] for row in component.g]
            weights *= len(component.b) // len(weights)
            points = [g * row[place // stride] for g, row in zip(weights, component.b, strict=True)]
            points += [Fraction(0)] * (len(a[0]) - len(points))
            made = [sum(c * p for c, p in zip(row, points, strict=True)) for row in a]
        assert made == [Fraction(int(stride * i + tap == place)) for i in range(m)]


@pytest.mark.parametrize("strides", [(1, 1), (2, 2)])
@pytest.mark.parametrize("form", [(2, 2), (2, 4), (4, 2), (4, 4)])
@pytest.mark.parametrize(
    ("size", "channels", "out_channels", "pads"),
    [
        ((1, 14, 14), 16, 32, (1, 1, 1, 1)),
        ((1, 13, 17), 5, 19, (1, 1, 1, 1)),
        ((3, 7, 7), 24, 40, (1, 1, 1, 1)),
        ((1, 9, 30), 8, 8, (0, 0, 0, 0)),
        ((1, 8, 8), 17, 70, (2, 0, 1, 3)),
        ((2, 2, 2), 3, 4, (1, 1, 1, 1)),
        ((1, 3, 200), 4, 9, (4, 7, 5, 6)),
    ],
)
def test_three_by_three(rng, form, strides, size, channels, out_channels, pads):
    x = numbers(rng, *size, channels)
    w = numbers(rng, out_channels, channels, 3, 3) / np.float32(3 * np.sqrt(channels))
    for threads in (1, 2, 3):
        made = run(x, w, pads, form, strides=strides, threads=threads, block=9, spare=5)
        expected = direct(x, w, pads, strides=strides)
        np.testing.assert_allclose(made, expected, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize(
    ("kernel", "form", "strides"),
    [((1, 3), (1, 2), (1, 1)), ((1, 3), (1, 4), (1, 1)), ((3, 1), (4, 1), (1, 1)),
     ((5, 5), (2, 2), (1, 1)), ((5, 3), (2, 4), (1, 1)), ((1, 5), (1, 2), (1, 1)),
     ((1, 3), (1, 4), (1, 2)), ((3, 1), (4, 1), (2, 1)), ((3, 3), (4, 2), (1, 2)),
     ((3, 3), (2, 4), (2, 1)), ((3, 5), (4, 2), (2, 1)), ((5, 5), (2, 2), (2, 2))],
)  # fmt: skip
def test_other_windows(rng, kernel, form, strides):
    x = numbers(rng, 2, 11, 23, 12)
    w = numbers(rng, 21, 12, *kernel) / np.float32(10)
    pads = (kernel[0] // 2, kernel[1] // 2, kernel[0] // 2, kernel[1] // 2)
    for threads in (1, 2):
        made = run(x, w, pads, form, strides=strides, threads=threads)
        expected = direct(x, w, pads, strides=strides)
        np.testing.assert_allclose(made, expected, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("strides", [(1, 1), (2, 2)])
@pytest.mark.parametrize("block", [1, 5, 64])
def test_groups_and_blocks(rng, block, strides):
    x = numbers(rng, 2, 10, 12, 3 * 8)
    w = numbers(rng, 3 * 20, 8, 3, 3) / np.float32(10)
    for threads in (1, 2, 4):
        made = run(x, w, (1, 1, 1, 1), (4, 4), strides=strides, groups=3, threads=threads,
                   block=block)  # fmt: skip
        expected = direct(x, w, (1, 1, 1, 1), 3, strides)
        np.testing.assert_allclose(made, expected, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("strides", [(1, 1), (2, 2)])
@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        (NONE, lambda y: y),
        (CLIP, lambda y: np.clip(y, -0.25, 0.5)),
        (LEAKY_RELU, lambda y: np.where(y < 0, -0.25 * y, y)),
        (HARD_SWISH, lambda y: y * np.clip(y / 6 + 0.5, 0, 1)),
    ],
)
def test_bias_residual_and_activation(rng, activation, expected, strides):
    x = numbers(rng, 1, 9, 10, 16)
    w = numbers(rng, 24, 16, 3, 3) / np.float32(10)
    bias = numbers(rng, 24)
    plain = direct(x, w, (1, 1, 1, 1), strides=strides)
    residual = numbers(rng, *plain.shape[:3], 30)[..., 3:27]
    made = run(x, w, (1, 1, 1, 1), (4, 4), strides=strides, bias=bias, residual=residual,
               activation=activation, low=-0.25, high=0.5)  # fmt: skip
    np.testing.assert_allclose(made, expected(plain + bias + residual), rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("form", [(2, 2), (2, 4), (4, 2), (4, 4)])
@pytest.mark.parametrize("size", [(1, 12, 16), (2, 7, 9), (1, 1, 6), (3, 5, 2), (1, 18, 31)])
def test_pooled(rng, form, size):
    """The last row and column of an odd image belong to no window."""
    x, w, bias = numbers(rng, *size, 11), numbers(rng, 21, 11, 3, 3), numbers(rng, 21)
    y = direct(x, w, (1, 1, 1, 1)) + bias
    height, width = size[1] // 2, size[2] // 2
    windows = y[:, : height * 2, : width * 2].reshape(size[0], height, 2, width, 2, 21)
    for threads in (1, 3):
        made = run(x, w, (1, 1, 1, 1), form, bias=bias, pool=2, threads=threads, block=5, spare=3,
                   activation=CLIP, low=0.0, high=9.0)  # fmt: skip
        np.testing.assert_allclose(made, np.clip(windows.max((2, 4)), 0, 9), rtol=1e-4, atol=1e-4)


def test_nan_is_the_largest_of_a_window(rng):
    x, w = numbers(rng, 1, 8, 8, 8), numbers(rng, 8, 8, 3, 3)
    x[0, 0, 0, 0] = np.nan
    made = run(x, w, (1, 1, 1, 1), (2, 2), pool=2)
    assert np.isnan(made[0, 0, 0]).all()
    assert not np.isnan(made[0, 2:, 2:]).any()


@pytest.mark.parametrize("strides", [(1, 1), (2, 2)])
def test_error_is_near_that_of_the_direct_sum(rng, strides):
    """Over 256 channels a tile of 4 x 4 is within a few units in the last place of the scale."""
    x = np.maximum(numbers(rng, 1, 16, 16, 256), 0)
    w = numbers(rng, 64, 256, 3, 3) / np.float32(3 * 16)
    made = run(x, w, (1, 1, 1, 1), (4, 4), strides=strides)
    error = np.abs(made - direct(x, w, (1, 1, 1, 1), strides=strides))
    assert error.max() < 1e-5
    assert np.sqrt((error**2).mean()) < 1e-6
