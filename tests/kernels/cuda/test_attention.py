"""Attention by mma.sync in the simulator, against float64."""

import numpy as np
import pytest
from sardonyx.kernels.cuda.simulator.block import launch
from sardonyx.kernels.cuda.simulator.memory import Memory
from sardonyx.kernels.cuda.tensor_cores import warp_attention
from sardonyx.kernels.cuda.tensor_cores.attention import attention
from sardonyx.kernels.cuda.tensor_cores.warp_attention import AttentionTile

from .conftest import bank_conflicts, empty, meant, numbers, stored


def softmax(scores):
    top = scores.max(-1, keepdims=True)
    with np.errstate(invalid="ignore"):
        e = np.exp(scores - np.where(np.isfinite(top), top, 0))
        return np.nan_to_num(e / e.sum(-1, keepdims=True))


def attended(rng, tile, queries, keys, head, batch=1, heads=1, sharing=1, past=0, large=1.0):
    q, k, v = (
        stored(large * rng.standard_normal((batch, count, rows, head)), tile.element)
        for count, rows in ((heads, queries), (heads // sharing, keys), (heads // sharing, keys))
    )
    y = empty((batch, heads, queries, head), tile.result)
    scale = 1 / np.sqrt(head)
    memory = Memory()
    places = [memory.place(each) for each in (q, k, v, y)]
    strides = [each.strides[axis] for axis in (2, 1, 0) for each in (q, k, v, y)]
    sizes = (queries, keys, head, sharing, past, np.float32(scale * np.log2(np.e)))
    grid = (-(-queries // tile.rows), heads, batch)
    arguments = (*places, *sizes, *strides, 0)
    blocks = launch(
        attention(tile), grid, tile.threads, arguments, memory, tile.shared_bytes, finds_races=True
    )
    a, b, c = (meant(each, tile.element) for each in (q, k, v))
    b, c = (each.repeat(sharing, axis=1) for each in (b, c))
    scores = scale * a @ b.swapaxes(2, 3)
    if tile.is_causal:
        visible = np.arange(keys) <= np.arange(queries)[:, None] + past
        scores = np.where(visible, scores, -np.inf)
    expected = softmax(scores) @ c
    error = np.abs(numbers(y, tile.result) - expected).max()
    # Exponentials are rounded to 16 bits before they meet values.
    assert error < {"bf16": 2.0**-7, "f16": 2.0**-10}[tile.element] * large, error
    return blocks


def tile_of(element="f16", head=64, is_causal=False):
    return AttentionTile(element, "f32", head, rows=64, keys=64, is_causal=is_causal)


@pytest.mark.parametrize("element", ["bf16", "f16"])
def test_sizes_that_no_tile_divides(rng, element):
    attended(rng, tile_of(element), 70, 130, 40)


def test_heads_of_128_and_results_of_16_bits(rng):
    attended(rng, AttentionTile("f16", "f16", 128, rows=64), 20, 70, 128)


def test_grouped_heads_and_batches(rng):
    attended(rng, tile_of(), 5, 9, 64, batch=2, heads=4, sharing=2)


@pytest.mark.parametrize("past", [0, 61])
def test_causal(rng, past):
    attended(rng, tile_of(is_causal=True), 80, 80 + past, 64, past=past)


def test_rows_that_see_no_key_are_zeros(rng):
    attended(rng, tile_of(is_causal=True), 70, 64, 64, past=-3)


def test_no_keys_at_all(rng):
    tile, memory = tile_of(), Memory()
    q, y = np.ones((3, 64), np.float16), empty((3, 64), "f32")
    places = [memory.place(q), 0, 0, memory.place(y)]
    arguments = (*places, 3, 0, 64, 1, 0, 1.0, 128, 0, 0, 256, *[0] * 9)
    launch(attention(tile), (1,), tile.threads, arguments, memory, tile.shared_bytes)
    assert (y == 0).all()


def test_large_scores(rng):
    """Of a row they differ by hundreds, so that all but one vanish."""
    attended(rng, tile_of(), 16, 100, 64, large=30.0)


def test_no_bank_serves_two_lanes_at_once(rng):
    lost = bank_conflicts(attended(rng, tile_of(), 64, 128, 64))
    assert not any(lost.values()), lost


def test_fragments_that_are_exchanged_fail(rng, monkeypatch):
    """The two halves of a fragment of exponentials in the wrong order."""
    right = warp_attention._values

    def wrong(tile):
        return [line.replace("{%p0, %p1,", "{%p1, %p0,") for line in right(tile)]

    monkeypatch.setattr(warp_attention, "_values", wrong)
    for made in (attention, warp_attention.attend):
        made.cache_clear()
    with pytest.raises(AssertionError):
        attended(rng, tile_of(), 16, 64, 64)
    for made in (attention, warp_attention.attend):
        made.cache_clear()
