"""Placement of tiles in shared memory, so that no bank serves two lanes at once.

A row of a tile has 128 bytes, one of each bank; pieces of 16 bytes are permuted within it by the
row's number. So eight lanes that read the same piece of eight neighbouring rows (`ldmatrix`, PTX
ISA 9.7.14.5.15), or all pieces of one (copies), meet all banks. wgmma calls it the 128-byte swizzle
(9.7.15.5.1): bits 4 to 6 of an address are exclusive-or-ed with bits 7 to 9.
"""

from __future__ import annotations

ROW = 128
"""Bytes of a row."""
PIECE = 16
PIECES = ROW // PIECE


def placed(row: int, piece: int) -> int:
    """Return where a piece of a row is, in bytes from the start of a tile aligned to 1024 bytes."""
    return row * ROW + ((piece ^ (row & 7)) << 4)


def conflicts(addresses: list[int], size: int) -> int:
    """Count further cycles that accesses of a warp's lanes take because of shared banks.

    Parameters
    ----------
    addresses : list of int
        Addresses of 32 lanes.
    size : int
        Bytes of each: those of 8 are served for 16 lanes at a time, those of 16 for 8.

    Returns
    -------
    int
        Cycles beyond one for each group of lanes.
    """
    lanes = min(32, ROW // size)
    extra = 0
    for start in range(0, len(addresses), lanes):
        words: dict[int, set[int]] = {}
        for address in addresses[start : start + lanes]:
            for word in range(address // 4, (address + size) // 4):
                words.setdefault(word % 32, set()).add(word)
        extra += max(map(len, words.values()), default=1) - 1
    return extra
