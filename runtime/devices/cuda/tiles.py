"""Tiles of products and convolutions, by the GPU they are for."""

from __future__ import annotations

from typing import NamedTuple

from ....kernels.cuda.tiles import Tile
from ...emission import Emission
from .simulation import SIMULATED


class Tiles(NamedTuple):
    """Tiles of a GPU: ``usual`` ones, and those where there are few rows or columns."""

    usual: Tile
    few: Tile

    @classmethod
    def of(cls, emit: Emission) -> Tiles:
        """Return the tiles of the device that steps are emitted for.

        A simulated thread is one of the system, so there are few of them.
        """
        if emit.options["device"] == SIMULATED:
            return cls(Tile(8, 8, 4, 4, 4), Tile(4, 4, 4, 4, 2))
        return cls(Tile(128, 128, 8, 8, 8), Tile(32, 32, 16, 2, 2))
