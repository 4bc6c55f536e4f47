from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sardonyx.kernels.cpu.layer_norm import layer_norm
from sardonyx.kernels.cpu.norm import channel_norm, group_norm, lp_norm


def close(y: np.ndarray, result: np.ndarray) -> None:
    np.testing.assert_allclose(y, result, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("n", [1, 7, 64, 768, 1001])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("affine", [True, False])
def test_layer_norm(
    run: Any, expected: Any, rng: np.random.Generator, n: int, threads: int, affine: bool
) -> None:
    wide = (100 + rng.standard_normal((13, n + 5))).astype(np.float32)
    x, y = wide[:, 2 : 2 + n], np.empty((13, n), np.float32)
    scale, bias = rng.standard_normal((2, n)).astype(np.float32)
    means, inverses = np.empty((2, 13, 1), np.float32)
    run(
        layer_norm(0), threads, x=x, y=y, scale=scale if affine else 0, bias=bias if affine else 0,
        means=means, inverses=inverses, rows=13, n=n, x_row=n + 5, y_row=n, epsilon=1e-5,
    )  # fmt: skip
    if not affine:
        scale, bias = np.ones(n, np.float32), np.zeros(n, np.float32)
    wide64 = x.astype(np.float64)
    mean = wide64.mean(1, keepdims=True)
    inverse = 1 / np.sqrt(wide64.var(1, keepdims=True) + 1e-5)
    result = (wide64 - mean) * inverse * scale + bias
    if n > 1:
        np.testing.assert_allclose(y, result, rtol=2e-4, atol=2e-4)
        np.testing.assert_allclose(inverses, inverse, rtol=2e-4)
    np.testing.assert_allclose(means, mean, rtol=1e-6)


@pytest.mark.parametrize("n", [5, 64, 1001])
def test_rms_norm(run: Any, rng: np.random.Generator, n: int) -> None:
    x = rng.standard_normal((9, n)).astype(np.float32)
    scale = rng.standard_normal(n).astype(np.float32)
    y = np.empty_like(x)
    run(
        layer_norm(1), 2, x=x, y=y, scale=scale, bias=0, means=0, inverses=0, rows=9, n=n, x_row=n,
        y_row=n, epsilon=1e-6,
    )  # fmt: skip
    close(y, x / np.sqrt((x.astype(np.float64) ** 2).mean(1, keepdims=True) + 1e-6) * scale)


@pytest.mark.parametrize("channels", [1, 20, 64])
@pytest.mark.parametrize("threads", [1, 3])
def test_instance_norm(
    run: Any, expected: Any, rng: np.random.Generator, channels: int, threads: int
) -> None:
    x = (3 + rng.standard_normal((2, channels, 9, 11))).astype(np.float32)
    scale, bias = rng.standard_normal((2, channels)).astype(np.float32)
    result = expected("InstanceNormalization", x, scale, bias, epsilon=1e-4)
    wide = np.zeros((2, 9, 11, channels + 4), np.float32)
    wide[..., :channels] = x.transpose(0, 2, 3, 1)
    y = np.empty((2, 9, 11, channels), np.float32)
    run(
        channel_norm, threads, x=wide, y=y, scale=scale, bias=bias, images=2, pixels=99,
        channels=channels, x_image=99 * (channels + 4), x_pixel=channels + 4,
        y_image=99 * channels, y_pixel=channels, epsilon=1e-4,
    )  # fmt: skip
    close(y.transpose(0, 3, 1, 2), result)


def test_mean_variance_normalization(run: Any, expected: Any, rng: np.random.Generator) -> None:
    x = rng.standard_normal((3, 20, 4, 5)).astype(np.float32)
    result = expected("MeanVarianceNormalization", x, axes=[0, 2, 3])
    # Where nothing varies the definition says 0 / (0 + 1e-9); onnxruntime may give NaN.
    x[:, 3], result[:, 3] = 2, 0
    last = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    y = np.empty_like(last)
    run(
        channel_norm, x=last, y=y, scale=0, bias=0, images=1, pixels=60, channels=20, x_image=0,
        x_pixel=20, y_image=0, y_pixel=20, epsilon=1e-18,
    )  # fmt: skip
    close(y.transpose(0, 3, 1, 2), result)


@pytest.mark.parametrize("groups", [1, 4, 20])
@pytest.mark.parametrize("threads", [1, 2])
def test_group_norm(
    run: Any, expected: Any, rng: np.random.Generator, groups: int, threads: int
) -> None:
    x = (3 + rng.standard_normal((2, 60, 5, 7))).astype(np.float32)
    scale, bias = rng.standard_normal((2, 60)).astype(np.float32)
    grouped = x.reshape(2, groups, -1).astype(np.float64)
    mean, variance = grouped.mean(2, keepdims=True), grouped.var(2, keepdims=True)
    result = ((grouped - mean) / np.sqrt(variance + 1e-5)).reshape(x.shape)
    result = result * scale[:, None, None] + bias[:, None, None]
    last = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    y = np.empty_like(last)
    run(
        group_norm, threads, x=last, y=y, scale=scale, bias=bias, images=2, pixels=35,
        groups=groups, group=60 // groups, x_image=2100, x_pixel=60, y_image=2100, y_pixel=60,
        epsilon=1e-5,
    )  # fmt: skip
    close(y.transpose(0, 3, 1, 2), result)


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("threads", [1, 2])
def test_lp_norm(
    run: Any, expected: Any, rng: np.random.Generator, p: int, axis: int, threads: int
) -> None:
    x = rng.standard_normal((3, 21, 37)).astype(np.float32)
    result = expected("LpNormalization", x, axis=axis, p=p)
    y = np.empty_like(x)
    o, m = (a for a in range(3) if a != axis)
    xs = [s // 4 for s in x.strides]
    run(
        lp_norm(p), threads, x=x, y=y, o=x.shape[o], xo=xs[o], yo=xs[o], n=x.shape[axis],
        xs=xs[axis], ys=xs[axis], m=x.shape[m], xm=xs[m], ym=xs[m],
    )  # fmt: skip
    close(y, result)
