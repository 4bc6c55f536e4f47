"""Windows made of cosines, and weights of mel filters; fields of the CPU's kernels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..fields import Pointer
from ..registry import INVALID_NUMBER
from .deferred import Deferred
from .functions import device_function
from .kernel import Body, cuda_factory
from .launches import elements_of
from .memory import IS_SIMULATED, STORE, load_f32, store_i64
from .numbers import SCOPE
from .threads import cuda

_CASTS: dict[str, Any] = {"f32": np.float32, "f64": np.float64}
_D = np.float64
_floor, _cospi = SCOPE["math_floor_f64"], SCOPE["math_cospi"]


def _simulated_power(exponent: Any) -> Any:
    return _D(10) ** exponent


def _compiled_power() -> Any:
    from numba.cuda import libdevice

    return libdevice.exp10


_power_of_ten: Any = _simulated_power if IS_SIMULATED else Deferred(_compiled_power)


@cuda_factory
def cosine_window(dtype: str) -> Body:
    """y[i] = a - b cos(2 pi i / period) + c cos(4 pi i / period), for ``count`` of f32 or f64."""
    store, cast = STORE[dtype], _CASTS[dtype]

    def body(
        y: Pointer, count: int, period: int, a: float, b: float, c: float, status: Pointer
    ) -> None:
        for i in range(cuda.grid(1), count, cuda.gridsize(1)):
            turns = _D(2 * i) / _D(period)
            store(y, i, cast(a - b * _cospi(turns) + c * _cospi(_D(2) * turns)))

    return Body(body, elements_of("count"))


@device_function("float64")
def _mel(frequency: Any) -> Any:
    return _D(2595) * math.log10(_D(1) + frequency / _D(700))


@device_function("int64")
def _bin(number: Any, filters: Any, low: Any, high: Any, length: Any, rate: Any) -> Any:
    """Return the bin of the spectrum at which a filter begins, -1 for none that an array has."""
    step = (high - low) / _D(filters + 2)
    frequency = _D(700) * (_power_of_ten((low + _D(number) * step) / _D(2595)) - _D(1))
    if rate == 0:
        return -1
    at = _floor(_D(length + 1) * frequency / _D(rate))
    return np.int64(at) if abs(at) < _D(2.0**46) else np.int64(-1)


@cuda_factory
def mel_weights(dtype: str) -> Body:
    """y[bin, filter]: triangles that begin at one mel bin, are 1 at the next and end at the third.

    A thread for each of them. Error 4 of bins that the spectrum has not.
    """
    store, cast = STORE[dtype], _CASTS[dtype]

    def body(
        y: Pointer, lower: Pointer, upper: Pointer, bins: int, filters: int, length: int,
        rate: int, status: Pointer,
    ) -> None:  # fmt: skip
        low, high = _mel(_D(load_f32(lower, 0))), _mel(_D(load_f32(upper, 0)))
        for index in range(cuda.grid(1), bins * filters, cuda.gridsize(1)):
            i, j = index % filters, index // filters
            left = _bin(i, filters, low, high, length, rate)
            center = _bin(i + 1, filters, low, high, length, rate)
            right = _bin(i + 2, filters, low, high, length, rate)
            is_ordered = left >= 0 and left <= center and center <= right
            if not (is_ordered and center < bins and right <= bins):
                store_i64(status, 0, INVALID_NUMBER)
            value = _D(1) if j == center else _D(0)
            if left <= j and j < center:
                value = _D(j - left) / _D(center - left)
            elif center < j and j < right:
                value = _D(right - j) / _D(right - center)
            store(y, index, cast(value))

    return Body(body, elements_of("bins", "filters"))
