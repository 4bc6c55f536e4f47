"""Blocks of axes: the axes before a reshape that become the same axes after it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from .values import Size

Block = tuple[tuple[int, ...], tuple[int, ...]]
"""Axes before and axes after that hold the same elements in the same order; neither is empty."""


def blocks(before: Sequence[Size], after: Sequence[Size]) -> list[Block]:
    """Split a reshape, from front and end, into the smallest blocks that can be told apart.

    Axes of size 1 belong to none: they may be anywhere. No size is 0.
    """
    olds = [axis for axis, size in enumerate(before) if size != 1]
    news = [axis for axis, size in enumerate(after) if size != 1]
    pairs: list[Block] = []
    for step in (1, -1):
        while (pair := _first(before, after, olds[::step], news[::step])) is not None:
            pairs.append((tuple(sorted(pair[0])), tuple(sorted(pair[1]))))
            olds = [axis for axis in olds if axis not in pair[0]]
            news = [axis for axis in news if axis not in pair[1]]
    # Axes left in the middle on both sides hold equally many elements; on one side, one.
    if olds and news:
        pairs.append((tuple(olds), tuple(news)))
    return sorted(pairs)


def _first(
    before: Sequence[Size], after: Sequence[Size], olds: list[int], news: list[int]
) -> tuple[list[int], list[int]] | None:
    """Fewest axes from the front that hold equally many elements; None where none are known to."""
    i = j = 1
    while i <= len(olds) and j <= len(news):
        old_number, old_names = _product([before[axis] for axis in olds[:i]])
        new_number, new_names = _product([after[axis] for axis in news[:j]])
        if None in old_names or None in new_names:
            return None
        if old_names == new_names and old_number == new_number:
            return olds[:i], news[:j]
        if old_names <= new_names and (old_names < new_names or old_number < new_number):
            i += 1
        elif new_names <= old_names:
            j += 1
        else:
            return None
    return None


def _product(sizes: list[Size]) -> tuple[int, Counter[Size]]:
    numbers = [size for size in sizes if isinstance(size, int)]
    return math.prod(numbers), Counter(size for size in sizes if not isinstance(size, int))


def carry(layout: Sequence[int], pairs: Sequence[Block], rank: int) -> tuple[int, ...] | None:
    """Layout of the axes after a reshape, when those before it come as ``layout`` has them.

    Parameters
    ----------
    layout : sequence of int
        The axes before, as they come.
    pairs : list of Block
        Axes before and after. Axes before that belong to none are left out; axes after that
        belong to none stay in front of the axis that follows them.
    rank : int
        Number of axes after.

    Returns
    -------
    tuple of int or None
        None when the axes of a block do not come one after the other any more.
    """
    block_of = {axis: block for block in pairs for axis in block[0]}
    left = [axis for axis in layout if axis in block_of]
    carried: list[int] = []
    while left:
        old, new = block_of[left[0]]
        if tuple(left[: len(old)]) != old:
            return None
        carried += new
        left = left[len(old) :]
    for axis in reversed(range(rank)):
        if axis not in carried:
            carried.insert(carried.index(axis + 1) if axis + 1 < rank else len(carried), axis)
    return tuple(carried)


def reshape_target(before: Sequence[Size], after: Sequence[Size]) -> list[int] | None:
    """Target of a Reshape between sizes; None where it would need more than one -1."""
    target = []
    for axis, size in enumerate(after):
        same = isinstance(size, str) and axis < len(before) and before[axis] == size
        target.append(0 if same else size if isinstance(size, int) else -1)
    return None if target.count(-1) > 1 or 0 in after else target


def as_reshape(sizes: Sequence[Size] | None, order: Sequence[int]) -> list[int] | None:
    """Target of the Reshape equal to a Transpose that moves axes of size 1 only, None of others."""
    if sizes is None or len(sizes) < 3:  # matrices are transposed by the products that take them
        return None
    left = [axis for axis in order if sizes[axis] != 1]
    return reshape_target(sizes, [sizes[axis] for axis in order]) if left == sorted(left) else None
