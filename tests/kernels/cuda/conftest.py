from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sardonyx.kernels.cuda.simulator.arithmetic import bf16_bits
from sardonyx.kernels.cuda.simulator.block import Block, launch
from sardonyx.kernels.cuda.simulator.matrices import floats
from sardonyx.kernels.cuda.simulator.memory import Memory
from sardonyx.kernels.cuda.tensor_cores.epilogue import RESULT_BYTES, Epilogue
from sardonyx.kernels.cuda.tensor_cores.swizzle import conflicts
from sardonyx.kernels.cuda.tensor_cores.tensor_map import TensorMap
from sardonyx.kernels.cuda.tensor_cores.tiles import GroupTile

PLAIN = Epilogue()


def stored(values: np.ndarray, kind: str) -> np.ndarray:
    """Values as they lie in memory."""
    if kind == "bf16":
        return bf16_bits(values).astype(np.uint16)
    return values.astype(
        {"f16": np.float16, "tf32": np.float32, "f32": np.float32, "s8": np.int8, "u8": np.uint8}[
            kind
        ]
    )


def right_of(element: str) -> str:
    """What the right operand is of, where the left one is of an element."""
    return "s8" if element == "u8" else element


def meant(array: np.ndarray, kind: str) -> np.ndarray:
    """What elements in memory are to tensor cores, as float64."""
    if kind == "f32":
        return array.astype(np.float64)
    unsigned = array.view(f"u{array.itemsize}")
    return floats(unsigned, kind).astype(np.float64)


def numbers(array: np.ndarray, kind: str) -> np.ndarray:
    """Elements of a result, as float64."""
    return meant(array, kind) if kind in ("bf16", "f16") else array.astype(np.float64)


def empty(shape: tuple[int, ...], kind: str) -> np.ndarray:
    """A result whose elements are all wrong."""
    dtype = {"f32": np.float32, "i32": np.int32, "f16": np.float16, "bf16": np.uint16}[kind]
    return np.full(np.prod(shape) * RESULT_BYTES[kind], 0xFF, np.uint8).view(dtype).reshape(shape)


def bank_conflicts(blocks: list[Block]) -> dict[str, int]:
    """Cycles lost to banks, by instruction: accesses of the lanes of a warp at their i-th time."""
    lost: dict[str, int] = {}
    for block in blocks:
        for start in range(0, len(block.threads), 32):
            warp = block.threads[start : start + 32]
            for name in warp[0].trace:
                size = int(name.split()[-1])
                for addresses in zip(*(thread.trace[name] for thread in warp), strict=False):
                    lost[name] = lost.get(name, 0) + conflicts(list(addresses), size)
    return lost


@pytest.fixture
def multiply(rng: np.random.Generator) -> Callable[..., list[Block]]:
    """Compute a product by a kernel in the simulator, compare it with numpy, give the blocks."""

    def multiply(
        make: Callable[..., Any],
        tile: Any,
        m: int,
        n: int,
        k: int,
        batch: int = 1,
        epilogue: Epilogue = PLAIN,
        apply: Callable[[np.ndarray], np.ndarray] = lambda x: x,
        seed: int | None = None,
        finds_races: bool = False,
    ) -> list[Block]:
        scale = 20 if tile.size == 1 else 1
        kinds = tile.element, right_of(tile.element)
        a, b = (
            stored(np.abs(scale * rng.standard_normal((batch, size, _rounded(k, tile)))), kind)
            if kind == "u8"
            else stored(scale * rng.standard_normal((batch, size, _rounded(k, tile))), kind)
            for size, kind in zip((m, n), kinds, strict=True)
        )
        expected = meant(a[..., :k], kinds[0]) @ meant(b[..., :k], kinds[1]).swapaxes(1, 2)
        if tile.b_order == "kn":
            b = np.zeros((batch, k, _rounded(n, tile)), b.dtype)
            b[..., :n] = stored(rng.standard_normal((batch, k, n)), tile.element)
            expected = meant(a[..., :k], tile.element) @ meant(b[..., :n], tile.element)
        bias = rng.standard_normal(n if epilogue.bias == "column" else m).astype(np.float32)
        if epilogue.bias == "scaled":
            bias = rng.standard_normal((n, 2)).astype(np.float32)
            expected = expected * bias[:, 0] + bias[:, 1]
        elif epilogue.bias:
            expected = expected + (bias if epilogue.bias == "column" else bias[:, None])
        c = empty((batch, m, _rounded(n, tile, RESULT_BYTES[tile.result])), tile.result)
        memory = Memory()
        addresses = [memory.place(array) for array in (a, b, c, bias)]
        pitches = [array.strides[1] for array in (a, b, c)]
        steps = [array.strides[0] for array in (a, b, c)]
        if isinstance(tile, GroupTile):
            sizes = ((k, m, batch), (k, n, batch))
            maps = [
                TensorMap(tile.element, address, size, pitch, step, (tile.k, rows)).words()
                for address, size, pitch, step, rows in zip(
                    addresses[:2], sizes, pitches[:2], steps[:2], (tile.m, tile.n), strict=True
                )
            ]
            addresses[:2] = [memory.place(words) for words in maps]
        grid = (-(-m // tile.m) * batch, -(-n // tile.n), 1)
        # All matrices along the inner axis; no operands of an epilogue, no status word.
        ahead = [word for step in steps for word in (0, step)]
        arguments = (*addresses, 0, m, n, k, 1, batch, *pitches, *ahead, 0)
        kernel = make(tile, epilogue)
        blocks = launch(
            kernel, grid, tile.threads, arguments, memory, tile.shared_bytes, seed, finds_races
        )
        error = np.abs(numbers(c[..., :n], tile.result) - apply(expected))
        limit = {"f32": 1e-5, "i32": 0, "bf16": 2.0**-8, "f16": 2.0**-11}[tile.result]
        allowed = limit * np.maximum(np.abs(expected), 0 if tile.result == "i32" else 8)
        assert (error <= allowed).all(), error.max()
        return blocks

    return multiply


def _rounded(size: int, tile: Any, element: int = 0) -> int:
    """Elements of a row: as many as its 16 bytes want where the tile is aligned."""
    unit = 16 // (element or tile.size) if tile.is_aligned else 1
    return -(-size // unit) * unit
