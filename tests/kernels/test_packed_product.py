"""Products with small weights against those of float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sardonyx.kernels.cpu.packed_product import packed_product
from sardonyx.kernels.cpu.packed_weights import (
    BITS,
    is_whole,
    pack_halves,
    pack_numbers,
    pack_short_floats,
    round_to_bfloat16,
    short_floats,
)
from sardonyx.kernels.cpu.weight_streams import pack_stream


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


def test_short_floats_have_16_digits(rng: np.random.Generator) -> None:
    scales = 10.0 ** rng.integers(-30, 30, (37, 131))
    values = (rng.standard_normal((37, 131)) * scales).astype(np.float32)
    found = short_floats(pack_short_floats(values), 37, 131).astype(float)
    assert (np.abs(found - values) <= 2.0**-16 * np.abs(values)).all()


def test_short_floats_of_zeros_are_zeros_or_denormal(rng: np.random.Generator) -> None:
    values = rng.standard_normal((37, 131)).astype(np.float32)
    values[rng.uniform(size=values.shape) < 0.5] = 0
    values[::3] *= -1
    found = short_floats(pack_short_floats(values), 37, 131).astype(float)
    assert np.abs(found[values == 0]).max() < np.finfo(np.float32).tiny
    assert (np.abs(found - values) <= 2.0**-16 * np.abs(values) + 2.0**-126).all()


def operands(
    rng: np.random.Generator, kind: str, form: str, depth: int, columns: int, block: int,
    has_zeros: bool,
) -> tuple[np.ndarray, dict[str, Any]]:  # fmt: skip
    """Weights as float64, and the fields that stand for them; all have one scale without block."""
    if kind == "f24":
        floats = rng.standard_normal((depth, columns)).astype(np.float32)
        packed = pack_short_floats(floats)
        weights = short_floats(packed, depth, columns).astype(float)
        return weights, {"w": packed, "block": 256}
    if not is_whole(kind):
        halves = rng.standard_normal((depth, columns)).astype(np.float16)
        if kind == "f16":
            return halves.astype(float), {"w": pack_halves(halves.view(np.uint16)), "block": 256}
        bits = round_to_bfloat16(halves.astype(np.float32))
        return widened(bits).astype(float), {"w": pack_halves(bits), "block": 256}
    size = block or 256
    most, count = 1 << BITS[kind], -(-depth // size) if block else 1
    numbers = rng.integers(0, most, (depth, columns)).astype(np.uint8)
    scales = rng.uniform(0.1, 1, (count, columns)).astype(np.float16).astype(np.float32)
    zeros = rng.integers(0, most, (count, columns)).astype(np.uint8)
    if not has_zeros:
        zeros[:] = most // 2
    of_row = np.arange(depth) // size if block else np.zeros(depth, int)
    weights = (numbers.astype(float) - zeros[of_row]) * scales[of_row]
    given = scales.astype(np.float16 if form == "f16" else np.float32)
    words = pack_numbers(numbers, kind, 0)
    return weights, {
        "w": pack_stream(words, given, zeros if has_zeros else None, size, kind),
        "zeros": int(has_zeros), "heads": int(count > 1), "zero": float(most // 2), "block": size,
    }  # fmt: skip


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("block", [0, 16, 32, 128])
@pytest.mark.parametrize("kind", BITS)
def test_multiplies_small_weights(
    run: Any, rng: np.random.Generator, kind: str, block: int, threads: int
) -> None:
    sizes = [(1, 64, 256), (3, 33, 100), (1, 1, 1), (8, 7, 65), (2, 50, 31), (17, 300, 90),
             (40, 1100, 70)]  # fmt: skip
    for index, (rows, depth, columns) in enumerate(sizes):
        with_bias, has_zeros = index % 2 == 0, index % 3 != 1
        wide = rng.standard_normal((rows, depth + 3)).astype(np.float32)
        x = wide[:, :depth]
        form = "f16" if is_whole(kind) and index % 2 else "f32"
        weights, fields = operands(rng, kind, form, depth, columns, block, has_zeros)
        bias = rng.standard_normal(columns).astype(np.float32)
        room = np.full(rows * columns + 16, 7, np.float32)
        values = {"zeros": 0, "heads": 0, "zero": 0.0} | fields
        code = run(
            packed_product(kind, form), threads, x=x, bias=bias if with_bias else 0, y=room,
            rows=rows, depth=depth, columns=columns, x_row=depth + 3, distance=4096,
            **values,
        )  # fmt: skip
        assert code == 0
        wanted = x.astype(np.float64) @ weights + (bias if with_bias else 0)
        found = room[:-16].reshape(rows, columns)
        assert np.abs(found - wanted).max() < 1e-5 * max(1, np.abs(wanted).max())
        assert (room[-16:] == 7).all()
