"""Tables of bytes: every byte, and parts that are no whole blocks."""

import numpy as np
import pytest
from sardonyx.kernels.cpu.byte_tables import look_up_bytes


@pytest.mark.parametrize("n", [1, 63, 64, 65, 256, 1000])
@pytest.mark.parametrize("parts", [1, 3])
def test_bytes_are_looked_up(rng, n, parts):
    table = rng.integers(0, 256, 256).astype(np.uint8)
    x, y = np.resize(rng.permutation(256), n).astype(np.uint8), np.full(n + 1, 7, np.uint8)
    for part in range(parts):
        assert (
            look_up_bytes(x=x, table=table, y=y, n=n, part=part, until=part + 1, parts=parts) == 0
        )
    np.testing.assert_array_equal(y[:n], table[x])
    assert y[n] == 7
