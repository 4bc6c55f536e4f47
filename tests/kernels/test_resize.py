from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sardonyx.kernels.cpu.resize import TAPS, resize, resize_nearest, workspace_bytes
from sardonyx.kernels.resampling import COORDINATES, ROUNDINGS


def resized(
    run: Any, x: np.ndarray, size: tuple[int, int], mode: str, scales: tuple[float, float],
    threads: int = 1, **more: Any,
) -> np.ndarray:  # fmt: skip
    """Resize NCHW through a channels-last copy inside wider tensors."""
    images, channels, height, width = x.shape
    wide = np.full((images, height, width + 1, channels + 3), np.nan, np.float32)
    view = wide[:, :, :width, 2 : 2 + channels]
    view[...] = x.transpose(0, 2, 3, 1)
    out = np.full((images, *size, channels + 2), 7, np.float32)
    y = out[..., :channels]
    xs, ys = ([s // 4 for s in t.strides] for t in (view, y))
    space = workspace_bytes(size[1], TAPS[mode])
    words: dict[str, Any] = dict(
        x=view, y=y, images=images, height=height, width=width, out_height=size[0],
        out_width=size[1], channels=channels, scale_h=scales[0], scale_w=scales[1],
        x_image=xs[0], x_row=xs[1], x_pixel=xs[2], y_image=ys[0], y_row=ys[1], y_pixel=ys[2],
        coordinates=0, rounding=0, workspace=np.zeros(threads * space, np.uint8),
        workspace_bytes=space,
    )  # fmt: skip
    kernel = resize_nearest(4)
    if mode != "nearest":
        kernel = resize(TAPS[mode])
        words |= dict(cubic=-0.75, exclude_outside=0, extrapolate=0, extrapolation=0.0, top=0.0,
                      bottom=1.0, left=0.0, right=1.0)  # fmt: skip
    assert run(kernel, threads, **(words | more)) == 0
    assert (out[..., channels:] == 7).all()
    return y.transpose(0, 3, 1, 2)


SCALES = [(2.0, 2.0), (1.5, 0.7), (0.5, 0.34), (1.0, 3.0), (2.7, 1.0)]
PLAIN = [name for name in COORDINATES if name.startswith(("half", "asym", "align", "pytorch"))]


@pytest.mark.parametrize("scales", SCALES)
@pytest.mark.parametrize("coordinate", PLAIN)
@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_nearest(
    run: Any, expected: Any, rng: np.random.Generator, scales: tuple[float, float],
    coordinate: str, rounding: str,
) -> None:  # fmt: skip
    x = rng.standard_normal((2, 37, 6, 10)).astype(np.float32)
    result = expected(
        "Resize", x, None, np.array([1, 1, *scales], np.float32), opset=19, mode="nearest",
        coordinate_transformation_mode=coordinate, nearest_mode=rounding,
    )  # fmt: skip
    y = resized(
        run, x, result.shape[2:], "nearest", scales, 2, coordinates=COORDINATES.index(coordinate),
        rounding=ROUNDINGS.index(rounding),
    )  # fmt: skip
    np.testing.assert_array_equal(y, result)


@pytest.mark.parametrize("scales", SCALES)
@pytest.mark.parametrize("coordinate", PLAIN)
@pytest.mark.parametrize("channels", [1, 3, 37])
def test_linear(
    run: Any, expected: Any, rng: np.random.Generator, scales: tuple[float, float],
    coordinate: str, channels: int,
) -> None:  # fmt: skip
    x = rng.standard_normal((2, channels, 6, 10)).astype(np.float32)
    result = expected(
        "Resize", x, None, np.array([1, 1, *scales], np.float32), opset=19, mode="linear",
        coordinate_transformation_mode=coordinate,
    )  # fmt: skip
    y = resized(
        run, x, result.shape[2:], "linear", scales, 2, coordinates=COORDINATES.index(coordinate)
    )
    np.testing.assert_allclose(y, result, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("scales", SCALES)
@pytest.mark.parametrize("coordinate", PLAIN)
@pytest.mark.parametrize("exclude", [0, 1])
@pytest.mark.parametrize("cubic", [-0.75, -0.5])
def test_cubic(
    run: Any, expected: Any, rng: np.random.Generator, scales: tuple[float, float],
    coordinate: str, exclude: int, cubic: float,
) -> None:  # fmt: skip
    x = rng.standard_normal((1, 18, 7, 9)).astype(np.float32)
    result = expected(
        "Resize", x, None, np.array([1, 1, *scales], np.float32), opset=19, mode="cubic",
        coordinate_transformation_mode=coordinate, exclude_outside=exclude, cubic_coeff_a=cubic,
    )  # fmt: skip
    y = resized(
        run, x, result.shape[2:], "cubic", scales, coordinates=COORDINATES.index(coordinate),
        exclude_outside=exclude, cubic=cubic,
    )  # fmt: skip
    np.testing.assert_allclose(y, result, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_crop_and_resize(run: Any, expected: Any, rng: np.random.Generator, mode: str) -> None:
    x = rng.standard_normal((1, 20, 8, 9)).astype(np.float32)
    roi = np.array([0, 0, -0.2, 0.3, 1, 1, 0.9, 1.4], np.float32)
    sizes = np.array([1, 20, 6, 11])
    result = expected(
        "Resize", x, roi, None, sizes, opset=19, mode=mode, extrapolation_value=3.5,
        coordinate_transformation_mode="tf_crop_and_resize",
    )  # fmt: skip
    y = resized(
        run, x, (6, 11), mode, (0.0, 0.0), 2, extrapolate=1, extrapolation=3.5, top=-0.2,
        bottom=0.9, left=0.3, right=1.4,
        coordinates=COORDINATES.index("tf_crop_and_resize"),
    )  # fmt: skip
    np.testing.assert_allclose(y, result, rtol=1e-3, atol=1e-4)


def test_sizes_give_the_scale(run: Any, expected: Any, rng: np.random.Generator) -> None:
    x = rng.standard_normal((1, 16, 5, 7)).astype(np.float32)
    result = expected("Resize", x, None, None, np.array([1, 16, 11, 3]), opset=19, mode="linear")
    y = resized(run, x, (11, 3), "linear", (0.0, 0.0))
    np.testing.assert_allclose(y, result, rtol=1e-4, atol=1e-5)
