"""The k largest or smallest elements along an axis, in order.

In short lines a thread for each element counts those before it. In long ones a block finds the
k-th element, byte by byte of its key: it counts how many keys have each byte (radix selection).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..fields import Pointer
from ..registry import TOO_FEW_ELEMENTS
from .blocks import I64_LAST, I64_SCAN
from .functions import device_function
from .kernel import Body, Fields, Launch, Limits, cuda_factory
from .launches import over_elements, over_scratches
from .memory import IS_SIMULATED, LOAD, SIZES, STORE, load_i64, store_i64
from .sort_keys import key_of
from .threads import cuda

_LONG = 40 if IS_SIMULATED else 512
"""Elements of a line that a block takes."""
_MOST_WANTED = 2048
"""Elements that a block puts in order, by comparing all of them."""
_BYTES = 256
_U: Any = np.uint64


@device_function("boolean")
def _above(a: Any, b: Any) -> Any:
    """Tell whether a is larger; NaN is larger than any number, as in numpy's sorting."""
    return a > b or (a != a and b == b)


@device_function("boolean")
def _below(a: Any, b: Any) -> Any:
    return a < b or (b != b and a == a)


def _launch(f: Fields, limits: Limits) -> Launch:
    if f["n"] >= _LONG and f["k"] <= _MOST_WANTED:
        return over_scratches(f["outer"] * f["inner"], limits)
    # Of no elements, too, a thread tells that there are too few.
    return over_elements(max(f["outer"] * f["n"], 1) * f["inner"], limits)


def _of_short_lines(dtype: str, largest: int) -> Any:
    """Return the function of a thread: elements that come first are counted, until there are k.

    They are taken from the neighbours outward: few comparisons for most elements, in whatever
    order they lie.
    """
    load, store = LOAD[dtype], STORE[dtype]
    before = _above if largest != 0 else _below

    @device_function("void")
    def place(
        source: Any, values: Any, indices: Any, own: Any, n: Any, inner: Any, k: Any, target: Any
    ) -> None:
        value, rank = load(source, own * inner), 0
        distance, farthest = 1, max(own, n - 1 - own)
        while rank < k and distance <= farthest:
            if distance <= own and not before(value, load(source, (own - distance) * inner)):
                rank += 1  # an equal one of a lower index comes first
            if own + distance < n and before(load(source, (own + distance) * inner), value):
                rank += 1
            distance += 1
        if rank < k:
            store(values, target + rank * inner, value)
            store_i64(indices, target + rank * inner, own)

    return place


@cuda_factory
def top_k(dtype: str, largest: int) -> Body:
    """Give the ``k`` largest (1) or smallest (0) elements along the middle of three dense axes.

    Of equal elements the one with the lower index comes first. ``scratch`` has room for k words
    for each block.
    """
    load, store, size = LOAD[dtype], STORE[dtype], SIZES[dtype]
    key, place, shifts = key_of(dtype), _of_short_lines(dtype, largest), 8 * SIZES[dtype]
    flipped = _U(0 if largest != 0 else (1 << 8 * SIZES[dtype]) - 1)

    def body(
        x: Pointer, values: Pointer, indices: Pointer, outer: int, n: int, inner: int, k: int,
        scratch: Pointer, status: Pointer,
    ) -> None:  # fmt: skip
        if k > n:
            store_i64(status, 0, TOO_FEW_ELEMENTS)
            return
        if n < _LONG or k > _MOST_WANTED:
            for index in range(cuda.grid(1), outer * n * inner, cuda.gridsize(1)):
                own, column, line = index // inner % n, index % inner, index // (inner * n)
                source = x + (line * n * inner + column) * size
                place(source, values, indices, own, n, inner, k, line * k * inner + column)
            return
        counts = cuda.shared.array(_BYTES, np.int32)
        chosen = cuda.shared.array(2, np.int64)
        picked, thread = scratch + cuda.blockIdx.x * ((8 * k + 63) // 64 * 64), cuda.threadIdx.x
        for line in range(cuda.blockIdx.x, outer * inner, cuda.gridDim.x):
            source = x + (line // inner * n * inner + line % inner) * size
            target = line // inner * k * inner + line % inner
            prefix, mask, wanted = _U(0), _U(0), k
            for step in range(8, shifts + 8, 8):
                shift = _U(shifts - step)
                for byte in range(thread, _BYTES, cuda.blockDim.x):
                    counts[byte] = 0
                cuda.syncthreads()
                for i in range(thread, n, cuda.blockDim.x):
                    own_key = key(load(source, i * inner)) ^ flipped
                    if (own_key & mask) == prefix:
                        cuda.atomic.add(counts, np.int64((own_key >> shift) & _U(255)), 1)
                cuda.syncthreads()
                before = 0
                for begin in range(0, _BYTES, cuda.blockDim.x):
                    found = np.int64(counts[_BYTES - 1 - begin - thread])
                    reached = before + I64_SCAN(found)
                    if reached >= wanted and reached - found < wanted:
                        chosen[0], chosen[1] = _BYTES - 1 - begin - thread, reached - found
                    before = I64_LAST(reached)
                cuda.syncthreads()
                prefix, mask = prefix | (_U(chosen[0]) << shift), mask | (_U(255) << shift)
                wanted -= chosen[1]
                cuda.syncthreads()
            # Those above the k-th key come first, then as many that equal it, by their places.
            above, same = 0, k - wanted
            for begin in range(0, n, cuda.blockDim.x):
                i = begin + thread
                own_key = _U(0)
                if i < n:
                    own_key = key(load(source, i * inner)) ^ flipped
                is_above = 1 if i < n and own_key > prefix else 0
                is_same = 1 if i < n and own_key == prefix else 0
                first = above + I64_SCAN(is_above)
                second = same + I64_SCAN(is_same)
                if is_above != 0:
                    store_i64(picked, first - 1, i)
                if is_same != 0 and second <= k:
                    store_i64(picked, second - 1, i)
                above, same = I64_LAST(first), I64_LAST(second)
            cuda.syncthreads()
            for i in range(thread, k, cuda.blockDim.x):
                at, rank = load_i64(picked, i), i
                if i < k - wanted:
                    own_key, rank = key(load(source, at * inner)) ^ flipped, 0
                    for j in range(k - wanted):
                        other = key(load(source, load_i64(picked, j) * inner)) ^ flipped
                        if other > own_key or (other == own_key and j < i):
                            rank += 1
                store(values, target + rank * inner, load(source, at * inner))
                store_i64(indices, target + rank * inner, at)
            cuda.syncthreads()

    return Body(body, _launch)
