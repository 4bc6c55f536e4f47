"""Linear attention: a matrix for each head is decayed, corrected and read, token by token.

Columns of the matrix have nothing to do with each other: a vector of them is a piece of work, whose
rows stay in the first-level cache. (Update rules as in S. Yang et al., "Gated Delta Networks",
2024.)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ..registry import Pointer, kernel
from ..simd import fma, load_f32, splat, vload_first, vstore_first
from ..target import LANES

_F = np.float32


@njit
def _decayed(
    state: Pointer, row: int, keys: int, key: Pointer, decay: Pointer, decay_key: int, columns: int
) -> Any:
    """Multiply the state by its decay, if there is one; returns what the key reads of it."""
    read = splat(_F(0.0))
    for i in range(keys):
        s = vload_first(state, i * row, columns)
        if decay != 0:
            s = s * splat(load_f32(decay, i * decay_key))
            vstore_first(state, i * row, s, columns)
        read = fma(s, splat(load_f32(key, i)), read)
    return read


@njit
def _add_outer(
    state: Pointer, row: int, keys: int, key: Pointer, update: Any, columns: int
) -> None:
    for i in range(keys):
        s = fma(splat(load_f32(key, i)), update, vload_first(state, i * row, columns))
        vstore_first(state, i * row, s, columns)


@njit
def _read(state: Pointer, row: int, keys: int, query: Pointer, columns: int) -> Any:
    read = splat(_F(0.0))
    for i in range(keys):
        read = fma(vload_first(state, i * row, columns), splat(load_f32(query, i)), read)
    return read


@kernel
def linear_attention(
    thread: int, part: int, until: int, parts: int, query: Pointer, key: Pointer, value: Pointer,
    past: Pointer, decay: Pointer, beta: Pointer, y: Pointer, present: Pointer, batch: int,
    tokens: int, heads: int, group: int, keys: int, values: int, decay_token: int,
    decay_head: int, decay_key: int, beta_token: int, beta_head: int, scale: float,
) -> int:  # fmt: skip
    """Attend to (batch, tokens, heads * size) f32 by a state (batch, heads, keys, values).

    ``group`` heads of the query share one of the state. ``past`` may be nothing: zeros; ``decay``,
    factors, too; with ``beta`` what a key reads is taken from its value. Distances are in elements.
    Vectors of the values of a head are split into parts.
    """
    blocks = (values + LANES - 1) // LANES
    total = batch * heads * blocks
    for item in range(total * part // parts, total * until // parts):
        pair, first = item // blocks, item % blocks * LANES
        b, h, columns = pair // heads, pair % heads, min(values - first, LANES)
        at = (pair * keys * values + first) * 4
        state = present + at
        for i in range(keys):
            start = splat(_F(0.0))
            if past != 0:
                start = vload_first(past + at, i * values, columns)
            vstore_first(state, i * values, start, columns)
        for t in range(tokens):
            token = b * tokens + t
            own = key + (token * heads + h) * keys * 4
            factors = decay
            if decay != 0:
                factors += (token * decay_token + h * decay_head) * 4
            update = vload_first(value, (token * heads + h) * values + first, columns)
            if decay != 0 or beta != 0:
                read = _decayed(state, values, keys, own, factors, decay_key, columns)
                if beta != 0:
                    rate = load_f32(beta, token * beta_token + h * beta_head)
                    update = (update - read) * splat(rate)
            _add_outer(state, values, keys, own, update, columns)
            for g in range(group):
                place = token * heads * group + h * group + g
                result = _read(state, values, keys, query + place * keys * 4, columns)
                vstore_first(y, place * values + first, result * splat(_F(scale)), columns)
    return 0
