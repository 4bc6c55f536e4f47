"""Sizes with a limit, as the first rows of a table are, and the greater and smaller of two sizes.

As positions are read off a table of all: ``table[:length]``. Where such a size meets the one that
it was cut at, they are equal, or one of them is 1: the result has the latter.
"""

from __future__ import annotations

from collections.abc import Callable

from .values import Size

_AT_MOST = " (<) "
"""Stands between a size and its limit; no exporter writes it."""


def limit_size(size: Size, most: Size) -> Size:
    """Return the smaller of a size that has a name and a number; None for other ones."""
    is_name = isinstance(size, str) and " (" not in size
    return f"{size}{_AT_MOST}{most}" if is_name and isinstance(most, int) else None


def drop_limited(sizes: set[Size]) -> set[Size]:
    """Leave out sizes whose unlimited ones are there, too."""

    def is_limited(size: Size) -> bool:
        return isinstance(size, str) and _AT_MOST in size and size.split(_AT_MOST)[0] in sizes

    return {size for size in sizes if not is_limited(size)}


def greater_size(a: Size, b: Size) -> Size:
    """Greater of two sizes, of which none that has a name is below zero; None if not known."""
    return _one_of(max, a, b)


def smaller_size(a: Size, b: Size) -> Size:
    """Smaller of two sizes, of which none that has a name is below zero; None if not known."""
    return _one_of(min, a, b)


def _one_of(choose: Callable[[int, int], int], a: Size, b: Size) -> Size:
    if a is None or b is None or a == b:
        return a if a == b else None
    if isinstance(a, int) and isinstance(b, int):
        return choose(a, b)
    name, number = (a, b) if isinstance(a, str) else (b, a)
    if isinstance(number, str) or number > 0:
        return None
    return name if choose is max else number
