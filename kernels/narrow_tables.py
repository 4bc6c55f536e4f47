"""Tables of floats of 8 bits and fewer: the number of each byte, and the byte of each number.

A float32 is cut to its upper 16 bits, whose last is set if any bit is lost. That rounds as from
the float32 itself, since no type has more than 4 significant bits.
"""

from __future__ import annotations

import functools

import numpy as np

FLOATS = {
    "e4m3fn": "float8_e4m3fn",
    "e4m3fnuz": "float8_e4m3fnuz",
    "e5m2": "float8_e5m2",
    "e5m2fnuz": "float8_e5m2fnuz",
    "e8m0": "float8_e8m0fnu",
    "e2m1": "float4_e2m1fn",
}
"""Names of ml_dtypes, by those of the pointwise language."""
INTEGERS = {"i4": 4, "u4": 4, "i2": 2, "u2": 2}
"""Numbers of bits of whole numbers, the low ones of their byte."""
MODES = ("saturate", "free")
POWER_MODES = tuple(f"{mode}_{way}" for way in ("up", "down", "nearest") for mode in MODES)
"""How floats are rounded that are beyond the largest, and those of e8m0, powers of two."""
STORED_MODES = {name: "free_down" if name == "e8m0" else "free" for name in FLOATS}
"""How numbers are rounded where they are stored."""


@functools.cache
def numbers_of(name: str) -> np.ndarray:
    """The float32 that each byte stands for."""
    import ml_dtypes

    codes = np.arange(256, dtype=np.uint8)
    if name == "e2m1":
        codes &= 15
    return codes.view(getattr(ml_dtypes, FLOATS[name])).astype(np.float32)


@functools.cache
def bytes_of(name: str, mode: str) -> np.ndarray:
    """The byte for each upper half of a float32."""
    import ml_dtypes

    given = (np.arange(1 << 16, dtype=np.uint32) << 16).view(np.float32)
    if name == "e8m0":
        return _powers(given, mode)
    kind = getattr(ml_dtypes, FLOATS[name])
    if mode == "saturate":
        largest = np.float32(ml_dtypes.finfo(kind).max)
        given = np.where(given != given, given, np.clip(given, -largest, largest))
    with np.errstate(all="ignore"):
        return given.astype(kind).view(np.uint8)


def _powers(given: np.ndarray, mode: str) -> np.ndarray:
    """Exponents of the sizes of numbers, 255 for NaN."""
    limit, _, way = mode.partition("_")
    bits = given.view(np.uint32)
    exponent, fraction = (bits >> 23 & 0xFF).astype(np.int32), bits & 0x7FFFFF
    is_denormal, is_small = exponent == 0, (exponent == 0) & (fraction < 0x400000)
    fraction = np.where(is_denormal, fraction * 2 & 0x7FFFFF, fraction)
    above = {"up": 1, "nearest": 0x400000, "down": 1 << 23}[way]
    code = exponent + (fraction >= above)
    if limit == "saturate":
        code = np.minimum(code, 254)
    code[(code > 254) | np.isnan(given)] = 255
    code[is_small] = 0 if limit == "saturate" else 255
    return code.astype(np.uint8)
