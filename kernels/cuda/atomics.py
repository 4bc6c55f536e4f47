"""Changes of numbers in memory that no other thread's change is lost in.

A change is repeated until nobody has come between, by a compare-exchange of the number's bits.
Which thread comes first differs from run to run, and with it the rounding of sums.
"""

from __future__ import annotations

import functools
import threading
from typing import Any

from .blocks import COMBINE
from .deferred import Deferred
from .functions import device_function
from .memory import IS_SIMULATED, LOAD, STORE

KINDS = ("f32", "f64", "i32", "u32", "i64", "u64")
"""Types that can be changed: a compare-exchange takes 32 or 64 bits."""
_lock = threading.Lock()
"""Held by changes in the simulator."""


@functools.cache
def change(kind: str, way: str) -> Any:
    """Return a function ``change(address, index, operand)`` that combines an operand into memory.

    ``way`` is a key of `blocks.COMBINE`.
    """
    load, combine = LOAD[kind], COMBINE[way]
    if IS_SIMULATED:
        return _simulated(load, STORE[kind], combine)
    exchange, bits_of, number_of, cast = (_exchange_part(kind, part) for part in range(4))

    @device_function("void")
    def repeat(address: Any, index: Any, operand: Any) -> None:
        seen = bits_of(load(address, index))
        is_done = False
        while not is_done:
            old = number_of(seen)
            found = exchange(address, index, seen, bits_of(cast(combine(old, operand))))
            is_done = found == seen
            seen = found

    return repeat


@functools.cache
def _exchange(kind: str) -> tuple[Any, Any, Any, Any]:
    from .intrinsics import compare_exchange

    return compare_exchange(kind)


def _exchange_part(kind: str, part: int) -> Any:
    return Deferred(lambda: _exchange(kind)[part])


def _simulated(load: Any, store: Any, combine: Any) -> Any:
    def change_at(address: int, index: int, operand: Any) -> None:
        with _lock:
            old = load(address, index)
            store(address, index, type(old)(combine(old, operand)))

    return change_at
