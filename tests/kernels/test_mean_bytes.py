"""Means of all pixels of images of bytes: exact sums, whatever is in them."""

from __future__ import annotations

import numpy as np
import pytest
from sardonyx.kernels.cpu.mean_bytes import CHANNELS, mean_bytes

KINDS = {"u8": np.uint8, "i8": np.int8}


@pytest.mark.parametrize("result", KINDS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [CHANNELS, CHANNELS + 1, 88, 200])
@pytest.mark.parametrize("pixels", [1, 255, 256, 257, 600])
def test_means(pixels: int, channels: int, kind: str, result: str) -> None:
    rng, limits = np.random.default_rng(pixels), np.iinfo(KINDS[kind])
    x = rng.integers(limits.min, limits.max + 1, (2, pixels, channels + 3)).astype(KINDS[kind])
    x[:, :, 0], x[:, :, 1] = limits.min, limits.max  # sums of 16 bits hold no more of these
    y = np.full((2, channels + 5), 99, KINDS[result])
    zero, ratio = {"u8": 128, "i8": -3}, np.float32(0.7)
    for part in range(3):
        assert mean_bytes(kind, result)(
            part=part, until=part + 1, parts=3, x=x, y=y, images=2, channels=channels,
            pixels=pixels, x_image=x.strides[0], x_pixel=x.strides[1], y_image=y.strides[0],
            ratio=float(ratio), x_zero=zero[kind], y_zero=zero[result],
        ) == 0  # fmt: skip
    sums = x[:, :, :channels].sum(1, dtype=np.int64) - pixels * zero[kind]
    means = np.rint(sums.astype(np.float32) * ratio / np.float32(pixels)) + zero[result]
    ends = np.iinfo(KINDS[result])
    np.testing.assert_array_equal(y[:, :channels], np.clip(means, ends.min, ends.max))
    assert (y[:, channels:] == 99).all()
