"""Blocks of memory that grow: slices by iteration of a loop whose length nobody knows before.

A block is two words (``BLOCK_...``), the address of its memory and the bytes there are. The memory
is C's own, which moves when it grows; what has been written stays.
"""

from __future__ import annotations

from typing import Any

from numba import types

from ..abi import BLOCK_ADDRESS, BLOCK_BYTES
from ..registry import OUT_OF_MEMORY, Pointer, kernel
from ..simd import load_i64, store_i64
from .elements import copy_bytes

LEAST_BYTES = 4096
"""Bytes that a block begins with."""

realloc: Any = types.ExternalFunction("realloc", types.int64(types.int64, types.int64))


@kernel
def reserve_slice(
    thread: int, part: int, until: int, parts: int, block: Pointer, iteration: Pointer, run: int
) -> int:
    """Let a block have room for the slice of an iteration, of ``run`` bytes.

    It doubles when it is full, so that each byte is moved once on average. This step has one part.
    """
    wanted = (load_i64(iteration, 0) + 1) * run
    size = load_i64(block, BLOCK_BYTES)
    if wanted <= size:
        return 0
    size = max(wanted, 2 * size, LEAST_BYTES)
    address = realloc(load_i64(block, BLOCK_ADDRESS), size)
    if address == 0:
        return OUT_OF_MEMORY
    store_i64(block, BLOCK_ADDRESS, address)
    store_i64(block, BLOCK_BYTES, size)
    return 0


@kernel
def append_slice(
    thread: int,
    part: int,
    until: int,
    parts: int,
    x: Pointer,
    block: Pointer,
    iteration: Pointer,
    run: int,
) -> int:
    """Copy ``run`` bytes to where the slice of an iteration lies in a block."""
    begin, end = run * part // parts, run * until // parts
    target = load_i64(block, BLOCK_ADDRESS) + load_i64(iteration, 0) * run
    copy_bytes(target + begin, x + begin, end - begin)
    return 0


@kernel
def take_slices(
    thread: int, part: int, until: int, parts: int, block: Pointer, y: Pointer, size: int
) -> int:
    """Copy the first ``size`` bytes of a block."""
    begin, end = size * part // parts, size * until // parts
    copy_bytes(y + begin, load_i64(block, BLOCK_ADDRESS) + begin, end - begin)
    return 0
