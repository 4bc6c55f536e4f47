"""Broadcasting of sizes, of which some are known by name only."""

from __future__ import annotations

from collections.abc import Sequence

from ..size_limits import drop_limited
from ..values import Size


def broadcast_sizes(shapes: Sequence[Sequence[Size] | None]) -> list[Size] | None:
    """Sizes of a broadcast result, None where they depend on which of two names is 1.

    There are none if the rank of an operand is not known.
    """
    known = [shape for shape in shapes if shape is not None]
    if len(known) < len(shapes):
        return None
    longest = max(map(len, known), default=0)
    padded: list[list[Size]] = [[*[1] * (longest - len(each)), *each] for each in known]
    return [_broadcast(set(column) - {1}) for column in zip(*padded, strict=True)]


def _broadcast(others: set[Size]) -> Size:
    """One size of a result, of the sizes of operands that are not 1."""
    others = drop_limited(others)
    if len(others) <= 1:
        return others.pop() if others else 1
    numbers = [size for size in others if isinstance(size, int)]
    return numbers[0] if len(numbers) == 1 else None
