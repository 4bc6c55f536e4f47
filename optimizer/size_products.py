"""Products of sizes that have names: batch times heads, as one axis of matrices.

A product is a name, too, made of those of its factors in order and the number they are multiplied
by, so that equal products have equal names whatever Reshape they come from.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from .size_sums import is_sum
from .values import Size

_TIMES = " (x) "
"""Stands between the factors; no exporter writes it."""


def multiply_sizes(a: Size, b: Size) -> Size:
    """Product of two sizes, None where one is not known."""
    return quotient_of_sizes([a, b], [])


def quotient_of_sizes(sizes: Iterable[Size], others: Iterable[Size]) -> Size:
    """Product of sizes over that of others, none of which is 0; None where it has no name."""
    above, below = _factors(sizes), _factors(others)
    if above is None or below is None:
        return None
    (names, number), (less, divisor) = above, below
    for name in less:
        if name not in names:
            return None
        names.remove(name)
    if not divisor or number % divisor:
        return None
    number //= divisor
    if not names or not number:
        return number
    if len(names) == 1 and number == 1:
        return names[0]
    if number < 0 or any(map(is_sum, names)):  # no size is below zero, and sums are not taken apart
        return None
    return _TIMES.join([*sorted(names), str(number)])


def _factors(sizes: Iterable[Size]) -> tuple[list[str], int] | None:
    """Names and the number of a product of sizes; None where one is not known."""
    names: list[str] = []
    numbers: list[int] = []
    for size in sizes:
        if size is None:
            return None
        if isinstance(size, int):
            numbers.append(size)
            continue
        *factors, last = [size] if is_sum(size) else size.split(_TIMES)
        names += factors or [last]
        numbers += [int(last)] if factors else []
    return names, math.prod(numbers)
