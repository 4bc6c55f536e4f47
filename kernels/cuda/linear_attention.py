"""Linear attention: a matrix for each head is decayed, corrected and read, token by token.

Columns of the matrix have nothing to do with each other: a thread has one of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..fields import Pointer
from .kernel import cuda_kernel
from .launches import elements_of
from .memory import load_f32, store_f32
from .threads import cuda

_F: Any = np.float32


@cuda_kernel(elements_of("batch", "heads", "values"))
def linear_attention(
    query: Pointer, key: Pointer, value: Pointer, past: Pointer, decay: Pointer, beta: Pointer,
    y: Pointer, present: Pointer, batch: int, tokens: int, heads: int, group: int, keys: int,
    values: int, decay_token: int, decay_head: int, decay_key: int, beta_token: int,
    beta_head: int, scale: float, status: Pointer,
) -> None:  # fmt: skip
    """Attend to (batch, tokens, heads * size) f32 by a state (batch, heads, keys, values).

    The fields are those of the CPU's kernel.
    """
    for index in range(cuda.grid(1), batch * heads * values, cuda.gridsize(1)):
        column, h, b = index % values, index // values % heads, index // (values * heads)
        state = index // values * keys * values + column
        for i in range(keys):
            start = _F(0)
            if past != 0:
                start = load_f32(past, state + i * values)
            store_f32(present, state + i * values, start)
        for t in range(tokens):
            token = b * tokens + t
            own, factors = (token * heads + h) * keys, token * decay_token + h * decay_head
            update = load_f32(value, (token * heads + h) * values + column)
            if decay != 0 or beta != 0:
                read = _F(0)
                for i in range(keys):
                    s = load_f32(present, state + i * values)
                    if decay != 0:
                        s *= load_f32(decay, factors + i * decay_key)
                        store_f32(present, state + i * values, s)
                    read += s * load_f32(key, own + i)
                if beta != 0:
                    update = (update - read) * load_f32(beta, token * beta_token + h * beta_head)
            for i in range(keys):
                s = load_f32(present, state + i * values) + load_f32(key, own + i) * update
                store_f32(present, state + i * values, s)
            for g in range(group):
                place = (token * heads + h) * group + g
                read = _F(0)
                for i in range(keys):
                    read += load_f32(present, state + i * values) * load_f32(
                        query, place * keys + i
                    )
                store_f32(y, place * values + column, read * _F(scale))
