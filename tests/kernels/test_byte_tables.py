"""Tables of bytes: every byte, and parts that are no whole blocks, with any vectors."""

import os
import subprocess
import sys

import numpy as np
import pytest
from sardonyx.kernels.cpu.byte_tables import look_up_bytes
from sardonyx.kernels.target import has_feature


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


_ALL_BYTES = """
import numpy as np
from sardonyx.kernels.cpu import byte_tables
assert byte_tables.HAS_TABLES and "pshuf" in byte_tables.SHUFFLE
rng = np.random.default_rng(0)
table, x = (rng.permutation(256).astype(np.uint8) for _ in range(2))
y = np.zeros(256, np.uint8)
byte_tables.look_up_bytes(x=x, table=table, y=y, n=256, part=0, until=1, parts=1)
assert (y == table[x]).all()
"""


@pytest.mark.skipif(not has_feature("avx2"), reason="the processor has no AVX2")
def test_bytes_are_looked_up_without_avx512():
    environment = {**os.environ, "NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx,+avx2"}
    subprocess.run([sys.executable, "-c", _ALL_BYTES], env=environment, check=True)
