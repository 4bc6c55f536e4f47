"""Streams: small weights (`packed_weights`) in the order in which a product of few rows reads them.

A panel of whole numbers begins with a head, the scales of its columns and perhaps their zeros, of
one byte each; where each block of rows has its own, a head precedes each block. Memory is then one
stream, which processors follow by themselves, and which is asked for ahead of time as a whole:
three streams that lie apart, short ones among them, came at 0.8 of its rate. Other weights have no
heads.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import njit

from ..registry import Pointer
from ..target import LANES
from ..vector_memory import ITEM_BYTES
from .packed_weights import PANEL, by_panel, is_whole, rows_of_unit, unit_bytes

_UNIT = 4 * LANES
"""Bytes of which heads are a multiple, so that vectors of weights lie within cache lines."""


def least_head_bytes(kind: str, form: str) -> int:
    """Bytes of a head without zeros, whose scales are of ``form``."""
    return _rounded(PANEL * ITEM_BYTES[form]) if is_whole(kind) else 0


def make_places(kind: str, form: str) -> Callable[..., tuple[int, int, int]]:
    """Return what says where parts of a panel lie: a compiled function.

    It takes the depth, the rows of a block, whether heads have zeros, and whether each block has a
    head. It returns the bytes of a head, those from a block to the next, and those of a panel.
    """
    each, step, scales = rows_of_unit(kind), unit_bytes(kind), least_head_bytes(kind, form)
    more = _rounded(PANEL * (ITEM_BYTES[form] + 1)) - scales if is_whole(kind) else 0

    @njit
    def places(depth: int, block: int, zeros: int, heads: int) -> tuple[int, int, int]:
        head = scales + more if zeros != 0 else scales
        count, between = (depth + block - 1) // block, head
        if heads == 0:
            count, between = 1, 0
        units = (depth + each - 1) // each
        return head, block // each * step + between, units * step + count * head

    compiled: Callable[..., tuple[int, int, int]] = places
    return compiled


def make_head_at(form: str) -> Callable[..., tuple[Pointer, Pointer]]:
    """Return what finds the scales and zeros of a block, by a panel and the bytes of a block."""
    scales = PANEL * ITEM_BYTES[form]

    @njit
    def head_at(panel: Pointer, apart: int, heads: int, number: int) -> tuple[Pointer, Pointer]:
        head = panel + number * apart if heads != 0 else panel
        return head, head + scales

    compiled: Callable[..., tuple[Pointer, Pointer]] = head_at
    return compiled


def pack_stream(
    words: np.ndarray, scales: np.ndarray, zeros: np.ndarray | None, block: int, kind: str
) -> np.ndarray:
    """Put heads between words of whole numbers.

    Parameters
    ----------
    words : ndarray of uint32
        (panels, words of a column, PANEL), those of `packed_weights.pack_numbers`.
    scales : ndarray of float32 or float16
        (blocks, columns); of one block where all rows have the same.
    zeros : ndarray of uint8, optional
        As scales; not given where all are the same.
    block : int
        Rows of a block.
    kind : str
        That of the numbers.

    Returns
    -------
    ndarray of uint8
        (panels, bytes of a panel).
    """
    heads = [_by_panel(each) for each in (scales, zeros) if each is not None]
    size = sum(head.shape[2] for head in heads)
    panels, count, _ = heads[0].shape
    heads.append(np.zeros((panels, count, _rounded(size) - size), np.uint8))
    head = np.concatenate(heads, axis=2)
    units = block // rows_of_unit(kind) if count > 1 else words.shape[1]
    pieces = []
    for i in range(count):
        own = np.ascontiguousarray(words[:, i * units : (i + 1) * units])
        pieces += [head[:, i], own.view(np.uint8).reshape(panels, -1)]
    return np.concatenate(pieces, axis=1)


def _rounded(size: int) -> int:
    return -(-size // _UNIT) * _UNIT


def _by_panel(values: np.ndarray) -> np.ndarray:
    """(blocks, columns) as the bytes of (panels, blocks, PANEL), zeros beyond the last column."""
    padded = np.zeros((len(values), -(-values.shape[1] // PANEL) * PANEL), values.dtype)
    padded[:, : values.shape[1]] = values
    return by_panel(padded).view(np.uint8)
