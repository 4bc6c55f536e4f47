"""Small weights of products: panels of whole numbers of 2, 4 or 8 bits, or of halves.

A panel has `PANEL` columns. Numbers are in words of 32 bits, each with consecutive rows of one
column, the lowest bits first; a vector of words has as many columns as lanes. Halves lie row by
row. Whole numbers stand for ``(number - zero) * scale``, with scales and zeros for each block of
rows, or one for all.
"""

from __future__ import annotations

import numpy as np

from ..target import EMBEDDED_BROADCAST, LANES

VECTORS = 4 if EMBEDDED_BROADCAST else 2
"""Vectors of columns of a panel: with the sums of four rows they fit the registers."""
PANEL = VECTORS * LANES
BITS = {"u2": 2, "u4": 4, "u8": 8, "f16": 16, "bf16": 16}
"""Bits of a weight, by kind."""
MAGIC = 0x4B000000
"""Bits of the float32 2 ** 23, the last of which count ones: or-ed with a number, its sum."""


def is_whole(kind: str) -> bool:
    """Tell whether weights are whole numbers with scales."""
    return kind[0] == "u"


def rows_of_unit(kind: str) -> int:
    """Rows that a word of each column holds."""
    return 32 // BITS[kind] if is_whole(kind) else 1


def unit_bytes(kind: str) -> int:
    """Bytes of the words of a panel that hold the same rows."""
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
