import numpy as np
import pytest
from sardonyx.kernels.target import LANES
from sardonyx.tools import peaks


@pytest.mark.parametrize("threads", [1, 2])
def test_copy_copies_all(threads):
    n = 8 * LANES * threads
    x, y = np.arange(n, dtype=np.float32), np.zeros(n, np.float32)
    for part in range(threads):
        assert peaks.copy(x=x, y=y, n=n, rounds=1, part=part, until=part + 1, parts=threads) == 0
    np.testing.assert_array_equal(x, y)


def test_read_adds_up():
    n = 8 * LANES
    x, y = np.ones(n, np.float32), np.zeros(16, np.float32)
    peaks.read(x=x, y=y, n=n, rounds=3)
    assert y[0] == 3 * n


def test_multiply_add_does_what_it_counts():
    y = np.zeros(16, np.float32)
    peaks.multiply_add(y=y, rounds=3, factor=2.0, term=1.0)
    # 1 -> 3 -> 7 -> 15 in every lane of every chain.
    assert y[0] == 15 * peaks.CHAINS * LANES
