"""Attention by mma.sync in the simulator, against float64."""

import numpy as np
import pytest
from sardonyx.kernels.cuda.simulator.block import launch
from sardonyx.kernels.cuda.simulator.memory import Memory
from sardonyx.kernels.cuda.tensor_cores import warp_attention
from sardonyx.kernels.cuda.tensor_cores.attention import attention_function
from sardonyx.kernels.cuda.tensor_cores.warp_attention import AttentionTile

from .conftest import bank_conflicts, empty, meant, numbers, stored


def softmax(scores):
    top = scores.max(-1, keepdims=True)
    with np.errstate(invalid="ignore"):
        e = np.exp(scores - np.where(np.isfinite(top), top, 0))
        return np.nan_to_num(e / e.sum(-1, keepdims=True))


UNLIMITED = 1 << 40


def attended(
    rng, tile, queries, keys, head, batch=1, heads=1, sharing=1, past=0, large=1.0, right=UNLIMITED,
    lengths=None,
):  # fmt: skip
    q, k, v = (
        stored(large * rng.standard_normal((batch, count, rows, head)), tile.element)
        for count, rows in ((heads, queries), (heads // sharing, keys), (heads // sharing, keys))
    )
    y = empty((batch, heads, queries, head), tile.result)
    scale = 1 / np.sqrt(head)
    memory = Memory()
    places = [memory.place(each) for each in (q, k, v, y)]
    operands = [
        word for place, each in zip(places, (q, k, v, y), strict=True)
        for word in (place, *(stride // each.itemsize for stride in each.strides[:3]))
    ]  # fmt: skip
    mask = rng.standard_normal((batch, 1, queries, keys - 3)).astype(np.float32)
    mask[:, :, ::3, 2::5] = -np.inf
    masked = [0, 0, 0, 0, keys]
    if tile.is_masked:
        masked = [memory.place(mask), mask[0].size, 0, mask.shape[3], mask.shape[3]]
    limits = np.array([keys if lengths is None else lengths] * batch)
    at_limits = 0 if lengths is None else memory.place(limits)
    grid = (-(-queries // tile.rows) * batch, heads, 1)
    sizes = (batch, heads // sharing, sharing, queries, keys, head, head)
    status = np.zeros(1, np.int64)
    words = (at_limits, past, right, scale, memory.place(status))
    arguments = (*sizes, *operands, *masked, *words)
    blocks = launch(
        attention_function(tile),
        grid,
        tile.threads,
        arguments,
        memory,
        tile.shared_bytes,
        finds_races=True,
    )
    a, b, c = (meant(each, tile.element) for each in (q, k, v))
    b, c = (each.repeat(sharing, axis=1) for each in (b, c))
    scores = scale * a @ b.swapaxes(2, 3)
    assert status[0] == 0
    at = past if lengths is None else lengths - queries
    visible = np.arange(keys) <= np.arange(queries)[:, None] + at + right
    scores = np.where(visible & (np.arange(keys) < limits[0]), scores, -np.inf)
    if tile.is_masked:
        beyond = np.full((batch, 1, queries, 3), -np.inf)
        scores = scores + np.concatenate([mask, beyond], -1)
    expected = softmax(scores) @ c
    error = np.abs(numbers(y, tile.result) - expected).max()
    # Exponentials are rounded to 16 bits before they meet values.
    assert error < {"bf16": 2.0**-7, "f16": 2.0**-10}[tile.element] * large, error
    return blocks


def tile_of(element="f16", head=64, is_masked=False):
    return AttentionTile(element, "f32", head, rows=64, keys=64, is_masked=is_masked)


@pytest.mark.parametrize("element", ["bf16", "f16"])
def test_sizes_that_no_tile_divides(rng, element):
    attended(rng, tile_of(element), 70, 130, 40)


def test_heads_of_128_and_results_of_16_bits(rng):
    attended(rng, AttentionTile("f16", "f16", 128, rows=64), 20, 70, 128)


def test_grouped_heads_and_batches(rng):
    attended(rng, tile_of(), 5, 9, 64, batch=2, heads=4, sharing=2)


@pytest.mark.parametrize("past", [0, 61])
def test_causal(rng, past):
    attended(rng, tile_of(), 80, 80 + past, 64, past=past, right=0)


def test_rows_that_see_no_key_are_zeros(rng):
    attended(rng, tile_of(), 70, 64, 64, past=-3, right=0)


def test_lengths_and_masks(rng):
    attended(rng, tile_of(is_masked=True), 70, 80, 64, batch=2, heads=2)
    attended(rng, tile_of(is_masked=True), 5, 80, 64, right=2, lengths=66)
    attended(rng, tile_of(), 5, 80, 64, right=0, lengths=66)


@pytest.mark.parametrize("length", [-1, 81])
def test_a_length_out_of_range_is_reported(rng, length):
    with pytest.raises(AssertionError):
        attended(rng, tile_of(), 5, 80, 64, lengths=length)


def test_no_keys_at_all(rng):
    tile, memory = tile_of(), Memory()
    q, y = np.ones((3, 64), np.float16), empty((3, 64), "f32")
    places = [memory.place(q), 0, 0, 64, *[0] * 8, memory.place(y), 0, 0, 64]
    arguments = (1, 1, 1, 3, 0, 64, 64, *places, *[0] * 6, 0, UNLIMITED, 1.0, 0)
    launch(attention_function(tile), (1,), tile.threads, arguments, memory, tile.shared_bytes)
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
    for made in (attention_function, warp_attention.attend):
        made.cache_clear()
    with pytest.raises(AssertionError):
        attended(rng, tile_of(), 16, 64, 64)
    for made in (attention_function, warp_attention.attend):
        made.cache_clear()
