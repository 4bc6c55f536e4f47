"""What the cells of an item and the next step will need, brought into caches while tiles multiply.

Cells meet their memory in short pieces, for which a processor fetches nothing by itself: they would
wait for every vector.
"""

from __future__ import annotations

from typing import Any

from numba import njit

from ..simd import prefetch, prefetch_to_write
from .recurrent_cells import GATES
from .recurrent_functions import Arithmetic
from .recurrent_steps import time_of

_LINE = 64  # bytes


def bring_ahead(cell: str, of: Arithmetic, is_joined: bool) -> Any:
    """Make what fetches for the vectors ``begin`` to ``end`` of ``rows`` sequences at a step.

    States stay in a cache: to fetch those that weights displace did not pay (LSTM 512, Zen 4).
    """
    gates, itemsize, lanes = GATES[cell], of.itemsize, of.lanes

    @njit
    def bring_inputs(layer: Any, d: int, b: int, t: int, begin: int, end: int) -> None:
        """Products with inputs; the biases of a joined layer stay in a cache."""
        time, _ = time_of(layer, d, b, t)
        first = time * layer.input_step + b * layer.input_batch + d * layer.vectors * lanes * gates
        for v in range(begin * gates, end * gates):
            prefetch(layer.inputs + (first + v * lanes) * itemsize)

    @njit
    def bring_results(layer: Any, d: int, b: int, t: int, begin: int, end: int) -> None:
        time, _ = time_of(layer, d, b, t)
        row = time * layer.y_step + b * layer.y_batch + d * layer.y_direction
        for v in range(begin, end):
            prefetch_to_write(layer.y + (row + v * lanes) * itemsize)

    @njit
    def bring_rows(layer: Any, d: int, b: int, t: int, block: int) -> None:
        """A block's share of a row of inputs."""
        count = layer.features * itemsize
        time, _ = time_of(layer, d, b, t)
        row = layer.x + (time * layer.x_step + b * layer.x_batch) * itemsize
        for at in range(block * count // layer.blocks, (block + 1) * count // layer.blocks, _LINE):
            prefetch(row + at)

    @njit
    def bring(
        layer: Any, d: int, first: int, rows: int, t: int, block: int, begin: int, end: int
    ) -> None:
        if rows == 1:  # whose memory lies in order
            return
        for b in range(first, first + rows):
            if not is_joined:
                bring_inputs(layer, d, b, t, begin, end)
            elif t + 1 < layer.steps:
                bring_rows(layer, d, b, t + 1, block)
            if layer.y != 0:
                bring_results(layer, d, b, t, begin, end)

    return bring
