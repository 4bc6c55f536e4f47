"""TensorScatter: rows written into a cache from an index on, one for each of a batch."""

from __future__ import annotations

from ..registry import Pointer, kernel
from ..simd import load_i64
from .elements import copy_bytes
from .indices import out_of_range


@kernel
def check_begins(
    thread: int, part: int, until: int, parts: int, indices: Pointer, batch: int, most: int
) -> int:
    """Refuse indices (int64) below 0 or above ``most``, before rows in place are overwritten."""
    for i in range(batch):
        if load_i64(indices, i) < 0 or load_i64(indices, i) > most:
            return out_of_range(load_i64(indices, i))
    return 0


@kernel
def tensor_scatter(
    thread: int,
    part: int,
    until: int,
    parts: int,
    update: Pointer,
    y: Pointer,
    indices: Pointer,
    batch: int,
    outer: int,
    rows: int,
    room: int,
    row_bytes: int,
    cache_bytes: int,
    circular: int,
) -> int:
    """Write ``rows`` rows into each of ``outer`` caches of ``room`` rows for each of a batch.

    ``y`` already holds the caches, ``cache_bytes`` apart; ``update`` is dense. ``indices`` (int64,
    one for each of the batch) are zeros where they are null. Rows that go beyond the room are an
    error, or with ``circular`` go round to its beginning. Rows of all caches are split into parts.
    """
    per_batch = outer * rows
    for index in range(batch * per_batch * part // parts, batch * per_batch * until // parts):
        b, o, i = index // per_batch, index // rows, index % rows
        first = load_i64(indices, b) if indices != 0 else 0
        if circular == 0 and (first < 0 or first > room - rows):
            return out_of_range(first)
        at = (first % room + i) % room
        copy_bytes(y + o * cache_bytes + at * row_bytes, update + index * row_bytes, row_bytes)
    return 0
