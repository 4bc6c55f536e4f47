"""Rows and weights rounded to bfloat16, and the tile that multiplies them."""

from __future__ import annotations

import numpy as np
import pytest
from sardonyx.kernels.cpu.bfloats import bfloat_pairs, bfloat_rows
from sardonyx.kernels.cpu.packed_weights import round_to_bfloat16
from sardonyx.kernels.cpu.sum_stores import FIRST, LAST
from sardonyx.kernels.cpu.tile import OPERANDS, tile
from sardonyx.kernels.emitter import HARD_SWISH
from sardonyx.kernels.target import LANES


def widened(bits: np.ndarray) -> np.ndarray:
    """Float32 of the bits of bfloat16."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


@pytest.mark.parametrize("channels", [1, 2, 7, 16, 37, 64])
@pytest.mark.parametrize("groups", [1, 3])
def test_rows_are_rounded_and_paired(rng, channels, groups):
    x = rng.standard_normal((2, 5, groups * channels + 3), np.float32)
    x[0, 0, 0] = np.nan
    x[1, 2, 0] = np.inf
    words = (channels + 1) // 2
    y = np.full((2, 5, groups, words), -1, np.int32)
    sizes = {"images": 2, "rows": 5, "groups": groups, "channels": channels}
    assert bfloat_rows(x=x, y=y, x_image=x[0].size, x_row=x.shape[-1], **sizes) == 0
    own = x[..., : groups * channels].reshape(2, 5, groups, channels)
    np.testing.assert_array_equal(y, bfloat_pairs(own, -1))
    halves = y.view(np.uint16)
    np.testing.assert_array_equal(halves[..., :channels], round_to_bfloat16(own))
    assert not halves[..., channels:].any()


@pytest.mark.parametrize("form", OPERANDS)
@pytest.mark.parametrize(("mr", "nv"), [(1, 4), (3, 2), (14, 1)])
def test_a_tile_sums_products_in_float32(rng, form, mr, nv):
    width, depth = nv * LANES, 38
    a, b = (rng.standard_normal(s, np.float32) for s in ((2 * mr, depth), (depth, width)))
    bias, residual = (
        rng.standard_normal(width, np.float32),
        rng.standard_normal((2 * mr, width), np.float32),
    )
    c = np.full((2 * mr, width), 7, np.float32)
    kernel = tile(mr, nv, "bf16", form)
    words = {"a": bfloat_pairs(a, 1), "b": np.ascontiguousarray(bfloat_pairs(b, 0))}
    sizes = {"lda": depth // 2, "ldc": width, "ldr": width, "length": depth // 2, "n": width}
    values = dict.fromkeys(kernel.fields, 0) | dict.fromkeys(("s0", "s1", "rows"), 1) | sizes
    values |= {"c": c, "ahead": words["b"], "tiles": 2, "flags": FIRST | LAST, **words}
    values |= {"bias": bias, "residual": residual, "activation": HARD_SWISH}
    assert kernel(**values) == 0
    a, b = (widened(round_to_bfloat16(operand)).astype(np.float64) for operand in (a, b))
    sums = a @ b + bias + residual
    np.testing.assert_allclose(c, sums * np.clip(sums / 6 + 0.5, 0, 1), rtol=1e-4, atol=1e-5)
