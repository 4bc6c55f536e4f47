"""Histograms count over many arrays as over one; ranges are those of their methods."""

from __future__ import annotations

import numpy as np
import pytest
from sardonyx.optimizer.quantize.histogram import BINS, Histogram, added
from sardonyx.optimizer.quantize.ranges import LEVELS, METHODS, Range, choose
from sardonyx.optimizer.quantize.weights import by_channel, in_blocks

F32 = np.float32


def counted(*arrays: np.ndarray) -> Histogram:
    histogram = Histogram()
    for array in arrays:
        assert histogram.add(np.asarray(array, F32))
    return histogram


def noise(numbers: np.ndarray, chosen: Range) -> float:
    """Squared error of quantizing, as a part of the square, counted number by number."""
    scale, zero = np.float64(chosen.scale), int(chosen.zero)
    places = np.clip(np.rint(numbers / scale) + zero, 0, LEVELS)
    return float(np.square((places - zero) * scale - numbers).sum() / np.square(numbers).sum())


@pytest.mark.parametrize("seed", range(5))
def test_counts_are_those_of_numpy_whatever_the_order(seed):
    rng = np.random.default_rng(seed)
    arrays = [(rng.standard_normal(rng.integers(1, 9999)) * 4.0**k).astype(F32) for k in range(5)]
    rng.shuffle(arrays)
    found = counted(*arrays)
    numbers = np.concatenate(arrays).astype(np.float64)
    assert found.exponent is not None
    reach = 2.0**found.exponent
    assert reach / 2 <= np.abs(numbers).max() < reach
    assert (found.least, found.largest) == (numbers.min(), numbers.max())
    expected, _ = np.histogram(numbers, BINS, (-reach, reach))
    assert found.counts.sum() == numbers.size
    # Rounding of float32 may move a number to the neighbouring bin.
    assert np.abs(np.cumsum(found.counts - expected)).max() <= 8
    assert found.means == pytest.approx(
        (np.mean([a.min() for a in arrays]), np.mean([a.max() for a in arrays]))
    )


def test_histograms_of_several_tensors_are_added(rng):
    arrays = [(rng.standard_normal(999) * scale).astype(F32) for scale in (0.01, 7, 0)]
    together = counted(*arrays)
    found = added([counted(array) for array in arrays])
    np.testing.assert_array_equal(found.counts, together.counts)
    assert (found.least, found.largest) == (together.least, together.largest)


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_not_counted(number):
    histogram = counted([1, 2])
    assert not histogram.add(np.array([1, number], F32))
    assert histogram.counts.sum() == 2 and histogram.largest == 2


@pytest.mark.parametrize("numbers", [[0, 0], [1e-38, -1e-40], [3, 3], [-2], [3e38, -3e38], [0, 1]])
@pytest.mark.parametrize("method", ["auto", *METHODS])
def test_odd_tensors_have_a_range_with_zero(numbers, method):
    chosen = choose(counted(numbers), method, 99.99)
    assert chosen.low <= 0 <= chosen.high
    assert np.isfinite(chosen.scale) and chosen.scale > 0
    assert chosen.is_empty == (max(np.abs(numbers)) < 1e-30)
    if not chosen.is_empty:
        assert noise(np.array(numbers, np.float64), chosen) < 0.1


@pytest.mark.parametrize("draw", ["normal", "relu", "outliers", "two"])
def test_the_least_error_is_found_and_told(draw, rng):
    numbers = rng.standard_normal(50_000)
    if draw == "relu":
        numbers = np.maximum(numbers, 0)
    if draw == "outliers":
        numbers = rng.standard_t(3, 50_000)
    if draw == "two":
        numbers = np.where(numbers > 0, numbers + 5, numbers * 0.1)
    numbers = numbers.astype(F32).astype(np.float64)
    histogram = counted(numbers)
    found = {name: choose(histogram, name, 99.99) for name in METHODS}
    for each in found.values():
        assert each.noise == pytest.approx(noise(numbers, each), rel=0.1)
    best = choose(histogram, "auto", 99.99)
    assert best.noise == min(each.noise for each in found.values())
    assert best.noise <= found["minmax"].noise
    assert found["mse"].noise <= 1.05 * best.noise


def test_methods_choose_what_they_say(rng):
    arrays = [rng.uniform(-1, 2, 10_000).astype(F32), np.full(3, 9, F32)]
    histogram = counted(*arrays)
    minmax, average = (choose(histogram, name, 99) for name in ("minmax", "average"))
    assert (minmax.low, minmax.high) == (arrays[0].min(), 9)
    assert average.high == pytest.approx((arrays[0].max() + 9) / 2)
    percentile = choose(histogram, "percentile", 99)
    expected = np.percentile(np.concatenate(arrays), [0.5, 99.5])
    np.testing.assert_allclose([percentile.low, percentile.high], expected, atol=0.01)
    outliers = counted(rng.standard_t(2, 99_999))
    assert choose(outliers, "entropy", 99).high < outliers.largest / 4


def test_biases_fit_whatever_the_weights(rng):
    weights = rng.standard_normal((5, 8)).astype(F32)
    weights[1] = 0
    weights[2] *= F32(1e-20)
    bias = np.array([1, 0.3, 2, 0, -4], F32)
    integers, scales = by_channel(weights, 0, bias, 0.05)
    whole = np.rint(bias / (scales.astype(np.float64) * 0.05))
    assert np.abs(whole).max() < 2**31
    np.testing.assert_allclose(whole * scales * 0.05, bias, rtol=1e-4)
    kept = [0, 3, 4]
    error = np.abs(integers * scales[:, None] - weights)[kept].max(1)
    assert (error <= scales[kept] / 2 * 1.001).all()
    assert integers.min() >= -127


@pytest.mark.parametrize(("axis", "shape"), [(0, (64, 9)), (1, (9, 64)), (0, (70, 3)), (1, (3, 5))])
@pytest.mark.parametrize("method", ["nearest", "mse"])
def test_blocks_lie_along_their_axis(axis, shape, method, rng):
    weights = rng.standard_normal(shape).astype(F32)
    found = in_blocks(weights, axis, 32, method)
    assert found.integers.shape == shape
    count = -(-shape[axis] // 32)
    assert found.scales.shape == tuple(count if i == axis else n for i, n in enumerate(shape))

    def spread(each: np.ndarray) -> np.ndarray:
        return np.take(each.astype(F32), np.arange(shape[axis]) // 32, axis)

    floats = (found.integers.astype(F32) - spread(found.zeros)) * spread(found.scales)
    error = np.abs(floats - weights)
    assert (error <= spread(found.scales) * 1.001).all() or method == "mse"
    if method == "mse":
        plain = in_blocks(weights, axis, 32)
        before = (plain.integers.astype(F32) - spread(plain.zeros)) * spread(plain.scales)
        assert np.square(error).sum() <= np.square(before - weights).sum() * 1.0001


@pytest.mark.parametrize("method", ["nearest", "mse"])
@pytest.mark.parametrize("factor", [2.0**100, 2.0**126])
def test_large_weights_have_the_grid_of_small_ones(method, factor, rng):
    """Squares of them, and ranges of the largest, are beyond float32."""
    weights = rng.uniform(-3.9, 3.9, (4, 64)).astype(F32)
    small = in_blocks(weights * F32(2.0**20), 1, 32, method)  # beyond float16, as the large ones
    large = in_blocks(weights * F32(factor), 1, 32, method)
    assert (large.integers == small.integers).all() and (large.zeros == small.zeros).all()
    assert (large.scales == small.scales * F32(factor / 2.0**20)).all()
