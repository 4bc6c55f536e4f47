"""Rows as bytes by block, and their products with small weights, against whole numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sardonyx.kernels.cpu.byte_blocks import TAIL_BYTES, byte_blocks
from sardonyx.kernels.cpu.byte_product import byte_product
from sardonyx.kernels.cpu.packed_weights import (
    BITS,
    in_quads,
    is_whole,
    pack_numbers,
)
from sardonyx.kernels.cpu.weight_streams import pack_stream

KINDS = [kind for kind in BITS if is_whole(kind)]

FORMS = [("f32", np.float32), ("f16", np.float16)]
"""Of scales."""


def quantized(
    run: Any, x: np.ndarray, block: int, threads: int = 1, terms: int = 1, sums: int = 0
) -> np.ndarray:
    """Rows as the kernel rounds them: (rows, blocks, bytes), each followed by its second term."""
    rows, depth = x.shape
    blocks = -(-depth // block)
    blocks += -(-blocks // block) if sums else 0
    y = np.full((rows * terms, blocks, block + TAIL_BYTES), 99, np.uint8)
    code = run(byte_blocks, threads, x=x, y=y, rows=rows, depth=depth,
               x_row=x.strides[0] // 4, block=block, sums=sums, terms=terms)  # fmt: skip
    assert code == 0
    return y


def parts(y: np.ndarray, block: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numbers, scales and sums of blocks."""
    tails = np.ascontiguousarray(y[..., block:])
    scales, sums = tails.view(np.float32)[..., 0], tails.view(np.int32)[..., 1]
    return y[..., :block].view(np.int8), scales, sums


@pytest.mark.parametrize("block", [16, 32, 256])
def test_rounds_each_block_by_its_largest_number(
    run: Any, rng: np.random.Generator, block: int
) -> None:
    wide = rng.standard_normal((5, 103)).astype(np.float32)
    wide[2, :block] = 0
    x = wide[:, :100]
    numbers, scales, sums = parts(quantized(run, x, block, 3), block)
    blocks = numbers.shape[1]
    padded = np.zeros((5, blocks * block))
    padded[:, :100] = x
    padded = padded.reshape(5, blocks, block)
    np.testing.assert_allclose(scales, np.abs(padded).max(-1) / 127, rtol=1e-6)
    assert np.abs(numbers * scales[..., None].astype(float) - padded).max() <= scales.max() * 0.501
    assert (sums == numbers.sum(-1, dtype=np.int32)).all()


@pytest.mark.parametrize("terms", [1, 2])
@pytest.mark.parametrize(("block", "count"), [(16, 7), (32, 70), (512, 300)])
def test_sums_of_blocks_follow_them(
    run: Any, rng: np.random.Generator, block: int, count: int, terms: int
) -> None:
    """As the rounded bytes of the sums themselves, also of more than are kept."""
    x = rng.standard_normal((2, block * count)).astype(np.float32)
    x[1, 3 * block] = np.inf
    found = quantized(run, x, block, 3, terms, sums=1)[:, count:]
    sums = x.reshape(2, count, block).sum(-1)
    wanted = quantized(run, np.ascontiguousarray(sums), block, 1, terms)
    numbers, scales, totals = zip(*(parts(each, block) for each in (found, wanted)), strict=True)
    np.testing.assert_allclose(*scales, rtol=1e-5)
    exact = np.isfinite(scales[0])
    assert exact[:terms].all() and not exact[terms:].all()
    steps = np.abs(numbers[0].astype(int) - numbers[1])[exact]
    assert steps.max() <= (1 if terms == 1 else 255)  # a sum in another order may round otherwise
    assert (totals[0] == numbers[0].sum(-1, dtype=np.int32))[exact].all()


