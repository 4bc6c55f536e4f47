"""Strides: how the axes of a tensor lie in memory, and which of them a kernel walks as one."""

from __future__ import annotations

from collections.abc import Sequence

from .graph import OnHost
from .symbolic import Dim, product


def contiguous_strides(shape: Sequence[Dim], order: Sequence[int] | None = None) -> tuple[Dim, ...]:
    """Strides of a dense tensor whose axes lie in memory in ``order`` (outermost first)."""
    axes = list(order) if order is not None else list(range(len(shape)))
    strides: list[Dim] = [0] * len(shape)
    step: Dim = 1
    for axis in reversed(axes):
        strides[axis] = step
        step = step * shape[axis]
    return tuple(strides)


def channels_last_order(rank: int) -> tuple[int, ...]:
    """Axes of (N, C, spatial...) with the channels innermost."""
    return (0, *range(2, rank), 1)


def same_strides(shape: Sequence[Dim], a: Sequence[Dim], b: Sequence[Dim]) -> bool:
    """Tell whether two sets of strides reach the same elements (axes of size 1 do not count)."""
    return all(x == y or n == 1 for n, x, y in zip(shape, a, b, strict=True))


def channels_last_strides(shape: Sequence[Dim], strides: Sequence[Dim]) -> tuple[Dim, ...] | None:
    """Strides with channels of stride 1 and spatial axes in their usual order, evenly apart.

    Those of axes of size 1 are free and made to fit. None when elements would have to move.
    """
    own = list(strides)
    last = len(shape) - 1
    if shape[1] == 1:
        own[1] = 1
    step: Dim = own[last]
    for axis in range(last - 1, 1, -1):
        step = step * shape[axis + 1]
        if shape[axis] == 1:
            own[axis] = step
        elif own[axis] != step:
            return None
    if all(n == 1 for n in shape[2:]):
        own[2:] = contiguous_strides(shape, channels_last_order(len(shape)))[2:]
    return tuple(own) if own[1] == 1 else None


def padded_pixels(shape: Sequence[Dim], itemsize: int) -> tuple[Dim, ...]:
    """Shape (N, C, spatial...) with more channels where pixels would lie pages apart.

    Neighbouring pixels would compete for the same few lines of the first cache, and look to the
    processor as if a load depended on the store before it.
    """
    page, line = 512 if itemsize == 2 else 1024, 64
    channels = shape[1] * itemsize if len(shape) > 2 else 0
    has_neighbours = product(shape[2:]) != 1
    if not isinstance(channels, int) or not channels or channels % page or not has_neighbours:
        return tuple(shape)
    return (shape[0], shape[1] + line // itemsize, *shape[2:])


def collapse(
    shape: Sequence[Dim],
    axes: Sequence[int],
    table: Sequence[Sequence[Dim]],
    rank: int | None = None,
) -> tuple[list[Dim], list[list[Dim]]]:
    """Merge neighbouring axes (in memory order) that all operands walk through evenly.

    Parameters
    ----------
    shape, table
        Sizes, and for each operand its strides.
    axes
        Axes of interest, outermost first.
    rank : int, optional
        Number of axes wanted; missing ones are put in front, of size 1 and stride 0.

    Returns
    -------
    (dims, strides)
        Sizes, outermost first, and for each operand its strides over them.

    Raises
    ------
    OnHost
        More than ``rank`` axes are left.
    """
    dims: list[Dim] = []
    rows: list[list[Dim]] = [[] for _ in table]
    for axis in axes:
        size = shape[axis]
        if size == 1:
            continue
        steps = [row[axis] for row in table]
        if dims and all(row[-1] == step * size for row, step in zip(rows, steps, strict=True)):
            dims[-1] = dims[-1] * size
            for row, step in zip(rows, steps, strict=True):
                row[-1] = step
        else:
            dims.append(size)
            for row, step in zip(rows, steps, strict=True):
                row.append(step)
    missing = max((rank or 1) - len(dims), 0)
    if rank is not None and len(dims) > rank:
        raise OnHost(f"more than {rank} separate axes")
    ones: list[Dim] = [1] * missing
    zeros: list[Dim] = [0] * missing
    return ones + dims, [zeros + row for row in rows]
