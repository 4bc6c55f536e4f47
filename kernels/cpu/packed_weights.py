"""Small weights of products: panels of whole numbers of 2, 4 or 8 bits, halves, or short floats.

A panel has `PANEL` columns. Numbers are in words of 32 bits, each with consecutive rows of one
column, the lowest bits first; a vector of words has as many columns as lanes. Halves lie row by
row. Whole numbers stand for ``(number - zero) * scale``, with scales and zeros for each block of
rows, or one for all. Short floats are float32 of 24 bits, with 16 significant digits: a unit is
four vectors of them, of which three hold a byte of the fourth in their last 8 bits.
"""

from __future__ import annotations

import numpy as np

from ..target import EMBEDDED_BROADCAST, LANES

VECTORS = 4 if EMBEDDED_BROADCAST else 2
"""Vectors of columns of a panel: with the sums of four rows they fit the registers."""
PANEL = VECTORS * LANES
BITS = {"u2": 2, "u4": 4, "u8": 8, "f16": 16, "bf16": 16, "f24": 24}
"""Bits of a weight, by kind."""
_FLOAT_VECTORS = 4
"""Vectors of a unit of short floats."""
LAST_BITS = 0xFF
"""Mask of the bits of a short float that hold a byte of another one."""
_SIGN = np.uint32(1 << 31)
_FLOAT_SHIFTS = 8 * np.arange(1, _FLOAT_VECTORS, dtype=np.uint32)[:, None]
MAGIC = 0x4B000000
"""Bits of the float32 2 ** 23, the last of which count ones: or-ed with a number, its sum."""


def is_whole(kind: str) -> bool:
    """Tell whether weights are whole numbers with scales."""
    return kind[0] == "u"


def rows_of_unit(kind: str) -> int:
    """Rows that a word of each column holds, or that a unit of short floats has."""
    if kind == "f24":
        return _FLOAT_VECTORS // VECTORS
    return 32 // BITS[kind] if is_whole(kind) else 1


def unit_bytes(kind: str) -> int:
    """Bytes of the words of a panel that hold the same rows."""
    if kind == "f24":
        return _FLOAT_VECTORS * LANES * 3
    return PANEL * (4 if is_whole(kind) else 2)


def pack_numbers(numbers: np.ndarray, kind: str, fill: int) -> np.ndarray:
    """Pack (rows, columns) of uint8 as ``kind``; what is beyond them becomes ``fill``.

    Returns
    -------
    ndarray of uint32
        (panels, words of a column, PANEL).
    """
    bits, each = BITS[kind], rows_of_unit(kind)
    rows, columns = numbers.shape
    units, panels = -(-rows // each), -(-columns // PANEL)
    words = np.zeros((units, panels * PANEL), np.uint32)
    for i in range(each):
        own = numbers[i::each].astype(np.uint32)
        words[:, columns:] |= np.uint32(fill) << np.uint32(bits * i)
        words[len(own) :, :columns] |= np.uint32(fill) << np.uint32(bits * i)
        words[: len(own), :columns] |= own << np.uint32(bits * i)
    return by_panel(words)


def in_quads(numbers: np.ndarray, kind: str, fill: int) -> np.ndarray:
    """Order rows so that the same bits of the bytes of a packed word are four consecutive ones."""
    each = rows_of_unit(kind)
    order = np.arange(each).reshape(-1, 4).T.ravel()
    rows, columns = numbers.shape
    padded = np.full((-(-rows // each) * each, columns), fill, np.uint8)
    padded[:rows] = numbers
    ordered: np.ndarray = padded.reshape(-1, each, columns)[:, order].reshape(-1, columns)
    return ordered


def pack_halves(halves: np.ndarray) -> np.ndarray:
    """Pack (rows, columns) of 16 bits each: (panels, rows, PANEL)."""
    rows, columns = halves.shape
    padded = np.zeros((rows, -(-columns // PANEL) * PANEL), np.uint16)
    padded[:, :columns] = halves.view(np.uint16)
    return by_panel(padded)


def pack_short_floats(values: np.ndarray) -> np.ndarray:
    """Pack (rows, columns) of finite float32: (panels, units, 3, LANES) of uint32.

    Each of the first three vectors of a unit has a byte of the fourth as its last bits, and the
    others such that the whole is nearest to what it stands for. The relative error of a normal
    number is at most 2 ** -16.
    """
    rows, columns = values.shape
    each = rows_of_unit("f24")
    panels = -(-columns // PANEL)
    padded = np.zeros((-(-rows // each) * each, panels * PANEL), np.float32)
    padded[:rows, :columns] = values
    units = by_panel(padded).view(np.uint32).reshape(panels, -1, _FLOAT_VECTORS, LANES)
    last = (units[:, :, -1:] + np.uint32(0x80)) >> _FLOAT_SHIFTS & np.uint32(LAST_BITS)
    signs, magnitudes = units[:, :, :-1] & _SIGN, units[:, :, :-1] & ~_SIGN
    nearest = np.maximum(magnitudes.astype(np.int64) - last + 0x80, 0) & ~LAST_BITS
    packed: np.ndarray = signs | nearest.astype(np.uint32) | last
    return packed


def short_floats(packed: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Return the (rows, columns) of float32 that packed short floats stand for."""
    last = ((packed & np.uint32(LAST_BITS)) << _FLOAT_SHIFTS).sum(axis=2, keepdims=True)
    units = np.concatenate([packed, last.astype(np.uint32)], axis=2).view(np.float32)
    by_row = units.reshape(len(packed), -1, PANEL).transpose(1, 0, 2)
    floats: np.ndarray = by_row.reshape(by_row.shape[0], -1)[:rows, :columns]
    return floats


def round_to_bfloat16(values: np.ndarray) -> np.ndarray:
    """Round float32 to the nearest bfloat16, ties to even.

    Returns
    -------
    ndarray of uint16
        The bits; NaN stays NaN. The relative error of a normal number is at most 2 ** -8.
    """
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    even = (bits >> np.uint32(16)) & np.uint32(1)
    rounded = (bits + np.uint32(0x7FFF) + even) >> np.uint32(16)
    quiet = (bits >> np.uint32(16)) | np.uint32(0x40)
    return np.where(np.isnan(values), quiet, rounded).astype(np.uint16)


def by_panel(array: np.ndarray) -> np.ndarray:
    """Order (rows, panels * PANEL) as (panels, rows, PANEL)."""
    return np.ascontiguousarray(array.reshape(len(array), -1, PANEL).transpose(1, 0, 2))