@pytest.mark.parametrize("block", [16, 32, 256])
def test_two_terms_are_near_to_what_they_stand_for(
    run: Any, rng: np.random.Generator, block: int
) -> None:
    x = (rng.standard_normal((5, 100)) * 10.0 ** rng.integers(-20, 20, (5, 100))).astype(np.float32)
    x[2, :block] = 0
    numbers, scales, sums = parts(quantized(run, x, block, 3, terms=2), block)
    blocks = numbers.shape[1]
    padded = np.zeros((5, blocks * block))
    padded[:, :100] = x
    padded = padded.reshape(5, blocks, block)
    found = (numbers * scales[..., None].astype(float)).reshape(5, 2, blocks, block).sum(1)
    largest = np.abs(padded).max(-1, keepdims=True)
    assert (np.abs(found - padded) <= largest / 32500).all()
    assert np.abs(found - padded).mean() < largest.mean() / 64000
    assert (sums == numbers.sum(-1, dtype=np.int32)).all()


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_spoil_their_block(run: Any, number: float) -> None:
    for at in (0, 17, 33, 39):
        x = np.ones((2, 40), np.float32)
        x[0, at] = number
        _, scales, _ = parts(quantized(run, x, 32), 32)
        assert (np.isnan(scales) == [[at < 32, at >= 32], [False, False]]).all()


def test_numbers_next_to_nothing_are_zeros(run: Any) -> None:
    numbers, scales, sums = parts(quantized(run, np.full((1, 16), 1e-37, np.float32), 16), 16)
    assert not numbers.any()
    assert not scales.any()
    assert not sums.any()


@pytest.mark.parametrize("terms", [1, 2])
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("block", [0, 16, 32, 128])
@pytest.mark.parametrize("kind", KINDS)
def test_multiplies_bytes(
    run: Any, rng: np.random.Generator, kind: str, block: int, threads: int, terms: int
) -> None:
    sizes = [(1, 64, 256), (3, 33, 100), (1, 1, 1), (8, 7, 65), (2, 50, 31), (5, 300, 90)]
    size, most = block or 256, 1 << BITS[kind]
    for index, (rows, depth, columns) in enumerate(sizes):
        count = -(-depth // size) if block else 1
        x = rng.standard_normal((rows, depth)).astype(np.float32)
        rounded = quantized(run, x, size, terms=terms)
        # The largest numbers there are must not saturate anything either.
        drawn = (
            rng.integers(0, most, (depth, columns))
            if index
            else np.full((depth, columns), most - 1)
        )
        weights = drawn.astype(np.uint8)
        form, dtype = FORMS[index % 2]
        scales = rng.uniform(0.1, 1, (count, columns)).astype(dtype)
        zeros = rng.integers(0, most, (count, columns)).astype(np.uint8)
        has_zeros = index % 3 != 1
        if not has_zeros:
            zeros[:] = most // 2
        bias = rng.standard_normal(columns).astype(np.float32) if index % 2 == 0 else None
        room = np.full(rows * columns + 16, 7, np.float32)
        words = pack_numbers(in_quads(weights, kind, 0), kind, 0)
        code = run(
            byte_product(kind, form, 1, terms), threads, x=rounded,
            w=pack_stream(words, scales, zeros if has_zeros else None, size, kind),
            zeros=int(has_zeros), heads=int(count > 1), bias=0 if bias is None else bias, y=room,
            rows=rows, depth=depth, columns=columns, block=size, distance=4096, zero=most // 2,
        )  # fmt: skip
        assert code == 0
        numbers, steps, _ = parts(rounded, size)
        of_row = np.arange(depth) // size
        wide = (numbers * steps[..., None].astype(float)).reshape(rows, terms, -1)
        wide = wide.sum(1)[:, :depth]
        own = of_row if block else np.zeros(depth, int)
        matrix = (weights.astype(float) - zeros[own]) * scales.astype(float)[own]
        wanted = wide @ matrix + (0 if bias is None else bias)
        found = room[:-16].reshape(rows, columns)
        assert np.abs(found - wanted).max() < 1e-5 * max(1, np.abs(wanted).max())
        assert (room[-16:] == 7).all()
