"""Products with weights of 4 bits in the simulator, against float64."""

import numpy as np
import pytest
from sardonyx.kernels.cuda.simulator.block import launch
from sardonyx.kernels.cuda.simulator.memory import Memory
from sardonyx.kernels.cuda.tensor_cores.epilogue import Epilogue
from sardonyx.kernels.cuda.tensor_cores.nibbles import (
    FEW_ROWS,
    nibble_product_function,
    nibble_tile,
)

from .conftest import empty


@pytest.mark.parametrize("element", ["f32", "tf32"])
@pytest.mark.parametrize(("m", "n", "k", "block"), [
    (1, 70, 96, 32), (3, 13, 1088, 64), (FEW_ROWS + 1, 70, 96, 32), (70, 20, 64, 64),
])  # fmt: skip
def test_many_rows_and_few(rng, element, m, n, k, block):
    tile = nibble_tile(element, 64, 64, False)
    numbers = rng.integers(0, 16, (n, k))
    scales = rng.standard_normal((n, -(-k // block))).astype(np.float32)
    zeros = rng.integers(0, 16, scales.shape).astype(np.float32)
    whole = (numbers - zeros.repeat(block, 1)[:, :k]) * scales.repeat(block, 1)[:, :k]
    packed = (numbers[:, ::2] | numbers[:, 1::2] << 4).astype(np.uint8)
    x, bias = (rng.standard_normal(s).astype(np.float32) for s in ((m, k), (n,)))
    y = empty((m, n), "f32")
    memory = Memory()
    places = [memory.place(np.ascontiguousarray(each))
              for each in (x, packed, np.stack([scales, zeros], -1))]  # fmt: skip
    places += [memory.place(y), memory.place(bias)]
    grid = (-(-m // tile.m), -(-n // tile.n))
    if m <= FEW_ROWS:
        grid = (-(-n // (4 * tile.threads // 32)), 1)
    arguments = (*places, 0, m, n, k, block, x.strides[0], y.strides[0], 0)
    kernel = nibble_product_function(tile, Epilogue("column"))
    launch(kernel, grid, tile.threads, arguments, memory, tile.shared_bytes, finds_races=True)
    expected = x.astype(np.float64) @ whole.T + bias
    limit = 2e-3 if element == "tf32" and m > FEW_ROWS else 1e-6
    assert np.abs(y - expected).max() < limit * np.abs(expected).max()
