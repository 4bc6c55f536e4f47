"""Half-quadratic quantization loses less than ranges do, with zero points of both kinds."""

from __future__ import annotations

import numpy as np
import pytest
from sardonyx.optimizer.quantize.block_sums import moved
from sardonyx.optimizer.quantize.half_quadratic import any_zeros, whole_zeros
from sardonyx.optimizer.quantize.scales import half_scales
from sardonyx.optimizer.quantize.weights import in_blocks, widened

F32 = np.float32


def drawn(kind: str, shape: tuple[int, int] = (48, 256)) -> np.ndarray:
    rng = np.random.default_rng(0)
    found = {
        "normal": lambda: rng.standard_normal(shape),
        "heavy tails": lambda: rng.standard_t(4, shape),
        "one outlier": lambda: rng.standard_normal(shape) + 9 * (rng.uniform(size=shape) > 0.99),
        "moved": lambda: rng.standard_normal(shape) + 0.7,
        "tiny": lambda: rng.standard_normal(shape) * 1e-30,
        "large": lambda: rng.standard_normal(shape) * 1e15,
    }[kind]()
    return found.astype(F32)


def errors(weights: np.ndarray, found: np.ndarray, block: int) -> np.ndarray:
    """Squared error of each block, as a part of its squares."""
    cut = (len(weights), -1, block)
    wrong = np.square((found.astype(np.float64) - weights).reshape(cut)).sum(-1)
    return wrong / np.square(weights.astype(np.float64).reshape(cut)).sum(-1)


@pytest.mark.parametrize("block", [16, 32, 128])
@pytest.mark.parametrize("kind", ["normal", "heavy tails", "one outlier", "moved"])
def test_grids_lose_less_than_those_of_ranges(kind, block):
    weights = drawn(kind)
    lost = {
        method: errors(weights, widened(in_blocks(weights, 1, block, method), block), block)
        for method in ("nearest", "hqq")
    }
    assert (lost["hqq"] <= lost["nearest"] * (1 + 1e-5)).all()
    assert lost["hqq"].mean() < 0.97 * lost["nearest"].mean()


@pytest.mark.parametrize("block", [16, 32, 128])
@pytest.mark.parametrize("kind", ["normal", "heavy tails", "one outlier"])
def test_zero_points_between_whole_numbers_lose_still_less(kind, block):
    weights = drawn(kind)
    blocks = weights.reshape(len(weights), -1, block)
    scales, zeros = any_zeros(blocks)
    integers = np.clip(np.rint(blocks / scales + zeros), 0, 15)
    free = errors(weights, ((integers - zeros) * scales).reshape(weights.shape), block)
    whole = errors(weights, widened(in_blocks(weights, 1, block, "hqq"), block), block)
    assert free.mean() < (0.9 if block == 32 else 0.98) * whole.mean()


@pytest.mark.parametrize("kind", ["normal", "tiny", "large"])
def test_the_error_does_not_depend_on_the_size_of_weights(kind):
    """But for scales beyond float16, which have more digits."""
    weights = drawn(kind)
    found = errors(weights, widened(in_blocks(weights, 1, 32, "hqq"), 32), 32).mean()
    assert 0.0055 < found < 0.0065


def test_no_step_is_worse_than_where_the_search_began():
    rng = np.random.default_rng(0)
    blocks = drawn("heavy tails").reshape(-1, 32)
    scales = half_scales(rng.uniform(0.05, 1, (len(blocks), 1)).astype(F32))
    zeros = rng.integers(0, 16, scales.shape).astype(F32)

    def lost(scales: np.ndarray, zeros: np.ndarray) -> np.ndarray:
        integers = np.clip(np.rint(blocks / scales + zeros), 0, 15)
        found: np.ndarray = np.square((integers - zeros) * scales - blocks).sum(-1)
        return found

    better = whole_zeros(blocks, scales, zeros)
    assert (lost(*better) <= lost(scales, zeros)).all()
    assert np.array_equal(better[1], np.rint(better[1]))
    assert better[1].min() >= 0 and better[1].max() <= 15


@pytest.mark.parametrize("fill", [0.0, 0.3, -2.0, 1e-40])
def test_blocks_of_one_number_stay_that_number(fill):
    weights = drawn("normal")
    weights[3, 32:64] = fill
    found = widened(in_blocks(weights, 1, 32, "hqq"), 32)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[3, 32:64], fill, rtol=1e-3, atol=1e-30)
    assert np.isfinite(any_zeros(weights.reshape(48, -1, 32))).all()


@pytest.mark.parametrize("kind", ["one sign", "no block"])
def test_offsets_that_lose_more_are_not_taken(kind):
    weights = drawn("normal")
    if kind == "one sign":
        signs = np.repeat(np.array([1, -1] * 4, F32), 32)
        weights = (weights * F32(0.01) + signs).astype(F32)
    assert moved(drawn("normal"), 32) is not None
    assert moved(weights, 32 if kind == "one sign" else 24) is None
