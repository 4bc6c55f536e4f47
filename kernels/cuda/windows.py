"""Walks over the taps of a window, for some neighbouring channels at a time."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ..function_sources import define
from .functions import device_function

LANES = 4
"""Channels of a thread, where they lie evenly."""


@functools.cache
def on_each(
    function: Callable[..., Any], operands: int, result: str, lanes: int, shared: int = 0
) -> Any:
    """Return a function of tuples of ``lanes`` numbers that applies another to their elements.

    ``result`` is the name of numba's type of the elements of what it returns. Of the operands the
    last ones that are ``shared`` are numbers themselves.
    """
    names = [f"x{i}" for i in range(operands)]
    texts = [f"{name}[{{0}}]" for name in names[: operands - shared]] + names[operands - shared :]
    each = (f"function({', '.join(texts)})".format(i) for i in range(lanes))
    scope = {"function": function}
    define(f"def on_each({', '.join(names)}): return ({', '.join(each)},)", scope)
    return device_function(f"{result} x {lanes}")(scope["on_each"])


@functools.cache
def window_walk(step: Callable[..., Any], result: str, lanes: int) -> Any:
    """Return a function that walks over the taps of a window.

    ``values`` are a tuple, one for each channel. At each tap of a window within the sizes of an
    image they become ``step(values, x, place, w, weight)`` for the places of its first channel in x
    and in the weights, which are ``apart`` elements from tap to tap. ``origin`` is the window's;
    it and what follows are of depth, height and width.
    """

    @device_function(f"{result} x {lanes}")
    def walk(
        values: Any, x: Any, w: Any, source: Any, weight: Any, apart: Any, origin: Any, sizes: Any,
        taps: Any, dilations: Any, strides: Any,
    ) -> Any:  # fmt: skip
        for k in range(taps[0]):
            z = origin[0] + k * dilations[0]
            for i in range(taps[1]):
                v = origin[1] + i * dilations[1]
                if z >= 0 and z < sizes[0] and v >= 0 and v < sizes[1]:
                    line = source + z * strides[0] + v * strides[1]
                    first = weight + (k * taps[1] + i) * taps[2] * apart
                    for j in range(taps[2]):
                        u = origin[2] + j * dilations[2]
                        if u >= 0 and u < sizes[2]:
                            place = line + u * strides[2]
                            values = step(values, x, place, w, first + j * apart)
        return values

    return walk
