"""Weights as bfloat16 terms, in the panels that AMX's tiles of `term_conv` read."""

from __future__ import annotations

import numpy as np

from ..bfloat_terms import BLOCK
from .packed_weights import round_to_bfloat16

_COLUMNS = 16


def terms_of(values: np.ndarray, count: int) -> list[np.ndarray]:
    """Split finite float32 into terms, the bits of bfloat16: the nearest, then what is left."""
    found, rest = [], np.asarray(values, np.float32)
    for _ in range(count):
        found.append(round_to_bfloat16(rest))
        rest = rest - (found[-1].astype(np.uint32) << 16).view(np.float32)
    return found


def fits_terms(values: np.ndarray) -> bool:
    """Tell whether all weights are finite, and stay so when rounded to bfloat16."""
    return bool(np.abs(values).max(initial=0.0) < float(np.finfo(np.float32).max) * (1 - 2.0**-8))


def are_bfloat16(values: np.ndarray) -> bool:
    """Tell whether bfloat16 holds all of some float32 exactly."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return not bool((bits & np.uint32(0xFFFF)).any())


def pack_terms(weights: np.ndarray, groups: int, terms: int) -> np.ndarray:
    """Pack convolution weights (M, C / groups, kh, kw) of float32.

    Returns
    -------
    ndarray of int32
        For each group panels of 32 output channels, the last of 16 where no more are left. In a
        panel for each block of 32 channels, and tap: by terms, then by halves of the panel, a tile
        (16, 16) of pairs of channels.
    """
    count = weights.shape[0] // groups
    parts = [weights[i * count : (i + 1) * count] for i in range(groups)]
    return np.concatenate([_pack_group(part, terms) for part in parts])


def _pack_group(weights: np.ndarray, terms: int) -> np.ndarray:
    count, channels, *taps = weights.shape
    tiles, blocks = -(-count // _COLUMNS), -(-channels // BLOCK)
    padded = np.zeros((tiles * _COLUMNS, blocks * BLOCK, *taps), np.float32)
    padded[:count, :channels] = weights
    # (tile, column, block, pair, half of a pair, taps) of each term
    shape = (tiles, _COLUMNS, blocks, BLOCK // 2, 2, taps[0] * taps[1])
    split = np.stack([term.reshape(shape) for term in terms_of(padded, terms)])
    ordered = split.transpose(1, 3, 6, 0, 4, 2, 5)  # tile, block, tap, term, pair, column, half
    wide = tiles // 2 * 2
    pairs = (
        ordered[:wide].reshape(wide // 2, 2, *ordered.shape[1:]).transpose(0, 2, 3, 4, 1, 5, 6, 7)
    )
    flat = [np.ascontiguousarray(part).reshape(-1) for part in (pairs, ordered[wide:])]
    return np.concatenate(flat).view(np.int32)
