from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sardonyx.kernels.cpu.max_pool import columns_of, max_pool
from sardonyx.kernels.cpu.pool import average_pool, max_pool_indices, max_pool_wide
from sardonyx.kernels.cpu.window import columns_for
from sardonyx.kernels.fields import Depth

CASES = [
    # images, channels, height, width, kernel, stride, pads (t, l, b, r), dilation, ceil
    (1, 64, 28, 28, (3, 3), (2, 2), (0, 0, 0, 0), (1, 1), 0),
    (2, 192, 14, 15, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 0),
    (1, 100, 13, 9, (3, 2), (2, 3), (1, 0, 1, 1), (1, 1), 1),
    (1, 5, 20, 20, (5, 5), (1, 1), (2, 2, 2, 2), (1, 1), 0),
    (1, 33, 11, 12, (2, 2), (2, 2), (0, 0, 0, 0), (1, 1), 1),
    (1, 16, 17, 19, (3, 3), (2, 1), (1, 1, 1, 1), (2, 2), 0),
    (3, 128, 7, 7, (7, 7), (1, 1), (0, 0, 0, 0), (1, 1), 0),
    (1, 17, 1, 40, (1, 4), (1, 2), (0, 1, 0, 2), (1, 1), 0),
    (1, 8, 1, 1, (1, 1), (1, 1), (0, 0, 0, 0), (1, 1), 0),
    (1, 24, 10, 10, (2, 2), (1, 1), (0, 0, 1, 1), (1, 1), 0),
    (1, 12, 3, 3, (9, 9), (1, 1), (4, 4, 4, 4), (1, 1), 0),
]


ONE_SLICE = dict.fromkeys(Depth._fields, 0) | dict.fromkeys(
    ("slices", "out_slices", "kernel_d", "stride_d", "dilation_d"), 1
)


