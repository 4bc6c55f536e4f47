"""Minimal filtering: the matrices of Winograd's convolution.

F(m, r) computes m neighbouring outputs of a filter of r taps with m + r - 1 multiplications:
``y = A ((G g) * (B d))`` for m + r - 1 inputs d. The matrices come from evaluating polynomials at
points and interpolating (Cook-Toom; Winograd, "Arithmetic Complexity of Computations", 1980; Lavin
& Gray, "Fast Algorithms for Convolutional Neural Networks", 2016), in exact fractions.

A filter of stride s is a sum of s filters of stride 1, each over every s-th sample and with every
s-th tap: its *polyphase components*. All are evaluated at the points of the longest, so that their
products are summed before the one transform back.
"""

from __future__ import annotations

import functools
import itertools
import math
from fractions import Fraction
from typing import NamedTuple, TypeAlias

import numpy as np

# Beside 0 and infinity. Of pairs +-a, +-b that are short binary fractions, these give the least
# error in float32: a third of that of the usual +-1, +-2, and little more than direct summation.
_POINTS = {
    0: (),
    1: (),
    2: (Fraction(0),),
    3: (Fraction(3, 4), Fraction(-3, 4)),
    4: (Fraction(0), Fraction(1), Fraction(-1)),
    5: (Fraction(3, 8), Fraction(-3, 8), Fraction(3, 2), Fraction(-3, 2)),
    6: (Fraction(0), Fraction(3, 4), Fraction(-3, 4), Fraction(3, 2), Fraction(-3, 2)),
}
_WHOLE_POINTS = {
    4: (Fraction(0), Fraction(1), Fraction(-1)),
    6: (Fraction(0), Fraction(1), Fraction(-1), Fraction(2), Fraction(-2)),
}
"""Those whose matrices are of small whole numbers."""
_FILTERS = 1 << 13
"""Filters that are transformed together: their points stay in a cache."""
Matrix: TypeAlias = list[list[Fraction]]


def _product(roots: list[Fraction]) -> list[Fraction]:
    """Coefficients of the product of (x - root), lowest first."""
    product = [Fraction(1)]
    for root in roots:
        shifted, scaled = [Fraction(0), *product], [root * c for c in product] + [Fraction(0)]
        product = [a - b for a, b in zip(shifted, scaled, strict=True)]
    return product


@functools.cache
def matrices(m: int, r: int) -> tuple[Matrix, Matrix, Matrix]:
    """Return A (m x t), G (t x r) and B (t x t) of F(m, r), with t = m + r - 1 of 1 or 3 to 6."""
    t = m + r - 1
    if t == 1:
        one = [[Fraction(1)]]
        return one, one, one
    return _at_points(list(_POINTS[t]), m, r)


def _at_points(points: list[Fraction], m: int, r: int) -> tuple[Matrix, Matrix, Matrix]:
    b, g = [], []
    for i, point in enumerate(points):
        others = points[:i] + points[i + 1 :]
        scale = functools.reduce(lambda x, y: x * y, (point - p for p in others), Fraction(1))
        b.append([*_product(others), Fraction(0)])
        g.append([point**j / scale for j in range(r)])
    b.append(_product(points))
    g.append([Fraction(int(j == r - 1)) for j in range(r)])
    a = [[point**i for point in points] + [Fraction(int(i == m - 1))] for i in range(m)]
    return a, g, b


class WholeMatrices(NamedTuple):
    """Matrices of whole numbers with ``divisors * y = A ((G g) * (B d))``, a divisor an output."""

    a: Matrix
    g: Matrix
    b: Matrix
    divisors: tuple[int, ...]


@functools.cache
def whole_matrices(m: int, r: int) -> WholeMatrices:
    """Return whole matrices of F(m, r), with divisors and numbers of A as small as can be."""
    a, g, b = _at_points(list(_WHOLE_POINTS[m + r - 1]), m, r)
    scales = [math.lcm(*(x.denominator for x in row)) for row in g]
    g = [[x * scale for x in row] for row, scale in zip(g, scales, strict=True)]
    a = [[x / scale for x, scale in zip(row, scales, strict=True)] for row in a]
    divisors = []
    for i, row in enumerate(a):
        divisors.append(math.lcm(*(x.denominator for x in row)))
        a[i] = [x * divisors[i] for x in row]
    # What all outputs multiply a point by is a factor of its weights.
    for k, column in enumerate(zip(*a, strict=True)):
        factor = math.gcd(*(int(x) for x in column))
        factor = -factor if all(x <= 0 for x in column) else factor
        g[k] = [x * factor for x in g[k]]
        a = [[*row[:k], row[k] / factor, *row[k + 1 :]] for row in a]
    return WholeMatrices(a, g, b, tuple(divisors))


class Component(NamedTuple):
    """Every s-th sample of a tile: its taps ``g``, and samples ``b``, transformed to points.

    ``g`` has one row for each point, or a single one for all of them.
    """

    g: Matrix
    b: Matrix


def longest(r: int, stride: int) -> int:
    """Taps of the longest polyphase component, the first."""
    return -(-r // stride)


@functools.cache
def components(m: int, r: int, stride: int) -> list[Component]:
    """Return the polyphase components of a filter of r >= stride taps, for m outputs.

    Outputs are ``stride`` samples apart. Points are those of F(m, longest), whose A transforms the
    sums of their products back.
    A component that is a tap shorter does without the last point (infinity) and the last sample.
    """
    most = longest(r, stride)
    _, g, b = matrices(m, most)
    result = [Component(g, b)]
    for first in range(1, stride):
        taps = len(range(first, r, stride))
        if taps == most:
            result.append(result[0])
            continue
        rows, columns = [row[:taps] for row in g[:-1]], [row[:-1] for row in b[:-1]]
        if taps == 1:
            # What is left of the filter's transform is a factor, which the samples can have.
            columns = [
                [c * row[0] for c in column] for row, column in zip(rows, columns, strict=True)
            ]
            rows = [[Fraction(1)]]
        result.append(Component(rows, columns))
    return result


def transform_weights(
    weights: np.ndarray, tile: tuple[int, int], strides: tuple[int, int] = (1, 1)
) -> np.ndarray:
    """Transform filters (M, C, kh, kw) for tiles of outputs.

    Returns
    -------
    ndarray of float32
        (matrices, C, M), polyphase components and then points counting rows first; computed in
        float64.
    """
    down, across = (
        [np.array(component.g, np.float64) for component in components(m, r, stride)]
        for m, r, stride in zip(tile, weights.shape[2:], strides, strict=True)
    )
    out_channels, channels = weights.shape[:2]
    count = sum(map(len, down)) * sum(map(len, across))
    transformed = np.empty((count, channels, out_channels), np.float32)
    step = max(_FILTERS // max(out_channels, 1), 1)
    for first in range(0, channels, step):
        some = slice(first, first + step)
        taps = np.ascontiguousarray(weights[:, some].transpose(2, 3, 1, 0), np.float64)
        points = []
        for (i, left), (j, right) in itertools.product(enumerate(down), enumerate(across)):
            own = taps[i :: strides[0], j :: strides[1]]
            half = right @ own.reshape(*own.shape[:2], -1)
            whole = left @ half.reshape(len(half), -1)
            points.append(whole.reshape(-1, *own.shape[2:]))
        transformed[:, some] = np.concatenate(points)
    return transformed
