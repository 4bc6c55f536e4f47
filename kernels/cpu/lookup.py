"""Look-up of elements in a table of keys."""

from __future__ import annotations

from collections.abc import Callable

from .. import simd
from ..registry import Pointer, kernel_factory

_SIZES = {"f32": 4, "f64": 8, "i16": 2, "i32": 4, "i64": 8}


@kernel_factory
def lookup(kind: str, size: int) -> Callable[..., int]:
    """y[i] = values[j] for the key j that x[i] equals; values have ``size`` bytes.

    Keys, of type ``kind``, ascend. After their values come that of NaN and that of all others.
    Elements are split into parts.
    """
    load = getattr(simd, f"load_{kind}")
    copied = {2: "i16", 4: "i32", 8: "i64"}[size]
    take, put = getattr(simd, f"load_{copied}"), getattr(simd, f"store_{copied}")

    def body(
        thread: int, part: int, until: int, parts: int,
        x: Pointer, y: Pointer, count: int, keys: Pointer, values: Pointer, length: int,
    ) -> int:  # fmt: skip
        for i in range(count * part // parts, count * until // parts):
            value = load(x, i)
            at, left = 0, length
            while left > 1:
                half = left >> 1
                at += half if load(keys, at + half) <= value else 0
                left -= half
            if value != value:
                at = length
            elif length == 0 or load(keys, at) != value:
                at = length + 1
            put(y, i, take(values, at))
        return 0

    return body
