"""Rows of groups of bytes as words of their own for each group, by a permutation of each vector.

Where groups have no whole words, their bytes move apart. Those of a vector of the result lie within
as many bytes of a row, so that one load and one permutation (AVX-512 VBMI, NEON) give them.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import njit
from numba.core import types

from ..registry import Pointer, kernel
from ..simd import (
    call_by_name,
    emit_splat,
    load_first_lanes,
    load_i64,
    store_first_lanes,
)
from ..target import LANES, MACHINE
from ..vectors import I8, I64, intrinsic
from .byte_tables import HAS_LOOK_UP

_HAS_NEON = MACHINE == "aarch64"
HAS_GROUPED_QUADS = HAS_LOOK_UP or _HAS_NEON
"""Whether the processor permutes the bytes of a vector."""
BLOCK = 4 * LANES
"""Bytes of a vector."""

_BYTES = ir.VectorType(I8, BLOCK)
_PERMUTE = "llvm.aarch64.neon.tbl1.v16i8" if _HAS_NEON else "llvm.x86.avx512.permvar.qi.512"


@intrinsic
def _move(typingctx, x, count, order, flip, y, wanted):  # type: ignore[no-untyped-def]
    """Write up to ``wanted`` of the ``count`` bytes at x to y, in an order and flipped."""

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        x, count, order, flip, y, wanted = args
        source, places, target = (
            builder.inttoptr(each, _BYTES.as_pointer()) for each in (x, order, y)
        )
        some = builder.icmp_signed("<", count, I64(BLOCK))
        with builder.if_else(some) as (short, full):
            with short:
                few, from_few = load_first_lanes(builder, _BYTES, source, count, 1), builder.block
            with full:
                all_, from_all = builder.load(source, align=1), builder.block
        loaded = builder.phi(_BYTES)
        loaded.add_incoming(few, from_few)
        loaded.add_incoming(all_, from_all)
        moved = call_by_name(builder, _PERMUTE, _BYTES, [loaded, builder.load(places, align=1)])
        moved = builder.xor(moved, emit_splat(builder, builder.trunc(flip, I8), BLOCK))
        with builder.if_else(builder.icmp_signed("<", wanted, I64(BLOCK))) as (short, full):
            with short:
                store_first_lanes(builder, moved, target, wanted)
            with full:
                builder.store(moved, target, align=1)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 6), codegen


@njit
def _move_rows(
    source: Pointer, target: Pointer, order: Pointer, starts: Pointer, rows: int, width: int,
    size: int, step: int, flip: int,
) -> None:  # fmt: skip
    """Make words of rows; what a vector writes behind a row is written again with the next one."""
    readable, writable = (rows - 1) * step + width, rows * size
    for _ in range(rows):
        for at in range(0, size, BLOCK):
            start = load_i64(starts, at // BLOCK)
            _move(source + start, readable - start, order + at, flip, target + at, writable - at)
        source, target = source + step, target + size
        readable, writable = readable - step, writable - size


@kernel
def grouped_quads(
    thread: int, part: int, until: int, parts: int,
    x: Pointer, y: Pointer, order: Pointer, starts: Pointer, images: int, rows: int, width: int,
    size: int, x_image: int, x_row: int, is_signed: int,
) -> int:  # fmt: skip
    """Make words of images x rows of ``width`` dense bytes, ``size`` bytes of each, as `quad_rows`.

    ``order`` and ``starts`` are those of `places`. Rows are split into parts.
    """
    flip = 0x80 if is_signed != 0 else 0
    row, last = images * rows * part // parts, images * rows * until // parts
    while row < last:
        image, first = row // rows, row % rows
        count = min(rows - first, last - row)
        source = x + image * x_image + first * x_row
        _move_rows(source, y + row * size, order, starts, count, width, size, x_row, flip)
        row += count
    return 0


def places(groups: int, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Return where the bytes of a row's words lie: less the first of a vector, uint8, and that.

    Behind the channels of a group its last one is repeated, which weights of zero meet.
    """
    words = np.minimum(np.arange((channels + 3) // 4 * 4), channels - 1)
    found = (np.arange(groups)[:, None] * channels + words).reshape(-1)
    starts = found[::BLOCK].astype(np.int64)
    order = np.zeros(len(starts) * BLOCK, np.uint8)
    order[: len(found)] = found - np.repeat(starts, BLOCK)[: len(found)]
    return order, starts
