"""What tiles of a panel ask for ahead of its use."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from sardonyx.kernels.cpu.panel import run_panel
from sardonyx.kernels.cpu.tile import TILE, TILE_WORDS
from sardonyx.kernels.target import LANES

PACKED, IMAGE, LENGTH = 1 << 20, 1 << 24, 100
"""Addresses of weights and rows, which no tile of these tests reads, and products of a sum."""
PANEL_BYTES, LATENCY, AHEAD = 1 << 15, 1000, 2048


def requests(width: int, mr: int, latency: int) -> list[tuple[int, int]]:
    """Run a panel of one vector; where each call of a tile begins to ask, and its step."""
    asked = []

    @ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_int64] * 7)
    def tile(result, error, words, thread, part, until, parts):
        record = np.ctypeslib.as_array((ctypes.c_int64 * TILE_WORDS).from_address(words))
        asked.append((int(record[TILE.ahead]), int(record[TILE.ahead_step])))
        ctypes.c_int64.from_address(result).value = 0
        return 0

    address = ctypes.cast(tile, ctypes.c_void_p).value
    tiles, words = np.full(mr + 1, address, np.int64), np.zeros(TILE_WORDS, np.int64)
    words[TILE.s1], words[TILE.lda] = 1, LENGTH
    run_panel(
        tiles.ctypes.data, words.ctypes.data, LANES, PACKED, IMAGE, 0, 0, width, 1, 0, mr, 1,
        LENGTH, 1, LENGTH, True, 0, 4, PANEL_BYTES, latency, AHEAD,
    )  # fmt: skip
    return asked


@pytest.mark.parametrize("width", [1, 4])
@pytest.mark.parametrize("latency", [0, LATENCY])
def test_a_single_tile_asks_for_its_own_stream_of_weights(width: int, latency: int) -> None:
    assert requests(width, 4, latency) == [(PACKED + AHEAD, 4 * LANES)]


def test_tiles_share_requests_for_the_next_block_of_weights() -> None:
    ((ahead, step),) = requests(8, 4, 0)
    assert ahead == PACKED + 4 * LANES * LENGTH
    assert 1 <= step <= 4 * LANES // 2


def test_tiles_that_are_the_first_ask_for_rows_of_later_ones() -> None:
    ((ahead, step),) = requests(8, 4, LATENCY)
    assert ahead > IMAGE and (ahead - IMAGE) % (4 * 4 * LENGTH) == 0
    assert step == 4 * 4
