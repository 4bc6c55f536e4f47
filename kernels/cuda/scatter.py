"""ScatterElements and ScatterND: writing at indices that tensors hold."""

from __future__ import annotations

from typing import Any

from ..fields import Pointer
from . import atomics, scatter_in_order
from .functions import device_function
from .indices import index_within, place_of
from .kernel import Body, cuda_factory
from .launches import elements_of
from .memory import LOAD, STORE
from .threads import cuda
from .walks import offset_of

_WAYS = {"add": "sum", "mul": "prod", "max": "max", "min": "min"}


def _put(dtype: str, reduction: str) -> Any:
    """Return ``put(y, at, value)``; None where the type has no such atomic change."""
    if reduction != "none":
        return atomics.change(dtype, _WAYS[reduction]) if dtype in atomics.KINDS else None
    store = STORE[dtype]

    @device_function("void")
    def put(y: Any, at: Any, value: Any) -> None:
        store(y, at, value)

    return put


@cuda_factory
def scatter_elements(dtype: str, index: str, reduction: str) -> Body:
    """Combine updates[i] into y[i with coordinate ``axis`` replaced by indices[i]].

    The fields are those of the CPU's kernel. Of indices that repeat without a reduction any one's
    update remains.
    """
    put = _put(dtype, reduction)
    if put is None:
        ordered = scatter_in_order.scatter_elements(dtype, index, reduction)
        return Body(ordered.function, ordered.launch)
    load, load_index = LOAD[dtype], LOAD[index]

    def body(
        indices: Pointer, updates: Pointer, y: Pointer, size: int, y_axis: int,
        d0: int, d1: int, d2: int, d3: int, d4: int, d5: int, d6: int, d7: int,
        y0: int, y1: int, y2: int, y3: int, y4: int, y5: int, y6: int, y7: int, status: Pointer,
    ) -> None:  # fmt: skip
        dims, strides = (d7, d6, d5, d4, d3, d2, d1, d0), (y7, y6, y5, y4, y3, y2, y1, y0)
        total = d0 * d1 * d2 * d3 * d4 * d5 * d6 * d7
        for i in range(cuda.grid(1), total, cuda.gridsize(1)):
            target = offset_of(i, dims, strides)
            at = index_within(status, load_index(indices, i), size)
            if at >= 0:
                put(y, target + at * y_axis, load(updates, i))

    return Body(body, elements_of("d0", "d1", "d2", "d3", "d4", "d5", "d6", "d7"))


@cuda_factory
def scatter_nd(dtype: str, reduction: str) -> Body:
    """Combine updates[j, :] into y[indices[j, 0], ..., indices[j, depth - 1], :].

    The fields are those of the CPU's kernel.
    """
    put = _put(dtype, reduction)
    if put is None:
        ordered = scatter_in_order.scatter_nd(dtype, reduction)
        return Body(ordered.function, ordered.launch)
    load = LOAD[dtype]

    def body(
        indices: Pointer, updates: Pointer, y: Pointer, count: int, depth: int, inner: int,
        s0: int, s1: int, s2: int, s3: int, s4: int, s5: int,
        y0: int, y1: int, y2: int, y3: int, y4: int, y5: int, status: Pointer,
    ) -> None:  # fmt: skip
        sizes, strides = (s0, s1, s2, s3, s4, s5), (y0, y1, y2, y3, y4, y5)
        for i in range(cuda.grid(1), count * inner, cuda.gridsize(1)):
            row = i // inner
            place = place_of(status, indices, row, depth, sizes, strides)
            if place >= 0:
                put(y, place + i % inner, load(updates, i))

    return Body(body, elements_of("count", "inner"))
