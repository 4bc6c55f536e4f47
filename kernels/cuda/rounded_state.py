"""States of recurrent layers rounded to 8 bits, each with a scale of its own."""

from __future__ import annotations

from typing import Any

import numpy as np

from .extremes import LEAST, MOST, higher, lower, step_of, zero_of
from .functions import device_function
from .memory import load_f32, store_f32
from .numbers import SCOPE
from .threads import cuda

_F = np.float32
_rint = SCOPE["math_rint_f32"]


@device_function("void")
def rounded_state(state: Any, rounded: Any, size: Any) -> None:
    """Store what the bytes of a state stand for; all threads of the block take part."""
    low, high = _F(0), _F(0)
    for unit in range(cuda.threadIdx.x, size, cuda.blockDim.x):
        number = load_f32(state, unit)
        low, high = lower(low, number), higher(high, number)
    low, high = LEAST(low), MOST(high)
    step = step_of(low, high)
    zero = zero_of(low, step)
    for unit in range(cuda.threadIdx.x, size, cuda.blockDim.x):
        byte = min(max(_rint(load_f32(state, unit) / step) + zero, _F(0)), _F(255))
        store_f32(rounded, unit, (byte - zero) * step)
    cuda.syncthreads()
