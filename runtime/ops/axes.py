"""Axes given at run time: 0 or 1 for each axis of a tensor, and sizes that are made of these.

Of axes that are known they are numbers, so that rules and lowerings are written once for both.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..emission import Emission
from ..symbolic import (
    Dim,
    is_content,
    maximum,
    minimum,
    not_one,
    product,
    sum_dims,
    symbols_in,
)


def is_equal(a: Dim, b: Dim) -> Dim:
    """1 where two sizes are the same, else 0."""
    return 1 - not_one(a - b + 1)


def is_below_zero(a: Dim) -> Dim:
    """1 where a number is below zero, else 0."""
    return minimum(maximum(-1 * a, 0), 1)


def is_data_dependent(size: Dim) -> bool:
    """Tell whether a size is made of elements of tensors: it may be below zero, or huge."""
    return any(map(is_content, symbols_in(size)))


def listed(axes: Sequence[Dim], rank: int) -> list[Dim]:
    """1 for each axis that is in a list, from either end, else 0."""
    return [sum_dims(is_equal(axis % rank, i) for axis in axes) for i in range(rank)]


def by_axis(axes: Sequence[Dim], values: Sequence[Dim], others: Sequence[Dim]) -> list[Dim]:
    """Return the values of the axes that are listed, in the order of all axes.

    Parameters
    ----------
    axes, values : sequence of Dim
        The list, and a value for each of it.
    others : sequence of Dim
        What stands for each axis that is not listed.
    """
    rank = len(others)
    found = []
    for i, other in enumerate(others):
        flags = [is_equal(axis % rank, i) for axis in axes]
        chosen = sum_dims(flag * value for flag, value in zip(flags, values, strict=True))
        found.append(chosen + (1 - sum_dims(flags)) * other)
    return found


def chosen(dims: Sequence[Dim], flags: Sequence[Dim], count: int) -> list[Dim]:
    """Return the sizes whose flag is 1, of which there are so many, in their order."""
    places = [sum_dims(flags[:i]) for i in range(len(flags))]
    terms = list(zip(dims, flags, places, strict=True))
    return [
        sum_dims(flag * is_equal(place, j) * dim for dim, flag, place in terms)
        for j in range(count)
    ]


def around(dims: Sequence[Dim], axis: Dim) -> tuple[Dim, Dim, Dim]:
    """Return the number of elements before an axis, its size, and the number behind it."""
    flags = listed([axis], len(dims))
    before = [sum_dims(flags[i + 1 :]) for i in range(len(flags))]
    behind = [sum_dims(flags[:i]) for i in range(len(flags))]
    outer = product(1 + flag * (dim - 1) for flag, dim in zip(before, dims, strict=True))
    inner = product(1 + flag * (dim - 1) for flag, dim in zip(behind, dims, strict=True))
    return outer, sum_dims(f * dim for f, dim in zip(flags, dims, strict=True)), inner


def check_axes(emit: Emission, axes: Sequence[Dim], rank: int) -> None:
    """Demand of axes given at run time that they are in range, and each there once."""
    if all(isinstance(axis, int) for axis in axes):
        return
    for axis in axes:
        nearest = maximum(minimum(axis, rank - 1), -rank)
        emit.check(axis, nearest, f"an axis, and the nearest of {rank} axes")
    for i, count in enumerate(listed(axes, rank)):
        emit.check(maximum(count, 1), 1, f"how often axis {i} is listed, and 1")
