"""Images of few planes of bytes as the pairs of int16 that tiles multiply (`pairs`).

A pixel has a word for each two of its channels, which lie in planes of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types

from .. import simd
from ..registry import Pointer, kernel_factory
from ..simd import store_i16
from ..target import LANES
from ..vectors import I8, I16, I32, intrinsic

MAX_PLANES = 4


def _make_pairs(is_signed: bool, planes: int) -> Any:
    """Intrinsic that makes the words of a vector of pixels at an address."""
    narrow, halves = ir.VectorType(I8, LANES), ir.VectorType(I16, LANES)

    def interleaved(builder: ir.IRBuilder, a: Any, b: Any) -> Any:
        count = a.type.count
        order = [source * count + i for i in range(count) for source in range(2)]
        mask = ir.Constant(ir.VectorType(I32, len(order)), order)
        return builder.shuffle_vector(a, b, mask)

    @intrinsic
    def pairs(typingctx, x, x_plane, zero, y):  # type: ignore[no-untyped-def]
        def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
            x, x_plane, zero, y = args
            point = simd.emit_splat(builder, builder.trunc(zero, I16), LANES)
            widen = builder.sext if is_signed else builder.zext
            rows = []
            for plane in range(planes):
                at = builder.add(x, builder.mul(x_plane, x_plane.type(plane)))
                loaded = builder.load(builder.inttoptr(at, narrow.as_pointer()), align=1)
                rows.append(builder.sub(widen(loaded, halves), point))
            rows += [ir.Constant(halves, None)] * (planes % 2)
            words = [
                interleaved(builder, rows[first], rows[first + 1])
                for first in range(0, len(rows), 2)
            ]
            words = [builder.bitcast(each, ir.VectorType(I32, LANES)) for each in words]
            result = interleaved(builder, *words) if len(words) == 2 else words[0]
            builder.store(result, builder.inttoptr(y, result.type.as_pointer()), align=4)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 4), codegen

    return pairs


@kernel_factory
def pair_planes(kind: str, planes: int) -> Callable[..., int]:
    """Make pairs of the pixels of images of ``planes`` planes of the type ``kind``.

    y is dense; ``zero`` (0: none) is the zero point. Pixels of each image are split into parts.
    """
    load, pairs = getattr(simd, f"load_{kind}"), _make_pairs(kind == "i8", planes)
    numbers = (planes + 1) // 2 * 2  # int16 of a pixel

    def body(
        thread: int, part: int, until: int, parts: int,
        x: Pointer, zero: Pointer, y: Pointer, images: int, pixels: int, x_image: int, x_plane: int,
    ) -> int:  # fmt: skip
        point = np.int64(load(zero, 0)) if zero != 0 else 0
        blocks = (pixels + LANES - 1) // LANES
        first, last = blocks * part // parts * LANES, min(pixels, blocks * until // parts * LANES)
        for image in range(images):
            source, target = x + image * x_image, y + image * pixels * numbers * 2
            pixel = first
            while pixel + LANES <= last:
                pairs(source + pixel, x_plane, point, target + pixel * numbers * 2)
                pixel += LANES
            while pixel < last:
                for plane in range(planes):
                    number = np.int64(load(source, plane * x_plane + pixel)) - point
                    store_i16(target, pixel * numbers + plane, np.int16(number))
                if planes % 2 != 0:
                    store_i16(target, pixel * numbers + planes, np.int16(0))
                pixel += 1
        return 0

    return body
