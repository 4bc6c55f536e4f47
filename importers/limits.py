"""Limits on what a file becomes in memory: one of a few bytes must not fill it.

Archives and HDF5 compress, and formats declare sizes of what they do not hold.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Sequence

from ..errors import UnsupportedModel
from ..given_numbers import whole

EXPANSION_LIMIT = 1 << 28
"""Bytes that a small file may take in memory."""

_RATIO = 8
"""Bytes that a large file may take for each of its own; of weights, few compress to less."""


class Budget:
    """What a file may still take in memory.

    Parameters
    ----------
    path : str
        The file.
    limit : int, optional
        Bytes; by default `EXPANSION_LIMIT`, or eight times the size of the file.
    """

    def __init__(self, path: str, limit: int | None = None) -> None:
        if limit is None:
            limit = max(EXPANSION_LIMIT, _RATIO * os.path.getsize(path))
        limit = whole(limit, "expansion_limit must be a number of bytes")
        self.path, self.limit, self.left = path, limit, limit

    def spend(self, size: int, what: str, shape: Sequence[int] | None = None) -> None:
        """Take bytes for a part of the file.

        Raises
        ------
        UnsupportedModel
            Fewer are left; names the part.
        """
        self.left -= size
        if self.left < 0:
            of_shape = "" if shape is None else f" of shape {list(shape)}"
            raise UnsupportedModel(
                f"{self.path}: {what}{of_shape} takes {size} bytes in memory, and with what was "
                f"read before more than {self.limit} (expansion_limit= allows more)"
            )


def check_archive(archive: zipfile.ZipFile, budget: Budget) -> None:
    """Refuse a zip archive whose entries are too large once they are unpacked."""
    for entry in archive.infolist():
        budget.spend(entry.file_size, f"entry {entry.filename!r}")
