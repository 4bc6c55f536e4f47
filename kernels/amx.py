"""Instructions of AMX: eight tiles of 16 rows of 64 bytes, and products of them.

A configuration says how many rows, and bytes of a row, each tile has; it belongs to the thread.
Other libraries load theirs, some once for all their products, so a kernel keeps what there is at
its entry (`begin`), loads its own, and releases it for the other at its end. A configuration can
only be described after that, so no kernel loads what it has not kept.
``tile`` and its like are literal numbers of tiles. All functions take the ``state`` of a kernel:
`STATE_WORDS` words in its frame, which begin with its own configuration and the one that is kept.
Where the unit is emulated (`EMULATED`) the tiles lie behind them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit
from numba.core import types

from . import simd
from .amx_permission import EMULATED
from .emitter import BYTE
from .halves import load_bf16
from .registry import Pointer
from .simd import (
    load_f32,
    load_i32,
    load_u8,
    load_u16,
    store_f32,
    store_i32,
    store_i64,
    store_u8,
    store_u16,
)
from .vectors import I8, I64, intrinsic

ROWS, ROW_BYTES = 16, 64
ROW_WORDS = ROW_BYTES // 4
"""Words of four bytes in a row: sums of a row of C, and of a product the words of a row of A."""
PRODUCTS = {
    "u8": "tdpbusd",
    "s8": "tdpbssd",
    "u8u": "tdpbuud",
    "s8u": "tdpbsud",
    "bf16": "tdpbf16ps",
}
"""Instructions by kinds: bytes of A and B, or bfloat16.

Of bytes the first letter says whether those of A are signed; those of B are, but with a ``u`` at
the end.
"""
_CONFIG_BYTES, _TILE_BYTES = 64, ROWS * ROW_BYTES
STATE_WORDS = (2 * _CONFIG_BYTES + (8 * _TILE_BYTES if EMULATED else 0)) // 8
_PALETTE = 1
_ROW_BYTES_AT, _ROWS_AT = 8, 48
"""Where the configuration has the bytes of a row, in words of 16 bits, and the rows, in bytes."""


@njit
def begin(state: Pointer) -> None:
    """Keep the thread's configuration for `release`, and begin one whose tiles are all empty."""
    _keep(state)
    _clear(state)


