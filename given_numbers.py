"""Numbers that options are given: truth values, which Python counts among them, are none."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

from .errors import InvalidArgument


def is_whole(value: Any) -> bool:
    """Tell whether a value is a whole number."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_finite(value: Any) -> bool:
    """Tell whether a value is a finite number."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def whole(value: Any, expected: str, least: int = 0, most: int | None = None) -> int:
    """Return the whole number that an option is given.

    Parameters
    ----------
    value
        What was given.
    expected : str
        Name of the option and what it must be, for the error.
    least, most : int
        Bounds, which it may be; none above without ``most``.

    Raises
    ------
    InvalidArgument
        It is none, or is out of bounds; says what was expected, and what came.
    """
    if not is_whole(value) or value < least or (most is not None and value > most):
        raise InvalidArgument(f"{expected}, not {value!r}")
    return int(value)
