"""Values that lie with the host: arrays, lists of them (sequences), dicts (maps) and None.

Working memory is used again by later steps and later runs, so no such value may hold a part of it.
Three rules see to that: an operator on the host cannot write into what it is given (`protected`),
what it gives is kept without working memory (`detached`), and what a run returns is the caller's
own (`copied`, or `given_away` by the last who refers to it).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np


def protected(value: Any) -> Any:
    """Return a value with read-only arrays and containers of its own; the arrays' memory is shared.

    A view of a read-only array is read-only, too, whatever an operator does with it.
    """
    return _with_arrays(value, _read_only)


def detached(value: Any, is_lent: Callable[[np.ndarray], bool]) -> Any:
    """Return a value with copies of those arrays whose memory is lent for a while."""
    return _with_arrays(value, lambda array: array.copy() if is_lent(array) else array)


def copied(value: Any) -> Any:
    """Return a value that shares no memory with any other."""
    return _with_arrays(value, _copy)


def given_away(value: Any) -> Any:
    """Return a value as the caller's own: copied if anything but the call itself refers to it."""
    if type(value) is np.ndarray and value.base is None and value.flags.writeable:
        return value if sys.getrefcount(value) == _SOLE else copied(value)
    return copied(value)


def bytes_of(value: Any) -> int:
    """Return the bytes of all arrays of a value."""
    if isinstance(value, np.ndarray):
        return value.nbytes
    if isinstance(value, dict):
        value = list(value.values())
    return sum(map(bytes_of, value)) if isinstance(value, list | tuple) else 0


def _references(value: Any) -> int:
    return sys.getrefcount(value)


_SOLE = _references(np.empty(0))
"""What is counted of an array within a function to which its last reference was handed."""


def _with_arrays(value: Any, change: Callable[[np.ndarray], np.ndarray]) -> Any:
    if isinstance(value, np.ndarray):
        return change(value)
    if isinstance(value, list | tuple):
        if value and _is_plain(value[0]):
            return [dict(item) for item in value]
        return [
            change(item) if type(item) is np.ndarray else _with_arrays(item, change)
            for item in value
        ]
    if isinstance(value, dict):
        return (
            dict(value)
            if _is_plain(value)
            else {key: _with_arrays(item, change) for key, item in value.items()}
        )
    return value


def _is_plain(value: Any) -> bool:
    """Tell whether a value is a map without arrays: all that a sequence or a map has is alike."""
    if not isinstance(value, dict):
        return False
    return isinstance(next(iter(value.values()), None), float | int | str)


def _copy(array: np.ndarray) -> np.ndarray:
    return array.copy() if type(array) is np.ndarray else np.array(array, order="C")


def _read_only(array: np.ndarray) -> np.ndarray:
    view = array.view()
    view.flags.writeable = False
    return view
