"""Means of all pixels of images of bytes, channels last: sums of 16 bits, which 257 bytes fit.

A pixel's bytes are widened to as many bits only, so that a byte costs a third of what it does in
windows, where it becomes a float32 (`pool_bytes`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types

from ..registry import Pointer, kernel_factory
from ..simd import element_at, splat
from ..target import LANES
from ..vector_memory import VECTOR_MEMORY
from ..vectors import I8, I16, I32, I64, i32x, intrinsic
from .pool_bytes import divisor, mean

CHANNELS = 32
"""Channels of a block, fewer than which an image must not have: one or two vectors of sums."""
_BYTES, _HALVES = ir.VectorType(I8, CHANNELS), ir.VectorType(I16, CHANNELS)
_WORDS = ir.VectorType(I32, CHANNELS)
_PIXELS = 256
"""Bytes that a sum of 16 bits holds, of either sign."""


def _make_sums(is_signed: bool) -> Any:
    @intrinsic
    def sums(typingctx, address, step, pixels):  # type: ignore[no-untyped-def]
        """Vectors of sums of the bytes of a block, of pixels that are ``step`` bytes apart."""

        def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
            address, step, pixels = args
            widened = builder.sext if is_signed else builder.zext
            total = cgutils.alloca_once_value(builder, ir.Constant(_WORDS, None))
            some = cgutils.alloca_once(builder, _HALVES)

            def add(place: Any, value: Any, kind: ir.Type) -> None:
                builder.store(builder.add(builder.load(place), widened(value, kind)), place)

            most = I64(_PIXELS)
            with cgutils.for_range_slice(builder, I64(0), pixels, most, I64) as (first, _):
                builder.store(ir.Constant(_HALVES, None), some)
                left = builder.sub(pixels, first)
                count = builder.select(builder.icmp_signed("<", left, most), left, most)
                with cgutils.for_range(builder, count) as loop:
                    offset = builder.mul(builder.add(first, loop.index), step)
                    pointer = element_at(builder, address, offset, I8)
                    pointer = builder.bitcast(pointer, _BYTES.as_pointer())
                    add(some, builder.load(pointer, align=1), _HALVES)
                add(total, builder.load(some), _WORDS)
            found, vectors = builder.load(total), []
            for at in range(0, CHANNELS, LANES):
                lanes = ir.Constant(ir.VectorType(I32, LANES), list(range(at, at + LANES)))
                vectors.append(builder.shuffle_vector(found, found, lanes))
            return context.make_tuple(builder, sig.return_type, vectors)

        vectors = types.UniTuple(i32x, CHANNELS // LANES)
        return vectors(types.int64, types.int64, types.int64), codegen

    return sums


@kernel_factory
def mean_bytes(dtype: str, result: str) -> Callable[..., int]:
    """Build the means of ``"i8"`` or ``"u8"`` as either, rounded as in `average_pool_bytes`.

    Pixels of an image are ``x_pixel`` bytes apart. Blocks of `CHANNELS` are split into parts; the
    last one of an image overlaps the one before.
    """
    sums, store = _make_sums(dtype == "i8"), VECTOR_MEMORY[result][1]
    limits = np.iinfo(np.int8 if result == "i8" else np.uint8)
    least, most = int(limits.min), int(limits.max)

    def body(
        thread: int, part: int, until: int, parts: int,
        x: Pointer, y: Pointer, images: int, channels: int, pixels: int, x_image: int,
        x_pixel: int, y_image: int, ratio: float, x_zero: int, y_zero: int,
    ) -> int:  # fmt: skip
        by, point = splat(np.float32(ratio)), splat(np.float32(y_zero))
        low, high = splat(np.float32(least - y_zero)), splat(np.float32(most - y_zero))
        count = divisor(pixels, pixels, x_zero)
        blocks = (channels + CHANNELS - 1) // CHANNELS
        for block in range(images * blocks * part // parts, images * blocks * until // parts):
            image = block // blocks
            c = min(block % blocks * CHANNELS, channels - CHANNELS)
            found = sums(x + image * x_image + c, x_pixel, pixels)
            for i in range(CHANNELS // LANES):
                whole = mean(found[i], count, by, low, high)
                store(y + image * y_image + c, i * LANES, whole + point)
        return 0

    return body