def fields(x: np.ndarray, y: np.ndarray, case: Any) -> dict[str, Any]:
    """Fields of channels-last views."""
    images, channels, height, width, kernel, stride, pads, dilation, _ = case
    xs, ys = ([s // 4 for s in t.strides] for t in (x, y))
    return dict(
        x=x, y=y, images=images, height=height, width=width, channels=channels,
        out_height=y.shape[1], out_width=y.shape[2], kernel_h=kernel[0], kernel_w=kernel[1],
        stride_h=stride[0], stride_w=stride[1], dilation_h=dilation[0], dilation_w=dilation[1],
        pad_top=pads[0], pad_left=pads[1], pad_bottom=pads[2], pad_right=pads[3],
        x_image=xs[0], x_row=xs[1], x_pixel=xs[2], y_image=ys[0], y_row=ys[1], y_pixel=ys[2],
        **ONE_SLICE,
    )  # fmt: skip


def form(case: Any, out_width: int) -> tuple[int, int, int]:
    """Parameters of the kernel: taps, stride, columns."""
    kernel, stride, dilation = case[4], case[5], case[7]
    return kernel[1] if dilation[1] == 1 else 0, stride[1], columns_for(out_width)


def maximum(case: Any, out_width: int, wide: bool) -> Any:
    """Kernel of max pooling: the one for all windows, or for small ones without dilation."""
    taps, stride, columns = form(case, out_width)
    if wide or not taps:
        return max_pool_wide(stride, columns)
    return max_pool(1, *case[4], stride, columns_of(out_width, taps))


def launch(run: Any, pool: Any, threads: int, words: dict[str, Any], padding: int = 0) -> int:
    """Run a kernel of a family with those of the fields that it has."""
    fields = words | {"counting": padding, "pad_back": 0}
    return int(run(pool, threads, **{name: fields[name] for name in pool.fields}))


def attributes(case: Any) -> dict[str, Any]:
    _, _, _, _, kernel, stride, pads, dilation, ceil = case
    return dict(kernel_shape=kernel, strides=stride, pads=pads, dilations=dilation, ceil_mode=ceil)


def inputs(rng: np.random.Generator, case: Any) -> tuple[np.ndarray, np.ndarray]:
    """Give x as ONNX has it, and channels last inside a wider tensor."""
    images, channels, height, width = case[:4]
    x = rng.standard_normal((images, channels, height, width)).astype(np.float32)
    wide = np.full((images, height, width, channels + 7), np.nan, np.float32)
    wide[..., 3 : 3 + channels] = x.transpose(0, 2, 3, 1)
    return x, wide[..., 3 : 3 + channels]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("kind", ["max", "wide max", "average", "average with padding"])
def test_pools_like_onnxruntime(
    run: Any, expected: Any, rng: np.random.Generator, case: Any, threads: int, kind: str
) -> None:
    x, view = inputs(rng, case)
    more = {} if "max" in kind else {"count_include_pad": int("padding" in kind)}
    op_type = "MaxPool" if "max" in kind else "AveragePool"
    result = expected(op_type, x, **attributes(case), **more)
    wide = np.full((*np.moveaxis(result, 1, -1).shape[:3], result.shape[1] + 4), 7, np.float32)
    y = wide[..., :-4]
    pool = average_pool(*form(case, y.shape[2]))
    if "max" in kind:
        pool = maximum(case, y.shape[2], "wide" in kind)
    assert launch(run, pool, threads, fields(view, y, case), int("padding" in kind)) == 0
    np.testing.assert_allclose(y.transpose(0, 3, 1, 2), result, rtol=1e-5, atol=1e-6)
    assert (wide[..., -4:] == 7).all()


@pytest.mark.parametrize("wide", [False, True])
def test_the_maximum_of_a_window_with_nan_is_nan(
    run: Any, rng: np.random.Generator, wide: bool
) -> None:
    case = (1, 100, 9, 9, (3, 3), (1, 1), (0, 0, 0, 0), (1, 1), 0)
    _, view = inputs(rng, case)
    view[0, 4, 4, ::3] = np.nan
    view[0, :3, :3, 1] = -np.inf
    y = np.empty((1, 7, 7, 100), np.float32)
    launch(run, maximum(case, 7, wide), 1, fields(view, y, case))
    windows = np.lib.stride_tricks.sliding_window_view(view, (3, 3), (1, 2))
    np.testing.assert_array_equal(y, windows.max((-1, -2)))


@pytest.mark.parametrize("kernel", [(1, 2), (2, 1), (2, 2), (3, 3), (3, 2), (1, 3), (4, 5), (5, 5)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("value", [np.nan, -np.nan])
def test_a_nan_is_found_wherever_it_is_in_a_window(
    run: Any, rng: np.random.Generator, kernel: tuple[int, int], stride: int, value: float
) -> None:
    """Each channel has one, at a pixel of its own."""
    size = 9
    case = (1, size * size, size, size, kernel, (stride, stride), (0, 0, 0, 0), (1, 1), 0)
    _, view = inputs(rng, case)
    for channel in range(size * size):
        view[0, channel // size, channel % size, channel] = value
    windows = np.lib.stride_tricks.sliding_window_view(view, kernel, (1, 2))
    expected = windows.max((-1, -2))[:, ::stride, ::stride]
    y = np.empty_like(expected)
    launch(run, maximum(case, y.shape[2], False), 1, fields(view, y, case))
    np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("column_major", [0, 1])
def test_indices(
    run: Any, expected: Any, rng: np.random.Generator, case: Any, column_major: int
) -> None:
    x, _ = inputs(rng, case)
    more = attributes(case) | {"storage_order": column_major}
    values, indices = expected("MaxPool", x, outputs=2, **more)
    y, found = np.empty_like(values), np.empty_like(indices)
    nhwc = fields(x.transpose(0, 2, 3, 1), y.transpose(0, 2, 3, 1), case)
    names = [name for name in max_pool_indices("f32").fields if name in nhwc]
    words = {name: nhwc[name] for name in names} | {"x": x, "y": y}
    run(max_pool_indices("f32"), 2, **words, indices=found, column_major=column_major)
    np.testing.assert_array_equal(y, values)
    np.testing.assert_array_equal(found, indices)
