"""Words of groups of bytes that have no whole words, by permutations of vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sardonyx.kernels.cpu.grouped_quads import HAS_GROUPED_QUADS, grouped_quads, places

pytestmark = pytest.mark.skipif(not HAS_GROUPED_QUADS, reason="no permutation of bytes")


@pytest.mark.parametrize(
    ("groups", "channels"), [(2, 1), (4, 6), (3, 7), (4, 34), (8, 16), (5, 61)]
)
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("is_signed", [0, 1])
def test_words_of_groups(
    run: Any, rng: np.random.Generator, groups: int, channels: int, threads: int, is_signed: int
) -> None:
    """Bytes behind the channels of a group are any; those behind a result are not written."""
    images, rows, width, room = 2, 5, groups * channels, groups * channels + 3
    words = (channels + 3) // 4 * 4
    x = rng.integers(0, 256, (images, rows, room), np.uint8)
    order, starts = places(groups, channels)
    y = np.full((images * rows * groups * words + 64,), 77, np.uint8)
    run(
        grouped_quads, threads, x=x, y=y, order=order, starts=starts, images=images, rows=rows,
        width=width, size=groups * words, x_image=rows * room, x_row=room, is_signed=is_signed,
    )  # fmt: skip
    found = y[:-64].reshape(images, rows, groups, words)[..., :channels]
    wanted = x[..., :width].reshape(images, rows, groups, channels) ^ (0x80 * is_signed)
    np.testing.assert_array_equal(found, wanted)
    assert (y[-64:] == 77).all()
