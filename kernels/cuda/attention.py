"""Attention by multiply-adds: a row of threads for each query.

Two passes over the keys: the first finds the highest score and the sum of exponentials, the second
computes the scores again and adds up the values, so that no row of scores is kept.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..fields import Pointer
from .blocks import F32_MAX, F32_SUM, MOST_THREADS, larger
from .functions import device_function
from .indices import refuse
from .kernel import Fields, Launch, Limits, cuda_kernel
from .launches import over_sums
from .memory import load_f32, load_i64, store_f32
from .threads import cuda

_F = np.float32
_RAW, _CAPPED, _MASKED, _SHARES = range(4)


@device_function("float32")
def _score(q: Any, k: Any, size: Any, scale: Any) -> Any:
    """Return the score of a query and a key, dense rows of ``size`` elements."""
    total = _F(0)
    for i in range(size):
        total += load_f32(q, i) * load_f32(k, i)
    return _F(total * _F(scale))


@device_function()
def _capped(score: Any, cap: Any) -> Any:
    if cap > 0:
        return _F(_F(cap) * _F(math.tanh(score / _F(cap))))
    return score


@device_function()
def _masked(score: Any, mask: Any, key: Any, first: Any, last: Any) -> Any:
    """Add the mask's element, if there is a mask, to the score of a key that the query sees."""
    if key < first or key > last:
        return _F(-np.inf)
    if mask != 0:
        return _F(score + load_f32(mask, key))
    return score


def _launch(f: Fields, limits: Limits) -> Launch:
    # A warp at least for each query: its threads share the keys, and then the values.
    rows = f["batch"] * f["heads"] * f["group"] * f["queries"]
    return over_sums(rows, max(f["keys"], 33), limits)


@cuda_kernel(_launch)
def attention(
    batch: int, heads: int, group: int, queries: int, keys: int, size: int, width: int,
    q: Pointer, q_batch: int, q_head: int, q_row: int,
    k: Pointer, k_batch: int, k_head: int, k_row: int,
    v: Pointer, v_batch: int, v_head: int, v_row: int,
    y: Pointer, y_batch: int, y_head: int, y_row: int,
    mask: Pointer, mask_batch: int, mask_head: int, mask_row: int, mask_keys: int,
    lengths: Pointer, past: int, left: int, right: int, zeros: int, scores: Pointer, mode: int,
    scale: float, cap: float, status: Pointer,
) -> None:  # fmt: skip
    """Compute attention; the fields are those of the CPU's kernel."""
    shares = cuda.shared.array(MOST_THREADS, np.float32)
    across, own = cuda.blockDim.x, cuda.threadIdx.x
    rows = batch * heads * group * queries
    for begin in range(cuda.blockIdx.x * cuda.blockDim.y, rows, cuda.gridDim.x * cuda.blockDim.y):
        row = begin + cuda.threadIdx.y
        is_there = row < rows  # all threads come to the folds
        query, head, b = row % queries, row // queries % (heads * group), row // queries
        b = b // (heads * group) if is_there else 0
        count, at = keys, past + query
        if lengths != 0:
            count = load_i64(lengths, b)
            at = count - queries + query
            if count < 0 or count > keys:
                refuse(status, count)
                count = 0
        if mask != 0:
            count = min(count, mask_keys)
        first, last = max(at - left, 0), min(at + right, count - 1)
        if not is_there:
            last = -1
        q_at = q + (b * q_batch + head * q_head + query * q_row) * 4
        k_at = k + (b * k_batch + head // group * k_head) * 4
        v_at = v + (b * v_batch + head // group * v_head) * 4
        y_at = y + (b * y_batch + head * y_head + query * y_row) * 4
        mask_at = mask + (b * mask_batch + head * mask_head + query * mask_row) * 4
        mask_at = mask_at if mask != 0 else 0
        top = _F(-np.inf)
        for key in range(first + own, last + 1, across):
            score = _capped(_score(q_at, k_at + key * k_row * 4, size, scale), cap)
            top = larger(top, _masked(score, mask_at, key, first, last))
        top = F32_MAX(top)
        shift = top if top != _F(-np.inf) else _F(0)
        total = _F(0)
        for key in range(first + own, last + 1, across):
            score = _capped(_score(q_at, k_at + key * k_row * 4, size, scale), cap)
            total += _F(math.exp(_masked(score, mask_at, key, first, last) - shift))
        total = F32_SUM(total)
        inverse = _F(0) if zeros != 0 and total == 0 else _F(1) / total
        if is_there:
            for j in range(own, width, across):
                store_f32(y_at, j, _F(0) * inverse)
        # Rows that see no key have no shares, but come to the barriers.
        for block in range(0, keys, across):
            key = block + own
            share = _F(0)
            if is_there and key < keys and (scores != 0 or first <= key <= last):
                score = _score(q_at, k_at + key * k_row * 4, size, scale)
                if scores != 0 and mode == _RAW:
                    store_f32(scores, row * keys + key, score)
                score = _capped(score, cap)
                if scores != 0 and mode == _CAPPED:
                    store_f32(scores, row * keys + key, score)
                score = _masked(score, mask_at, key, first, last)
                share = _F(_F(math.exp(score - shift)) * inverse)
                if scores != 0 and mode >= _MASKED:
                    store_f32(scores, row * keys + key, share if mode == _SHARES else score)
            shares[cuda.threadIdx.y * across + own] = share
            cuda.syncthreads()
            if is_there:
                for j in range(own, width, across):
                    value = load_f32(y_at, j)
                    for i in range(max(first - block, 0), min(across, last + 1 - block)):
                        part = shares[cuda.threadIdx.y * across + i]
                        value += part * load_f32(v_at, (block + i) * v_row + j)
                    store_f32(y_at, j, value)
            cuda.syncthreads()
