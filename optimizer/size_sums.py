"""Sums of sizes that have names: a cache's length and that of what comes to it.

A sum is a name, too, made of those of its terms in order and the number that is added to them, so
that equal sums have equal names however they were added up.
"""

from __future__ import annotations

from .values import Size

_AND = " (+) "
"""Stands between the terms; no exporter writes it."""


def is_sum(size: Size) -> bool:
    """Tell whether a size is a sum of others."""
    return isinstance(size, str) and _AND in size


def add_sizes(a: Size, b: Size) -> Size:
    """Sum of two sizes, None where one is not known."""
    if a is None or b is None:
        return None
    (names, number), (more, other) = _terms(a), _terms(b)
    return _sum([*names, *more], number + other)


def subtract_sizes(a: Size, b: Size) -> Size:
    """Difference of two sizes, None where it is no sum of names."""
    if a is None or b is None:
        return None
    (names, number), (less, other) = _terms(a), _terms(b)
    for name in less:
        if name not in names:
            return None
        names.remove(name)
    return _sum(names, number - other)


def _terms(size: int | str) -> tuple[list[str], int]:
    if isinstance(size, int):
        return [], size
    *names, last = size.split(_AND)
    return (names, int(last)) if names else ([size], 0)


def _sum(names: list[str], number: int) -> Size:
    if not names:
        return number
    if number < 0:  # it may be below zero, which no size is
        return None
    if len(names) == 1 and not number:
        return names[0]
    return _AND.join([*sorted(names), str(number)])
