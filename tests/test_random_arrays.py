import ml_dtypes
import numpy as np
import pytest
from sardonyx.random_arrays import random_array

FLOATS = (np.float16, np.float32, np.float64, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn)
INTEGERS = (np.int8, np.uint8, np.int32, np.int64, np.uint64, ml_dtypes.int4, ml_dtypes.uint4)


@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS, np.bool_, object])
@pytest.mark.parametrize("shape", [(), (0, 3), (4, 50, 70)])
def test_arrays_have_the_type_and_shape_and_are_repeatable(dtype, shape):
    a, b = (random_array(shape, dtype, np.random.default_rng(1)) for _ in range(2))
    assert a.dtype == dtype and np.shape(a) == shape
    np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_are_valid_indices(dtype, rng):
    assert set(random_array((100,), dtype, rng).astype(int)) == {0, 1}


@pytest.mark.parametrize("dtype", FLOATS)
def test_floats_have_the_range_of_images_or_both_signs(dtype, rng):
    image = random_array((100, 100), dtype, rng).astype(np.float64)
    assert image.min() >= 0 and image.max() <= 1
    signed = random_array((100, 100), dtype, rng, signed=True).astype(np.float64)
    assert signed.min() < -1 and signed.max() > 1


def test_images_differ_in_their_averages(rng):
    means = [random_array((1, 3, 64, 64), np.float32, rng).mean() for _ in range(20)]
    assert np.std(means) > 0.02
