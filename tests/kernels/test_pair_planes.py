"""Pairs of the pixels of images of few planes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sardonyx.kernels.cpu.pair_planes import pair_planes


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize("planes", [1, 2, 3, 4])
@pytest.mark.parametrize("pixels", [1, 5, 16, 61, 128])
@pytest.mark.parametrize("threads", [1, 3])
def test_pairs_of_planes(
    run: Any, rng: np.random.Generator, dtype: type, planes: int, pixels: int, threads: int
) -> None:
    limits = np.iinfo(dtype)
    images, x_plane = 2, pixels + 3
    x = rng.integers(limits.min, limits.max, (images, planes, x_plane), dtype, endpoint=True)
    for zero in (None, limits.min, limits.max):
        numbers = (planes + 1) // 2 * 2
        y = np.full((images, pixels, numbers), 7, np.int16)
        code = run(
            pair_planes("u8" if dtype == np.uint8 else "i8", planes), threads,
            x=x, zero=0 if zero is None else np.array([zero], dtype), y=y, images=images,
            pixels=pixels, x_image=planes * x_plane, x_plane=x_plane,
        )  # fmt: skip
        assert code == 0
        wanted = np.zeros_like(y)
        wanted[..., :planes] = x[..., :pixels].transpose(0, 2, 1).astype(np.int16) - (zero or 0)
        np.testing.assert_array_equal(y, wanted)
