"""Which axes before a change of the shape are which after it, and how that moves their order."""

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
    found: list[Block] = []
    for step in (1, -1):
        while (taken := _first(before, after, olds[::step], news[::step])) is not None:
            found.append((tuple(sorted(taken[0])), tuple(sorted(taken[1]))))
            olds = [axis for axis in olds if axis not in taken[0]]
            news = [axis for axis in news if axis not in taken[1]]
    # What is left in the middle holds as much as what is left there; alone, it has size 1, too.
    if olds and news:
        found.append((tuple(olds), tuple(news)))
    return sorted(found)


def _first(
    before: Sequence[Size], after: Sequence[Size], olds: list[int], news: list[int]
) -> tuple[list[int], list[int]] | None:
    """Take the fewest axes of both ends that hold as much; None where that cannot be told."""
    i = j = 1
    while i <= len(olds) and j <= len(news):
        number, names = _product([before[axis] for axis in olds[:i]])
        other, others = _product([after[axis] for axis in news[:j]])
        if None in names or None in others:
            return None
        if names == others and number == other:
            return olds[:i], news[:j]
        if names <= others and (names < others or number < other):
            i += 1
        elif others <= names:
            j += 1
        else:
            return None
    return None


def _product(sizes: list[Size]) -> tuple[int, Counter[Size]]:
    numbers = [size for size in sizes if isinstance(size, int)]
    return math.prod(numbers), Counter(size for size in sizes if not isinstance(size, int))


def carry(layout: Sequence[int], found: Sequence[Block], rank: int) -> tuple[int, ...] | None:
    """Tell in which order the axes after come, when those before come as ``layout`` has them.

    Parameters
    ----------
    layout : sequence of int
        The axes before, as they come.
    found : list of Block
        What becomes what. Axes before that belong to none are left out; axes after that belong
        to none stay in front of the axis that follows them.
    rank : int
        Number of axes after.

    Returns
    -------
    tuple of int or None
        None when the axes of a block do not come one after the other any more.
    """
    block_of = {axis: block for block in found for axis in block[0]}
    left = [axis for axis in layout if axis in block_of]
    made: list[int] = []
    while left:
        old, new = block_of[left[0]]
        if tuple(left[: len(old)]) != old:
            return None
        made += new
        left = left[len(old) :]
    for axis in reversed(range(rank)):
        if axis not in made:
            made.insert(made.index(axis + 1) if axis + 1 < rank else len(made), axis)
    return tuple(made)


def reshape_target(before: Sequence[Size], after: Sequence[Size]) -> list[int] | None:
    """Target of a Reshape between sizes; None when more than one would have to be found out."""
    target = []
    for axis, size in enumerate(after):
        same = isinstance(size, str) and axis < len(before) and before[axis] == size
        target.append(0 if same else size if isinstance(size, int) else -1)
    return None if target.count(-1) > 1 or 0 in after else target


def as_reshape(sizes: Sequence[Size] | None, order: Sequence[int]) -> list[int] | None:
    """Target of the Reshape that does what a Transpose does, as only axes of size 1 move."""
    if sizes is None or len(sizes) < 3:  # matrices are transposed by the products that take them
        return None
    left = [axis for axis in order if sizes[axis] != 1]
    return reshape_target(sizes, [sizes[axis] for axis in order]) if left == sorted(left) else None
