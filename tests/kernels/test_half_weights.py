from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sardonyx.kernels.cpu.half_weights import half_product, pack_half, round_to_bfloat16


def widened(bits: np.ndarray) -> np.ndarray:
    """Float32 values of bfloat16 bits."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def test_rounds_to_nearest_even() -> None:
    given = np.array([1.0, 1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, -3.4e38, 0.0], np.float32)
    wanted = np.array([1.0, 1.0, 1 + 2**-6, 1 + 2**-7, -np.inf, 0.0], np.float32)
    np.testing.assert_array_equal(widened(round_to_bfloat16(given)), wanted)


def test_special_values_stay() -> None:
    given = np.array([np.inf, -np.inf, -0.0], np.float32)
    np.testing.assert_array_equal(widened(round_to_bfloat16(given)), given)
    bits = np.array([0x7F800001, 0xFFFFFFFF, 0x7FC00000], np.uint32)
    assert np.isnan(widened(round_to_bfloat16(bits.view(np.float32)))).all()


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize(
    ("rows", "depth", "columns"), [(1, 64, 256), (3, 33, 100), (1, 1, 1), (8, 7, 65), (2, 50, 31)]
)
def test_multiplies_rounded_weights(
    run: Any, rng: np.random.Generator, rows: int, depth: int, columns: int, with_bias: bool,
    threads: int,
) -> None:  # fmt: skip
    wide = rng.standard_normal((rows, depth + 3)).astype(np.float32)
    x = wide[:, :depth]
    w = rng.standard_normal((depth, columns)).astype(np.float32)
    bias = rng.standard_normal(columns).astype(np.float32)
    room = np.full(rows * columns + 16, 7, np.float32)
    code = run(
        half_product, threads, x=x, w=pack_half(w), bias=bias if with_bias else 0, y=room,
        rows=rows, depth=depth, columns=columns, x_row=depth + 3,
    )  # fmt: skip
    assert code == 0
    wanted = x.astype(np.float64) @ widened(round_to_bfloat16(w)) + (bias if with_bias else 0)
    np.testing.assert_allclose(room[:-16].reshape(rows, columns), wanted, rtol=1e-5, atol=1e-5)
    assert (room[-16:] == 7).all()
