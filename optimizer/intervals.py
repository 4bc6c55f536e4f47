"""Intervals of values, and of the sums, products and maxima of values within them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

LOWEST = np.finfo(np.float32).min
"""The lowest finite number of float32."""

_ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "Add": operator.add,
    "Sub": operator.sub,
    "Mul": operator.mul,
}


@dataclass(frozen=True)
class Interval:
    """Finite values are from ``least`` to ``most``; -inf may be there, too, +inf and NaN not."""

    least: float
    most: float
    infinite: bool = False


def of_first(operands: Sequence[Interval | None]) -> Interval | None:
    """Interval of elements of the first operand."""
    return operands[0]


def union(operands: Sequence[Interval | None]) -> Interval | None:
    """Interval of elements of any of the operands."""
    return _hull(operands, least=min, infinite=any)


def maximum(operands: Sequence[Interval | None]) -> Interval | None:
    """Interval of the greatest of elements of all operands."""
    return _hull(operands, least=max, infinite=all)


def _hull(
    operands: Sequence[Interval | None],
    least: Callable[[list[float]], float],
    infinite: Callable[[list[bool]], bool],
) -> Interval | None:
    known = [each for each in operands if each is not None]
    if len(known) < len(operands):
        return None
    return Interval(
        least([each.least for each in known]),
        max(each.most for each in known),
        infinite([each.infinite for each in known]),
    )


def arithmetic(op_type: str) -> Callable[[Sequence[Interval | None]], Interval | None]:
    """Interval of a sum, difference or product of float32; what overflows is infinite."""
    operate = _ARITHMETIC[op_type]

    def interval(operands: Sequence[Interval | None]) -> Interval | None:
        a, b = operands if len(operands) == 2 else (None, None)
        if a is None or b is None or (op_type == "Sub" and b.infinite):
            return None
        if op_type == "Mul" and ((a.infinite and b.least <= 0) or (b.infinite and a.least <= 0)):
            return None  # 0 times infinity, or infinity of the other sign
        exact = [operate(x, y) for x in (a.least, a.most) for y in (b.least, b.most)]
        with np.errstate(over="ignore"):
            bounds = np.array(exact).astype(np.float32)
        if np.isposinf(bounds).any():
            return None
        infinite = a.infinite or b.infinite or bool(np.isneginf(bounds).any())
        return Interval(
            float(max(bounds.min(), LOWEST)), float(max(bounds.max(), LOWEST)), infinite
        )

    return interval
