"""Sizes with a limit: the first rows of a table, of which there are no more than the table has.

As positions are read off a table of all: ``table[:length]``. Where such a size meets the one that
it was cut at, they are equal, or one of them is 1: the result has the latter.
"""

from __future__ import annotations

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
