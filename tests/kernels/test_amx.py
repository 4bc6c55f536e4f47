"""Tiles of AMX: its products, its configuration, and what kernels make of them.

Where the processor has no AMX, all tests run once more in a process that emulates it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
from numba import njit
from sardonyx.kernels import amx
from sardonyx.kernels.amx_permission import EMULATED, has_amx
from sardonyx.kernels.cpu.amx_tile import MOST_VECTORS, amx_tile
from sardonyx.kernels.cpu.bfloats import bfloat_pairs
from sardonyx.kernels.cpu.packed_weights import round_to_bfloat16
from sardonyx.kernels.cpu.pairs import joined
from sardonyx.kernels.cpu.sum_stores import FIRST, LAST
from sardonyx.kernels.emitter import CLIP
from sardonyx.kernels.registry import Pointer
from sardonyx.kernels.target import LANES

on_amx = pytest.mark.skipif(not has_amx(), reason="no AMX, and none emulated")
PATHS = (
    "tests/kernels/test_amx.py",
    "tests/runtime/ops/test_amx_products.py",
    "tests/runtime/ops/test_recurrent_terms.py",
    "tests/runtime/ops/test_term_products.py",
    "tests/runtime/test_half_values.py",
)


@pytest.mark.skipif(has_amx(), reason="the tests themselves run here")
def test_all_pass_where_amx_is_emulated() -> None:
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    paths = [os.path.join(root, path) for path in PATHS]
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *paths]
    environment = {**os.environ, "SARDONYX_EMULATE": "amx"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stdout[-4000:]
    assert "[100%]" in done.stdout


def test_permission_belongs_to_the_key_of_kernels() -> None:
    from sardonyx.kernels.compiler import environment_key

    code = "from sardonyx.kernels.compiler import environment_key; print(environment_key())"
    environment = {**os.environ, "SARDONYX_EMULATE": "" if EMULATED else "amx"}
    other = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert other.stdout.strip() != environment_key()


def test_the_unit_can_be_left_out() -> None:
    code = "from sardonyx.kernels.amx_permission import has_amx; print(has_amx())"
    environment = {**os.environ, "SARDONYX_EMULATE": "", "SARDONYX_AMX": "0"}
    other = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert other.stdout.strip() == "False"


# --- instructions -------------------------------------------------------------------------------


def product_of_tiles(kind: str) -> Callable[..., None]:
    """Return what adds the product of two tiles to a third, by addresses."""
    product = amx.tile_products[kind]

    @njit
    def multiply(
        state: Pointer, a: Pointer, b: Pointer, c: Pointer, rows: int, words: int, columns: int
    ) -> None:
        amx.begin(state)
        amx.describe(state, 0, rows, columns * 4)
        amx.describe(state, 1, rows, words * 4)
        amx.describe(state, 2, words, columns * 4)
        amx.configure(state)
        amx.tile_load(state, 0, c, 80)
        amx.tile_load(state, 1, a, 72)
        amx.tile_load(state, 2, b, 64)
        product(state, 0, 1, 2)
        amx.tile_store(state, 0, c, 80)
        amx.release(state)

    return multiply  # type: ignore[no-any-return]


def operands(kind: str, rows: int, depth: int, columns: int) -> list[np.ndarray]:
    """Numbers of A and B, then what they stand for, of extreme values, too."""
    rng = np.random.default_rng([rows, depth, columns])
    shapes = ((rows, depth), (depth, columns))
    if kind == "bf16":
        a, b = (rng.standard_normal(shape, np.float32) for shape in shapes)
        return [a, b, *((round_to_bfloat16(x).astype("u4") << 16).view("f4") for x in (a, b))]
    types = np.int8 if kind[0] == "s" else np.uint8, np.uint8 if kind[-1] == "u" else np.int8
    found = []
    for shape, dtype in zip(shapes, types, strict=True):
        limits = np.iinfo(dtype)
        drawn = rng.integers(limits.min, limits.max + 1, shape)
        drawn[0, 0], drawn[-1, -1] = limits.min, limits.max
        found.append(drawn.astype(dtype))
    return [*found, *found]


def words_of(kind: str, numbers: np.ndarray, axis: int) -> np.ndarray:
    words = bfloat_pairs(numbers, axis) if kind == "bf16" else joined(numbers, axis)
    return np.ascontiguousarray(words)


def assert_sums(kind: str, found: np.ndarray, wanted: np.ndarray) -> None:
    if kind == "bf16":
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)
    else:
        np.testing.assert_array_equal(found, wanted)


@on_amx
@pytest.mark.parametrize("kind", amx.PRODUCTS)
@pytest.mark.parametrize(("rows", "words", "columns"), [(16, 16, 16), (1, 1, 1), (5, 9, 13)])
def test_a_product_of_tiles(kind: str, rows: int, words: int, columns: int) -> None:
    each = 2 if kind == "bf16" else 4
    x, y, a, b = operands(kind, rows, words * each, columns)
    dtype = np.float32 if kind == "bf16" else np.int32
    memory = np.full((17, 20), 3, dtype)
    left, right = np.zeros((16, 18), np.int32), np.zeros((16, 16), np.int32)
    left[:rows, :words] = words_of(kind, x, 1)
    right[:words, :columns] = words_of(kind, y, 0)
    left[:rows, words:], right[words:] = -1, -1  # beyond the configuration
    state = np.zeros(amx.STATE_WORDS + 8, np.int64)
    addresses = [each.ctypes.data for each in (state, left, right, memory)]
    product_of_tiles(kind)(*addresses, rows, words, columns)
    wanted = np.full((17, 20), 3.0)
    wanted[:rows, :columns] += a.astype(np.float64) @ b.astype(np.float64)
    assert_sums(kind, memory, wanted)


# --- the tile of kernels ------------------------------------------------------------------------


@on_amx
@pytest.mark.parametrize("kind", ["s8", "bf16"])
@pytest.mark.parametrize(
    ("height", "length", "n"), [(16, 32, 32), (10, 37, 19), (16, 16, 16), (7, 5, 9), (1, 1, 1)]
)
def test_a_tile_of_blocks(kind: str, height: int, length: int, n: int) -> None:
    nv = min(MOST_VECTORS, -(-n // LANES))
    width, each, blocks, segments = nv * LANES, 2 if kind == "bf16" else 4, 2, 3
    rows = height * blocks
    x, y, a, b = operands(kind, rows, segments * length * each, width)
    dtype = np.float32 if kind == "bf16" else np.int32
    bias = np.arange(width).astype(dtype)
    c = np.full((rows, width), 7, dtype)
    own = amx_tile(nv, kind)
    values = dict.fromkeys(own.fields, 0) | {
        "a": words_of(kind, x, 1), "b": words_of(kind, y, 0), "c": c, "bias": bias,
        "lda": segments * length, "ldc": width, "s0": segments, "sa0": length, "s1": 1,
        "length": length, "n": n, "tiles": blocks, "rows": 1, "height": height, "flags": FIRST,
    }  # fmt: skip
    wanted = a.astype(np.float64) @ b.astype(np.float64) + bias
    assert own(**values) == 0
    assert (c[:, n:] == 7).all()
    assert_sums(kind, c[:, :n], wanted[:, :n])
    wanted = wanted * 2 - bias
    if kind == "bf16":
        residual = np.full((rows, width), -1, dtype)
        last = {"residual": residual, "ldr": width, "activation": CLIP, "low": 0.0, "high": 9.0}
        values |= last
        wanted = np.clip(wanted - 1, 0, 9)
    assert own(**values | {"flags": LAST}) == 0
    assert_sums(kind, c[:, :n], wanted[:, :n])