@njit
def _clear(state: Pointer) -> None:
    for i in range(_CONFIG_BYTES // 8):
        store_i64(state, i, 0)
    store_u8(state, 0, np.uint8(_PALETTE))


@njit
def describe(state: Pointer, tile: int, rows: int, row_bytes: int) -> None:
    """Say of what size a tile is, before `configure`; the bytes of a row are whole words.

    A kernel may describe tiles anew, and configure the processor again.
    """
    store_u16(state, _ROW_BYTES_AT + tile, np.uint16(row_bytes))
    store_u8(state, _ROWS_AT + tile, np.uint8(rows))


# --- instructions -----------------------------------------------------------------------------


def _call(builder: ir.IRBuilder, name: str, args: list[Any]) -> None:
    simd.call_by_name(builder, f"llvm.x86.{name}", ir.VoidType(), args)


def _make_configuration(name: str, offset: int) -> Any:
    """Make what loads or stores the configuration at an offset of the state."""

    @intrinsic
    def move(typingctx, state):  # type: ignore[no-untyped-def]
        def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
            _call(builder, name, [builder.inttoptr(builder.add(args[0], I64(offset)), BYTE)])
            return context.get_dummy_value()

        return types.void(state), codegen

    return move


@intrinsic(prefer_literal=True)
def _zero(typingctx, state, tile):  # type: ignore[no-untyped-def]
    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        _call(builder, "tilezero", [I8(tile.literal_value)])
        return context.get_dummy_value()

    return types.void(state, tile), codegen


def _make_move(name: str) -> Any:
    @intrinsic(prefer_literal=True)
    def move(typingctx, state, tile, address, stride):  # type: ignore[no-untyped-def]
        def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
            at, step = (context.cast(builder, args[i], sig.args[i], types.int64) for i in (2, 3))
            _call(builder, name, [I8(tile.literal_value), builder.inttoptr(at, BYTE), step])
            return context.get_dummy_value()

        return types.void(state, tile, address, stride), codegen

    return move


def _make_product(kind: str) -> Any:
    @intrinsic(prefer_literal=True)
    def product(typingctx, state, c, a, b):  # type: ignore[no-untyped-def]
        def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
            _call(builder, PRODUCTS[kind], [I8(tile.literal_value) for tile in (c, a, b)])
            return context.get_dummy_value()

        return types.void(state, c, a, b), codegen

    return product


# --- emulation --------------------------------------------------------------------------------


@njit
def _memory(state: Pointer, tile: int) -> Any:
    return state + 2 * _CONFIG_BYTES + tile * _TILE_BYTES


@njit
def _size(state: Pointer, tile: int) -> Any:
    """Rows of a tile, and words of a row."""
    words = np.int64(load_u16(state, _ROW_BYTES_AT + tile)) // 4
    return np.int64(load_u8(state, _ROWS_AT + tile)), words


@njit
def _emulated_zero(state: Pointer, tile: int) -> None:
    target = _memory(state, tile)
    for i in range(_TILE_BYTES // 8):
        store_i64(target, i, 0)


@njit
def _emulated_keep(state: Pointer) -> None:
    pass


@njit
def _emulated_configure(state: Pointer) -> None:
    for tile in range(8):
        _emulated_zero(state, tile)


@njit
def _emulated_release(state: Pointer) -> None:
    _clear(state)


@njit
def _emulated_load(state: Pointer, tile: int, address: Pointer, stride: int) -> None:
    _emulated_zero(state, tile)
    target = _memory(state, tile)
    rows, words = _size(state, tile)
    for row in range(rows):
        for word in range(words):
            value = load_i32(address + row * stride, word)
            store_i32(target + row * ROW_BYTES, word, value)


@njit
def _emulated_store(state: Pointer, tile: int, address: Pointer, stride: int) -> None:
    source = _memory(state, tile)
    rows, words = _size(state, tile)
    for row in range(rows):
        for word in range(words):
            value = load_i32(source + row * ROW_BYTES, word)
            store_i32(address + row * stride, word, value)


def _make_emulated_product(kind: str) -> Any:
    of_a: Any = np.int8 if kind[0] == "s" else np.uint8
    of_b: Any = np.uint8 if kind[-1] == "u" else np.int8

    @njit
    def bytes_of(a: Pointer, b: Pointer, word: int, n: int, total: Any) -> Any:
        """Add the products of the bytes of two words."""
        for byte in range(4):
            x = np.int32(of_a(load_u8(a, 4 * word + byte)))
            y = np.int32(of_b(load_u8(b, 4 * n + byte)))
            total += np.int32(x * y)
        return np.int32(total)

    @njit
    def halves_of(a: Pointer, b: Pointer, word: int, n: int, total: Any) -> Any:
        """Add the products of the bfloat16 of two words."""
        for half in range(2):
            total += load_bf16(a, 2 * word + half) * load_bf16(b, 2 * n + half)
        return np.float32(total)

    is_float = kind == "bf16"
    load, store = (load_f32, store_f32) if is_float else (load_i32, store_i32)
    add = halves_of if is_float else bytes_of

    @njit
    def product(state: Pointer, c: int, a: int, b: int) -> None:
        rows, columns = _size(state, c)
        words = _size(state, a)[1]
        for row in range(rows):
            sums = _memory(state, c) + row * ROW_BYTES
            numbers = _memory(state, a) + row * ROW_BYTES
            for n in range(columns):
                total = load(sums, n)
                for word in range(words):
                    factors = _memory(state, b) + word * ROW_BYTES
                    total = add(numbers, factors, word, n, total)
                store(sums, n, total)

    return product


Product = Callable[[Pointer, int, int, int], None]
if EMULATED:
    _keep, configure, release = _emulated_keep, _emulated_configure, _emulated_release
    tile_zero, tile_load, tile_store = _emulated_zero, _emulated_load, _emulated_store
    tile_products: dict[str, Product] = {kind: _make_emulated_product(kind) for kind in PRODUCTS}
else:
    _keep = _make_configuration("sttilecfg", _CONFIG_BYTES)
    configure = _make_configuration("ldtilecfg", 0)
    release = _make_configuration("ldtilecfg", _CONFIG_BYTES)
    tile_zero, tile_load, tile_store = _zero, _make_move("tileloadd64"), _make_move("tilestored64")
    tile_products = {kind: _make_product(kind) for kind in PRODUCTS}
